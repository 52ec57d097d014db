"""The measuring server: ``python -m qsdnn_runtime.server CACHE``, spoken to in frames.

The server imports no engine: code that may crash runs in children. Both sides begin with ``hello``.
The requests by ``op``, and their answers; requests are answered one at a time, and the last frame
of each answer names the op again:

- ``probe`` → facts, fingerprint, engines.
- ``hold``: ``wait_s`` → the board's lock is this host's until the server ends. Needed by the rest.
- ``have``: ``needs`` {sha256: bytes} → ``missing``.
- ``put``: ``sha256``, ``size_bytes``, ``lasting``, ``offset``, ``encoding`` and a chunk as payload:
  no answer; an error is told when the artifact is needed.
- ``measure``: ``needs``, ``packages`` [{``manifest``}], ``shifts`` (lists of the indices of
  packages that are loaded at once), ``options``, ``tolerance``, ``conditions`` (see
  `qsdnn_runtime.server.conditions`), values, and ``payloads``, the digests of the values' bytes →
  ``progress`` and ``record`` frames, then ``measure`` with ``spent_s``, the seconds of each step; a
  record that comes again for a package is better than the one before. With ``missing`` in the
  answer nothing was measured, as artifacts are missing.
- ``run``: one package, ``threads``, ``timeout_s``, the rest as for ``measure`` → values.
- ``evaluate``: ``needs``, ``packages``, ``threads``, ``timeout_s`` of one run, and ``inputs``
  [{``name``, ``sha256``, ``dtype``, ``shape``}], a run for each row → ``progress``; for each
  package ``outputs`` (stacked values from row ``first`` on; from 0 on again if it is tried again),
  then ``evaluated``, or ``failed`` with ``state`` and ``error``; then ``evaluate``.
- ``ping`` → no answer: tells that the host lives.
- ``bye`` → the server ends, as it does when the host is gone.

An answer that says why something was not done has a ``message`` and a ``code`` of
`qsdnn_runtime.protocol.Code`. While a request is worked on, ``alive`` frames say so. However the
server ends, unless by SIGKILL, it kills its children and sets back the performance mode.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping

from qsdnn_runtime.board.lock import BoardLock, LockError
from qsdnn_runtime.board.probe import board_facts, boot_id, fingerprint
from qsdnn_runtime.board.process import end_orphans
from qsdnn_runtime.frames import Frame, take_standard_streams
from qsdnn_runtime.protocol import VERSION, Code, ProtocolError, error_answer

from .cache import ArtifactCache, CacheError
from .child import Child, installed_engines
from .conditions import Keeper
from .evaluation import Evaluation
from .group import Group
from .host import Host

LOCK_POLL_S = 1.0
# How often a run is tried: a child that ends badly may have been killed by chance.
RUN_TRIES = 2
# The longest cleaning up; longer means that it hangs: on a dead device, or an endless command.
ENDING_S = 60.0


class Server:
    """The measuring server: answers the requests of a host.

    Args:
        host: The host that asks.
        cache: The artifacts kept on this board.
        lock: The board's lock.
        keeper: The keeper of the board's performance mode.
    """

    def __init__(self, host: Host, cache: ArtifactCache, lock: BoardLock, keeper: Keeper) -> None:
        self._host = host
        self._cache = cache
        self._lock = lock
        self._keeper = keeper
        self._ending = threading.Lock()
        # The errors of artifacts that were sent and could not be kept, by digest.
        self._refused: Dict[str, ProtocolError] = {}

    def serve(self) -> None:
        """Greets, then answers requests until ``bye``."""
        hello = {"op": "hello", "protocol": VERSION, "pid": os.getpid(), "boot_id": boot_id()}
        self._host.send(hello)
        self._host.listen(on_ping=self._lock.touch, on_gone=lambda: self.end(0))
        with self._host.kept_waiting():
            end_orphans()
            self._keeper.recover()
        for request in self._host.requests():
            if request.header.get("op") == "put":
                self._put(request)
            else:
                with self._host.kept_waiting():
                    self._answer(request)

    def end(self, code: int) -> None:
        """Ends this process, from any thread; no child and no setting stays behind."""
        self._ending.acquire()  # never released: the first call ends the process for all
        self._host.mute()  # the end of a measurement that is cut off is not for a record
        limit = threading.Timer(ENDING_S, os._exit, [1])
        limit.daemon = True
        limit.start()
        Child.kill_all()
        self._keeper.leave()
        Child.kill_all()  # those that were started meanwhile
        self._cache.close()
        self._lock.release()
        os._exit(code)  # a thread still reads input, and an ordinary exit would wait for it

    def _answer(self, request: Frame) -> None:
        op = request.header.get("op")
        operations: Dict[Any, Callable[[Frame], Frame]] = {
            "probe": self._probe,
            "hold": self._hold,
            "have": self._have,
            "measure": self._measure,
            "run": self._run,
            "evaluate": self._evaluate,
        }
        try:
            if op not in operations:
                raise ProtocolError("the server knows no request '%s'" % op)
            reply = operations[op](request)
        except (ProtocolError, LockError) as error:
            reply = Frame(error_answer(op, error))
        except OSError as error:
            reply = Frame(error_answer(op, _trouble(error)))
        except (KeyError, TypeError, ValueError) as error:
            trouble = ProtocolError("malformed request '%s': %r" % (op, error))
            reply = Frame(error_answer(op, trouble))
        self._host.send({"op": op, **reply.header}, [reply.payload])

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

    def _hold(self, request: Frame) -> Frame:
        deadline = time.monotonic() + request.header["wait_s"]
        while True:
            other = self._lock.take(self._host.introduction)
            if not other:
                return Frame({})
            if time.monotonic() >= deadline:
                raise ProtocolError(other, Code.BUSY)
            self._progress("waiting: %s" % other)
            time.sleep(LOCK_POLL_S)

    def _have(self, request: Frame) -> Frame:
        return Frame({"missing": self._cache.missing(request.header["needs"])})

    def _put(self, request: Frame) -> None:
        digest = request.header["sha256"]
        if digest in self._refused:
            return
        try:
            self._cache.put(request.header, request.payload)
        except CacheError as error:
            self._refused[digest] = error
        except OSError as error:
            self._refused[digest] = _trouble(error)

    def _measure(self, request: Frame) -> Frame:
        def on_record(index: int, record: Mapping[str, Any]) -> None:
            self._host.send({"op": "record", "index": index, "record": record})

        missing = self._missing(request)
        if missing:
            return Frame({"missing": missing})
        with self._scratch() as scratch:
            folders = self._lay_out(request, scratch)
            whole = Frame(request.header, self._cache.read(request.header["payloads"]))
            conditions = self._keeper.conditions(request.header, self._progress)
            group = Group(whole, folders, scratch, conditions, on_record, self._progress)
            group.run()
        return Frame({"spent_s": group.spent_s})

    def _run(self, request: Frame) -> Frame:
        missing = self._missing(request)
        if missing:
            return Frame({"missing": missing})
        answers: List[Frame] = []
        threads = request.header["threads"]
        with self._scratch() as scratch:
            (folder,) = self._lay_out(request, scratch)
            manifest = request.header["packages"][0]["manifest"]
            package = {"index": 0, "manifest": manifest, "folder": str(folder)}
            job = {**request.header, "job": "run", "packages": [package]}
            payload = self._cache.read(request.header["payloads"])
            for _ in range(RUN_TRIES):
                with Child(job, [payload], folder=scratch, threads=threads) as child:
                    failure = child.attend(answers.append, request.header["timeout_s"])
                if failure is None:
                    break
        if failure is not None:
            raise ProtocolError("%s: %s" % (failure.state, failure.error))
        if answers[0].header["event"] == "failed":
            raise ProtocolError(answers[0].header["error"], Code.FAILED)
        return Frame({"values": answers[0].header["values"]}, answers[0].payload)

    def _evaluate(self, request: Frame) -> Frame:
        missing = self._missing(request)
        if missing:
            return Frame({"missing": missing})
        with self._scratch() as scratch:
            folders, inputs = self._lay_out(request, scratch), scratch / "inputs"
            files = {str(i): entry for i, entry in enumerate(request.header["inputs"])}
            self._cache.lay_out(files, inputs)
            Evaluation(request.header, folders, inputs, scratch, self._host.send).run()
        return Frame({})

    def _missing(self, request: Frame) -> List[str]:
        """The artifacts that must be sent before a request can be done, by digest.

        Raises:
            ProtocolError: An artifact was sent, and could not be kept; or the board is not held.
        """
        if not self._lock.held:
            raise ProtocolError("the board must be held before it is used")
        missing = self._cache.missing(request.header["needs"])
        refused, self._refused = self._refused, {}
        for digest in missing:
            if digest in refused:
                raise refused[digest]
        return missing

    def _lay_out(self, request: Frame, scratch: Path) -> List[Path]:
        folders = []
        for index, package in enumerate(request.header["packages"]):
            folders.append(scratch / str(index))
            self._cache.lay_out(package["manifest"]["artifacts"], folders[-1])
        return folders

    def _progress(self, text: str) -> None:
        self._host.send({"op": "progress", "text": text})

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = self._cache.folder()
        try:
            yield folder
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)


def main() -> None:
    """Serves the host at the other end of standard input and output."""
    source, sink = take_standard_streams()
    root = Path(sys.argv[1]).expanduser()
    host = Host(source, sink)
    try:
        server = Server(host, ArtifactCache(root), BoardLock(), Keeper(root))
    except OSError as error:
        host.send(error_answer("error", _trouble(error)))
        raise SystemExit(1) from None

    def on_signal(number: int, _frame: Any) -> None:
        # In a thread: the interrupted code may hold a lock that the end needs.
        threading.Thread(target=server.end, args=(128 + number,)).start()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, on_signal)
    code = 1
    try:
        with _runtime_in_use():
            server.serve()
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        server.end(code)


def _trouble(error: OSError) -> ProtocolError:
    """An error of the board's disk, in the words that the cache has for it."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ProtocolError(str(error))
    where = " in %s" % error.filename if error.filename else ""
    text = "the disk is full: nothing more can be written%s" % where
    return ProtocolError(text, Code.DISK_FULL)


@contextmanager
def _runtime_in_use() -> Iterator[None]:
    """Keeps others from pruning the zip that this process and its children import from."""
    archive = Path(__file__).parents[2]
    if not archive.is_file():  # installed, not sent
        yield
        return
    with archive.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


if __name__ == "__main__":
    main()
