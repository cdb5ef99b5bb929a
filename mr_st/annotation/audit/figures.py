"""What an audit found, in the paper's terms: shares with their intervals by query, and errors before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from mr_st.annotation.agreement.intervals import bootstrap_sums, interval_of, query_rows_of
from mr_st.annotation.audit.tables import TIE, UNANSWERED

__all__ = ["PAPER", "audit_report", "share_interval"]

PAPER = {"sampled": 0.3, "disagreement": 0.234, "sided_with_judges": 0.818, "error_reduction": 0.0574}
"""Section 3.2 of arXiv 2602.17654: other data, judges and experts."""

_KEYS = ["query_id", "item_id"]


def share_interval(hits: np.ndarray, query_ids: list[str], seed: int = 0, n_resamples: int = 2000) -> dict[str, Any]:
    """A share of pairs with its 95 % interval over queries: value, low, high, n (pairs), queries; None: not defined.

    Args:
        hits: bool (n,).
        query_ids: The query of each pair; a query is drawn with all its pairs.
        seed: Of the resampling.
        n_resamples: Number of bootstrap samples.
    """
    n = len(hits)
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0, "queries": 0}
    rows, n_queries = query_rows_of(query_ids, n)
    sums = np.stack([np.bincount(rows, hits, n_queries), np.bincount(rows, minlength=n_queries)], axis=1)

    def share(of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return of[..., 0] / of[..., 1]

    resampled = np.concatenate([share(part) for part in bootstrap_sums(sums, seed, n_resamples)])
    whole = sums.sum(axis=0)
    interval = interval_of(float(share(whole)), resampled, share(whole - sums)).to_dict()
    return {**interval, "n": n, "queries": n_queries}


def audit_report(
    counts: dict[str, int], sampled: pl.DataFrame, flags: pl.DataFrame, rejudged: pl.DataFrame,
    combined: pl.DataFrame, answers: pl.DataFrame, decisions: pl.DataFrame,
    truth: pl.DataFrame | None, judgments: pl.DataFrame, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """The audit's figures, JSON-ready.

    Args:
        counts: Of the flags.
        sampled, flags, rejudged, combined, answers, decisions: The audit's tables.
        truth: query_id, item_id, true_grade of the annotated pairs, where it is known; errors are then exact.
        judgments: query_id, item_id, grade: the labels that were audited, as they were.
        seed: Of the intervals.
    """
    decided = decisions.filter(pl.col("decided").is_not_null())
    by_experts = decided.filter(pl.col("by") == "experts")
    changed = decided.filter(pl.col("decided") != pl.col("grade"))
    differs = combined.join(flags.select(*_KEYS, "grade"), on=_KEYS)
    label, judges = (by_experts["decided"] == by_experts[name] for name in ("grade", "judged"))
    alone = rejudged.rename({"grade": "given"}).join(flags.select(*_KEYS, "grade"), on=_KEYS)
    in_log = sampled.filter(pl.col("impressions").is_not_null())
    report: dict[str, Any] = {
        **counts,
        "share_sampled": _ratio(counts["sampled"], counts["annotated"]),
        "share_shown": _ratio(len(in_log), counts["sampled"]),
        "share_judged_by_engagement": _ratio(counts["judged"], counts["sampled"]),
        "share_flagged": share_interval(sampled["is_flagged"].to_numpy(), sampled["query_id"].to_list(), seed),
        "flagged_by_reason": _counts(flags["reason"]),
        "flagged_by_grade": _counts(flags["grade"]),
        "judges": [
            {"judge": judge, "answered": len(part), "differs": _interval(part["given"] != part["grade"], part, seed)}
            for (judge,), part in alone.sort("judge").group_by(["judge"], maintain_order=True)
        ],
        "rejudged": len(combined),
        "differing": len(decisions),
        "disagreement": _interval(differs["judged"] != differs["grade"], differs, seed),
        "expert_workload": {
            "pairs_to_answer": len(decisions),
            "share_of_annotated": _ratio(len(decisions), counts["annotated"]),
            "experts": answers["expert"].n_unique(),
            "answers": len(answers),
            "answered": int((decisions["votes"] > 0).sum()),
        },
        "decided_by_experts": len(by_experts),
        "decided_by_judges": len(decided) - len(by_experts),
        "open": {
            UNANSWERED: int((decisions["why_open"] == UNANSWERED).sum()),
            TIE: int((decisions["why_open"] == TIE).sum()),
        },
        "experts_sided": {
            "with_judges": int(judges.sum()),
            "with_label": int(label.sum()),
            "with_neither": int((~judges & ~label).sum()),
        },
        "sided_with_judges": _interval(judges, by_experts, seed),
        "changed": len(changed),
        "changed_share_of_annotated": _ratio(len(changed), counts["annotated"]),
        "paper": dict(PAPER),
    }
    report["errors"] = (
        _estimated(counts, flags, changed) if truth is None else _exact(judgments, flags, decided, truth, seed)
    )
    return report


def _exact(
    judgments: pl.DataFrame, flags: pl.DataFrame, decided: pl.DataFrame, truth: pl.DataFrame, seed: int
) -> dict[str, Any]:
    together = judgments.select(*_KEYS, "grade").join(truth.select(*_KEYS, "true_grade"), on=_KEYS)
    together = together.join(decided.select(*_KEYS, "decided"), on=_KEYS, how="left").sort(_KEYS)
    together = together.join(flags.select(*_KEYS, flagged=pl.lit(True)), on=_KEYS, how="left")
    together = together.with_columns(
        (pl.col("grade") != pl.col("true_grade")).alias("before"),
        (pl.coalesce("decided", "grade") != pl.col("true_grade")).alias("after"),
        pl.col("flagged").fill_null(False),
    ).sort(_KEYS)
    flagged = together.filter("flagged")

    def figures(part: pl.DataFrame) -> dict[str, Any]:
        before, after = int(part["before"].sum()), int(part["after"].sum())
        return {
            "pairs": len(part),
            "before": before,
            "after": after,
            "mended": int((part["before"] & ~part["after"]).sum()),
            "introduced": int((~part["before"] & part["after"]).sum()),
            "reduction": _ratio(before - after, before),
        }

    mended = flagged.filter("before")
    return {
        "basis": "truth",
        "flagged": figures(flagged),
        "total": figures(together),
        "error_rate_before": _interval(together["before"], together, seed),
        "error_rate_after": _interval(together["after"], together, seed),
        "precision_of_flags": _interval(flagged["before"], flagged, seed),
        "mended_of_flagged_errors": _interval(~mended["after"], mended, seed),
    }


def _estimated(counts: dict[str, int], flags: pl.DataFrame, changed: pl.DataFrame) -> dict[str, Any]:
    return {
        "basis": (
            "decided pairs: the decision is taken for the truth, and a flagged label that the judges share for right; "
            "wrong labels that were not flagged, or not sampled, are not counted"
        ),
        "flagged": {
            "pairs": len(flags), "before": len(changed), "after": 0, "mended": len(changed),
            "reduction": None,
        },
        "precision_of_flags": {"value": _ratio(len(changed), len(flags)), "low": None, "high": None, "n": len(flags)},
        "found_share_of_annotated": _ratio(len(changed), counts["annotated"]),
    }  # fmt: skip


def _interval(hits: pl.Series, table: pl.DataFrame, seed: int) -> dict[str, Any]:
    return share_interval(hits.to_numpy().astype(bool), table["query_id"].to_list(), seed)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _counts(values: pl.Series) -> dict[str, int]:
    names, counts = np.unique(values.to_numpy().astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
