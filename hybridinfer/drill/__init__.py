"""Faults, the loopback emulator, scenarios."""
