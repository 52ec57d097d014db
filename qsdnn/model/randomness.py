"""The refusal of networks whose outputs are random: no plan's outputs could be verified."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.errors import ModelError
from qsdnn.model.layer import Graph
from qsdnn.model.operators import draws


def check_repeatable(graph: Graph) -> None:
    """Raises ModelError when a node of a network, or of a body in it, draws random numbers."""
    nodes = ir.traversal.RecursiveGraphIterator(graph.model.graph)
    found = [f"'{node.name}' ({node.op_type})" for node in nodes if draws(node)]
    if not found:
        return
    they = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
    raise ModelError(
        f"{graph.path}: its outputs are random: other numbers in each run come of {they}, "
        "so no plan's outputs can be verified",
        hint="make the noise an input of the network, or export it for inference: model.eval()",
    )
