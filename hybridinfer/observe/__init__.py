"""Hooks, logging and traces."""
