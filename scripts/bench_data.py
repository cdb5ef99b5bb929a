#!/usr/bin/env python3
"""Data at full size: files of ESCI's shape are written, converted, opened again and laid out as training rows.

    scripts/bench_data.py --work DIR                     1.8 million products, 2.6 million judgments: 10 GB in DIR
    scripts/bench_data.py --work DIR --scale 0.01        the same, a hundredth of it
    scripts/bench_data.py --work DIR --docs              and put the table into docs/data.md, the figures beside it
    scripts/bench_data.py --work DIR --json FILE         write the figures to FILE

Every measurement is a process of its own: seconds of the step by the wall clock (its imports and what must be open
before it not counted), and the process's peak resident memory (everything counted, mapped files too). Texts are the
marketplace's titles; descriptions and bullet points are as long as in the sample of ESCI (US). What DIR holds of an
earlier run at the same scale is used again; give --fresh to write it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARKER = "esci-full-size"
GIB = 2**30

# Products, queries and judgments of each locale. The sums are ESCI's; how they fall to the locales, and the shares
# below, are about as in the original (written from memory, not checked against its files).
SHAPE = {
    "us": (1_215_854, 97_345, 1_818_825),
    "es": (259_973, 15_180, 356_410),
    "jp": (339_097, 18_127, 446_053),
}
LANGUAGES = {"us": "en", "es": "es", "jp": "ja"}
LABELS = {"E": 0.65, "S": 0.22, "C": 0.03, "I": 0.10}
SMALL_SHARE, TRAIN_SHARE = 0.37, 0.77
# Characters, measured on the sample of real ESCI products: mean length of those that are there, and how many are.
DESCRIPTION, BULLETS = (856, 0.50), (750, 0.95)
GROUP_ROWS = 2**20  # rows of a row group, as pandas writes them

# name -> what it is, its bar in seconds, its bar in bytes
STEPS: dict[str, tuple[str, float | None, float | None]] = {
    "convert": ("`mr-st data convert` (read, check, save, fingerprint)", None, 4 * GIB),
    "first_open": ("first opening of the saved form (Arrow files made, all checked)", None, None),
    "open": ("second opening", 5.0, 1 * GIB),
    "instances": ("`build_instances`, all train queries, one epoch", 60.0, None),
    "texts": ("texts of 2,000 batches of 16 instances, in random order", None, None),
    "batches": ("`EpochBatchSampler`, 128 items a batch, one epoch", None, None),
    "split": ("`split('train')` and its judged pairs", None, None),
    "describe": ("`describe` (with the fingerprint)", None, None),
    "check": ("`mr-st data check`", None, None),
}


# ---- the files -----------------------------------------------------------------------------------------------------


def write_files(folder: Path, scale: float) -> dict[str, int]:
    """Write the three files of ESCI's shape; a row group of products is in memory at a time."""
    import numpy as np
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mr_st.data.marketplace.streaming import stream_items

    folder.mkdir(parents=True, exist_ok=True)
    shape = {locale: [max(40, round(n * scale)) for n in counts] for locale, counts in SHAPE.items()}
    items = pl.concat([pl.DataFrame(batch) for batch in stream_items("medium", 0)])
    texts = {locale: Texts(items, LANGUAGES[locale], seed) for seed, locale in enumerate(SHAPE)}
    products, categories, examples, first_query = [], [], [], 0
    for locale, (n_products, n_queries, n_judgments) in shape.items():
        rng = np.random.default_rng([7, len(examples)])
        ids = pa.array([f"B{locale[0].upper()}{row:08d}" for row in range(n_products)])
        rows = (range(start, min(start + 50_000, n_products)) for start in range(0, n_products, 50_000))
        products += [(locale, ids, range_) for range_ in rows]
        query = np.sort(np.concatenate([np.arange(n_queries), rng.integers(n_queries, size=n_judgments - n_queries)]))
        item = (query * 7919 + np.arange(n_judgments)) % n_products  # no item twice for a query
        is_train, is_small = rng.random(n_queries) < TRAIN_SHARE, rng.random(n_queries) < SMALL_SHARE
        examples.append(
            pa.table(
                {
                    "query": pa.array(texts[locale].queries(n_queries)).take(pa.array(query)),
                    "query_id": query + first_query,
                    "product_id": ids.take(pa.array(item)),
                    "product_locale": pa.array([locale] * n_judgments),
                    "esci_label": rng.choice(list(LABELS), n_judgments, p=list(LABELS.values())),
                    "small_version": is_small[query].astype(np.int64),
                    "large_version": np.ones(n_judgments, dtype=np.int64),
                    "split": np.where(is_train, "train", "test")[query],
                }
            )
        )
        first_query += n_queries
    judged = pa.concat_tables(examples)
    judged = judged.add_column(0, "example_id", pa.array(np.arange(len(judged))))
    pq.write_table(judged, folder / "shopping_queries_dataset_examples.parquet", row_group_size=GROUP_ROWS)
    writer, group = None, []
    for locale, ids, rows in products:
        table = texts[locale].products(locale, ids.slice(rows.start, len(rows)))
        categories.append(table.select(["product_id", "product_locale", "category"]))
        table = table.drop_columns(["category"])
        path = folder / "shopping_queries_dataset_products.parquet"
        writer = writer or pq.ParquetWriter(path, table.schema)
        group.append(table)
        if sum(map(len, group)) >= GROUP_ROWS or rows is products[-1][2]:
            writer.write_table(pa.concat_tables(group), row_group_size=GROUP_ROWS)
            group = []
    assert writer is not None
    writer.close()
    pq.write_table(pa.concat_tables(categories), folder / "product_categories.parquet", row_group_size=GROUP_ROWS)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.parquet"))}
    return {"products": sum(n[0] for n in shape.values()), "queries": first_query, "judgments": len(judged), **sizes}


