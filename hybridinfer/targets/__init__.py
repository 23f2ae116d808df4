"""What can answer: one adapter per file."""
