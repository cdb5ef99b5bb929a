"""How an endpoint is asked about pairs, and how its answers become grade probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mr_st.annotation.endpoint.answers import ChatAnswer, label_probabilities, parse_grade, parse_grades
from mr_st.annotation.endpoint.prompt_many import ManyPairsPrompt, pair_keys
from mr_st.annotation.prompt import GradePrompt
from mr_st.errors import UsageError

__all__ = ["Questions"]

_TOKENS_A_GRADE = 4
_TOKENS_A_KEYED_GRADE, _TOKENS_AROUND = 20, 16


@dataclass(frozen=True)
class Questions:
    """The messages for one or several pairs, and the reading of their answer.

    Args:
        prompt: What is asked.
        most_pairs: In one request, 1 or more.
        use_logprobs: True: an answer without them is no answer; None: where there are any; False: never.
        temperature: Probabilities are raised to ``1 / temperature`` and scaled to sum 1 (calibration).
        reliability: The probability of a grade that was parsed, in (1 / G, 1]; the rest is spread evenly.
        max_answer_tokens: Of one answer; by the number of pairs when None.
        seed: Of the keys of several pairs.

    Raises:
        UsageError: settings out of range, or log-probabilities for what has none.
    """

    prompt: GradePrompt
    most_pairs: int = 1
    use_logprobs: bool | None = None
    temperature: float = 1.0
    reliability: float = 1.0
    max_answer_tokens: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        labels = self.prompt.labels
        if self.most_pairs < 1:
            raise UsageError(f"pairs_per_request is {self.most_pairs}; it must be 1 or more")
        if self.use_logprobs and (self.most_pairs > 1 or len(labels) > 10):
            raise UsageError(
                "use_logprobs=True needs one pair a request and ten grades at most (one token holds the answer); "
                "leave it out"
            )
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        if not 1 / len(labels) < self.reliability <= 1:
            raise UsageError(f"reliability is {self.reliability}; it must be above 1/{len(labels)} and at most 1")
        if self.max_answer_tokens is not None and self.max_answer_tokens < 1:
            raise UsageError(f"max_answer_tokens is {self.max_answer_tokens}; it must be 1 or more")

    @property
    def asks_logprobs(self) -> bool | None:
        """True: they must come; None: they are asked for; False: they are not."""
        return False if self.most_pairs > 1 or len(self.prompt.labels) > 10 else self.use_logprobs

    @property
    def settings(self) -> dict[str, Any]:
        """All that grades and probabilities depend on besides model and pair, for identities."""
        prompt = self.prompt.settings if self.most_pairs == 1 else ManyPairsPrompt(self.prompt).settings
        return {
            "prompt": prompt,
            "pairs_per_request": self.most_pairs,
            "use_logprobs": self.use_logprobs,
            "temperature": float(self.temperature),
            "reliability": float(self.reliability),
            "max_answer_tokens": self.max_answer_tokens,
            "seed": self.seed,
        }

    def messages(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
        """The chat that asks about different (query, item) pairs."""
        if len(pairs) == 1:
            return self.prompt.messages(*pairs[0])
        return ManyPairsPrompt(self.prompt).messages(pair_keys(pairs, self.seed))

    def max_tokens(self, n_pairs: int) -> int:
        """How long the answer may be."""
        if self.max_answer_tokens is not None:
            return self.max_answer_tokens
        return _TOKENS_A_GRADE if n_pairs == 1 else _TOKENS_AROUND + n_pairs * _TOKENS_A_KEYED_GRADE

    def read(
        self, pairs: Sequence[tuple[str, str]], answer: ChatAnswer
    ) -> tuple[dict[tuple[str, str], np.ndarray], str]:
        """The probabilities, float64 (G,), of each pair that the answer grades, and what is wrong for the others."""
        labels = self.prompt.labels
        if not answer.text.strip():
            return {}, "empty answer"
        if len(pairs) > 1:
            keyed = pair_keys(pairs, self.seed)
            grades = parse_grades(answer.text, keyed, labels)
            return {keyed[key]: self._certain(grade) for key, grade in grades.items()}, "missing or wrong labels"
        grade = parse_grade(answer.text, labels)
        if grade is None:
            return {}, "wrong label"
        found = label_probabilities(answer.logprobs, labels) if self.asks_logprobs is not False else None
        if found is None and self.asks_logprobs:
            return {}, "no log-probabilities"
        return {pairs[0]: self._certain(grade) if found is None else self._calibrated(found)}, ""

    def _certain(self, grade: int) -> np.ndarray:
        rest = (1 - self.reliability) / (len(self.prompt.labels) - 1)
        probabilities = np.full(len(self.prompt.labels), rest)
        probabilities[grade] = self.reliability
        return probabilities

    def _calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        scaled = (probabilities / probabilities.max()) ** (1 / self.temperature)
        return scaled / scaled.sum()
