"""`qsdnn app`: from a network to a folder that runs alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from qsdnn.cli import group
from qsdnn.errors import InputError, QsdnnError
from qsdnn.examples import build as example
from qsdnn_lab.app.config import read_application
from qsdnn_runtime import App, AppError


def app(*words: str | Path) -> str:
    result = CliRunner().invoke(group, ["app", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def save_wav(path: Path, rate_hz: int = 16000, seconds: float = 1.0) -> Path:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.sin(2 * np.pi * 440 * t) * 20000).astype("<i2").tobytes())
    return path


def save_ppm(path: Path, height: int = 30, width: int = 50) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    path.write_bytes(b"P6\n# made by a test\n%d %d\n255\n" % (width, height) + pixels.tobytes())
    return path


def save_network(path: Path, nodes: list[Any], shape: list[int], outputs: dict[str, list[int]],
                 weights: dict[str, np.ndarray]) -> Path:  # fmt: skip
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
        for name, dims in {"x": shape, **outputs}.items()
    ]
    held = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, path.stem, values[:1], values[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def detector(path: Path) -> Path:
    """A network that sees one box of 8 by 8 pixels at (4, 4), wherever it looks."""
    boxes = np.array([[[4, 4, 12, 12], [0, 0, 1, 1]]], np.float32)
    scores = np.array([[[0.9], [0.1]]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["z"]),
        helper.make_node("Add", ["boxes_", "z"], ["boxes"]),
        helper.make_node("Add", ["scores_", "z"], ["scores"]),
    ]
    held = {"zero": np.zeros(1), "boxes_": boxes, "scores_": scores}
    return save_network(
        path, nodes, [1, 3, 16, 16], {"boxes": [1, 2, 4], "scores": [1, 2, 1]}, held
    )


def means(path: Path) -> Path:
    """A network that gives the mean of each colour."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    return save_network(path, [node], [1, 3, 8, 8], {"y": [1, 3]}, {})


@pytest.fixture(scope="module")
def keywords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application that was built, and its source beside it."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "kws9.onnx").write_bytes(example("kws9").SerializeToString())
    app("new", folder / "source", "--class", "audio_classification",
        "--model", folder / "kws9.onnx")  # fmt: skip
    app("build", folder / "source", "-o", folder / "built")
    return folder


def test_a_keyword_is_spotted_by_the_command_the_folder_and_a_program(
    keywords: Path, tmp_path: Path
) -> None:
    sound = save_wav(tmp_path / "word.wav")
    assert "mfcc coefficients 40" in app("show", keywords / "source")
    told = json.loads(app("run", keywords / "source", sound, "--json"))["results"]
    again = json.loads(app("run", keywords / "built", sound, "--json"))["results"]
    (best, *_) = told["classification"]["classes"]
    assert again == told and 0 < best["score"] <= 1
    alone = tmp_path / "elsewhere"
    shutil.copytree(keywords / "built", alone)
    words = [sys.executable, str(alone), str(sound), "--json"]  # its own runtime comes first
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["results"]["classification"]["classes"][0]["index"] == best["index"]
    times = found["times_ms"]
    parts = times["before_ms"] + times["inference_ms"] + times["after_ms"]
    assert abs(times["total_ms"] - parts) <= 0.01 * times["total_ms"] + 0.02
    with App(keywords / "built") as loaded:
        (first, *_) = loaded.run(sound)["classification"]["classes"]
    assert first["index"] == best["index"]