class Texts:
    """Titles, queries and prose of one language, from the marketplace's listings."""

    def __init__(self, items: Any, language: str, seed: int):
        import numpy as np
        import polars as pl

        self.rng = np.random.default_rng([11, seed])
        of_language = items.filter(pl.col("locale").str.starts_with(language))
        self.items = of_language if of_language.height else items
        titles = self.items["title"].to_list()
        mixed = self.rng.permutation(titles * max(1, 60_000 // len(titles)))
        self.prose = ". ".join(mixed)  # descriptions are cut out of this at random
        self.words = " ".join(mixed[:20_000]).split()

    def products(self, locale: str, ids: Any) -> Any:
        """A table of products: the original's columns, and their category."""
        import pyarrow as pa

        rows = self.rng.integers(self.items.height, size=len(ids))
        found = self.items[rows]
        numbers = self.rng.integers(10**6, size=len(ids)).tolist()
        tails = self._cut(len(ids), 45, 1.0)
        titles = [f"{t} {n} {tail}" for t, n, tail in zip(found["title"].to_list(), numbers, tails, strict=True)]
        return pa.table(
            {
                "product_id": ids,
                "product_title": pa.array(titles),
                "product_description": pa.array(self._cut(len(ids), *DESCRIPTION)),
                "product_bullet_point": pa.array(self._cut(len(ids), *BULLETS)),
                "product_brand": found["brand"].to_arrow().cast(pa.string()),
                "product_color": found["color"].to_arrow().cast(pa.string()),
                "product_locale": pa.array([locale] * len(ids)),
                "category": found["category_path"].to_arrow().cast(pa.list_(pa.string())),
            }
        )

    def queries(self, count: int) -> list[str]:
        """Texts of one to six words."""
        starts = self.rng.integers(len(self.words) - 6, size=count).tolist()
        lengths = self.rng.integers(1, 7, size=count).tolist()
        return [" ".join(self.words[start : start + length]) for start, length in zip(starts, lengths, strict=True)]

    def _cut(self, count: int, mean: int, share: float) -> list[str | None]:
        """Pieces of prose of about ``mean`` characters (gamma-distributed lengths); ``share`` of them are there."""
        lengths = self.rng.gamma(2.0, mean / 2, size=count).clip(1, 8_000).astype(int).tolist()
        starts = self.rng.integers(len(self.prose) - 8_000, size=count).tolist()
        is_there = (self.rng.random(count) < share).tolist()
        return [self.prose[s : s + n] if t else None for s, n, t in zip(starts, lengths, is_there, strict=True)]


# ---- the measurements ----------------------------------------------------------------------------------------------


def measure(step: str, work: Path) -> dict[str, Any]:
    """One step, in this process; seconds, and what came out of it."""
    import numpy as np

    from mr_st.data import GradedDataset, build_instances

    files, saved = work / "files", work / "saved"
    if step in ("convert", "check"):
        from mr_st.cli.main import app

        arguments = ["data", "convert", str(files), str(saved), "--option", "locale=all", "--json"]
        if step == "check":
            arguments = ["data", "check", str(saved)]
        started = time.perf_counter()
        code = app(arguments, standalone_mode=False)
        if code:
            raise SystemExit(f"mr-st {' '.join(arguments)}: exit code {code}")
        return {"seconds": time.perf_counter() - started}
    started = time.perf_counter()
    dataset = GradedDataset.load(saved)
    opened = time.perf_counter() - started
    if step in ("first_open", "open"):
        return {"seconds": opened, "found": repr(dataset)}
    if step in ("texts", "batches"):
        from mr_st.training.sampler import EpochBatchSampler

        instances = build_instances(dataset)
    started = time.perf_counter()
    if step == "instances":
        instances = build_instances(dataset)
        found = f"{len(instances):,} instances; {instances.left_out_queries:,} one-grade queries left out"
    elif step == "texts":
        rng = np.random.default_rng(0)
        n_items = sum(
            len(texts) for _ in range(2_000) for texts in instances[rng.integers(len(instances), size=16)]["items"]
        )
        found = f"{n_items:,} item texts"
    elif step == "batches":
        sampler = EpochBatchSampler(instances, 64, max_items=128)
        rows = [len(batch) for batch in sampler]
        found = f"{len(rows):,} batches of {min(rows)} to {max(rows)} queries"
    elif step == "split":
        found = f"{dataset.split('train').judged_pairs().n_pairs:,} judged pairs"
    else:
        found = f"fingerprint {dataset.describe()['fingerprint']}"
    return {"seconds": time.perf_counter() - started, "found": found}


def in_a_process(arguments: list[str], work: Path) -> dict[str, Any]:
    """Run this script with ``arguments``; what it prints, and its peak resident memory in bytes."""
    environment = {**os.environ, "HF_DATASETS_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=out, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if child.returncode != 0:
        raise SystemExit(f"bench_data: {' '.join(arguments)} failed\n{text}")
    result: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return {**result, "peak_bytes": usage.ru_maxrss * 1024}


def run(work: Path, scale: float, fresh: bool) -> dict[str, Any]:
    """Everything, in order."""
    import platform

    made = work / "made.json"
    if fresh or not made.is_file() or json.loads(made.read_text())["scale"] != scale:
        shutil.rmtree(work / "files", ignore_errors=True)
        written = in_a_process(["--work", str(work), "--scale", str(scale), "--step", "files"], work)
        made.write_text(json.dumps({"scale": scale, **written}))
    files = json.loads(made.read_text())
    for old in ("saved", "cache"):
        shutil.rmtree(work / old, ignore_errors=True)
    steps = {}
    for step in STEPS:
        steps[step] = in_a_process(["--work", str(work), "--step", step], work)
        print(f"{step}: {steps[step]}", file=sys.stderr, flush=True)
    sizes = {path.name: path.stat().st_size for path in sorted((work / "saved").iterdir())}
    return {
        "protocol": f"files of ESCI's shape at scale {scale:g}, texts from the marketplace (medium, seed 0); each "
        "step in a process of its own, seconds of the step and peak resident memory of the process",
        "command": f"scripts/bench_data.py --work DIR --scale {scale:g} --docs",
        "machine": f"{os.cpu_count()} CPU cores, Python {platform.python_version()}",
        "files": {key: value for key, value in files.items() if key not in ("scale", "seconds", "peak_bytes")},
        "saved_bytes": sizes,
        "arrow_bytes": sum(path.stat().st_size for path in (work / "cache").rglob("*.arrow")),
        "steps": steps,
    }


def table_of(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    files = figures["files"]
    parquet = sum(size for name, size in files.items() if name.endswith(".parquet")) / GIB
    saved, arrow = sum(figures["saved_bytes"].values()) / GIB, figures["arrow_bytes"] / GIB
    lines = [
        f"{files['products']:,} products, {files['queries']:,} queries, {files['judgments']:,} judgments over three "
        f"locales; the original's files {parquet:.2f} GiB, the saved form {saved:.2f} GiB, its Arrow files "
        f"{arrow:.2f} GiB. "
        f"{figures['machine']}; `{figures['command']}`.",
        "",
        "| step | seconds | peak memory | bar | |",
        "|---|---|---|---|---|",
    ]
    for step, (what, most_seconds, most_bytes) in STEPS.items():
        seconds, peak = figures["steps"][step]["seconds"], figures["steps"][step]["peak_bytes"]
        bars = [f"{most_seconds:g} s"] if most_seconds else []
        bars += [f"{most_bytes / GIB:g} GiB"] if most_bytes else []
        is_met = (not most_seconds or seconds < most_seconds) and (not most_bytes or peak < most_bytes)
        verdict = "" if not bars else "met" if is_met else "**missed**"
        lines.append(f"| {what} | {seconds:.1f} | {peak / GIB:.2f} GiB | {', '.join(bars)} | {verdict} |")
    return "\n".join(lines) + "\n"


def put_into_docs(table: str) -> None:
    """Replace what stands between the markers in docs/data.md."""
    path = DOCS / "data.md"
    begin, end = f"<!-- table: {MARKER} -->", f"<!-- end: {MARKER} -->"
    pattern = re.escape(begin) + r".*?" + re.escape(end)
    text, n = re.subn(pattern, lambda _: f"{begin}\n{table}{end}", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    if n != 1:
        raise SystemExit(f"{path}: the markers {begin} and {end} are not there once; put them where the table goes")
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where files, saved form and Arrow files go")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is ESCI's full size")
    parser.add_argument("--fresh", action="store_true", help="write the files anew")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--docs", action="store_true", help="put the table into docs/data.md, figures in docs/data.json"
    )
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work.resolve()
    if options.step:  # a process of its own; this one stays small, since a child's peak begins with its parent's
        started = time.perf_counter()
        if options.step == "files":
            result: dict[str, Any] = write_files(work / "files", options.scale)
            result["seconds"] = time.perf_counter() - started
        else:
            result = measure(options.step, work)
        print(json.dumps(result))
        return
    work.mkdir(parents=True, exist_ok=True)
    figures = run(work, options.scale, options.fresh)
    table = table_of(figures)
    print(table)
    for path in [options.json, DOCS / "data.json" if options.docs else None]:
        if path is not None:
            path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        put_into_docs(table)


if __name__ == "__main__":
    main()
