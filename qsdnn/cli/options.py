"""The options that several commands share."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qsdnn.errors import InputError

if TYPE_CHECKING:
    from qsdnn.accuracy.loss import AccuracyConfig

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
    """The names in a text such as ``a,b``, as a callback for ``--engines``; None stays None."""
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


def parse_duration(option: str, text: str) -> float:
    """The seconds that ``90``, ``90s``, ``5m`` or ``1h`` stand for.

    Args:
        option: The option whose value the text is, for messages.
        text: The value.

    Raises:
        InputError: The text has another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None:
        raise InputError(f"{option} {text}: not a duration", hint="for example: 90s, 5m, 1h")
    if float(match[1]) == 0:
        raise InputError(f"{option} {text}: no time at all", hint="for example: 90s, 5m, 1h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_size_mb(option: str, text: str | None) -> float | None:
    """The megabytes (10⁶ bytes) that ``300``, ``300M`` or ``2G`` stand for; None stays None.

    Args:
        option: The option whose value the text is, for messages.
        text: The value.

    Raises:
        InputError: The text has another form.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG]?)B?", text.strip(), re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise InputError(f"{option} {text}: not a size", hint="for example: 300M, 2G")
    return float(match[1]) * (1000 if match[2].upper() == "G" else 1)


def parse_share(option: str, text: str | None) -> float | None:
    """The share in a text such as ``95%`` or ``0.95``; None stays None.

    Args:
        option: The option's name, for messages.
        text: The text.

    Raises:
        InputError: The text is no share between 0 and 1.
    """
    if text is None:
        return None
    try:
        share = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(f"{option} {text}: not a share below 100 %", hint=f"e.g. {option} 95%")
    return share


def parse_limit(option: str, text: str | None) -> float | None:
    """The positive number in a text; None stays None.

    Args:
        option: The option whose value the text is, for messages.
        text: The value.

    Raises:
        InputError: The text is no positive number.
    """
    if text is None:
        return None
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise InputError(f"{option} {text}: not a positive number", hint=f"e.g. {option} 20")
    return limit


def wait_option(command: F) -> F:
    """Adds ``--wait``; the command gets `wait_s`."""
    return click.option(
        "--wait",
        "wait_s",
        default=None,
        metavar="TIME",
        callback=lambda _context, _option, text: parse_duration("--wait", text) if text else 0.0,
        help="The longest wait for a board that somebody else uses: 90s, 30m, 2h.  [default: "
        "end at once]",
    )(command)


def cold_option(command: F) -> F:
    """Adds ``--cold`` to a command that times; it goes below `care_options`, which takes it."""
    return click.option(
        "--cold",
        is_flag=True,
        help="Run packages one run each in turn, so that each finds cold caches, as in a program "
        "that does other things between.  [default: several runs in turn, as in a loop]",
    )(command)


def care_options(command: F) -> F:
    """Adds the options of how the board is treated; the command gets `care`, a `Care`."""

    @wait_option
    @click.option(
        "--performance-mode/--no-performance-mode",
        default=None,
        help="Set the board's performance mode (see qsdnn boards show) while measuring, and set "
        "back at the end what held before.  [default: over SSH yes, on this machine no]",
    )
    @click.option(
        "--max-temperature",
        "max_temperature_c",
        type=click.FloatRange(0, 150),
        metavar="C",
        help="The temperature to cool to before each group of measurements.  [default: what "
        "suits the board, mostly 70; a board without a sensor is not waited for]",
    )
    @click.option(
        "--cooling-time",
        "cooling_limit_s",
        default="3m",
        show_default=True,
        metavar="TIME",
        callback=lambda _context, _option, text: parse_duration("--cooling-time", text),
        help="The longest wait for that temperature; then go on, and mark what is measured.",
    )
    @functools.wraps(command)
    def careful(
        *arguments: Any,
        performance_mode: bool | None,
        max_temperature_c: float | None,
        cooling_limit_s: float,
        wait_s: float,
        cold: bool = False,
        **rest: Any,
    ) -> Any:
        from qsdnn.board import Care

        care = Care(
            performance_mode=performance_mode,
            max_temperature_c=max_temperature_c,
            cooling_limit_s=cooling_limit_s,
            wait_s=wait_s,
            cold=cold,
        )
        return command(*arguments, care=care, **rest)

    return careful  # type: ignore[return-value]


def samples_options(command: F) -> F:
    """Adds the options of the user's data and metric; the command gets `accuracy`, or None."""

    @click.option(
        "--calibration",
        type=click.Path(path_type=Path),
        metavar="DIR|FILE.npz",
        help="Typical inputs: one half calibrates and chooses, the other half decides.",
    )
    @click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The inputs' right answers: .npy, .npz, .csv, .txt.  [default: the array 'labels' of "
        "the calibration file; else what fp32 answers]",
    )
    @click.option("--metric", help="The metric: top1, top5, mse.  [default: what suits the labels]")
    @click.option(
        "--evaluator",
        metavar="MODULE:FUNCTION",
        help="A metric of your own: function(outputs, labels) -> number, higher is better.",
    )
    @click.option(
        "--calibration-method",
        default="minmax",
        show_default=True,
        help="The method to find the ranges of integers: minmax, entropy, percentile.",
    )
    @functools.wraps(command)
    def sampled(
        *arguments: Any,
        calibration: Path | None,
        labels: Path | None,
        metric: str | None,
        evaluator: str | None,
        calibration_method: str,
        **rest: Any,
    ) -> Any:
        from qsdnn.accuracy.loss import AccuracyConfig

        accuracy = None
        if calibration is not None:
            accuracy = AccuracyConfig(
                calibration=calibration,
                labels=labels,
                metric=metric,
                evaluator=evaluator,
                method=calibration_method,
            )
        return command(*arguments, accuracy=accuracy, **rest)

    return sampled  # type: ignore[return-value]


