"""Measuring on a board: what is stored is not measured again, a lost board is waited for."""
