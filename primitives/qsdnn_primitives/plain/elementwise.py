"""Activations and elementwise operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsdnn_primitives.plain.node import NodeReader, Op, UnsupportedError, is_constant, scalar_of

FLOAT32_MAX = float(np.finfo(np.float32).max)


def same(node: NodeReader) -> Op:
    """An operator whose inputs say everything, e.g. Add, Relu."""
    return node.op(node.op_type, *node.inputs)


def leaky_relu(node: NodeReader) -> Op:
    """LeakyRelu."""
    return node.op("LeakyRelu", node.input(0), alpha=node.number("alpha", 0.01))


def elu(node: NodeReader) -> Op:
    """Elu."""
    return node.op("Elu", node.input(0), alpha=node.number("alpha", 1.0))


def selu(node: NodeReader) -> Op:
    """Selu; the defaults are those of ONNX Selu 6."""
    alpha = node.number("alpha", 1.67326319217681884765625)
    gamma = node.number("gamma", 1.05070102214813232421875)
    return node.op("Selu", node.input(0), alpha=alpha, gamma=gamma)


def hard_sigmoid(node: NodeReader) -> Op:
    """HardSigmoid."""
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return node.op("HardSigmoid", node.input(0), alpha=alpha, beta=beta)


def gelu(node: NodeReader) -> Op:
    """Gelu, exact or by tanh."""
    kinds = {"none": "Gelu", "tanh": "GeluTanh"}
    return node.op(kinds[node.text("approximate", "none")], node.input(0))


def clip(node: NodeReader) -> Op:
    """Clip: limits are attributes before operator set 11, constants since."""
    limits: dict[str, Any] = {"min": -FLOAT32_MAX, "max": FLOAT32_MAX}
    for index, name in enumerate(limits, 1):
        limit = scalar_of(node.constant(index)) if node.has(index) else limits[name]
        limits[name] = node.number(name, limit) if node.opset < 11 else limit
    return node.op("Clip", node.input(0), **limits)


def power(node: NodeReader) -> Op:
    """Pow; a constant exponent of one element becomes an attribute, whatever its type."""
    if not is_constant(node.input(1)) or node.constant(1).size != 1:
        return same(node)
    if len(node.shape(1)) > len(node.shape(0)):
        raise UnsupportedError("its exponent adds dimensions")
    return node.op("Power", node.input(0), exponent=scalar_of(node.constant(1)))
