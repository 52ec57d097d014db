"""The client of a measuring agent: its requests as methods, over any transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qsdnn.board import BoardInfo, MeasureOptions, Package, Record, Reference
from qsdnn.errors import BoardError
from qsdnn_runtime.frames import Frame, FrameError, read_frame, write_frame

from . import wire
from .transport import Transport

PROTOCOL = 1
CHUNK_BYTES = 4 << 20
# A busy agent says so every other second; a Raspberry Pi that swaps may be late with it.
SILENCE_S = 60.0
GOODBYE_S = 5.0


class AgentLostError(BoardError):
    """The agent, or the connection to it, is gone."""


class AgentClient:
    """Speaks with one running agent.

    Args:
        name: Of the board, for messages.
        transport: To an agent that was just started.

    Raises:
        AgentLostError: It does not greet, or speaks another protocol.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self._check_greeting(self._receive())

    def probe(self) -> BoardInfo:
        """What the board is and has."""
        return wire.read_board_info(self._name, self._ask({"op": "probe"}).header)

    def send_artifacts(
        self, packages: Sequence[Package], on_progress: Callable[[str], None]
    ) -> None:
        """Sends what the board lacks of the packages' artifacts.

        Raises:
            BoardError: The board refuses one, e.g. because its disk is full.
        """
        files: dict[str, tuple[Path, int]] = {}
        for package in packages:
            for name, entry in package.manifest["artifacts"].items():
                files[entry["sha256"]] = (package.folder / name, entry["size_bytes"])
        sizes = {digest: size for digest, (_, size) in files.items()}
        missing = self._ask({"op": "have", "artifacts": sizes}).header["missing"]
        for number, digest in enumerate(missing, 1):
            on_progress(f"sending artifact {number} of {len(missing)}")
            self._put(digest, *files[digest])

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_record: Callable[[int, Record], None],
        on_progress: Callable[[str], None],
    ) -> None:
        """Measures packages whose artifacts the board has; tells each record when it is there."""

        def on_event(frame: Frame) -> None:
            if frame.header["op"] == "progress":
                on_progress(frame.header["text"])
            elif frame.header["op"] == "record":
                on_record(frame.header["index"], wire.read_record(frame.header["record"]))

        header, payload = wire.measure_request(packages, reference, options)
        self._ask(header, payload, on_event)

    def run(
        self, package: Package, feeds: Mapping[str, Any], *, threads: int, timeout_s: float
    ) -> dict[str, Any]:
        """Runs a package whose artifacts the board has, once; outputs by name.

        Raises:
            BoardError: The run failed there.
        """
        header, payload = wire.run_request(package, feeds, threads=threads, timeout_s=timeout_s)
        return wire.read_outputs(self._ask(header, payload))

    def close(self) -> None:
        """Ends the agent politely, and by force when it does not end."""
        with suppress(OSError):
            write_frame(self._write, {"op": "bye"})
        self._transport.close(GOODBYE_S)

    def kill(self) -> None:
        """Ends the agent, whatever it is doing; its children die with it."""
        self._transport.kill()

    def _put(self, digest: str, path: Path, size_bytes: int) -> None:
        header = {"op": "put", "sha256": digest, "size_bytes": size_bytes}
        with path.open("rb") as file:
            chunk = file.read(CHUNK_BYTES)
            offset = 0
            while chunk or offset == 0:  # an empty artifact is one empty chunk
                self._ask({**header, "offset": offset}, [chunk])
                offset += len(chunk) or 1
                chunk = file.read(CHUNK_BYTES)

    def _ask(
        self,
        header: dict[str, Any],
        payload: Sequence[bytes] = (),
        on_event: Callable[[Frame], None] = lambda frame: None,
    ) -> Frame:
        """Sends a request; passes on what comes until its answer does."""
        self._send(header, payload)
        while True:
            frame = self._receive()
            if "message" in frame.header:
                raise BoardError(f"board '{self._name}': {frame.header['message']}")
            if frame.header["op"] == header["op"]:
                return frame
            on_event(frame)

    def _send(self, header: dict[str, Any], payload: Sequence[bytes]) -> None:
        try:
            write_frame(self._write, header, payload)
        except OSError as error:
            raise self._lost(error) from error
        except FrameError as error:
            raise BoardError(f"board '{self._name}': {error}") from error

    def _receive(self) -> Frame:
        try:
            frame = read_frame(lambda size: self._transport.read(size, SILENCE_S))
        except (OSError, FrameError) as error:  # TimeoutError is an OSError
            raise self._lost(error) from error
        if frame is None:
            raise self._lost("the agent ended")
        return frame

    def _write(self, data: bytes) -> None:
        self._transport.write(data, SILENCE_S)

    def _check_greeting(self, frame: Frame) -> None:
        if frame.header.get("op") != "hello" or frame.header.get("protocol") != PROTOCOL:
            raise self._lost(f"it greets with {frame.header}, not with protocol {PROTOCOL}")

    def _lost(self, cause: object) -> AgentLostError:
        self._transport.kill()
        words = self._transport.last_words()
        return AgentLostError(
            f"board '{self._name}' was lost: {cause}" + (f"\n{words}" if words else ""),
            hint="check the board, then repeat the command: what was measured is kept",
        )
