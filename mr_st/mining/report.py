"""What a mining round did, in counts: nothing that changes from run to run, so that equal rounds report alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mr_st.errors import UsageError
from mr_st.measures.bca import BCA_METHOD, bca_interval
from mr_st.measures.intervals import Interval
from mr_st.mining.candidates import best_ranks, source_codes, source_text
from mr_st.mining.select import Selection
from mr_st.mining.strata import STRATA

__all__ = ["count_pairs", "rank_deciles", "share_interval"]

_N_DECILES = 10
_N_RESAMPLES = 2000


def count_pairs(
    query_rows: np.ndarray,
    ranks: np.ndarray,
    grades: np.ndarray,
    selection: Selection,
    *,
    k: int,
    last_negative_rank: int,
    n_grades: int,
    retrieved: int,
    dropped: Mapping[str, int] | None = None,
    source_names: Sequence[str] = ("model",),
    strata: np.ndarray | None = None,
    strata_names: Sequence[str] = STRATA,
) -> dict[str, Any]:
    """Count retrieved, judged, annotated, dropped and taken pairs.

    Args:
        query_rows: int (n,), of the n annotated pairs.
        ranks: int (n, S), of those pairs in each source, from 1; 0 where the source did not retrieve the pair.
        grades: int (n,), what the annotator gave.
        selection: What became of the n pairs.
        k: Items retrieved for a query.
        last_negative_rank: Where hard negatives end.
        n_grades: G.
        retrieved: Pairs that any source found.
        dropped: Why and how many of them were not annotated, e.g. ``{"already_judged": 7, "over_budget": 100}``.
        source_names: Of the S sources.
        strata: int (queries of the dataset,), each query's stratum; None counts none.
        strata_names: What the strata are called.

    Returns:
        JSON-ready counts. Ranks are best ranks over the sources; deciles are of k. ``would_be_negatives`` are the
        unjudged pairs that a miner without an annotator takes for negatives; ``positive`` of them are not, and
        ``low`` and ``high`` are the ends of that share's 95 % interval over ``queries`` (None below two queries).

    Raises:
        UsageError: what was dropped and what was annotated do not add up to what was retrieved.
    """
    dropped = dict(dropped or {})
    if retrieved - sum(dropped.values()) != len(grades):
        raise UsageError(
            f"{retrieved:,} pairs retrieved and {sum(dropped.values()):,} dropped, but {len(grades):,} annotated; "
            "count every reason once"
        )
    best = best_ranks(ranks)
    positive, taken = grades >= 1, selection.taken
    deciles = rank_deciles(best, k)
    queries = _numbered(query_rows)

    def by_grade(mask: np.ndarray) -> dict[str, int]:
        return _named(np.bincount(grades[mask].astype(np.int64), minlength=n_grades))

    def would_be(mask: np.ndarray) -> dict[str, Any]:
        is_positive = positive[mask]
        interval = share_interval(queries[mask], is_positive)
        facts = interval.to_dict()
        return {
            "pairs": len(is_positive), "positive": int(is_positive.sum()), "share_positive": facts["value"],
            "low": facts["low"], "high": facts["high"], "queries": interval.n,
        }  # fmt: skip

    def group(mask: np.ndarray) -> dict[str, Any]:
        return {**would_be(mask), "by_grade": by_grade(mask), "taken_by_grade": by_grade(mask & taken)}

    everything = np.ones(len(grades), dtype=bool)
    kinds = {"hard negative": selection.hard_negatives, "hard positive": selection.hard_positives}
    counts: dict[str, Any] = {
        "k": k,
        "last_negative_rank": last_negative_rank,
        "retrieved": retrieved,
        **dropped,
        "annotated": len(grades),
        "annotated_by_grade": by_grade(everything),
        "dropped_by_confidence": int(selection.unsure.sum()),
        "dropped_near_positive": int(selection.near_positive.sum()),
        "dropped_as_twin": int(selection.twins.sum()),
        "dropped_by_cap": int(selection.capped.sum()),
        "taken": int(taken.sum()),
        "taken_by_kind": {
            kind: {
                "pairs": int(mask.sum()),
                "by_grade": by_grade(mask),
                "by_rank_decile": np.bincount(deciles[mask], minlength=_N_DECILES).tolist(),
            }
            for kind, mask in kinds.items()
        },
        "would_be_negatives": {
            "to_boundary": would_be(best <= last_negative_rank),
            "to_k": would_be(everything),
            "interval": BCA_METHOD,
        },
        "by_rank_decile": [
            {"first_rank": d * k // _N_DECILES + 1, "last_rank": (d + 1) * k // _N_DECILES, **group(deciles == d)}
            for d in range(_N_DECILES)
        ],
    }
    if len(source_names) > 1:
        codes = source_codes(ranks)
        combinations = sorted(np.unique(codes).tolist(), key=lambda code: (code.bit_count(), code))
        counts["by_source"] = {source_text(code, source_names): group(codes == code) for code in combinations}
    if strata is not None:
        of_pair = np.asarray(strata)[query_rows]
        counts["by_stratum"] = {
            name: group(of_pair == stratum) for stratum, name in enumerate(strata_names) if (of_pair == stratum).any()
        }
    return counts


def rank_deciles(ranks: np.ndarray, k: int) -> np.ndarray:
    """Which tenth of 1..k each rank is in: 0 holds rank 1 (from k = 10 on), 9 holds rank k and all beyond it.

    Example:
        >>> rank_deciles(np.array([1, 10, 11, 50, 51, 100, 130]), 100).tolist()
        [0, 0, 1, 4, 5, 9, 9]
    """
    return np.minimum((ranks.astype(np.int64) * _N_DECILES + k - 1) // k, _N_DECILES) - 1


def share_interval(queries: np.ndarray, is_positive: np.ndarray, seed: int = 0) -> Interval:
    """The share of positive pairs with its 95 % interval, whole queries resampled.

    Queries with the same counts are drawn together (a multinomial over the distinct counts), which is the same
    bootstrap, and quick for millions of queries.

    Args:
        queries: int (n,), not negative: whose pair it is.
        is_positive: bool (n,).
        seed: Seed of the resampling.

    Returns:
        The interval, with the number of queries that have a pair; NaN ends below two queries.

    Example:
        >>> share_interval(np.array([0, 0, 1, 1]), np.array([True, False, True, False]))
        Interval(value=0.5, low=0.5, high=0.5, n=2)
    """
    pairs = np.bincount(queries)
    positives = np.bincount(queries[is_positive], minlength=len(pairs))[pairs > 0]
    pairs = pairs[pairs > 0]
    n = len(pairs)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    share = float(positives.sum() / pairs.sum())
    if n == 1:
        return Interval(share, np.nan, np.nan, 1)
    width = int(pairs.max()) + 1
    kinds, n_of_kind = np.unique(pairs * width + positives, return_counts=True)
    pairs_of, positives_of = np.divmod(kinds, width)
    drawn = np.random.default_rng(seed).multinomial(n, n_of_kind / n, size=_N_RESAMPLES)
    resampled = (drawn @ positives_of) / (drawn @ pairs_of)
    influence = positives_of - share * pairs_of
    influence[np.abs(influence) < 1e-12 * width] = 0
    return bca_interval(share, resampled, np.repeat(influence, n_of_kind))


def _numbered(query_rows: np.ndarray) -> np.ndarray:
    """The queries as 0, 1, 2, ... (int64 (n,))."""
    steps = np.diff(query_rows)
    if (steps < 0).any():
        return np.unique(query_rows, return_inverse=True)[1].reshape(-1)
    return np.concatenate([np.zeros(min(1, len(query_rows)), dtype=np.int64), np.cumsum(steps > 0)])


def _named(counts: np.ndarray) -> dict[str, int]:
    return {str(grade): int(n) for grade, n in enumerate(counts)}
