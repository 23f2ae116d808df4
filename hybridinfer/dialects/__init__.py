"""Between the neutral records and the vendors' JSON."""
