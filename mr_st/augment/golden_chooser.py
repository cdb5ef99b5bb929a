"""Which candidates are taken, and which others where one fails."""

from __future__ import annotations

from typing import Any

import numpy as np

from mr_st.augment.golden_candidates import Candidates
from mr_st.augment.golden_choice import Quota, choose_counts, shortfalls
from mr_st.data.traffic import SEGMENTS
from mr_st.errors import UsageError

__all__ = ["Chooser"]


class Chooser:
    """Chooses candidates by kind so that the asked shares hold, and chooses others for those that fail.

    Args:
        candidates: What there is.
        segments: int64 (n_queries,) place of each query of the dataset in ``SEGMENTS``, -1 unknown.
        keys: int64 (n_queries,) place of its asked locale.
        asked: queries and the shares, as in the report.
        target: How many to take, or the most where ``asked["queries"]`` is None.
        allow_shortfall: Come as near as can be, rather than raise.
        rng: Orders the candidates of each kind.

    Attributes:
        rows: The query rows last chosen.
        place: Query row to its place among the candidates.
        failed: Query rows that cannot be used after all; the caller adds to it.
        shortfalls: What was asked and is not so, of the last choice.
    """

    def __init__(
        self,
        candidates: Candidates,
        segments: np.ndarray,
        keys: np.ndarray,
        asked: dict[str, Any],
        target: int,
        allow_shortfall: bool,
        rng: np.random.Generator,
    ):
        self.asked, self.target, self.allow_shortfall = asked, target, allow_shortfall
        self.place = {row: place for place, row in enumerate(candidates.query_rows.tolist())}
        rows = candidates.query_rows
        marks = np.stack([candidates.is_unseen, segments[rows], keys[rows], candidates.is_spelling], axis=1)
        self.kinds, self.kind_of = np.unique(marks.astype(np.int64), axis=0, return_inverse=True)
        self.kind_of = self.kind_of.reshape(-1)
        self.order = rows[rng.permutation(len(rows))].tolist()
        self.failed: set[int] = set()
        self.rows: list[int] = []
        self.shortfalls: list[str] = []

    def choose(self) -> list[int]:
        """The chosen query rows, ascending, without those that failed."""
        members: list[list[int]] = [[] for _ in self.kinds]
        for row in self.order:
            if row not in self.failed:
                members[self.kind_of[self.place[row]]].append(row)
        quotas = self._quotas()
        counts = choose_counts(
            [len(rows) for rows in members],
            quotas,
            self.target,
            exactly=self.asked["queries"] is not None,
            allow_shortfall=self.allow_shortfall,
        )
        if not counts.any():
            raise UsageError("golden set: no query can be used; see what was asked, or lower zero_share")
        self.shortfalls = shortfalls(quotas, counts)
        if self.asked["queries"] is not None and counts.sum() < self.target:
            self.shortfalls.insert(0, f"queries: asked {self.target:,}, {int(counts.sum()):,} can be had")
        self.rows = sorted(row for rows, n in zip(members, counts, strict=True) for row in rows[:n])
        return self.rows

    def _quotas(self) -> list[Quota]:
        asked, (unseen, segment, key, spelling) = self.asked, self.kinds.T
        found = [
            ("unseen", unseen == 1, asked["unseen_share"], False),
            ("head", segment == SEGMENTS.index("head"), asked["head_share"], False),
            ("tail", segment == SEGMENTS.index("tail"), asked["tail_share"], False),
            ("misspelt", spelling == 1, asked["misspelt_share"], True),  # more can be made
        ]
        for place, (name, share) in enumerate((asked["locale_shares"] or {}).items()):
            found.append((f"locale {name}", key == place, share, False))
        return [Quota(name, kinds, share, most) for name, kinds, share, most in found if share is not None]
