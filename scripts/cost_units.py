"""Where cost_model.py's unit costs are from: the benchmarks' files in docs/, or a short measurement of its own.

A benchmark's figure counts before an own one. All costs are core-seconds: seconds times the cores that were used.
Those of search are the cost rule's, mr_st/search/unit_costs.py.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cost_plan import Unit
from doc_pages import DOCS, read_json_or_nothing

NEEDED = {
    "encode_item": "item", "encode_query": "query", "merge": "candidate", "annotate": "pair", "select": "pair",
    "pair_text_bytes": "pair", "label_bytes": "pair", "row_bytes": "row",
}  # fmt: skip
"""The units that a plan needs, and what each is of."""
ANNOTATOR = "cross-encoder (CrossEncoderAnnotator)"
ANNOTATOR_THREADS = 2  # of docs/annotators.json's "throughput-cpu", as its protocol says


def units_of_last_time(docs: Path = DOCS) -> dict[str, Unit]:
    """The units that the cost model in docs/mining.json was made from, whoever measured them."""
    known = _at(read_json_or_nothing(docs / "mining.json"), "cost_model", "units") or {}
    return {name: Unit(**of) for name, of in known.items() if name in NEEDED}


def units_from_docs(docs: Path = DOCS) -> dict[str, Unit]:
    """The units that the benchmarks measured; what is not there is left out.

    Args:
        docs: The folder with annotators.json and encoding.json.
    """
    units: dict[str, Unit] = {}
    pairs = _at(read_json_or_nothing(docs / "annotators.json"), "throughput-cpu", "annotators", ANNOTATOR)
    if pairs:
        seconds = ANNOTATOR_THREADS / pairs["pairs_per_second"]
        units["annotate"] = Unit(seconds, f"annotators.json, throughput-cpu, {ANNOTATOR}", "pair")
    encoding = read_json_or_nothing(docs / "encoding.json")
    if encoding:
        way, of = max(
            ((name, of) for name, of in encoding["ways"].items() if name.startswith("shards")),
            key=lambda one: one[1]["texts_per_second"],
        )
        seconds = encoding["protocol"]["cores"] / of["texts_per_second"]
        units["encode_item"] = Unit(seconds, f"encoding.json, {way}, {encoding['protocol']['cores']} cores", "item")
    return units


def measured_units(path: Path) -> dict[str, Unit]:
    """The units that ``cost_model.py --measure`` wrote to a file."""
    found = read_json_or_nothing(path)
    return {
        name: Unit(value, f"cost_model.py --measure, {found['machine']}", NEEDED[name])
        for name, value in found.get("units", {}).items()
    }


def _at(found: Mapping[str, Any], *keys: str) -> Any:
    value: Any = found
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


# ---- the short measurement ------------------------------------------------------------------------------------------


def measure(size: str = "small", k: int = 150) -> dict[str, Any]:
    """What is encoded, merged, selected and written, on one thread of this machine, in half a minute.

    Args:
        size: Of the marketplace whose texts are encoded.
        k: Items retrieved for a query.
    """
    import torch

    torch.set_num_threads(1)
    return {"machine": machine(), "size": size, "k": k, "units": _measure_texts(size) | _measure_bookkeeping(k)}


def machine() -> str:
    """The processor's name and the number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores"


def _seconds(work: Callable[[], Any]) -> float:
    """Processor seconds, which do not depend on what else the machine does (but for the caches it shares)."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _measure_texts(size: str) -> dict[str, float]:
    from mr_st.data import GradedDataset
    from mr_st.encoding import encode
    from mr_st.models import load_sentence_transformer

    shop = GradedDataset.load("marketplace", size=size, seed=0)
    items, queries = shop.item_texts(2, 400)[:1000], shop.query_texts()[:1000]
    model = load_sentence_transformer("minilm", device="cpu")
    encode(model, items[:64], "item")  # warms up
    lengths = [float(np.mean([len(text.encode()) for text in texts])) for texts in (items, queries)]
    return {
        "encode_item": _seconds(lambda: encode(model, items, "item")) / len(items),
        "encode_query": _seconds(lambda: encode(model, queries, "query")) / len(queries),
        "pair_text_bytes": sum(lengths),
        "label_bytes": 1.0 + 4 * shop.scale.n_grades,  # the grade and float32 probabilities
    }


def _measure_bookkeeping(k: int) -> dict[str, float]:
    """Merging ten parts' answers, and dropping judged pairs; selecting and writing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mr_st.mining.select import is_judged, select_pairs

    rng = np.random.default_rng(0)
    n_queries, n_parts = 400, 10
    scores = rng.random((n_queries, n_parts * k), dtype=np.float32)
    ids = rng.integers(0, 1_000_000, size=scores.shape)

    def merge() -> None:
        order = np.argpartition(-scores, k, axis=1)[:, :k]
        best = np.take_along_axis(order, np.argsort(-np.take_along_axis(scores, order, 1), axis=1, kind="stable"), 1)
        rows = np.take_along_axis(ids, best, 1)
        is_judged(
            np.repeat(np.arange(n_queries), k), rows.ravel(), np.arange(n_queries).repeat(20), ids[:, :20].ravel()
        )

    n = n_queries * k * n_parts
    query_rows, ranks = np.repeat(np.arange(n // k), k), np.tile(np.arange(1, k + 1), n // k)
    grades, confidences = (rng.random(n) < 0.07).astype(np.int8), rng.random(n, dtype=np.float32)
    row_bytes = 0.0

    def select() -> None:
        nonlocal row_bytes
        kept = select_pairs(query_rows, ranks, grades, confidences, last_negative_rank=k // 10).taken
        table = pa.table(
            {
                "query_id": pa.array([f"q{row}" for row in query_rows[kept]]),
                "item_id": pa.array([f"I{row:09}" for row in rng.integers(0, 200_000_000, int(kept.sum()))]),
                "grade": grades[kept], "rank": ranks[kept].astype(np.int32), "score": confidences[kept],
                "confidence": confidences[kept],
            }
        )  # fmt: skip
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            pq.write_table(table, file.name)
            row_bytes = Path(file.name).stat().st_size / max(1, table.num_rows)

    found = {"merge": _seconds(merge) / (n_queries * n_parts * k), "select": _seconds(select) / n}
    return {**found, "row_bytes": row_bytes}
