"""C packages: folders with a plan's network as C source, for a microcontroller's own program."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from qsdnn.engine import Code, Coder, Engine, load_engines
from qsdnn.errors import InputError
from qsdnn.files import naming, write_output
from qsdnn.model import load_graph
from qsdnn.plan import Plan, check_graph, read_plan
from qsdnn.plan.package import ARCHIVES
from qsdnn.plan.subject import find_model
from qsdnn.primitive import Precision, parse_name


def code_of(path: Path, model: Path | None, lanes: int) -> tuple[Code, str]:
    """A plan's network as C source, and what in it is not as planned; empty where all is.

    Args:
        path: The plan's file. Layers planned for other engines take the coder's own algorithm.
        model: The network's file; None looks where the plan says, beside the plan, and in the
            current folder.
        lanes: The floats in a vector of the processor; 1 where it has no vectors.

    Raises:
        PlanError: The file is no plan, or does not fit the model.
        InputError: No engine here writes C, or the one that does cannot run a layer.
    """
    plan = read_plan(path)
    name, coder = _coder(load_engines())
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        graph = load_graph(
            model or find_model(plan, path), plan.model.shapes, workdir=Path(scratch)
        )
        check_graph(plan, graph, str(path))
        algorithms = [_algorithm(choice.primitive, name) for choice in plan.layers]
        code = coder.code(graph, algorithms, lanes)
    return code, _difference(plan, path, name, algorithms.count(""))


def check_folder(folder: Path, *, force: bool) -> None:
    """Checks that a C package can be written to a folder, before it is made.

    Args:
        folder: The folder.
        force: Whether it may hold files; those of the same names are replaced.

    Raises:
        InputError: The package cannot be written there.
    """
    if folder.suffix.lower() in {*ARCHIVES, ".zip", ".c", ".h"}:
        raise InputError(
            f"-o {folder}: a C package is a folder",
            hint=f"for example: -o {folder.with_suffix('')}",
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} exists and is no folder", hint="choose another -o")
    if folder.is_dir() and not force and any(folder.iterdir()):
        raise InputError(
            f"{folder} is not empty",
            hint="add --force to replace the package's files in it, or choose another -o",
        )
    parent = folder.resolve().parent
    with naming(folder), tempfile.TemporaryDirectory(dir=parent, prefix=".qsdnn-"):
        pass


def write_code(code: Code, folder: Path) -> None:
    """Writes the files of a C package; others in the folder stay.

    Raises:
        InputError: A file cannot be written.
    """
    with naming(folder):
        folder.mkdir(exist_ok=True)
    for name, content in code.files.items():
        write_output(folder / name, content)


def _coder(engines: Mapping[str, Engine]) -> tuple[str, Coder]:
    for name, engine in engines.items():
        if isinstance(engine, Coder):
            return name, engine
    raise InputError(
        f"none of the engines here writes C: {', '.join(engines)}",
        hint="install qsdnn with its engine lne",
    )


def _algorithm(primitive: str, engine: str) -> str:
    """The algorithm of a primitive of an engine in fp32; empty for any other."""
    planned, algorithm, precision = parse_name(primitive)
    return algorithm if (planned, precision) == (engine, Precision.FP32) else ""


def _difference(plan: Plan, path: Path, name: str, others: int) -> str:
    """The reason why what a plan says need not hold for its network in C."""
    board = plan.board["name"]
    found = f"{path} was found on {board}: what it says of speed need not hold in C"
    if not others:
        return found
    return (
        f"{others} of {len(plan.layers)} layers are planned for other engines: they take {name}'s "
        f"algorithm of least memory, in fp32. {found}"
    )
