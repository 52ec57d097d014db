"""Data of the trained networks: sounds that are made, and what these networks were not trained on.

There are sounds of ten kinds in noise, as mel spectrograms, which the network `tones` tells apart.
They are synthesised from a seed: one second at 8 kHz each, so faint in their noise that no network
gets all of them right, and from loud to very quiet, as a microphone without gain control hears
them. The spectrograms are of magnitudes, not of their logarithms: a loud sound is far above a quiet
one, and 8 bits do not hold both where the network reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError

RATE_HZ, SECONDS = 8000, 1.0
WINDOW, HOP, FFT = 320, 160, 512
BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 3800.0
SNR_DB = (-10.0, 8.0)
"""The sound level over the noise while the sound lasts, drawn evenly; in each band noise is
faint."""
LOUDNESS_DB = (-45.0, 0.0)
"""The level of sound and noise together, drawn evenly."""
SCALE = 0.1
"""The factor on the features, which brings their deviation near to 1."""

Sound = NDArray[np.float64]
Rng = np.random.Generator

_TIME_S: Sound = np.arange(int(RATE_HZ * SECONDS)) / RATE_HZ


def sounds(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (count, 1, 40, 49) and the kinds (count,), each kind as often.

    Args:
        count: The number of sounds.
        seed: The seed of every random number; the same seed gives the same sounds.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(KINDS))
    features = [_mel(_in_noise(KINDS[label](rng), rng)) for label in labels]
    return np.stack(features)[:, None].astype(np.float32), labels.astype(np.int64)


def _in_noise(sound: Sound, rng: Rng) -> Sound:
    """The sound, for a while and at some loudness, in white noise."""
    start_s, length_s = rng.uniform(0.0, 0.35), rng.uniform(0.45, 0.65)
    edge = np.minimum(_TIME_S - start_s, start_s + length_s - _TIME_S) / 0.02
    snr = 10 ** (rng.uniform(*SNR_DB) / 20)
    level = max(float(np.sqrt(np.mean(sound**2))), 1e-9)
    noise = rng.standard_normal(len(_TIME_S))
    loudness = 10 ** (rng.uniform(*LOUDNESS_DB) / 20)
    mixed: Sound = loudness * (snr * np.clip(edge, 0.0, 1.0) * sound / level + noise)
    return mixed


def _pitch_hz(rng: Rng) -> float:
    return float(np.exp(rng.uniform(np.log(250.0), np.log(2000.0))))


def _swing(frequency_hz: Sound | float) -> Sound:
    """A sine whose frequency may change."""
    steps = np.broadcast_to(np.asarray(frequency_hz) / RATE_HZ, _TIME_S.shape)
    wave: Sound = np.sin(2 * np.pi * np.cumsum(steps))
    return wave


def _silence(rng: Rng) -> Sound:
    return np.zeros_like(_TIME_S)


def _tone(rng: Rng) -> Sound:
    return _swing(_pitch_hz(rng))


def _rising(rng: Rng) -> Sound:
    return _swing(_pitch_hz(rng) * 2 ** (rng.uniform(0.5, 1.5) * (_TIME_S - 0.5)))


def _falling(rng: Rng) -> Sound:
    return _swing(_pitch_hz(rng) * 2 ** (rng.uniform(0.5, 1.5) * (0.5 - _TIME_S)))


def _warble(rng: Rng) -> Sound:
    depth, rate_hz = rng.uniform(0.1, 0.3), rng.uniform(3.0, 7.0)
    return _swing(_pitch_hz(rng) * (1 + depth * np.sin(2 * np.pi * rate_hz * _TIME_S)))


def _tremolo(rng: Rng) -> Sound:
    tone = _tone(rng)
    return tone * (1 + _swing(rng.uniform(5.0, 10.0)))


def _chord(rng: Rng) -> Sound:
    pitch_hz = _pitch_hz(rng) / 2
    return _swing(pitch_hz) + _swing(2 * pitch_hz) / 2 + _swing(3 * pitch_hz) / 3


def _beeps(rng: Rng) -> Sound:
    return _tone(rng) * (_TIME_S * rng.uniform(5.0, 10.0) % 1.0 < 0.5)


def _clicks(rng: Rng) -> Sound:
    return (np.diff(_TIME_S * rng.uniform(8.0, 20.0) % 1.0, prepend=0.0) < 0).astype(np.float64)


def _hiss(rng: Rng) -> Sound:
    spectrum = np.fft.rfft(rng.standard_normal(len(_TIME_S)))
    middle_hz = _pitch_hz(rng)
    frequency_hz = np.fft.rfftfreq(len(_TIME_S), 1 / RATE_HZ)
    inside = np.abs(frequency_hz - middle_hz) < 0.25 * middle_hz
    return np.fft.irfft(spectrum * inside)


KINDS: tuple[Callable[[Rng], Sound], ...] = (
    _silence, _tone, _rising, _falling, _warble, _tremolo, _chord, _beeps, _clicks, _hiss,
)  # fmt: skip
"""The kind of sound that each label stands for, as the function that makes it."""


def _mel(wave: Sound) -> NDArray[Any]:
    """The features (bands, windows) of a wave (samples,)."""
    windows = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), FFT)) ** 2
    features: NDArray[Any] = SCALE * np.sqrt(power @ _filters().T)
    return features.T


@cache
def _filters() -> Sound:
    """The filters (bands, frequencies): triangles evenly spaced in mel (O'Shaughnessy 1987)."""
    low_mel, high_mel = (2595 * math.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    corners_hz = 700 * (10 ** (np.linspace(low_mel, high_mel, BANDS + 2) / 2595) - 1)
    frequency_hz = np.fft.rfftfreq(FFT, 1 / RATE_HZ)
    low, middle, high = (corners_hz[i : BANDS + i, None] for i in range(3))
    rising = (frequency_hz - low) / (middle - low)
    falling = (high - frequency_hz) / (high - middle)
    triangles: Sound = np.clip(np.minimum(rising, falling), 0.0, None)
    return triangles


FOLDER = Path(__file__).parent / "trained"
"""The folder of the trained networks, and of the images of `digits`."""

SOUNDS, SOUNDS_SEED = 1000, 0


def held_out(name: str) -> dict[str, NDArray[Any]]:
    """The arrays ``input`` (n, …) float32 and ``labels`` (n,) int64, in ``--calibration``'s form.

    Args:
        name: The name of a trained network of the catalog.

    Raises:
        InputError: The network is not trained: no input has a right answer.
    """
    if name == "digits":
        with np.load(FOLDER / "digits.npz") as arrays:
            return {
                "input": digit_inputs(arrays["images"]),
                "labels": arrays["labels"].astype(np.int64),
            }
    if name == "tones":
        inputs, labels = sounds(SOUNDS, SOUNDS_SEED)
        return {"input": inputs, "labels": labels}
    raise InputError(
        f"{name} has random weights: there is no data that it is right on",
        hint="trained are: digits, tones",
    )


def digit_inputs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The images (n, 8, 8) of 0 … 16 as the network takes them: (n, 1, 16, 16), 0 … 1."""
    larger = images.repeat(2, axis=1).repeat(2, axis=2)
    return (larger[:, None] / 16).astype(np.float32)
