"""The kinds of layers besides convolutions that run below fp32: small ones, read back."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping

import numpy as np

from .kernel import read_kernels
from .library import DEVICE, core, import_library, opset
from .quantized import quantized
from .request import PRECISIONS

_CHANNELS, _SIZE = 16, 8


def kinds(properties: Mapping[str, Any], precision: str) -> List[str]:
    """The kinds whose small layer ran in a precision, between two convolutions that do.

    Args:
        properties: The properties that segments are compiled with.
        precision: The precision, as primitives name it.

    Raises:
        RuntimeError: The plugin refuses to compile the small layers.
    """
    return [kind for kind in _MAKERS if _runs(kind, properties, precision)]


def _runs(kind: str, properties: Mapping[str, Any], precision: str) -> bool:
    model = _model(kind, precision == "int8")
    compiled = core().compile_model(model, DEVICE, dict(properties))
    kernels = read_kernels(compiled.get_runtime_model(), {}, {})
    ran = [PRECISIONS.get(kernel.precision) for kernel in kernels if kernel.name == kind]
    return ran == [precision]


def _model(kind: str, integer: bool) -> Any:
    functions = opset()
    image = functions.parameter([1, _CHANNELS, _SIZE, _SIZE], np.float32)
    made = _MAKERS[kind](_convolution(image, integer), integer)
    made.set_friendly_name(kind)
    ends = quantized(made) if integer else made
    result = functions.result(_convolution(ends, integer, quantize=False))
    return import_library().Model([result], [image])


def _convolution(source: Any, integer: bool, quantize: bool = True) -> Any:
    """A pointwise convolution and a ReLU, in integers on both sides if asked."""
    functions = opset()
    if len(source.get_output_shape(0)) == 2:
        shape = functions.constant(np.array([1, _CHANNELS, 1, 1]))
        source = functions.reshape(source, shape, False)
    generator = np.random.default_rng(0)
    weights = functions.constant(generator.random((_CHANNELS, _CHANNELS, 1, 1), np.float32))
    if integer:
        source = quantized(source) if quantize else source
        weights = quantized(weights, signed=True)
    made = functions.convolution(source, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    made = functions.relu(made)
    return quantized(made) if integer else made


def _max_pool(source: Any, integer: bool) -> Any:
    return opset(1).max_pool(source, [2, 2], [0, 0], [0, 0], [2, 2])


def _average_pool(source: Any, integer: bool) -> Any:
    return opset().avg_pool(source, [2, 2], [0, 0], [0, 0], [2, 2], True)


def _global_average_pool(source: Any, integer: bool) -> Any:
    return opset().reduce_mean(source, opset().constant(np.array([2, 3])), True)


def _add(source: Any, integer: bool) -> Any:
    return opset().add(source, _other(source, integer))


def _concat(source: Any, integer: bool) -> Any:
    return opset().concat([source, _other(source, integer)], 2)


def _other(source: Any, integer: bool) -> Any:
    """Another value of the shape of `source`."""
    made = opset(1).max_pool(source, [1, 1], [1, 1], [1, 1], [3, 3])
    return quantized(made) if integer else made


def _product(source: Any, integer: bool) -> Any:
    functions = opset()
    rows = functions.reshape(
        functions.reduce_mean(source, functions.constant(np.array([2, 3])), False),
        functions.constant(np.array([1, _CHANNELS])),
        False,
    )
    generator = np.random.default_rng(1)
    weights = functions.constant(generator.random((_CHANNELS, _CHANNELS), np.float32))
    if integer:
        rows, weights = quantized(rows), quantized(weights, signed=True)
    return functions.matmul(rows, weights, False, False)


_MAKERS: Dict[str, Callable[[Any, bool], Any]] = {
    "product": _product,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Add": _add,
    "Concat": _concat,
}
