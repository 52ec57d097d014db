"""What is not worth measuring: its engine is behind, or far away."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn.tuning.start import usefulness
from qsdnn.tuning.start.usefulness import BYTES_A_MS, HANDOVER_MS, lower_bound_ms, useful

NAMES = ("a/auto/fp32", "b/auto/fp32", "b/other/fp32", "c/auto/fp32")
LAYERS = 6


def space(size_bytes: int = 0, layouts: tuple[str, ...] = ()) -> Space:
    """Layers in a row that any engine can run; `a` and `b` may have a layout in common."""
    primitives = []
    for name in NAMES:
        engine, algorithm, precision = name.split("/")
        shared = layouts if engine in "ab" else ()
        primitives.append(
            Primitive(
                engine=engine,
                algorithm=algorithm,
                precision=Precision(precision),
                family=engine,
                layouts=shared,
            )
        )
    edges = [Edge(producer=i, consumers=(i + 1,), size_bytes=size_bytes) for i in range(LAYERS - 1)]
    return Space(
        layers=tuple("klmnop"),
        primitives=tuple(primitives),
        mask=np.ones((LAYERS, len(NAMES)), bool),
        edges=tuple(edges),
    )


def asked(where: Space, monkeypatch: pytest.MonkeyPatch, **layer_ms: list[float]) -> bool:
    """Whether `b/other` is worth it, of which nothing is known but what `auto` takes."""
    known = np.full((LAYERS, len(NAMES)), np.nan)
    for engine, times in layer_ms.items():
        known[:, NAMES.index(f"{engine}/auto/fp32")] = times
    monkeypatch.setattr(usefulness, "collect", lambda *_: SimpleNamespace(layer_ms=known))
    return useful(where, {}, ["b/other/fp32"]) == ["b/other/fp32"]


FAST = [1.0] * LAYERS


def test_an_engine_that_is_behind_in_every_layer_is_not_worth_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not asked(space(), monkeypatch, a=FAST, b=[1.25] * LAYERS)
    assert asked(space(), monkeypatch, a=FAST, b=[1.1] * LAYERS)


def test_what_a_layer_gains_must_pay_for_handing_its_tensors_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = [2.0, 2.0, 0.9, 2.0, 2.0, 2.0]  # 0.25 ms less in one layer, as is hoped of b/other
    assert asked(space(), monkeypatch, a=FAST, b=one)
    there_and_back = int(0.3 * BYTES_A_MS / 4)  # left and entered twice
    assert not asked(space(there_and_back), monkeypatch, a=FAST, b=one)
    assert asked(space(there_and_back, ("blocked",)), monkeypatch, a=FAST, b=one)
    small = [ms / 1000 for ms in FAST]
    assert not asked(space(), monkeypatch, a=small, b=[ms / 1000 for ms in one])


def test_an_engine_that_nothing_is_known_of_is_worth_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(space(), monkeypatch, a=FAST)


def test_a_faster_precision_makes_nothing_useless_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where accuracy forbids bf16, the algorithms of fp32 are what is left."""
    asked_of: list[set[str]] = []

    def collect(_: Space, trials: dict[str, SimpleNamespace]) -> SimpleNamespace:
        asked_of.append(set(trials))
        known = np.full((LAYERS, len(NAMES)), np.nan)
        known[:, NAMES.index("b/auto/fp32")] = 1.0
        return SimpleNamespace(layer_ms=known)

    monkeypatch.setattr(usefulness, "collect", collect)
    trials = {
        "b/auto/fp32": SimpleNamespace(latency_ms=6.0),
        "a/auto/bf16": SimpleNamespace(latency_ms=3.0),
    }
    assert useful(space(), trials, ["b/other/fp32"]) == ["b/other/fp32"]  # type: ignore[arg-type]
    assert asked_of == [{"b/auto/fp32"}]


def test_the_bound_is_what_the_best_plan_takes() -> None:
    layer_ms = np.full((LAYERS, len(NAMES)), np.inf)
    layer_ms[:, 0], layer_ms[3, 3] = 1.0, 0.5
    size_bytes = int(0.01 * BYTES_A_MS)
    want = LAYERS - 0.5 + 4 * (HANDOVER_MS + 0.01)
    assert lower_bound_ms(space(size_bytes), layer_ms) == pytest.approx(want)
