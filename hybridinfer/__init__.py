"""Hybrid edge/cloud LLM routing."""
