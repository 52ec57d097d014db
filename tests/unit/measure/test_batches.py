"""What is loaded at once fits into the board, and is no more than a few times a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsdnn.board import BoardInfo, Package
from qsdnn.measure.batches import LEAST_BYTES, LIBRARIES_BYTES, LOADING, SETTLED, Room, room_of

INFO = BoardInfo(name="fake", fingerprint="f" * 16, engines={}, facts={})


def sized(name: str, mb: float) -> Package:
    files = {"weights": {"size_bytes": int(mb * 1e6)}}
    return Package(manifest={"artifacts": files}, folder=Path("/"), digest=name)


def packages(*sizes_mb: float) -> list[Package]:
    return [sized(str(number), mb) for number, mb in enumerate(sizes_mb)]


def peak_mb(shift: list[Package]) -> float:
    """Of a process that loads these: all have been loaded but the largest, which is loaded last."""
    sizes = sorted(p.manifest["artifacts"]["weights"]["size_bytes"] for p in shift)
    return (LIBRARIES_BYTES + SETTLED * sum(sizes[:-1]) + LOADING * sizes[-1]) / 1e6


@given(st.floats(1, 5000), st.integers(1, 30))
def test_a_networks_plans_take_three_times_its_weights_and_400_mb_or_little(mb, count):
    plans = packages(*[mb] * count)
    shifts = Room().shifts(plans)
    assert [index for shift in shifts for index in shift] == list(range(count))
    for shift in shifts:
        allowed_mb = max(3 * mb + 400, LEAST_BYTES / 1e6)
        assert peak_mb([plans[i] for i in shift]) <= allowed_mb or len(shift) == 1


@pytest.mark.parametrize(
    ("mb", "together"),
    [(61, 6), (102, 6), (244, 4), (349, 2), (575, 1)],
    ids=["60 MB", "resnet50", "alexnet", "zfnet512", "vgg19"],
)
def test_how_many_plans_of_a_network_are_loaded_at_once(mb, together):
    assert len(Room().shifts(packages(*[mb] * 6))[0]) == together
    assert peak_mb(packages(mb)) <= 3 * mb + 400


def test_small_networks_are_all_interleaved():
    assert Room().shifts(packages(*[49.0] * 25)) == [list(range(25))]
    board = dataclasses.replace(INFO, facts={"memory_mb": 4000})
    assert room_of(board).shifts(packages(*[9.0] * 25)) == [list(range(25))]


def test_never_more_than_the_board_has_room_for():
    board = dataclasses.replace(INFO, facts={"memory_mb": 1000})
    plans = packages(*[49.0] * 25)
    shifts = room_of(board).shifts(plans)
    assert 400 < peak_mb([plans[i] for i in shifts[0]]) <= 500
    assert room_of(board).shifts(packages(700.0, 700.0)) == [[0], [1]]
    assert room_of(INFO) == room_of(None) == Room()


def test_a_network_whose_weights_are_in_no_file_counts_as_much_as_its_plans():
    original = packages(0.0045)
    assert Room().shifts([*original, *packages(349, 349, 349)]) == [[0, 1], [2, 3]]
    assert Room().shifts(original * 3) == [[0, 1, 2]]  # nothing is known


def test_parts_leave_room_for_anchors_and_keep_their_order():
    plans, anchor = packages(244, 244, 244, 244, 244), sized("anchor", 244)
    parts = Room().parts(plans, [anchor])
    assert [[p.digest for p in part] for part in parts] == [["0", "1", "2"], ["3", "4"]]
    parts = Room().parts(plans, plans[:1])  # which is there already
    assert [[p.digest for p in part] for part in parts] == [["0", "1", "2", "3"], ["4"]]


def test_where_no_package_fits_beside_anchors_there_is_one_part():
    plans = packages(575, 575)
    assert Room().parts(plans, [sized("anchor", 575)]) == [plans]
