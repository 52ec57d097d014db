"""Frames: what is written is what is read, and everything else is refused."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.frames import PREFIX, Frame, FrameError, read_frame, write_frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.text(), JSON, max_size=4)


@given(st.lists(st.tuples(HEADERS, st.lists(st.binary(), max_size=3)), max_size=4), st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, data):
    stream = io.BytesIO()
    for header, pieces in frames:
        write_frame(stream.write, header, pieces)
    stream.seek(0)

    def read(size: int) -> bytes:
        return stream.read(data.draw(st.integers(1, max(size, 1))))

    for header, pieces in frames:
        assert read_frame(read) == Frame(header, b"".join(pieces))
    assert read_frame(read) is None


@given(HEADERS, st.binary(), st.data())
def test_a_frame_that_is_cut_short_is_refused(header, payload, data):
    stream = io.BytesIO()
    write_frame(stream.write, header, [payload])
    cut = data.draw(st.integers(1, len(stream.getvalue()) - 1))
    with pytest.raises(FrameError, match="ended inside"):
        read_frame(io.BytesIO(stream.getvalue()[:cut]).read)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Warning: some library prints this instead of a frame", "not a frame"),
        (PREFIX.pack(1 << 31, 0), "too large"),
        (PREFIX.pack(2, 1 << 62), "too large"),
        (PREFIX.pack(2, 0) + b"\xff\xff", "not JSON"),
        (PREFIX.pack(2, 0) + b"{]", "not JSON"),
        (PREFIX.pack(2, 0) + json.dumps([]).encode(), "list, not an object"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(content, message):
    with pytest.raises(FrameError, match=message):
        read_frame(io.BytesIO(content).read)


def test_what_does_not_fit_is_refused_before_it_is_sent():
    class Huge(bytes):
        def __len__(self) -> int:
            return 1 << 40

    stream = io.BytesIO()
    with pytest.raises(FrameError, match="too large"):
        write_frame(stream.write, {}, [Huge()])
    assert not stream.getvalue()
