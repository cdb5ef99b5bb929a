#!/usr/bin/env python3
"""Encoding in shards against `model.encode_document`, on the marketplace's item texts with MiniLM.

    scripts/bench_encoding.py                     20,000 texts; figures to build/bench_encoding.json
    scripts/bench_encoding.py --texts 2000        fewer texts: does it run?
    scripts/bench_encoding.py --rounds 3          each way three times, in turn; the median counts
    scripts/bench_encoding.py --model FOLDER      another model (a folder or a Hub id), --device cuda on a GPU
    scripts/bench_encoding.py --json FILE         write the figures to FILE
    scripts/bench_encoding.py --docs              write them to docs/encoding.json, and nothing else

Every measurement is a process of its own, begun with the texts in a file: the seconds are those of the encoding (the
model loaded and one batch through it before), by the clock and of the processor (a busy machine changes these little;
the watching of memory has a small share in them). The memory is the peak of what the process and its tokenising
processes held beyond what stood there before the encoding. What an earlier run of the same shape measured in the file
is kept; --fresh measures it again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STOCK = "encode_document"


def ways(token_workers: list[int], shard_sizes: list[int]) -> dict[str, dict[str, Any]]:
    """What is measured: the stock call, then ours by tokenising processes and by shard size."""
    found: dict[str, dict[str, Any]] = {STOCK: {}}
    largest = max(shard_sizes)
    for workers in token_workers:
        found[f"shards of {largest}, {workers} workers"] = {"token_workers": workers, "shard_size": largest}
    for size in shard_sizes:
        found.setdefault(f"shards of {size}, 0 workers", {"token_workers": 0, "shard_size": size})
    return found


def item_texts(n_texts: int, seed: int) -> list[str]:
    """Distinct item texts of the marketplace, in its order."""
    from mr_st.data.item_text import format_item
    from mr_st.data.marketplace.streaming import stream_items

    texts: dict[str, None] = {}
    for batch in stream_items("medium" if n_texts <= 100_000 else "large", seed):
        for title, path in zip(batch["title"].to_pylist(), batch["category_path"].to_pylist(), strict=True):
            texts[format_item(title, path)] = None
            if len(texts) == n_texts:
                return list(texts)
    sys.exit(
        f"bench_encoding: the marketplace has {len(texts):,} distinct item texts; give --texts {len(texts)} or less"
    )


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """One way in this process: seconds, peak bytes, bytes a vector."""
    import numpy as np
    import torch

    from mr_st.encoding import EncodeStage, ShardFolder
    from mr_st.models.loading import load_sentence_transformer

    way = json.loads(arguments.measure)
    texts = json.loads(Path(arguments.inputs).read_text(encoding="utf-8"))
    model = load_sentence_transformer(arguments.model).to(arguments.device)
    model.encode_document(texts[: arguments.batch_size], batch_size=arguments.batch_size)
    with tempfile.TemporaryDirectory() as work, PeakMemory() as memory:
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        start, cpu_start = time.perf_counter(), _cpu_seconds()
        if not way:
            vectors = model.encode_document(texts, batch_size=arguments.batch_size, show_progress_bar=False)
            np.save(Path(work) / "vectors.npy", vectors)
        else:
            stage = EncodeStage(model, texts, "item", ShardFolder(work), batch_size=arguments.batch_size, **way)
            for shard in range(len(stage.sizes)):
                stage.run(shard)
        seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
        n_bytes = sum(path.stat().st_size for path in Path(work).rglob("*.np[yz]"))
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": memory.peak_bytes,
        "bytes_per_vector": n_bytes / len(texts),
    }


def _cpu_seconds() -> float:
    """Of this process, and of the tokenising processes that it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class PeakMemory:
    """The most private memory that this process and its children held meanwhile, beyond what it held at the start."""

    def __enter__(self) -> PeakMemory:
        self.peak_bytes, self._before, self._is_over = 0, _private_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            self.peak_bytes = max(self.peak_bytes, _private_bytes() - self._before)


def _private_bytes() -> int:
    """Memory of this process and its children that nobody else shares, and the shared part by its share (PSS)."""
    total = 0
    for pid in [os.getpid(), *_children(os.getpid())]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return found


def run_way(arguments: argparse.Namespace, inputs: Path, way: dict[str, Any]) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", json.dumps(way), "--inputs", str(inputs)]
    for name in ("model", "device", "batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(arguments.threads)}
    environment["TOKENIZERS_PARALLELISM"] = "true" if arguments.threads > 1 else "false"
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"bench_encoding: {way or STOCK} ended with {done.returncode}; its message stands above")
    return json.loads(done.stdout.splitlines()[-1])


def report(protocol: dict[str, Any], measured: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The figures as they are written: medians over the rounds."""
    rows = {}
    for name, rounds in measured.items():
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        rows[name] = {
            "texts_per_second": round(protocol["texts"] / middle["seconds"], 1),
            "texts_per_cpu_second": round(protocol["texts"] / middle["cpu_seconds"], 1),
            "seconds": round(middle["seconds"], 2),
            "peak_mb": round(middle["peak_bytes"] / 1e6, 1),
            "bytes_per_vector": round(middle["bytes_per_vector"], 1),
            "rounds": len(rounds),
        }
    return {"protocol": protocol, "ways": rows, "measured": measured}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the forward pass")
    parser.add_argument("--token-workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shard-sizes", type=int, nargs="+", default=[1024, 4096, 16_384])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench_encoding.json")
    parser.add_argument("--docs", action="store_true", help="write to docs/encoding.json")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--inputs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments)))
        return
    target = ROOT / "docs" / "encoding.json" if arguments.docs else arguments.json
    protocol = {
        "texts": arguments.texts,
        "source": f"marketplace, distinct item texts, seed {arguments.seed}",
        "model": arguments.model,
        "device": arguments.device,
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "memory": "peak beyond what stood before the encoding, PSS of the process and its children",
        "output": "encode_document: float32 in memory, then one .npy; ours: float16 shards",
    }
    before = json.loads(target.read_text(encoding="utf-8")) if target.exists() and not arguments.fresh else {}
    measured = before.get("measured", {}) if before.get("protocol") == protocol else {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "texts.json"
        inputs.write_text(json.dumps(item_texts(arguments.texts, arguments.seed)), encoding="utf-8")
        for turn in range(arguments.rounds):
            for name, way in ways(arguments.token_workers, arguments.shard_sizes).items():
                if len(measured.setdefault(name, [])) > turn:
                    continue
                measured[name].append(run_way(arguments, inputs, way))
                target.parent.mkdir(parents=True, exist_ok=True)
                figures = report(protocol, measured)
                target.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                row = figures["ways"][name]
                print(
                    f"{name:32} {row['texts_per_second']:8,.1f} texts/s"
                    f" {row['texts_per_cpu_second']:8,.1f} a CPU second"
                    f" {row['peak_mb']:8,.1f} MB {row['bytes_per_vector']:8.1f} bytes a vector",
                    flush=True,
                )


if __name__ == "__main__":
    main()
