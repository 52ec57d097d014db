"""The algorithms and precisions that the plugin has: asked for on small layers, and read back."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from .hints import Hint, with_hints
from .kernel import AUTO, PRECISIONS, RENAMED, Kernel, read_kernels
from .library import DEVICE, core, import_library, opset

# Words that the plugin may know; words in its answers are asked for as well. A word that the plugin
# does not know costs one more small layer to compile.
_WORDS = """
    brgconv_avx512_amx brgconv_avx512 brgconv_avx2 jit_avx512 jit_avx2 jit_sse42 jit_gemm
    winograd_acl gemm_acl acl jit_sve jit_asimd brgconv_sve
"""

# Plain loops to check other algorithms against: they take seconds where others take milliseconds.
_REFERENCE = {"ref", "reference", "unknown", "undef"}
# Hundreds of times slower than others in bf16 (107 ms against 0.3 ms), and absent in integers.
_ONLY_FP32 = "jit_gemm"
_OTHER = "other"
_CHANNELS, _SIZE = 16, 8


def quantized(source: Any, limit: float = 1.0, signed: bool = False) -> Any:
    """A value rounded to 8 bits.

    Args:
        source: The operator that makes the value.
        limit: The largest value.
        signed: Whether values range from -limit, as weights do, or from 0, as the output of a ReLU.
    """
    low, levels = (-limit, 255) if signed else (0.0, 256)
    ends = [opset().constant(np.float32(end)) for end in (low, limit)]
    return opset().fake_quantize(source, *ends, *ends, levels)


class Member(NamedTuple):
    """A small layer: a convolution, with the properties that may matter to an implementation."""

    kind: str
    channels: int
    outputs: int
    kernel: Tuple[int, int] = (3, 3)
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    fused: bool = False


# A usual layer of each kind, and then awkward ones.
_MEMBERS = (
    Member("conv", 16, 16),
    Member("pointwise", 16, 16, (1, 1)),
    Member("depthwise", 16, 16, groups=16),
    Member("grouped", 32, 32, groups=2),
    Member("conv", 3, 10, (5, 3), stride=2, dilation=2, fused=True),
    Member("pointwise", 17, 3, (1, 1), stride=2, fused=True),
    Member("depthwise", 3, 3, (5, 3), stride=2, dilation=2, groups=3, fused=True),
    Member("grouped", 6, 6, groups=2, stride=2, fused=True),
    Member("grouped", 8, 16, groups=8),
    Member("grouped", 16, 16, (1, 1), groups=4),
)
_KINDS = tuple(dict.fromkeys(member.kind for member in _MEMBERS))


def algorithms(properties: Mapping[str, Any], precision: str) -> List[Tuple[str, str]]:
    """Pairs of a kind and an algorithm by which all small layers of that kind ran in a precision.

    The plugin silently replaces an implementation that it lacks. An algorithm counts as present
    only if it was executed as asked on every small layer of its kind, awkward ones included.

    The algorithm that the plugin takes by itself is called ``auto``; the others differ from it.

    Args:
        properties: The properties that segments are compiled with.
        precision: The precision, as primitives name it.

    Raises:
        RuntimeError: The plugin refuses to compile the small layers.
    """
    told: Dict[Tuple[Member, str], str] = {}
    words, known = ["", *_WORDS.split()], [""]
    while words:
        told.update(_answers(_MEMBERS[: len(_KINDS)], words, properties, precision))
        new = sorted(set(told.values()) - {word for _, word in told} - {_OTHER})
        known += [word for word in words if word in told.values()]
        words = [word for word in new if not _REFERENCE & set(word.split("_"))]
    known = list(dict.fromkeys(known))
    told.update(_answers(_MEMBERS[len(_KINDS) :], known, properties, precision))
    found = []
    for kind in _KINDS:
        alike = [member for member in _MEMBERS if member.kind == kind]
        if all(told.get((member, ""), _OTHER) != _OTHER for member in alike):
            found.append((kind, AUTO))
        for word in known[1:]:
            if word == _ONLY_FP32 and precision != "fp32":
                continue
            heeded = all(told.get((member, word)) == word for member in alike)
            if heeded and any(told.get((member, "")) != word for member in alike):
                found.append((kind, word))
    return found


def _answers(
    members: Sequence[Member], words: Sequence[str], properties: Mapping[str, Any], precision: str
) -> Dict[Tuple[Member, str], str]:
    """The algorithm that each member took when asked for each word; `_OTHER` if in another type."""
    named = {
        "%d:%d" % (i, j): (member, word)
        for i, member in enumerate(members)
        for j, word in enumerate(words)
    }
    hints = {name: Hint(algorithm=word) for name, (_, word) in named.items()}
    members_by_name = {name: member for name, (member, _) in named.items()}
    model = with_hints(_model(members_by_name, precision == "int8"), hints)
    compiled = core().compile_model(model, DEVICE, dict(properties))
    kernels = read_kernels(compiled.get_runtime_model(), {}, {})
    told = {k.name.partition(RENAMED)[0]: _answer(k, precision) for k in kernels if k.computes}
    return {named[name]: answer for name, answer in told.items() if name in named}


def _answer(kernel: Kernel, precision: str) -> str:
    return kernel.algorithm if PRECISIONS.get(kernel.precision) == precision else _OTHER


def _model(members: Mapping[str, Member], integer: bool) -> Any:
    """A model of small layers by name, each behind a convolution that the plugin may lay out."""
    functions, inputs, results = opset(), [], []
    sources: Dict[Member, Any] = {}
    for seed, (name, member) in enumerate(members.items()):
        if member not in sources:
            inputs.append(functions.parameter([1, member.channels, 9, 9], np.float32))
            source = _source(member, inputs[-1])
            sources[member] = quantized(functions.relu(source)) if integer else source
        # The weights of the layers differ: equal layers would become one.
        made = _layer(member, sources[member], seed, integer)
        made.set_friendly_name(name)
        results.append(functions.result(functions.hswish(made) if member.fused else made))
    return import_library().Model(results, inputs)


def _source(member: Member, image: Any) -> Any:
    weights = np.ones((member.channels, member.channels, 1, 1), np.float32)
    return opset().convolution(image, opset().constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])


def _layer(member: Member, source: Any, seed: int, integer: bool) -> Any:
    functions, groups = opset(), member.groups
    steps, pads, dilations = [member.stride] * 2, [1, 1], [member.dilation] * 2
    shape: Tuple[int, ...] = (member.outputs // groups, member.channels // groups, *member.kernel)
    generator = np.random.default_rng(seed)
    shape = shape if groups == 1 else (groups, *shape)
    weights = functions.constant(generator.random(shape, np.float32))
    if integer:
        weights = quantized(weights, signed=True)
    convolve = functions.convolution if groups == 1 else functions.group_convolution
    return convolve(source, weights, steps, pads, pads, dilations)


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
    model = _between_convolutions(kind, precision == "int8")
    compiled = core().compile_model(model, DEVICE, dict(properties))
    kernels = read_kernels(compiled.get_runtime_model(), {}, {})
    ran = [PRECISIONS.get(kernel.precision) for kernel in kernels if kernel.name == kind]
    return ran == [precision]


def _between_convolutions(kind: str, integer: bool) -> Any:
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
