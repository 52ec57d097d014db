"""The transport to a measuring server behind an SSH channel."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, cast

from paramiko import Channel
from paramiko.ssh_exception import SSHException

from qsdnn.errors import BoardError
from qsdnn_boards.link.transport import GRACE_S
from qsdnn_runtime.server.postmortem import Tail

PIECE_BYTES = 1 << 15


class ChannelTransport:
    """Implements `Transport` over the standard streams of a command that runs remotely.

    Args:
        channel: The channel in which a command was started.
        disconnect: The function that ends the connection; called once there is nothing more to say.

    Attributes:
        end_by_force: The function that ends the command on the remote machine, over the same
            connection; called when the command does not end although its standard input did.
    """

    compress = True

    def __init__(self, channel: Channel, disconnect: Callable[[], None]) -> None:
        self.end_by_force: Callable[[], None] = lambda: None
        self._channel = channel
        self._disconnect = disconnect
        self._errors = Tail(cast(BinaryIO, _StandardError(channel)))

    def read(self, size: int, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        self._channel.settimeout(timeout_s)
        try:
            data = self._channel.recv(size)
        except TimeoutError:
            raise TimeoutError(f"nothing was heard of it for {timeout_s:g} s") from None
        if not data and not self._ended_properly():
            raise ConnectionError(f"the connection to it broke{self._cause()}")
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Transport.write`."""
        self._channel.settimeout(timeout_s)
        rest = memoryview(data)
        try:
            while rest:
                # `send` takes what fits into a packet, and into the window of the other end.
                taken = self._channel.send(bytes(rest[:PIECE_BYTES]))
                if not taken:
                    raise ConnectionError("it was told to end")
                rest = rest[taken:]
        except TimeoutError:
            raise TimeoutError(f"it took nothing for {timeout_s:g} s") from None
        except (OSError, SSHException, EOFError) as error:  # command or connection has ended
            raise ConnectionError(f"the connection to it broke: {error}") from error

    def close(self, timeout_s: float) -> None:
        """See `Transport.close`."""
        deadline_s = time.monotonic() + timeout_s
        with suppress(OSError, SSHException, EOFError):
            self._channel.shutdown_write()
            while self.read(PIECE_BYTES, max(deadline_s - time.monotonic(), 0.01)):
                pass
        self.kill()

    def kill(self) -> None:
        """See `Transport.kill`: a server whose standard input ends does too, unless it is stopped.

        Over a broken connection a stopped measuring server cannot be ended: it is left to the next
        measuring server, which finds it when taking the board's lock.
        """
        with suppress(OSError, SSHException, EOFError):
            self._channel.shutdown_write()
        ended = self._channel.status_event.wait(GRACE_S)
        if not ended and self._channel.get_transport().is_active():
            with suppress(OSError, SSHException, EOFError, BoardError):
                self.end_by_force()
        with suppress(OSError, SSHException, EOFError):
            self._channel.close()
        self._disconnect()

    def last_words(self) -> str:
        """See `Transport.last_words`."""
        return self._errors.text(wait_s=1.0)

    def exit_status(self, timeout_s: float) -> int | None:
        """The command's exit status; None when the status is not known within the time."""
        self._channel.status_event.wait(timeout_s)
        status = self._channel.exit_status
        return None if status == -1 else status

    def _ended_properly(self) -> bool:
        """Whether the other end closed the stream, rather than the connection under it."""
        return bool(self._channel.eof_received) or self._channel.exit_status != -1

    def _cause(self) -> str:
        error = self._channel.get_transport().get_exception()
        return f": {error}" if error is not None and str(error) else ""


class _StandardError:
    """Standard error of a channel, as far as `Tail` reads a stream."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> _StandardError:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def read1(self, size: int) -> bytes:
        """The bytes that have come, as soon as there are any; none at the end of the stream."""
        while True:
            # The channel's time-out is meant for answers: standard error may be silent for longer.
            with suppress(TimeoutError):
                return self._channel.recv_stderr(size)
