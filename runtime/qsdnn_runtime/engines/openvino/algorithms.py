"""Which algorithms the plugin really has: asked for on small layers, and read back.

An implementation that is not there is replaced silently. What is told here was executed as asked on
every layer of its kind, awkward ones included.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from .hints import Hint, with_hints
from .kernel import Kernel, read_kernels
from .library import DEVICE, core, import_library, opset

# Words the plugin may know; those that it answers with are asked for as well. One that it does not
# know costs one more small layer to compile.
_WORDS = """
    brgconv_avx512_amx brgconv_avx512 brgconv_avx2 jit_avx512 jit_avx2 jit_sse42 jit_gemm
    winograd_acl gemm_acl acl jit_sve jit_asimd brgconv_sve
"""

# Loops to check others against: seconds where the others take milliseconds.
_REFERENCE = {"ref", "reference", "unknown", "undef"}


class Member(NamedTuple):
    """A small layer: a convolution, with what may matter to those who compute it."""

    kind: str
    channels: int
    outputs: int
    kernel: Tuple[int, int] = (3, 3)
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    fused: bool = False


# The usual of each kind, and then the awkward.
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


def algorithms(properties: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """Pairs of a kind and an algorithm that differs from what the plugin takes by itself.

    Args:
        properties: As segments are compiled with.

    Raises:
        RuntimeError: The plugin refuses to be asked.
    """
    told: Dict[Tuple[Member, str], str] = {}
    words, known = ["", *_WORDS.split()], [""]
    while words:
        told.update(_answers(_MEMBERS[: len(_KINDS)], words, properties))
        new = sorted(set(told.values()) - {word for _, word in told})
        known += [word for word in words if word in told.values()]
        words = [word for word in new if not _REFERENCE & set(word.split("_"))]
    told.update(_answers(_MEMBERS[len(_KINDS) :], known, properties))
    found = []
    for kind in _KINDS:
        alike = [member for member in _MEMBERS if member.kind == kind]
        for word in known[1:]:
            heeded = all(told.get((member, word)) == word for member in alike)
            if heeded and any(told.get((member, "")) != word for member in alike):
                found.append((kind, word))
    return found


def precise_kinds(properties: Mapping[str, Any]) -> List[str]:
    """Kinds of layers that can stay in fp32 in a graph that is compiled for less.

    Args:
        properties: As segments are compiled with, in that lower precision.

    Raises:
        RuntimeError: The plugin refuses to be asked.
    """
    kernels = _read_back(_MEMBERS, {"": Hint(), "precise": Hint(precise=True)}, properties)
    wide = {asked for asked, kernel in kernels.items() if kernel.precision == "f32"}
    kept = {m.kind for m in _MEMBERS if (m, "precise") in wide and (m, "") not in wide}
    lost = {m.kind for m in _MEMBERS if (m, "precise") not in wide}
    return [kind for kind in _KINDS if kind in kept - lost]


def _answers(
    members: Sequence[Member], words: Sequence[str], properties: Mapping[str, Any]
) -> Dict[Tuple[Member, str], str]:
    """The algorithm that each member took when asked for each word."""
    hints = {word: Hint(algorithm=word) for word in words}
    kernels = _read_back(members, hints, properties)
    return {asked: kernel.algorithm for asked, kernel in kernels.items()}


def _read_back(
    members: Sequence[Member], hints: Mapping[str, Hint], properties: Mapping[str, Any]
) -> Dict[Tuple[Member, str], Kernel]:
    """The kernel of each member with each hint."""
    named = {
        "%d:%d" % (i, j): (member, word)
        for i, member in enumerate(members)
        for j, word in enumerate(hints)
    }
    wanted = {name: hints[word] for name, (_, word) in named.items()}
    model = with_hints(_model({name: member for name, (member, _) in named.items()}), wanted)
    compiled = core().compile_model(model, DEVICE, dict(properties))
    kernels = read_kernels(compiled.get_runtime_model(), {}, {})
    return {named[kernel.name]: kernel for kernel in kernels if kernel.name in named}


def _model(members: Mapping[str, Member]) -> Any:
    """Small layers by name, each behind one that the plugin is free to lay out."""
    functions, inputs, results = opset(), [], []
    sources: Dict[Member, Any] = {}
    for scale, (name, member) in enumerate(members.items(), 1):
        if member not in sources:
            inputs.append(functions.parameter([1, member.channels, 9, 9], np.float32))
            sources[member] = _source(member, inputs[-1])
        # Their weights differ: equal layers would become one.
        made = _layer(member, sources[member], np.float32(scale))
        made.set_friendly_name(name)
        results.append(functions.result(functions.hswish(made) if member.fused else made))
    return import_library().Model(results, inputs)


def _source(member: Member, image: Any) -> Any:
    weights = np.ones((member.channels, member.channels, 1, 1), np.float32)
    return opset().convolution(image, opset().constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])


def _layer(member: Member, source: Any, scale: np.float32) -> Any:
    functions, groups = opset(), member.groups
    steps, pads, dilations = [member.stride] * 2, [1, 1], [member.dilation] * 2
    shape = (member.outputs // groups, member.channels // groups, *member.kernel)
    if groups == 1:
        weights = functions.constant(np.full(shape, scale))
        return functions.convolution(source, weights, steps, pads, pads, dilations)
    weights = functions.constant(np.full((groups, *shape), scale))
    return functions.group_convolution(source, weights, steps, pads, pads, dilations)
