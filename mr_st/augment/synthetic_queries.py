"""Queries made from items, for items that no query leads to; an annotator labels every pair, none is assumed positive.

Source: arXiv 2602.17654, section 4.2 and Table 5: synthetic queries for items without a positive pair beat a low ratio
for all items; likely negatives are an item against the queries of other items, labelled too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mr_st.annotation import Annotator
from mr_st.augment.labelling import label_pairs
from mr_st.augment.query_writer import ItemFeatures, QueryWriter, item_features, parse_query
from mr_st.augment.template_writer import TemplateQueryWriter
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_schema, arrow_table, to_dataset
from mr_st.errors import MrStError, UsageError
from mr_st.text.normalise import tokens

__all__ = ["SyntheticReport", "add_synthetic_queries"]

Policy = Literal["selective", "low_ratio"]
_LOW_RATIO = 0.05


@dataclass(frozen=True)
class SyntheticReport:
    """What :func:`add_synthetic_queries` did.

    Args:
        policy: selective or low_ratio.
        writer: The writer's identity.
        annotator: The annotator's identity.
        items: How many the catalogue has.
        items_without_positive: How many had no positive pair in the split.
        items_chosen: How many queries were asked for.
        items_with_query: How many of them stand against a query of their own now.
        items_with_positive: How many of them have a positive pair now, by any synthetic query.
        queries: New queries.
        own_pairs: Grade name to how many pairs of an item and a query written for it.
        other_pairs: Grade name to how many pairs of an item and another item's query.
        assumed_wrong: Share of the own pairs whose grade is below the positive one; what assuming them positive would
            have got wrong. None without pairs.
        low_confidence: Labels dropped for their confidence.
        dropped: Reason to how many written texts were left out.
    """

    policy: str
    writer: str
    annotator: str
    items: int
    items_without_positive: int
    items_chosen: int
    items_with_query: int = 0
    items_with_positive: int = 0
    queries: int = 0
    own_pairs: dict[str, int] = field(default_factory=dict)
    other_pairs: dict[str, int] = field(default_factory=dict)
    assumed_wrong: float | None = None
    low_confidence: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report, ready for JSON and YAML."""
        return asdict(self)


