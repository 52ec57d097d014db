"""Subjects: whatever a command can run, be it a plan, a package, or a model in one bare engine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.board import BoardInfo, Package
from qsdnn.engine import load_engines
from qsdnn.errors import InputError
from qsdnn.model import load_graph
from qsdnn.model.layer import Tensor
from qsdnn.plan.build import Builder
from qsdnn.plan.package import is_package, read_package
from qsdnn.plan.rebuild import rebuild


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
            ``@ENGINE`` names the engine that runs it bare (onnxruntime when left out): see
            `Builder.bare`.
        model: The file of a plan's network; None takes the file that the plan names.
        info: The board that the subject is to run on.
        folder: The folder of the artifacts, which must outlive the subject.
        shapes: The dimensions of a model's dynamic inputs, by input name.
        threads: The number of threads that a model is built for.

    Raises:
        InputError: The path is none of these.
    """
    file, _, engine = path.name.partition("@")
    bare = path.with_name(file)
    if not path.exists() and not bare.exists():
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


def _bare(
    model: Path,
    engine: str,
    info: BoardInfo,
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    threads: int,
) -> Package:
    engines = load_engines([engine])
    if engine not in info.engines:
        raise InputError(
            f"the board {info.name} does not have {engine}",
            hint=f"it has {', '.join(info.engines)}; qsdnn boards check {shlex.quote(info.name)} "
            "says what is missing",
        )
    graph = load_graph(model, shapes, workdir=folder)
    return Builder(graph, engines, folder, threads=threads, infos=info.engines).bare(engine)


def _tensor(name: str, spec: Mapping[str, object]) -> Tensor:
    shape = spec["shape"]
    return Tensor(
        name=name,
        dtype=str(spec["dtype"]),
        shape=tuple(int(size) for size in shape) if isinstance(shape, list | tuple) else None,
    )
