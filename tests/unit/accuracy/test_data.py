"""Samples and labels from files as users have them, good and bad."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from qsdnn.accuracy.data import read_inputs
from qsdnn.accuracy.inputs import Inputs
from qsdnn.errors import InputError
from qsdnn.model.layer import Graph, Tensor

from .networks import FLOAT, INT64, classifier, network

ROWS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return classifier(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Graph:
    return network(tmp_path, ("image", FLOAT, [1, 4]), ("mask", INT64, [1, 4]), output=[1, 4])


def refusal(path: Path, graph: Graph, labels: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_inputs(path, graph, labels)
    assert caught.value.hint, "every error says what to do next"
    return str(caught.value)


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


# -- what is read ------------------------------------------------------------------------------


def assert_is(inputs: Inputs, rows: np.ndarray) -> None:
    assert set(inputs.arrays) == {"input"} and inputs.samples == len(rows)
    assert inputs.arrays["input"].dtype == np.float32
    np.testing.assert_array_equal(inputs.arrays["input"], rows)


@pytest.mark.parametrize("rows", [ROWS, ROWS[:, None]], ids=["samples", "with a batch of one"])
def test_a_file_is_read_whatever_its_array_is_called(tmp_path: Path, graph: Graph, rows):
    for name in ("input", "anything"):
        inputs = read_inputs(save(tmp_path / "a.npz", **{name: rows}), graph)
        assert_is(inputs, ROWS)
        assert inputs.labels is None
        np.testing.assert_array_equal(inputs.runs()["input"], ROWS[:, None])
    np.save(tmp_path / "a.npy", rows)
    assert_is(read_inputs(tmp_path / "a.npy", graph), ROWS)


@pytest.mark.parametrize("kind", [np.float64, np.float16])
def test_other_floats_are_converted(tmp_path: Path, graph: Graph, kind):
    wanted = ROWS.astype(kind).astype(np.float32)
    assert_is(read_inputs(save(tmp_path / "a.npz", x=ROWS.astype(kind)), graph), wanted)


def test_a_folder_has_a_sample_a_file_in_the_order_of_names(tmp_path: Path, graph: Graph):
    folder = tmp_path / "samples"
    folder.mkdir()
    for number in (2, 0, 1):
        np.save(folder / f"{number}.npy", ROWS[number] if number else ROWS[:1])
    np.savez(folder / "3.npz", input=ROWS[3])
    (folder / "README.txt").touch()
    assert_is(read_inputs(folder, graph), ROWS[:4])


def test_a_batch_is_filled_or_left(tmp_path: Path):
    graph = classifier(tmp_path, batch=4)
    inputs = read_inputs(save(tmp_path / "a.npz", x=ROWS), graph)
    assert_is(inputs, ROWS[:4])
    np.testing.assert_array_equal(inputs.runs()["input"], ROWS[None, :4])
    runs = ROWS[:4].reshape(1, 4, 4)
    assert_is(read_inputs(save(tmp_path / "b.npz", x=runs), graph), ROWS[:4])
    np.testing.assert_array_equal(inputs.unbatched({"y": runs})["y"], ROWS[:4])


def test_inputs_without_a_common_batch_are_taken_whole(tmp_path: Path):
    graph = network(tmp_path, ("a", FLOAT, [3, 4]), ("b", FLOAT, [4]), output=[3, 4])
    a, b = np.ones((5, 3, 4), np.float32), np.ones((5, 4), np.float32)
    inputs = read_inputs(save(tmp_path / "a.npz", a=a, b=b), graph)
    assert inputs.samples == 5 and inputs.batch == 0
    assert {name: array.shape for name, array in inputs.runs().items()} == {
        "a": (5, 3, 4),
        "b": (5, 4),
    }


def test_one_sample_a_run_needs_no_dimension_for_it_whatever_comes_out(tmp_path: Path):
    graph = network(tmp_path, ("a", FLOAT, [1, 4]), ("b", FLOAT, [1, 3, 4]), output=[1, 3, 4])
    graph = dataclasses.replace(
        graph,
        tensors=dict(graph.tensors) | {"scores": Tensor(name="scores", dtype="", shape=None)},
    )
    b = np.ones((6, 3, 4), np.float32)
    inputs = read_inputs(save(tmp_path / "a.npz", a=ROWS, b=b), graph)
    assert inputs.runs()["a"].shape == (6, 1, 4) and inputs.runs()["b"].shape == (6, 1, 3, 4)
    boxes = inputs.unbatched({"boxes": np.ones((6, 100, 4)), "scores": np.ones((6, 1, 100))})
    assert boxes["boxes"].shape == (6, 100, 4) and boxes["scores"].shape == (6, 100)


def test_whole_numbers_are_widened(tmp_path: Path, two: Graph):
    mask = np.arange(24, dtype=np.int32).reshape(6, 4)
    inputs = read_inputs(save(tmp_path / "a.npz", image=ROWS, mask=mask), two)
    assert inputs.arrays["mask"].dtype == np.int64
    np.testing.assert_array_equal(inputs.arrays["mask"], mask)


def test_the_digest_tells_data_and_labels_apart(tmp_path: Path, graph: Graph):
    def digest(rows: np.ndarray, **labels: np.ndarray) -> str:
        return read_inputs(save(tmp_path / "a.npz", input=rows, **labels), graph).digest

    other = ROWS.copy()
    other[5, 3] += 1
    labels = np.arange(6)
    digests = [digest(ROWS), digest(other), digest(ROWS, labels=labels)]
    assert len({*digests, digest(ROWS, labels=labels + 1)}) == 4
    assert digest(ROWS) == digests[0]


# -- labels ------------------------------------------------------------------------------------

LABELS = np.array([3, 1, 2, 0, 1, 2])


def test_labels_are_read_from_all_kinds_of_files(tmp_path: Path, graph: Graph):
    samples = save(tmp_path / "a.npz", input=ROWS)
    text = "\n".join(map(str, LABELS))
    np.save(tmp_path / "l.npy", LABELS)
    save(tmp_path / "l.npz", labels=LABELS, other=ROWS)
    save(tmp_path / "one.npz", whatever=LABELS)
    for name in ("l.txt", "l.csv"):
        (tmp_path / name).write_text(text)
    for name in ("l.npy", "l.npz", "one.npz", "l.txt", "l.csv"):
        labels = read_inputs(samples, graph, tmp_path / name).labels
        assert labels is not None and labels.dtype.kind == "i", name
        np.testing.assert_array_equal(labels, LABELS)


def test_labels_lie_beside_the_samples_and_a_file_of_their_own_counts_more(
    tmp_path: Path, graph: Graph
):
    samples = save(tmp_path / "a.npz", input=ROWS, labels=LABELS)
    np.testing.assert_array_equal(read_inputs(samples, graph).labels, LABELS)
    np.save(tmp_path / "l.npy", LABELS[::-1])
    read = read_inputs(samples, graph, tmp_path / "l.npy")
    np.testing.assert_array_equal(read.labels, LABELS[::-1])


def test_an_input_may_be_called_labels(tmp_path: Path):
    graph = network(tmp_path, ("labels", FLOAT, [1, 4]), output=[1, 4])
    inputs = read_inputs(save(tmp_path / "a.npz", labels=ROWS), graph)
    assert inputs.labels is None and set(inputs.arrays) == {"labels"}


def test_bad_labels_are_said(tmp_path: Path, graph: Graph):
    samples = save(tmp_path / "a.npz", input=ROWS)
    np.save(tmp_path / "five.npy", LABELS[:5])
    said = refusal(samples, graph, tmp_path / "five.npy")
    assert "five.npy has 5 labels" in said and "a.npz has 6 samples" in said
    assert "a.npz has 2 labels" in refusal(
        save(tmp_path / "a.npz", input=ROWS, labels=LABELS[:2]), graph
    )
    np.save(tmp_path / "one.npy", np.array(3))
    assert "has 1 labels" in refusal(samples, graph, tmp_path / "one.npy")
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    assert "cannot read labels from" in refusal(samples, graph, tmp_path / "words.txt")
    (tmp_path / "empty.txt").touch()
    assert "labels are numbers" in refusal(samples, graph, tmp_path / "empty.txt")
    assert "no-such.csv" in refusal(samples, graph, tmp_path / "no-such.csv")
    save(tmp_path / "two.npz", a=LABELS, b=LABELS)
    assert "holds a, b" in refusal(samples, graph, tmp_path / "two.npz")
    words = save(tmp_path / "words.npz", input=ROWS, labels=np.array(list("abcdef")))
    assert "words.npz: labels are numbers, here is <U1[6]" in refusal(words, graph)
    np.save(tmp_path / "nan.npy", np.array([1, 2, np.nan, 3, 4, 5]))
    assert "label [2] is nan" in refusal(samples, graph, tmp_path / "nan.npy")


# -- samples that are not usable ---------------------------------------------------------------


def test_a_missing_path_and_an_empty_folder(tmp_path: Path, graph: Graph):
    assert "none.npz does not exist" in refusal(tmp_path / "none.npz", graph)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "has no .npy or .npz file: it is empty" in refusal(folder, graph)
    (folder / "a.jpg").touch()
    assert "it holds a.jpg" in refusal(folder, graph)


@pytest.mark.parametrize(
    ("content", "name"), [(b"PNG", "a.npz"), (b"PK\x03\x04damaged", "a.npz"), (b"", "a.npy")]
)
def test_no_npz(tmp_path: Path, graph: Graph, content: bytes, name: str):
    (tmp_path / name).write_bytes(content)
    assert f"{name}: it is no .npz or .npy file" in refusal(tmp_path / name, graph)


def test_a_truncated_npz(tmp_path: Path, graph: Graph):
    path = save(tmp_path / "a.npz", input=np.ones((1000, 4), np.float32))
    path.write_bytes(path.read_bytes()[:3000])
    assert "no .npz or .npy file" in refusal(path, graph)


def test_objects_are_never_unpickled(tmp_path: Path, graph: Graph):
    np.save(tmp_path / "a.npy", np.array([{}, []], object), allow_pickle=True)
    said = refusal(tmp_path / "a.npy", graph)
    assert "no .npz or .npy file of numbers" in said and "pickle" not in said


@pytest.mark.parametrize("shape", [(6, 5), (4,), (), (6, 4, 1), (6, 2, 4)])
def test_a_wrong_shape_says_expected_and_got(tmp_path: Path, graph: Graph, shape):
    said = refusal(save(tmp_path / "a.npz", input=np.ones(shape, np.float32)), graph)
    assert "a.npz: input 'input': expected shape [samples, 4]" in said
    assert f"got {list(shape)}" in said


def test_a_wrong_shape_in_a_folder_says_which_file(tmp_path: Path, graph: Graph):
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "1.npy", ROWS[0])
    np.save(folder / "2.npy", ROWS[0, :3])
    assert "2.npy: input 'input': expected shape" in refusal(folder, graph)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.bool_, np.complex64])
def test_a_wrong_type_says_how_to_convert(tmp_path: Path, graph: Graph, kind):
    said = refusal(save(tmp_path / "a.npz", input=np.ones((6, 4), kind)), graph)
    assert f"expected float32, got {np.dtype(kind)}" in said and "array.astype(" in said


def test_floats_for_whole_numbers(tmp_path: Path, two: Graph):
    said = refusal(save(tmp_path / "a.npz", image=ROWS, mask=ROWS), two)
    assert "input 'mask': expected int64, got float32" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_found(tmp_path: Path, graph: Graph, value):
    rows = ROWS.astype(np.float64)
    rows[4, 2] = value
    assert "a.npz: input 'input': the value at [4, 2] is" in refusal(
        save(tmp_path / "a.npz", input=rows), graph
    )


def test_names_that_do_not_match(tmp_path: Path, two: Graph):
    mask = np.ones((6, 4), np.int64)
    said = refusal(save(tmp_path / "a.npz", imgae=ROWS, mask=mask), two)
    assert "unknown input 'imgae'" in said and "did you mean 'image'?" in said
    assert "no array for input 'mask'" in refusal(save(tmp_path / "a.npz", image=ROWS), two)


def test_numbers_of_samples_that_differ(tmp_path: Path, two: Graph):
    mask = np.ones((5, 4), np.int64)
    said = refusal(save(tmp_path / "a.npz", image=ROWS, mask=mask), two)
    assert "different numbers of samples: 'image' 6, 'mask' 5" in said


def test_fewer_than_a_batch(tmp_path: Path):
    graph = classifier(tmp_path, batch=8)
    said = refusal(save(tmp_path / "a.npz", input=ROWS), graph)
    assert "6 samples, but the network takes 8 at a time" in said
