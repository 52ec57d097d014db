"""Subjects: what a command can run: a plan built again, a package, a model in a bare engine."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.board import BoardInfo, Package
from qsdnn.engine import PACKAGES, Engine, load_engines
from qsdnn.errors import InputError, PlanError
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph, Tensor
from qsdnn.plan import Plan, choices, read_plan
from qsdnn.plan.build import Builder
from qsdnn.plan.package import is_package, read_package
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import space_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A package to run, and what it is made for.

    Attributes:
        name: The name of the subject, as the user wrote it.
        package: The package that the board gets.
        tensors: The inputs of the package by name, in the model's order.
        threads: The number of threads that the package was made for.
    """

    name: str
    package: Package
    tensors: Mapping[str, Tensor] = field(repr=False)
    threads: int


def open_subject(
    path: Path,
    model: Path | None,
    info: BoardInfo,
    folder: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    threads: int = 1,
) -> Subject:
    """Opens a plan, a package or a model.

    Args:
        path: The path: ``plan.json``; a package's folder or zip; or ``model.onnx``, behind which
            ``@ENGINE`` names the engine that runs it bare (onnxruntime when left out), and
            ``@ENGINE/ALGORITHM`` an algorithm for all layers that can take it: see `Builder.bare`.
        model: The file of a plan's network; None takes the file that the plan names.
        info: The board that the subject is to run on.
        folder: The folder of the artifacts, which must outlive the subject.
        shapes: The dimensions of a model's dynamic inputs, by input name.
        threads: The number of threads that a model is built for.

    Raises:
        InputError: The path is none of these.
    """
    bare, engine = _split(path)
    if not bare.exists():
        raise InputError(f"{path} does not exist", hint="give a plan, a package or a model")
    if is_package(path):
        package = read_package(path, folder)
    elif path.suffix == ".json":
        package = rebuild(path, model, info, folder).package
    else:
        package = _bare(bare, engine or "onnxruntime", info, folder, shapes or {}, threads)
    manifest = package.manifest
    return Subject(
        name=str(path),
        package=package,
        tensors={name: _tensor(name, manifest["tensors"][name]) for name in manifest["inputs"]},
        threads=manifest["threads"],
    )


def _split(path: Path) -> tuple[Path, str]:
    """The file of a model, and what is behind ``@``."""
    file, _, engine = str(path).rpartition("@")
    return (Path(file), engine) if Path(file).is_file() and not path.exists() else (path, "")


def _bare(
    model: Path,
    engine: str,
    info: BoardInfo,
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    threads: int,
) -> Package:
    engine, _, algorithm = engine.partition("/")
    engines = load_engines([engine])
    if engine not in info.engines:
        raise InputError(
            f"the board {info.name} does not have {engine}",
            hint=f"it has {', '.join(info.engines)}; qsdnn boards check {shlex.quote(info.name)} "
            "says what is missing",
        )
    graph = load_graph(model, shapes, workdir=folder)
    return Builder(graph, engines, folder, threads=threads, infos=info.engines).bare(
        engine, algorithm
    )


def _tensor(name: str, spec: Mapping[str, object]) -> Tensor:
    shape = spec["shape"]
    return Tensor(
        name=name,
        dtype=str(spec["dtype"]),
        shape=tuple(int(size) for size in shape) if isinstance(shape, list | tuple) else None,
    )


LOCAL = "local"
"""The name of the board whose engines are those of the Python that runs this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The result of rebuilding a plan.

    Attributes:
        plan: The plan.
        graph: The network.
        choice: The primitive of each layer.
        package: The package that was built from the plan.
        reference: The network as the user gave it, built for onnxruntime.
        note: The differences of the board from the one that the plan was found on; empty when there
            are none.
    """

    plan: Plan = field(repr=False)
    graph: Graph = field(repr=False)
    choice: tuple[Primitive, ...] = field(repr=False)
    package: Package
    reference: Package
    note: str = ""

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The network's inputs by name."""
        return {name: self.graph.tensors[name] for name in self.graph.inputs}


def rebuild(path: Path, model: Path | None, info: BoardInfo, folder: Path) -> Rebuilt:
    """Builds a plan again.

    Args:
        path: The plan's file.
        model: The network's file; None looks where the plan says, beside the plan, and in the
            current folder.
        info: The board that the plan is to run on.
        folder: The folder of the artifacts, which must outlive the packages.

    Raises:
        PlanError: The file is no plan, or does not fit the model or the board.
    """
    plan = read_plan(path)
    network = model or find_model(plan, path)
    names = dict.fromkeys(choice.primitive.split("/")[0] for choice in plan.layers)
    graph = load_graph(network, plan.model.shapes, workdir=folder)
    engines = _engines(list(names), path)
    absent = [name for name in engines if name not in info.engines]
    if absent:
        raise PlanError(
            f"{path} needs {' and '.join(absent)}, which the board {info.name} does not have",
            hint=f"{_installing(absent, info)}   (it has: {', '.join(info.engines)})",
        )
    space = space_of(graph, engines, info.engines, tuple(Precision), unoffered=True)
    choice = choices(plan, graph, space, str(path))
    builder = Builder(
        graph,
        engines,
        folder,
        threads=plan.threads,
        calibration=plan.calibration,
        infos=info.engines,
    )
    return Rebuilt(
        plan=plan,
        graph=graph,
        choice=choice,
        package=builder.build(choice),
        reference=builder.reference(),
        note=_difference(plan, path, info),
    )


def find_model(plan: Plan, path: Path) -> Path:
    """The model where the plan says, beside the plan, or here; its hash is checked later.

    Raises:
        PlanError: There is none.
    """
    said = Path(plan.model.path)
    places = list(dict.fromkeys([said, path.resolve().parent / said.name, Path.cwd() / said.name]))
    for place in places:
        if place.is_file():
            return place
    looked = dict.fromkeys(os.path.abspath(place) for place in places)
    raise PlanError(
        f"{path}: its model {said.name} is not there any more: looked at {', '.join(looked)}",
        hint="say where it is: --model FILE",
    )


def _engines(names: Sequence[str], path: Path) -> Mapping[str, Engine]:
    """The engines of a plan; other packages may bring some."""
    try:
        return load_engines(names)
    except InputError as error:
        told = f"   ({error.hint})" if error.hint else ""
        raise PlanError(
            f"{path} needs an engine that is not installed here: {error.message}",
            hint=f"{_pip('PACKAGE')}, the package that brings the engine{told}",
        ) from error


def _installing(engines: Sequence[str], info: BoardInfo) -> str:
    """The command that adds engines to a board."""
    if info.name == LOCAL:
        return _pip(*dict.fromkeys(PACKAGES.get(name, name) for name in engines))
    return f"qsdnn boards setup {shlex.quote(info.name)} --engines {','.join(engines)}"


def _pip(*packages: str) -> str:
    return f"{shlex.quote(sys.executable)} -m pip install {' '.join(packages)}"


def _difference(plan: Plan, path: Path, info: BoardInfo) -> str:
    """The reason why what was measured for a plan need not hold on a board; empty for none."""
    found = []
    if plan.board["fingerprint"] != info.fingerprint:
        found.append(f"on another board ({plan.board['name']}; this one is {info.name})")
    for name, version in plan.engines.items():
        here = info.engines[name].version
        if version != here:
            found.append(f"with {name} {version} (here it is {here})")
    if not found:
        return ""
    return (
        f"{path} was found {' and '.join(found)}: what it says of speed and accuracy need not hold "
        f"here; qsdnn search {shlex.quote(plan.model.path)} finds a plan for this board"
    )
