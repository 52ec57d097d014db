from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.model.load import topological_order


@st.composite
def dags(draw) -> list[set[int]]:
    """Predecessors by item, items shuffled."""
    count = draw(st.integers(0, 12))
    names = draw(st.permutations(range(count)))
    before: list[set[int]] = [set() for _ in range(count)]
    for item in range(1, count):
        picked = draw(st.sets(st.integers(0, item - 1), max_size=3))
        before[names[item]] = {names[other] for other in picked}
    return before


@given(dags())
def test_every_item_comes_after_its_predecessors(before):
    order = topological_order(before)
    place = {item: position for position, item in enumerate(order)}
    assert sorted(order) == list(range(len(before)))
    assert all(place[other] < place[item] for item in range(len(before)) for other in before[item])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_branches_are_contiguous(lengths):
    """A fork into chains that meet again: each chain is walked to its end."""
    before: list[set[int]] = [set()]
    chains = []
    for length in lengths:
        chain = list(range(len(before), len(before) + length))
        before += [{0}, *({item} for item in chain[:-1])]
        chains.append(chain)
    before.append({chain[-1] for chain in chains})
    assert topological_order(before) == list(range(len(before)))
    interleaved = sorted(range(len(before)), key=lambda i: (i != 0, i == len(before) - 1, i % 3, i))
    renamed = {old: new for new, old in enumerate(interleaved)}
    order = topological_order([{renamed[o] for o in before[i]} for i in interleaved])
    for chain in chains:
        places = sorted(order.index(renamed[item]) for item in chain)
        assert places == list(range(places[0], places[0] + len(chain)))


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        topological_order([{1}, {0}])
