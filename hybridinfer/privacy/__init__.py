"""Detectors, masking and the egress lock."""
