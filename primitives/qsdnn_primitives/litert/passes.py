"""Passes over the operators of a program: activations fused, paddings made cheap."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import prod

from qsdnn_primitives.litert.program import Operator, Tensor
from qsdnn_primitives.litert.schema import FUSED, RELU, RELU6

HOSTS = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "DIV", "FULLY_CONNECTED"),
        *("MAX_POOL_2D", "MUL", "SUB", "TRANSPOSE_CONV"),
    }
)
"""The kinds of operators that may have an activation inside."""


def absorb_biases(operators: Sequence[Operator], kept: Collection[Tensor]) -> list[Operator]:
    """The operators, with a constant for each column that a product adds none to inside it.

    Args:
        operators: The operators, in topological order.
        kept: The tensors that are read from outside.
    """
    reads = Counter(tensor for operator in operators for tensor in operator.inputs)
    makers: dict[Tensor, int] = {}
    found: list[Operator] = []
    for operator in operators:
        if operator.kind == "ADD":
            for source, added in (operator.inputs, operator.inputs[::-1]):
                position = makers.get(source) if source is not None else None
                if position is None or source is None or added is None or added.data is None:
                    continue
                host, columns = found[position], source.shape[-1]
                alone = reads[source] == 1 and source not in kept and host.layer == operator.layer
                if alone and _lacks_bias(host) and prod(added.shape) == added.shape[-1] == columns:
                    bias = dataclasses.replace(added, shape=(columns,))
                    found[position] = dataclasses.replace(
                        host, inputs=(*host.inputs[:2], bias), outputs=operator.outputs
                    )
                    makers[operator.outputs[0]] = position
                    break
            else:
                makers[operator.outputs[0]] = len(found)
                found.append(operator)
            continue
        makers.update(dict.fromkeys(operator.outputs, len(found)))
        found.append(operator)
    return found


def _lacks_bias(operator: Operator) -> bool:
    return operator.kind == "FULLY_CONNECTED" and operator.inputs[2] is None


_MOVES = ("MAX_POOL_2D", "PAD", "RESHAPE", "TRANSPOSE")
_POSITIVE = ("RELU", "RELU6", "LOGISTIC")


def fuse(operators: Sequence[Operator], kept: Collection[Tensor]) -> list[Operator]:
    """The operators, with activations inside the operators of the same layer before them.

    Args:
        operators: The operators, in topological order.
        kept: The tensors that are read from outside.
    """
    reads = Counter(tensor for operator in operators for tensor in operator.inputs)
    makers: dict[Tensor, int] = {}
    found: list[Operator] = []
    for operator in operators:
        source = operator.inputs[0]
        position = makers.get(source) if source is not None else None
        if operator.kind in FUSED and position is not None:
            host = found[position]
            alone = reads[source] == 1 and source not in kept
            fits = host.kind in HOSTS and "activation" not in host.options
            if alone and fits and host.layer == operator.layer:
                options = {**host.options, "activation": FUSED[operator.kind]}
                found[position] = dataclasses.replace(
                    host, outputs=operator.outputs, options=options
                )
                makers[operator.outputs[0]] = position
                continue
        makers.update(dict.fromkeys(operator.outputs, len(found)))
        found.append(operator)
    return found


def pad_with_zeros(operators: Iterable[Operator]) -> list[Operator]:
    """The operators, with zeros in place of −∞ around what has no negative elements.

    A padding of −∞ is for the largest element of a window. XNNPACK has no such padding.
    """
    positive: set[Tensor] = set()
    found = []
    for operator in operators:
        first = operator.inputs[0]
        if operator.kind == "PADV2" and first in positive and _is_lowest(operator.inputs[2]):
            operator = dataclasses.replace(operator, kind="PAD", inputs=operator.inputs[:2])
        clamped = operator.options.get("activation") in (RELU, RELU6)
        passed = operator.kind in _MOVES and first in positive
        if operator.kind in _POSITIVE or clamped or passed:
            positive.update(operator.outputs)
        found.append(operator)
    return found


def _is_lowest(value: Tensor | None) -> bool:
    return value is not None and value.data is not None and value.data.array()[0] == -float("inf")
