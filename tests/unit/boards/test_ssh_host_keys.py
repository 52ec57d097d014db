"""Files of known hosts, against those that OpenSSH writes and reads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from paramiko import ECDSAKey, RSAKey

from qsdnn_boards.ssh.host_keys import HostKeyStatus, KnownHosts, store

A, B = ECDSAKey.generate(), ECDSAKey.generate()
RSA = RSAKey.generate(2048)
OTHERS = "# mine\n@cert-authority *.lan ssh-rsa AAAA\nother ssh-ed25519 bad\n"


def line(hosts, key) -> str:
    return f"{hosts} {key.get_name()} {key.get_base64()}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ssh" / "known_hosts"


def judge(path, host, key) -> HostKeyStatus:
    return KnownHosts([path]).judge(host, key)


def test_a_stored_key_is_known_and_another_has_changed(path):
    assert judge(path, "board", A) is HostKeyStatus.UNKNOWN
    store(path, "board", A)
    assert path.stat().st_mode & 0o077 == 0
    assert judge(path, "board", A) is HostKeyStatus.KNOWN
    assert judge(path, "board", B) is HostKeyStatus.CHANGED
    assert judge(path, "[board]:2222", A) is HostKeyStatus.UNKNOWN
    store(path, "board", B)
    assert judge(path, "board", B) is HostKeyStatus.KNOWN
    assert judge(path, "board", A) is HostKeyStatus.CHANGED


def test_storing_keeps_what_is_about_others(path):
    path.parent.mkdir()
    path.write_text(OTHERS + line("board,10.0.0.7", A) + line("board", RSA) + line("*.lan", A))
    store(path, "board", B)
    assert path.read_text() == OTHERS + line("10.0.0.7", A) + line("*.lan", A) + line("board", B)


def test_a_link_stays_one_and_what_is_no_file_is_left_alone(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    store(path, "board", A)
    assert path.is_symlink() and judge(path, "board", A) is HostKeyStatus.KNOWN
    with pytest.raises(OSError, match="is no file"):
        store(Path("/dev/null"), "board", A)


def test_hosts_are_matched_as_openssh_does(path):
    path.parent.mkdir()
    path.write_text(
        line("*.lan,!bad.lan", A) + line("[10.0.0.?]:2222", A) + line("Board", A) + line("board", B)
    )
    known = KnownHosts([path])
    assert known.judge("pi.lan", A) is HostKeyStatus.KNOWN
    assert known.judge("bad.lan", A) is HostKeyStatus.UNKNOWN
    assert known.judge("[10.0.0.7]:2222", A) is HostKeyStatus.KNOWN
    assert known.judge("0:2222", A) is HostKeyStatus.UNKNOWN
    assert {known.judge("board", key) for key in (A, B)} == {HostKeyStatus.KNOWN}


def test_hashed_names_are_found_and_replaced(path):
    store(path, "[board]:2222", A)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    assert "board" not in path.read_text()
    assert judge(path, "[board]:2222", A) is HostKeyStatus.KNOWN
    store(path, "[board]:2222", B)
    assert judge(path, "[board]:2222", A) is HostKeyStatus.CHANGED
    assert len(path.read_text().splitlines()) == 1


def test_a_revoked_key_is_never_known(path):
    path.parent.mkdir()
    path.write_text("@revoked * " + line("", A).strip() + "\n" + line("board", A))
    assert judge(path, "board", A) is HostKeyStatus.REVOKED
    assert judge(path, "new", B) is HostKeyStatus.UNKNOWN


def test_algorithms_of_known_keys_come_first(path):
    store(path, "board", RSA)
    offered = ("ssh-ed25519", "rsa-sha2-512", "ecdsa-sha2-nistp256", "rsa-sha2-256")
    known = KnownHosts([path])
    assert known.prefer("board", offered)[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert known.prefer("other", offered) == offered
