from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.board import open_board
from qsdnn.errors import InputError
from qsdnn_boards.catalogue import AddressBook, Entry
from qsdnn_boards.spec.spec import specs
from qsdnn_boards.ssh.address import Address

WRITTEN = """\
# my boards
[lab] # on the shelf
host = "10.0.0.2"
user = "pi"

[other]
host = "10.0.0.3"
"""

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True).filter(
    lambda name: name != "local"
)
addresses = st.builds(
    Address,
    host=st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
    user=st.none() | st.from_regex(r"[a-z]{1,5}", fullmatch=True),
    identity_file=st.none() | st.sampled_from([Path("/home/me/.ssh/id"), Path("keys/ä b")]),
    python=st.sampled_from(["python3", "/usr/bin/python3.11", "~/venv/bin/python"]),
)
entries = st.builds(Entry, name=names, address=addresses, spec=st.sampled_from(sorted(specs())))


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddressBook:
    monkeypatch.setenv("QSDNN_CONFIG", str(tmp_path))
    return AddressBook()


def entry(name: str = "lab", host: str = "10.0.0.9", spec: str = "generic-linux") -> Entry:
    return Entry(name=name, address=Address(host=host), spec=spec)


@given(st.lists(entries, max_size=4))
def test_what_was_put_is_read(tmp_path_factory: pytest.TempPathFactory, made: list[Entry]) -> None:
    book = AddressBook(tmp_path_factory.mktemp("book") / "boards.toml")
    for each in made:
        book.put(each)
    assert book.entries() == {each.name: each for each in made}
    for name in {each.name for each in made}:
        book.remove(name)
    assert book.entries() == {}


def test_no_file_is_an_empty_book(book: AddressBook) -> None:
    assert book.entries() == {}
    assert not book.path.exists()


def test_what_is_not_changed_stays_as_it_was(book: AddressBook) -> None:
    book.path.write_text(WRITTEN, encoding="utf-8")
    book.put(entry(host="10.0.0.9"))
    text = book.path.read_text(encoding="utf-8")
    assert text.startswith('# my boards\n[lab] # on the shelf\nhost = "10.0.0.9"\n')
    assert "user" not in text
    assert '[other]\nhost = "10.0.0.3"\n' in text
    book.remove("lab")
    assert list(book.entries()) == ["other"]
    assert [path.name for path in book.path.parent.iterdir()] == ["boards.toml"]


def test_a_link_to_the_file_stays_one(book: AddressBook, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    target = tmp_path / "dotfiles" / "b.toml"
    target.write_text(WRITTEN, encoding="utf-8")
    book.path.symlink_to(target)
    book.put(entry("third"))
    assert book.path.is_symlink()
    assert "third" in target.read_text(encoding="utf-8")


def test_writers_at_the_same_time_lose_nothing(book: AddressBook) -> None:
    threads = [threading.Thread(target=book.put, args=[entry(f"b{i}")]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(book.entries()) == {f"b{i}" for i in range(8)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[lab]\nhst = 'a'", r"lab\.hst: unknown key; did you mean 'host'"),
        ("[lab]\nhost = 3", r"lab\.host: expected a text"),
        ("[lab]\nuser = 'a'", r"lab\.host: missing"),
        ("[lab]\nhost = 'a'\nport = true", r"lab\.port: expected an integer"),
        ("[lab]\nhost = 'a'\nport = 70000", r"lab: .*70000"),
        ("[lab]\nhost = '-oProxyCommand=x'", r"lab: .*host"),
        ("[lab]\nhost = 'a'\nspec = 'jetson-nanno'", r"lab: unknown spec 'jetson-nanno'"),
        ("['a b']\nhost = 'a'", r"a b: 'a b' cannot be a board's name"),
        ("[local]\nhost = 'a'", r"local: 'local' is this machine"),
        ("lab = 3", r"lab: expected a table"),
        ("[lab", r"not a TOML file"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(
    book: AddressBook, text: str, problem: str
) -> None:
    book.path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"boards\.toml: {problem}"):
        book.entries()
    assert book.path.read_text(encoding="utf-8") == text


def test_a_folder_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QSDNN_CONFIG", str(tmp_path / "file" / "inner"))
    with pytest.raises(InputError, match="cannot be written"):
        AddressBook().put(entry())


def test_boards_are_found_by_name(book: AddressBook) -> None:
    book.put(entry("lab", spec="jetson-nano"))
    assert open_board("lab").name == "lab"
    with pytest.raises(InputError) as caught:
        open_board("jetson-nano")
    assert "qsdnn boards add jetson-nano --host ADDRESS" in caught.value.hint
    with pytest.raises(InputError) as caught:
        open_board("labb")
    assert "did you mean 'lab'?" in caught.value.hint
