"""The golden set: a test set of stated make-up from any judgments plus random items.

Source: arXiv 2602.17654, "Golden Eval Set": at least 65 % of each query's pairs have label 0, about 30 % of the
queries are not in the training data, head and tail, misspelt and non-English queries are among them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow.compute as pc

from mr_st.annotation import Annotator
from mr_st.augment.golden_assembly import assemble, count_by_name
from mr_st.augment.golden_candidates import Candidates, find_candidates, locale_keys, meaning_rows
from mr_st.augment.golden_chooser import Chooser
from mr_st.augment.golden_pairs import QueryPairs, add_random_items
from mr_st.augment.golden_report import GoldenReport
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import SPLITS, arrow_table
from mr_st.data.traffic import SEGMENTS, traffic_segments
from mr_st.errors import UsageError
from mr_st.text.normalise import tokens

__all__ = ["GoldenReport", "GoldenSet", "Misspeller", "build_golden_set"]

_TRIES = 30  # draws of a misspelling before a query is found to have none
_TRAINING_SHARE = 0.1  # of the training queries, where the split is empty and no number is asked


class Misspeller(Protocol):
    """What misspells a text: :class:`mr_st.text.spelling.SpellingChannel` does."""

    def misspell(self, text: str, rng: random.Random) -> str:
        """The text with errors, or as it was."""
        ...


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """A dataset whose split is a golden set, and what went into it.

    Args:
        dataset: Same items and scale; the split holds the golden pairs and nothing else. Its source names the report.
        report: As asked and as reported.
    """

    dataset: GradedDataset
    report: GoldenReport

    def save(self, folder: str | Path) -> Path:
        """Save the dataset; the report stands in its ``dataset.yaml``, under source, golden."""
        return self.dataset.save(folder)


def build_golden_set(
    dataset: GradedDataset,
    annotator: Annotator,
    *,
    split: str = "test",
    n_queries: int | None = None,
    zero_share: float = 0.65,
    unseen_share: float | None = 0.30,
    head_share: float | None = None,
    tail_share: float | None = None,
    misspelt_share: float | None = None,
    locale_shares: Mapping[str, float] | None = None,
    n_random: int = 10,
    max_random: int = 1000,
    moved_share: float = 0.5,
    positive_grade: int = 1,
    min_confidence: float | None = None,
    allow_shortfall: bool = False,
    channel: Misspeller | None = None,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    seed: int = 0,
    show_progress: bool = False,
) -> GoldenSet:
    """Make a golden set from any dataset.

    Every golden query has its judged pairs, with a positive among them, and random items labelled by the annotator,
    until at least ``zero_share`` of its pairs have grade 0; a random item found relevant keeps its label.

    Unseen means that no query of the same words, and no variant (``source_query_id``), has a training judgment. Unseen
    queries come from the split; where it has too few, training queries are held out whole. The other golden queries
    share their query with training, never a pair, not even through a variant: they bring the pairs that the split has
    of them, or else ``moved_share`` of their training pairs of each grade, rounded down, which leave training (a
    variant's or namesake's pairs with the same items too). Other judgments of training and dev stay; judgments of the
    split that are not golden go.

    A misspelt query is one of kind ``spelling``, or a variant made here that stands in the place of its original (kind
    ``spelling``, source_query_id and frequency of the original); the annotator reads the original. Head and tail are
    those of :func:`mr_st.data.traffic.traffic_segments`: a third of the traffic each.

    Args:
        dataset: Any judgments.
        annotator: Grades random items.
        split: Where the golden set stands: test or dev.
        n_queries: How many queries; when None as many as the split has now with a positive (a tenth of the training
            queries where it is empty), or the largest number below with which the shares hold.
        zero_share: The least share of grade 0 among a query's pairs, from 0 to below 1.
        unseen_share: Share of the queries; None for as it comes, here and below.
        head_share: Share of the queries, needs frequencies.
        tail_share: The same.
        misspelt_share: Share of the queries.
        locale_shares: Locale or language (``es``, ``ja-JP``) to its share of the queries.
        n_random: Random items that every query gets (ours; the paper gives no number).
        max_random: The most random items of a query; one that needs more is skipped and counted.
        moved_share: What share of a training query's pairs may move, in 0..1, ends excluded.
        positive_grade: From which grade a pair is positive.
        min_confidence: Drop random items whose label is less probable.
        allow_shortfall: Report what cannot be had, rather than raise.
        channel: Misspells; the default channel of the query's locale when None.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        seed: Of every draw.
        show_progress: Draw progress bars.

    Raises:
        UsageError: an argument out of range; or what is asked cannot be had and no shortfall is allowed.
        MrStError: an annotator whose answer does not fit.
    """
    asked: dict[str, Any] = {
        "queries": n_queries, "zero_share": zero_share, "unseen_share": unseen_share, "head_share": head_share,
        "tail_share": tail_share, "misspelt_share": misspelt_share,
        "locale_shares": None if locale_shares is None else dict(locale_shares),
    }  # fmt: skip
    _check(dataset, asked, split, n_random, max_random, moved_share, positive_grade, min_confidence, seed)
    target = n_queries or _default_number(dataset, split, positive_grade)
    n_unseen = int(np.ceil((unseen_share or 0.0) * target))
    rng = np.random.default_rng([seed, 0])
    candidates = find_candidates(dataset, split, moved_share, positive_grade, n_unseen, rng)
    if not len(candidates.query_rows):
        raise UsageError(
            f"{dataset.name}: no query has a positive pair that could stand in split {split!r}; a training query "
            "needs two pairs of one positive grade, so that one can stay"
        )
    segments, keys = _marks(dataset, candidates, asked)
    options: dict[str, Any] = {
        "zero_share": zero_share, "n_random": n_random, "max_random": max_random, "min_confidence": min_confidence,
        "item_text_levels": item_text_levels, "max_chars": max_chars, "seed": seed, "show_progress": show_progress,
    }  # fmt: skip
    chooser = Chooser(candidates, segments, keys, asked, target, allow_shortfall, rng)
    done = _fill(dataset, annotator, candidates, chooser, options)
    queries = [done[row] for row in chooser.rows]
    places = np.array([chooser.place[row] for row in chooser.rows], dtype=np.int64)
    misspelt = _misspell(dataset, candidates, places, misspelt_share, channel, seed)
    missing = list(chooser.shortfalls)
    n_misspelt = int(candidates.is_spelling[places].sum()) + len(misspelt)
    if misspelt_share is not None and n_misspelt < round(misspelt_share * len(queries)):
        missing.append(f"misspelt: asked {misspelt_share:.0%} of {len(queries):,} queries, {n_misspelt:,} can be had")
        if not allow_shortfall:
            raise UsageError(f"golden set: {missing[-1]}; ask for less, or allow a shortfall (--allow-shortfall)")
    result, counts = assemble(dataset, candidates, queries, misspelt, split, annotator.identity)
    failed = {"too few random items of grade 0": len(chooser.failed)} if chooser.failed else {}
    report = GoldenReport(
        asked=asked,
        reported=_found(dataset, candidates, queries, places, misspelt, segments, asked),
        pairs=counts["pairs"],
        random_items=count_by_name([grade for query in queries for grade in query.grades], dataset.scale.names),
        low_confidence=sum(query.n_unsure for query in queries),
        from_split=counts["from_split"],
        from_training=counts["from_training"],
        training_pairs=counts["training_pairs"],
        held_out_queries=int(candidates.is_held_out[places].sum()),
        left_out_pairs=counts["left_out_pairs"],
        skipped={**candidates.skipped, **failed},
        shortfalls=missing,
        annotator=annotator.identity,
        split=split,
        seed=seed,
    )
    return GoldenSet(replace(result, source={**dataset.source, "golden": report.to_dict()}), report)


def _check(
    dataset: GradedDataset,
    asked: dict[str, Any],
    split: str,
    n_random: int,
    max_random: int,
    moved_share: float,
    positive_grade: int,
    min_confidence: float | None,
    seed: int,
) -> None:
    if split not in SPLITS[1:]:
        raise UsageError(f"split is {split!r}; a golden set stands in test or dev")
    if asked["queries"] is not None and asked["queries"] < 1:
        raise UsageError(f"n_queries is {asked['queries']}; it must be 1 or more")
    if not 0 <= asked["zero_share"] < 1:
        raise UsageError(f"zero_share is {asked['zero_share']}; it must be 0 or more and below 1")
    shares = {name: asked[name] for name in ("unseen_share", "head_share", "tail_share", "misspelt_share")}
    locales = asked["locale_shares"] or {}
    shares |= {f"locale_shares[{key!r}]": share for key, share in locales.items()}
    for name, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"{name} is {share}; a share is in 0..1")
    for what, total in (
        ("head_share and tail_share", (asked["head_share"] or 0) + (asked["tail_share"] or 0)),
        ("locale_shares", sum(locales.values())),
    ):
        if total > 1 + 1e-9:
            raise UsageError(f"{what} add up to {total:g}; they are shares of one set, at most 1 together")
    if not 0 <= n_random <= max_random or max_random < 1:
        raise UsageError(f"n_random is {n_random}, max_random {max_random}; expected 0 <= n_random <= max_random")
    if not 0 < moved_share < 1:
        raise UsageError(f"moved_share is {moved_share}; it must lie between 0 and 1, both excluded")
    if not 0 < positive_grade < dataset.scale.n_grades:
        raise UsageError(f"positive_grade is {positive_grade}; expected 1..{dataset.scale.n_grades - 1}")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence is {min_confidence}; it is a probability, in 0..1, or None")
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be 0 or more")


def _default_number(dataset: GradedDataset, split: str, positive_grade: int) -> int:
    for name, share in ((split, 1.0), ("train", _TRAINING_SHARE)):
        if name in dataset.splits:
            pairs = dataset.judged_pairs(name)
            n = len(np.unique(pairs.query_rows[pairs.grades >= positive_grade]))
            if n:
                return max(1, round(share * n))
    return 1


def _marks(dataset: GradedDataset, candidates: Candidates, asked: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Traffic segment of every query, and the asked locale of every query."""
    queries = arrow_table(dataset.queries)
    segments = traffic_segments(pc.fill_null(queries["frequency"], float("nan")).to_numpy())
    if (asked["head_share"] or asked["tail_share"]) and (segments[candidates.query_rows] < 0).all():
        raise UsageError(
            f"{dataset.name}: no query has a frequency, so head and tail are unknown; add a frequency column to the "
            "queries, or ask for neither head_share nor tail_share"
        )
    return segments, locale_keys(queries["locale"].to_pylist(), asked["locale_shares"] or {})


