"""Simulators of arithmetics: see `qsdnn.accuracy.simulator`."""
