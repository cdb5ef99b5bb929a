"""What a mining round is told: one set of names for ``mine``, the command line and a recipe."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from mr_st.errors import UsageError
from mr_st.mining.candidates import check_window
from mr_st.mining.index_stage import HnswSettings
from mr_st.mining.select import boundary_rank
from mr_st.mining.strata import shares_of_strata

__all__ = ["MiningSettings", "Window"]

Window = tuple[int, int | None]


@dataclass(frozen=True)
class MiningSettings:
    """All that changes which pairs a round finds and keeps, models and data aside.

    Args:
        k: Items retrieved for a query; paper: 100 to 200.
        split: Whose queries are mined.
        boundary: Share of k up to which a grade-0 item is a hard negative, and beyond which a higher grade is a hard
            positive; paper: 0.5.
        min_confidence: Labels below this probability are dropped, one limit or one for each grade (ours); None keeps
            all.
        items: ``"judged"``: the items that the split's judgments name (paper); ``"all"``: the whole catalogue.
        min_judged: Mine only for queries with at least this many judged pairs in the split: each query costs k labels
            (ours).
        item_text_levels: Taxonomy levels in an item's text, as in training.
        max_chars: Where an item's text is cut, as in training.
        max_negatives: Hard negatives kept for one query, the highest-ranked (ours); None for all.
        max_positives: Hard positives kept for one query, the lowest-ranked (ours); None for all.
        max_by_grade: Pairs of a grade kept for one query; a grade that is not named has no cap (ours).
        negative_ranks: First and last rank of hard negatives, within what the boundary allows; the last may be None.
            The paper found the very hardest (the top 10) worth keeping.
        positive_ranks: First and last rank of hard positives, within what the boundary allows.
        near_duplicates: Cosine from which two items count as one: a negative that near a judged positive of its query
            is dropped, and of several such pairs of a query and grade only the hardest stays (ours); None drops none.
        search: ``"exact"``; ``"hnsw"``, or :class:`~mr_st.mining.HnswSettings`; ``"auto"`` takes exact search where it
            is the cheaper one by the cost rule (:mod:`mr_st.search.cost`).
        budget: Pairs annotated at most (ours); None for all.
        strata: Shares of the budget for ``head``, ``torso``, ``tail`` and ``unknown`` queries (thirds of the traffic);
            None shares it evenly over all queries.
        seed: Of the order in which a budget is spent.
        dtype: Of the vectors: ``"float16"`` or ``"float32"``.

    Raises:
        UsageError: a value out of range.

    Example:
        >>> MiningSettings(k=50, near_duplicates=0.98).last_negative_rank
        25
    """

    k: int = 100
    split: str = "train"
    boundary: float = 0.5
    min_confidence: float | Mapping[int, float] | None = None
    items: Literal["judged", "all"] = "judged"
    min_judged: int = 1
    item_text_levels: int | None = 2
    max_chars: int | None = 400
    max_negatives: int | None = None
    max_positives: int | None = None
    max_by_grade: Mapping[int, int] | None = None
    negative_ranks: Window = (1, None)
    positive_ranks: Window = (1, None)
    near_duplicates: float | None = None
    search: Literal["auto", "exact", "hnsw"] | HnswSettings = "auto"
    budget: int | None = None
    strata: Mapping[str, float] | None = None
    seed: int = 0
    dtype: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        if self.k < 1 or self.min_judged < 1:
            raise UsageError(f"k is {self.k}, min_judged {self.min_judged}; each must be 1 or more")
        if self.items not in ("judged", "all"):
            raise UsageError(f"items is {self.items!r}; expected 'judged' or 'all'")
        if self.dtype not in ("float16", "float32"):
            raise UsageError(f"dtype is {self.dtype!r}; expected 'float16' or 'float32'")
        if not (isinstance(self.search, HnswSettings) or self.search in ("auto", "exact", "hnsw")):
            raise UsageError(f"search is {self.search!r}; expected 'auto', 'exact', 'hnsw' or HnswSettings(...)")
        self.last_negative_rank  # noqa: B018 - it checks the boundary
        self._check_confidence()
        caps = {"max_negatives": self.max_negatives, "max_positives": self.max_positives, "budget": self.budget}
        caps |= {f"max_by_grade of grade {grade}": cap for grade, cap in (self.max_by_grade or {}).items()}
        for name, cap in caps.items():
            if cap is not None and cap < 0:
                raise UsageError(f"{name} is {cap}; it must be 0 or more, or None for no cap")
        for name in ("negative_ranks", "positive_ranks"):
            check_window(name, getattr(self, name))
        if self.near_duplicates is not None and not 0 < self.near_duplicates <= 1:
            raise UsageError(f"near_duplicates is {self.near_duplicates}; it is a cosine, in 0..1 and not 0, or None")
        if self.strata is not None:
            shares_of_strata(self.strata)
            if self.budget is None:
                raise UsageError("strata divide a budget; give budget=..., the pairs to annotate, too")

    def _check_confidence(self) -> None:
        limits = self.min_confidence
        for limit in limits.values() if isinstance(limits, Mapping) else [limits]:
            if limit is not None and not 0 <= limit <= 1:
                raise UsageError(f"min_confidence is {limit}; it is a probability, in 0..1, or None")

    @property
    def last_negative_rank(self) -> int:
        """The last rank at which an irrelevant item is a hard negative."""
        return boundary_rank(self.k, self.boundary)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = asdict(self)
        for name in ("min_confidence", "max_by_grade", "strata"):
            if isinstance(values[name], Mapping):
                values[name] = {str(key): value for key, value in values[name].items()}
        return {**values, "negative_ranks": [*self.negative_ranks], "positive_ranks": [*self.positive_ranks]}

    @classmethod
    def of(cls, k: int, options: Mapping[str, Any]) -> MiningSettings:
        """From keyword arguments.

        Raises:
            UsageError: an unknown name (the nearest known one is named), or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known or name == "k":
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(f"mine() has no argument {name!r}; " + (f"did you mean {near[0]}?" if near else
                                 f"settings are {', '.join(known)}"))  # fmt: skip
        return cls(k, **options)
