"""The plan: which primitive each layer takes, and what that was measured to give."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qsdnn.errors import PlanError, unknown
from qsdnn.files import write_output
from qsdnn.model.calibration import Calibration

if TYPE_CHECKING:
    from qsdnn.model.layer import Graph
    from qsdnn.primitive import Primitive
    from qsdnn.space import Space

SCHEMA = "qsdnn.plan/1"

ALWAYS = ("metric", "reference", "plan", "drop")
"""The keys that a plan's accuracy always has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The network that a plan is for.

    Attributes:
        path: The path of the network, from the current folder. In a file it is from that file's
            folder, unless the user gave an absolute one.
        sha256: The sha256 hash of the network's bytes.
        shapes: The dimensions given with ``--shape``, by input.
    """

    path: str
    sha256: str
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The primitive of one layer, and the kernel that its engine said it executed."""

    name: str
    primitive: str
    kernel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A uniform plan.

    Attributes:
        name: The name of the plan's primitive.
        measured_ms: The latency of the plan; None where it could not be measured.
        feasible: Whether the plan ran and keeps what was asked of accuracy; None where the search
            had no time to ask.
    """

    name: str
    measured_ms: float | None
    feasible: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The distance of the plan's outputs from the reference's.

    Attributes:
        metric: The name of the metric, e.g. ``"max_relative_error"``.
        reference: The metric of onnxruntime in fp32.
        plan: The metric of the plan; None when not verified.
        drop: The loss of the plan against the reference; None when not verified.
        sqnr_db: The signal to quantization noise of the outputs in dB; None where nothing may be
            lost.
        samples: The number of the user's samples that decided, none of which calibrated or chose;
            None where nothing may be lost.
        budget: The loss that was allowed, e.g. ``"drop ≤ 0.01"``.
    """

    metric: str
    reference: float
    plan: float | None
    drop: float | None
    sqnr_db: float | None = None
    samples: int | None = None
    budget: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The primitive of each layer, for one model on one board.

    Attributes:
        model: The network.
        board: The name and fingerprint of the board that measured.
        engines: The version of each engine that the plan uses.
        threads: The number of threads that an engine may use.
        layers: The choice of each layer, in the graph's order.
        predicted_ms: The latency that the cost model predicts.
        measured_ms: The median of the final paired measurement.
        ci95_ms: The 95 % interval of that median.
        trust: The trust in the latency: ``stable``, ``noisy``, ``disturbed`` or
            ``throttled``.
        baselines: The uniform plans.
        accuracy: The accuracy against onnxruntime in fp32, on the board.
        seed: The seed of the search.
        command: The command that made the plan.
        peak_memory_mb: The most memory that a process took which ran the plan alone; None where
            unknown.
        calibration: The ranges that the plan's integer scales follow from; None without int8.
        interim: Whether the plan was written while the search went on: measured, its outputs
            checked, but not yet compared with the best uniform plan for good, and its kernels not
            read back.
    """

    model: Model
    board: Mapping[str, str]
    engines: Mapping[str, str]
    threads: int
    layers: tuple[Choice, ...]
    predicted_ms: float
    measured_ms: float
    ci95_ms: tuple[float, float]
    trust: str
    baselines: tuple[Baseline, ...]
    accuracy: Accuracy
    seed: int
    command: str
    peak_memory_mb: float | None = None
    calibration: Calibration | None = None
    interim: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the outputs equal those of fp32; else accuracy may be lost, within a budget."""
        return self.accuracy.samples is None


def to_json(plan: Plan) -> str:
    """The plan as text; equal plans give equal bytes."""
    layers = [_without_empty_kernel(dataclasses.asdict(choice)) for choice in plan.layers]
    content = {"schema": SCHEMA, **dataclasses.asdict(plan), "layers": layers}
    content["accuracy"] = {k: v for k, v in content["accuracy"].items() if v or k in ALWAYS}
    for name in ("interim", "calibration", "peak_memory_mb"):
        if not content[name]:
            del content[name]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, source: str = "plan.json") -> Plan:
    """Parses a plan.

    Args:
        text: The plan as JSON.
        source: The name of the plan in errors.

    Raises:
        PlanError: The text is not JSON, or not a plan; the message names the place.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"{source}: not JSON: line {error.lineno}: {error.msg}") from error
    _validate(content, source)
    model = content["model"]
    return Plan(
        model=Model(
            path=model["path"],
            sha256=model["sha256"],
            shapes={name: tuple(dims) for name, dims in model["shapes"].items()},
        ),
        board=content["board"],
        engines=content["engines"],
        threads=content["threads"],
        layers=tuple(Choice(**layer) for layer in content["layers"]),
        predicted_ms=content["predicted_ms"],
        measured_ms=content["measured_ms"],
        ci95_ms=(content["ci95_ms"][0], content["ci95_ms"][1]),
        trust=content["trust"],
        baselines=tuple(Baseline(**baseline) for baseline in content["baselines"]),
        accuracy=Accuracy(**content["accuracy"]),
        seed=content["seed"],
        command=content["command"],
        peak_memory_mb=content.get("peak_memory_mb"),
        calibration=_calibration(content.get("calibration")),
        interim=content.get("interim", False),
    )


def _calibration(content: Mapping[str, Any] | None) -> Calibration | None:
    if content is None:
        return None
    ranges = {name: (float(low), float(high)) for name, (low, high) in content["ranges"].items()}
    return Calibration(method=content["method"], ranges=ranges)


def read_plan(path: Path) -> Plan:
    """Reads a plan file.

    Raises:
        PlanError: The file cannot be read, or holds no plan.
    """
    try:
        plan = from_json(path.read_text(encoding="utf-8"), str(path))
        return _moved(plan, path.resolve().parent, Path.cwd())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise PlanError(
            f"cannot read plan {path}: {reason}", hint="make one: qsdnn search MODEL -o plan.json"
        ) from error


def write_plan(plan: Plan, path: Path) -> None:
    """Writes a plan file at once: a reader finds the old plan or the new one, whole.

    Raises:
        InputError: The file cannot be written.
    """
    write_output(path, to_json(portable(plan, path)))


def portable(plan: Plan, path: Path) -> Plan:
    """The plan as a file says it: its model's path is from the file's folder, unless absolute.

    Args:
        plan: The plan, whose model's path is from the current folder.
        path: The path of the file; a pipe or a device has no folder that means anything.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        model = dataclasses.replace(plan.model, path=os.path.abspath(plan.model.path))
        return dataclasses.replace(plan, model=model)
    return _moved(plan, Path.cwd(), target.parent)


