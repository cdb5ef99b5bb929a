"""Asking an endpoint about many pairs at once: who is asked when, what is asked again, and when to stop."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from mr_st.annotation.endpoint.client import ChatClient, RequestFault
from mr_st.annotation.endpoint.limits import Budget, RateLimits, Reservation, most_tokens
from mr_st.annotation.endpoint.questions import Questions
from mr_st.annotation.protocol import BudgetSpentError
from mr_st.errors import MrStError

__all__ = ["EndpointRun", "Outcome", "PairJob", "RetryRules"]

logger = logging.getLogger(__name__)

_FAILURES_TO_STOP = 3  # pairs in a row that the server did not answer at all, whatever was tried
_BAD_ANSWERS_TOGETHER = 2  # a pair whose answers in company were useless so often is asked alone
_HEAR_SIGNALS = 0.2  # seconds
_LOOK_AGAIN = 0.02  # seconds between looks at a budget or a reader that others must free


@dataclass(eq=False)
class PairJob:
    """A pair of texts on its way to a grade."""

    texts: tuple[str, str]
    rows: list[int] = field(default_factory=list)
    attempts: int = 0
    bad_answers: int = 0
    is_plain: bool = False
    cost: float = 0.0
    last_fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """A pair's grade probabilities, float64 (G,); None where it got no usable answer."""

    job: PairJob
    probabilities: np.ndarray | None


@dataclass(frozen=True)
class RetryRules:
    """When a request is sent again.

    Args:
        max_attempts: Requests for one pair, the first included.
        first_backoff: Seconds; the wait before attempt k + 1 is drawn evenly from 0 to ``first_backoff * 2^(k-1)``.
        longest_wait: Seconds; a bound on each wait, also on one that the server asks for.
    """

    max_attempts: int = 8
    first_backoff: float = 0.5
    longest_wait: float = 60.0


class _Stopped(MrStError):
    """The caller wants no more."""


