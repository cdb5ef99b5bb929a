"""Which labels engagement contradicts: the first step of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mr_st.annotation.audit.engagement_fit import SIGNALS, EngagementCounts, fit_engagement
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.errors import UsageError

__all__ = ["FLAG_SCHEMA", "LITTLE", "MUCH", "FlagSettings", "Flagged", "flag_disagreements", "flag_pairs"]

MUCH, LITTLE = "much engagement", "little engagement"

FLAG_SCHEMA = {
    "query_id": pl.String,
    "item_id": pl.String,
    "grade": pl.Int8,
    "split": pl.String,
    "reason": pl.String,
    "impressions": pl.Int64,
    "clicks": pl.Int64,
    "add_to_carts": pl.Int64,
    "purchases": pl.Int64,
    "expected": pl.Float64,
    "expected_add_to_carts": pl.Float64,
    "expected_purchases": pl.Float64,
    "score": pl.Float64,
}
"""Columns of a table of flagged pairs: ``grade`` is the label; ``expected`` (clicks) and the two beside it say what an
item of the label's grade would have had in this query, shown so often (null where the settings leave that signal out);
``score`` is the probability, in 0..1, that
the label is wrong, given the label and the log."""


@dataclass(frozen=True)
class FlagSettings:
    """When engagement contradicts a label.

    Args:
        min_probability: A pair is flagged from this probability of a wrong label on, in 0..1. A flag costs a second
            judgment, so it need not be sure.
        min_evidence: And where the log speaks against the label by at least this much: natural logarithm of how many
            times likelier the log is under the other grades; 0 for any speaking against it.
        min_impressions: Pairs that were shown less often are passed over.
        middle: Flag grades between the lowest and the highest too, in both directions (ours; the paper flags the
            lowest with much and the highest with little engagement).
        label_accuracy: Share of labels that are taken to be right before the log is looked at.
        signals: Which counts are evidence: of ``clicks``, ``add_to_carts``, ``purchases``. Together they are steps of
            a funnel, each out of the one before, so that nothing is counted twice.
        query_level: Measure against the query's own breadth (paper); False takes one standard for all.
        item_appeal: Take into account how items do over all queries (ours).
        place: Take into account that an item shown in few of a query's searches stands low on the page (ours). Off,
            since it finds fewer wrong labels: such an item is also one that the engine thinks little of.

    Raises:
        UsageError: a number out of range, or an unknown signal.
    """

    min_probability: float = 0.2
    min_evidence: float = 0.0
    min_impressions: int = 5
    middle: bool = True
    label_accuracy: float = 0.9
    signals: tuple[str, ...] = SIGNALS
    query_level: bool = True
    item_appeal: bool = True
    place: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability <= 1 or not 0.5 < self.label_accuracy < 1:
            raise UsageError(
                f"FlagSettings: min_probability {self.min_probability} must lie in 0..1 and label_accuracy "
                f"{self.label_accuracy} between .5 and 1"
            )
        if self.min_impressions < 1 or not self.min_evidence >= 0:
            raise UsageError(
                f"FlagSettings: min_impressions {self.min_impressions} must be 1 or more, min_evidence "
                f"{self.min_evidence} 0 or more"
            )
        if not self.signals or not set(self.signals) <= set(SIGNALS):
            raise UsageError(f"FlagSettings: signals {list(self.signals)}; name one or more of {', '.join(SIGNALS)}")
        object.__setattr__(self, "signals", tuple(signal for signal in SIGNALS if signal in self.signals))


@dataclass(frozen=True, eq=False)
class Flagged:
    """Pairs whose label engagement contradicts, and how many were looked at.

    Args:
        table: Columns of :data:`FLAG_SCHEMA`, highest score first.
        counts: ``annotated``, ``sampled``, of these ``shown`` (in the log), ``judged`` (shown often enough, of a grade
            that may be flagged) and ``flagged``.
        sampled: Every sampled pair, flagged or not, sorted by ids: the same columns, null where a pair was never
            shown, and ``is_flagged``.
    """

    table: pl.DataFrame
    counts: dict[str, int]
    sampled: pl.DataFrame


def flag_disagreements(
    dataset: GradedDataset,
    *,
    share: float = 0.3,
    settings: FlagSettings | None = None,
    seed: int = 0,
    splits: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Sample the annotated pairs and keep those whose label and engagement disagree.

    Args:
        dataset: Judgments, and the engagement of their pairs.
        share: Of the annotated pairs that are looked at, in 0..1 (paper: .3).
        settings: When they disagree.
        seed: Of the sample; it depends on nothing else than the pairs.
        splits: Whose judgments; None for all. Labels of other splits are not read.

    Returns:
        Columns of :data:`FLAG_SCHEMA`, highest score first; the order of the dataset's rows does not matter.

    Raises:
        UsageError: no engagement, no such split, or a share out of range.

    Source: section 3.2 of arXiv 2602.17654 for the procedure; the rule is ours.

    Example:
        >>> shop = GradedDataset.load("marketplace", size="tiny", engagement=True)
        >>> flags = flag_disagreements(shop, share=1.0)
        >>> flags["score"].is_sorted(descending=True), set(flags["reason"]) <= {"much engagement", "little engagement"}
        (True, True)
    """
    return flag_pairs(dataset, share=share, settings=settings, seed=seed, splits=splits).table


