"""A channel that makes labels wrong in known ways, and keeps the truth beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.errors import UsageError

__all__ = ["DistortedLabels", "LabelNoise", "distort_labels"]


@dataclass(frozen=True)
class LabelNoise:
    """How often a judge gives each grade where another is true.

    Args:
        confusion: (G, G) rows of probabilities: ``confusion[true][given]``; each row sums to 1.

    Raises:
        UsageError: not square, a row that does not sum to 1, or a probability outside 0..1.

    Example:
        >>> LabelNoise.near(0.2, n_grades=3).confusion
        ((0.8, 0.2, 0.0), (0.1, 0.8, 0.1), (0.0, 0.2, 0.8))
    """

    confusion: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        table = np.asarray(self.confusion, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] != table.shape[1]:
            raise UsageError(
                f"label noise: a square table of probabilities is needed, a row a grade; got {table.shape}"
            )
        if (table < 0).any() or not np.allclose(table.sum(axis=1), 1.0):
            raise UsageError("label noise: each row must hold probabilities that sum to 1")

    @classmethod
    def near(cls, rate: float, n_grades: int = 3) -> LabelNoise:
        """A judge who errs with probability ``rate``, and then by one grade: people confuse neighbours.

        Raises:
            UsageError: a rate outside 0..1, or fewer than two grades.
        """
        return cls._spread(rate, n_grades, lambda true, given: abs(true - given) == 1)

    @classmethod
    def uniform(cls, rate: float, n_grades: int = 3) -> LabelNoise:
        """A judge who errs with probability ``rate``, and then gives any other grade: a slip of the hand.

        Raises:
            UsageError: a rate outside 0..1, or fewer than two grades.
        """
        return cls._spread(rate, n_grades, lambda true, given: true != given)

    @classmethod
    def _spread(cls, rate: float, n_grades: int, goes: Callable[[int, int], bool]) -> LabelNoise:
        if not 0.0 <= rate <= 1.0 or n_grades < 2:
            raise UsageError(
                f"label noise: rate {rate} with {n_grades} grades; give a rate in 0..1 and 2 or more grades"
            )
        rows = []
        for true in range(n_grades):
            wrong = [given for given in range(n_grades) if goes(true, given)]
            rows.append(
                tuple(1 - rate if g == true else rate / len(wrong) if g in wrong else 0.0 for g in range(n_grades))
            )
        return cls(tuple(rows))

    def apply(self, grades: np.ndarray | Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """Draw what the judge says, int8 (n,), for true ``grades``, integers (n,).

        Raises:
            UsageError: a grade that the table has no row for.
        """
        grades = np.asarray(grades, dtype=np.int64)
        if len(grades) and not 0 <= grades.min() <= grades.max() < len(self.confusion):
            raise UsageError(f"label noise: made for grades 0..{len(self.confusion) - 1}; found others")
        ladder = np.cumsum(np.asarray(self.confusion), axis=1)[grades]
        return np.minimum((rng.random((len(grades), 1)) >= ladder).sum(axis=1), len(self.confusion) - 1).astype(
            np.int8
        )


@dataclass(frozen=True)
class DistortedLabels:
    """A dataset with wrong labels, and what was true.

    Args:
        dataset: Its judgments of the distorted splits carry the noisy grades and the source ``noisy:...``.
        truth: query_id, item_id, split, grade (given) and true_grade, a row for each judgment, in their order.
    """

    dataset: GradedDataset
    truth: pl.DataFrame

    @property
    def error_rate(self) -> float:
        """Share of all judgments whose grade is wrong."""
        return float((self.truth["grade"] != self.truth["true_grade"]).to_numpy().mean())


def distort_labels(
    dataset: GradedDataset, noise: LabelNoise, seed: int = 0, splits: Sequence[str] = ("train",)
) -> DistortedLabels:
    """Pass the grades of some splits through ``noise``; the others, and everything else, stay as they are.

    Args:
        dataset: Judgments that are taken for true.
        noise: How the judge errs.
        seed: A whole number from 0 up.
        splits: Splits to distort.

    Raises:
        UsageError: there is no such split, or the noise is for another number of grades.
    """
    for split in splits:
        if split not in dataset.splits:
            raise UsageError(f"{dataset.name}: no split {split!r}; the judgments have {', '.join(dataset.splits)}")
    if len(noise.confusion) != dataset.scale.n_grades:
        raise UsageError(f"label noise: made for {len(noise.confusion)} grades; {dataset.name} has {dataset.scale}")
    judgments = pl.DataFrame(arrow_table(dataset.judgments))
    given = noise.apply(judgments["grade"].to_numpy(), np.random.default_rng([seed, 5]))
    is_noisy = pl.col("split").is_in(splits)
    noisy = judgments.with_columns(
        pl.when(is_noisy).then(pl.Series(given)).otherwise(pl.col("grade")).alias("grade"),
        pl.when(is_noisy).then("noisy:" + pl.col("source")).otherwise(pl.col("source")).alias("source"),
    )
    truth = noisy.select("query_id", "item_id", "split", "grade", judgments["grade"].alias("true_grade"))
    source = {**dataset.source, "label_noise": {"confusion": [list(row) for row in noise.confusion], "seed": seed}}
    distorted = GradedDataset.from_tables(
        dataset.queries, dataset.items, noisy, dataset.engagement,
        scale=dataset.scale, name=dataset.name, license=dataset.license, source=source,
    )  # fmt: skip
    return DistortedLabels(distorted, truth)
