"""``python PACKAGE``, or ``python -m qsdnn_runtime PACKAGE``: times runs of a package."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from statistics import median
from typing import Any, Dict, List, Optional

import numpy as np

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.manifest import PackageError, TensorSpec
from qsdnn_runtime.program.values import FeedError
from qsdnn_runtime.session import Session

WARMUP = 2


def main(arguments: Optional[List[str]] = None, package: Optional[str] = None) -> int:
    """Runs the command: parses the arguments, runs the package and prints the report.

    Args:
        arguments: The command-line arguments; those of this process when None.
        package: The package to run, when the package itself is what was started; else None.

    Returns:
        Exit code: 0 done, 1 an engine failed, 2 bad input.
    """
    options = _parser(package).parse_args(arguments)
    try:
        report = run(options.package, options.input, options.runs, options.threads)
    except EngineError as error:
        return _fail(error, 1)
    except (PackageError, FeedError) as error:
        return _fail(error, 2)
    return _print(json.dumps(report) if options.json else _text(report))


def run(package: str, feeds: Optional[str], runs: int, threads: Optional[int]) -> Dict[str, Any]:
    """Checks a package, loads it, and times its runs.

    Args:
        package: The package's folder or zip.
        feeds: A file of `numpy.savez` with the package's inputs by name; random inputs when None.
        runs: The number of timed runs, after `WARMUP` runs that are not counted.
        threads: The number of threads each engine may use; the package's own number when None.

    Returns:
        The document that ``--json`` prints.
    """
    with Session(package, threads=threads) as session:
        manifest = session.manifest
        tensors = [manifest.tensors[name] for name in manifest.inputs]
        values = _random(tensors) if feeds is None else _read(feeds)
        outputs = session.run(None, values)
        session.bind(values)
        for _ in range(WARMUP):
            session.run_bound()
        timed = [session.run_timed() for _ in range(runs)]
    runs_ms = [total / 1e6 for total, _ in timed]
    return {
        "schema": "qsdnn.runtime/1",
        "model": manifest.name,
        "threads": manifest.threads if threads is None else threads,
        "runs_ms": runs_ms,
        "median_ms": median(runs_ms),
        "segments": [
            {
                "engine": segment.engine,
                "layers": len(segment.layers),
                "median_ms": median(times[position] / 1e6 for _, times in timed),
            }
            for position, segment in enumerate(manifest.segments)
        ],
        "outputs": {name: _summary(value) for name, value in zip(manifest.outputs, outputs)},
    }


def _parser(package: Optional[str]) -> argparse.ArgumentParser:
    prog = "python %s" % ("-m qsdnn_runtime" if package is None else shlex.quote(package))
    parser = argparse.ArgumentParser(
        prog=prog, description="Runs the package and prints its latency."
    )
    if package is None:
        parser.add_argument("package", metavar="PACKAGE", help="folder or zip")
    parser.set_defaults(package=package)
    parser.add_argument("--runs", type=_natural, default=20, metavar="N", help="default: 20")
    parser.add_argument("--threads", type=_natural, metavar="N", help="default: the package's")
    parser.add_argument("--input", metavar="FILE.npz", help="inputs by name; default: random")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _natural(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _random(tensors: List[TensorSpec]) -> Dict[str, np.ndarray]:
    """Normal random numbers for each input; zeros for integers, which are often indices."""
    generator = np.random.default_rng(0)
    values = {}
    for tensor in tensors:
        if tensor.shape is None or not tensor.dtype:
            raise FeedError("input '%s' has no fixed shape: give it with --input" % tensor.name)
        scale = 1.0 if np.dtype(tensor.dtype).kind in "fc" else 0.0
        values[tensor.name] = (scale * generator.standard_normal(tensor.shape)).astype(tensor.dtype)
    return values


def _read(path: str) -> Dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise FeedError("%s: cannot be read: %s" % (path, error.strerror)) from error
    except (ValueError, AttributeError, EOFError) as error:
        raise FeedError("%s: not a file of numpy.savez with plain arrays" % path) from error


def _summary(value: Any) -> Dict[str, Any]:
    if not isinstance(value, np.ndarray):
        return {"type": type(value).__name__}
    return {"type": str(value.dtype), "shape": list(value.shape)}


def _text(report: Dict[str, Any]) -> str:
    runs_ms = report["runs_ms"]
    lines = [
        "%s: %.3f ms (median of %d runs, %.3f to %.3f), %d thread(s)"
        % (
            report["model"],
            report["median_ms"],
            len(runs_ms),
            min(runs_ms),
            max(runs_ms),
            report["threads"],
        )
    ]
    for segment in report["segments"]:
        share = (segment["median_ms"], segment["engine"], segment["layers"])
        lines.append("  %8.3f ms  %s, %d layers" % share)
    return "\n".join(lines)


def _print(text: str) -> int:
    """Prints the result; ends without a traceback when nobody reads standard output any more."""
    try:
        print(text)
        sys.stdout.flush()
        return 0
    except OSError as error:
        # Python flushes what is left when it ends, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 1
        return _fail(OSError("cannot write the output: %s" % error.strerror), 1)


def _fail(error: Exception, code: int) -> int:
    print("error: %s" % error, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
