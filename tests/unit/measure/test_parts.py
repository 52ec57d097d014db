"""Parts of the search that need no board: uniform plans, samples, ratios, event files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.agents.base import Episode
from qsdnn.board import Applied, Package, Record, State
from qsdnn.cli.progress import EventLog
from qsdnn.measure.paired import paired_ratio
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space
from qsdnn.tuning.start.initial_design import mixed_plan
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn.tuning.trial import Profile, Trial, usable

PRIMITIVES = tuple(
    Primitive(engine=engine, algorithm=algorithm, precision=Precision.FP32, family=domain)
    for engine, algorithm, domain in [
        ("onnxruntime", "nchwc", "onnxruntime/nchwc"),
        ("onnxruntime", "gemm", "onnxruntime/gemm"),
        ("openvino", "auto", "openvino/fp32"),
        ("blas", "im2col", "blas"),
        ("blas", "numpy", "blas"),
    ]
)


@st.composite
def spaces(draw):
    """onnxruntime takes every layer, the others what chance allows."""
    rows = draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=20))
    return Space(
        layers=tuple(f"layer{i}" for i in range(len(rows))),
        primitives=PRIMITIVES,
        mask=np.array([[True, True, *row] for row in rows]),
        edges=(),
    )


@given(spaces())
def test_uniform_plans_are_permitted_and_cover_all_that_is(space):
    plans = uniform_plans(space)
    covered = np.zeros_like(space.mask)
    for name, plan in plans.items():
        space.check(plan)
        covered[np.arange(len(plan)), plan] = True
        wanted = [str(p) for p in PRIMITIVES].index(name)
        takes = space.mask[:, wanted]
        assert (plan[takes] == wanted).all()
        away = {PRIMITIVES[p].engine for p in plan[~takes]}
        assert away <= {PRIMITIVES[wanted].engine, "onnxruntime"}
    assert (covered == space.mask).all()


@given(spaces(), st.integers(0, 99))
def test_mixed_plans_are_permitted_and_avoid_the_hopeless(space, seed):
    costs = np.random.default_rng(seed).lognormal(0, 2, space.mask.shape)
    plan = mixed_plan(space, costs, np.random.default_rng(seed))
    space.check(plan)
    taken = costs[np.arange(len(plan)), plan]
    assert (taken <= 4 * np.where(space.mask, costs, np.inf).min(axis=1)).all()


def _record(runs_ms):
    return Record(state=State.OK, runs_ms=tuple(runs_ms), segments_ms=((1.0,),) * len(runs_ms))


def test_a_paired_ratio_sees_through_drift():
    rng = np.random.default_rng(0)
    drift = np.linspace(1, 3, 200)  # far more than the difference
    a, b = 0.97 * drift * rng.normal(1, 0.01, 200), drift * rng.normal(1, 0.01, 200)
    ratio, low, high = paired_ratio(_record(a), _record(b))
    assert low <= ratio <= high < 1
    assert ratio == pytest.approx(0.97, abs=0.005)
    _, low, high = paired_ratio(_record(b), _record(drift * rng.normal(1, 0.01, 200)))
    assert low < 1 < high


def test_event_files_are_what_tensorboard_reads(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with EventLog(tmp_path) as log:
        for number in range(3):
            log.episode(0, Episode(number=number, latency_ms=5, best_ms=4, epsilon=0.5))
        log.scalar("search/measured_ms", 4.5, 1)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {
        "episode/return", "episode/best_ms", "episode/epsilon", "episode/round",
        "search/measured_ms",
    }  # fmt: skip
    assert [event.value for event in events.Scalars("episode/return")] == [-5, -5, -5]
    assert events.Scalars("search/measured_ms")[0].value == 4.5


def test_a_layer_is_not_offered_in_a_precision_it_does_not_run_in():
    lossy = dataclasses.replace(PRIMITIVES[0], precision=Precision.INT8)
    primitives = (PRIMITIVES[0], lossy)
    space = Space(layers=("a", "b"), primitives=primitives, mask=np.ones((2, 2), bool), edges=())
    ran = {(la, p): Applied(primitive=str(primitives[p]), kernel=f"k{p}")
           for la in range(2) for p in range(2)}  # fmt: skip
    ran[1, 1] = Applied(primitive=str(primitives[0]), kernel="k0")
    trial = Trial(
        choice=np.array([1, 1]),
        segments=(),
        package=Package(manifest={}, folder=Path(), digest=""),
        record=_record([1.0]),
    )
    found = Profile(trials={"int8": trial}, layer_ms=np.ones((2, 2)), applied=ran)
    left, measured = usable(space, found)
    assert left.mask.tolist() == [[True, True], [True, False]]
    assert measured.trials["int8"].choice.tolist() == [1, 0]


def test_primitives_that_read_back_equal_are_offered_once():
    mask = np.ones((2, len(PRIMITIVES)), bool)
    mask[:, 4] = False
    space = Space(layers=("a", "b"), primitives=PRIMITIVES, mask=mask, edges=())

    def offered(kernels):
        applied = {
            (layer, p): Applied(primitive=str(PRIMITIVES[p]), kernel=kernels[p])
            for layer in range(2)
            for p in range(4)
        }
        layer_ms = np.where(mask, 1.0, np.nan)
        left, _ = usable(space, Profile(trials={}, layer_ms=layer_ms, applied=applied))
        return left.mask.any(axis=0).tolist()

    assert offered(["MatMul", "MatMul", "MatMul", "sgemm"]) == [True, False, True, True, False]
    assert offered(["Conv(nchwc)", "Conv", "Conv", "Conv"]) == [True, True, True, True, False]


def test_a_layer_without_the_primitive_takes_what_its_engine_offers_first():
    """As an engine does that is run bare: ncnn's own choice for a convolution is no last resort."""
    names = ("sgemm", "auto", "winograd")
    primitives = tuple(
        Primitive(engine="ncnn", algorithm=name, precision=Precision.FP32, family="ncnn")
        for name in names
    )
    space = Space(
        layers=("conv", "pool"),
        primitives=primitives,
        mask=np.array([[True, False, True], [False, True, False]]),
        edges=(),
        places=np.array([[1, 2, 0], [1, 0, 1]]),
    )
    plans = {name: plan.tolist() for name, plan in uniform_plans(space).items()}
    assert plans == {"ncnn/sgemm/fp32": [0, 1], "ncnn/auto/fp32": [2, 1]}
