"""Connecting: who is let in, whom we trust, and what a user is told when it fails."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from qsdnn.errors import BoardError
from qsdnn_boards.ssh import login as ssh_login
from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.board import SshBoard
from qsdnn_boards.ssh.client import accept_host_key, fetch_host_key

from .relay import Relay
from .server import PATIENCE_S, make_key, wait_until


def refusal(address: Address, name: str = "lab") -> BoardError:
    with SshBoard(name, address) as board, pytest.raises(BoardError) as caught:
        board.probe()
    assert caught.value.exit_code == 3
    return caught.value


def fingerprint(server) -> str:
    """As OpenSSH prints it."""
    command = ["ssh-keygen", "-l", "-f", str(server.folder / "host_key.pub")]
    return subprocess.check_output(command, text=True).split()[1]


def test_an_unknown_host_key_is_refused_until_it_is_accepted(server, home):
    address = Address(
        host="127.0.0.1", port=server.port, user=server.user, identity_file=server.user_key
    )
    error = refusal(address)
    assert f"is not known: ssh-ed25519 {fingerprint(server)}" in error.message
    command = f"qsdnn boards add lab --host 127.0.0.1 --port {server.port} --user {server.user}"
    assert f"{command} --accept-host-key" in error.hint
    assert not (home / ".ssh").exists()

    assert fetch_host_key(address).fingerprint == fingerprint(server)
    with pytest.raises(BoardError, match="shows another host key"):
        accept_host_key(address, "SHA256:another")
    assert accept_host_key(address, fingerprint(server)) == fingerprint(server)
    with SshBoard("lab", address) as board:
        assert board.probe().engines
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{server.port}", "-f", str(home / ".ssh/known_hosts")],
        capture_output=True,
    )
    assert found.returncode == 0, "OpenSSH does not read what we wrote"


def test_a_changed_host_key_is_refused_until_it_is_accepted(server, address, home):
    server.change_host_key()
    before = (home / ".ssh/known_hosts").read_bytes()
    error = refusal(address)
    assert "HAS CHANGED" in error.message and fingerprint(server) in error.message
    assert "--accept-host-key" in error.hint
    assert (home / ".ssh/known_hosts").read_bytes() == before
    accept_host_key(address)
    with SshBoard("lab", address) as board:
        assert board.probe().engines


def test_a_wrong_key_is_refused_at_once(server, address, tmp_path):
    with Relay(server.port) as relay:
        wrong = replace(address, port=relay.port, identity_file=make_key(tmp_path / "wrong"))
        accept_host_key(wrong)
        relay.connections = 0
        error = refusal(wrong)
        assert "refuses the login" in error.message and "ssh-copy-id" in error.hint
        assert relay.connections == 1
        assert "refuses the login" in refusal(replace(wrong, identity_file=None)).message


def test_an_encrypted_key_is_named_as_such(server, address, tmp_path):
    locked = tmp_path / "locked"
    shutil.copy(server.user_key, locked)
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    error = refusal(replace(address, identity_file=locked))
    assert "is encrypted" in error.message and "ssh-add" in error.hint


def test_an_agent_s_key_is_used(server, address, tmp_path, monkeypatch):
    door = str(tmp_path / "agent")
    with subprocess.Popen(["ssh-agent", "-D", "-a", door], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_until(Path(door).exists)
            monkeypatch.setenv("SSH_AUTH_SOCK", door)
            subprocess.run(["ssh-add", "-q", str(server.user_key)], check=True)
            with SshBoard("lab", replace(address, identity_file=None)) as board:
                assert board.probe().engines
        finally:
            agent.kill()  # else its end is waited for, for ever


def test_the_user_s_configuration_leads_through_a_jump_host(server, address, home):
    with Relay(server.port) as relay:
        accept_host_key(replace(address, port=relay.port))
        relay.connections = 0
        (home / ".ssh/config").write_text(
            f"Host gate lab\n  HostName 127.0.0.1\n  User {server.user}\n"
            f"  IdentityFile {server.user_key}\n  IdentitiesOnly yes\n"
            f"Host gate\n  Port {relay.port}\n"
            f"Host lab\n  Port {server.port}\n  ProxyJump gate\n  Compression yes\n"
        )
        with SshBoard("lab", Address(host="lab")) as board:
            assert board.probe().engines
        assert relay.connections == 1
        relay.refuse()
        assert "cannot be connected to" in refusal(Address(host="lab")).message


def test_nothing_there_and_nothing_said_are_different_errors(server, address, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        nobody = replace(address, port=mute.getsockname()[1])
        monkeypatch.setattr(ssh_login, "GREETING_TIMEOUT_S", 0.2)
        assert "no SSH session begins" in refusal(nobody).message
    assert "cannot be connected to: Connection refused" in refusal(nobody).message
    assert "no machine is called" in refusal(replace(address, host="nowhere.invalid")).message


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_board_without_what_it_needs_is_told_apart(server, address):
    missing = refusal(replace(address, python="/nowhere/python3"))
    assert "has no '/nowhere/python3'" in missing.message and "apt-get" in missing.hint

    pretend = "import sys; sys.version_info = (3, 6, 9); sys.version = '3.6.9'; exec(sys.argv[1])"
    old = script(server.folder / "old", f'exec {sys.executable} -c "{pretend}" "$2"')
    assert "is Python 3.6.9; 3.8 or newer" in refusal(replace(address, python=old)).message

    script(server.folder / "bare", f'exec {sys.executable} -S "$@"')
    error = refusal(replace(address, python="~/bare"))
    assert "has no numpy" in error.message and "boards setup lab" in error.hint

    other = script(server.folder / "other", "echo This account is for mail only.")
    error = refusal(replace(address, python=other))
    assert "cannot be started: it said: This account is for mail only." in error.message


def test_what_a_login_script_prints_does_no_harm(server, address):
    profile = server.folder / ".bashrc"  # bash reads it in a session of SSH
    profile.write_text("echo Welcome; echo to the lab >&2\n")
    try:
        with SshBoard("lab", address) as board:
            assert board.probe().engines
    finally:
        profile.unlink()


MUTTERING = """
import sys
from qsdnn.errors import BoardError
from qsdnn_boards.ssh import client as ssh_client
from qsdnn_boards.ssh.address import Address

ssh_client.PAUSES_S = ()
try:
    ssh_client.fetch_host_key(Address(host="127.0.0.1", port=int(sys.argv[1])))
except BoardError as error:
    print(error)
"""


def test_what_goes_wrong_is_told_once_and_without_a_traceback(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        port = str(server.getsockname()[1])
        command = [sys.executable, "-c", MUTTERING, port]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            server.accept()[0].close()
            out, err = process.communicate()
    assert "no SSH session begins" in out and err == ""
