"""C packages: a program as plain C source, for processors without an operating system."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.engine import Code
from qsdnn_primitives.lne.c_kernels import FUNCTIONS, kernels_of
from qsdnn_primitives.lne.kernel import KERNELS
from qsdnn_primitives.lne.program import ARENA, WEIGHTS

_FLOAT_BYTES = 4
_WORDS = {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}

MAKEFILE = """\
# make: the example, for this machine. For a board the library, by the compiler for it, e.g.
# make libnetwork.a CROSS=arm-none-eabi- \\
#     CFLAGS='-O2 -mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard'
CC = $(CROSS)gcc
AR = $(CROSS)ar
CFLAGS = {options}
C99 = -std=c99 -Wall -Wextra -Wpedantic -ffp-contract=fast -fno-math-errno{quiet}

example: main.o libnetwork.a
\t$(CC) $(CFLAGS) main.o libnetwork.a -lm -o $@

libnetwork.a: network.o weights.o
\t$(AR) rcs $@ network.o weights.o

%.o: %.c network.h
\t$(CC) $(C99) $(CFLAGS) -c $< -o $@

clean:
\trm -f example libnetwork.a *.o

.PHONY: clean
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """An input or output.

    Attributes:
        name: Its name in the network.
        shape: Its shape.
        parameter: Its name as a parameter in C.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str

    @property
    def macro(self) -> str:
        """What the names of its macros begin with."""
        return f"NETWORK_{self.parameter.upper()}"


def c_package(
    document: Mapping[str, Any],
    weights: NDArray[np.float32],
    lanes: int,
    title: str,
    layers: Sequence[str],
) -> Code:
    """The files of a C package.

    Args:
        document: The program: see `qsdnn_runtime.engines.lne.program`.
        weights: The floats of all its files, one after another.
        lanes: The floats in a vector; with 1 the code is plain C99.
        title: The name of the network, for people.
        layers: The name of each layer, by its number in the program.
    """
    inputs = _sides("input", document["inputs"])
    outputs = _sides("output", document["outputs"])
    arena = document["arena"] + document["scratch"]
    signature = ", ".join(
        [f"const float *{side.parameter}" for side in inputs]
        + [f"float *{side.parameter}" for side in outputs]
    )
    signature = f"void network_run({signature})"
    header = _header(title, [*inputs, *outputs], signature, arena, weights.size)
    quiet, options = ("", "-O2") if lanes == 1 else (" -Wno-psabi", "-O2 -march=native")
    files = {
        "network.h": header,
        "network.c": _network(document, lanes, layers, [*inputs, *outputs], signature),
        "weights.c": _weights(weights),
        "main.c": _main(inputs, outputs),
        "Makefile": MAKEFILE.format(quiet=quiet, options=options),
    }
    return Code(
        files={name: text.encode() for name, text in files.items()},
        weights_bytes=weights.size * _FLOAT_BYTES,
        arena_bytes=arena * _FLOAT_BYTES,
    )


def _sides(word: str, shapes: Mapping[str, Sequence[int]]) -> list[_Side]:
    alone = len(shapes) == 1
    return [
        _Side(name=name, shape=tuple(shape) or (1,), parameter=word if alone else f"{word}_{i}")
        for i, (name, shape) in enumerate(shapes.items())
    ]


def _header(title: str, sides: Sequence[_Side], signature: str, arena: int, weights: int) -> str:
    macros = "".join(
        f"\n/* {_comment(side.name)} */\n"
        f"#define {side.macro}_SIZE {prod(side.shape)}\n"
        f"#define {side.macro}_RANK {len(side.shape)}\n"
        f"#define {side.macro}_SHAPE {{{', '.join(map(str, side.shape))}}}\n"
        for side in sides
    )
    return f"""\
/* The network {_comment(title)}, written by qsdnn package --format c.

   Its memory is static: calls of network_run must not overlap. Tensors lie in ONNX's order. */

#ifndef NETWORK_H
#define NETWORK_H

#ifdef __cplusplus
extern "C" {{
#endif

/* Constant data, and memory beside the stack, the inputs and the outputs. */
#define NETWORK_WEIGHTS_BYTES {weights * _FLOAT_BYTES}
#define NETWORK_ARENA_BYTES {arena * _FLOAT_BYTES}
{macros}
{signature};

#ifdef __cplusplus
}}
#endif

