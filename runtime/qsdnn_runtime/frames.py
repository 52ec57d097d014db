"""Frames: the messages between host, measuring server and child, over any pair of streams.

A frame is a u32 header length, a u64 payload length (both little-endian), a JSON object, and raw
bytes. Nothing in a frame is ever executed: there is no pickle.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, BinaryIO, Callable, Dict, Optional, Sequence, Tuple

PREFIX = struct.Struct("<IQ")
HEADER_LIMIT_BYTES = 64 << 20
PAYLOAD_LIMIT_BYTES = 1 << 30


class FrameError(Exception):
    """The bytes that arrived are not a frame, or those to be sent do not fit into one."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        header: The header, a JSON object.
        payload: The raw bytes that the header describes.
    """

    header: Dict[str, Any]
    payload: bytes = b""


def write_frame(
    write: Callable[[bytes], Any], header: Dict[str, Any], payload: Sequence[bytes] = ()
) -> None:
    """Writes one frame.

    Args:
        write: A function that takes bytes and writes all of them.
        header: The header, a JSON object.
        payload: The pieces of the payload, which are joined without a copy.

    Raises:
        FrameError: The header or the payload is larger than a frame may hold.
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    size = sum(len(piece) for piece in payload)
    _check_sizes(len(text), size)
    write(PREFIX.pack(len(text), size) + text)
    for piece in payload:
        write(piece)


def read_frame(read: Callable[[int], bytes]) -> Optional[Frame]:
    """Reads one frame; None when the stream ended before the frame began.

    Args:
        read: A function that gives at most so many bytes, and ``b""`` only at the end of the
            stream.

    Raises:
        FrameError: The bytes are no frame, or the stream ended inside one.
    """
    start = read(1)
    if not start:
        return None
    header_bytes, payload_bytes = PREFIX.unpack(start + _exactly(read, PREFIX.size - 1))
    _check_sizes(header_bytes, payload_bytes)
    text = _exactly(read, header_bytes)
    try:
        header = json.loads(text.decode())
    except ValueError as error:  # UnicodeDecodeError is one
        raise FrameError("a frame's header is not JSON: %s" % error) from error
    if not isinstance(header, dict):
        raise FrameError("a frame's header is %s, not an object" % type(header).__name__)
    return Frame(header, _exactly(read, payload_bytes))


def take_standard_streams() -> Tuple[BufferedReader, BinaryIO]:
    """Keeps standard input and output for frames alone.

    Libraries print to standard output, some of them from C. After this call, what they print goes
    to standard error, and what they read is empty.

    Returns:
        The streams that were standard input and standard output.
    """
    source, sink = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return os.fdopen(source, "rb"), os.fdopen(sink, "wb")


def _check_sizes(header_bytes: int, payload_bytes: int) -> None:
    if header_bytes > HEADER_LIMIT_BYTES or payload_bytes > PAYLOAD_LIMIT_BYTES:
        raise FrameError(
            "not a frame, or too large for one: header of %d bytes (limit %d), payload of %d "
            "(limit %d)" % (header_bytes, HEADER_LIMIT_BYTES, payload_bytes, PAYLOAD_LIMIT_BYTES)
        )


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = read(min(size - len(pieces), 1 << 20))
        if not piece:
            raise FrameError(
                "the stream ended inside a frame, %d bytes short" % (size - len(pieces))
            )
        pieces += piece
    return bytes(pieces)
