"""The host at the other end of a measuring server's standard streams."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, BinaryIO, Callable, Dict, Iterator, Mapping, Sequence

from qsdnn_runtime.frames import Frame, FrameError, read_frame, write_frame

ALIVE_EVERY_S = 2.0
TICK_S = 1.0
# The limit of silence until the host has said how long it may be silent.
SILENCE_S = 60.0
# How many requests wait here: they are answered one at a time, and the host may send ahead.
WAITING = 4


class Host:
    """Takes requests from the host and sends answers.

    The host is gone when its stream has ended or broken, when it reads no answers, or when nothing
    was heard of it for too long: a host that lives says so all the time, and one that lost its
    power or its network closes no stream.

    Args:
        source: The stream of frames from the host.
        sink: The stream of frames to the host.

    Attributes:
        introduction: What the host said of itself in its ``hello``; empty before.
    """

    def __init__(self, source: BufferedReader, sink: BinaryIO) -> None:
        self.introduction: Mapping[str, Any] = {}
        self._source = source
        self._sink = sink
        self._on_ping: Callable[[], None] = lambda: None
        self._on_gone: Callable[[], None] = lambda: None
        self._requests: queue.Queue[Frame] = queue.Queue(WAITING)
        self._writing = threading.Lock()
        self._waits = threading.Event()
        self._muted = False
        self._silent_s = 0.0

    def listen(self, on_ping: Callable[[], None], on_gone: Callable[[], None]) -> None:
        """Starts to listen, in the background.

        Args:
            on_ping: A function called each time the host says that it lives, from another thread.
            on_gone: A function called when the host is gone, from any thread, perhaps more than
                once.
        """
        self._on_ping, self._on_gone = on_ping, on_gone
        for work in (self._hear, self._watch, self._keep_alive):
            threading.Thread(target=work, daemon=True).start()

    def requests(self) -> Iterator[Frame]:
        """The host's requests, until ``bye``."""
        for request in iter(self._requests.get, None):
            if request.header.get("op") == "bye":
                return
            yield request

    @contextmanager
    def kept_waiting(self) -> Iterator[None]:
        """Tells the host again and again that the measuring server lives, within the context."""
        self._waits.set()
        try:
            yield
        finally:
            self._waits.clear()

    def send(self, header: Dict[str, Any], payload: Sequence[bytes] = ()) -> None:
        """Sends a frame to the host."""
        if self._muted:
            return
        try:
            with self._writing:
                write_frame(self._sink.write, header, payload)
                self._sink.flush()
        except OSError:  # nobody reads any more
            self._on_gone()

    def mute(self) -> None:
        """Stops sending: no frame is sent after this call."""
        self._muted = True

    def _hear(self) -> None:
        try:
            for frame in iter(lambda: read_frame(self._read), None):
                self._take(frame)
        except FrameError as error:
            self.send({"op": "error", "message": str(error)})
        self._on_gone()

    def _read(self, size: int) -> bytes:
        data = self._source.read1(size)
        self._silent_s = 0.0
        return data

    def _take(self, frame: Frame) -> None:
        op = frame.header.get("op")
        if op == "ping":
            self._on_ping()
        elif op == "hello":
            self.introduction = frame.header
        else:
            self._requests.put(frame)

    def _watch(self) -> None:
        """Counts silence by its own ticks: time while this process is stopped does not count."""
        while self._silent_s <= self.introduction.get("silence_s", SILENCE_S):
            threading.Event().wait(TICK_S)
            if not self._requests.full():  # else this server does not listen
                self._silent_s += TICK_S
        self._on_gone()

    def _keep_alive(self) -> None:
        while True:
            self._waits.wait()
            self.send({"op": "alive"})
            threading.Event().wait(ALIVE_EVERY_S)
