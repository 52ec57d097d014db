"""Noise adds up over layers, and whole plans correct the sum."""

import numpy as np
import pytest

from qsdnn.accuracy.noise import fit_noise, noise_of, sqnr_db_of
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space

LAYERS = 10


@pytest.fixture
def space():
    def primitive(engine, precision):
        return Primitive(engine=engine, algorithm="auto", precision=precision, family=engine)

    primitives = (
        primitive("a", Precision.FP32),
        primitive("a", Precision.INT8),
        primitive("b", Precision.BF16),
        primitive("b", Precision.INT8),
    )
    return Space(
        layers=tuple(f"l{i}" for i in range(LAYERS)),
        primitives=primitives,
        mask=np.ones((LAYERS, 4), bool),
        edges=(),
    )


def test_decibels():
    assert noise_of(30.0) == pytest.approx(1e-3)
    assert sqnr_db_of(noise_of(42.0)) == pytest.approx(42.0)


def test_fp32_has_no_noise_and_a_network_has_its_usual_noise_before_anything_is_known(space):
    model = fit_noise(space, np.full((LAYERS, 4), np.nan))
    whole = model.predict(np.array([[p] * LAYERS for p in range(4)]))
    assert whole[0] < 1e-9
    assert whole[2] < whole[1] == pytest.approx(1e-3)


def test_layers_alone_are_believed(space):
    rng = np.random.default_rng(0)
    alone = np.full((LAYERS, 4), np.nan)
    alone[:, 1] = rng.lognormal(-9, 2, LAYERS)
    model = fit_noise(space, alone)
    np.testing.assert_allclose(model.power[:, 1], alone[:, 1], rtol=1e-6)
    np.testing.assert_allclose(model.power[:, 3], alone[:, 1], rtol=1e-6)  # int8 elsewhere


def test_plans_correct_the_sum(space):
    rng = np.random.default_rng(1)
    truth = np.zeros((LAYERS, 4))
    truth[:, 1:] = rng.lognormal(-8, 1, (LAYERS, 3))
    alone = truth * rng.lognormal(0, 0.5, truth.shape)
    plans = rng.integers(0, 4, (60, LAYERS))
    noise = truth[np.arange(LAYERS), plans].sum(axis=1)
    held_out = rng.integers(0, 4, (40, LAYERS))
    true = truth[np.arange(LAYERS), held_out].sum(axis=1)
    alone[:, 0] = np.nan

    def error(known):
        model = fit_noise(space, alone, list(plans[:known]), noise[:known].tolist())
        return np.abs(model.predict(held_out) / true - 1).mean()

    assert error(60) < error(0) / 2
    assert (fit_noise(space, alone, list(plans), noise.tolist()).power >= 0).all()
