"""Measuring on a board: stored measurements are not repeated, and a lost board is waited for."""
