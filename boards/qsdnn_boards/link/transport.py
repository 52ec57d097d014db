"""How bytes reach a measuring server: a transport, and the one through a subprocess's pipes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from qsdnn_runtime.server.postmortem import Tail

# How long a measuring server may take to end after its standard input did: it first sets back the
# performance mode.
GRACE_S = 10.0
TURN_S = 1.0


class Transport(Protocol):
    """Two byte streams to a running measuring server.

    One thread may read while others write or end the measuring server.

    Attributes:
        compress: Whether compressing what is sent saves time.
    """

    @property
    def compress(self) -> bool:
        """See the attributes of `Transport`."""
        ...

    def read(self, size: int, timeout_s: float) -> bytes:
        """At most `size` bytes, as soon as there are any; none at the end of the stream.

        Raises:
            TimeoutError: No byte came in that time.
            OSError: The stream is broken.
        """
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """Writes all of the data.

        Raises:
            TimeoutError: The other end took no byte for that time.
            OSError: The stream is broken.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Closes the stream to the server, which then ends itself; kills it after the time-out."""
        ...

    def kill(self) -> None:
        """Ends the server, whatever it does; it may first set back what it set on the board."""
        ...

    def last_words(self) -> str:
        """The last lines of the measuring server's standard error."""
        ...


class PipeTransport:
    """A measuring server that is a process of this machine.

    The process has a session of its own: Ctrl-C at the terminal reaches only the caller's process.
    A pipe is faster than any compression.

    Args:
        command: The program to start, with its arguments.
        environment: The whole environment of the process.
        folder: The working directory of the process.
    """

    compress = False

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        self._to_agent = cast(IO[bytes], self._process.stdin)
        self._from_agent = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._to_agent.fileno(), False)
        self._writing = threading.Lock()  # keeps writers off a descriptor that was closed
        self._errors = Tail(cast(BinaryIO, os.fdopen(self._stderr(), "rb")))

    def read(self, size: int, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        if not select.select([self._from_agent], [], [], timeout_s)[0]:
            raise TimeoutError(f"the measuring server was silent for {timeout_s:g} s")
        return os.read(self._from_agent.fileno(), size)

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Transport.write`."""
        rest = memoryview(data)
        while rest:
            with self._writing:
                if self._to_agent.closed:
                    raise BrokenPipeError("the measuring server was told to end")
                if not select.select([], [self._to_agent], [], timeout_s)[1]:
                    raise TimeoutError(f"the measuring server took nothing for {timeout_s:g} s")
                rest = rest[os.write(self._to_agent.fileno(), rest) :]

    def close(self, timeout_s: float) -> None:
        """See `Transport.close`."""
        # A thread that writes to a server that takes nothing is freed by force alone.
        if self._writing.acquire(timeout=TURN_S):
            self._to_agent.close()
            self._writing.release()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with self._writing:
            self._to_agent.close()
        self._from_agent.close()

    def kill(self) -> None:
        """See `Transport.kill`."""
        self.close(GRACE_S)

    def last_words(self) -> str:
        """See `Transport.last_words`."""
        return self._errors.text(wait_s=1.0)

    def _stderr(self) -> int:
        """The descriptor of the process's standard error, taken from the raw stream of `Popen`."""
        stream = cast(IO[bytes], self._process.stderr)
        descriptor = os.dup(stream.fileno())
        stream.close()
        return descriptor
