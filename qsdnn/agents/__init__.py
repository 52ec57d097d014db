"""Agents: Q-learning and its baselines."""
