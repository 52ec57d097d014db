"""Which nodes of a layer the plugin computes in integers."""

from __future__ import annotations

from qsdnn.model.layer import Layer
from qsdnn_primitives.onnxruntime.integer import integer_nodes as quantizable

# Behind a product it computes these in the product's kernel, on its accumulators: that costs
# nothing, and integers around them would make kernels of them.
_INSIDE = frozenset({"Sigmoid", "Mul", "LeakyRelu"})


def integer_nodes(layer: Layer) -> tuple[int, ...]:
    """Positions of the nodes that integers go around; none where it makes no sense."""
    return tuple(i for i in quantizable(layer) if layer.nodes[i].op_type not in _INSIDE)
