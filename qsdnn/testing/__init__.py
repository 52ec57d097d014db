"""What tests of agents, searches and boards need: a board that measures nothing.

Beside it, `qsdnn_conformance` in the wheel holds what every engine, agent and board must keep.
"""

from qsdnn.testing.synthetic_board import SyntheticBoard

__all__ = ["SyntheticBoard"]
