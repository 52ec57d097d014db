from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qsdnn_runtime.program.arena import ALIGNMENT_BYTES, Life, allocate, buffer_lives, place
from qsdnn_runtime.program.manifest import load_manifest

LIVES = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(-1, 12), st.integers(0, 6)), max_size=24
).map(
    lambda items: [
        Life(name=str(i), size_bytes=size, first=first, last=first + length)
        for i, (size, first, length) in enumerate(items)
    ]
)


@given(LIVES)
def test_buffers_that_are_needed_together_do_not_overlap(lives):
    offsets, total_bytes = place(lives)
    for i, a in enumerate(lives):
        end = offsets[a.name] + max(a.size_bytes, 1)
        assert offsets[a.name] % ALIGNMENT_BYTES == 0
        assert 0 <= offsets[a.name] <= end <= total_bytes
        for b in lives[:i]:
            apart = (
                end <= offsets[b.name] or offsets[b.name] + max(b.size_bytes, 1) <= offsets[a.name]
            )
            assert apart or a.last < b.first or b.last < a.first


@given(LIVES)
def test_no_more_memory_than_without_sharing_and_no_less_than_is_alive_at_once(lives):
    _, total_bytes = place(lives)
    room = {life.name: max(64, -(-life.size_bytes // 64) * 64) for life in lives}
    assert total_bytes <= sum(room.values())
    for step in range(-1, 20):
        assert total_bytes >= sum(room[x.name] for x in lives if x.first <= step <= x.last)


def _chain(length, shape=(1000,), dtype="float32"):
    names = [f"t{i}" for i in range(length + 1)]
    return load_manifest(
        {
            "schema": "qsdnn.package/1",
            "model": {"name": "chain", "sha256": ""},
            "threads": 1,
            "tensors": {name: {"dtype": dtype, "shape": list(shape)} for name in names},
            "inputs": names[:1],
            "outputs": names[-1:],
            "segments": [
                {
                    "engine": "e",
                    "family": "e/a",
                    "artifact": "f",
                    "inputs": [a],
                    "outputs": [b],
                    "options": {},
                    "layers": [],
                }
                for a, b in pairwise(names)
            ],
            "artifacts": {"f": {"sha256": "", "size_bytes": 0}},
        }
    )


def test_a_long_chain_needs_two_buffers_between_its_ends():
    _, total_bytes = place(buffer_lives(_chain(10)))
    assert total_bytes == 4 * 4032  # input, output, and two that take turns


def test_arrays_have_their_type_shape_and_alignment():
    for shape, dtype in (((), "float16"), ((0, 3), "int64"), ((2, 3, 5), "bool"), ((7,), "uint8")):
        arrays = allocate(_chain(3, shape, dtype))
        assert len(arrays) == 4
        for array in arrays.values():
            assert array.shape == shape
            assert array.dtype == dtype
            assert array.flags.c_contiguous
            assert array.ctypes.data % ALIGNMENT_BYTES == 0
