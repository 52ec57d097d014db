"""Budgets as users write them, and what they say of a plan."""

from __future__ import annotations

import math

import pytest

from qsdnn.accuracy.budget import Accuracy, Budget, parse_budget
from qsdnn.errors import InputError


def accuracy(plan: float, reference: float = 0.97, sqnr_db: float = 35.0) -> Accuracy:
    return Accuracy(
        metric="top1", reference=reference, plan=plan, drop=reference - plan, sqnr_db=sqnr_db,
        samples=100,
    )  # fmt: skip


def test_absolute_and_relative_drops():
    assert parse_budget("0.01") == Budget(max_drop=0.01)
    assert parse_budget(" 1 % ") == Budget(max_drop=0.01, relative=True)
    assert parse_budget("0") == Budget(max_drop=0.0)
    assert parse_budget(None, "30 dB") == parse_budget(None, "30") == Budget(min_sqnr_db=30.0)
    assert parse_budget("1%").largest_drop(0.5) == 0.005
    assert parse_budget("1%").largest_drop(-2.0) == 0.02
    assert parse_budget("0.01").largest_drop(0.5) == 0.01
    assert parse_budget().largest_drop(0.5) == math.inf


def test_what_is_allowed():
    assert accuracy(0.96).drop > 0.01, "by rounding alone"
    assert accuracy(0.96).meets(parse_budget("0.01"))
    assert not accuracy(0.95).meets(parse_budget("0.01"))
    assert not accuracy(0.96).meets(parse_budget("1%"))
    assert accuracy(0.98).meets(parse_budget("0"))
    assert accuracy(0.1).meets(Budget())
    assert accuracy(0.97).meets(parse_budget("0", "35"))
    assert not accuracy(0.97).meets(parse_budget(None, "35.1"))
    assert not accuracy(math.nan).meets(parse_budget("1"))
    assert not accuracy(0.97, sqnr_db=math.nan).meets(parse_budget(None, "0"))


def test_a_refusal_has_the_numbers():
    said = parse_budget("1%", "40").refusal(accuracy(0.95))
    assert said == (
        "top1 is 0.95, 0.02 worse than 0.97 in fp32; 0.0097 is allowed; "
        "SQNR is 35.0 dB, 40 dB is asked"
    )
    assert parse_budget("0.02").refusal(accuracy(0.95)) == ""


def test_it_says_what_it_is():
    assert str(parse_budget("0.01", "30")) == "drop ≤ 0.01, SQNR ≥ 30 dB"
    assert str(parse_budget("0.5%")) == "drop ≤ 0.5 %"
    assert str(parse_budget("10%")) == "drop ≤ 10 %"
    assert str(Budget()) == "no limit"


@pytest.mark.parametrize("text", ["", "%", "a", "1e999", "nan", "0,01"])
def test_what_is_no_number(text):
    with pytest.raises(InputError, match=r"--max-drop .*: no number"):
        parse_budget(text)
    with pytest.raises(InputError, match=r"--min-sqnr .*: no number"):
        parse_budget(None, text)


def test_a_negative_drop():
    with pytest.raises(InputError, match="--max-drop -1%: a drop is not negative"):
        parse_budget("-1%")
