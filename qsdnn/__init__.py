"""qsdnn finds the fastest way to run a neural network on a device."""

from importlib.metadata import version as _version

__version__ = _version("qsdnn")
