"""The plan file: round trips, and errors that name the place."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.errors import InputError, PlanError
from qsdnn.plan import (
    Accuracy,
    Baseline,
    Choice,
    Model,
    Plan,
    from_json,
    read_plan,
    to_json,
    write_plan,
)

numbers = st.floats(0, 1e6)
names = st.text(max_size=12)
plans = st.builds(
    Plan,
    model=st.builds(
        Model,
        path=names,
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        shapes=st.dictionaries(names, st.lists(st.integers(1, 9), max_size=4).map(tuple)),
    ),
    board=st.fixed_dictionaries({"name": names, "fingerprint": names}),
    engines=st.dictionaries(names, names),
    threads=st.integers(1, 64),
    layers=st.lists(st.builds(Choice, name=names, primitive=names, kernel=names)).map(tuple),
    predicted_ms=numbers,
    measured_ms=numbers,
    ci95_ms=st.tuples(numbers, numbers),
    trust=st.sampled_from(["stable", "noisy", "disturbed", "throttled"]),
    baselines=st.lists(
        st.builds(
            Baseline,
            name=names,
            measured_ms=st.none() | numbers,
            feasible=st.none() | st.booleans(),
        )
    ).map(tuple),
    accuracy=st.builds(
        Accuracy, metric=names, reference=numbers, plan=st.none() | numbers, drop=st.none()
    ),
    seed=st.integers(0, 2**31),
    command=names,
    interim=st.booleans(),
)

EXAMPLE = Plan(
    model=Model(path="m.onnx", sha256="0" * 64),
    board={"name": "local", "fingerprint": "f"},
    engines={"blas": "1"},
    threads=1,
    layers=(Choice(name="conv", primitive="blas/im2col/fp32"),),
    predicted_ms=1.0,
    measured_ms=1.0,
    ci95_ms=(0.9, 1.1),
    trust="stable",
    baselines=(),
    accuracy=Accuracy(metric="max_relative_error", reference=0.0, plan=0.0, drop=0.0),
    seed=0,
    command="qsdnn search m.onnx",
)


@given(plans)
def test_round_trip(plan):
    text = to_json(plan)
    assert from_json(text) == plan
    assert to_json(from_json(text)) == text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 0}, ["threads", "0"]),
        ({"layers": [{"name": "conv"}]}, ["layers[0]", "primitive"]),
        ({"schema": "qsdnn.plan/9"}, ["schema", "qsdnn.plan/1"]),
        ({"ci95_ms": [1, "2"]}, ["ci95_ms[1]"]),
        ({"surprise": 1}, ["surprise"]),
    ],
)
def test_errors_name_the_place(change, words):
    content = json.loads(to_json(EXAMPLE)) | change
    with pytest.raises(PlanError) as error:
        from_json(json.dumps(content))
    assert all(word in str(error.value) for word in ["plan.json", *words])


def test_unreadable_files_are_plan_errors(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "cut.json").write_text(to_json(EXAMPLE)[:100])
    for name in ("absent.json", "binary.json", "cut.json"):
        with pytest.raises(PlanError, match=name):
            read_plan(tmp_path / name)


def test_equal_plans_are_equal_bytes():
    assert to_json(EXAMPLE) == to_json(dataclasses.replace(EXAMPLE))


def test_an_interim_plan_says_so_and_a_final_one_is_as_it_was(tmp_path):
    assert "interim" not in to_json(EXAMPLE)
    interim = dataclasses.replace(EXAMPLE, interim=True)
    write_plan(interim, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json").interim
    write_plan(EXAMPLE, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == EXAMPLE
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_writing_follows_links_and_leaves_what_is_no_file(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "plan.json").symlink_to(tmp_path / "far" / "plan.json")
    write_plan(EXAMPLE, tmp_path / "plan.json")
    assert (tmp_path / "plan.json").is_symlink()
    assert read_plan(tmp_path / "far" / "plan.json") == EXAMPLE
    write_plan(EXAMPLE, Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    with pytest.raises(InputError, match="cannot write"):
        write_plan(EXAMPLE, tmp_path / "absent" / "plan.json")
