"""Agents that Q-learning is held against."""
