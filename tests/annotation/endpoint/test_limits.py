"""Rates by a clock of the test's own, waits that servers ask for, and a budget that is never passed."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation.endpoint.answers import Usage
from mr_st.annotation.endpoint.limits import Budget, RateLimits, most_tokens, retry_after
from mr_st.errors import UsageError

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sent_in(limits: RateLimits, clock: Clock, seconds: float, tokens: int = 1) -> int:
    """How many requests a client that waits as told sends."""
    n, end = 0, clock.now + seconds
    while True:
        delay = limits.take(tokens)
        if delay == 0:
            n += 1
        elif clock.now + delay > end:
            return n
        else:
            clock.now += delay


@pytest.mark.parametrize(("per_minute", "at_once"), [(30, 1), (60, 1), (600, 10)])
def test_requests_a_minute(per_minute, at_once):
    clock = Clock()
    limits = RateLimits(requests_per_minute=per_minute, clock=clock)
    # a full bucket, then so many a minute evenly
    assert abs(sent_in(limits, clock, 600) - (10 * per_minute + at_once)) <= 1
    clock.now += 3600  # a rest is not saved up
    assert abs(sent_in(limits, clock, 60) - (per_minute + at_once)) <= 1


def test_tokens_a_minute_with_requests_larger_than_the_bucket():
    clock = Clock()
    limits = RateLimits(tokens_per_minute=6000, clock=clock)
    n = sent_in(limits, clock, 600, tokens=500)
    assert abs(n * 500 - 60_000) <= 600


def test_unused_tokens_are_given_back_and_estimates_learn():
    clock = Clock()
    limits = RateLimits(tokens_per_minute=6000, clock=clock)
    assert limits.expected(500) == 500
    assert limits.take(500) == 0
    assert limits.take(500) == pytest.approx(4.01, abs=0.1)  # 400 in debt at 100 a second
    limits.settle(500, most=500, used=100)
    assert limits.take(1) == pytest.approx(0.01, abs=0.01)
    assert limits.expected(500) == 100


def test_a_pause_holds_everyone_and_never_gets_shorter():
    clock = Clock()
    limits = RateLimits(clock=clock)
    assert limits.take(1) == 0
    limits.pause(5)
    limits.pause(1)
    assert limits.take(1) == 5
    clock.now += 5
    assert limits.take(1) == 0


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_rates_that_mean_nothing(wrong):
    with pytest.raises(UsageError, match="requests_per_minute"):
        RateLimits(requests_per_minute=wrong)
    with pytest.raises(UsageError, match="tokens_per_minute"):
        RateLimits(tokens_per_minute=wrong)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2), ({"Retry-After": "0.5"}, 0.5), ({"Retry-After": "-3"}, 0),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25), ({"retry-after-ms": "soon", "Retry-After": "9"}, 9),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90), ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "Sun, 01 Mar 2026 13:00:10 +0100"}, 10), ({"Retry-After": "Sun, 01 Mar 2026 12:00:07"}, 7),
        ({}, None), ({"Retry-After": ""}, None), ({"Retry-After": "later"}, None), ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
    ],
)  # fmt: skip
def test_retry_after(headers, seconds):
    assert retry_after(httpx2.Headers(headers), NOW) == seconds


@given(st.text(), st.text())
def test_retry_after_never_raises(first, second):
    found = retry_after({"retry-after": first, "retry-after-ms": second}, NOW)
    assert found is None or 0 <= found < float("inf")


def test_most_tokens_is_no_less_than_the_bytes():
    assert most_tokens([{"role": "user", "content": "é" * 10}, {"role": "user", "content": "\ud800"}]) >= 20 + 3


ENDS = st.sampled_from(["used", "unknown", "refused"])


@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 1), ENDS), max_size=60), st.integers(1, 5))
def test_a_budget_is_never_passed(requests, most_at_once):
    budget, under_way = Budget(3.0, 15.0, budget=0.02), []
    for tokens, share, end in requests:
        reservation = budget.reserve(tokens, 10)
        if reservation is not None:
            under_way.append((reservation, share, end))
        assert budget.cost + sum(each.cost for each, _, _ in under_way) <= 0.02 * (1 + 1e-9)
        if reservation is None or len(under_way) >= most_at_once:
            while under_way:
                first, its_share, its_end = under_way.pop()
                usage = Usage(int(first.input_tokens * its_share), 3) if its_end == "used" else None
                budget.settle(first, usage, billed=its_end != "refused")


def test_what_is_under_way_is_set_aside_and_given_back():
    budget = Budget(1.0, 0.0, budget=0.001)  # a thousand tokens
    first, second = budget.reserve(500, 0), budget.reserve(500, 0)
    assert budget.reserve(1, 0) is None
    assert budget.may_free_up
    budget.settle(first, Usage(100, 0))
    assert budget.reserve(500, 0) is None
    assert budget.reserve(400, 0) is not None
    budget.settle(second, None, billed=False)
    assert budget.cost == pytest.approx(0.0001)
    assert budget.n_estimated == 0


def test_what_the_server_does_not_count_is_booked_at_the_most():
    budget = Budget(1.0, 2.0)
    assert budget.settle(budget.reserve(500, 10), None) == pytest.approx(520e-6)
    assert (budget.input_tokens, budget.output_tokens, budget.n_estimated) == (500, 10, 1)


def test_a_server_that_counts_more_than_expected_is_met_with_higher_reservations():
    budget = Budget(1.0, 0.0, budget=1.0)
    budget.settle(budget.reserve(100, 0), Usage(300, 0))
    assert budget.reserve(100, 0).cost == pytest.approx(300e-6)


def test_requests_are_counted_whatever_becomes_of_them():
    budget = Budget(max_requests=2)
    budget.settle(budget.reserve(1, 1), None, billed=False)
    assert budget.reserve(1, 1) is not None
    assert budget.reserve(1, 1) is None
    assert not budget.may_free_up
    assert "the 2 requests" in budget.shortage()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 1.0}, "without prices"),
        ({"price_per_million_input": -1.0}, "price_per_million_input is -1.0"),
        ({"price_per_million_output": float("nan")}, "price_per_million_output"),
        ({"price_per_million_input": 1.0, "budget": -1}, "budget is -1"),
        ({"max_requests": -1}, "max_requests is -1"),
    ],
)
def test_budgets_that_mean_nothing(settings, message):
    with pytest.raises(UsageError, match=message):
        Budget(**settings)
