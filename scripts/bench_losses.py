#!/usr/bin/env python3
"""How fast a training step with the graded losses is, against the stock ways to train on the same texts.

    scripts/bench_losses.py                       MiniLM on this machine's CPU: about 6 minutes on 2 idle cores
    scripts/bench_losses.py --device cuda         a model of e5-small's size (random weights) on a GPU
    scripts/bench_losses.py --docs                and put the tables into docs/losses.md, the figures beside it
    scripts/bench_losses.py --json FILE           write the figures to FILE
    scripts/bench_losses.py --from FILE --docs    the tables of figures measured elsewhere (a machine with a GPU)
    scripts/bench_losses.py --smoke               everything once, tiny: does it run?

Instances are ragged: a query of the marketplace `small` (dev and test, whose judgments are whole) with 2 to 32 of its
judged items, 8 on average. A step is collating (tokenising), forward, backward and AdamW, on one process's threads.
All routes take the same batches in turn, in one process; figures are medians over the batches. The loss values and
gradients of ours and of the fixed-width route are compared first (dropout off), and must be equal. Peak memory is that
of a process of its own for each route.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doc_pages import DOCS, put_into_docs
from loss_routes import ROUTES, Route, autocast, loaded_model, ragged_batches, synchronise

N_PAIRS = 4096
"""Of the batch in which the loss's own time is measured."""
LEAST_TIMES, MOST_SHARE = 2.0, 0.03
"""The bars: how many times as fast as route (a), and what share of a step a loss may take."""
MODELS = {"minilm": "MiniLM (all-MiniLM-L6-v2)", "e5-small-size": "a model of multilingual-e5-small's size"}


# ---- the measurements, each in a process of its own ----------------------------------------------------------------


