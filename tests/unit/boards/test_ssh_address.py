"""Addresses, and what the user's SSH configuration adds to them."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.board import open_board
from qsdnn.errors import InputError
from qsdnn_boards.ssh.address import Address, parse_address, resolve
from qsdnn_boards.ssh.board import SshBoard

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)
HOSTS = NAMES | st.ip_addresses().map(str)
PORTS = st.none() | st.integers(1, 65535)


@given(user=NAMES, host=HOSTS, port=PORTS)
def test_what_is_written_is_read(user, host, port):
    shown = f"[{host}]" if ":" in host else host
    text = f"{user}@{shown}" + ("" if port is None else f":{port}")
    assert parse_address(text) == Address(host=host, port=port, user=user)


NO_PLACE = ["pi", "@pi", "pi@", "pi@board:", "pi@::1", "pi@[::1", "pi@a b", "pi@a\nb", "pi@a/b"]
NO_PORT = ["pi@board:0", "pi@board:65536", "pi@board:ssh"]
NO_GOOD = ["pi@-oProxyCommand=x", "-l@board", "pi@a;b", "pi@$(a)", "p'i@board"]


@pytest.mark.parametrize("text", NO_PLACE + NO_PORT + NO_GOOD)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match="an address looks like"):
        parse_address(text)


@pytest.mark.parametrize(
    "python",
    ["", "-c", "a b", "python3;reboot", "$(reboot)", "`reboot`", "a'b", "~", "~root/p", "a\n"],
)
def test_a_python_is_a_command_or_a_path_and_nothing_a_shell_would_read(python):
    with pytest.raises(InputError, match="cannot be its python"):
        Address(host="board", python=python)


@pytest.mark.parametrize("python", ["python3.11", "/opt/v/bin/python", "~/v-1/bin/python3"])
def test_usual_pythons_are_taken(python):
    assert Address(host="board", python=python).python == python


def test_it_finds_what_has_an_at_sign():
    assert isinstance(open_board("pi@board:2222"), SshBoard)
    with pytest.raises(InputError, match="cannot be its port"):
        open_board("pi@board:0")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def configure(home: Path, text: str) -> None:
    (home / ".ssh/config").write_text(text)


def test_without_a_configuration_the_defaults_hold(home):
    endpoint = resolve(Address(host="Board"))
    assert (endpoint.host, endpoint.port, endpoint.user) == ("Board", 22, getpass.getuser())
    assert endpoint.known_as == "board" and endpoint.known_hosts[0] == home / ".ssh/known_hosts"
    assert not endpoint.jumps and not endpoint.identity_files and not endpoint.identities_only
    assert resolve(Address(host="::1", port=2222)).known_as == "[::1]:2222"


def test_the_address_comes_before_the_configuration(home):
    for name in ("mine", "listed"):
        (home / name).touch()
    configure(
        home,
        "Host lab\n  HostName 10.0.0.7\n  Port 2200\n  User ann\n  IdentityFile ~/listed\n"
        "  IdentityFile ~/absent\n  IdentitiesOnly yes\n  HostKeyAlias rack7\n"
        "  UserKnownHostsFile ~/known\n  Compression yes\n"
        "  ProxyJump bob@gate:2201,[fe80::1]\n",
    )
    endpoint = resolve(Address(host="lab"))
    assert (endpoint.host, endpoint.port, endpoint.user) == ("10.0.0.7", 2200, "ann")
    assert endpoint.identity_files == (home / "listed",) and endpoint.identities_only
    assert endpoint.known_as == "rack7" and endpoint.known_hosts[0] == home / "known"
    assert endpoint.compress
    assert endpoint.jumps == (Address(host="gate", port=2201, user="bob"), Address(host="fe80::1"))

    said = Address(host="lab", port=22, user="eve", identity_file=home / "mine")
    endpoint = resolve(said)
    assert (endpoint.host, endpoint.port, endpoint.user) == ("10.0.0.7", 22, "eve")
    assert endpoint.identity_files == (home / "mine", home / "listed")
    with pytest.raises(InputError, match="does not exist"):
        resolve(replace(said, identity_file=home / "absent"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Host lab\n  ProxyCommand nc %h %p\n", "ProxyCommand is not supported"),
        ("Host lab\n  Port ssh\n", "'ssh' is no number"),
        ("Host lab\n  ProxyJump a:b:c\n", "is not \\[user@\\]host"),
        ("Host lab\nUser\n", "config: "),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_said(home, text, complaint):
    configure(home, text)
    with pytest.raises(InputError, match=complaint):
        resolve(Address(host="lab"))
