"""What a router learns from its own traffic: bands that hold shares, features with labels, weights. Never a text."""
