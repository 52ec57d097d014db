"""Limits of loss as users write them, and what they say of a plan."""

from __future__ import annotations

import math

import pytest

from qsdnn.accuracy.loss import Loss, LossLimit, parse_loss_limit
from qsdnn.errors import InputError


def loss(plan: float, reference: float = 0.97, sqnr_db: float = 35.0) -> Loss:
    return Loss(
        metric="top1", reference=reference, plan=plan, drop=reference - plan, sqnr_db=sqnr_db,
        samples=100,
    )  # fmt: skip


def test_absolute_and_relative_drops():
    assert parse_loss_limit("0.01") == LossLimit(max_drop=0.01)
    assert parse_loss_limit(" 1 % ") == LossLimit(max_drop=0.01, relative=True)
    assert parse_loss_limit("0") == LossLimit(max_drop=0.0)
    assert (
        parse_loss_limit(None, "30 dB")
        == parse_loss_limit(None, "30")
        == LossLimit(min_sqnr_db=30.0)
    )
    assert parse_loss_limit("1%").largest_drop(0.5) == 0.005
    assert parse_loss_limit("1%").largest_drop(-2.0) == 0.02
    assert parse_loss_limit("0.01").largest_drop(0.5) == 0.01
    assert parse_loss_limit().largest_drop(0.5) == math.inf


def test_what_is_allowed():
    assert loss(0.96).drop > 0.01, "by rounding alone"
    assert loss(0.96).meets(parse_loss_limit("0.01"))
    assert not loss(0.95).meets(parse_loss_limit("0.01"))
    assert not loss(0.96).meets(parse_loss_limit("1%"))
    assert loss(0.98).meets(parse_loss_limit("0"))
    assert loss(0.1).meets(LossLimit())
    assert loss(0.97).meets(parse_loss_limit("0", "35"))
    assert not loss(0.97).meets(parse_loss_limit(None, "35.1"))
    assert not loss(math.nan).meets(parse_loss_limit("1"))
    assert not loss(0.97, sqnr_db=math.nan).meets(parse_loss_limit(None, "0"))


def test_a_refusal_has_the_numbers():
    said = parse_loss_limit("1%", "40").refusal(loss(0.95))
    assert said == (
        "top1 is 0.95, 0.02 worse than 0.97 in fp32; 0.0097 is allowed; "
        "SQNR is 35.0 dB, 40 dB is asked"
    )
    assert parse_loss_limit("0.02").refusal(loss(0.95)) == ""


def test_it_says_what_it_is():
    assert str(parse_loss_limit("0.01", "30")) == "drop ≤ 0.01, SQNR ≥ 30 dB"
    assert str(parse_loss_limit("0.5%")) == "drop ≤ 0.5 %"
    assert str(parse_loss_limit("10%")) == "drop ≤ 10 %"
    assert str(LossLimit()) == "no limit"


@pytest.mark.parametrize("text", ["", "%", "a", "1e999", "nan", "0,01"])
def test_what_is_no_number(text):
    with pytest.raises(InputError, match=r"--max-drop .*: no number"):
        parse_loss_limit(text)
    with pytest.raises(InputError, match=r"--min-sqnr .*: no number"):
        parse_loss_limit(None, text)


def test_a_negative_drop():
    with pytest.raises(InputError, match="--max-drop -1%: a drop is not negative"):
        parse_loss_limit("-1%")
