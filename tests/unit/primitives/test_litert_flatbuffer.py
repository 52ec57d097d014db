"""The writer of flatbuffers: what it wrote is read again, and lies aligned."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn_primitives.litert.flatbuffer import Blob, Scalar, Table, encode
from qsdnn_primitives.litert.model import INLINE_BYTES, Subgraph, WeightFiles, write_model
from qsdnn_primitives.litert.program import Constant, Operator, Tensor, floats, integers
from qsdnn_primitives.litert.schema import KINDS


def _field(content, table, number):
    """The position of a field; None where it is not set."""
    (back,) = struct.unpack_from("<i", content, table)
    listed = table - back
    (size,) = struct.unpack_from("<H", content, listed)
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", content, listed + place)[0] if place < size else 0
    return table + offset if offset else None


def _followed(content, slot):
    return slot + struct.unpack_from("<I", content, slot)[0]


SCALARS = st.sampled_from([("b", -3), ("?", True), ("i", -70000), ("I", 4000000000), ("f", 0.5)])


@given(st.dictionaries(st.integers(0, 12), SCALARS, max_size=8))
def test_numbers_are_where_the_fields_say(fields):
    made = encode(Table({n: Scalar(*pair) for n, pair in fields.items()}), b"TEST")
    assert made.head[4:8] == b"TEST" and made.size_bytes == len(made.head)
    root = _followed(made.head, 0)
    for number in range(13):
        at = _field(made.head, root, number)
        if number not in fields:
            assert at is None
            continue
        letter, value = fields[number]
        assert struct.unpack_from("<" + letter, made.head, at)[0] == value
        assert at % struct.calcsize("<" + letter) == 0


@given(st.lists(st.integers(0, 2**31), max_size=9), st.text(max_size=9))
def test_vectors_strings_and_tables_are_behind_their_references(numbers, text):
    inner = [Table({0: text}), Table(), Table({1: np.array(numbers, np.int64)})]
    content = encode(Table({0: inner, 2: np.array(numbers, np.float32)}), b"TEST").head
    root = _followed(content, 0)
    vector = _followed(content, _field(content, root, 0))
    assert struct.unpack_from("<I", content, vector) == (3,)
    first, second, third = (_followed(content, vector + 4 + 4 * i) for i in range(3))
    assert _field(content, second, 0) is None
    at = _followed(content, _field(content, first, 0))
    (size,) = struct.unpack_from("<I", content, at)
    assert content[at + 4 : at + 4 + size].decode() == text and not content[at + 4 + size]
    at = _followed(content, _field(content, third, 1))
    assert (at + 4) % 8 == 0
    found = np.frombuffer(content, np.int64, len(numbers), at + 4)
    assert found.tolist() == numbers


@given(st.lists(st.integers(1, 5000), max_size=5))
def test_blobs_have_places_that_do_not_overlap(sizes):
    blobs = [Table({0: Blob(key, size)}) for key, size in enumerate(sizes)]
    made = encode(Table({0: blobs}), b"TEST")
    end = len(made.head)
    vector = _followed(made.head, _field(made.head, _followed(made.head, 0), 0))
    for key, size in enumerate(sizes):
        assert made.places[key] >= end + 4 and made.places[key] % 64 == 0
        slot = _field(made.head, _followed(made.head, vector + 4 + 4 * key), 0)
        assert _followed(made.head, slot) + 4 == made.places[key]
        end = made.places[key] + size
    assert made.size_bytes == end


def _interpreter(subgraph, folder, algorithm="builtin"):
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    from qsdnn_runtime.engines.litert.artifact import read_model
    from qsdnn_runtime.engines.litert.library import make_interpreter

    (folder / "weights").write_bytes(b"")
    model = write_model([subgraph], WeightFiles(folder / "weights", folder))
    return make_interpreter(read_model(folder / model.file, model.options), algorithm, 1)


@pytest.mark.parametrize("count", [1, 4, INLINE_BYTES, INLINE_BYTES * 5])
def test_the_runtime_reads_what_was_written(count, tmp_path):
    rng = np.random.default_rng(count)
    values = rng.standard_normal((1, count)).astype(np.float32)
    x, y, z = Tensor((1, count)), Tensor((1, count)), Tensor((count, 1))
    operators = [
        Operator("ADD", (x, floats(values)), (y,)),
        Operator("RESHAPE", (y, integers([count, 1])), (z,)),
    ]
    interpreter = _interpreter(Subgraph(operators=operators, inputs=[x], outputs=[z]), tmp_path)
    (read,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (read["index"], made["index"]) == (0, 1)  # inputs first, then outputs
    data = rng.standard_normal((1, count)).astype(np.float32)
    interpreter.set_tensor(0, data)
    interpreter.invoke()
    assert (interpreter.get_tensor(1) == (data + values).reshape(count, 1)).all()


def test_the_runtime_has_all_kinds_of_operators(tmp_path):
    """A kind that it lacks is refused by its number, one without the right inputs otherwise."""
    x, y = Tensor((1, 4)), Tensor((1, 4))
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        operator = Operator(kind, (x,), (y,))
        try:
            interpreter = _interpreter(
                Subgraph(operators=[operator], inputs=[x], outputs=[y]), folder
            )
        except Exception as error:
            assert "Didn't find op" not in str(error), kind
            assert f"({kind})" in str(error), kind
        else:
            assert interpreter._get_ops_details()[0]["op_name"] == kind


def test_a_constant_may_be_converted_when_it_is_written(tmp_path):
    turned = Constant(np.arange(6, dtype=np.float32).reshape(2, 3), np.transpose)
    x, y = Tensor((3, 2)), Tensor((3, 2))
    operator = Operator("MUL", (x, Tensor((3, 2), "float32", turned)), (y,))
    interpreter = _interpreter(Subgraph(operators=[operator], inputs=[x], outputs=[y]), tmp_path)
    interpreter.set_tensor(0, np.ones((3, 2), np.float32))
    interpreter.invoke()
    assert interpreter.get_tensor(1).tolist() == [[0, 3], [1, 4], [2, 5]]
