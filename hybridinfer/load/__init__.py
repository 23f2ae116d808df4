"""Sharing work out: replicas behind one target, and limits in front of it."""
