"""Agents: what learns on the environment of a cost model, ours and those of other packages.

An agent is a class with the base `Agent`, registered under the entry point group ``qsdnn.agents``.
Names alone import none of them, and not numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qsdnn.errors import InputError, unknown
from qsdnn.plugin import load_plugins, registered

if TYPE_CHECKING:
    from qsdnn.agents.base import Agent, Episode, Policy
    from qsdnn.agents.experience import Batch, Experience, make_env, walk

GROUP = "qsdnn.agents"

_HOME = {
    "Agent": "base",
    "Batch": "experience",
    "Episode": "base",
    "Experience": "experience",
    "Policy": "base",
    "make_env": "experience",
    "walk": "experience",
}

__all__ = [
    "Agent",
    "Batch",
    "Episode",
    "Experience",
    "Policy",
    "agent",
    "make_env",
    "names",
    "walk",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def names() -> tuple[str, ...]:
    """The names of all registered agents, in alphabetical order."""
    return tuple(sorted({point.name for point in registered(GROUP)}))


def agent(name: str, preset: str = "default") -> Agent:
    """A new agent, which has learned nothing yet.

    Args:
        name: One of `names`.
        preset: Settings by name: one of the agent's `Agent.presets`.

    Raises:
        InputError: No agent is registered under that name, the agent has no such preset, or what is
            registered is no `Agent`.
    """
    from qsdnn.agents.base import Agent

    kind = load_plugins(GROUP, "agent", [name])[name]
    if not (isinstance(kind, type) and issubclass(kind, Agent)):
        raise InputError(
            f"agent '{name}' is no subclass of qsdnn.agents.Agent: {kind!r}",
            hint="the README has an agent of 20 lines, under Research",
        )
    if preset not in kind.presets:
        of = "" if len(kind.presets) > 1 else f" of agent '{name}'"
        raise unknown(f"preset{of}", preset, kind.presets)
    return kind.with_preset(preset)
