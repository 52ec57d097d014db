"""A primitive is spared only where everything known speaks against it."""

import dataclasses

import numpy as np
import pytest

from qsdnn.board import BoardInfo
from qsdnn.cost.fit import fit
from qsdnn.engine import EngineInfo
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space
from qsdnn.tuning.start.transfer import LAG, OF_A_KIND, learned, outclassed

NAMES = ("auto", "fast", "slow", "even")
SIGNATURES = [*(f"conv:{i}" for i in range(OF_A_KIND)), *(f"gemm:{i}" for i in range(OF_A_KIND))]
LAYERS = len(SIGNATURES)
INFO = BoardInfo(
    name="x",
    fingerprint="one",
    engines={"alpha": EngineInfo(name="alpha", version="1")},
    facts={"cpu": "abacus"},
)
SPACE = Space(
    layers=tuple(SIGNATURES),
    primitives=tuple(
        Primitive(engine="alpha", algorithm=name, precision=Precision.FP32, family="alpha/fp32")
        for name in NAMES
    ),
    mask=np.ones((LAYERS, len(NAMES)), bool),
    edges=(),
)
PROFILE_MS = np.tile([1.5 * LAG, 1.0, 1.01 * LAG, 1.01 * LAG], (LAYERS, 1))
PROFILE_MS[OF_A_KIND:, 3] = 0.9  # even with the fastest, or better, where it multiplies matrices
SLOW = NAMES.index("slow")


def _terms(space=SPACE, profile_ms=PROFILE_MS):
    return learned(fit(space, profile_ms, []), INFO, "network", SIGNATURES, threads=1)


def test_what_was_slow_on_all_layers_of_its_kinds_is_spared_but_for_the_default():
    assert outclassed(_terms(), SPACE, SIGNATURES, INFO) == [SLOW]
    others = ["conv:other"] * LAYERS
    assert outclassed(_terms(), SPACE, others, INFO) == [SLOW, NAMES.index("even")]
    assert outclassed([], SPACE, SIGNATURES, INFO) == []


@pytest.mark.parametrize("kind", ["pool", ""])
def test_a_kind_nobody_has_seen_speaks_for_it(kind):
    assert outclassed(_terms(), SPACE, [*SIGNATURES[:-1], f"{kind}:0"], INFO) == []


def test_few_layers_and_other_versions_say_nothing():
    few = [term for term in _terms() if not term.detail.endswith("0")]
    assert outclassed(few, SPACE, SIGNATURES, INFO) == []
    older = [dataclasses.replace(term, version="0") for term in _terms()]
    assert outclassed(older, SPACE, SIGNATURES, INFO) == []


def test_one_layer_where_it_was_fast_speaks_for_it():
    profile_ms = PROFILE_MS.copy()
    profile_ms[0, SLOW] = 1.0
    assert outclassed(_terms(profile_ms=profile_ms), SPACE, SIGNATURES, INFO) == []


def test_a_layer_keeps_another_of_the_domain():
    mask = SPACE.mask.copy()
    mask[0] = np.arange(len(NAMES)) == SLOW
    alone = dataclasses.replace(SPACE, mask=mask)
    assert outclassed(_terms(), alone, SIGNATURES, INFO) == []