class EndpointRun:
    """One pass over a table of pairs: workers in an event loop, outcomes handed over through a queue.

    Args:
        client: Sends the requests.
        questions: What they say.
        rules: When they are sent again.
        limits: How fast.
        budget: For how much.
        concurrency: Requests under way at once.
        retries: Counted up by reason; shared with the annotator.
        seed: Of the waits' jitter.
    """

    def __init__(
        self,
        client: ChatClient,
        questions: Questions,
        rules: RetryRules,
        limits: RateLimits,
        budget: Budget,
        concurrency: int,
        retries: Counter[str],
        seed: int = 0,
    ):
        self._client, self._questions, self._rules = client, questions, rules
        self._limits, self._budget, self._concurrency = limits, budget, concurrency
        self._retries, self._random = retries, random.Random(seed)
        self._events: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._ready: deque[PairJob] = deque()
        self._alone: deque[PairJob] = deque()
        self._fresh: Iterator[PairJob] = iter(())
        self._open = 0
        self._ended: BaseException | None = None
        self._failures, self._was_heard, self._last_failure = 0, False, ""
        self._said_too_long = self._is_cancelled = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Send nothing more; :meth:`outcomes` ends with the answers that are under way. From any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop may be closed already
                self._loop.call_soon_threadsafe(self._stop, _Stopped())

    def outcomes(self, jobs: Sequence[PairJob]) -> Iterator[list[Outcome]]:
        """Ask about all jobs and yield what has come in, in any order; a job comes once at most.

        The event loop has a thread of its own, so that this works where another loop is running. When the caller
        stops reading (Ctrl-C too), the requests under way are cut off.

        Raises:
            BudgetSpentError: after all that was paid for has been yielded.
            MrStError: the server refuses everything or answers nothing; also after the rest.
        """
        loop = self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run_loop, args=(loop, jobs), daemon=True, name="endpoint")
        thread.start()
        try:
            is_done = False
            while not is_done:
                events = [self._next_event()]
                while not self._events.empty():
                    events.append(self._events.get())
                is_done = not isinstance(events[-1], Outcome)
                if answered := [event for event in events if isinstance(event, Outcome)]:
                    yield answered
            if self._ended is not None and not isinstance(self._ended, _Stopped):
                raise self._ended
        finally:
            self._is_cancelled = True
            with suppress(RuntimeError):  # the loop may be closed already
                loop.call_soon_threadsafe(self._cancel)
            thread.join(timeout=5)

    def _next_event(self) -> Outcome | None:
        """Wait for it, awake now and then: some libraries (polars) keep a signal from ending a wait."""
        while True:
            with suppress(queue.Empty):
                return self._events.get(timeout=_HEAR_SIGNALS)

    def _run_loop(self, loop: asyncio.AbstractEventLoop, jobs: Sequence[PairJob]) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._work(jobs))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _work(self, jobs: Sequence[PairJob]) -> None:
        """Ask about all jobs; the last event is None."""
        self._fresh, self._open, self._task = iter(jobs), len(jobs), asyncio.current_task()
        try:
            if self._is_cancelled:
                return
            async with self._client, asyncio.TaskGroup() as workers:
                for _ in range(min(self._concurrency, len(jobs))):
                    workers.create_task(self._worker())
            if not self._was_heard and self._last_failure:
                self._ended = self._ended or MrStError(self._last_failure)
        except BaseExceptionGroup as group:
            self._ended = group.exceptions[0]
        except BaseException as error:
            self._ended = error
        finally:
            self._events.put(None)

    async def _worker(self) -> None:
        while (jobs := await self._next_jobs()) is not None:
            try:
                await self._ask(jobs)
            except MrStError as error:
                self._stop(error)

    def _stop(self, error: MrStError) -> None:
        """Send nothing more; what is under way is still waited for and handed over."""
        self._ended = self._ended or error
        self._changed.set()

    async def _next_jobs(self) -> list[PairJob] | None:
        while self._open and self._ended is None:
            if self._events.qsize() > 4 * self._concurrency:
                await asyncio.sleep(_LOOK_AGAIN)  # whoever keeps the answers lags behind: do not pile up paid ones
                continue
            if self._alone:
                return [self._alone.popleft()]
            jobs = [self._ready.popleft() for _ in range(min(len(self._ready), self._questions.most_pairs))]
            jobs += islice(self._fresh, self._questions.most_pairs - len(jobs))
            if jobs:
                return jobs
            self._changed.clear()
            await self._changed.wait()
        return None

    async def _ask(self, jobs: Sequence[PairJob]) -> None:
        texts = [job.texts for job in jobs]
        messages = self._questions.messages(texts)
        input_tokens, output_tokens = most_tokens(messages), self._questions.max_tokens(len(jobs))
        most = input_tokens + output_tokens
        expected = await self._wait_for_the_rate(most)
        reservation = await self._reserve(input_tokens, output_tokens)
        if reservation is None:
            return None
        usage, is_billed = None, True  # cut off by the caller: it may have been paid for
        try:
            answer = await self._client.ask(messages, output_tokens, any(job.is_plain for job in jobs))
            usage = answer.usage
        except RequestFault as fault:
            is_billed = fault.is_billed
            return self._on_fault(jobs, fault)
        except MrStError:
            is_billed = False
            raise
        finally:
            cost = self._budget.settle(reservation, usage, is_billed)
            for job in jobs:
                job.cost += cost / len(jobs)
            if usage is not None or not is_billed:
                used = usage.input_tokens + usage.output_tokens if usage else 0
                self._limits.settle(expected, most, used)
        self._failures, self._was_heard = 0, True
        graded, complaint = self._questions.read(texts, answer)
        left = [job for job in jobs if job.texts not in graded]
        for job in left:
            job.bad_answers += 1
        for job in jobs:
            if job.texts in graded:
                self._finish(job, graded[job.texts])
        self._again(left, complaint, f"the answer {answer.text[:40]!r} is no grade ({complaint})")
        return None

    async def _reserve(self, input_tokens: int, output_tokens: int) -> Reservation | None:
        """What one more request may cost; None where everything ends, because there is not enough left or else."""
        while self._ended is None:
            reservation = self._budget.reserve(input_tokens, output_tokens)
            if reservation is not None:
                return reservation
            if not self._budget.may_free_up:
                self._stop(BudgetSpentError(self._budget.shortage()))
            else:
                await asyncio.sleep(_LOOK_AGAIN)
        return None

    async def _wait_for_the_rate(self, most: int) -> float:
        """Wait until a request of at most so many tokens may be sent; how many were taken for it."""
        expected = self._limits.expected(most)
        while self._ended is None and (delay := self._limits.take(expected)) > 0:
            # not all at the same instant; and look up now and then, so that a stop is quick
            await asyncio.sleep(min(delay * self._random.uniform(1.0, 1.1), 1.0))
        return expected

    def _on_fault(self, jobs: Sequence[PairJob], fault: RequestFault) -> None:
        wait = fault.wait
        if wait is not None and wait > self._rules.longest_wait:
            if not self._said_too_long:
                limit = self._rules.longest_wait
                logger.warning("the server asks to wait %.0f s; waiting %.0f s (longest_wait)", wait, limit)
            self._said_too_long, wait = True, self._rules.longest_wait
        if fault.reason == "status 429":
            self._limits.pause(self._backoff(jobs[0].attempts + 1) if wait is None else wait)
        if not fault.is_counted:
            self._retries[fault.reason] += len(jobs)
            for job in jobs:
                job.is_plain = fault.try_plain
                self._give_back(job)
        elif fault.is_transient:
            self._again(jobs, fault.reason, fault.detail, wait, is_server=True)
        elif len(jobs) > 1:  # one of them may be what the server refuses
            for job in jobs:
                job.bad_answers = _BAD_ANSWERS_TOGETHER
            self._again(jobs, fault.reason, fault.detail, 0.0)
        else:
            self._fail(jobs[0], fault.detail, is_server=True)

    def _again(
        self, jobs: Sequence[PairJob], reason: str, detail: str, wait: float | None = None, is_server: bool = False
    ) -> None:
        """Ask the jobs of a request again, together, after a wait; those that were asked often enough are given up."""
        kept: list[PairJob] = []
        for job in jobs:
            job.attempts += 1
            if job.attempts >= self._rules.max_attempts:
                self._fail(job, f"{detail}, attempt {job.attempts}", is_server)
            else:
                kept.append(job)
        if kept:
            self._retries[reason] += len(kept)
            delay = self._backoff(max(job.attempts for job in kept)) if wait is None else wait
            asyncio.get_running_loop().call_later(delay, self._give_back, *kept)

    def _backoff(self, attempts: int) -> float:
        rules = self._rules
        return self._random.uniform(0, min(rules.longest_wait, rules.first_backoff * 2.0 ** min(attempts - 1, 60)))

    def _give_back(self, *jobs: PairJob) -> None:
        for job in jobs:
            (self._alone if job.bad_answers >= _BAD_ANSWERS_TOGETHER else self._ready).append(job)
        self._changed.set()

    def _finish(self, job: PairJob, probabilities: np.ndarray | None) -> None:
        self._open -= 1
        self._events.put(Outcome(job, probabilities))
        if not self._open:
            self._changed.set()

    def _fail(self, job: PairJob, detail: str, is_server: bool) -> None:
        job.last_fault = detail
        self._finish(job, None)
        if is_server:
            self._failures, self._last_failure = self._failures + 1, detail
            if self._failures >= _FAILURES_TO_STOP:
                self._stop(MrStError(f"{detail}; {self._failures} pairs in a row got no answer"))
