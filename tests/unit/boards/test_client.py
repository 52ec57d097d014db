"""The client against agents that do not do as they should."""

from __future__ import annotations

import io

import pytest

from qsdnn_boards.link.client import ServerClient, ServerLostError
from qsdnn_boards.link.host import introduce
from qsdnn_runtime.frames import write_frame
from qsdnn_runtime.protocol import VERSION


class DeadEnd:
    """A transport whose agent says what it is given and then falls silent, or ends."""

    def __init__(self, content: bytes, end: Exception | None = None) -> None:
        self._stream = io.BytesIO(content)
        self._end = end
        self.killed = False
        self.compress = False

    def read(self, size: int, timeout_s: float) -> bytes:
        data = self._stream.read(size)
        if not data and self._end is not None:
            raise self._end
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        pass

    def close(self, timeout_s: float) -> None:
        self.killed = True

    def kill(self) -> None:
        self.killed = True

    def last_words(self) -> str:
        return "python: command not found"


def hello(protocol: int = VERSION) -> bytes:
    stream = io.BytesIO()
    write_frame(stream.write, {"op": "hello", "protocol": protocol, "boot_id": "b"})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("transport", "cause"),
    [
        (DeadEnd(b""), "the measuring server ended\npython: command not found"),
        (DeadEnd(b"Welcome to Debian GNU/Linux 12\n"), "not a frame"),
        (DeadEnd(hello()[:-1]), "ended inside a frame"),
        (DeadEnd(hello(), TimeoutError("silent for 60 s")), "silent for 60 s"),
        (DeadEnd(hello(), ConnectionResetError("reset")), "reset"),
        (DeadEnd(hello(protocol=1)), f"not with protocol {VERSION}"),
    ],
)
def test_a_lost_agent_is_an_error_with_its_last_words(transport, cause):
    with pytest.raises(ServerLostError) as caught:
        ServerClient("pi", transport, introduce()).probe()
    assert "board 'pi' was lost" in caught.value.message and cause in caught.value.message
    assert caught.value.exit_code == 3 and transport.killed
