"""Limits that a plan must keep: accuracy, memory, energy."""
