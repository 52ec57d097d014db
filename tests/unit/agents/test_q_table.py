import numpy as np
import pytest

from qsdnn.agents.experience import Batch
from qsdnn.agents.q_learning.presets import Initial, StepCredit
from qsdnn.agents.q_learning.q_table import QTable, StepValues

MASK = np.array([[1, 1, 1, 0]], dtype=np.int8)


def observe(*numbers: int) -> np.ndarray:
    return np.array([numbers], dtype=np.int64)


@pytest.mark.parametrize(
    ("initial", "expected", "best"),
    [(Initial.ZERO, [-5, -3, 0, -np.inf], 0), (Initial.FIRST, [-5, -3, -np.inf, -np.inf], -3)],
)
def test_what_is_untried_is_worth_its_initial_value(
    initial: Initial, expected: list[float], best: float
) -> None:
    table = QTable(4, initial)
    row = table.rows(0, observe(0, 1), MASK)
    assert table.values(0, row, MASK)[0, :3].tolist() == [0, 0, 0]
    for action, target in ((0, -5.0), (1, -3.0)):
        table.update(0, row, np.array([action]), np.array([target]), alpha=1.0)
    assert table.values(0, row, MASK)[0].tolist() == expected
    assert table.best(0, row) == best


def test_a_value_moves_by_alpha() -> None:
    table = QTable(4, Initial.ZERO)
    rows = table.rows(0, observe(7), MASK)
    for _ in range(2):
        table.update(0, rows, np.array([2]), np.array([-8.0]), alpha=0.25)
    assert table.values(0, rows, MASK)[0, 2] == -2.0 + 0.25 * (-8.0 + 2.0)


def test_states_beyond_the_limit_share_rows() -> None:
    table = QTable(4, Initial.ZERO, max_rows=10)
    for number in range(100):
        for step in range(2):
            row = table.rows(step, observe(number), MASK)
            assert row == table.rows(step, observe(number), MASK)
    assert len(table) == 10


def test_replay_takes_a_reward_to_the_beginning_at_once() -> None:
    """Three steps, the reward at the end: backward replay discounts it once a step."""
    credit = StepCredit(state="layer", alpha=1.0, gamma=0.5, replay=0, initial=Initial.FIRST)
    values = StepValues(4, credit)

    def see() -> list[float]:
        for step in range(3):
            values.see(step, observe(step), MASK)
        return [float(values.values(step, MASK).max()) for step in range(3)]

    see()
    batch = Batch(
        actions=np.array([[0, 1, 2]]),
        rewards=np.array([[0.0, 0.0, -8.0]]),
        latency_ms=np.array([8.0]),
    )
    values.learn(batch, np.random.default_rng(0))
    assert see() == [-2.0, -4.0, -8.0]
