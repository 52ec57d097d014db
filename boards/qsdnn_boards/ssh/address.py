"""Where a board is: an address for SSH, in short ``user@host[:port]``, and what completes it.

``~/.ssh/config`` makes an `Endpoint` of an `Address`: all that is needed to connect to the server.
"""

from __future__ import annotations

import getpass
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsdnn.errors import InputError

FORM = re.compile(
    r"(?P<user>\S+)@(?:\[(?P<bracketed>[^\s\[\]]+)\]|(?P<plain>[^\s@:\[\]]+))(?::(?P<port>\d+))?"
)
# None of these characters means anything to a shell, and no match can begin an option.
HOST = re.compile(r"[\w:][\w.:%-]*")
USER = re.compile(r"[\w][\w.@\\$-]*")
PYTHON = re.compile(r"(~/)?[\w./+][\w./+-]*")
PORTS = range(1, 1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a board is reached over SSH. ``~/.ssh/config`` or SSH's default stands in for a None.

    Attributes:
        host: A name, an IP address, or a ``Host`` of ``~/.ssh/config``.
        port: The port of the SSH server.
        user: The user to log in as.
        identity_file: The private key to try first.
        python: The board's Python: a command, or a path; ``~/`` is the user's home there.

    Raises:
        InputError: A part has characters, or a value, that it may not have.
    """

    host: str
    port: int | None = None
    user: str | None = None
    identity_file: Path | None = None
    python: str = "python3"

    def __post_init__(self) -> None:
        """Checks each part."""
        _check("host", self.host, HOST.fullmatch(self.host) is not None)
        _check("user", self.user, self.user is None or USER.fullmatch(self.user) is not None)
        _check("port", self.port, self.port is None or self.port in PORTS)
        _check("python", self.python, PYTHON.fullmatch(self.python) is not None)


def _check(part: str, value: object, good: bool) -> None:
    if not good:
        raise InputError(
            f"a board's address: '{value}' cannot be its {part}",
            hint="an address looks like pi@raspberrypi.local or pi@192.168.0.7:2222",
        )


def parse_address(text: str) -> Address:
    """Reads ``user@host[:port]``; an IPv6 address stands in brackets.

    Raises:
        InputError: The text has another form.
    """
    match = FORM.fullmatch(text)
    _check("address", text, match is not None)
    assert match is not None
    return _matched(match)


def _matched(match: re.Match[str]) -> Address:
    port = match["port"]
    return Address(
        host=match["bracketed"] or match["plain"],
        port=None if port is None else int(port),
        user=match["user"],
    )


SSH_PORT = 22
# The default files of OpenSSH, in its order: the user's files, then the system's.
KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>\S+)@)?(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<plain>[^:\[\]]+))(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One SSH server, with all that a login to it needs.

    Attributes:
        address: The address that the user gave.
        host: The name or IP address to connect to.
        port: The port of the SSH server.
        user: The user to log in as.
        identity_files: Private keys, in the order of trying; each file exists.
        identities_only: Whether no other key may be tried, be it of an SSH agent or of ``~/.ssh``.
        compress: Whether to compress what travels.
        known_as: The server's name in files of known hosts.
        known_hosts: The files of known hosts: the first one takes new keys.
        jumps: The servers to go through, the first one first.
    """

    address: Address
    host: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    identities_only: bool
    compress: bool
    known_as: str
    known_hosts: tuple[Path, ...]
    jumps: tuple[Address, ...]

    def __str__(self) -> str:
        return f"{self.user}@{host_and_port(self.host, self.port)}"

    @property
    def openssh_words(self) -> str:
        """The words that lead OpenSSH's commands to this server."""
        address = self.address
        port = f"-p {address.port} " if address.port not in (None, SSH_PORT) else ""
        who = address.host if address.user is None else f"{address.user}@{address.host}"
        return port + shlex.quote(who)


def resolve(address: Address) -> Endpoint:
    """Completes an address: its own parts come before those in ``~/.ssh/config``.

    Raises:
        InputError: That file cannot be read, or asks for what is not supported.
    """
    options = _options(address.host)
    if options.get("proxycommand") and "proxyjump" not in options:
        raise InputError(
            f"~/.ssh/config: {address.host}: ProxyCommand is not supported",
            hint="write ProxyJump instead: ProxyCommand ssh -W %h:%p gate is ProxyJump gate",
        )
    host = options.get("hostname", address.host)
    port = address.port or _port(options.get("port", SSH_PORT), address.host)
    return Endpoint(
        address=address,
        host=host,
        port=port,
        user=address.user or options.get("user") or getpass.getuser(),
        identity_files=_identity_files(address, options),
        identities_only=options.get("identitiesonly") == "yes",
        compress=options.get("compression") == "yes",
        known_as=_known_as(
            options.get("hostkeyalias", host), port, alias="hostkeyalias" in options
        ),
        known_hosts=_known_hosts(options),
        jumps=_jumps(options.get("proxyjump", "none")),
    )


def host_and_port(host: str, port: int) -> str:
    """Host and port in one word; the host alone when the port is the usual one."""
    if port == SSH_PORT:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(host: str) -> Mapping[str, Any]:
    from paramiko import SSHConfig  # boards that are this machine do without SSH
    from paramiko.ssh_exception import SSHException

    path = Path.home() / ".ssh" / "config"
    try:
        return SSHConfig.from_path(str(path)).lookup(host)
    except FileNotFoundError:
        return {}
    # ImportError: "Match exec" needs a package that is not installed; ValueError: it is no text.
    except (OSError, SSHException, ImportError, KeyError, ValueError) as error:
        raise InputError(f"{path}: {error}", hint=f"try: ssh -G {host}") from error


def _port(value: object, host: str) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise InputError(f"~/.ssh/config: {host}: Port '{value}' is no number") from error


def _identity_files(address: Address, options: Mapping[str, Any]) -> tuple[Path, ...]:
    own = [] if address.identity_file is None else [address.identity_file.expanduser()]
    for path in own:
        if not path.is_file():
            raise InputError(f"the identity file {path} does not exist")
    listed = (Path(name).expanduser() for name in options.get("identityfile", ()))
    return (*own, *(path for path in listed if path.is_file()))


def _known_as(host: str, port: int, *, alias: bool) -> str:
    return host.lower() if alias or port == SSH_PORT else f"[{host.lower()}]:{port}"


def _known_hosts(options: Mapping[str, Any]) -> tuple[Path, ...]:
    users = options.get("userknownhostsfile", KNOWN_HOSTS).split()
    systems = options.get("globalknownhostsfile", SYSTEM_KNOWN_HOSTS).split()
    return tuple(Path(name.strip('"')).expanduser() for name in (*users, *systems))


def _jumps(value: str) -> tuple[Address, ...]:
    return () if value.lower() == "none" else tuple(map(_jump, value.split(",")))


def _jump(text: str) -> Address:
    match = JUMP.fullmatch(text.strip())
    if match is None:
        raise InputError(f"~/.ssh/config: ProxyJump '{text}' is not [user@]host[:port]")
    return _matched(match)