#endif
"""


def _network(
    document: Mapping[str, Any],
    lanes: int,
    layers: Sequence[str],
    sides: Sequence[_Side],
    signature: str,
) -> str:
    parameters = {side.name: side.parameter for side in sides}
    used: list[tuple[str, Mapping[str, Any]]] = []
    structs, calls = [], []
    for number, (kernel, layer, *arguments) in enumerate(document["steps"]):
        name = list(KERNELS)[kernel]
        fields = dict(zip(KERNELS[name], arguments, strict=True))
        used.append((name, fields))
        outside = {field: place for field, place in fields.items() if _is_outside(place)}
        values = [
            f".{field} = {_value(KERNELS[name][field], value)}"
            for field, value in fields.items()
            if value and field not in outside
        ]
        structs.append(f"static const struct {name} step_{number} = {{\n{_lines(values)}}};\n")
        calls.append(_call(name, number, outside, parameters, layers[layer]))
    steps = "".join(structs)
    extern = ""
    if "network_weights" in steps:
        extern = "extern const float network_weights[];\n"
    memory, scratch = "", "0"
    size = document["arena"] + document["scratch"]
    if size:
        memory = f"static float arena[{size}];\n"
        scratch = f"arena + {document['arena']}"
    return (
        '#include "network.h"\n\n'
        + ("" if lanes == 1 else "#include <math.h>\n\n")
        + kernels_of(used, lanes)
        + f"\n{extern}{memory}\n{steps}\n"
        + f"static const struct worker alone = {{0, 1, {scratch}}};\n\n"
        + f"{signature}\n{{\n{''.join(calls)}}}\n"
    )


def _call(
    kernel: str, number: int, outside: Mapping[str, Any], parameters: Mapping[str, str], layer: str
) -> str:
    """The call of a kernel; a step that reads or writes what the caller gives is copied first."""
    function = FUNCTIONS.get(kernel, kernel)
    if not outside:
        return f"    {function}(&step_{number}, &alone); /* {_comment(layer)} */\n"
    given = "".join(
        f"    here_{number}.{field} = (float *){parameters[region]} + {offset};\n"
        for field, (region, offset) in outside.items()
    )
    return (
        f"    struct {kernel} here_{number} = step_{number}; /* {_comment(layer)} */\n{given}"
        f"    {function}(&here_{number}, &alone);\n"
    )


def _is_outside(value: Any) -> bool:
    """Whether an argument is a place in what the caller gives."""
    return isinstance(value, list) and value[0] not in (ARENA, WEIGHTS)


def _value(kind: str, value: Any) -> str:
    """An argument in C."""
    if kind == "p":
        region, offset = value
        return f"{'arena' if region == ARENA else '(float *)network_weights'} + {offset}"
    if kind == "f":
        return _numbers(np.array([value], np.uint32).view(np.float32))[0]
    return str(value)


def _numbers(values: NDArray[np.float32]) -> list[str]:
    """Floats in C, in the fewest digits that tell them from all others."""
    return [_WORDS.get(text) or f"{text}f" for text in values.astype(str).tolist()]


def _weights(weights: NDArray[np.float32]) -> str:
    numbers = _numbers(weights) or ["0.0f"]
    return (
        "#include <math.h>\n\nextern const float network_weights[];\n\n"
        f"const float network_weights[{len(numbers)}] = {{\n{_lines(numbers)}}};\n"
    )


def _main(inputs: Sequence[_Side], outputs: Sequence[_Side]) -> str:
    buffers = "".join(
        f"static float {side.parameter}[{side.macro}_SIZE];\n" for side in (*inputs, *outputs)
    )
    fill = "".join(
        f"    for (long i = 0; i < {side.macro}_SIZE; i++) "
        f"{side.parameter}[i] = (float)(i % 17) / 17.0f;\n"
        for side in inputs
    )
    tell = "".join(
        f"    for (long i = 0; i < {side.macro}_SIZE; i++) "
        f'printf("%.9g\\n", (double){side.parameter}[i]);\n'
        for side in outputs
    )
    call = ", ".join(side.parameter for side in (*inputs, *outputs))
    return (
        "/* An example: runs the network on some numbers, and prints what it makes of them. */\n\n"
        f'#include <stdio.h>\n\n#include "network.h"\n\n{buffers}\nint main(void)\n{{\n{fill}'
        f"    network_run({call});\n{tell}    return 0;\n}}\n"
    )


def _lines(words: Sequence[str]) -> str:
    """Words with commas, some a line."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) > 98:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "".join(f"{line}\n" for line in (*lines, line))


def _comment(name: str) -> str:
    """A name as a comment may hold it."""
    return re.sub(r"[^\w .:,()\[\]-]", "_", name)
