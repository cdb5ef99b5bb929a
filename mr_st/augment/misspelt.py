"""Misspelt queries for training: added beside the clean ones, put in their place, or paired with them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from mr_st.augment.misspelt_report import MisspeltReport
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_schema, arrow_table, to_dataset
from mr_st.errors import UsageError
from mr_st.text.spelling import SpellingChannel, text_rng

__all__ = ["add_misspelt_queries", "misspelt_pairs", "misspelt_variants", "substitute_misspelt_queries"]

KIND = "spelling"
"""The kind of a query that is a misspelling."""

_DRAWS = 8  # tries for a variant that no query has as its text


def add_misspelt_queries(
    dataset: GradedDataset,
    share: float = 0.4,
    split: str = "train",
    seed: int = 0,
    channel: SpellingChannel | None = None,
) -> tuple[GradedDataset, MisspeltReport]:
    """Add a misspelt variant of a share of a split's queries, with their judged pairs; everything else stays.

    A misspelling is tried for every query of the split that is not one itself, and kept for ``share`` of them, in each
    locale. A variant is a query of its own: kind ``spelling``, the clean query as ``source_query_id``, the same
    locale, no frequency (nobody counted it). Its pairs repeat those of the clean query in this split with grade,
    confidence and split; their source is ``spelling:`` and the source of the label. Other splits are not touched.

    Args:
        dataset: Where the queries and judgments are.
        share: Of the split's queries, in 0..1.
        split: Whose queries.
        seed: With a query's id it says which queries come first, with its text how it is misspelt; neither the order
            of the rows nor the process counts.
        channel: What misspells; the default channel of each query's locale when None.

    Returns:
        The dataset with the variants at the end of its tables, and what was done.

    Raises:
        UsageError: a share outside 0..1, or no such split.

    Source: arXiv 2602.17654, "Spelling Variation Augmentation": additive, 30-50 % of the queries.

    Example:
        >>> from mr_st.data.marketplace import load_marketplace
        >>> dataset = load_marketplace("tiny")
        >>> more, report = add_misspelt_queries(dataset)
        >>> len(more.queries) - len(dataset.queries) == report.n_variants
        True
    """
    variants, report = _draw("additive", dataset, share, split, seed, channel)
    ids = dataset.queries["query_id"][:]
    new_ids = pa.array(_new_ids([ids[variant.row] for variant in variants], ids), pa.string())
    clean_ids = pa.array([ids[variant.row] for variant in variants], pa.string())
    schema, queries = arrow_schema("queries"), arrow_table(dataset.queries)
    rows = pa.array([variant.row for variant in variants], pa.int64())
    n = len(variants)
    added = pa.table(
        {
            "query_id": new_ids,
            "text": pa.array([variant.text for variant in variants], pa.string()),
            "locale": queries["locale"].take(rows),
            "frequency": pa.nulls(n, pa.float64()),
            "kind": pa.array([KIND] * n, pa.string()),
            "source_query_id": clean_ids,
        },
        schema=schema,
    )
    judgments = arrow_table(dataset.judgments)
    at = pc.index_in(judgments["query_id"], value_set=clean_ids)
    is_copied = pc.and_(pc.is_valid(at), pc.equal(judgments["split"], split))
    copied, at = judgments.filter(is_copied), at.filter(is_copied)
    copied = copied.set_column(0, "query_id", new_ids.take(at.combine_chunks()))
    source = pc.binary_join_element_wise(KIND, copied["source"], ":")
    copied = copied.set_column(copied.schema.get_field_index("source"), "source", source)
    report = report.with_pairs(copied.num_rows)
    made = _made(
        dataset,
        pa.concat_tables([queries, added]),
        pa.concat_tables([judgments, copied.cast(judgments.schema)]),
        {"misspelt": "additive", "share": share, "split": split, "seed": seed, "channel": _identity(channel)},
    )
    return made, report


def substitute_misspelt_queries(
    dataset: GradedDataset,
    share: float = 0.4,
    split: str = "train",
    seed: int = 0,
    channel: SpellingChannel | None = None,
) -> tuple[GradedDataset, MisspeltReport]:
    """Misspell a share of a split's queries where they stand: the text changes and the kind, ids and pairs do not.

    The paper compares this with :func:`add_misspelt_queries`, and it does worse. A query with judgments in another
    split too is left as it is.

    Args:
        dataset, share, split, seed, channel: As in :func:`add_misspelt_queries`.

    Returns:
        The dataset with changed queries, and what was done.

    Raises:
        UsageError: a share outside 0..1, or no such split.
    """
    variants, report = _draw("in-place", dataset, share, split, seed, channel, only_here=True)
    queries = arrow_table(dataset.queries)
    texts, kinds = queries["text"].to_pylist(), queries["kind"].to_pylist()
    for variant in variants:
        texts[variant.row], kinds[variant.row] = variant.text, KIND
    for name, values in (("text", texts), ("kind", kinds)):
        chunks = pa.chunked_array([pa.array(values, pa.string())])
        queries = queries.set_column(queries.schema.get_field_index(name), name, chunks)
    is_changed = pc.is_in(
        arrow_table(dataset.judgments)["query_id"],
        value_set=pa.array([dataset.queries[variant.row]["query_id"] for variant in variants], pa.string()),
    )
    step = {"misspelt": "in-place", "share": share, "split": split, "seed": seed, "channel": _identity(channel)}
    made = _made(dataset, queries, arrow_table(dataset.judgments), step)
    return made, report.with_pairs(pc.sum(is_changed).as_py() or 0)


def misspelt_pairs(
    dataset: GradedDataset,
    share: float = 1.0,
    split: str = "train",
    seed: int = 0,
    channel: SpellingChannel | None = None,
) -> Dataset:
    """Pairs of a clean and a misspelt text, for a loss that draws their vectors together.

    Args:
        dataset, split, seed, channel: As in :func:`add_misspelt_queries`.
        share: Of the split's queries, in 0..1.

    Returns:
        Text columns ``clean`` and ``misspelt``, in the order of the queries.

    Raises:
        UsageError: a share outside 0..1, or no such split.
    """
    variants, _ = _draw("pairs", dataset, share, split, seed, channel)
    texts = dataset.query_texts()
    clean = pa.array([texts[variant.row] for variant in variants], pa.string())
    misspelt = pa.array([variant.text for variant in variants], pa.string())
    return to_dataset(pa.table({"clean": clean, "misspelt": misspelt}))


def misspelt_variants(
    dataset: GradedDataset,
    share: float = 0.4,
    split: str = "train",
    seed: int = 0,
    channel: SpellingChannel | None = None,
) -> tuple[dict[str, str], MisspeltReport]:
    """A misspelling of a share of a split's queries, for ``build_instances(variants=...)``; the dataset stays.

    The queries and their misspellings are those that :func:`add_misspelt_queries` adds.

    Args:
        dataset, share, split, seed, channel: As in :func:`add_misspelt_queries`.

    Returns:
        Query id -> misspelt text, in the order of the queries, and what was done.

    Raises:
        UsageError: a share outside 0..1, or no such split.

    Source: arXiv 2602.17654 compares such a regulariser with additive augmentation, and finds it worse.

    Example:
        >>> from mr_st.data import build_instances
        >>> from mr_st.data.marketplace import load_marketplace
        >>> dataset = load_marketplace("tiny")
        >>> variants, report = misspelt_variants(dataset, share=1.0)
        >>> "variants" in build_instances(dataset, variants=variants)[0]
        True
    """
    variants, report = _draw("regularise", dataset, share, split, seed, channel)
    ids = dataset.queries["query_id"][:]
    return {ids[variant.row]: variant.text for variant in variants}, report


class _Variant(NamedTuple):
    """A misspelling of the query in one row."""

    row: int
    text: str


def _draw(
    way: str,
    dataset: GradedDataset,
    share: float,
    split: str,
    seed: int,
    channel: SpellingChannel | None,
    only_here: bool = False,
) -> tuple[list[_Variant], MisspeltReport]:
    """Try a misspelling for every clean query of the split; keep each locale's share, by the hashes of their ids."""
    if not 0 <= share <= 1:
        raise UsageError(f"share of misspelt queries is {share}; give a number in 0..1")
    here, elsewhere = _judged_in(dataset, split)
    columns = arrow_table(dataset.queries).select(["query_id", "text", "locale", "kind"])
    ids, texts, locales, kinds = (column.to_pylist() for column in columns.columns)
    report = MisspeltReport(way, split, share, seed)
    clean: list[int] = []
    for row, query_id in enumerate(ids):
        if query_id not in here:
            continue
        if kinds[row] == KIND:
            report.n_already_misspelt += 1
        elif only_here and query_id in elsewhere:
            report.n_in_other_splits += 1
        else:
            clean.append(row)
    taken = {_key(text) for text in texts}
    wanted = _quotas([locales[row] for row in clean], share)
    kept: list[_Variant] = []
    for row in sorted(clean, key=lambda row: (_rank(ids[row], seed), ids[row])):
        variant = None
        for text in _misspellings(texts[row], locales[row], seed, channel):
            if _key(text) not in taken:
                variant = text
                break
            report.n_refused += 1
        if variant is None:
            report.n_without_variant += 1
        elif wanted[locales[row]]:
            wanted[locales[row]] -= 1
            taken.add(_key(variant))
            kept.append(_Variant(row, variant))
    kept.sort()
    report.count([locales[row] for row in clean], [(texts[v.row], v.text, locales[v.row]) for v in kept])
    return kept, report


