"""Inputs from a user's files."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qsdnn.errors import InputError
from qsdnn.model.feeds import random_feeds, read_feeds
from qsdnn.model.layer import Tensor

IMAGE = Tensor(name="image", dtype="float32", shape=(1, 3, 4, 4))
ONE = {"image": IMAGE}
TWO = {"image": IMAGE, "mask": Tensor(name="mask", dtype="int64", shape=(2,))}
GOOD = np.ones((1, 3, 4, 4), np.float32)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(name, content)
    return stream.getvalue()


def read(content: bytes, inputs: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    path = folder / "inputs"  # what it is, its content says
    path.write_bytes(content)
    return read_feeds(path, inputs)


@pytest.mark.parametrize("content", [npy(GOOD), npz(image=GOOD)])
def test_one_input_may_be_a_file_of_either_kind(content: bytes, tmp_path: Path) -> None:
    (image,) = read(content, ONE, tmp_path).values()
    np.testing.assert_array_equal(image, GOOD)


def test_several_inputs_come_in_the_network_s_order(tmp_path: Path) -> None:
    feeds = random_feeds(TWO, seed=3)
    found = read(npz(mask=feeds["mask"], image=feeds["image"]), TWO, tmp_path)
    assert list(found) == ["image", "mask"]
    assert all((found[name] == feeds[name]).all() for name in feeds)


def test_a_shape_that_is_not_known_is_any(tmp_path: Path) -> None:
    inputs = {"image": Tensor(name="image", dtype="float32", shape=None)}
    assert read(npy(GOOD), inputs, tmp_path)["image"].shape == GOOD.shape


WRONG: dict[str, tuple[Callable[[], bytes], dict[str, Tensor], str]] = {
    "shape": (lambda: npy(GOOD[0]), ONE, r"'image' has the shape \[3, 4, 4\].*\[1, 3, 4, 4\]"),
    "dtype": (lambda: npy(GOOD.astype(float)), ONE, r"is float64.*astype\('float32'\)"),
    "names": (lambda: npz(x=GOOD), ONE, r"holds 'x'; the network takes 'image'.*savez\("),
    "missing": (lambda: npz(image=GOOD), TWO, r"holds 'image'; the network takes 'image', 'mask'"),
    "several": (lambda: npy(GOOD), TWO, r"one array without a name.*'image', 'mask'.*'mask': …"),
    "objects": (lambda: npy(np.array([None, {}])), ONE, "holds more than numbers"),
    "text": (lambda: b"1,2,3\n", ONE, r"is no \.npz or \.npy file.*savez"),
    "empty": (lambda: b"", ONE, r"is no \.npz or \.npy file"),
    "nothing": (lambda: npz(), ONE, "holds nothing"),
    "cut npy": (lambda: npy(GOOD)[:-9], ONE, "it is damaged"),
    "cut header": (lambda: npy(GOOD)[:9], ONE, "it is damaged"),
    "cut npz": (lambda: npz(image=GOOD)[:-30], ONE, "it is damaged"),
    "no array": (lambda: archive("image", b"text"), ONE, "'image': no array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_clear_error(name: str, tmp_path: Path) -> None:
    make, inputs, said = WRONG[name]
    with pytest.raises(InputError) as caught:
        read(make(), inputs, tmp_path)
    assert re.search(said, str(caught.value), re.DOTALL), caught.value


def test_flipped_bytes_are_found(tmp_path: Path) -> None:
    content = bytearray(
        npz(image=np.random.default_rng(0).standard_normal((1, 3, 4, 4), np.float32))
    )
    content[len(content) // 2] ^= 255
    with pytest.raises(InputError, match="it is damaged"):
        read(bytes(content), ONE, tmp_path)


@pytest.mark.parametrize("path", ["none.npz", "."])
def test_a_file_that_cannot_be_read_is_named(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot read inputs from"):
        read_feeds(Path(path), ONE)
