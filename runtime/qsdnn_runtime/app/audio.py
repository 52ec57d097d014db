"""Sounds before inference: one channel, another length, mel-frequency cepstral coefficients.

A sound is an array (channels, length) of float32 from −1 to 1.
"""

from __future__ import annotations

from typing import Mapping, Optional

import numpy as np

from .stage import AppError, Before, Sample


def mono(sample: Sample) -> Sample:
    """The mean of all channels."""
    return sample.having(_sound(sample).mean(axis=0, keepdims=True, dtype=np.float32))


def rate(sample: Sample, hz: float) -> Sample:
    """The same sound, which must have this many samples a second.

    Raises:
        AppError: The sound has another rate, which would shift all frequencies.
    """
    if sample.rate_hz != hz:
        raise AppError(
            "a sound of %g samples a second; the network was trained with %g: record or convert "
            "the sound with that rate" % (sample.rate_hz or 0, hz)
        )
    return sample


def duration(sample: Sample, seconds: float) -> Sample:
    """The first seconds of a sound, or with silence after its end."""
    sound = _sound(sample)
    length = round(seconds * (sample.rate_hz or 0))
    padded = np.zeros((len(sound), length), np.float32)
    part = sound[:, :length]
    padded[:, : part.shape[1]] = part
    return sample.having(padded)


def mfcc(
    sample: Sample,
    coefficients: int = 40,
    bands: int = 128,
    window: int = 2048,
    hop: int = 512,
    top_db: Optional[float] = 80.0,
) -> Sample:
    """Mel-frequency cepstral coefficients (channels, coefficients, 1 + length // hop).

    Frames are centred: half a window of silence goes before the sound and after it. Each is
    weighted by a Hann window; the power of its spectrum is summed in bands of Slaney's mel scale,
    which have equal areas; their decibels, at most `top_db` below the loudest, go through the
    orthonormal DCT-II. The numbers equal those of librosa 0.11 with its defaults within 1e-4 of the
    largest.

    Args:
        sample: The sound.
        coefficients: The number of coefficients.
        bands: The number of mel bands.
        window: The samples in a frame.
        hop: The samples from frame to frame.
        top_db: The range in decibels below the loudest; None keeps all.
    """
    sound, rate_hz = _sound(sample), sample.rate_hz
    if not rate_hz:
        raise AppError("mfcc: the sound does not say how many samples a second it has")
    filters = mel_filters(rate_hz, window, bands)
    transform = cosines(coefficients, bands)
    made = [transform @ _decibels(filters @ power(s, window, hop), top_db) for s in sound]
    return sample.having(np.stack(made).astype(np.float32))


def power(sound: np.ndarray, window: int, hop: int) -> np.ndarray:
    """The power of a sound (length,) by frequency and frame: (window // 2 + 1, frames)."""
    padded = np.pad(sound, window // 2)
    starts = np.arange(0, len(padded) - window + 1, hop)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = padded[starts[:, None] + np.arange(window)] * hann
    return np.abs(np.fft.rfft(frames, axis=1).T) ** 2


def mel_filters(rate_hz: float, window: int, bands: int) -> np.ndarray:
    """Triangular filters of equal area, from 0 Hz to half the rate: (bands, window // 2 + 1).

    M. Slaney: Auditory Toolbox, 1998: the scale is linear up to 1000 Hz, 200/3 Hz a mel, and
    logarithmic above.
    """
    step, knee = 200.0 / 3, 1000.0
    log_step = np.log(6.4) / 27

    def to_mel(hz: float) -> float:
        return hz / step if hz < knee else knee / step + float(np.log(hz / knee)) / log_step

    mels = np.linspace(0.0, to_mel(rate_hz / 2), bands + 2)
    above = np.maximum(mels - knee / step, 0.0)
    edges = np.where(mels < knee / step, mels * step, knee * np.exp(log_step * above))
    bins = np.fft.rfftfreq(window, 1.0 / rate_hz)
    widths = np.diff(edges)
    ramps = edges[:, None] - bins
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(filters * (2.0 / (edges[2:] - edges[:-2]))[:, None])


def cosines(coefficients: int, bands: int) -> np.ndarray:
    """The first rows of the orthonormal DCT-II: (coefficients, bands)."""
    k, n = np.arange(coefficients)[:, None], np.arange(bands)
    rows = np.sqrt(2.0 / bands) * np.cos(np.pi * k * (2 * n + 1) / (2 * bands))
    rows[0] /= np.sqrt(2.0)
    return np.asarray(rows)


def _decibels(values: np.ndarray, top_db: Optional[float]) -> np.ndarray:
    decibels = 10 * np.log10(np.maximum(values, 1e-10))
    least = decibels.min() if top_db is None else decibels.max() - top_db
    return np.asarray(np.maximum(decibels, least))


def _sound(sample: Sample) -> np.ndarray:
    if sample.values.ndim != 2:
        raise AppError("no sound: values of shape %s" % (sample.values.shape,))
    return sample.values


STAGES: Mapping[str, Before] = {"duration": duration, "mfcc": mfcc, "mono": mono, "rate": rate}
"""The stages of sounds, by name."""
