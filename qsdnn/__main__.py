"""``python -m qsdnn`` is the command ``qsdnn``."""

from qsdnn.cli import main

main()