def _fill(
    dataset: GradedDataset, annotator: Annotator, candidates: Candidates, chooser: Chooser, options: dict[str, Any]
) -> dict[int, QueryPairs]:
    """Random items for what is chosen; where a query cannot be filled, another is chosen, until all can."""
    meaning = meaning_rows(dataset)
    done: dict[int, QueryPairs] = {}
    while True:
        new = [row for row in chooser.choose() if row not in done]
        if not new:
            return done
        judged = candidates.pairs.filter(pl.col("query_row").is_in(new))
        sizes = judged.group_by("query_row").agg(pl.len(), (pl.col("grade") == 0).sum().alias("zeros"))
        count = {row: (n, zeros) for row, n, zeros in sizes.iter_rows()}
        queries = [QueryPairs(row, *count[row]) for row in new]
        add_random_items(dataset, annotator, queries, _taken(candidates, new), meaning, **options)
        done.update({query.query_row: query for query in queries})
        chooser.failed.update(query.query_row for query in queries if not query.is_full)


def _taken(candidates: Candidates, rows: list[int]) -> dict[int, set[int]]:
    """The items judged, in any split, for each query or for one of its group."""
    groups = {int(candidates.group[row]): row for row in rows}
    of_group = candidates.judgments.filter(pl.col("group").is_in(list(groups))).group_by("group").agg("item_row")
    return {groups[group]: set(items) for group, items in of_group.iter_rows()}


