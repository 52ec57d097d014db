"""Energy: what the sensors of a board say decides which plan is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsdnn.board import MeasureOptions, Package, Record, Reference
from qsdnn.examples import build
from qsdnn.listener import Silent
from qsdnn.store import Store
from qsdnn.tuning.config import Objective, SearchConfig
from qsdnn.tuning.finish import decision
from qsdnn.tuning.search import search
from qsdnn_boards.local import LocalBoard

from .test_performance import Files

VOLTS_MV = 5000
CURRENT_MA = {"blas": 40, "onnxruntime": 4000}


class PoweredBoard(LocalBoard):
    """A board whose power rail carries what the measured packages' engines draw, on average."""

    def __init__(self, files: Files) -> None:
        super().__init__(spec=files.spec)
        self._files = files

    def measure(
        self,
        packages: list[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress=None,
    ) -> list[Record]:
        drawn = [
            CURRENT_MA[segment["engine"]] for p in packages for segment in p.manifest["segments"]
        ]
        (self._files.folder / "curr1_input").write_text(f"{sum(drawn) / len(drawn):.0f}\n")
        return super().measure(packages, reference, options, on_progress)


@pytest.mark.slow
def test_the_slower_engine_wins_where_it_draws_less(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decision, "ENERGY_S", 2.5)  # sensors are read each second
    monkeypatch.setattr(decision, "ENERGIES", 2)
    model = tmp_path / "net.onnx"
    model.write_bytes(build("tiny-cnn").SerializeToString())
    files = Files(tmp_path / "sys")
    files.governors = []
    config = SearchConfig(
        model=model,
        engines=("blas", "onnxruntime"),
        objective=Objective.ENERGY,
        measurements=1,
        episodes=50,
    )
    with PoweredBoard(files) as board, Store(str(tmp_path / "s.db")) as store:
        found = search(config, board, store, Silent())
    (best, _), fastest = found.final.costs, found.profile.best[0]
    assert {layer.primitive.split("/")[0] for layer in found.plan.layers} == {"blas"}
    assert {found.cost.space.primitives[p].engine for p in fastest.choice} == {"onnxruntime"}
    # 0.2 W and not the mean of 0.2 and 20, whatever disturbed the latency meanwhile
    ms = found.final.trial.record.runs_ms
    low_w = VOLTS_MV * CURRENT_MA["blas"] / 1e6
    assert low_w * min(ms) < best.energy_mj < 2 * low_w * max(ms)
    assert best.energy_mj < VOLTS_MV * CURRENT_MA["onnxruntime"] / 1e6 * fastest.latency_ms