def add_synthetic_queries(
    dataset: GradedDataset,
    annotator: Annotator,
    writer: QueryWriter | None = None,
    policy: Policy = "selective",
    *,
    split: str = "train",
    n_per_item: int = 1,
    share: float | None = None,
    max_items: int | None = None,
    negatives_per_query: int = 4,
    positive_grade: int = 1,
    min_confidence: float | None = None,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    seed: int = 0,
    show_progress: bool = False,
) -> tuple[GradedDataset, SyntheticReport]:
    """Add queries written from items, with labelled pairs, to a split.

    A new query stands against the item that it was written for, against other items for which the same words were
    written, and against ``negatives_per_query`` likely negatives: chosen items, every other one of the same leaf
    category where there are any. Everything is graded by the annotator. A text that equals a query of the dataset, in
    any split, is left out. Queries have kind ``synthetic``, the item's locale and ids ``synthetic:<item>:<number>``;
    judgments have the source ``synthetic:<annotator identity>``. Judgments of other splits are neither read nor
    changed.

    Args:
        dataset: The judgments and the catalogue.
        annotator: Grades texts that nobody judged; a table of judgments cannot.
        writer: What writes the queries; :class:`~mr_st.augment.template_writer.TemplateQueryWriter` when None.
        policy: ``selective``: only for items without a positive pair in the split; ``low_ratio``: for a small share
            of all items.
        split: Which judgments count, and which the new ones join.
        n_per_item: Queries asked for each chosen item.
        share: Of the items that the policy admits, in 0..1; when None 1 for selective, 0.05 for low_ratio (ours).
        max_items: The most items to write for.
        negatives_per_query: Other items that each new query stands against (ours; the paper gives no number).
        positive_grade: From which grade a pair is positive.
        min_confidence: Drop labels whose probability is lower; None keeps all.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        seed: Of the choice of items, the queries and the likely negatives.
        show_progress: Draw a progress bar.

    Returns:
        The dataset with the new queries, and the report. Where no query could be written, the dataset as it was.

    Raises:
        UsageError: an argument out of range, or an unknown split.
        MrStError: a writer or annotator whose answer does not fit.
    """
    _check(dataset, policy, n_per_item, share, max_items, negatives_per_query, positive_grade, min_confidence, seed)
    writer = TemplateQueryWriter() if writer is None else writer
    judged = dataset.judged_pairs(split)
    has_positive = np.zeros(len(dataset.items), dtype=bool)
    has_positive[judged.item_rows[judged.grades >= positive_grade]] = True
    chosen = _choose(has_positive, policy, share, max_items, seed)
    items = item_features(dataset, chosen)
    report = SyntheticReport(
        policy, writer.identity, annotator.identity, len(dataset.items), int((~has_positive).sum()), len(chosen)
    )
    texts, owners, dropped = _write(dataset, writer, items, n_per_item, seed)
    report = replace(report, dropped=dict(sorted(dropped.items())))
    if not texts:
        return dataset, report
    queries, rows, is_own = _pairs(texts, owners, items, negatives_per_query, seed)

    extended = _with_queries(dataset, texts, owners, items)
    item_rows = chosen[rows]
    annotations = label_pairs(
        extended, annotator, len(dataset.queries) + queries, item_rows, item_text_levels, max_chars, show_progress
    )
    sure = np.ones(len(queries), dtype=bool)
    if min_confidence is not None:
        sure = annotations.confidence >= min_confidence
    table = pa.table(
        {
            "query_id": arrow_table(extended.queries)["query_id"].take(pa.array(len(dataset.queries) + queries)),
            "item_id": arrow_table(dataset.items)["item_id"].take(pa.array(item_rows)),
            "grade": annotations.grades,
            "split": pa.array([split] * len(queries), pa.string()),
            "source": pa.array([f"synthetic:{annotator.identity}"] * len(queries), pa.string()),
            "confidence": annotations.confidence,
        },
        schema=arrow_schema("judgments"),
    ).filter(pa.array(sure))
    kept = np.unique(queries[sure])
    keep = np.concatenate([np.arange(len(dataset.queries)), len(dataset.queries) + kept])
    step = {
        "synthetic": policy, "writer": writer.identity, "annotator": annotator.identity, "split": split,
        "n_per_item": n_per_item, "share": share, "max_items": max_items, "negatives_per_query": negatives_per_query,
        "positive_grade": positive_grade, "min_confidence": min_confidence, "seed": seed,
    }  # fmt: skip
    result = replace(
        extended,
        source={**dataset.source, "augmented": [*dataset.source.get("augmented", []), step]},
        queries=to_dataset(arrow_table(extended.queries).take(pa.array(keep)).combine_chunks()),
        judgments=to_dataset(pa.concat_tables([arrow_table(dataset.judgments), table]).combine_chunks()),
    )
    grades, names = annotations.grades, dataset.scale.names
    own = grades[sure & is_own]
    report = replace(
        report,
        items_with_query=len(np.unique(rows[sure & is_own])),
        items_with_positive=len(np.unique(rows[sure & (grades >= positive_grade)])),
        queries=len(kept),
        own_pairs=_by_name(own, names),
        other_pairs=_by_name(grades[sure & ~is_own], names),
        assumed_wrong=round(float((own < positive_grade).mean()), 4) if len(own) else None,
        low_confidence=int((~sure).sum()),
    )
    return result, report


def _check(
    dataset: GradedDataset,
    policy: str,
    n_per_item: int,
    share: float | None,
    max_items: int | None,
    negatives_per_query: int,
    positive_grade: int,
    min_confidence: float | None,
    seed: int,
) -> None:
    if policy not in ("selective", "low_ratio"):
        raise UsageError(f"policy is {policy!r}; expected 'selective' or 'low_ratio'")
    if n_per_item < 1 or negatives_per_query < 0 or seed < 0 or (max_items is not None and max_items < 1):
        raise UsageError(
            f"n_per_item {n_per_item} and max_items {max_items} must be 1 or more, negatives_per_query "
            f"{negatives_per_query} and seed {seed} 0 or more"
        )
    if share is not None and not 0 < share <= 1:
        raise UsageError(f"share is {share}; it must be above 0 and at most 1")
    if not 0 < positive_grade < dataset.scale.n_grades:
        raise UsageError(f"positive_grade is {positive_grade}; expected 1..{dataset.scale.n_grades - 1}")
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence is {min_confidence}; it is a probability, in 0..1, or None")