def _misspell(
    dataset: GradedDataset,
    candidates: Candidates,
    places: np.ndarray,
    share: float | None,
    channel: Misspeller | None,
    seed: int,
) -> dict[int, str]:
    """Query row to its misspelling, for as many queries as the share still lacks."""
    if share is None:
        return {}
    from mr_st.text.spelling import SpellingChannel

    lacking = round(share * len(places)) - int(candidates.is_spelling[places].sum())
    clean = candidates.query_rows[places[~candidates.is_spelling[places]]]
    texts, table = dataset.query_texts(), arrow_table(dataset.queries)
    query_ids, locales = table["query_id"].to_pylist(), table["locale"].to_pylist()
    known = {tuple(tokens(text)) for text in texts}
    found: dict[int, str] = {}
    for row in clean[np.random.default_rng([seed, 1]).permutation(len(clean))].tolist():
        if len(found) >= lacking:
            break
        misspeller: Misspeller = channel or SpellingChannel.default(locales[row])
        rng = random.Random(f"golden {seed} {query_ids[row]}")
        for _ in range(_TRIES):
            text = misspeller.misspell(texts[row], rng)
            words = tuple(tokens(text))
            if words and words not in known:
                known.add(words)
                found[row] = text
                break
    return found


def _found(
    dataset: GradedDataset,
    candidates: Candidates,
    queries: list[QueryPairs],
    places: np.ndarray,
    misspelt: dict[int, str],
    segments: np.ndarray,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """The set's own figures."""
    rows = candidates.query_rows[places]
    zeros = np.array([query.n_zeros / query.n_pairs for query in queries])
    locales = np.array(arrow_table(dataset.queries)["locale"].to_pylist(), dtype=object)[rows]
    languages = [str(locale).replace("_", "-").partition("-")[0].lower() for locale in locales]
    names = [*(asked["locale_shares"] or {}), *sorted(set(languages))]
    shares = {name: _mean(locale_keys(list(locales), {name: 1.0}) == 0) for name in dict.fromkeys(names)}
    has_frequency = bool((segments[rows] >= 0).any())
    of_segment = {
        f"{name}_share": _mean(segments[rows] == place) if has_frequency else None
        for place, name in enumerate(SEGMENTS)
    }
    return {
        "queries": len(queries),
        "pairs": sum(query.n_pairs for query in queries),
        "zero_share_min": round(float(zeros.min()), 4),
        "zero_share_mean": round(float(zeros.mean()), 4),
        "unseen_share": _mean(candidates.is_unseen[places]),
        **of_segment,
        "misspelt_share": _mean([row in misspelt for row in rows.tolist()] | candidates.is_spelling[places]),
        "locale_shares": shares,
    }


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 4)
