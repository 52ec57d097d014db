"""Replay: a plan and its model become a package again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.board import BoardInfo, Package
from qsdnn.build import Builder
from qsdnn.engine import load_engines
from qsdnn.errors import PlanError
from qsdnn.graph import load_graph
from qsdnn.graph.layer import Graph, Tensor
from qsdnn.plan import Plan, choices, read_plan
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import space_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A plan rebuilt.

    Attributes:
        plan: The plan.
        graph: The network.
        choice: The primitive of each layer.
        package: The plan, built.
        reference: The network as the user gave it, built for onnxruntime.
    """

    plan: Plan = field(repr=False)
    graph: Graph = field(repr=False)
    choice: tuple[Primitive, ...] = field(repr=False)
    package: Package
    reference: Package

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The network's inputs by name."""
        return {name: self.graph.tensors[name] for name in self.graph.inputs}


def rebuild(path: Path, model: Path | None, info: BoardInfo, folder: Path) -> Replay:
    """Builds a plan again.

    Args:
        path: The plan's file.
        model: The network's file; where the plan says when None.
        info: The board it is to run on.
        folder: Where artifacts go; must outlive the packages.

    Raises:
        PlanError: It is no plan, or does not fit the model or the board.
    """
    plan = read_plan(path)
    network = model or Path(plan.model.path)
    if model is None and not network.exists():
        raise PlanError(
            f"{path}: its model is not at {network} any more", hint="say where it is: --model FILE"
        )
    names = dict.fromkeys(choice.primitive.split("/")[0] for choice in plan.layers)
    graph = load_graph(network, plan.model.shapes, workdir=folder)
    engines = load_engines(list(names))
    absent = [name for name in engines if name not in info.engines]
    if absent:
        raise PlanError(
            f"{path} needs {', '.join(absent)}, which the board {info.name} does not have",
            hint=f"it has: {', '.join(info.engines)}",
        )
    space = space_of(graph, engines, info.engines, tuple(Precision))
    choice = choices(plan, graph, space, str(path))
    builder = Builder(
        graph,
        engines,
        folder,
        threads=plan.threads,
        calibration=plan.calibration,
        infos=info.engines,
    )
    return Replay(
        plan=plan,
        graph=graph,
        choice=choice,
        package=builder.build(choice),
        reference=builder.reference(),
    )
