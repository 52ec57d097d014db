"""Simulators of arithmetics: see `qsdnn.quantize.simulator`."""
