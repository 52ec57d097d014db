import numpy as np

from qsdnn.agents.presets import Guide
from qsdnn.agents.q_table import QTable, States

MASK = np.array([[1, 1, 1, 0]], dtype=np.int8)


def observe(*numbers: int) -> np.ndarray:
    return np.array([numbers], dtype=np.int64)


def learned(guide: Guide) -> tuple[States, QTable, np.ndarray]:
    """A table where one state has tried actions 0 and 1, and a similar state nothing."""
    states = States(actions=4)
    tried = states.rows(0, observe(0, 1, 2, 3), MASK)
    table = QTable(states, guide)
    for action, target in ((0, -5.0), (1, -3.0)):
        table.update(0, tried, np.array([action]), np.array([target]), alpha=1.0)
    return states, table, tried


def test_what_is_untried_is_worth_what_the_guide_says() -> None:
    similar = observe(0, 1, 2, 9)
    for guide, at_tried, best in (
        (Guide.ZERO, [-5, -3, 0, -np.inf], 0),
        (Guide.KNOWN, [-5, -3, -np.inf, -np.inf], -3),
        (Guide.BACKOFF, [-5, -3, 0, -np.inf], 0),
    ):
        states, table, tried = learned(guide)
        assert table.values(0, tried)[0].tolist() == at_tried
        assert table.best(0)[tried[0]] == best
        row = states.rows(0, similar, MASK)
        unseen = [0, 0, 0] if guide is Guide.ZERO else [-5, -3, 0]
        assert table.values(0, row)[0, :3].tolist() == unseen


def test_a_value_moves_by_alpha() -> None:
    states = States(actions=4)
    rows = states.rows(0, observe(7), MASK)
    table = QTable(states, Guide.ZERO)
    for _ in range(2):
        table.update(0, rows, np.array([2]), np.array([-8.0]), alpha=0.25)
    assert table.values(0, rows)[0, 2] == -2.0 + 0.25 * (-8.0 + 2.0)


def test_states_beyond_the_limit_share_rows() -> None:
    states = States(actions=4, max_rows=10)
    for number in range(100):
        for step in range(2):
            row = states.rows(step, observe(number), MASK)
            assert row == states.rows(step, observe(number), MASK)
    assert len(states) == 10
