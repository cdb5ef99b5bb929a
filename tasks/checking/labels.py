"""Whether the judgments can tell a good ranking from a bad one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mr_st.evaluation.finding import Finding, Level

if TYPE_CHECKING:
    from mr_st.evaluation import Collection

__all__ = ["find_label_findings"]

_FEW_QUERIES = 50
_MUCH = 0.9


def find_label_findings(collection: Collection) -> Iterator[Finding]:
    """Queries without a positive, the mix of the grades, how many queries and judgments there are."""
    judged, names = collection.judged, collection.scale.names
    level: Level
    n_all = collection.n_queries + collection.n_left_out
    if collection.n_left_out:
        level = "should" if collection.n_left_out > 0.5 * n_all else "note"
        yield Finding(
            level,
            "queries without positives",
            f"{collection.n_left_out:,} of {n_all:,} have no item above grade 0 and are left out of every figure",
            "judge more of their items" if level == "should" else "",
        )
    counts = np.bincount(judged.grades, minlength=len(names))
    mix = ", ".join(f"{name} {n:,}" for name, n in zip(names, counts.tolist(), strict=True))
    shares = counts / judged.n_pairs
    if shares.max() == 1:
        yield Finding("must", "one grade only", f"all {judged.n_pairs:,} judged pairs are of one grade ({mix})",
                      "judge items of other grades: irrelevant ones, too")  # fmt: skip
    elif shares[0] == 0:
        yield Finding("should", "no irrelevant pair", f"no judged pair is of grade 0 ({mix}): no margin can be "
                      "told, and in the judged pool all is relevant", "judge items that do not fit")  # fmt: skip
    elif shares.max() > _MUCH:
        yield Finding("should", "one grade nearly alone", f"{shares.max():.0%} of the judged pairs are of one grade "
                      f"({mix})", "judge more items of the others")  # fmt: skip
    else:
        yield Finding("note", "label mix", f"{mix}; {shares[0]:.0%} irrelevant")
    unused = [name for name, n in zip(names, counts.tolist(), strict=True) if not n]
    if unused and shares.max() < 1 and shares[0] > 0:
        yield Finding("note", "grade never given", "no judged pair has it", "", tuple(unused))
    if collection.n_queries < _FEW_QUERIES:
        yield Finding("should", "few queries", f"{collection.n_queries} queries: intervals will be wide",
                      f"judge {_FEW_QUERIES} or more")  # fmt: skip
    alone = [collection.query_ids[row] for row in np.flatnonzero(judged.per_query == 1).tolist()]
    if alone:
        level = "should" if len(alone) > 0.5 * collection.n_queries else "note"
        yield Finding(level, "one judgment only", f"{len(alone):,} queries have a single judged item: the judged pool "
                      "says nothing of them", "judge more of their items" if level == "should" else "",
                      tuple(alone))  # fmt: skip
