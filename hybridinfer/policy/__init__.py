"""The policy file: its model, loader, decision and proofs."""