def flag_pairs(
    dataset: GradedDataset,
    *,
    share: float = 0.3,
    settings: FlagSettings | None = None,
    seed: int = 0,
    splits: Sequence[str] | None = None,
) -> Flagged:
    """As :func:`flag_disagreements`, with the counts that a report needs."""
    settings = settings or FlagSettings()
    if not 0 < share <= 1:
        raise UsageError(f"share is {share}; it must lie above 0 and be 1 at most")
    scored = _score(dataset, settings, splits)
    sampled = scored.filter(_sampled(len(scored), share, seed))
    grades = pl.lit(True) if settings.middle else pl.col("grade").is_in([0, dataset.scale.n_grades - 1])
    is_judged = grades & (pl.col("impressions") >= settings.min_impressions)
    speaks = (pl.col("evidence") >= settings.min_evidence) & (pl.col("evidence") > 0)
    disagrees = speaks & (pl.col("score") >= settings.min_probability)
    sampled = sampled.with_columns(
        is_judged.fill_null(False).alias("is_judged"), (is_judged & disagrees).fill_null(False).alias("is_flagged")
    )
    columns = [pl.col(name).cast(kind) for name, kind in FLAG_SCHEMA.items()]
    flags = sampled.filter("is_flagged").select(columns)
    counts = {
        "annotated": len(scored), "sampled": len(sampled), "shown": len(sampled) - sampled["impressions"].null_count(),
        "judged": int(sampled["is_judged"].sum()), "flagged": len(flags),
    }  # fmt: skip
    order = ["score", "query_id", "item_id"]
    return Flagged(flags.sort(order, descending=[True, False, False]), counts, sampled.select(*columns, "is_flagged"))


def _score(dataset: GradedDataset, settings: FlagSettings, splits: Sequence[str] | None) -> pl.DataFrame:
    """Every annotated pair, sorted by ids; the columns of a flag and ``evidence``, null where it was never shown."""
    if dataset.engagement is None:
        raise UsageError(
            f"{dataset.name}: no engagement; the audit compares labels with clicks, carts and purchases, so give the "
            "dataset an engagement table (the marketplace has one: engagement=True, or -o engagement=true on the line)"
        )
    for split in splits or ():
        if split not in dataset.splits:
            raise UsageError(f"{dataset.name}: no split {split!r}; the judgments have {', '.join(dataset.splits)}")
    keys = ["query_id", "item_id"]
    judgments: Any = pl.DataFrame(arrow_table(dataset.judgments)).select(*keys, "grade", "split")
    if splits is not None:
        judgments = judgments.filter(pl.col("split").is_in(list(splits)))
    judgments = judgments.sort(*keys)
    shown: Any = pl.DataFrame(arrow_table(dataset.engagement)).filter(pl.col("impressions") > 0).sort(*keys)
    absent = [pl.lit(None, dtype=kind).alias(name) for name, kind in FLAG_SCHEMA.items() if name not in judgments]
    absent.append(pl.lit(None, dtype=pl.Float64).alias("evidence"))
    shown = shown.with_columns(pl.col("impressions").max().over("query_id").alias("most"))
    log = shown.join(judgments, on=keys, how="inner", maintain_order="left")
    if log.is_empty():
        return judgments.with_columns(absent)
    labels = log["grade"].to_numpy().astype(np.int64)
    counts = EngagementCounts(
        (log["query_id"].rank("dense") - 1).to_numpy().astype(np.int64),
        (log["item_id"].rank("dense") - 1).to_numpy().astype(np.int64),
        log.select("impressions", *SIGNALS).to_numpy(),
        log["most"].to_numpy(),
        labels,
    )
    fit = fit_engagement(
        counts, dataset.scale.n_grades, label_accuracy=settings.label_accuracy, signals=settings.signals,
        query_level=settings.query_level, item_appeal=settings.item_appeal, place=settings.place,
    )  # fmt: skip
    rows, own = np.arange(len(labels)), labels
    posterior, prior = fit.posterior, fit.priors
    others = posterior.copy()
    others[rows, own] = 0.0
    score = np.minimum(others.sum(axis=1), 1.0)
    tiny = np.finfo(np.float64).tiny
    odds = np.log(np.maximum(score, tiny)) - np.log(np.maximum(posterior[rows, own], tiny))
    above = (others * (np.arange(others.shape[1]) > own[:, None])).sum(axis=1)
    expected = fit.expected[rows, own]
    names = dict(zip(SIGNALS, ("expected", "expected_add_to_carts", "expected_purchases"), strict=True))
    log = log.select(*keys, "impressions", *SIGNALS).with_columns(
        *(pl.Series(names[signal], expected[:, n]) for n, signal in enumerate(settings.signals)),
        *(pl.lit(None, pl.Float64).alias(name) for signal, name in names.items() if signal not in settings.signals),
        pl.Series("score", score),
        pl.Series("evidence", odds - np.log((1 - prior[rows, own]) / prior[rows, own])),
        pl.Series("reason", np.where(above > score / 2, MUCH, LITTLE)),
    )
    return judgments.join(log, on=keys, how="left", maintain_order="left")


def _sampled(n: int, share: float, seed: int) -> pl.Series:
    """bool (n,): exactly ``round(share * n)`` of n rows."""
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng([seed, 6]).permutation(n)[: round(share * n)]] = True
    return pl.Series(chosen)
