"""The measuring agent: ``python -m qsdnn_runtime.agent CACHE``, spoken to in frames.

It imports no engine: what may crash runs in children. Requests by ``op``, and
what answers them; one at a time, the last frame of each answer names the op again:

- ``probe`` → facts, fingerprint, engines.
- ``have``: ``artifacts`` {sha256: bytes} → ``missing``.
- ``put``: ``sha256``, ``size_bytes``, ``offset``, and a chunk as payload.
- ``measure``: ``packages`` [{``manifest``}], ``options``, ``tolerance``, values → ``progress`` and
  ``record`` frames, then ``measure``.
- ``run``: one package, ``threads``, ``timeout_s``, values → values.
- ``bye`` → the agent ends, as it does when its standard input closes.

An answer ``error`` has a ``message``. While a request is worked on, ``alive`` frames say so.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Mapping, Sequence

from .cache import ArtifactCache, CacheError
from .child import Child
from .frames import Frame, FrameError, read_frame, take_standard_streams, write_frame
from .group import Group
from .inventory import installed_engines
from .probe import board_facts, fingerprint

PROTOCOL = 1
ALIVE_EVERY_S = 2.0
# Requests are answered one at a time: more than a few that wait are a mistake of the host's.
WAITING = 4


class RequestError(Exception):
    """A request cannot be done; the message is for the host's user."""


class Agent:
    """Answers requests until its input ends.

    Args:
        source: Frames from the host.
        sink: Frames to the host.
        cache: Artifacts kept on this board.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO, cache: ArtifactCache) -> None:
        self._source = source
        self._sink = sink
        self._cache = cache
        self._requests: queue.Queue[Frame] = queue.Queue(WAITING)
        self._writing = threading.Lock()
        self._busy = threading.Event()

    def serve(self) -> None:
        """Greets, then answers requests until ``bye``."""
        self._send({"op": "hello", "protocol": PROTOCOL, "pid": os.getpid()})
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._keep_alive, daemon=True).start()
        for request in iter(self._requests.get, None):
            if request.header.get("op") == "bye":
                return
            self._busy.set()
            try:
                self._answer(request)
            finally:
                self._busy.clear()

    def _answer(self, request: Frame) -> None:
        op = request.header.get("op")
        operations: Dict[Any, Callable[[Frame], Frame]] = {
            "probe": self._probe,
            "have": self._have,
            "put": self._put,
            "measure": self._measure,
            "run": self._run,
        }
        try:
            if op not in operations:
                raise RequestError("the agent knows no request '%s'" % op)
            reply = operations[op](request)
        except (RequestError, CacheError, OSError) as error:
            reply = Frame({"op": "error", "message": str(error)})
        except (KeyError, TypeError, ValueError) as error:
            reply = Frame({"op": "error", "message": "malformed request '%s': %r" % (op, error)})
        self._send({"op": op, **reply.header}, [reply.payload])

    def _probe(self, request: Frame) -> Frame:
        facts = board_facts()
        with self._scratch() as scratch:
            engines, extra = installed_engines(scratch)
        return Frame(
            {
                "facts": {**facts, **extra},
                "fingerprint": fingerprint(facts),
                "engines": engines,
            }
        )

    def _have(self, request: Frame) -> Frame:
        return Frame({"missing": self._cache.missing(request.header["artifacts"])})

    def _put(self, request: Frame) -> Frame:
        header = request.header
        self._cache.put(header["sha256"], header["size_bytes"], header["offset"], request.payload)
        return Frame({})

    def _measure(self, request: Frame) -> Frame:
        def on_record(index: int, record: Mapping[str, Any]) -> None:
            self._send({"op": "record", "index": index, "record": record})

        def on_progress(text: str) -> None:
            self._send({"op": "progress", "text": text})

        with self._scratch() as scratch:
            folders = self._lay_out(request, scratch)
            Group(request, folders, scratch, on_record, on_progress).run()
        return Frame({})

    def _run(self, request: Frame) -> Frame:
        answers: List[Frame] = []
        threads = request.header["threads"]
        with self._scratch() as scratch:
            (folder,) = self._lay_out(request, scratch)
            manifest = request.header["packages"][0]["manifest"]
            package = {"index": 0, "manifest": manifest, "folder": str(folder)}
            job = {**request.header, "job": "run", "packages": [package]}
            with Child(job, [request.payload], folder=scratch, threads=threads) as child:
                failure = child.attend(answers.append, request.header["timeout_s"])
        if failure is not None:
            raise RequestError("%s: %s" % (failure.state, failure.error))
        if answers[0].header["event"] == "failed":
            raise RequestError(answers[0].header["error"])
        return Frame({"values": answers[0].header["values"]}, answers[0].payload)

    def _lay_out(self, request: Frame, scratch: Path) -> List[Path]:
        folders = []
        for index, package in enumerate(request.header["packages"]):
            folders.append(scratch / str(index))
            self._cache.lay_out(package["manifest"]["artifacts"], folders[-1])
        return folders

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self._cache.folder()
        try:
            yield folder
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)

    def _listen(self) -> None:
        """Queues requests. At the end of input the host is gone: nothing may stay behind."""
        try:
            for request in iter(lambda: read_frame(self._source.read), None):
                self._requests.put(request)
        except FrameError as error:
            self._send({"op": "error", "message": str(error)})
        Child.kill_all()
        os._exit(0)

    def _keep_alive(self) -> None:
        while True:
            self._busy.wait()
            self._send({"op": "alive"})
            threading.Event().wait(ALIVE_EVERY_S)

    def _send(self, header: Dict[str, Any], payload: Sequence[bytes] = ()) -> None:
        try:
            with self._writing:
                write_frame(self._sink.write, header, payload)
                self._sink.flush()
        except OSError:  # nobody reads any more
            Child.kill_all()
            os._exit(1)


def main() -> None:
    """Serves the host at the other end of standard input and output."""
    source, sink = take_standard_streams()
    cache = ArtifactCache(Path(sys.argv[1]).expanduser())
    Agent(source, sink, cache).serve()
    cache.close()
    os._exit(0)  # a thread still waits for input, which an ordinary exit would wait for


if __name__ == "__main__":
    main()
