"""Tabular Q-learning with experience replay."""
