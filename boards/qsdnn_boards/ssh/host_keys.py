"""The keys that hosts are known by: OpenSSH's files of known hosts, read strictly, and added to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from paramiko import HostKeys, PKey
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from paramiko.ssh_exception import SSHException

from qsdnn.files import replacing

REVOKED = "@revoked"
HASHED = "|1|"
# One RSA key can sign in three ways.
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


class HostKeyStatus(Enum):
    """What the files of known hosts say of a key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One line of a file of known hosts: the hosts it is about, and their key."""

    hosts: tuple[str, ...]
    key: PKey
    revoked: bool

    def is_about(self, host: str) -> bool:
        if any(pattern[0] == "!" and _matches(pattern[1:], host) for pattern in self.hosts):
            return False
        return any(_matches(pattern, host) for pattern in self.hosts)


class KnownHosts:
    """The content of some files of known hosts.

    Args:
        paths: The files; those that exist are read. Lines that cannot be read, such as those with
            certificate authorities, are passed over: keys that only they would let in stay unknown.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._entries = [entry for path in paths for entry in _read(path)]

    def judge(self, host: str, key: PKey) -> HostKeyStatus:
        """Whether a key is that of the host; any of the host's known keys will do."""
        entries = [entry for entry in self._entries if entry.is_about(host)]
        same = [entry for entry in entries if entry.key.asbytes() == key.asbytes()]
        if any(entry.revoked for entry in same):
            return HostKeyStatus.REVOKED
        if same:
            return HostKeyStatus.KNOWN
        changed = any(not entry.revoked for entry in entries)
        return HostKeyStatus.CHANGED if changed else HostKeyStatus.UNKNOWN

    def prefer(self, host: str, algorithms: Sequence[str]) -> tuple[str, ...]:
        """Signature algorithms to offer: those of the host's known keys come first."""
        known: set[str] = set()
        for entry in self._entries:
            if entry.is_about(host) and not entry.revoked:
                name = entry.key.get_name()
                known |= set(RSA_SIGNATURES) if name == "ssh-rsa" else {name}
        return tuple(sorted(algorithms, key=lambda name: name not in known))


def store(path: Path, host: str, key: PKey) -> None:
    """Makes a key the only one that a file knows a host by; other keys of the host are dropped.

    Raises:
        OSError: The file cannot be written.
    """
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():  # /dev/null, of users who want no file
        raise OSError(f"{path} is no file")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [rest for line in _lines(path) if (rest := _without(host, line))]
    lines.append(f"{host} {key.get_name()} {key.get_base64()}")
    with replacing(path, mode=0o600) as file:
        file.write(("\n".join(lines) + "\n").encode(errors="surrogateescape"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []


def _read(path: Path) -> Iterator[_Entry]:
    for line in _lines(path):
        words = line.split()
        revoked = words[:1] == [REVOKED]
        if revoked:
            words = words[1:]
        if not words or words[0][0] in "#@":
            continue
        try:
            entry = HostKeyEntry.from_line(" ".join(words))
        except (SSHException, InvalidHostKey, ValueError):
            continue
        if entry is not None and entry.key is not None:
            hosts = tuple(host.lower() if host[0] != "|" else host for host in entry.hostnames)
            yield _Entry(hosts=hosts, key=entry.key, revoked=revoked)


def _matches(pattern: str, host: str) -> bool:
    if pattern.startswith(HASHED):
        return HostKeys.hash_host(host, pattern) == pattern
    # "[host]:port" is no set of characters: the only wildcards here are * and ?.
    return fnmatchcase(host, pattern.replace("[", "[[]"))


def _without(host: str, line: str) -> str:
    """A line without a host that it names; empty when no other host is left in the line."""
    names, _, rest = line.partition(" ")
    if not rest or line[0] in "#@":
        return line
    kept = [name for name in names.split(",") if not _names(name, host)]
    return f"{','.join(kept)} {rest}" if kept else ""


def _names(word: str, host: str) -> bool:
    return word.lower() == host or (word.startswith(HASHED) and _matches(word, host))
