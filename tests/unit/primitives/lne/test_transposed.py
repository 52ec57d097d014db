"""Transposed convolutions: the phases read each tap of each input once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_primitives.lne.transposed import phases


@given(
    st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3),
    st.integers(0, 3),
)  # fmt: skip
def test_phases_are_the_sum_that_onnx_says(size, kernel, stride, dilation, begin, end):
    out = stride * (size - 1) + (kernel - 1) * dilation + 1 - begin - end
    if out < 1:
        return
    x, w = np.arange(1, size + 1), 10 ** np.arange(kernel)
    want = np.zeros(out + begin + end, np.int64)
    for i in range(size):
        for k in range(kernel):
            want[i * stride + k * dilation] += x[i] * w[k]
    got = np.full(out, -1)
    for phase in phases(out, kernel, stride, dilation, begin):
        reads = [
            [phase.first + tap * phase.dilation + i for tap in range(len(phase.taps))]
            for i in range(phase.count)
        ]
        if phase.taps:
            assert phase.last == reads[-1][-1]
        for i, places in enumerate(reads):
            terms = zip(phase.taps, places, strict=True)
            total = sum(x[at] * w[k] for k, at in terms if 0 <= at < size)
            got[phase.start + i * stride] = total
    np.testing.assert_array_equal(got, want[begin : begin + out])
