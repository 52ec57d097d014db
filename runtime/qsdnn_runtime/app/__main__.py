"""``python APP INPUT``, or ``python -m qsdnn_runtime.app APP INPUT``: runs an application."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from typing import Any, List, Mapping, Optional

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.manifest import PackageError
from qsdnn_runtime.program.values import FeedError

from .application import App
from .stage import AppError


def main(arguments: Optional[List[str]] = None, folder: Optional[str] = None) -> int:
    """Runs the command: parses the arguments, runs the application and prints the results.

    Args:
        arguments: The command-line arguments; those of this process when None.
        folder: The application, when that is what was started; else None.

    Returns:
        Exit code: 0 done, 1 an engine failed, 2 bad input.
    """
    options = _parser(folder).parse_args(arguments)
    try:
        with App(options.app, threads=options.threads) as app:
            results, times = app.timed(options.input)
    except EngineError as error:
        return _fail(error, 1)
    except (AppError, PackageError, FeedError) as error:
        return _fail(error, 2)
    if options.json:
        content = {"schema": "qsdnn.app.run/1", "results": results, "times_ms": asdict(times)}
        print(json.dumps(content, default=lambda value: value.tolist()))
        return 0
    print(as_text(results))
    parts = (times.total_ms, times.before_ms, times.inference_ms, times.after_ms)
    print("%.2f ms: %.2f before, %.2f inference, %.2f after" % parts)
    return 0


def as_text(results: Mapping[str, Any], indent: str = "") -> str:
    """Results for people, a line for each thing that was found."""
    lines = []
    for name, value in results.items():
        if isinstance(value, Mapping):
            lines += ["%s%s:" % (indent, name), as_text(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append("%s%s:" % (indent, name))
            lines += [_line(one, indent + "  ") for one in value]
        elif isinstance(value, list) and len(value) > _LONG:
            lines.append("%s%s: %d numbers" % (indent, name, len(value)))
        else:
            lines.append("%s%s: %s" % (indent, name, _value(value)))
    return "\n".join(lines)


_LONG = 16
"""The number of values from which on only their number is shown."""


def _line(thing: Mapping[str, Any], indent: str) -> str:
    """One thing in one line, and what other components found in it below."""
    flat = {k: v for k, v in thing.items() if not isinstance(v, Mapping)}
    below = {k: v for k, v in thing.items() if isinstance(v, Mapping)}
    line = indent + "  ".join("%s %s" % (key, _value(value)) for key, value in flat.items())
    return "\n".join([line, *([as_text(below, indent + "  ")] if below else [])])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return "%.4g" % value
    if isinstance(value, list):
        return "[%s]" % ", ".join(_value(one) for one in value)
    if hasattr(value, "shape"):
        return "%s of shape %s" % (value.dtype, value.shape)
    return str(value)


def _parser(folder: Optional[str]) -> argparse.ArgumentParser:
    prog = "python %s" % ("-m qsdnn_runtime.app" if folder is None else shlex.quote(folder))
    parser = argparse.ArgumentParser(
        prog=prog, description="Runs the application on one input and prints what it found."
    )
    if folder is None:
        parser.add_argument("app", metavar="APP", help="the application's folder")
    parser.set_defaults(app=folder)
    parser.add_argument("input", metavar="INPUT", help="an image, a sound or a signal")
    parser.add_argument("--threads", type=int, metavar="N", help="default: the packages'")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _fail(error: Exception, code: int) -> int:
    print("error: %s" % error, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