def _moved(plan: Plan, before: Path, after: Path) -> Plan:
    """The plan with its model's path, given from one folder, as it is from another."""
    model = Path(plan.model.path)
    if model.is_absolute():
        return plan
    folder = (before / model.parent).resolve()  # the model itself may be a link that tells its name
    path = os.path.relpath(folder / model.name, after.resolve())
    return dataclasses.replace(plan, model=dataclasses.replace(plan.model, path=path))


def choices(
    plan: Plan, graph: Graph, space: Space, source: str = "plan.json"
) -> tuple[Primitive, ...]:
    """The primitive of each layer of a graph, checked against what is possible.

    Args:
        plan: The plan.
        graph: The network that the plan is to run.
        space: The search space: what the board and its engines offer.
        source: The name of the plan in errors.

    Raises:
        PlanError: The model is another one, or a layer or primitive does not exist here.
    """
    check_graph(plan, graph, source)
    by_name = {str(primitive): i for i, primitive in enumerate(space.primitives)}
    return tuple(
        _choose(f"{source}: layers[{index}]", index, choice, by_name, space)
        for index, choice in enumerate(plan.layers)
    )


def check_graph(plan: Plan, graph: Graph, source: str = "plan.json") -> None:
    """Checks that a plan is for a graph.

    Args:
        plan: The plan.
        graph: The network that the plan is to run.
        source: The name of the plan in errors.

    Raises:
        PlanError: The model is another one, or is cut into other layers.
    """
    if plan.model.sha256 != graph.sha256:
        raise PlanError(
            f"{source}: {graph.path} is not the model it was made for "
            f"(sha256 {graph.sha256[:12]}…, the plan wants {plan.model.sha256[:12]}…)",
            hint=f"search again: qsdnn search {graph.path}",
        )
    names = [layer.name for layer in graph.layers]
    theirs = [choice.name for choice in plan.layers]
    if theirs != names:
        raise PlanError(
            f"{source}: {_first_difference(theirs, names)}: this version of qsdnn cuts the model "
            "into layers in another way, or the plan was edited",
            hint=f"search again: qsdnn search {shlex.quote(str(graph.path))}",
        )


def _choose(
    where: str, index: int, choice: Choice, by_name: Mapping[str, int], space: Space
) -> Primitive:
    allowed = [str(p) for i, p in enumerate(space.primitives) if space.mask[index, i]]
    if choice.primitive not in by_name:
        error = unknown("primitive", choice.primitive, by_name)
        raise PlanError(f"{where}.primitive: {error.message}", hint=error.hint)
    if choice.primitive not in allowed:
        raise PlanError(
            f"{where}.primitive: '{choice.name}' cannot run as {choice.primitive}",
            hint=f"it can take: {', '.join(allowed)}",
        )
    return space.primitives[by_name[choice.primitive]]


def _first_difference(planned: Sequence[str], names: Sequence[str]) -> str:
    """The first place where a plan's layers differ from the model's."""
    for index, (ours, theirs) in enumerate(zip(planned, names, strict=False)):
        if ours != theirs:
            return f"layers[{index}] is '{ours}', the model's is '{theirs}'"
    if len(planned) > len(names):
        extra = planned[len(names)]
        return f"layers[{len(names)}] '{extra}' is none of the model's {len(names)}"
    return f"layer '{names[len(planned)]}' of the model is missing: layers[{len(planned)}]"


def _validate(content: Any, source: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads(files(__package__).joinpath("plan.schema.json").read_text(encoding="utf-8"))
    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is not None:
        raise PlanError(f"{source}: {_place(error.absolute_path)}{error.message[:300]}")


def _place(path: Sequence[Any]) -> str:
    """The JSON path as text: ``layers[3].primitive: ``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"{text.lstrip('.')}: " if text else ""


def _without_empty_kernel(choice: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in choice.items() if key != "kernel" or value}
