"""The client of a measuring server: its requests as methods, over any transport."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from qsdnn.board import BoardInfo, MeasureOptions, Package, Record, Reference
from qsdnn.errors import BoardError, BoardLostError, RunError
from qsdnn_runtime.frames import Frame, FrameError, read_frame, write_frame
from qsdnn_runtime.protocol import VERSION, Code, code_of

from . import wire
from .cargo import Cargo, Item
from .host import Heartbeat, Introduction
from .transport import Transport
from .wire import Harvest

# A busy measuring server says so every other second; a Raspberry Pi that swaps may be late.
SILENCE_S = 60.0
# How long the measuring server waits for a silent host, and how often this host says it lives.
HOST_SILENCE_S = 60.0
PING_EVERY_S = 10.0
GOODBYE_S = 5.0
# Up to this size, data is sent without asking whether the board has it from an earlier session: on
# most links sending so little takes no longer than asking.
UNASKED_BYTES = 128 << 10
# What to do about a full disk, for messages.
FREE = (
    "free some space there, or set QSDNN_BOARD_CACHE there to another folder; then repeat the "
    "command: what was measured is kept"
)

Tell = Callable[[str], None]
OnEvent = Callable[[Frame], None]


class ServerLostError(BoardLostError):
    """The measuring server, or the connection to it, is gone."""


class ServerClient:
    """Speaks with one running measuring server.

    Args:
        name: The board's name, for messages.
        transport: The transport to a measuring server that was just started.
        introduction: What the measuring server is told of this host.

    Attributes:
        boot_id: The identity of the machine's current boot, as the measuring server tells it.

    Raises:
        ServerLostError: The measuring server does not greet, or speaks another protocol.
        BoardError: The measuring server cannot work, e.g. because the board's disk is full.
    """

    def __init__(self, name: str, transport: Transport, introduction: Introduction) -> None:
        self._name = name
        self._transport = transport
        self._writing = threading.Lock()
        self._held = False
        self._present: set[str] = set()  # digests on the board, as far as is known
        self._heartbeat = Heartbeat(lambda: self._write_frame({"op": "ping"}), PING_EVERY_S)
        self.boot_id = self._check_greeting(self._receive())
        hello = {"op": "hello", "silence_s": HOST_SILENCE_S, **dataclasses.asdict(introduction)}
        self._send(hello)
        self._heartbeat.start()

    def probe(self) -> BoardInfo:
        """What the board is and has."""
        return wire.read_board_info(self._name, self._ask({"op": "probe"}).header)

    def hold(self, wait_s: float, on_progress: Tell) -> None:
        """Has the board measure for this host alone, until the measuring server ends.

        Args:
            wait_s: How long to wait for another host that measures on the board.
            on_progress: A function that is told whom the board waits for.

        Raises:
            BoardError: Another host still measures on the board.
        """
        if not self._held:
            self._ask({"op": "hold", "wait_s": wait_s}, on_event=_telling(on_progress))
            self._held = True

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        conditions: Mapping[str, Any],
        on_record: Callable[[int, Record], None],
        on_progress: Tell,
        *,
        shifts: Sequence[Sequence[int]],
    ) -> dict[str, float]:
        """Measures packages on a board that is held; `on_record` gets each record as it arrives.

        A later record of a package is better than an earlier one. Packages of one shift are loaded
        at the same time: see `qsdnn.measure.batches`.

        Returns:
            The time in seconds that the board's processes spent in each step.

        Raises:
            BoardError: The board refuses what the packages need, e.g. because its disk is full.
        """

        def on_event(frame: Frame) -> None:
            if frame.header["op"] == "record":
                on_record(frame.header["index"], wire.read_record(frame.header["record"]))
            else:
                _telling(on_progress)(frame)

        header, cargo = wire.measure_request(packages, reference, options, conditions)
        header["shifts"] = [list(shift) for shift in shifts]
        answer = self._use(header, cargo, on_event, on_progress)
        spent_s: dict[str, float] = answer.header["spent_s"]
        return spent_s

    def run(
        self,
        package: Package,
        feeds: Mapping[str, Any],
        on_progress: Tell,
        *,
        threads: int,
        timeout_s: float,
    ) -> dict[str, Any]:
        """Runs a package once on a board that is held; returns the outputs by name.

        Raises:
            RunError: The run failed on the board.
            BoardError: The board refuses what the package needs.
        """
        header, cargo = wire.run_request(package, feeds, threads=threads, timeout_s=timeout_s)
        return wire.read_outputs(self._use(header, cargo, lambda frame: None, on_progress))

    def evaluate(
        self,
        packages: Sequence[Package],
        inputs: Mapping[str, np.ndarray[Any, Any]],
        harvest: Harvest,
        on_progress: Tell,
        *,
        threads: int,
        timeout_s: float,
    ) -> None:
        """Runs packages over many inputs on a board that is held; fills the harvest.

        Raises:
            BoardError: The board refuses what the packages need.
        """

        def on_event(frame: Frame) -> None:
            harvest.take(frame)
            _telling(on_progress)(frame)

        header, cargo = wire.evaluate_request(
            packages, inputs, threads=threads, timeout_s=timeout_s
        )
        self._use(header, cargo, on_event, on_progress)

    def close(self) -> None:
        """Ends the measuring server politely, and by force when it does not end."""
        self._heartbeat.stop()
        with suppress(OSError):
            self._write_frame({"op": "bye"})
        self._transport.close(GOODBYE_S)

    def kill(self) -> None:
        """Ends the measuring server, whatever it is doing; its children die with it."""
        self._heartbeat.stop()
        self._transport.kill()

    def _use(
        self,
        header: dict[str, Any],
        cargo: Cargo,
        on_event: OnEvent,
        on_progress: Tell,
    ) -> Frame:
        """Sends a request, and before it the items that the request needs and the board lacks."""
        self._put(self._absent(cargo), on_progress)
        answer = self._ask({**header, "needs": cargo.needs}, on_event)
        if "missing" in answer.header:  # the board has pruned some items since
            self._put([cargo.items[digest] for digest in answer.header["missing"]], on_progress)
            answer = self._ask({**header, "needs": cargo.needs}, on_event)
        if "missing" in answer.header:
            raise BoardError(f"board '{self._name}' does not keep what it is sent")
        self._present |= cargo.items.keys()
        return answer

    def _absent(self, cargo: Cargo) -> list[Item]:
        """What the board probably lacks."""
        absent = [item for item in cargo.items.values() if item.digest not in self._present]
        if sum(item.size_bytes for item in absent if item.lasting) <= UNASKED_BYTES:
            return absent
        missing = self._ask({"op": "have", "needs": cargo.needs}).header["missing"]
        return [cargo.items[digest] for digest in missing]

    def _put(self, items: Sequence[Item], on_progress: Tell) -> None:
        """Sends items without waiting for an answer."""
        total_bytes = sum(item.size_bytes for item in items)
        sent_bytes = 0
        for item in items:
            for header, payload in item.puts(compress=self._transport.compress):
                sent = f"{sent_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB"
                on_progress(f"sending artifacts: {sent}")
                self._send(header, [payload])
            sent_bytes += item.size_bytes

    def _ask(
        self,
        header: dict[str, Any],
        on_event: OnEvent = lambda frame: None,
    ) -> Frame:
        """Sends a request; passes on the events that come before the answer; returns the answer."""
        self._send(header)
        while True:
            frame = self._receive()
            if "message" in frame.header:
                raise self._refusal(frame.header)
            if frame.header["op"] == header["op"]:
                return frame
            on_event(frame)

    def _refusal(self, header: Mapping[str, Any]) -> BoardError:
        code = code_of(header)
        if code is Code.BUSY:
            return BoardError(
                f"board '{self._name}' is in use: {header['message']}",
                hint="wait until it is free: add --wait 30m",
            )
        if code is Code.FAILED:
            return RunError(f"board '{self._name}': {header['message']}")
        hint = FREE if code is Code.DISK_FULL else ""
        return BoardError(f"board '{self._name}': {header['message']}", hint=hint)

    def _send(self, header: dict[str, Any], payload: Iterable[bytes] = ()) -> None:
        try:
            self._write_frame(header, list(payload))
        except OSError as error:
            raise self._lost(error) from error
        except FrameError as error:
            raise BoardError(f"board '{self._name}': {error}") from error

    def _write_frame(self, header: dict[str, Any], payload: Sequence[bytes] = ()) -> None:
        with self._writing:
            write_frame(lambda data: self._transport.write(data, SILENCE_S), header, payload)

    def _receive(self) -> Frame:
        try:
            frame = read_frame(lambda size: self._transport.read(size, SILENCE_S))
        except (OSError, FrameError) as error:  # TimeoutError is an OSError
            raise self._lost(error) from error
        if frame is None:
            raise self._lost("the measuring server ended")
        return frame

    def _check_greeting(self, frame: Frame) -> str:
        if "message" in frame.header:
            self.kill()
            raise self._refusal(frame.header)
        if frame.header.get("op") != "hello" or frame.header.get("protocol") != VERSION:
            raise self._lost(f"it greets with {frame.header}, not with protocol {VERSION}")
        return str(frame.header["boot_id"])

    def _lost(self, cause: object) -> ServerLostError:
        self.kill()
        words = self._transport.last_words()
        return ServerLostError(
            f"board '{self._name}' was lost: {cause}" + (f"\n{words}" if words else ""),
            hint="check the board, then repeat the command: what was measured is kept",
        )


def _telling(on_progress: Tell) -> OnEvent:
    def on_event(frame: Frame) -> None:
        if frame.header["op"] == "progress":
            on_progress(frame.header["text"])

    return on_event
