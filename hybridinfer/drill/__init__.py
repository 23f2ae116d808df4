"""Outages on purpose: faults, and the loopback emulator of the cloud that has them."""
