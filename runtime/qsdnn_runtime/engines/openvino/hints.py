"""Hints on how an operator is to be computed, written where the CPU plugin looks for them.

The plugin takes two attributes of an operator that the Python API cannot set and that files of
OpenVINO's own format (IR) can: ``primitives_priority``, the implementations to try first, and
``precise``, which keeps an operator in fp32 in a graph of lower precision. So the model goes
through such a file. The model's weights do not: meanwhile, inputs stand in for them.
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from .kernel import ANCHOR
from .library import core, import_library, opset

CONVOLUTIONS = ("Convolution", "GroupConvolution")

# Implementations that exist only for some kinds of convolution have a suffix to their name.
_SPECIAL = ("_dw", "_1x1", "")
# Smaller constants may be shapes or axes, which must be known when the file is read.
_LEAST_WEIGHTS = 64


@dataclass(frozen=True)
class Hint:
    """How one operator is to be computed.

    Attributes:
        algorithm: The algorithm, named as in `Kernel.algorithm`; ``""`` leaves it to the plugin.
        precise: Whether to compute in fp32 whatever the graph is compiled for.
    """

    algorithm: str = ""
    precise: bool = False


def with_hints(model: Any, hints: Mapping[str, Hint]) -> Any:
    """A copy of a model, with hints. The copy takes the weights; the given model is of no more use.

    Args:
        model: The model, an `openvino.Model`.
        hints: The hints, by the operator's friendly name.
    """
    library = import_library()
    weights = _replace_weights(model)
    inputs = [node.get_friendly_name() for node in model.get_parameters()]
    outputs = [node.get_friendly_name() for node in model.get_results()]
    stand_ins = [stand_in for stand_in, _ in weights]
    light = library.Model(model.get_results(), [*model.get_parameters(), *stand_ins])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.xml"
        library.serialize(light, str(path), str(path.with_suffix(".bin")))
        path.write_bytes(_annotated(path, hints))
        hinted = core().read_model(str(path))
    parameters = {node.get_friendly_name(): node for node in hinted.get_parameters()}
    for stand_in, constant in weights:
        _redirect(parameters[stand_in.get_friendly_name()].output(0), constant.output(0))
    results = {node.get_friendly_name(): node for node in hinted.get_results()}
    return library.Model([results[name] for name in outputs], [parameters[name] for name in inputs])


def add_anchors(model: Any, names: Collection[str]) -> None:
    """Puts the inputs of convolutions in the layout that the plugin prefers.

    A convolution that is asked for an algorithm takes its input in the layout in which the input
    comes. Behind an input of the graph that is NCHW, for which there are few implementations. A
    convolution that is asked for nothing takes the layout it prefers: here, such a convolution,
    which only copies, is put in front of the others.

    Args:
        model: The model; it gets further operators.
        names: The friendly names of the convolutions; other operators are left as they are.
    """
    anchors: Dict[Tuple[str, int], Any] = {}
    for op in model.get_ordered_ops():
        if op.get_friendly_name() not in names or op.get_type_name() not in CONVOLUTIONS:
            continue
        source = op.input(0).get_source_output()
        key = (source.get_node().get_friendly_name(), source.get_index())
        if key not in anchors:
            anchors[key] = _copy(source)
            anchors[key].set_friendly_name(op.get_friendly_name() + ANCHOR)
        op.input(0).replace_source_output(anchors[key].output(0))


def _copy(source: Any) -> Any:
    """A depthwise convolution that multiplies by one.

    Nothing cheaper was found that the plugin neither removes nor leaves in NCHW.
    """
    spatial = len(source.get_shape()) - 2
    ones = np.ones((source.get_shape()[1], 1, 1, *[1] * spatial), np.float32)
    steps, pads = [1] * spatial, [0] * spatial
    functions = opset()
    return functions.group_convolution(source, functions.constant(ones), steps, pads, pads, steps)


def _replace_weights(model: Any) -> List[Tuple[Any, Any]]:
    """Replaces weights by inputs; returns pairs of an input and the weights it replaces."""
    functions = opset()
    pairs: List[Tuple[Any, Any]] = []
    for op in model.get_ordered_ops():
        if op.get_type_name() != "Constant" or np.prod(op.get_output_shape(0)) < _LEAST_WEIGHTS:
            continue
        stand_in = functions.parameter(op.get_output_shape(0), op.get_output_element_type(0))
        stand_in.set_friendly_name("weights:%d" % len(pairs))
        _redirect(op.output(0), stand_in.output(0))
        pairs.append((stand_in, op))
    return pairs


def _redirect(old: Any, new: Any) -> None:
    for target in old.get_target_inputs():
        target.replace_source_output(new)


def _annotated(path: Path, hints: Mapping[str, Hint]) -> bytes:
    """The file's content with the hints."""
    tree = xml.parse(path)
    for layer in tree.iter("layer"):
        hint = hints.get(layer.get("name", ""))
        if hint is None:
            continue
        info = layer.find("rt_info")
        if info is None:
            info = xml.Element("rt_info")
            layer.insert(int(layer.find("data") is not None), info)
        for name, value in _attributes(hint):
            xml.SubElement(info, "attribute", {"name": name, "version": "0", **value})
    return xml.tostring(tree.getroot())


def _attributes(hint: Hint) -> Sequence[Tuple[str, Dict[str, str]]]:
    attributes: List[Tuple[str, Dict[str, str]]] = []
    if hint.algorithm:
        names = ",".join("cpu:" + hint.algorithm + special for special in _SPECIAL)
        attributes.append(("primitives_priority", {"value": names}))
    if hint.precise:
        attributes.append(("precise", {}))
    return attributes
