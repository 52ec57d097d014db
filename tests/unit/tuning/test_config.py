"""Objectives and limits, on a board that knows what every plan takes."""

import dataclasses

import numpy as np
import pytest

from qsdnn.board import Record
from qsdnn.cli import main
from qsdnn.errors import InfeasibleError, InputError
from qsdnn.listener import Silent
from qsdnn.store import Store
from qsdnn.testing import SyntheticBoard
from qsdnn.tuning.config import Cost, Goal, Objective, SearchConfig, energy_mj, power_mw
from qsdnn.tuning.search import search

LIBRARY_MB = {"onnxruntime": 40.0, "openvino": 55.0}
POWER_MW = {"onnxruntime": 9000.0, "openvino": 2000.0}


class MeteredBoard(SyntheticBoard):
    """Engines have a size each, and draw a power each; `senses` says whether that can be read."""

    def __init__(self, senses=True):
        super().__init__()
        self._senses = senses

    def measure(self, packages, reference, options, on_progress=None):
        records = super().measure(packages, reference, options, on_progress)
        powers = [self.power_mw(package) for package in packages]
        return [
            dataclasses.replace(
                record,
                peak_memory_mb=self.memory_mb(package) if options.memory else None,
                context=self._context(float(np.mean(powers))),
            )
            for package, record in zip(packages, records, strict=True)
        ]

    def _context(self, power):
        """Plans measured together are told one power."""
        if not self._senses:
            return {}
        return {"before": {"sensors": {"power_mw": {"VDD_IN": 1}}}, "power_mw": {"VDD_IN": power}}

    def memory_mb(self, package):
        engines = {segment["engine"] for segment in package.manifest["segments"]}
        return 30.0 + sum(LIBRARY_MB[name] for name in engines)

    def power_mw(self, package):
        """By the share of layers that an engine runs."""
        powers = [
            POWER_MW[segment["engine"]]
            for segment in package.manifest["segments"]
            for _ in segment["layers"]
        ]
        return float(np.mean(powers)) if powers else 5000.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "kws1.onnx"
    with pytest.raises(SystemExit):
        main(["example", "kws1", "-o", str(path)])
    return path


def run(model, store, board=None, **asked):
    board = board or MeteredBoard()
    board.know(model)
    config = SearchConfig(
        model=model, engines=SyntheticBoard.ENGINES, episodes=200, budget_s=600.0, **asked
    )
    with Store(str(store)) as opened, board:
        return search(config, board, opened, Silent())


def engines_of(found):
    return {layer.primitive.split("/")[0] for layer in found.plan.layers}


def test_least_memory_is_a_plan_of_the_smallest_engine(model, tmp_path):
    fastest = run(model, tmp_path / "s.db")
    assert engines_of(fastest) == set(SyntheticBoard.ENGINES) and fastest.final.costs is None
    least = run(model, tmp_path / "s.db", objective=Objective.MEMORY)
    assert engines_of(least) == {"onnxruntime"}
    assert least.plan.peak_memory_mb == 70.0 == least.final.costs[0].memory_mb
    # of all such plans it is among the fastest, not just any
    uniform = [t for name, t in least.profile.trials.items() if name.startswith("onnxruntime")]
    assert least.plan.measured_ms <= 1.02 * min(trial.latency_ms for trial in uniform)
    within = 1.05 * fastest.plan.measured_ms
    assert within < least.plan.measured_ms
    both = run(model, tmp_path / "s.db", objective=Objective.MEMORY, max_latency_ms=within)
    assert both.plan.measured_ms <= within and both.plan.peak_memory_mb == 125.0


def test_least_energy_is_measured_of_each_plan_alone(model, tmp_path):
    found = run(model, tmp_path / "s.db", objective=Objective.ENERGY)
    best, uniform = found.final.costs
    frugal = found.profile.trials["openvino/auto/fp32"]
    assert best.energy_mj <= 1.02 * 2.0 * frugal.latency_ms  # 2 W
    assert best.energy_mj <= 1.01 * uniform.energy_mj
    layers = [layer.primitive.split("/")[0] for layer in found.plan.layers]
    power = np.mean([POWER_MW[name] for name in layers])
    assert best.energy_mj == pytest.approx(power * found.plan.measured_ms / 1000, rel=0.05)
    limited = run(model, tmp_path / "s.db", max_energy_mj=1.1 * best.energy_mj)
    assert limited.final.costs[0].energy_mj <= 1.1 * best.energy_mj


def test_without_a_sensor_there_is_no_energy(model, tmp_path):
    for asked in ({"objective": Objective.ENERGY}, {"max_energy_mj": 3.0}):
        board = MeteredBoard(senses=False)
        with pytest.raises(InputError, match="no sensor of power") as told:
            run(model, tmp_path / "s.db", board, **asked)
        assert "boards check" in told.value.hint and len(board.measured) <= 1


def test_a_limit_that_no_plan_keeps_names_the_nearest(model, tmp_path):
    with pytest.raises(InfeasibleError, match=r"nearest is .* --max-latency is 0.001 ms") as told:
        run(model, tmp_path / "s.db", max_latency_ms=0.001)
    assert "allow more" in told.value.hint and told.value.exit_code == 4


def test_near_ties_go_to_the_faster_plan():
    goal = Goal(objective=Objective.MEMORY, limits={})
    costs = [Cost(latency_ms=ms, memory_mb=mb) for ms, mb in ((3, 100), (1, 100.5), (2, 140))]
    assert goal.order(costs) == [1, 0, 2]
    assert goal.order([Cost(latency_ms=1.0), *costs]) == [2, 1, 3]  # not weighed, not considered


def record(supply=(), **rails):
    context = {"power_mw": rails, "supply": supply} if rails else {}
    return Record(state="ok", runs_ms=(2.0,), context=context)


def test_a_rail_that_carries_all_of_the_power_is_not_added_to_its_parts():
    assert power_mw(record(["POM_5V_IN"], POM_5V_IN=5000.0, POM_5V_CPU=3000.0)) == 5000
    assert power_mw(record(["absent"], POM_5V_IN=5000.0, POM_5V_CPU=3000.0)) == 8000
    assert power_mw(record(GPU=500.0, CPU=3000.0)) == 3500
    assert energy_mj(record(GPU=500.0, CPU=3000.0)) == 7.0
    assert energy_mj(record()) is None
