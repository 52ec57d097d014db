"""Tests of agents, searches and boards: a board that measures nothing.

Beside that board, `qsdnn_conformance` in the wheel holds what every engine, agent and board must
keep.
"""

from qsdnn.testing.synthetic_board import SyntheticBoard

__all__ = ["SyntheticBoard"]
