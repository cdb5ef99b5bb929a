"""A results folder and cards made to break the leaderboard: hostile names everywhere, and files that are none."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mr_st.data import GradedDataset

LONG = "long-" * 1000
NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</script><script>alert(3)</script>",
    "../../../etc/passwd",
    "__proto__",
    "constructor",
    "javascript:alert(4)",
    "=cmd()|'/c calc'!A0",
    "\u202emodel\u202c \u05d0\u05d1\u05d2 \u0645",
    "two\nlines\tand\u2028more",
    "{{ 7 * 7 }} {% raw %} ${7*7} %s {0}",
    "nul\x00and\x07bell",
    "&lt;b&gt; &amp; 'single' `back`",
    "\U0001f680 rocket",
    "toString",
    "hasOwnProperty",
    "org/../../name",
    LONG,
    " ",
]
"""Models, tasks, subsets, queries, items and attributes are called like this."""

BROKEN: dict[str, tuple[bytes, str]] = {
    "Truncated.json": (b'{"task_name": "Bro', "not valid JSON"),
    "Empty.json": (b"", "not valid JSON"),
    "Bytes.json": (b"\xff\xfe\x00{}", "not valid JSON"),
    "Deep.json": (b'{"scores":' * 50_000, "not valid JSON"),
    "List.json": (b"[1, 2, 3]", "no MTEB result"),
    "Text.json": (b'"scores"', "no MTEB result"),
    "Null.json": (b"null", "no MTEB result"),
    "Other.json": (b'{"name": "package", "version": "1.0"}', "no MTEB result"),
    "NoScores.json": (b'{"task_name": "T", "scores": {}}', "holds no score that is a number"),
    "NoNumbers.json": (
        b'{"task_name": "T", "scores": {"test": [{"ndcg_at_10": NaN, "recall_at_10": 1e400, "main_score": "high"}]}}',
        "holds no score that is a number",
    ),
    "OddTypes.json": (b'{"task_name": ["T"], "scores": {"test": [7, null, [], {"graded": []}]}}', "no score"),
    "Newer.json": (
        b'{"task_name": "T", "scores": {"test": [{"main_score": 0.5, "graded": {"format": 99}}]}}',
        "written by a newer mr-st",
    ),
}
"""File name to what it holds and what the page says of it."""

_CARD = """---
license: "<script>alert(5)</script>"
base_model: [{{deep: [1, 2]}}, null]
datasets: {{__proto__: 1}}
tags: 7
model-index: [[], 3]
---
# A card <script>alert(6)</script>

<img src=x onerror=alert(7)> <iframe src="https://example.org/frame"></iframe> <style>body {{ display: none }}</style>

