"""Inputs of applications as files."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from qsdnn_runtime.app.sources import read_image, read_signal, read_sound
from qsdnn_runtime.app.stage import AppError


@pytest.mark.parametrize(("magic", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_a_netpbm_image(tmp_path, magic, channels):
    pixels = np.arange(2 * 3 * channels, dtype=np.uint8)
    path = tmp_path / "a.pnm"
    path.write_bytes(magic + b" # wide\n3\n2\n255\n" + pixels.tobytes())
    np.testing.assert_array_equal(read_image(path).values, pixels.reshape(2, 3, channels))
    path.write_bytes(magic + b"\n3 2\n15\n" + (pixels % 16).tobytes())
    assert read_image(path).values.max() <= 255 and read_image(path).values[0, 0, 0] == 0
    path.write_bytes(magic + b"\n3 2\n255\n" + pixels.tobytes()[:-1])
    with pytest.raises(AppError, match="truncated"):
        read_image(path)


def test_an_image_in_another_format(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").values, pixels)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(AppError, match="no image"):
        read_image(tmp_path / "cut.png")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_sound_of_whole_numbers(tmp_path, width):
    values = np.array([[0.0, 0.5], [-0.5, 0.25]])  # two moments of two channels
    scaled = np.round(values * 2 ** (8 * width - 1)).astype(np.int64)
    numbers = scaled + 128 if width == 1 else scaled
    content = b"".join(
        int(n).to_bytes(width, "little", signed=width > 1) for n in numbers.reshape(-1)
    )
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(content)
    found = read_sound(path)
    np.testing.assert_allclose(found.values, values.T, atol=1e-6)
    assert found.rate_hz == 8000


def test_signals(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4\n5,6\n")
    found = read_signal(tmp_path / "a.csv", 50.0)
    assert found.values.tolist() == [[1, 3, 5], [2, 4, 6]] and found.rate_hz == 50
    np.save(tmp_path / "a.npy", np.arange(4))
    assert read_signal(tmp_path / "a.npy").values.tolist() == [[0, 1, 2, 3]]
    assert read_sound(tmp_path / "a.npy", 9.0).rate_hz == 9


@pytest.mark.parametrize(
    ("read", "name", "content", "said"),
    [
        (read_image, "a.npy", b"nothing", "no array"),
        (read_image, "a.ppm", b"P6\n3", "without its size"),
        (read_image, "a.ppm", b"P6\n3 2\n65535\n", "only images of bytes"),
        (read_sound, "a.wav", b"RIFF", "no WAV file"),
        (read_signal, "a.csv", b"one,two\n", "no table of numbers"),
        (read_signal, "a.csv", b"1,nan\n", "not finite"),
    ],
)
def test_what_is_no_input_is_told(tmp_path, read, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=said):
        read(tmp_path / name)
    with pytest.raises(AppError):
        read(tmp_path / f"absent-{name}")


def test_arrays_of_other_kinds_are_told():
    with pytest.raises(AppError, match="no image of bytes"):
        read_image(np.zeros((2, 2, 3)))
    with pytest.raises(AppError, match="without pixels"):
        read_image(np.zeros((0, 2, 3), np.uint8))
    with pytest.raises(AppError, match="no signal"):
        read_signal(np.zeros((2, 2, 2)))
