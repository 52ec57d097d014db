"""The nodes of a layer that the plugin computes in integers."""

from __future__ import annotations

from qsdnn.model.layer import Layer
from qsdnn_primitives.onnxruntime.integer import integer_nodes as quantizable

# Behind a product, the plugin computes these operators in the product's kernel, on its
# accumulators: that costs nothing, while integers around them would make separate kernels of them.
_INSIDE = frozenset({"Sigmoid", "Mul", "LeakyRelu"})


def integer_nodes(layer: Layer) -> tuple[int, ...]:
    """The positions of the nodes to put integers around; none where it makes no sense."""
    return tuple(i for i in quantizable(layer) if layer.nodes[i].op_type not in _INSIDE)
