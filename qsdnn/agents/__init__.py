"""Agents: Q-learning and its baselines."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from qsdnn.agents.q_learning.presets import PRESETS as _SETTINGS
from qsdnn.agents.q_learning.presets import preset as _preset
from qsdnn.errors import unknown

if TYPE_CHECKING:
    from qsdnn.agents.base import Agent

_CLASSES = {
    "annealing": "qsdnn.agents.baselines.annealing:Annealing",
    "evolutionary": "qsdnn.agents.baselines.evolutionary:Evolutionary",
    "exact": "qsdnn.agents.exact.solver:Exact",
    "greedy": "qsdnn.agents.baselines.greedy:Greedy",
    "q-learning": "qsdnn.agents.q_learning.learner:QLearning",
    "random": "qsdnn.agents.baselines.random:Random",
    "uniform": "qsdnn.agents.baselines.uniform:Uniform",
}

AGENTS = tuple(_CLASSES)
"""Names of the agents."""

PRESETS = tuple(_SETTINGS)
"""Names of the settings of ``q-learning``; the other agents have ``default`` only."""


def agent(name: str, preset: str = "default") -> Agent:
    """A new agent, which has learned nothing yet.

    Args:
        name: One of `AGENTS`.
        preset: One of `PRESETS`.

    Raises:
        InputError: There is no such agent, or it has no such preset.
    """
    if name not in _CLASSES:
        raise unknown("agent", name, AGENTS)
    settings = _preset(preset)
    if name != "q-learning" and preset != "default":
        raise unknown(f"preset of agent '{name}'", preset, ["default"])
    module, _, kind = _CLASSES[name].partition(":")
    make = getattr(import_module(module), kind)
    made: Agent = make(settings) if name == "q-learning" else make()
    return made
