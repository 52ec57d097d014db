"""Properties of the partition on random DAGs and random choices."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.model.segment import partition


@st.composite
def coloured_dags(draw, max_layers=40):
    """Predecessors and a family for each layer."""
    count = draw(st.integers(1, max_layers))
    reach = draw(st.integers(1, 6))
    before = [
        sorted(draw(st.sets(st.integers(max(0, i - reach), i - 1), max_size=3))) if i else []
        for i in range(count)
    ]
    families = draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    return before, families


@settings(max_examples=400, deadline=None)
@given(coloured_dags())
def test_segments_are_legal(dag):
    before, families = dag
    segments = partition(before, families)
    assert sorted(i for segment in segments for i in segment) == list(range(len(families)))
    done = set()
    for segment in segments:
        assert len({families[i] for i in segment}) == 1
        for i in segment:  # in index order each layer finds its inputs made: no cycle, convex
            assert set(before[i]) <= done
            done.add(i)


@settings(max_examples=150, deadline=None)
@given(coloured_dags(max_layers=8))
def test_segments_are_fewest(dag):
    before, families = dag
    got = len(partition(before, families))
    assert got == next(n for n in range(1, 9) if _possible(before, families, n))


def _possible(before, families, count):
    """Whether some assignment of layers to `count` ordered segments is legal (brute force)."""
    for colours in product("abc", repeat=count):
        slots: list[int] = []
        for i, family in enumerate(families):  # the earliest slot is never worse
            earliest = max((slots[j] for j in before[i]), default=0)
            slot = next((s for s in range(earliest, count) if colours[s] == family), None)
            if slot is None:
                break
            slots.append(slot)
        else:
            return True
    return False


def test_long_chain_is_one_segment_a_run():
    families = ["ab"[(i // 7) % 2] for i in range(1400)]
    segments = partition([[i - 1] if i else [] for i in range(1400)], families)
    assert len(segments) == 200