def _choose(
    has_positive: np.ndarray, policy: Policy, share: float | None, max_items: int | None, seed: int
) -> np.ndarray:
    """Rows of the items to write for, ascending."""
    pool = np.flatnonzero(~has_positive) if policy == "selective" else np.arange(len(has_positive))
    share = share if share is not None else (1.0 if policy == "selective" else _LOW_RATIO)
    n = min(int(np.ceil(share * len(pool))), len(pool) if max_items is None else max_items)
    return np.sort(np.random.default_rng([seed, 0]).choice(pool, n, replace=False))


def _write(
    dataset: GradedDataset, writer: QueryWriter, items: list[ItemFeatures], n_per_item: int, seed: int
) -> tuple[list[str], list[list[int]], Counter[str]]:
    """The distinct new texts; for each the items (places in ``items``) it was written for; and what was left out."""
    written = writer.write(items, n_per_item, seed)
    if len(written) != len(items):
        raise MrStError(f"{writer.identity}: queries for {len(written):,} items, asked for {len(items):,}; mend it")
    dropped = Counter(getattr(writer, "dropped", None) or {})
    known = {tuple(tokens(text)) for text in dataset.query_texts()}
    texts: list[str] = []
    owners: list[list[int]] = []
    place: dict[tuple[tuple[str, ...], str], int] = {}
    for owner, (item, given) in enumerate(zip(items, written, strict=True)):
        if not given:
            dropped["no query for the item"] += 1
        for raw in given[:n_per_item]:
            text, reason = parse_query(raw, item.title)
            key = tuple(tokens(text))
            if reason or key in known:
                dropped[reason or "a query of the dataset"] += 1
            elif (key, item.locale) not in place:
                place[key, item.locale] = len(texts)
                texts.append(text)
                owners.append([owner])
            elif owner not in (sharing := owners[place[key, item.locale]]):
                sharing.append(owner)
    return texts, owners, dropped


def _pairs(
    texts: list[str], owners: list[list[int]], items: list[ItemFeatures], n_others: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 (n,) queries, int64 (n,) places of items, bool (n,) whether the query was written for the item."""
    rng = np.random.default_rng([seed, 1])
    leaves: dict[tuple[str, ...], list[int]] = {}
    for place, item in enumerate(items):
        leaves.setdefault(item.category_path, []).append(place)
    pairs: list[tuple[int, int, bool]] = []
    for query, own in enumerate(owners):
        pairs += [(query, place, True) for place in own]
        taken = set(own)
        for turn in range(n_others):
            shelf = leaves[items[own[0]].category_path] if items[own[0]].category_path else []
            other = _draw(shelf, taken, rng) if turn % 2 == 0 else None
            if other is None:
                other = _draw(range(len(items)), taken, rng)
            if other is None:
                break
            taken.add(other)
            pairs.append((query, other, False))
    queries, places, is_own = zip(*pairs, strict=True)
    return np.array(queries, dtype=np.int64), np.array(places, dtype=np.int64), np.array(is_own, dtype=bool)


def _draw(pool: list[int] | range, taken: set[int], rng: np.random.Generator) -> int | None:
    """One of the pool that is not taken, or None."""
    for _ in range(8):
        if len(pool) and (place := pool[int(rng.integers(len(pool)))]) not in taken:
            return place
    free = [place for place in pool if place not in taken] if len(pool) <= 8 * (len(taken) + 1) else []
    return free[int(rng.integers(len(free)))] if free else None


def _with_queries(
    dataset: GradedDataset, texts: list[str], owners: list[list[int]], items: list[ItemFeatures]
) -> GradedDataset:
    """The dataset with the new rows at the end of its queries."""
    used = set(arrow_table(dataset.queries)["query_id"].to_pylist())
    number: Counter[str] = Counter()
    ids: list[str] = []
    for own in owners:
        item_id = items[own[0]].item_id
        while (query_id := f"synthetic:{item_id}:{number[item_id]}") in used:
            number[item_id] += 1
        used.add(query_id)
        ids.append(query_id)
    columns: dict[str, Any] = {
        "query_id": ids,
        "text": texts,
        "locale": [items[own[0]].locale for own in owners],
        "frequency": pa.nulls(len(texts), pa.float64()),
        "kind": ["synthetic"] * len(texts),
        "source_query_id": pa.nulls(len(texts), pa.string()),
    }
    new = pa.table(columns, schema=arrow_schema("queries"))
    return replace(dataset, queries=to_dataset(pa.concat_tables([arrow_table(dataset.queries), new]).combine_chunks()))


def _by_name(grades: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(grades, minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=True))
