"""The board's lock: one host at a time measures, whoever its user is.

The lock is an `flock` on a file that all users of the board share: the lock is free as soon as the
process that held it is gone, however it went. The owner is written into the file, for messages.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional

from .process import Process

VARIABLE = "QSDNN_BOARD_LOCK"
# Folders where every user may write; the first is empty after a reboot, the second exists
# everywhere.
PLACES = (Path("/run/lock"), Path("/tmp"))
NAME = "qsdnn-board.lock"
# Owners are heard of every ten seconds. A measuring server that is stopped does not hear its host
# ...
STOPPED_S = 30.0
# ... and any other measuring server would have ended itself after this time.
STUCK_S = 90.0
# How long the kernel may take to close the files of a process that has ended.
RELEASE_S = 5.0
POLL_S = 0.05
SIZE_LIMIT_BYTES = 4096
NAME_LIMIT = 64


class LockError(Exception):
    """The lock's file cannot be used; the message is for the host's user."""


@dataclass(frozen=True)
class Owner:
    """The host that measures, and its measuring server.

    Attributes:
        session: The host's session; one session may start several measuring servers, one after
            another.
        user: The name of the user on the host.
        host: The host's name.
        process: The number of the process on the host.
        purpose: The command that measures, e.g. ``search``.
        agent: The number of the measuring server's process on the board.
        since_s: The time when the lock was taken, on the board's monotonic clock.
        heard_s: The time when the measuring server last heard its host, on the same clock.
    """

    session: str
    user: str
    host: str
    process: int
    purpose: str
    agent: int
    since_s: float
    heard_s: float

    def __str__(self) -> str:
        minutes = int((time.monotonic() - self.since_s) / 60)
        time_taken = "%d min" % minutes if minutes else "less than a minute"
        words = "%s on %s (process %d, %s) has measured there for %s"
        told = words % (self.user, self.host, self.process, self.purpose, time_taken)
        if Process.running(self.agent).is_stopped:
            told += "; its measuring server, process %d of the board, is stopped" % self.agent
        return told


class BoardLock:
    """The lock, as one measuring server has or wants it.

    Args:
        path: The lock's file; the board's own when None.
    """

    def __init__(self, path: Optional[Path] = None) -> None:
        self._path = path or lock_path()
        self._guard = threading.Lock()
        self._descriptor: Optional[int] = None
        self._owner: Optional[Owner] = None

    @property
    def held(self) -> bool:
        """Whether this measuring server holds the lock."""
        return self._descriptor is not None

    def take(self, introduction: Mapping[str, Any]) -> str:
        """Takes the lock unless another measuring server has it.

        A measuring server that has outlived its host is ended first: one of the same session, whose
        host has connected anew, and one of this user that is stopped or stuck.

        Args:
            introduction: What the host said of itself: the first fields of `Owner`.

        Returns:
            The owner of the lock, in words; empty when this measuring server holds the lock now.

        Raises:
            LockError: The lock's file cannot be used.
        """
        if self.held:
            return ""
        owner = _owner({**introduction, "agent": os.getpid()})
        descriptor = self._locked()
        if descriptor is None:
            other = self._other()
            if other is None:
                return "another process measures there"
            if self._is_gone(other, owner.session):
                descriptor = self._locked(RELEASE_S)
            if descriptor is None:
                return str(other)
        with self._guard:
            self._descriptor, self._owner = descriptor, owner
        self.touch()
        return ""

    def touch(self) -> None:
        """Writes down that the host was heard; may be called from any thread."""
        with self._guard:
            if self._descriptor is not None and self._owner is not None:
                owner = replace(self._owner, heard_s=time.monotonic())
                content = json.dumps(asdict(owner)).encode()
                with suppress(OSError):  # the disk may be full: the lock holds all the same
                    os.pwrite(self._descriptor, content, 0)
                    os.ftruncate(self._descriptor, len(content))

    def release(self) -> None:
        """Gives the lock up."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _locked(self, patience_s: float = 0.0) -> Optional[int]:
        """A descriptor that holds the lock; None when another process holds it all that time."""
        deadline = time.monotonic() + patience_s
        while True:
            descriptor = _open(self._path)
            locked = _lock(descriptor)
            if locked and _is_at(self._path, descriptor):
                return descriptor
            os.close(descriptor)
            if locked:  # the file was removed meanwhile, and may exist anew
                continue
            if time.monotonic() >= deadline:
                return None
            time.sleep(POLL_S)

    def _other(self) -> Optional[Owner]:
        descriptor = _open(self._path)
        try:
            return _owner(json.loads(os.pread(descriptor, SIZE_LIMIT_BYTES, 0).decode()))
        except (ValueError, TypeError, LookupError, AttributeError):  # half written
            return None
        finally:
            os.close(descriptor)

    def _is_gone(self, other: Owner, session: str) -> bool:
        """Whether an owner's server has ended; a server that has outlived its host is ended now."""
        agent = Process.running(other.agent)
        if not agent.lives:
            return True
        silent_s = time.monotonic() - other.heard_s
        left = (
            other.session == session
            or silent_s > STUCK_S
            or (agent.is_stopped and silent_s > STOPPED_S)
        )
        # Anybody can write into the file: only the kernel knows who holds the lock.
        return left and agent.is_ours and _holds(agent.pid, self._path) and agent.end()


def lock_path() -> Path:
    """The lock's file: the one that ``QSDNN_BOARD_LOCK`` names, or one in a shared folder."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    for place in PLACES:
        with suppress(OSError):
            if place.stat().st_mode & stat.S_IWOTH:
                return place / NAME
    return PLACES[-1] / NAME


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            # A sticky folder may forbid O_CREAT on a file of another user: fs.protected_regular.
            descriptor = os.open(str(path), flags)
        except FileNotFoundError:
            descriptor = os.open(str(path), flags | os.O_CREAT, 0o666)
            os.fchmod(descriptor, 0o666)  # whatever the umask: the file is for all users
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _unusable(path, "it is no file")
    return descriptor


def _unusable(path: Path, why: str) -> LockError:
    return LockError(
        "its lock, %s, cannot be used: %s; set %s there to another file, the same for all its "
        "users" % (path, why, VARIABLE)
    )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.stat(str(path)), os.fstat(descriptor))
    return False


def _holds(pid: int, path: Path) -> bool:
    """Whether a process holds an `flock` on a file."""
    with suppress(OSError):
        inode = str(os.stat(str(path)).st_ino)
        for row in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, holder, place = row.split()[:6]
            if (kind, holder, place.split(":")[-1]) == ("FLOCK", str(pid), inode):
                return True
    return False


def _owner(fields: Mapping[str, Any]) -> Owner:
    """An owner from what others wrote.

    Raises:
        LookupError, TypeError, ValueError: The fields are not those of an owner.
    """
    now_s = time.monotonic()

    def moment(key: str) -> float:
        value = float(fields.get(key, now_s))
        if not math.isfinite(value):
            raise ValueError("%s is %s" % (key, value))
        return value

    def name(key: str) -> str:
        return "".join(c for c in str(fields[key]) if c.isprintable())[:NAME_LIMIT]

    return Owner(
        session=name("session"),
        user=name("user"),
        host=name("host"),
        process=int(fields["process"]),
        purpose=name("purpose"),
        agent=int(fields["agent"]),
        since_s=moment("since_s"),
        heard_s=moment("heard_s"),
    )
