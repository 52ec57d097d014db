"""How bytes reach an agent: a transport, and the one through the pipes of a subprocess."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from qsdnn_runtime.tail import Tail


class Transport(Protocol):
    """Two byte streams to a running agent."""

    def read(self, size: int, timeout_s: float) -> bytes:
        """At most so many bytes, as soon as there are any; none at the end of the stream.

        Raises:
            TimeoutError: Nothing came in that time.
            OSError: The stream is broken.
        """
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """Writes all of it.

        Raises:
            TimeoutError: The other end took nothing for so long.
            OSError: The stream is broken.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Ends the stream to the agent, which then ends itself; after the time-out, kills it."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...

    def last_words(self) -> str:
        """The last lines of the agent's standard error."""
        ...


class PipeTransport:
    """An agent that is a process of this machine.

    It has a session of its own: Ctrl-C at the terminal reaches this process and not the agent.

    Args:
        command: What to start.
        environment: All of its environment.
        folder: Its working directory.
    """

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
        self._errors = Tail(cast(BinaryIO, os.fdopen(self._stderr(), "rb")))

    def read(self, size: int, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        if not select.select([self._from_agent], [], [], timeout_s)[0]:
            raise TimeoutError(f"the agent was silent for {timeout_s:g} s")
        return os.read(self._from_agent.fileno(), size)

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Transport.write`."""
        rest = memoryview(data)
        while rest:
            if not select.select([], [self._to_agent], [], timeout_s)[1]:
                raise TimeoutError(f"the agent took nothing for {timeout_s:g} s")
            rest = rest[os.write(self._to_agent.fileno(), rest) :]

    def close(self, timeout_s: float) -> None:
        """See `Transport.close`."""
        self._to_agent.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """See `Transport.kill`."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._to_agent.close()
        self._from_agent.close()

    def last_words(self) -> str:
        """See `Transport.last_words`."""
        return self._errors.text(wait_s=1.0)

    def _stderr(self) -> int:
        """The descriptor of its standard error, taken from the raw stream of `Popen`."""
        stream = cast(IO[bytes], self._process.stderr)
        descriptor = os.dup(stream.fileno())
        stream.close()
        return descriptor
