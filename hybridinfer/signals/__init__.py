"""Measurements of a request."""
