"""What an endpoint may be asked: requests and tokens a minute, pauses it wants, and a budget that is never passed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mr_st.annotation.endpoint.answers import Usage
from mr_st.errors import UsageError

__all__ = ["Budget", "RateLimits", "Reservation", "TokenBucket", "most_tokens", "retry_after"]

_TOKENS_A_MESSAGE = 16  # what a chat template may add around a message


def most_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """A bound on the tokens of chat messages for any tokenizer: one for each byte of UTF-8, and the template's.

    Example:
        >>> most_tokens([{"role": "user", "content": "tasse à café"}])
        30
    """
    return sum(len(m["content"].encode("utf-8", "surrogatepass")) + _TOKENS_A_MESSAGE for m in messages)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds, 0 or more, that a response's ``retry-after-ms`` or ``Retry-After`` (seconds or a date) asks to wait.

    Args:
        headers: With names in lower case, or a mapping that does not mind.
        now: With a time zone; the present when None.

    Example:
        >>> retry_after({"retry-after": "2"}), retry_after({"retry-after-ms": "250"}), retry_after({})
        (2.0, 0.25, None)
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError, IndexError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


class TokenBucket:
    """So many units a minute, evenly, with at most one second's worth (or one unit) at once.

    A request may take more than the bucket holds; the debt is waited for by the next one.

    Args:
        per_minute: Above 0; None for no limit.
        clock: Seconds.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic):
        self._rate = None if per_minute is None else per_minute / 60
        self._capacity = max(1.0, self._rate or 0.0)
        self._level = self._capacity
        self._clock, self._at = clock, clock()

    def delay(self) -> float:
        """Seconds until something may be taken; 0 where it may be now."""
        if self._rate is None:
            return 0.0
        self._fill(0.0)
        missing = min(1.0, self._capacity) - self._level
        return missing / self._rate if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        """Take ``amount``; a negative one gives back."""
        self._fill(-amount)

    def _fill(self, amount: float) -> None:
        if self._rate is not None:
            now = self._clock()
            self._level = min(self._capacity, self._level + (now - self._at) * self._rate + amount)
            self._at = now


class RateLimits:
    """Requests a minute, tokens a minute and the pause that a 429 asks for, shared by all workers of an annotator.

    Args:
        requests_per_minute: None for no limit.
        tokens_per_minute: Input and output together; None for no limit.
        clock: Seconds.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        for name, value in (
            ("requests_per_minute", requests_per_minute),
            ("tokens_per_minute", tokens_per_minute),
        ):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; it must be above 0 (leave it out for no limit)")
        self._requests = TokenBucket(requests_per_minute, clock)
        self._tokens = TokenBucket(tokens_per_minute, clock)
        self._clock, self._paused_until = clock, -math.inf
        self._used = self._most = 0
        self._lock = threading.Lock()

    def expected(self, most: int) -> float:
        """How many tokens a request that can have ``most`` is expected to have, going by those before it."""
        return most * self._used / self._most if self._most else float(most)

    def take(self, tokens: float) -> float:
        """Take a request of so many tokens: 0 where it may go now, else the seconds to wait and ask again."""
        with self._lock:
            delay = max(self._requests.delay(), self._tokens.delay(), self._paused_until - self._clock())
            if delay > 0:
                return delay
            self._requests.take(1)
            self._tokens.take(tokens)
            return 0.0

    def settle(self, taken: float, most: int, used: int) -> None:
        """Correct what was taken for a request of at most ``most`` tokens, once it is known that it had ``used``."""
        with self._lock:
            self._tokens.take(used - taken)
            if used:
                self._used, self._most = self._used + used, self._most + most

    def pause(self, seconds: float) -> None:
        """Let nobody send for so long: what a 429 means for every worker, not only for the one that got it."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)


@dataclass(frozen=True)
class Reservation:
    """What a request that is under way may cost at most."""

    input_tokens: int
    output_tokens: int
    cost: float


