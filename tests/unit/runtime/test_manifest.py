import copy
import json

import pytest

from qsdnn_runtime.program.manifest import PackageError, load_manifest

MANIFEST = {
    "schema": "qsdnn.package/1",
    "model": {"name": "m", "sha256": "ab"},
    "threads": 2,
    "tensors": {
        "x": {"dtype": "float32", "shape": [1, 3]},
        "h": {"dtype": "int64", "shape": []},
        "y": {"dtype": "", "shape": None},
    },
    "inputs": ["x"],
    "outputs": ["y"],
    "segments": [
        {
            "engine": "e",
            "family": "e/a",
            "artifact": "f.onnx",
            "inputs": source,
            "outputs": target,
            "options": {"nodes": {"0:0": 0}},
            "layers": [{"index": index, "name": "conv", "primitive": "e/a/fp32"}],
        }
        for index, (source, target) in enumerate(((["x"], ["h"]), (["x", "h"], ["y"])))
    ],
    "artifacts": {"f.onnx": {"sha256": "cd", "size_bytes": 7}},
}


def _places(value, path=()):
    """Every entry of a JSON document but those inside options, which are the engine's own."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)) and key != "options":
            yield from _places(inner, (*path, key))


def _changed(path, change):
    document = copy.deepcopy(MANIFEST)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return document


def test_a_manifest_is_read():
    manifest = load_manifest(MANIFEST)
    assert manifest.threads == 2
    assert manifest.tensors["x"].size_bytes == 12
    assert manifest.tensors["h"].shape == ()
    assert not manifest.tensors["y"].static
    assert manifest.segments[1].inputs == ("x", "h")
    assert manifest.segments[0].options == {"nodes": {"0:0": 0}}
    assert manifest.segments[1].layers[0].index == 1


def test_a_tensor_between_segments_may_have_a_layout():
    document = copy.deepcopy(MANIFEST)
    between = {"dtype": "float32", "shape": [1, 32, 2, 2], "layout": "nchw16c"}
    document["tensors"]["h"] = between
    tensor = load_manifest(json.loads(json.dumps(document))).tensors["h"]
    assert (tensor.layout, tensor.shape, tensor.size_bytes) == ("nchw16c", (1, 32, 2, 2), 512)
    assert not load_manifest(MANIFEST).tensors["h"].layout
    wrong = {"expected a text": {"layout": 16}, "four dimensions": {"shape": [1, 128]}}
    for problem, change in wrong.items():
        document["tensors"]["h"] = {**between, **change}
        with pytest.raises(PackageError, match=rf"tensors\.h\.layout: .*{problem}"):
            load_manifest(document)
    document["tensors"] |= {"h": between, "x": between}
    with pytest.raises(PackageError, match=r"inputs\[0\]: the caller's 'x' may not have a layout"):
        load_manifest(document)


@pytest.mark.parametrize("path", list(_places(MANIFEST)), ids=str)
def test_what_is_missing_or_of_another_kind_is_named(path):
    if not isinstance(path[-1], int) and path != ("tensors", "y", "shape"):
        with pytest.raises(PackageError, match=r"^manifest\.json: "):
            load_manifest(_changed(path, lambda holder, key: holder.pop(key)))
    for wrong in (3.5, True, object()):
        with pytest.raises(PackageError, match=r"^manifest\.json: "):
            load_manifest(
                _changed(
                    path,
                    lambda holder, key, w=wrong: (
                        holder.update({key: w})
                        if isinstance(holder, dict)
                        else holder.__setitem__(key, w)
                    ),
                )
            )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "qsdnn.package/9", "schema: 'qsdnn.package/9' is not 'qsdnn.package/1'"),
        (("threads",), 0, "threads: at least one is needed"),
        (("tensors", "x", "dtype"), "flaot32", "tensors.x.dtype: 'flaot32' is no numeric"),
        (("tensors", "x", "dtype"), "object", "tensors.x.dtype: 'object' is no numeric"),
        (("tensors", "x", "shape", 1), -3, r"tensors.x.shape\[1\]: -3 is not a natural number"),
        (("inputs", 0), "z", r"inputs\[0\]: 'z' is not in tensors"),
        (("outputs", 0), "h", None),
        (("segments", 0, "outputs", 0), "x", r"segments\[0\].outputs\[0\]: 'x' is made twice"),
        (("segments", 0, "inputs", 0), "h", r"segments\[0\].inputs\[0\]: no earlier segment makes"),
        (("segments", 1, "artifact"), "g", r"segments\[1\].artifact: 'g' is not in artifacts"),
        (("artifacts",), {"../f": {"sha256": "", "size_bytes": 0}}, "may not have a folder"),
    ],
)
def test_what_cannot_be_executed_is_refused_by_name(path, value, message):
    document = _changed(path, lambda holder, key: holder.__setitem__(key, value))
    if message is None:
        load_manifest(document)
    else:
        with pytest.raises(PackageError, match=message):
            load_manifest(document)


def test_a_file_is_read_and_what_is_no_json_is_said(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST))
    assert load_manifest(path) == load_manifest(MANIFEST)
    path.write_text("{")
    with pytest.raises(PackageError, match="neither a package nor a manifest"):
        load_manifest(path)
    with pytest.raises(PackageError, match="cannot be read: No such file"):
        load_manifest(tmp_path / "absent.json")
