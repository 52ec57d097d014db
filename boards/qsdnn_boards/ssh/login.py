"""Logging in to an SSH server: its host key must be known, and it must accept one of our keys."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack

from paramiko import Channel, MissingHostKeyPolicy, PKey, SSHClient, Transport
from paramiko.ssh_exception import AuthenticationException, PasswordRequiredException, SSHException

from qsdnn.errors import BoardError, BoardLostError

from .address import Endpoint
from .host_keys import HostKeyStatus, KnownHosts

# A board that has just booted, or swaps, greets late.
GREETING_TIMEOUT_S = 30.0
KEEPALIVE_S = 15

# paramiko logs a broken connection with a traceback; here the error is raised, and told once.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class UnreachableError(BoardLostError):
    """Nothing answers at the board's address now; a later try may succeed."""


def shown_key(endpoint: Endpoint, wire: socket.socket | Channel, stack: ExitStack) -> PKey:
    """The host key that a server shows, of the kind it is known by if any; nobody logs in.

    Raises:
        BoardError: The server shows no key.
    """
    stack.callback(wire.close)
    transport = _transport(endpoint, wire)
    stack.callback(transport.close)
    try:
        transport.start_client()
        return transport.get_remote_server_key()
    except (SSHException, OSError, EOFError) as error:
        raise _no_greeting(endpoint, error) from error


def log_in(
    endpoint: Endpoint, wire: socket.socket | Channel, stack: ExitStack, *, accepting: str
) -> Transport:
    """Logs in to an SSH server.

    Args:
        endpoint: The SSH server that the wire leads to.
        wire: A stream to the SSH server.
        stack: The stack that gets the closing of wire and client.
        accepting: The command that would accept the server's host key.

    Raises:
        BoardError: The host key is not known, or the server refuses the login.
    """
    client = SSHClient()
    stack.callback(wire.close)
    stack.callback(client.close)
    policy = _KnownOnly(endpoint, accepting)
    client.set_missing_host_key_policy(policy)
    try:
        client.connect(
            endpoint.host,
            endpoint.port,
            endpoint.user,
            sock=wire,
            # `connect` takes several files; paramiko's stubs know of one.
            key_filename=[str(path) for path in endpoint.identity_files],  # type: ignore[arg-type]
            allow_agent=not endpoint.identities_only,
            look_for_keys=not endpoint.identities_only,
            compress=endpoint.compress,
            transport_factory=lambda sock, **_: _transport(endpoint, sock),
        )
    except (SSHException, OSError, EOFError, ValueError) as error:
        broke = isinstance(error, EOFError | ConnectionError)
        if not policy.passed or broke:
            raise _no_greeting(endpoint, error) from error
        begun = client.get_transport()
        if begun is None or not begun.is_active():
            raise _hung_up(endpoint) from error
        raise _not_let_in(endpoint, error) from error
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(KEEPALIVE_S)
    return transport


def _transport(endpoint: Endpoint, wire: socket.socket | Channel) -> Transport:
    transport = Transport(wire)
    transport.banner_timeout = transport.handshake_timeout = GREETING_TIMEOUT_S
    transport.auth_timeout = GREETING_TIMEOUT_S
    options = transport.get_security_options()
    known = KnownHosts(endpoint.known_hosts)
    options.key_types = known.prefer(endpoint.known_as, options.key_types)
    return transport


def _no_greeting(endpoint: Endpoint, error: Exception) -> UnreachableError:
    what = str(error) or "it closed the connection"
    return UnreachableError(
        f"{endpoint} answers, but no SSH session begins: {what}",
        hint="check that this is the port of its SSH server; it may be starting, or overloaded",
    )


def _hung_up(endpoint: Endpoint) -> UnreachableError:
    return UnreachableError(
        f"{endpoint} hung up in the midst of the login",
        hint="it may be restarting; a server that was offered too many keys hangs up too: "
        "say which one with IdentityFile and IdentitiesOnly in ~/.ssh/config",
    )


def _not_let_in(endpoint: Endpoint, error: Exception) -> BoardError:
    if isinstance(error, PasswordRequiredException):
        return BoardError(
            f"{endpoint}: the private key is encrypted, and no agent holds it",
            hint="unlock it once: ssh-add",
        )
    if isinstance(error, AuthenticationException) and "timeout" in str(error).lower():
        return BoardError(
            f"{endpoint} did not answer the login within {GREETING_TIMEOUT_S:g} s",
            hint=f"try: ssh {endpoint.openssh_words} true",
        )
    # Any other error is of reading some key file in some format, and says nothing of the login.
    refused = (
        str(error) if isinstance(error, AuthenticationException) else "it takes none of our keys"
    )
    return BoardError(
        f"{endpoint} refuses the login: {refused}",
        hint=f"put your public key there: ssh-copy-id {endpoint.openssh_words}",
    )


class _KnownOnly(MissingHostKeyPolicy):
    """Accepts only keys in the user's known hosts; paramiko, told of no key, asks this policy.

    Args:
        endpoint: The SSH server whose key is judged.
        accepting: The command that would accept the key.
    """

    def __init__(self, endpoint: Endpoint, accepting: str) -> None:
        self._endpoint = endpoint
        self._accepting = accepting
        self.passed = False

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        """Judges the key that a host shows.

        Raises:
            BoardError: The key is not known as that host's key.
        """
        endpoint = self._endpoint
        files = KnownHosts(endpoint.known_hosts)
        status = files.judge(endpoint.known_as, key)
        shown = f"{key.get_name()} {key.fingerprint}"
        if status is HostKeyStatus.UNKNOWN:
            raise BoardError(
                f"the host key of {endpoint} is not known: {shown}",
                hint=f"if that is its fingerprint, accept it: {self._accepting}",
            )
        if status is HostKeyStatus.CHANGED:
            raise BoardError(
                f"THE HOST KEY OF {endpoint} HAS CHANGED: it is now {shown}.\n"
                "It was installed anew, or another machine answers in its place.",
                hint=f"only if you know why, accept it: {self._accepting}",
            )
        if status is HostKeyStatus.REVOKED:
            raise BoardError(f"the host key of {endpoint} is revoked: {shown}")
        self.passed = True
