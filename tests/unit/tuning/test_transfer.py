"""What one search leaves, another one finds: as much as it is worth."""

import dataclasses

import numpy as np
import pytest

from qsdnn.board import BoardInfo
from qsdnn.cost.fit import fit, no_prior
from qsdnn.engine import EngineInfo
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn.tuning.start.transfer import learned, prior_of

LAYERS = 6
SIGNATURES = [f"kind {i}" for i in range(LAYERS)]
INFO = BoardInfo(
    name="x",
    fingerprint="one",
    engines={name: EngineInfo(name=name, version="1") for name in ("alpha", "beta")},
    facts={"cpu": "abacus"},
)
SPACE = Space(
    layers=tuple("abcdef"),
    primitives=tuple(
        Primitive(engine=name, algorithm="auto", precision=Precision.FP32, family=f"{name}/fp32")
        for name in ("alpha", "beta")
    ),
    mask=np.ones((LAYERS, 2), bool),
    edges=tuple(Edge(producer=i, consumers=(i + 1,), size_bytes=4096) for i in range(LAYERS - 1)),
)
PROFILE_MS = np.arange(1.0, 2 * LAYERS + 1).reshape(LAYERS, 2)


@pytest.fixture
def terms():
    profile_ms = PROFILE_MS.copy()
    profile_ms[2, 0] = 0.0  # it runs within another
    return learned(fit(SPACE, profile_ms, []), INFO, "network", SIGNATURES, threads=1)


def _prior(terms, info=INFO, profile_ms=PROFILE_MS, signatures=SIGNATURES):
    return prior_of(terms, SPACE, profile_ms, signatures, info)


def test_layers_are_known_by_signature_at_the_level_of_the_profile(terms):
    prior = _prior(terms, profile_ms=3 * PROFILE_MS)
    assert np.isnan(prior.layer_ms[2, 0])
    known = np.isfinite(prior.layer_ms)
    assert known.sum() == 2 * LAYERS - 1
    np.testing.assert_allclose(prior.layer_ms[known], 3 * PROFILE_MS[known])
    strange = _prior(terms, signatures=["another"] * LAYERS)
    assert np.isnan(strange.layer_ms).all()
    assert np.isfinite(fit(SPACE, PROFILE_MS, [], prior).cost.layer_ms).all()


def test_it_is_wider_from_elsewhere_and_never_wider_than_nothing(terms):
    other = {name: EngineInfo(name=name, version="2") for name in INFO.engines}
    here = _prior(terms)
    version = _prior(terms, dataclasses.replace(INFO, engines=other))
    board = _prior(terms, dataclasses.replace(INFO, fingerprint="two", engines=other))
    for a, b in ((here, version), (version, board)):
        known = np.isfinite(a.layer_spread)
        assert (a.layer_spread[known] < b.layer_spread[known]).all()
        assert (a.rate_spread <= b.rate_spread).all()
    assert (board.rate_spread <= no_prior(SPACE).rate_spread).all()


def test_networks_that_disagree_are_believed_less(terms):
    twice = [*terms, *(dataclasses.replace(t, network="b", value=3 * t.value) for t in terms)]
    alike = [*terms, *(dataclasses.replace(t, network="b") for t in terms)]
    known = np.isfinite(_prior(alike).layer_spread)
    assert (_prior(twice).layer_spread[known] > 2 * _prior(alike).layer_spread[known]).all()


def test_nothing_known_is_no_prior(terms):
    assert _prior([]) is None
    alone = dataclasses.replace(INFO, engines={"gamma": EngineInfo(name="gamma", version="1")})
    assert _prior(terms, alone) is None