def measure_steps(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each route's steps on the same batches, taken in turn."""
    import torch

    batches = ragged_batches(options.repeats + 1, options.queries, options.size)
    routes = [Route(name, model) for name in routes_of(options)]
    check_equal([route for route in routes if route.name != "mnrl"], batches[0])
    seconds: dict[str, list[tuple[float, float]]] = {route.name: [] for route in routes}
    for at, batch in enumerate(batches):
        for turn in range(len(routes)):
            route = routes[(at + turn) % len(routes)]
            taken = route.step(batch)
            if at > 0:  # the first one warms up
                seconds[route.name].append(taken)
        print(f"steps: batch {at} of {options.repeats}", file=sys.stderr, flush=True)
    n_items = [sum(len(row["items"]) for row in batch) for batch in batches[1:]]
    of_instance = [len(row["items"]) for batch in batches[1:] for row in batch]
    found = {
        name: {
            "items_per_second": statistics.median(n / whole for n, (whole, _) in zip(n_items, taken, strict=True)),
            "seconds": statistics.median(whole for whole, _ in taken),
            "collating_seconds": statistics.median(collating for _, collating in taken),
            "times_ours": statistics.median(
                theirs / ours for (ours, _), (theirs, _) in zip(seconds["ours"], taken, strict=True)
            ),
        }
        for name, taken in seconds.items()
    }
    return {
        "routes": found,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
        "items": {
            "mean": statistics.mean(of_instance),
            "most": max(of_instance),
            "a_batch": statistics.median(n_items),
        },
    }


def check_equal(routes: list[Route], batch: list[dict[str, Any]]) -> None:
    """Stop unless the routes have the same loss and gradient."""
    expected, expected_gradient = routes[0].loss_and_gradient(batch)
    for route in routes[1:]:
        loss, gradient = route.loss_and_gradient(batch)
        off = float((gradient - expected_gradient).abs().max() / expected_gradient.abs().max())
        if abs(loss - expected) > 1e-4 * abs(expected) or off > 1e-3:
            raise SystemExit(
                f"{route.name}: loss {loss} and {routes[0].name}: {expected}; the gradients differ by {off:.1e} of "
                "their largest entry; these routes must have the same maths"
            )
        print(f"{route.name}: loss {loss:.6f}, ours {expected:.6f}; gradients {off:.1e} apart", file=sys.stderr)


def measure_memory(model: Any, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Peak memory of the route's steps, in bytes."""
    import torch

    batches = ragged_batches(options.repeats + 1, options.queries, options.size)
    largest = sorted(batches, key=lambda batch: -sum(len(row["items"]) for row in batch))[:2]
    route = Route(name, model)
    for batch in largest:
        route.step(batch)
    if model.device.type == "cuda":
        return {"peak_bytes": torch.cuda.max_memory_allocated()}
    # not ru_maxrss, which begins with the parent's: this mark belongs to the memory of this process alone
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "/proc/self/status has no VmHWM"
    return {"peak_bytes": int(found[1]) * 1024}


def measure_losses(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each loss alone, from embeddings to their gradients, and of the encoder on as many pairs."""
    import torch

    from mr_st.losses import LOSSES
    from mr_st.losses.spelling_consistency import VARIANT
    from mr_st.training import GradedCollator

    rows, missing = [], options.pairs
    for row in ragged_batches(1, options.pairs // 2, options.size)[0]:  # two items a query at least
        if missing > 0:
            rows.append({**row, "items": row["items"][:missing], "labels": row["labels"][:missing]})
            missing -= len(row["items"])
    labels = GradedCollator.from_trainer_args(model)(rows)["label"]
    n_queries, n_items = int(labels[:, 0].max()) + 1, int(labels[:, 1].max()) + 1
    dim = model.get_embedding_dimension()
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randn(n, dim, generator=generator) for n in (n_queries, n_items, n_queries)]
    columns = [column.to(model.device).requires_grad_() for column in columns]
    every = torch.arange(n_queries)
    variants = torch.stack([every, every, torch.full_like(every, VARIANT)], dim=1)
    seconds = {}
    for name, loss_class in LOSSES.items():
        loss = loss_class(None, **loss_class.options_for(3)).to(model.device)
        has_variants = name == "spelling_consistency"
        given = torch.cat([labels, variants]) if has_variants else labels
        given, embeddings = given.to(model.device), columns if has_variants else columns[:2]

        def both_passes(loss: Any = loss, embeddings: Any = embeddings, given: Any = given) -> None:
            loss.compute_loss_from_embeddings(embeddings, given).backward()
            synchronise(model)

        seconds[name] = median_seconds(both_passes, 3 if options.smoke else 15)
    # The encoder on a quarter of the instances: in plain chunks, so that memory is no matter.
    features, _ = Route("ours", model).collate(rows[: max(1, n_queries // 4)])
    from mr_st.losses.embedding import embed_column

    chunk = 16 if model.device.type == "cpu" else None

    def encoder() -> None:
        for column in features:
            for start in range(0, len(column["input_ids"]), 256):
                part = {k: v[start : start + 256] if hasattr(v, "shape") else v for k, v in column.items()}
                with autocast(model):
                    vectors = embed_column(model, part, chunk)
                vectors.float().sum().backward()
        model.zero_grad()
        synchronise(model)

    n_texts = sum(len(column["input_ids"]) for column in features)
    encoding = median_seconds(encoder, 1 if options.smoke or chunk else 5) * (n_queries + n_items) / n_texts
    return {"pairs": len(labels), "queries": n_queries, "items": n_items, "seconds": seconds, "encoder": encoding}


def median_seconds(call: Callable[[], None], repeats: int) -> float:
    """The median of ``repeats`` calls; one more before them warms up, unless it is one that takes long."""
    taken = []
    for _ in range(repeats + (repeats > 1)):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[repeats > 1 :])


def measure_padding(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Token cells a token of the items, by how batches are made and how many texts a forward takes."""
    import numpy as np

    from mr_st.data import GradedDataset, build_instances
    from mr_st.training import EpochBatchSampler

    instances = build_instances(GradedDataset.load("marketplace", size=options.size))
    rows = instances[:]["items"]
    texts = sorted({text for row in rows for text in row})
    tokens = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
    lengths = {text: len(ids) for text, ids in zip(texts, tokens, strict=True)}
    found: dict[str, Any] = {}
    for n_queries in (16, 64):
        for length_aware in (False, True):
            sampler = EpochBatchSampler(instances, n_queries, length_aware=length_aware)
            of_batches = [np.sort([lengths[t] for t in {t for i in batch for t in rows[i]}]) for batch in sampler]
            for chunk in (None, 128, 16):
                chunks = [x for of in of_batches for x in np.split(of, range(chunk or len(of), len(of), chunk or 1))]
                cells = sum(x.max() * len(x) for x in chunks) / sum(x.sum() for x in chunks)
                found.setdefault(str(chunk), {})[f"{n_queries}{' length_aware' * length_aware}"] = float(cells)
    return found


def routes_of(options: argparse.Namespace) -> list[str]:
    """The routes; smaller forwards are an option on a GPU only, on a CPU they are the rule."""
    return [name for name in ROUTES if name != "chunks" or options.device == "cuda"]


def in_a_process(options: argparse.Namespace, step: str) -> dict[str, Any]:
    """Run this script for one step; what it prints."""
    arguments = ["--step", step, "--device", options.device, "--model", options.model, "--size", options.size]
    arguments += [f"--{name}={getattr(options, name)}" for name in ("repeats", "queries", "pairs", "threads")]
    arguments += ["--smoke"] * options.smoke
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    started = time.perf_counter()
    child = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    if child.returncode:
        raise SystemExit(f"bench_losses: {step} failed")
    print(f"{step}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return json.loads(child.stdout.strip().splitlines()[-1])


def run_step(options: argparse.Namespace) -> dict[str, Any]:
    """One step, in this process."""
    from mr_st.cli.io import quiet_libraries

    quiet_libraries()
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with loaded_model(options.device, options.model) as model:
        if options.step.startswith("memory "):
            return measure_memory(model, options, options.step.removeprefix("memory "))
        measure = {"steps": measure_steps, "losses": measure_losses, "padding": measure_padding}[options.step]
        return measure(model, options)


# ---- what is printed -----------------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, in order."""
    found = in_a_process(options, "steps")
    for name in found["routes"]:
        found["routes"][name] |= in_a_process(options, f"memory {name}")
    found["losses"] = in_a_process(options, "losses")
    found["padding"] = in_a_process(options, "padding")
    flags = [f"--{name} {getattr(options, name)}" for name in ("device", "threads", "queries", "repeats")]
    where = f"{options.threads} threads of {os.cpu_count()} CPU cores"
    precision = "fp32"
    if options.device == "cuda":
        where, precision = found["device"], "bf16 autocast"
    items = found["items"]
    return {
        **found,
        "protocol": f"{MODELS[options.model]}, {precision}, {where}; marketplace {options.size}, "
        f"{options.queries} queries a batch, {items['mean']:.1f} items a query on average, {items['most']} at most, "
        f"{items['a_batch']:.0f} a batch; medians over {options.repeats} batches that the routes took in turn; a step "
        "is collating, forward, backward and AdamW; peak memory of a process for each route, over the two largest "
        "batches",
        "command": f"scripts/bench_losses.py {' '.join(flags)} --docs",
        "python": platform.python_version(),
    }


def tables(figures: dict[str, Any]) -> str:
    """The figures of one device as Markdown."""
    lines = [
        f"{figures['protocol']}. `{figures['command']}`",
        "",
        "| a training step | items a second | time, ours = 1 | of it collating | peak memory |",
        "|---|---|---|---|---|",
    ]
    for name, row in figures["routes"].items():
        share, peak = row["collating_seconds"] / row["seconds"], row["peak_bytes"] / 2**20
        lines.append(
            f"| {ROUTES[name]} | {row['items_per_second']:,.1f} | {row['times_ours']:.2f} | {share:.1%} | "
            f"{peak:,.0f} MiB |"
        )
    times = {name: figures["routes"][name]["times_ours"] for name in ("columns", "merged")}
    verdict = "met" if min(times.values()) >= LEAST_TIMES else "**missed**"
    lines += [
        "",
        f"Against route (a): {times['columns']:.2f} times as fast as with a forward a column, {times['merged']:.2f} "
        f"times as with merged columns (bar: {LEAST_TIMES:.1f}; {verdict}). "
        "Loss and gradients of ours, cached and both routes (a) were found equal before.",
    ]
    losses = figures["losses"]
    encoder = losses["encoder"]
    shares = {name: seconds / (seconds + encoder) for name, seconds in losses["seconds"].items()}
    worst = max(shares.values())
    lines += [
        "",
        f"The loss alone, from embeddings to their gradients, at {losses['pairs']:,} pairs ({losses['queries']:,} "
        f"queries, {losses['items']:,} distinct items), and its share of a step whose encoder takes {encoder:,.2f} s "
        "(forward and backward, measured on a quarter of these instances). "
        f"Bar: {MOST_SHARE:.0%}; {'met' if worst < MOST_SHARE else '**missed**'}.",
        "",
        "| loss | milliseconds | share of a step |",
        "|---|---|---|",
    ]
    lines += [f"| `{name}` | {1000 * losses['seconds'][name]:.1f} | {share:.2%} |" for name, share in shares.items()]
    return "\n".join(lines)


def padding_table(found: dict[str, Any]) -> str:
    """Token cells a token, as Markdown."""
    columns = list(found["None"])
    lines = [f"| texts in a forward | {' | '.join(_column_title(column) for column in columns)} |"]
    lines.append(f"|---|{'---|' * len(columns)}")
    names = {"None": "all of a batch (a GPU's default)", "128": "128", "16": "16 (a CPU's default)"}
    lines += [f"| {names[k]} | {' | '.join(f'{row[c]:.2f}' for c in columns)} |" for k, row in found.items()]
    return "\n".join(lines)


def _column_title(column: str) -> str:
    n_queries, _, kind = column.partition(" ")
    return f"{n_queries} queries, " + ("`length_aware`" if kind else "shuffled")


def write_docs(found: dict[str, Any]) -> None:
    """Put the figures, by device, beside those that docs/losses.json has of other devices, and write all tables."""
    path = DOCS / "losses.json"
    figures = {**(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}), **found}
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    page = DOCS / "losses.md"
    for device, none in (("cpu", "Not measured yet."), ("cuda", "No GPU was at hand when this page was written.")):
        put_into_docs(page, f"speed-{device}", tables(figures[device]) if device in figures else none)
    put_into_docs(page, "padding", padding_table(next(iter(figures.values()))["padding"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", choices=tuple(MODELS), help="default: minilm on a CPU, e5-small-size on a GPU")
    parser.add_argument("--size", default="small", help="of the marketplace")
    parser.add_argument("--queries", type=int, help="a batch; default: 16 on a CPU, 64 on a GPU")
    parser.add_argument("--repeats", type=int, help="batches that are timed; default: 5 on a CPU, 20 on a GPU")
    parser.add_argument("--pairs", type=int, default=N_PAIRS, help="of the batch in which a loss alone is timed")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--docs", action="store_true", help="write docs/losses.json and the tables of docs/losses.md")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--from", type=Path, dest="source", help="figures of --json instead of measuring")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    is_gpu = options.device == "cuda"
    if options.smoke:
        options.size, options.queries, options.repeats, options.pairs = "tiny", 3, 1, 64
    options.model = options.model or ("e5-small-size" if is_gpu else "minilm")
    options.queries = options.queries or (64 if is_gpu else 16)
    options.repeats = options.repeats or (20 if is_gpu else 5)
    if options.step:
        print(json.dumps(run_step(options)))
        return
    if options.source:
        found = json.loads(options.source.read_text(encoding="utf-8"))
    else:
        found = {options.device: run(options)}
    for figures in found.values():
        print(tables(figures), padding_table(figures["padding"]), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        if options.smoke:
            raise SystemExit("bench_losses: --smoke measures nothing worth writing down; leave out --docs")
        write_docs(found)


if __name__ == "__main__":
    main()