def _quotas(locales: Sequence[str], share: float) -> dict[str, int]:
    """How many queries of each locale get a variant; what rounding leaves over goes to the next locale."""
    quotas, owed = {}, 0.0
    for locale, n_queries in sorted(Counter(locales).items()):
        owed += share * n_queries
        quotas[locale] = min(round(owed), n_queries)
        owed -= quotas[locale]
    return quotas


def _judged_in(dataset: GradedDataset, split: str) -> tuple[set[str], set[str]]:
    """Ids of the queries judged in the split, and of those judged in any other."""
    here = dataset.split(split).queries["query_id"][:]
    judgments = arrow_table(dataset.judgments)
    others = judgments["query_id"].filter(pc.not_equal(judgments["split"], split))
    return set(here), set(pc.unique(others).to_pylist())


def _misspellings(text: str, locale: str, seed: int, channel: SpellingChannel | None) -> Iterator[str]:
    """Misspellings of a text, drawn by (seed, text, locale) alone; none where nothing may be changed."""
    source = channel or SpellingChannel.default("en" if locale == "und" else locale)
    rng, clean = text_rng(f"{locale}\0{text}", seed), unicodedata.normalize("NFC", text)
    for _ in range(_DRAWS):
        found = source.misspell(text, rng, locale, must_change=True)
        if found == clean:
            return
        yield found


def _key(text: str) -> str:
    """Texts with the same key are the same query; ``weisse`` is not ``weiße`` here."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def _rank(query_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{query_id}".encode(), digest_size=16).digest()


def _new_ids(ids: Sequence[str], existing: Sequence[str]) -> list[str]:
    known, found = set(existing), []
    for query_id in ids:
        new, number = f"{query_id}~misspelt", 1
        while new in known:
            number += 1
            new = f"{query_id}~misspelt{number}"
        known.add(new)
        found.append(new)
    return found


def _identity(channel: SpellingChannel | None) -> str:
    return channel.identity if channel is not None else "default of each locale"


def _made(dataset: GradedDataset, queries: pa.Table, judgments: pa.Table, step: dict[str, Any]) -> GradedDataset:
    source = {**dataset.source, "augmented": [*dataset.source.get("augmented", []), step]}
    return GradedDataset(
        to_dataset(queries), dataset.items, to_dataset(judgments), dataset.engagement, dataset.scale, dataset.name,
        dataset.license, source,
    )  # fmt: skip
