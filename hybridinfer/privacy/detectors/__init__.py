"""One file per family of sensitive data."""
