"""Simulators of arithmetics: see `qsdnn.simulator`."""