def test_boxes_of_one_network_are_what_another_reads(tmp_path: Path) -> None:
    detector(tmp_path / "boxes.onnx")
    means(tmp_path / "means.onnx")
    app("new", tmp_path / "chain", "--class", "object_detection",
        "--model", tmp_path / "boxes.onnx")  # fmt: skip
    config = json.loads((tmp_path / "chain" / "ai_app_config.json").read_text())
    config["components"].append(
        {
            "name": "colour",
            "reads": "detection",
            "model": "../means.onnx",
            "preprocessing": [
                {"stage": "resize", "size": [8, 8]},
                {"stage": "normalize", "scale": 1},
                {"stage": "layout"},
            ],
            "postprocessing": [{"stage": "values", "names": ["red", "green", "blue"]}],
        }
    )
    (tmp_path / "chain" / "ai_app_config.json").write_text(json.dumps(config))
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[16:48, 16:48] = [200, 100, 50]
    np.save(tmp_path / "picture.npy", picture)
    told = json.loads(app("run", tmp_path / "chain", tmp_path / "picture.npy", "--json"))
    (box,) = told["results"]["detection"]["boxes"]
    assert box["box"] == [16, 16, 48, 48]
    assert box["colour"]["values"] == pytest.approx({"red": 200, "green": 100, "blue": 50})
    assert "red 200" in app("run", tmp_path / "chain", tmp_path / "picture.npy").replace(": ", " ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class": "music"}, "class: 'music' is not one of"),
        ({"extra": 1}, "'extra' was unexpected"),
        ({"components": []}, "components: "),
        ({"components": [{"name": "a"}]}, "needs one of 'plan', 'model' and 'package'"),
        ({"components": [{"name": "a", "model": "m", "preprocessing": [{"stage": "rezise"}]}]},
         r"components\[0\].preprocessing: no stage 'rezise'; there are band"),
        ({"components": [{"name": "a", "model": "m", "preprocessing": [{"stage": "resize"}]}]},
         "stage 'resize' needs 'size'"),
        ({"components": [{"name": "a", "model": "m",
                          "postprocessing": [{"stage": "top", "n": 1}]}]},
         "stage 'top' takes no 'n'; it takes count, output, labels, least"),
        ({"components": [{"name": "a", "model": "m"}, {"name": "a", "model": "m"}]},
         "two components have the name 'a'"),
    ],
)  # fmt: skip
def test_a_malformed_application_is_told(
    keywords: Path, tmp_path: Path, change: Any, said: str
) -> None:
    path = tmp_path / "ai_app_config.json"
    path.write_text(
        json.dumps({**json.loads((keywords / "source" / path.name).read_text()), **change})
    )
    with pytest.raises(InputError, match=said):
        read_application(tmp_path)


def test_bad_input_is_told(keywords: Path, tmp_path: Path) -> None:
    source = keywords / "source"

    def refused(*words: str | Path) -> str:
        with pytest.raises(QsdnnError) as caught:
            app(*words)
        return f"{caught.value.message} | {caught.value.hint}"

    slow = save_wav(tmp_path / "slow.wav", 8000)
    assert "trained with 16000" in refused("run", source, slow)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(slow.read_bytes()[:1000])
    assert "truncated" in refused("run", source, cut)
    assert "no WAV file" in refused("run", source, save_ppm(tmp_path / "a.ppm"))
    assert "no such file" in refused("run", source, tmp_path / "absent.wav")
    assert "no application" in refused("run", tmp_path, slow)
    assert "did you mean" in refused("new", tmp_path / "n", "--class", "audio_clasification",
                                     "--model", slow)  # fmt: skip
    assert "give --model or --plan" in refused("new", tmp_path / "n", "--class", "keypoints")
    assert "application already" in refused("new", source, "--class", "keypoints",
                                            "--model", keywords / "kws9.onnx")  # fmt: skip
    assert "no application" in refused("build", source, "-o", keywords)
    assert "an application is a folder" in refused("build", source, "-o", tmp_path / "app.zip")
    with pytest.raises(AppError, match=r"its stages make .* its network reads"):
        _misfit(keywords, tmp_path, slow)


def _misfit(keywords: Path, tmp_path: Path, sound: Path) -> None:
    """Runs the application on a sound that it takes as one of another rate."""
    folder = tmp_path / "misfit"
    shutil.copytree(keywords / "built", folder)
    config = json.loads((folder / "ai_app_config.json").read_text())
    config["components"][0]["preprocessing"][0]["hz"] = 8000
    (folder / "ai_app_config.json").write_text(json.dumps(config))
    with App(folder) as loaded:
        loaded.run(sound)
