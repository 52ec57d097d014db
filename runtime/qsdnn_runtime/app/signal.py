"""Signals before inference: windows, filters, and the scale of each channel.

A signal is an array (channels, length) of float32.
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

import numpy as np

from .stage import AppError, Before, Sample


def batch(sample: Sample) -> Sample:
    """The values with a dimension of one before them, as networks read them."""
    return sample.having(np.ascontiguousarray(sample.values[None], np.float32))


def window(sample: Sample, length: int, start: int = 0) -> Sample:
    """A part of a signal.

    Raises:
        AppError: The signal is shorter.
    """
    signal = _signal(sample)
    if signal.shape[1] < start + length:
        have = (signal.shape[1], start, start + length)
        raise AppError("a signal of %d samples has no window from %d to %d" % have)
    return sample.having(signal[:, start : start + length])


def standardize(sample: Sample) -> Sample:
    """Each channel with a mean of zero and a standard deviation of one; a constant becomes zero."""
    signal = _signal(sample).astype(np.float32)
    centred = signal - signal.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return sample.having(centred / np.where(deviation > 0, deviation, np.float32(1)))


def band(
    sample: Sample,
    low_hz: Optional[float] = None,
    high_hz: Optional[float] = None,
    taps: int = 101,
) -> Sample:
    """The frequencies of a signal between two limits, by a filter of finite response.

    The ideal response is cut to `taps` samples by a Hamming window, and shifts nothing in time. The
    signal is continued by its first and last values.

    Args:
        sample: The signal.
        low_hz: The lower limit; None lets everything below pass.
        high_hz: The upper limit; None lets everything above pass.
        taps: The length of the response, an odd number.

    Raises:
        AppError: The limits are none of this signal's, or the number of taps is even.
    """
    signal, rate_hz = _signal(sample), sample.rate_hz
    if not rate_hz:
        raise AppError("band: the signal does not say how many samples a second it has")
    limits = [0.0 if low_hz is None else low_hz, rate_hz / 2 if high_hz is None else high_hz]
    if not 0 <= limits[0] < limits[1] <= rate_hz / 2:
        raise AppError("band: no band from %g to %g Hz at %g samples a second" % (*limits, rate_hz))
    if taps < 1 or taps % 2 == 0:
        raise AppError("band: an odd number of taps is needed, not %d" % taps)
    response = band_response(limits[0] / rate_hz, limits[1] / rate_hz, taps)
    padded = np.pad(signal.astype(np.float64), ((0, 0), (taps // 2, taps // 2)), mode="edge")
    filtered = [np.convolve(line, response, mode="valid") for line in padded]
    return sample.having(np.stack(filtered).astype(np.float32))


def band_response(low: float, high: float, taps: int) -> np.ndarray:
    """The response (taps,) of a filter that passes a band, in cycles a sample."""
    places = np.arange(taps) - taps // 2
    hamming = np.hamming(taps) if taps > 1 else np.ones(1)

    def below(limit: float) -> np.ndarray:
        """A filter that passes what is below; a constant passes unchanged."""
        if limit >= 0.5:
            return np.asarray((places == 0).astype(float))
        if limit <= 0.0:
            return np.zeros(taps)
        ideal = 2 * limit * np.sinc(2 * limit * places) * hamming
        return np.asarray(ideal / ideal.sum())

    return np.asarray(below(high) - below(low))


def channels(sample: Sample, indices: Sequence[int]) -> Sample:
    """Some channels of a signal, in the order given."""
    signal = _signal(sample)
    if not indices or not all(0 <= index < len(signal) for index in indices):
        raise AppError("a signal of %d channels has no %s" % (len(signal), list(indices)))
    return sample.having(signal[list(indices)])


STAGES: Mapping[str, Before] = {
    "band": band,
    "batch": batch,
    "channels": channels,
    "standardize": standardize,
    "window": window,
}
"""The stages of signals, by name; `batch` is for all inputs."""


def _signal(sample: Sample) -> np.ndarray:
    if sample.values.ndim != 2:
        raise AppError("no signal: values of shape %s" % (sample.values.shape,))
    return sample.values
