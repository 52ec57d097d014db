"""The host half of the engine ``lne``: offers primitives, and builds segments."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from qsdnn.engine import Code, EngineInfo
from qsdnn.errors import BuildError, InputError, UnsupportedLayerError
from qsdnn.model.layer import Graph, Layer
from qsdnn.model.segment import Artifact, Segment, block_of
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.c_package import c_package
from qsdnn_primitives.lne.library import compiler, put_kernels
from qsdnn_primitives.lne.lowering import AUTO, algorithms, baselines, inputs_of, lower, read
from qsdnn_primitives.lne.narrow import TILES, can_be_narrow
from qsdnn_primitives.lne.program import Step, Weights, clear, write_program
from qsdnn_primitives.lne.target import TARGETS, Target, told_target
from qsdnn_primitives.lne.tensor import Image, Tensor
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape

NAME = "lne"

SMALL_CACHE = 1 << 12
"""The floats in the data cache of a processor without an operating system: 16 KB, as many have."""

Shapes = Mapping[str, tuple[int, ...]]


class LneEngine:
    """The host half of the engine ``lne``; see `qsdnn.engine.Engine`.

    All primitives are of one family, named for the board's processor: a segment may mix algorithms
    as it likes, and passes images on in blocks of channels.
    """

    name = NAME

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[Hashable, ...], str]] = {}
        self._steps_of_int8: dict[str, dict[tuple[Hashable, ...], tuple[Weights, Weights]]] = {}

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """One primitive for each algorithm that runs the layer, likely fastest first.

        Then those of few bits, where the processor multiplies such numbers. There is none for a
        pinned layer, for operators without a kernel, and where this machine cannot compile for the
        board's processor.
        """
        wide = self._primitives(layer, info, _algorithms)
        few = [p for p in TILES if p.upper() in info.capabilities] if wide else []
        narrow = self._primitives(layer, info, _narrow) if few else ()
        return (*wide, *(replace(p, precision=precision) for precision in few for p in narrow))

    def unoffered(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The plain loops, ``vanilla``: see `qsdnn.engine.Reserved`."""
        return self._primitives(layer, info, _baselines)

    def _primitives(
        self, layer: Layer, info: EngineInfo, algorithms: Callable[[Layer, int], tuple[str, ...]]
    ) -> tuple[Primitive, ...]:
        target = told_target(info.capabilities)
        if target is None or self.refusal(info):
            return ()
        try:
            names = algorithms(layer, target.lanes)
        except UnsupportedError:
            return ()
        return tuple(
            Primitive(
                engine=NAME,
                algorithm=name,
                precision=Precision.FP32,
                family=f"{NAME}/{target.name}",
                layouts=(target.layout,),
            )
            for name in names
        )

    def layouts(self, layer: Layer, primitive: Primitive) -> Sequence[str]:
        """The primitive's layouts, where each tensor is one image: see `qsdnn.engine.Choosy`."""
        values = [v for node in layer.nodes for v in (*node.inputs, *node.outputs) if v is not None]
        shapes = [static_shape(v) for v in values if v.name and not is_constant(v)]
        images = all(shape[0] == 1 for shape in shapes if len(shape) == 4)
        return primitive.layouts if images else ()

    def refusal(self, info: EngineInfo) -> str:
        """The reason why nothing can be compiled for a board here: see `qsdnn.engine.Compiler`."""
        target = told_target(info.capabilities)
        if target is None:
            return "there is no code for the board's processor"
        if compiler(target) is None:
            return f"there is no compiler for {target.name}; pip install 'qsdnn[lne]'"
        return ""

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a program, its weights and the compiled kernels.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for, or the
                kernels cannot be compiled.
        """
        target = _target(segment)
        sha256 = segment.graph.sha256
        builder = Builder(
            target.lanes,
            calibration=segment.calibration,
            byte_offset=target.byte_offset,
            steps_of_int8=self._steps_of_int8.setdefault(sha256, {}),
        )
        steps, inputs, outputs = _lowered(segment, builder)
        library = put_kernels(target, folder)
        known = self._known.setdefault(sha256, {})
        files = write_program(steps, inputs, outputs, library, folder, known)
        return Artifact(file=files[0], files=tuple(files), options={})

    def code(self, graph: Graph, algorithms: Sequence[str], lanes: int) -> Code:
        """A network as C source: see `qsdnn.engine.Coder`.

        By default a layer takes its last algorithm, which needs least memory.

        Raises:
            UnsupportedLayerError: A layer has an operator without a kernel.
            InputError: A layer cannot take the algorithm asked for.
        """
        choices = tuple(
            Primitive(
                engine=NAME, algorithm=_coded(layer, name, lanes), precision=Precision.FP32,
                family=NAME,
            )
            for layer, name in zip(graph.layers, algorithms, strict=True)
        )  # fmt: skip
        used = {name for layer in graph.layers for name in layer.inputs}
        segment = Segment(
            family=NAME,
            layers=graph.layers,
            choices=choices,
            inputs=tuple(name for name in graph.inputs if name in used),
            outputs=graph.outputs,
            graph=graph,
        )
        steps, inputs, outputs = _lowered(segment, Builder(lanes, SMALL_CACHE))
        with TemporaryDirectory(prefix="qsdnn-") as scratch:
            folder = Path(scratch)
            file, *_ = write_program(clear(steps), inputs, outputs, "", folder, {}, cleared=True)
            document = json.loads((folder / file).read_text(encoding="utf-8"))
            parts = [np.fromfile(folder / name, np.float32) for name in document["weights"]]
        weights = np.concatenate([np.zeros(0, np.float32), *parts])
        return c_package(document, weights, lanes, graph.name, [x.name for x in graph.layers])


def _target(segment: Segment) -> Target:
    name = segment.family.partition("/")[2]
    if name not in TARGETS:
        raise BuildError(f"'{segment.family}' is no family of lne")
    return TARGETS[name]


def _lowered(segment: Segment, builder: Builder) -> tuple[list[Step], Shapes, Shapes]:
    """The steps of a segment, and the shapes of its inputs and outputs.

    Raises:
        BuildError: A layer cannot be expressed, or not with the algorithm asked for.
    """
    translated = [
        _taken(layer, choice, builder.lanes)
        for layer, choice in zip(segment.layers, segment.choices, strict=True)
    ]
    values = {v.name: v for ops in translated for op in ops for v in (*op.inputs, *op.outputs)}
    for name in segment.inputs:
        _take(builder, values[name], name, segment.layouts.get(name, ""))
    for layer, choice, ops in zip(segment.layers, segment.choices, translated, strict=True):
        builder.layer = layer.index
        with _naming(layer):
            lower(builder, ops, layer.outputs, choice.algorithm, choice.precision)
    for name in segment.outputs:
        _hand_out(builder, values[name], name, segment.layouts.get(name, ""))
    inputs = {name: static_shape(values[name]) for name in segment.inputs}
    outputs = {name: static_shape(values[name]) for name in segment.outputs}
    return builder.steps, inputs, outputs


@contextmanager
def _naming(layer: Layer) -> Iterator[None]:
    """Names the layer that has no kernel."""
    try:
        yield
    except UnsupportedError as error:
        raise BuildError(f"{NAME} cannot run layer '{layer.name}': {error}") from error


def _taken(layer: Layer, choice: Primitive, lanes: int) -> list[Op]:
    """The operators of a layer that can take a choice.

    Raises:
        BuildError: It cannot.
    """
    with _naming(layer):
        ops = read(layer)
        names = (*_names(ops), *baselines(ops))
        narrow = _narrow(layer, lanes) if choice.precision in TILES else ()
        if choice.algorithm in (names if choice.precision is Precision.FP32 else narrow):
            for value in inputs_of(ops):
                static_shape(value)  # which the caller's buffers need
            return ops
        _check(layer, ops, names[0], lanes)
    raise BuildError(
        f"layer '{layer.name}' cannot take {choice}",
        hint=f"it can take: {', '.join(narrow if choice.precision in TILES else names)}",
    )


def _coded(layer: Layer, algorithm: str, lanes: int) -> str:
    """The algorithm of a layer in C: what is asked for, or that of least memory."""
    try:
        names = _algorithms(layer, lanes)
        accepted = (*names, *_baselines(layer, lanes))
    except UnsupportedError as error:
        raise UnsupportedLayerError(
            f"{NAME} cannot run layer '{layer.name}' ({', '.join(layer.op_types)}): {error}",
            hint="there is no C for it: change the network, or leave out --format c",
        ) from error
    if algorithm and algorithm not in accepted:
        raise InputError(
            f"layer '{layer.name}' cannot take {NAME}/{algorithm}",
            hint=f"it can take: {', '.join(accepted)}",
        )
    return algorithm or names[-1]


def _algorithms(layer: Layer, lanes: int) -> tuple[str, ...]:
    """The algorithms that a layer may take, likely fastest first.

    Raises:
        UnsupportedError: An operator has no kernel.
    """
    ops = read(layer)
    names = _names(ops)
    _check(layer, ops, names[0], lanes)
    return names


def _baselines(layer: Layer, lanes: int) -> tuple[str, ...]:
    """The algorithms that a layer may take and are never fastest.

    Raises:
        UnsupportedError: An operator has no kernel.
    """
    ops = read(layer)
    names = baselines(ops)
    for name in names:
        _check(layer, ops, name, lanes)
    return names


def _narrow(layer: Layer, lanes: int) -> tuple[str, ...]:
    """The algorithms that a layer may take with few bits, where it may take any at all."""
    ops = read(layer)
    return _names(ops)[-1:] if can_be_narrow(ops, layer.inputs, lanes) else ()


def _names(ops: Sequence[Op]) -> tuple[str, ...]:
    choices = [choice for choice in map(algorithms, ops) if choice]
    if not choices:
        return (AUTO,)
    return tuple(name for name in choices[0] if all(name in other for other in choices[1:]))


def _check(layer: Layer, ops: Sequence[Op], algorithm: str, lanes: int) -> None:
    """Raises UnsupportedError where a layer cannot be lowered."""
    builder = Builder(lanes)
    for value in inputs_of(ops):
        builder.take(value, Tensor(size=prod(static_shape(value)), buffer=str(value.name)))
    lower(builder, ops, layer.outputs, algorithm)


def _take(builder: Builder, value: ir.Value, name: str, layout: str) -> None:
    """Gives the builder the caller's buffer of an input."""
    shape = static_shape(value)
    if layout:
        assert block_of(layout) == builder.lanes
        form: Tensor = Image(
            channels=shape[1], height=shape[2], width=shape[3], lanes=builder.lanes,
            buffer=name, rigid=True,
        )  # fmt: skip
    else:
        form = Tensor(size=prod(shape), buffer=name)
    builder.take(value, form)


def _hand_out(builder: Builder, value: ir.Value, name: str, layout: str) -> None:
    """Adds the step that writes an output into the caller's buffer."""
    shape = static_shape(value)
    if layout:
        image = builder.image(value)
        made = Image(
            channels=shape[1], height=shape[2], width=shape[3], lanes=builder.lanes,
            buffer=name, rigid=True,
        )  # fmt: skip
        builder.copy_image(image, made)
        return
    size = prod(shape)
    made_plain = Tensor(size=size, buffer=name)
    elements = builder.elements(value)
    if elements is not None and not builder.has_plain(value):
        builder.unpack(elements, made_plain)
        return
    plain = builder.plain(value)
    builder.add(
        "copy", (plain,), made_plain,
        lambda: {"x": plain, "y": made_plain, "blocks": 1, "height": 1, "width": size},
    )  # fmt: skip
