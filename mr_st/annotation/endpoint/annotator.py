"""The annotator behind an OpenAI-compatible chat-completions endpoint: hosted, paid, slow and now and then faulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mr_st.annotation.endpoint.client import ChatClient, ChatServer
from mr_st.annotation.endpoint.limits import Budget, RateLimits
from mr_st.annotation.endpoint.questions import Questions
from mr_st.annotation.endpoint.run import EndpointRun, Outcome, PairJob, RetryRules
from mr_st.annotation.guideline import Guideline
from mr_st.annotation.prompt import GradePrompt
from mr_st.annotation.protocol import Annotations, BudgetSpentError, GradedPart, PairTable, UnansweredError
from mr_st.errors import MrStError, UsageError
from mr_st.identity import settings_hash

__all__ = ["EndpointAnnotator", "EndpointStats"]

_ROUNDING = 1e-12  # of sums of costs


@dataclass(frozen=True)
class EndpointStats:
    """What an endpoint annotator has done so far, over all its calls.

    Args:
        requests: Sent, repeats included.
        retries: How often a pair was asked again, by reason.
        answered: Different pairs that got a grade.
        unanswered: Different pairs that were given up.
        input_tokens: As the server counted; where it gave no count for what it may charge, the most there can be.
        output_tokens: Likewise.
        cost: In the currency of the prices, at those tokens.
        estimated_requests: How many of the requests the server gave no count for.
    """

    requests: int
    retries: Mapping[str, int]
    answered: int
    unanswered: int
    input_tokens: int
    output_tokens: int
    cost: float
    estimated_requests: int


class EndpointAnnotator:
    """Grade pairs by asking a chat model at any OpenAI-compatible endpoint.

    Pairs of equal texts are asked about once. With one pair a request the answer must be the grade's number and
    nothing else; where the server gives log-probabilities, those of the label tokens make the probabilities and the
    grade is the most probable one (the lower of two that are equal); where it gives none, the grade is certain up to
    ``reliability``. With several pairs a request the answer must be a JSON object that gives each pair's key its
    grade; what is missing or wrong in it is asked again.

    Timeouts, cut connections, status 408, 409, 429 and 5xx, broken, empty and wrong answers are asked again, after
    waits that grow (exponential, full jitter) or as long as the server says; a 429 pauses all requests. A wrong
    address, model or key ends the call at once; so do three pairs in a row that the server did not answer at all.

    Args:
        model: The model's name at the server.
        base_url: The address that ``/chat/completions`` is appended to, e.g. ``https://host/v1``.
        api_key_env: NAME of the environment variable that holds the key, read when requests are sent and kept
            nowhere; None for a server that wants none.
        guideline: What the grades mean: a bundled guideline's name, a file, or a Guideline.
        defended: See :class:`~mr_st.annotation.prompt.GradePrompt`.
        use_logprobs: None: use log-probabilities where the server gives them; True: insist; False: only parse.
        pairs_per_request: More than 1 is cheaper and parses only.
        concurrency: Requests under way at once.
        timeout: Seconds for one request in all.
        max_attempts: Requests for one pair before it is given up.
        requests_per_minute: None for no limit.
        tokens_per_minute: Input and output; None for no limit.
        price_per_million_input: Of input tokens, in any currency.
        price_per_million_output: Of output tokens.
        budget: What this object may spend in all, in that currency. Before a request is sent, the most that it can
            cost is set aside, so the budget is not passed (unless the server counts more tokens than there are bytes).
        max_requests: What this object may send in all.
        temperature: Calibrates probabilities from log-probabilities: ``p^(1/temperature)``, scaled. (The model itself
            is asked at sampling temperature 0.)
        reliability: The probability given to a grade that was parsed, in (1/G, 1].
        max_answer_tokens: Of one answer; 4 for one pair when None. Models that think aloud need far more.
        first_backoff: Seconds; the longest first wait before asking again.
        longest_wait: Seconds; bounds every wait, also what the server asks for (a warning says so then).
        seed: Sent with each request (until the server refuses it), and of keys and jitter.
        extra_body: Further members of the request's body; they override ours. No place for keys.
        on_unanswered: What :meth:`grade` does about pairs without an answer: raise, or give them all grades equally
            (grade 0). :meth:`grade_in_parts` leaves them out either way.

    Raises:
        UsageError: settings that cannot mean anything; a key where its variable's name is expected.
        DataError: the guideline cannot be read.

    Example:
        >>> annotator = EndpointAnnotator("some-model", base_url="http://127.0.0.1:8000/v1", budget=None)
        >>> annotator.n_grades, annotator.stats.requests
        (3, 0)
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str | None = None,
        guideline: str | Path | Guideline = "three_grades",
        defended: bool = True,
        use_logprobs: bool | None = None,
        pairs_per_request: int = 1,
        concurrency: int = 8,
        timeout: float = 30.0,
        max_attempts: int = 8,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        price_per_million_input: float = 0.0,
        price_per_million_output: float = 0.0,
        budget: float | None = None,
        max_requests: int | None = None,
        temperature: float | None = None,
        reliability: float = 1.0,
        max_answer_tokens: int | None = None,
        first_backoff: float = 0.5,
        longest_wait: float = 60.0,
        seed: int = 0,
        extra_body: Mapping[str, Any] | None = None,
        on_unanswered: Literal["error", "unsure"] = "error",
    ):
        for name, value, least in (("concurrency", concurrency, 1), ("max_attempts", max_attempts, 1)):
            if value < least:
                raise UsageError(f"{name} is {value}; it must be {least} or more")
        for name, seconds in (("timeout", timeout), ("first_backoff", first_backoff), ("longest_wait", longest_wait)):
            if not 0 < seconds < float("inf"):
                raise UsageError(f"{name} is {seconds}; it must be above 0 seconds")
        if on_unanswered not in ("error", "unsure"):
            raise UsageError(f"on_unanswered is {on_unanswered!r}; expected error or unsure")
        self.server = ChatServer(model, base_url, api_key_env)
        guideline = guideline if isinstance(guideline, Guideline) else Guideline.load(guideline)
        self._questions = Questions(
            GradePrompt(guideline, defended),
            pairs_per_request,
            use_logprobs,
            1.0 if temperature is None else temperature,
            reliability,
            max_answer_tokens,
            seed,
        )
        self.n_grades = guideline.n_grades
        self._concurrency, self._timeout, self._seed = concurrency, timeout, seed
        self._extra_body, self.on_unanswered = dict(extra_body or {}), on_unanswered
        self._rules = RetryRules(max_attempts, first_backoff, longest_wait)
        self._limits = RateLimits(requests_per_minute, tokens_per_minute)
        self._budget = Budget(price_per_million_input, price_per_million_output, budget, max_requests)
        self._retries: Counter[str] = Counter()
        self._answered = self._unanswered = 0
        self._runs: list[EndpointRun] = []

    @property
    def identity(self) -> str:
        """``endpoint-`` and a hash of model, address, prompt, and how answers are sampled and read."""
        settings = {
            "model": self.server.model,
            "base_url": self.server.shown_url,
            "questions": self._questions.settings,
            "extra_body": self._extra_body,
        }
        return f"endpoint-{settings_hash(settings)}"

    def __repr__(self) -> str:
        return f"EndpointAnnotator({self.server.model!r}, base_url={self.server.shown_url!r})"

    @property
    def stats(self) -> EndpointStats:
        """The figures so far; may be read while a call is running."""
        budget = self._budget
        return EndpointStats(
            budget.requests,
            dict(self._retries),
            self._answered,
            self._unanswered,
            budget.input_tokens,
            budget.output_tokens,
            budget.cost,
            budget.n_estimated,
        )

    def grade(self, pairs: PairTable) -> Annotations:
        """Grade every pair.

        Raises:
            UnansweredError: pairs without a usable answer; the first is named. Not with ``on_unanswered="unsure"``.
            BudgetSpentError: before all were graded; what was paid for is lost here: keep labels in a store.
            MrStError: as :meth:`grade_in_parts`.
        """
        probabilities = np.full((len(pairs), self.n_grades), 1 / self.n_grades, dtype=np.float32)
        missing: list[tuple[int, str]] = []
        for outcome in self._outcomes(pairs):
            if outcome.probabilities is None:
                missing += [(row, outcome.job.last_fault) for row in outcome.job.rows]
            else:
                probabilities[outcome.job.rows] = outcome.probabilities
        if missing and self.on_unanswered == "error":
            missing.sort()
            row, fault = missing[0]
            message = (
                f"{len(missing):,} of {len(pairs):,} pairs got no usable answer, first pair {row + 1:,} "
                f"(query {pairs.query_ids[row]!r}, item {pairs.item_ids[row]!r}): {fault}; run again, or see that the "
                "model answers with the grade alone"
            )
            raise UnansweredError(message, np.array([row for row, _ in missing]))
        return _annotations(probabilities)

    def stop(self) -> None:
        """Send nothing more: :meth:`grade_in_parts` ends with the answers that are under way. From any thread."""
        for run in list(self._runs):
            run.stop()

    def grade_in_parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        """Grade the pairs and yield what has come in; a part's cost includes its pairs' earlier, useless answers.

        What was paid for pairs that got no usable answer comes as a last part without rows.

        Raises:
            BudgetSpentError: budget or requests are spent; all that was paid for has been yielded.
            UsageError: the key's environment variable is not set.
            MissingExtraError: openai is not installed.
            MrStError: the server refuses the key, the model or every request, or does not answer.
        """
        before, told = self._budget.cost, 0.0
        ended: MrStError | None = None
        try:
            for several in self._batches(pairs):
                answered = [outcome for outcome in several if outcome.probabilities is not None]
                if not answered:
                    continue
                rows = [row for outcome in answered for row in outcome.job.rows]
                probabilities = [outcome.probabilities for outcome in answered for _ in outcome.job.rows]
                cost = sum(outcome.job.cost for outcome in answered)
                told += cost
                labels = _annotations(np.array(probabilities, dtype=np.float32))
                yield GradedPart(np.array(rows, dtype=np.int64), labels, cost)
        except MrStError as error:
            ended = error
        rest = self._budget.cost - before - told
        if rest > _ROUNDING:
            yield GradedPart(np.empty(0, dtype=np.int64), Annotations.concatenate([], self.n_grades), rest)
        if ended is not None:
            raise ended

    def _outcomes(self, pairs: PairTable) -> Iterator[Outcome]:
        for several in self._batches(pairs):
            yield from several

    def _batches(self, pairs: PairTable) -> Iterator[list[Outcome]]:
        jobs: dict[tuple[str, str], PairJob] = {}
        for row, texts in enumerate(zip(pairs.query_texts, pairs.item_texts, strict=True)):
            jobs.setdefault(texts, PairJob(texts)).rows.append(row)
        if not jobs:
            return
        asks_logprobs = self._questions.asks_logprobs
        client = ChatClient(self.server, self._timeout, asks_logprobs, self._seed, self._extra_body)
        run = EndpointRun(
            client,
            self._questions,
            self._rules,
            self._limits,
            self._budget,
            self._concurrency,
            self._retries,
            self._seed,
        )
        n_graded = 0
        self._runs.append(run)
        try:
            for several in run.outcomes(list(jobs.values())):
                for outcome in several:
                    is_answered = outcome.probabilities is not None
                    self._answered += is_answered
                    self._unanswered += not is_answered
                    n_graded += len(outcome.job.rows) * is_answered
                yield several
        except BudgetSpentError as error:
            raise BudgetSpentError(
                f"{error}: {n_graded:,} of {len(pairs):,} pairs are graded; raise the limit and run again for the rest"
            ) from None
        finally:
            self._runs.remove(run)


def _annotations(probabilities: np.ndarray) -> Annotations:
    return Annotations(probabilities.argmax(axis=1).astype(np.int8), probabilities)