def accuracy_options(command: F) -> F:
    """Adds `samples_options` and the limit; the command gets `accuracy`, None without data."""

    @samples_options
    @click.option(
        "--max-drop",
        metavar="DROP",
        help="The most that the metric may lose: 0.01, or 1% of the score of fp32.",
    )
    @click.option(
        "--min-sqnr", metavar="DB", help="Least signal-to-quantization-noise ratio of the outputs."
    )
    @functools.wraps(command)
    def limited(
        *arguments: Any,
        accuracy: AccuracyConfig | None,
        max_drop: str | None,
        min_sqnr: str | None,
        **rest: Any,
    ) -> Any:
        from qsdnn.accuracy.loss import parse_loss_limit

        limit = parse_loss_limit(max_drop, min_sqnr)
        is_limited = max_drop is not None or min_sqnr is not None
        if is_limited and accuracy is None:
            raise InputError(
                "a limit of accuracy needs data to keep it on",
                hint="give typical inputs: --calibration DIR or --calibration FILE.npz",
            )
        if accuracy is not None and not is_limited:
            raise InputError(
                "--calibration without a limit: how much accuracy may be lost?",
                hint="for example --max-drop 1% or --min-sqnr 30",
            )
        kept = None if accuracy is None else dataclasses.replace(accuracy, loss_limit=limit)
        return command(*arguments, accuracy=kept, **rest)

    return limited  # type: ignore[return-value]


def threads_option(command: F) -> F:
    """Adds ``--threads``; the command gets `threads`, a number."""
    return click.option(
        "--threads",
        default=1,
        show_default=True,
        type=click.IntRange(1),
        help="The number of threads an engine may use.",
    )(command)


def store_option(command: F) -> F:
    """Adds ``--store``; the command gets `store`, a path, a URL or None."""
    return click.option(
        "--store",
        default=None,
        metavar="URL",
        help="The database of measurements: a path or sqlite:///path.  [default: the user's own]",
    )(command)


def model_option(command: F) -> F:
    """Adds ``--model``; the command gets `model`, the path of a plan's network, or None."""
    return click.option(
        "--model",
        default=None,
        type=click.Path(path_type=Path),
        help="The plan's network.  [default: the file that the plan names]",
    )(command)