class Budget:
    """Money and requests that may be spent. A request is paid for in advance at its highest price and settled after.

    Args:
        price_per_million_input: Of a million input tokens, in any currency.
        price_per_million_output: Of a million output tokens.
        budget: What may be spent in that currency; None for no limit.
        max_requests: How many requests may be sent; None for no limit.

    Raises:
        UsageError: a negative figure, or a budget where nothing has a price.

    Example:
        >>> budget = Budget(1.0, 2.0, budget=0.001)
        >>> first = budget.reserve(600, 100)
        >>> budget.reserve(600, 100) is None
        True
        >>> round(budget.settle(first, Usage(200, 1)), 6)
        0.000202
    """

    def __init__(
        self,
        price_per_million_input: float = 0.0,
        price_per_million_output: float = 0.0,
        budget: float | None = None,
        max_requests: int | None = None,
    ):
        for name, value in (
            ("price_per_million_input", price_per_million_input),
            ("price_per_million_output", price_per_million_output),
            ("budget", budget),
            ("max_requests", max_requests),
        ):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} is {value}; it must be 0 or more")
        if budget is not None and not price_per_million_input + price_per_million_output > 0:
            raise UsageError("a budget means nothing without prices; give price_per_million_input and _output")
        self._prices = (price_per_million_input / 1e6, price_per_million_output / 1e6)
        self.budget, self.max_requests = budget, max_requests
        self.requests = self.input_tokens = self.output_tokens = self.n_estimated = 0
        self._reserved, self._under_way, self._highest_ratio = 0.0, 0, 1.0
        self._lock = threading.Lock()

    @property
    def cost(self) -> float:
        """What is spent: the prices of all tokens that are booked."""
        return self._price(self.input_tokens, self.output_tokens)

    @property
    def may_free_up(self) -> bool:
        """Whether requests are under way whose reservation may turn out too high."""
        return self._under_way > 0 and (self.max_requests is None or self.requests < self.max_requests)

    def reserve(self, input_tokens: int, output_tokens: int) -> Reservation | None:
        """Set aside what a request may cost at most; None where that is more than is left."""
        with self._lock:
            most = [math.ceil(tokens * self._highest_ratio) for tokens in (input_tokens, output_tokens)]
            reservation = Reservation(most[0], most[1], self._price(*most))
            if self.max_requests is not None and self.requests >= self.max_requests:
                return None
            if self.budget is not None and self.cost + self._reserved + reservation.cost > self.budget:
                return None
            self.requests += 1
            self._under_way += 1
            self._reserved += reservation.cost
            return reservation

    def settle(self, reservation: Reservation, usage: Usage | None, billed: bool = True) -> float:
        """Book what a request cost and give the rest of its reservation back.

        Args:
            reservation: Of :meth:`reserve`.
            usage: As the server counted; None counts all that was reserved.
            billed: False for a request that the server refused.

        Returns:
            What it cost.
        """
        with self._lock:
            self._reserved -= reservation.cost
            self._under_way -= 1
            if not self._under_way:
                self._reserved = 0.0  # no rounding left over
            if not billed:
                return 0.0
            self.n_estimated += usage is None
            counted = usage or Usage(reservation.input_tokens, reservation.output_tokens)
            self.input_tokens += counted.input_tokens
            self.output_tokens += counted.output_tokens
            cost = self._price(counted.input_tokens, counted.output_tokens)
            if cost > reservation.cost > 0:
                # a server that counts more than a token a byte (a hidden prompt): reserve more from now on
                self._highest_ratio *= cost / reservation.cost
            return cost

    def shortage(self) -> str:
        """What is spent, for a message."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            return f"the {self.max_requests:,} requests that max_requests allows are sent"
        return f"{self.cost:.6g} of the budget of {self.budget:.6g} is spent and one more request might pass it"

    def _price(self, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self._prices[0] + output_tokens * self._prices[1]
