"""What a golden set was asked to be, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["GoldenReport"]


@dataclass(frozen=True)
class GoldenReport:
    """A golden set as asked and as reported; shares are in 0..1.

    Args:
        asked: queries, zero_share, unseen_share, head_share, tail_share, misspelt_share, locale_shares; None where
            nothing was asked.
        reported: The same as found in the set: queries, pairs, zero_share_min and zero_share_mean over queries,
            unseen_share, head_share, torso_share, tail_share (None where no query has a frequency), misspelt_share,
            locale_shares (every locale that was asked, and every language).
        pairs: Grade name to pairs of the set.
        random_items: Grade name to pairs of random items, as the annotator labelled them.
        low_confidence: Labels of random items dropped for their confidence.
        from_split: Judged pairs that stood in the split before.
        from_training: Judged pairs that left training for the set.
        training_pairs: Training judgments before and after.
        held_out_queries: Training queries all of whose judgments left training.
        left_out_pairs: Judgments of the split that are not part of the set.
        skipped: Why queries could not be used, with how many.
        shortfalls: What was asked and is not so; empty unless a shortfall was allowed.
        annotator: Identity of who labelled the random items.
        split: Where the set stands.
        seed: What was drawn from.
    """

    asked: dict[str, Any]
    reported: dict[str, Any]
    pairs: dict[str, int]
    random_items: dict[str, int]
    low_confidence: int
    from_split: int
    from_training: int
    training_pairs: tuple[int, int]
    held_out_queries: int
    left_out_pairs: int
    skipped: dict[str, int]
    shortfalls: list[str] = field(default_factory=list)
    annotator: str = ""
    split: str = "test"
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The report, ready for JSON and YAML."""
        return {**asdict(self), "training_pairs": list(self.training_pairs)}

    def table(self) -> list[tuple[str, str, str]]:
        """Rows (what, as asked, as reported) for people to read."""
        asked, found = self.asked, self.reported
        zeros = asked["zero_share"]
        rows = [
            ("queries", _count(asked["queries"]), _count(found["queries"])),
            ("pairs", "", _count(found["pairs"])),
            ("label-0 share, least of a query", f">= {zeros:.1%}", _share(found["zero_share_min"])),
            ("label-0 share, mean over queries", "", _share(found["zero_share_mean"])),
        ]
        for name in ("unseen", "head", "torso", "tail", "misspelt"):
            rows.append((f"{name} queries", _share(asked.get(f"{name}_share")), _share(found[f"{name}_share"])))
        asked_locales = asked["locale_shares"] or {}
        for key, share in found["locale_shares"].items():
            rows.append((f"locale {key}", _share(asked_locales.get(key)), _share(share)))
        rows += [
            ("pairs by grade", "", _counts(self.pairs)),
            ("random items, as labelled", "", _counts(self.random_items)),
            ("random items dropped, low confidence", "", _count(self.low_confidence)),
            ("judged pairs from the split", "", _count(self.from_split)),
            ("judged pairs moved from training", "", _count(self.from_training)),
            ("training pairs, before and after", "", " and ".join(map(_count, self.training_pairs))),
            ("training queries held out whole", "", _count(self.held_out_queries)),
            ("judgments of the split left out", "", _count(self.left_out_pairs)),
        ]
        rows += [(f"queries skipped: {reason}", "", _count(n)) for reason, n in self.skipped.items()]
        return rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _counts(by_name: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in by_name.items())
