"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from qsdnn.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLE_SHAPE = "--shape input=1,3,224,224"


def parse_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes by input name, from ``name=1,3,224,224`` texts.

    Raises:
        InputError: A text has another form, a dimension is not a positive integer, or a name
            comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not name or not shape or min(shape) < 1:
            raise InputError(
                f"--shape {text}: not of the form name=size,size,… with positive sizes",
                hint=f"for example: {EXAMPLE_SHAPE}",
            )
        if name in shapes:
            raise InputError(f"--shape {text}: '{name}' is given twice", hint="give it once")
        shapes[name] = shape
    return shapes


def shape_option(command: F) -> F:
    """Adds ``--shape``; the command gets `shapes`, a dict of tuples by input name."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=SIZES",
        callback=lambda _context, _option, texts: parse_shapes(texts),
        help=f"Shape of an input with dynamic dimensions, e.g. {EXAMPLE_SHAPE}. Repeatable.",
    )(command)


def json_option(command: F) -> F:
    """Adds ``--json``; the command gets `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, all else on stderr."
    )(command)


def split_names(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    """A callback for ``--engines a,b``; None stays None."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("--engines: no name given", hint="for example: --engines onnxruntime,blas")
    return names


def board_option(command: F) -> F:
    """Adds ``--board``; the command gets `board`, a name."""
    return click.option(
        "--board", default="local", show_default=True, help="The machine that measures and runs."
    )(command)


def threads_option(command: F) -> F:
    """Adds ``--threads``."""
    return click.option(
        "--threads",
        default=1,
        show_default=True,
        type=click.IntRange(1),
        help="Threads an engine may use.",
    )(command)


def store_option(command: F) -> F:
    """Adds ``--store``; the command gets `store`, a path, a URL or None."""
    return click.option(
        "--store",
        default=None,
        metavar="URL",
        help="Database of measurements: a path or sqlite:///path.  [default: the user's own]",
    )(command)


def model_option(command: F) -> F:
    """Adds ``--model``; the command gets `model`, where a plan's network is now, or None."""
    return click.option(
        "--model",
        default=None,
        type=click.Path(path_type=Path),
        help="The plan's network.  [default: where the plan says]",
    )(command)
