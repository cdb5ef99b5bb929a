"""The card (README.md) of a dataset on the Hub: what it holds, in numbers, and how to load it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from mr_st.data.schema import TABLES, arrow_table
from mr_st.data.validation_locales import language_of
from mr_st.hub_client import license_terms
from mr_st.text.markdown import Markdown, code, escape, literal

if TYPE_CHECKING:
    from mr_st.data.dataset import GradedDataset

__all__ = ["dataset_card"]

_TAGS = ["graded-relevance", "e-commerce", "product-search", "mr-st"]
_SIZES = [
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
]  # fmt: skip
_HOLDS = {
    "queries": "what people searched for",
    "items": "the catalogue",
    "judgments": "which item deserves which grade for which query",
    "engagement": "what people did with the items they were shown",
}


def dataset_card(dataset: GradedDataset, repo_id: str) -> str:
    """The card's text: metadata for the Hub, then counts, label shares by split, scale, fingerprint and use.

    Names, the licence and grade names come from whoever made the dataset and are escaped.

    Args:
        dataset: The dataset.
        repo_id: Where it will lie, for the lines that load it.

    Example:
        >>> from mr_st.data import GradedDataset
        >>> dataset = GradedDataset.from_tables(
        ...     [{"query_id": "q", "text": "mug", "locale": "en"}], [{"item_id": "a", "title": "Mug"}],
        ...     [{"query_id": "q", "item_id": "a", "grade": 2}], license="MIT",
        ... )  # fmt: skip
        >>> print("\\n".join(dataset_card(dataset, "org/mugs").splitlines()[:4]))
        ---
        license: mit
        language:
        - en
    """
    counts = {table: len(value) for table in TABLES if (value := getattr(dataset, table)) is not None}
    metadata = yaml.safe_dump(_metadata(dataset, counts), sort_keys=False, allow_unicode=True)
    tables = _rows(["table", "rows", "holds"], [[code(t), f"{n:,}", _HOLDS[t]] for t, n in counts.items()])
    return f"""---
{metadata}---

# {escape(dataset.name)}

Queries, items and graded judgments: how relevant an item is to a query, on the scale {escape(dataset.scale)}.

{tables}

## Label shares

{_label_shares(dataset)}

Gains in NDCG, lowest grade first: {", ".join(f"{gain:g}" for gain in dataset.scale.gains)}. The split stands on the
judgment: the splits may share queries, and every item of the catalogue can be searched in each of them.

Licence: {escape(dataset.license)}. Content fingerprint: {code(dataset.fingerprint)}.

## How to load it

```python
from mr_st import GradedDataset

dataset = GradedDataset.load({literal(repo_id)})  # revision="..." pins a commit
```

A table by itself: `datasets.load_dataset({literal(repo_id)}, "judgments")`; the others are
{_listed([t for t in counts if t != "judgments"])}.
"""


def _metadata(dataset: GradedDataset, counts: dict[str, int]) -> dict[str, Any]:
    most = max(counts.values())
    languages = _languages(dataset)
    return {
        **license_terms(dataset.license),
        **({"language": languages} if languages else {}),
        "task_categories": ["text-retrieval"],
        "size_categories": [next((name for limit, name in _SIZES if most < limit), "n>1B")],
        "tags": _TAGS,
        "configs": [
            {"config_name": table, "data_files": [{"split": table, "path": f"{table}.parquet"}]} for table in counts
        ],
    }


def _languages(dataset: GradedDataset) -> list[str]:
    """The language of each locale, as the Hub names it; what is no language code is left out."""
    locales = {
        locale
        for table in (dataset.queries, dataset.items)
        for locale in arrow_table(table)["locale"].unique().to_pylist()
    }
    languages = {language_of(str(locale)) or "" for locale in locales}
    return sorted(language for language in languages if re.fullmatch("[a-z]{2,3}", language))


def _label_shares(dataset: GradedDataset) -> str:
    frame = arrow_table(dataset.judgments).select(["split", "grade"])
    counted = frame.group_by(["split", "grade"]).aggregate([([], "count_all")]).to_pylist()
    found = {(row["split"], row["grade"]): row["count_all"] for row in counted}
    grades = range(dataset.scale.n_grades)
    rows = []
    for split in dataset.splits:
        total = sum(found.get((split, grade), 0) for grade in grades)
        shares = [f"{found.get((split, grade), 0) / total:.1%}" if total else "–" for grade in grades]
        rows.append([code(split), f"{total:,}", *shares])
    return _rows(["split", "judgments", *(f"{g} {name}" for g, name in enumerate(dataset.scale.names))], rows)


def _rows(head: list[Any], rows: list[list[Any]]) -> str:
    lines = [head, [Markdown("---") for _ in head], *rows]
    return "\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines)


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"
