"""A relay for TCP connections that can delay what passes, lose it, and cut."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress


class Relay:
    """Listens on a loopback port and passes connections on to another one. A context manager.

    Args:
        port: Where to.
        delay_s: How long each byte travels, one way.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0) -> None:
        self._target = port
        self._delay_s = delay_s
        self._silent = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self.port = 0
        self.connections = 0
        self.listen()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.cut()

    def cut(self) -> None:
        """Breaks all connections; new ones can be made, also while this is done."""
        ends, self._sockets = self._sockets, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def hold(self, hold_s: float) -> None:
        """Passes nothing on for a while, and then all of it, as a cut that TCP survives."""
        self._flowing.clear()
        threading.Timer(hold_s, self._flowing.set).start()

    def listen(self) -> None:
        """Takes connections, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Takes no more connections, until it is to listen again."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def fall_silent(self) -> None:
        """From here on takes what is sent, and loses it."""
        self._silent.set()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # refused
            while True:
                near, _ = listener.accept()
                self.connections += 1
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # nobody is there now
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [near, far]
                self._pass_on(near, far)
                self._pass_on(far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def take() -> None:
            data = b"-"
            while data:
                try:
                    data = source.recv(1 << 16)
                except OSError:
                    data = b""
                pieces.put((time.monotonic() + self._delay_s, data))

        def give() -> None:
            with suppress(OSError):
                while True:
                    due_s, data = pieces.get()
                    time.sleep(max(due_s - time.monotonic(), 0.0))
                    self._flowing.wait()
                    if not data:
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                    if not self._silent.is_set():
                        sink.sendall(data)

        for work in (take, give):
            threading.Thread(target=work, daemon=True).start()
