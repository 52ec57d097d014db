"""Files are written whole or not at all, and what is no file is left one."""

import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from qsdnn.errors import InputError
from qsdnn.files import check_writable, open_output, replacing, write_csv, write_output


@pytest.fixture
def full(tmp_path):
    """A device that is full, as a file of one's own: as root /dev/full itself may be lost."""
    if os.geteuid():
        pytest.skip("only root makes devices")
    path = tmp_path / "full"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    return path


@pytest.fixture
def null(tmp_path):
    if os.geteuid():
        pytest.skip("only root makes devices")
    path = tmp_path / "null"
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    return path


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "plan.json"
    write_output(path, "old")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    write_output(path, b"new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["plan.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, os.strerror(28))])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "plan.json"
    path.write_text("old")
    with pytest.raises((KeyboardInterrupt, OSError)), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_device_is_written_to_and_stays_one(null, full):
    """As root a file that is looked at, or replaced, would take the device's place."""
    check_writable(null)
    write_output(null, "gone")
    with open_output(null) as file:
        np.savez(file, x=np.zeros(3))
    assert null.is_char_device()
    check_writable(full)
    with pytest.raises(InputError, match="No space left on device"):
        write_output(full, "too much")
    assert full.is_char_device()


def test_a_pipe_takes_it_all(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    check_writable(path)  # which opens it not, so that nobody waits
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_output(path, "plan")
    reader.join()
    assert got == [b"plan"]
    assert path.is_fifo()


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("kept")
    before = old.stat()
    check_writable(new)
    check_writable(old)
    assert os.listdir(tmp_path) == ["old"]
    assert old.stat() == before
    with pytest.raises(InputError, match="Is a directory"):
        check_writable(tmp_path)


def test_a_missing_folder_is_told_with_the_command_that_makes_it(tmp_path):
    path = tmp_path / "my plans" / "plan.json"
    for act in (check_writable, lambda path: write_output(path, "x")):
        with pytest.raises(InputError) as error:
            act(path)
        assert error.value.hint == f"mkdir -p '{path.parent}'"


def test_a_table_is_utf_8_with_a_line_for_each_row(tmp_path):
    write_csv(tmp_path / "t.csv", ["layer", "ms"], [{"layer": "größe, 1", "ms": 2}], "--csv")
    assert (tmp_path / "t.csv").read_bytes() == 'layer,ms\r\n"größe, 1",2\r\n'.encode()
    with pytest.raises(InputError, match="cannot write") as error:
        write_csv(Path("/proc/none.csv"), ["a"], [], "--csv")
    assert "--csv" in error.value.hint
