"""Stages of sounds and signals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qsdnn_runtime.app.audio import duration, mfcc, mono, rate
from qsdnn_runtime.app.signal import band, batch, channels, standardize, window
from qsdnn_runtime.app.stage import AppError, Sample

RATE_HZ = 16000.0
LIBROSA = Path(__file__).parent / "mfcc_of_librosa.npz"
"""What librosa 0.11 gives for `sound`: librosa.feature.mfcc(y=…, sr=16000, n_mfcc=40)."""


def sound(seconds=1.0):
    """A tone that rises, with a second one and a little noise, and silence at its end."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng(0)
    tone = 0.5 * np.sin(2 * np.pi * (200 + 700 * t) * t) + 0.2 * np.sin(2 * np.pi * 3000 * t)
    faded = (tone + 0.01 * rng.standard_normal(len(t))) * (t < 0.8)
    return Sample(faded.astype(np.float32)[None], RATE_HZ)


def test_the_coefficients_are_librosa_s():
    found = mfcc(sound()).values
    want = np.load(LIBROSA)["mfcc"]
    assert found.shape == (1, 40, 32)
    assert np.abs(found[0] - want).max() <= 1e-4 * np.abs(want).max()


def test_the_coefficients_are_those_of_the_librosa_that_is_here():
    librosa = pytest.importorskip("librosa", reason="compares with librosa")
    for top_db, seed in ((80.0, 1), (None, 2)):
        noise = np.random.default_rng(seed).standard_normal(12345).astype(np.float32)
        want = librosa.feature.mfcc(y=noise, sr=16000, n_mfcc=13, n_fft=512, hop_length=160)
        found = mfcc(Sample(noise[None], RATE_HZ), 13, window=512, hop=160, top_db=top_db).values
        assert np.abs(found[0] - want).max() <= 1e-4 * np.abs(want).max()


def test_sounds_get_one_channel_and_a_length():
    two = Sample(np.stack([np.ones(8, np.float32), np.zeros(8, np.float32)]), 4.0)
    assert mono(two).values.tolist() == [[0.5] * 8]
    assert duration(two, 1.0).values.shape == (2, 4)
    assert duration(two, 3.0).values[0].tolist() == [1.0] * 8 + [0.0] * 4
    assert rate(two, 4.0) is two and batch(two).values.shape == (1, 2, 8)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [((None, 20.0), (5,)), ((20.0, None), (60,)), ((20.0, 80.0), (60,)), ((None, None), (5, 60))],
)
def test_a_band_keeps_its_frequencies(limits, kept):
    t = np.arange(2000) / 200.0
    tones = {hz: np.sin(2 * np.pi * hz * t) for hz in (5, 60)}
    signal = Sample(sum(tones.values()).astype(np.float32)[None], 200.0)
    found = band(signal, *limits).values[0][200:-200]
    want = sum(tones[hz] for hz in kept)[200:-200]
    np.testing.assert_allclose(found, want, atol=0.01)


def test_channels_are_scaled_alone():
    signal = Sample(np.array([[1, 2, 3, 4], [7, 7, 7, 7]], np.float32), 1.0)
    found = standardize(signal).values
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=1), [1, 0], atol=1e-6)
    assert window(signal, 2, 1).values.tolist() == [[2, 3], [7, 7]]
    assert channels(signal, [1]).values.tolist() == [[7, 7, 7, 7]]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: rate(sound(), 8000), "trained with 8000"),
        (lambda: mfcc(Sample(np.zeros((1, 9), np.float32))), "how many samples a second"),
        (lambda: mfcc(Sample(np.zeros(9, np.float32), 1.0)), "no sound"),
        (lambda: window(sound(), 10**6), "has no window from 0 to 1000000"),
        (lambda: band(sound(), 10, 9000), "no band from 10 to 9000 Hz"),
        (lambda: band(sound(), 10, 20, taps=4), "odd number of taps"),
        (lambda: channels(sound(), [1]), r"has no \[1\]"),
    ],
)
def test_what_does_not_fit_is_told(act, said):
    with pytest.raises(AppError, match=said):
        act()
