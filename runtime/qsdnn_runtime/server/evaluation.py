"""Packages run over many inputs, seen from the server: a crash or a hang costs one package only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Set

from qsdnn_runtime.frames import Frame
from qsdnn_runtime.protocol import State, Step

from .child import Child, Failure
from .postmortem import NOBODY

Send = Callable[[Dict[str, Any], Sequence[bytes]], None]


class Evaluation:
    """Evaluates the packages of one request.

    A package that crashes the child is tried once more, as the child may have been killed by
    chance; a package that hangs is not. A new child goes on with the other packages.

    Args:
        header: The header of the host's ``evaluate`` frame.
        folders: The folder of each package's artifacts.
        inputs: The folder with a file for each input, named by its position.
        scratch: The children's working directory.
        send: A function that sends a frame to the host.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        folders: Sequence[Path],
        inputs: Path,
        scratch: Path,
        send: Send,
    ) -> None:
        self._header = header
        self._folders = folders
        self._inputs = inputs
        self._scratch = scratch
        self._send = send
        self._pending = list(range(len(folders)))

    def run(self) -> None:
        """Gives the host the outputs of every package, or the reason why there are none."""
        tried: Set[int] = set()
        while self._pending:
            failure = self._pass_over()
            if not self._pending:
                return
            if failure is None:
                failure = Failure(
                    State.CRASHED, "the child ended without an answer", Step.RUN, NOBODY
                )
            index = failure.index if failure.index in self._pending else self._pending[0]
            if failure.state is State.TIMED_OUT or index in tried:
                self._pending.remove(index)
                self._send_event({"event": "failed", "index": index, **_reason(failure)}, b"")
            tried.add(index)

    def _pass_over(self) -> Optional[Failure]:
        """Has one child work on the packages that are left; returns its failure, or None."""
        threads = self._header["threads"]
        packages = self._header["packages"]
        order = {
            "job": "evaluate",
            "threads": threads,
            "inputs": [
                {**entry, "file": str(self._inputs / str(position))}
                for position, entry in enumerate(self._header["inputs"])
            ],
            "packages": [
                {"index": i, "manifest": packages[i]["manifest"], "folder": str(self._folders[i])}
                for i in self._pending
            ],
        }
        with Child(order, folder=self._scratch, threads=threads) as child:
            return child.attend(self._on_event, self._header["timeout_s"])

    def _on_event(self, frame: Frame) -> None:
        event = frame.header
        if event["event"] == "progress":
            done = len(self._folders) - len(self._pending)
            text = "evaluating %d of %d" % (done + 1, len(self._folders))
            self._send({"op": "progress", "text": text}, [])
            return
        if event["event"] in ("evaluated", "failed"):
            self._pending.remove(event["index"])
        self._send_event(event, frame.payload)

    def _send_event(self, event: Dict[str, Any], payload: bytes) -> None:
        fields = {key: value for key, value in event.items() if key != "event"}
        self._send({"op": event["event"], **fields}, [payload])


def _reason(failure: Failure) -> Dict[str, str]:
    return {"state": failure.state, "error": failure.error}
