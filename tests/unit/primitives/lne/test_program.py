"""Programs: no two tensors that live at once share memory, and zeros stay zeros."""

from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn_primitives.lne.program import Step, place
from qsdnn_primitives.lne.tensor import Image, Tensor

LIVES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 200), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)


def _step(*tensors: Tensor) -> Step:
    return Step(kernel="fill", layer=0, reads=tensors, writes=(), arguments=dict)


def _tensor(size: int, halo: int) -> Tensor:
    if not halo:
        return Tensor(size=size)
    image = Image(channels=8, height=1 + size % 3, width=2, lanes=8)
    image.need(halo, halo, halo, halo)
    return image


@settings(deadline=None)
@given(LIVES)
def test_what_lives_at_once_lies_apart(drawn):
    tensors = [_tensor(size, halo) for _, _, size, halo in drawn]
    spans = [(min(a, b), max(a, b)) for a, b, _, _ in drawn]
    steps = [
        _step(*(t for t, (first, last) in zip(tensors, spans, strict=True) if first <= at <= last))
        for at in range(10)
    ]
    offsets, size = place(steps)
    for i, (t, (first, last)) in enumerate(zip(tensors, spans, strict=True)):
        assert offsets[t] % 16 == 0 and offsets[t] + t.floats <= size
        for other, (since, until) in list(zip(tensors, spans, strict=True))[:i]:
            apart = (
                offsets[t] >= offsets[other] + other.floats
                or offsets[other] >= offsets[t] + t.floats
            )
            if first <= until and since <= last:
                assert apart
            elif t.geometry or other.geometry:  # zeros: only for tensors that keep them
                assert apart or (t.geometry == other.geometry and offsets[t] == offsets[other])


def test_parts_of_an_image_lie_in_it():
    whole = Image(channels=32, height=4, width=5, lanes=8)
    parts = [
        Image(channels=16, height=4, width=5, lanes=8, parent=whole, start=blocks)
        for blocks in (0, 2)
    ]
    parts[0].need(1, 1, 1, 1)
    assert parts[1].block == whole.block == 6 * 7 * 8
    assert parts[1].offset - parts[0].offset == 2 * whole.block
    assert parts[0].offset == whole.offset == (7 + 1) * 8
    assert parts[0].root is parts[1].root is whole