[a link](javascript:alert(8)) [data](data:text/html,<script>alert(9)</script>) [out](https://example.org/page)
![outside](https://example.org/picture.png) ![above](../../secret.png) ![link](secret.png) ![svg](drawing.svg)

| a | b |
|---|---|
| <b>bold</b> | {long} |

```html
</code></pre><script>alert(10)</script>
```

SentenceTransformer("{name}")
"""


def write_hostile(folder: Path) -> Path:
    """Write ``folder/results`` and ``folder/cards``, and a secret beside them; gives ``folder``."""
    samples = _samples()
    folder.mkdir(parents=True)
    (folder / "secret.png").write_bytes(b"secret")
    results = folder / "results"
    for i, arm in enumerate(samples.QUALITY):
        report = samples.make_report(arm, n_queries=40)
        _rename_result(_with_hostile_tables(report).save(results), i)
    for i, name in enumerate(NAMES):
        model = NAMES[len(samples.QUALITY) + i] if len(samples.QUALITY) + i < len(NAMES) else "org/plain"
        _write_by_mteb(results / f"hostile{i}" / "1", model, task=name)
    broken = results / "broken" / "1"
    broken.mkdir(parents=True)
    for file, (content, _) in BROKEN.items():
        (broken / file).write_bytes(content)
    (broken / "Folder.json").mkdir()
    (broken / "Dangling.json").symlink_to(folder / "nothing")
    (broken / "Secret.json").symlink_to(folder / "secret.png")
    (results / "stray.json").write_text('{"task_name": "T", "scores": {"test": [{"main_score": 0.5}]}}')
    _write_surrogates(results)
    _write_cards(folder / "cards", folder / "secret.png")
    return folder


@functools.cache
def hostile_data() -> GradedDataset:
    """The dataset of the first results: every query, title, category and locale is hostile."""
    names = range(len(NAMES))
    return GradedDataset.from_tables(
        [{"query_id": name, "text": name, "locale": name} for name in NAMES],
        [{"item_id": name, "title": name, "category_path": [name], "locale": name} for name in NAMES],
        [
            {"query_id": NAMES[q], "item_id": NAMES[i], "grade": (q + i) % 3, "split": "test"}
            for q in names
            for i in names
        ],
        name=NAMES[0],
        license=NAMES[1],
    )


def _samples() -> Any:
    spec = importlib.util.spec_from_file_location("sample_results", Path(__file__).parent / "sample_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_hostile_tables(report: Any) -> Any:
    """Hostile ids of queries and items, and hostile attributes."""
    n = report.per_query.num_rows
    ids = [*NAMES, *(f"q{i}" for i in range(n - len(NAMES)))]
    table = report.per_query.set_column(0, "query_id", pa.array(ids))
    for attribute in ("locale", "kind"):
        table = table.append_column(attribute, pa.array([NAMES[i % 3] if i % 4 else None for i in range(n)]))
    run = pa.table(
        {
            "query_id": pa.array([q for q in ids for _ in range(len(NAMES))]),
            "rank": pa.array(list(range(1, len(NAMES) + 1)) * n, pa.int32()),
            "item_id": pa.array(NAMES * n),
            "score": pa.array([1.0] * (len(NAMES) * n), pa.float32()),
            "grade": pa.array([0, 1, 2, None, 2, 0, 1][:7] * (len(NAMES) * n // 7 + 1), pa.int8())[: len(NAMES) * n],
        }
    )
    return dataclasses.replace(report, per_query=table, run=run)


def _rename_result(path: Path, i: int) -> None:
    """A hostile model with hostile facts, protocol, metrics and subsets."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["dataset_revision"] = hostile_data().fingerprint
    (scores,) = content["scores"]["test"]
    ours = scores["graded"]
    ours["model"]["name"], ours["model"]["revision"] = NAMES[i], NAMES[-1 - i]
    ours["model"]["facts"] |= {"license": NAMES[0], "adapted_from": NAMES[1], "training_datasets": NAMES}
    ours["metrics"] |= {f"{name}@10": [0.5, 0.4, 0.6, 40] for name in (*NAMES[:2], "__proto__", "constructor")}
    ours["metrics"] |= {
        "nonsense@10": ["a", None, {}, []],
        "short@10": [1.0],
        "huge@10": [1e300, -1e300, 1e300, 10**400],
    }
    ours["metrics"] |= {"recall@99999999999999999999": [0.5, None, None, None], "turned@10": [0.5, 0.9, 0.1, -7]}
    ours["protocol"] |= {
        "corpus": NAMES[1],
        "grades": NAMES[:3],
        "dataset": {"name": NAMES[0], "fingerprint": NAMES[2]},
        "system": {"kind": NAMES[2]},
        "item_text": NAMES[4],
    }
    ours["separability"] = {
        "pairs": NAMES[0],
        "boundaries": [{"high": NAMES[1], "threshold": NAMES[0]}, 7],
        "thresholds": NAMES[2],
    }
    parts = [
        {
            **scores,
            "hf_subset": name,
            "languages": [NAMES[1]],
            "graded": {**ours, "protocol": {**ours["protocol"], "subset": {"where": {name: name}}}},
        }
        for name in NAMES
    ]
    content["scores"] = {"test": [scores, *parts], "__proto__": [scores]}
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_by_mteb(folder: Path, model: str, task: str) -> None:
    folder.mkdir(parents=True)
    meta = {"name": model, "revision": NAMES[0], "n_parameters": -5, "embed_dim": "many", "license": ["mit"],
            "training_datasets": {NAMES[1]: [NAMES[0]]}, "max_tokens": 1e300}  # fmt: skip
    (folder / "model_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    entry = {"ndcg_at_10": 0.5, "main_score": 0.5, "hf_subset": "default", "languages": [NAMES[0]]}
    content = {"task_name": task, "dataset_revision": NAMES[0], "date": "yesterday", "scores": {"test": [entry]}}
    (folder / "Task.json").write_text(json.dumps(content), encoding="utf-8")


def _write_surrogates(results: Path) -> None:
    """Halves of characters: in a name, in a task, and (bytes that are no UTF-8) in a folder's name."""
    _write_by_mteb(results / "surrogate" / "1", "half \ud83d of a model", "HalfRetrieval")
    _write_by_mteb(results / "surrogate" / "2", "whole", "half \udc00 of a task")
    odd = os.fsencode(results) + b"/no\xffutf8/1"
    os.makedirs(odd)
    with open(odd + b"/Task\xfe.json", "wb") as file:
        file.write(b'{"task_name": "BytesRetrieval", "scores": {"test": [{"ndcg_at_10": 0.25, "main_score": 0.25}]}}')
    with open(odd + b"/Broken\xfe.json", "wb") as file:
        file.write(b"{")
    whole = next(results.glob("sentence-transformers*/*"))
    for name, content in (("CutRetrieval", b"PAR1"), ("NoTableRetrieval", None), ("OddTableRetrieval", b"")):
        for path in list(whole.glob("MarketplaceRetrieval.*")):
            if path.suffix == ".parquet" and content is not None:
                path.with_name(path.name.replace("MarketplaceRetrieval", name)).write_bytes(content)
            elif path.suffix == ".json":
                copy = json.loads(path.read_text(encoding="utf-8")) | {"task_name": name}
                path.with_name(f"{name}.json").write_text(json.dumps(copy), encoding="utf-8")
    table = pa.table(
        {"query_id": pa.array([1, 2]), "ndcg@10": pa.array(["a", "b"]), "rank": [0, -1], "item_id": [[1], []]}
    )
    for kind in ("per_query", "run", "similarities"):
        pq.write_table(table, whole / f"OddTableRetrieval.test.{kind}.parquet")


def _write_cards(cards: Path, secret: Path) -> None:
    for i, name in enumerate(NAMES[:8]):
        folder = cards / f"card{i}"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(_CARD.format(name=name.replace('"', ""), long=LONG), encoding="utf-8")
        (folder / "secret.png").symlink_to(secret)
        (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(11)'/>")
    (cards / "bytes").mkdir()
    (cards / "bytes" / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    (cards / "yaml").mkdir()
    (cards / "yaml" / "README.md").write_text(
        "---\na: !!python/object/apply:os.system ['touch hacked']\n---\n# Card\n"
    )
