"""ncnn's artifacts: weights read from where they are, and what is corrupt or misused refused."""

import json

import pytest

from qsdnn.examples import build
from qsdnn_runtime import EngineError
from qsdnn_runtime.engine import SegmentSpec
from qsdnn_runtime.engines.ncnn import artifact, net
from qsdnn_runtime.engines.ncnn.net import load_network, make_options
from tests.unit.runtime.ncnn_network import LOADER, Network, run, spec_of


@pytest.fixture(scope="module")
def kws(tmp_path_factory):
    return Network(build("kws1"), tmp_path_factory.mktemp("kws"))


def _drop(document, *path):
    *parents, last = path
    for key in parents:
        document = document[key]
    del document[last]


def _replace(document, old, new):
    assert old in document["param"]
    document["param"] = document["param"].replace(old, new)


CORRUPTIONS = {
    "schema": lambda d: d.update(schema="qsdnn.ncnn/9"),
    "no param": lambda d: _drop(d, "param"),
    "weights cut": lambda d: _drop(d, "weights", -1),
    "weights not base64": lambda d: d["weights"].insert(0, {"data": "§"}),
    "weights elsewhere": lambda d: d["weights"][1].update(offset=10**9),
    "weights missing": lambda d: d["weights"][1].update(file="0.bin"),
    "span outside": lambda d: d["spans"].update({"0:0": [0, 10**9]}),
    "unknown operator": lambda d: _replace(d, "Convolution ", "Convolutoin "),
    "not ncnn's text": lambda d: _replace(d, "7767517", "7"),
    "a blob nobody makes": lambda d: d["outputs"][0].update(blob=10**6),
    "an output of another shape": lambda d: d["outputs"][0].update(shape=[7]),
    "an input of no size": lambda d: d["inputs"][0].update(shape=[]),
    "a pack that does not divide": lambda d: d["inputs"][0].update(pack=7),
    "a pack below one": lambda d: d["outputs"][0].update(pack=0),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_a_corrupt_artifact_is_an_error(corrupt, kws):
    document = json.loads(kws.artifact().read_bytes())
    corrupt(document)
    path = spec_of(document, kws).artifact
    with pytest.raises(EngineError):
        run(path, kws)


def test_weights_are_read_from_where_they_are(kws, monkeypatch):
    """Not from a file made of them, which takes their memory once more."""
    monkeypatch.setattr(artifact, "scratch_file", lambda _: pytest.fail("a file of weights"))
    run(kws.artifact(), kws)


def test_weights_that_end_early_or_cannot_be_read_are_an_error(kws, monkeypatch):
    network = artifact.read_network(kws.artifact())
    whole = b"".join(artifact.contents(network))

    def broken(_network):
        yield whole[:1000]
        raise OSError("the card is gone")

    for contents, message in [(broken, "the card is gone"), (lambda _: [whole[:-1]], "weights")]:
        monkeypatch.setattr(net, "contents", lambda n, c=contents: iter(c(n)))
        with pytest.raises(EngineError, match=message):
            load_network(network, make_options(1))


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_an_artifact_that_was_changed_is_an_error(cut, kws, tmp_path):
    source = kws.artifact()
    (tmp_path / source.name).write_bytes(source.read_bytes()[:cut])
    with pytest.raises(EngineError, match="changed"):
        run(tmp_path / source.name, kws)


def test_misuse_is_an_error(kws, tmp_path):
    with pytest.raises(EngineError, match="family"):
        LOADER.load(SegmentSpec(kws.artifact(), "ncnn/fp16", (), (), {}, {}), 1)
    with pytest.raises(EngineError, match="not an ncnn network"):
        LOADER.load(SegmentSpec(tmp_path / "no.json", "ncnn", (), (), {}, {}), 1)
    executable = LOADER.load(SegmentSpec(kws.artifact(), "ncnn", (), (), {}, {}), 1)
    with pytest.raises(EngineError, match="before bind"):
        executable.run()
    with pytest.raises(EngineError, match="no buffer"):
        executable.bind({}, {})
    with pytest.raises(EngineError, match="contiguous"):
        executable.call({name: value[:, :, 1:] for name, value in kws.feeds.items()})
    with pytest.raises(EngineError, match="profile"):
        executable.applied()
    executable.close()
