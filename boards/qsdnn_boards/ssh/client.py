"""A connection over SSH: through jump hosts, to hosts whose keys are known, tried a few times."""

from __future__ import annotations

import shlex
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from paramiko import Channel, PKey, Transport
from paramiko.ssh_exception import SSHException

from qsdnn.errors import BoardError, BoardLostError, InputError

from .address import Address, Endpoint, host_and_port, resolve
from .host_keys import store
from .login import UnreachableError, log_in, shown_key

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
# Data that was sent and never taken ends the connection after this time; shorter cuts are survived.
UNSENT_TIMEOUT_MS = 60_000
# The pause before each further try to reach a board that does not answer: it may be rebooting.
PAUSES_S = (1.0, 3.0)
MOST_JUMPS = 8


class Connection:
    """A connection to one board. `close` ends the connection, and those to the jump hosts.

    Args:
        endpoint: The SSH server that the connection leads to.
        transport: The paramiko transport, already logged in.
        stack: The resources that `close` closes.
    """

    def __init__(self, endpoint: Endpoint, transport: Transport, stack: ExitStack) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._stack = stack

    def start(self, command: str) -> Channel:
        """Starts a command, by the login shell of the user on the board.

        Args:
            command: The command line; it must never be made from a user's input.

        Raises:
            BoardError: The server refuses, or the connection to the server is gone.
        """
        try:
            channel = self._transport.open_session(timeout=CONNECT_TIMEOUT_S)
            channel.settimeout(COMMAND_TIMEOUT_S)
            channel.exec_command(command)
        except (SSHException, OSError, EOFError) as error:
            if not self._transport.is_active():
                raise BoardLostError(f"{self.endpoint} was lost after the login") from error
            raise BoardError(
                f"{self.endpoint} lets nobody start a command: {error}",
                hint=f"try: ssh {self.endpoint.openssh_words} true",
            ) from error
        return channel

    def close(self) -> None:
        """Ends the connection; what was started on the board loses its standard streams."""
        self._stack.close()


def connect(name: str, address: Address) -> Connection:
    """Connects and logs in. A board that cannot be reached is tried again a few times.

    Args:
        name: The board's name, for messages.
        address: The board's address, which ``~/.ssh/config`` completes.

    Raises:
        InputError: The address, or ``~/.ssh/config``, cannot be used.
        BoardError: The board cannot be reached, its host key is not known, or it refuses the login.
    """
    return _retry(lambda: _open(name, resolve(address)))


def fetch_host_key(address: Address) -> PKey:
    """The key that a host shows, of the kind that the host is known by if any; nobody logs in.

    Raises:
        InputError: The address, or ``~/.ssh/config``, cannot be used.
        BoardError: The host cannot be reached.
    """
    return _retry(lambda: _host_key(resolve(address)))


def accept_host_key(address: Address, fingerprint: str | None = None) -> str:
    """Stores the key that a host shows in the user's known hosts, in place of its older keys.

    Args:
        address: The host's address, which ``~/.ssh/config`` completes.
        fingerprint: The only fingerprint to accept; any when None.

    Returns:
        The key's fingerprint, ``SHA256:…``.

    Raises:
        InputError: The address, or ``~/.ssh/config``, cannot be used, or the key cannot be stored.
        BoardError: The host cannot be reached, or shows another key.
    """
    endpoint = resolve(address)
    key = fetch_host_key(address)
    if fingerprint not in (None, key.fingerprint):
        raise BoardError(f"{endpoint} shows another host key now: {key.fingerprint}")
    path = endpoint.known_hosts[0]
    try:
        store(path, endpoint.known_as, key)
    except OSError as error:
        raise InputError(f"the host key of {endpoint} cannot be stored: {error}") from error
    return key.fingerprint


def _retry(attempt: Callable[[], T]) -> T:
    for pause_s in PAUSES_S:
        try:
            return attempt()
        except UnreachableError:
            time.sleep(pause_s)
    return attempt()


def _open(name: str, endpoint: Endpoint) -> Connection:
    with ExitStack() as stack:
        wire = _wire(endpoint, stack, depth=0)
        transport = log_in(endpoint, wire, stack, accepting=_accepting(name, endpoint))
        return Connection(endpoint, transport, stack.pop_all())


def _host_key(endpoint: Endpoint) -> PKey:
    with ExitStack() as stack:
        return shown_key(endpoint, _wire(endpoint, stack, depth=0), stack)


def _wire(endpoint: Endpoint, stack: ExitStack, *, depth: int) -> socket.socket | Channel:
    """A stream to an SSH server, through the jump hosts before it."""
    if depth > MOST_JUMPS:
        raise InputError(f"~/.ssh/config: ProxyJump leads through more than {MOST_JUMPS} hosts")
    gate: Transport | None = None
    for address in endpoint.jumps:
        hop = resolve(address)
        wire = _wire(hop, stack, depth=depth + 1) if gate is None else _through(gate, hop)
        gate = log_in(hop, wire, stack, accepting=f"ssh {hop.openssh_words}")
    return _dial(endpoint) if gate is None else _through(gate, endpoint)


def _dial(endpoint: Endpoint) -> socket.socket:
    place = host_and_port(endpoint.host, endpoint.port)
    try:
        wire = socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT_S)
    except socket.gaierror as error:
        raise BoardError(
            f"no machine is called '{endpoint.host}': {error.strerror}",
            hint="check the name, or use the board's IP address",
        ) from error
    except TimeoutError as error:
        raise UnreachableError(
            f"{place} did not answer within {CONNECT_TIMEOUT_S:g} s",
            hint="check that the board is on, and on this network",
        ) from error
    except OSError as error:
        raise UnreachableError(
            f"{place} cannot be connected to: {error.strerror or error}",
            hint="check the address and the port, and that its SSH server runs",
        ) from error
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # small questions, small answers
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_TIMEOUT_MS)
    return wire


def _through(gate: Transport, endpoint: Endpoint) -> Channel:
    try:
        return gate.open_channel(
            "direct-tcpip", (endpoint.host, endpoint.port), ("", 0), timeout=CONNECT_TIMEOUT_S
        )
    except (SSHException, OSError, EOFError) as error:
        place = host_and_port(endpoint.host, endpoint.port)
        raise UnreachableError(
            f"{place} cannot be connected to from its jump host: {error}",
            hint=f"try: ssh {endpoint.openssh_words} true",
        ) from error


def _accepting(name: str, endpoint: Endpoint) -> str:
    """The command that accepts the host key of a board."""
    address = endpoint.address
    words = ["qsdnn", "boards", "add", "NAME" if "@" in name else name, "--host", address.host]
    if address.port is not None:
        words += ["--port", str(address.port)]
    if address.user is not None:
        words += ["--user", address.user]
    return shlex.join([*words, "--accept-host-key"])
