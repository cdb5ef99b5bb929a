"""A leaderboard with everything on it: texts of queries and items, rankings, subsets, every status, a card."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from word_shop import word_shop

from mr_st.leaderboard import build_leaderboard

TASK = "ShopRetrieval"

CARD = """---
license: apache-2.0
base_model: sentence-transformers/all-MiniLM-L6-v2
datasets: [marketplace]
---
# mr-minilm-marketplace

A card with `code`, **a table** and [a link](https://example.org/).

| task | ndcg@10 |
|---|---|
| Shop | 0.70 |
"""


def build_board_site(folder: Path, samples: ModuleType) -> Path:
    """Build it below ``folder`` and give its index.html.

    The four arms of ``samples`` on :data:`TASK`, whose data is at hand, and what ``samples.write_sample`` writes; one
    result that is stale, one on fewer queries, one that cannot be read.
    """
    results, shop = folder / "results", word_shop()
    samples.write_sample(results)
    for arm in samples.QUALITY:
        report = _on_the_shop(samples.make_report(arm, TASK), shop, samples.QUALITY[arm])
        path = report.save(results)
        for locale in ("en-US", "es-ES"):
            report.take({"locale": locale}, locale).save(results)
    of_control = next(results.glob("*control*/*/MarketplaceRetrieval.json"))
    content = json.loads(of_control.read_text(encoding="utf-8")) | {"dataset_revision": "fedcba9876543210"}
    of_control.write_text(json.dumps(content), encoding="utf-8")
    samples.make_report("stage1", n_queries=30).save(results)
    path.with_name("ESCIRetrieval.json").write_text("{", encoding="utf-8")
    card = folder / "cards" / "mr-minilm-marketplace"
    card.mkdir(parents=True)
    (card / "README.md").write_text(CARD, encoding="utf-8")
    return build_leaderboard([results], folder / "site", cards_dir=folder / "cards", data=[shop])


def _on_the_shop(report: Any, shop: Any, quality: float) -> Any:
    """The report with the shop's queries, and rankings of its items: the better the model, the better they are."""
    queries = shop.queries["query_id"]
    items = np.array(shop.items["item_id"])
    grades: dict[str, dict[str, int]] = {query: {} for query in queries}
    for query, item, grade in zip(*(shop.judgments[c] for c in ("query_id", "item_id", "grade")), strict=True):
        grades[query][item] = grade
    found = {}
    for query in queries:
        rng = np.random.default_rng(zlib.crc32(f"{report.model_name} {query}".encode()))
        wanted = np.array([grades[query].get(item, 0) for item in items])
        found[query] = items[np.argsort(-(quality * wanted + rng.normal(0, 0.6, len(items))))[:10]]
    run = pa.table(
        {
            "query_id": [query for query in queries for _ in range(10)],
            "rank": pa.array(list(range(1, 11)) * len(queries), pa.int32()),
            "item_id": [item for query in queries for item in found[query]],
            "score": pa.array(np.linspace(1, 0.1, 10).tolist() * len(queries), pa.float32()),
            "grade": pa.array([grades[query].get(item) for query in queries for item in found[query]], pa.int8()),
        }
    )
    table = report.per_query.set_column(0, "query_id", pa.array(queries))
    for attribute in ("locale", "kind"):
        table = table.append_column(attribute, pa.array(shop.queries[attribute]))
    protocol = report.protocol | {
        "dataset": {"name": shop.name, "fingerprint": shop.fingerprint},
        "n_items": len(items),
        "interval": {"seed": 0, "n_resamples": 200, "confidence": 0.95},
    }
    return dataclasses.replace(report, per_query=table, run=run, protocol=protocol)
