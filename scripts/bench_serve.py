#!/usr/bin/env python3
"""The same fitted language model twice: in this process, and behind `transformers serve` on the loopback interface.

    scripts/bench_serve.py                 a tiny model, built and fitted with LoRA on the spot (minutes)
    scripts/bench_serve.py --model FOLDER  a folder that fit_llm_annotator wrote (its model/)
    scripts/bench_serve.py --docs          and put the table into docs/annotators.md, the figures beside it
    scripts/bench_serve.py --json FILE     write the figures to FILE
    scripts/bench_serve.py --pairs 40      fewer pairs: does it run?

LLMAnnotator scores the labels' logits; the server generates and gives no log-probabilities, so EndpointAnnotator
parses its answers. Both are asked about the same pairs of the marketplace that the fit did not see, at temperature 0,
each answer tried once. The unfitted base is asked about some of them too: it says whatever comes to its mind, so that
an answer which is none is seen to be told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from annotator_tables import write_docs

ROOT = Path(__file__).resolve().parents[1]
FIT = {
    "guideline": "brief", "epochs": 1, "learning_rate": 5e-3, "lora_dropout": 0.0, "class_weights": "balanced",
    "batch_size": 16, "device": "cpu",
}  # fmt: skip
BASE_PAIRS = 25
"""About so many pairs the unfitted base is asked."""


@contextmanager
def served(log: Path, ready_within: float = 600) -> Iterator[str]:
    """A `transformers serve` of its own on a free port: yields its base URL, and is gone afterwards.

    Args:
        log: Where its output goes.
        ready_within: Seconds until it must answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            deadline = time.monotonic() + ready_within
            while not answers(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"transformers serve did not come up:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the session is its own: whatever it started goes too
            process.wait()


def answers(url: str) -> bool:
    """Whether somebody answers there with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fitted_model(work: Path, size: str) -> tuple[Path, Path | None]:
    """A tiny model fitted on the marketplace's train split, and its base."""
    sys.path.append(str(ROOT / "tests" / "shared"))
    from tiny_causal import build_tiny_causal

    from mr_st.data import GradedDataset
    from mr_st.training import fit_llm_annotator

    base = build_tiny_causal(work / "base", hidden=64, spread=0.25)  # the same each time
    fit_llm_annotator(GradedDataset.load("marketplace", size=size), base, work / "fit", **FIT)
    return work / "fit" / "model", base


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Label the same pairs both ways and compare."""
    from mr_st.annotation.endpoint import EndpointAnnotator
    from mr_st.annotation.llm import LLMAnnotator
    from mr_st.data import GradedDataset

    model, base = (options.model, None) if options.model else fitted_model(work, options.size)
    dataset = GradedDataset.load("marketplace", size=options.size)
    unseen = [dataset.judged_pairs(split) for split in ("test", "dev")]
    queries = np.concatenate([judged.query_rows for judged in unseen])
    items = np.concatenate([judged.item_rows for judged in unseen])
    rows = np.sort(np.random.default_rng(0).choice(len(queries), min(options.pairs, len(queries)), replace=False))
    pairs = dataset.pair_table(queries[rows], items[rows], 2, 400)
    local = LLMAnnotator(model, device="cpu")
    guideline = local.prompts.prompt.guideline
    started = time.monotonic()
    grades = local.grade(pairs).grades
    local_seconds = time.monotonic() - started

    def ask(folder: Path, some: Any, url: str) -> tuple[np.ndarray, float]:
        """Grades from the server, -1 where its answer is none, and the seconds it took."""
        endpoint = EndpointAnnotator(
            str(folder), base_url=url, guideline=guideline, defended=local.prompts.prompt.defended,
            concurrency=options.concurrency, timeout=300, max_attempts=1,
        )  # fmt: skip
        given = np.full(len(some), -1)
        started = time.monotonic()
        for part in endpoint.grade_in_parts(some):
            given[part.rows] = part.annotations.grades
        return given, time.monotonic() - started

    with served(work / "serve.log") as url:
        ask(model, pairs.take([0]), url)  # the server loads a model when it is first asked
        given, seconds = ask(model, pairs, url)
        of_base = None if base is None else ask(base, pairs.take(range(min(BASE_PAIRS, len(pairs)))), url)[0]
    parsed = given >= 0
    return {
        "n_pairs": len(pairs),
        "parsed": int(parsed.sum()),
        "unparsed_share": float(1 - parsed.mean()),
        "same_grade": int((given == grades)[parsed].sum()),
        "by_grade": np.bincount(grades, minlength=local.n_grades).tolist(),
        "first_choice_is_a_label": float(local.answers_parse(pairs).mean()),
        "base_pairs": 0 if of_base is None else len(of_base),
        "base_unparsed_share": None if of_base is None else float((of_base < 0).mean()),
        "parameters": int(sum(p.numel() for p in local.model.parameters())),
        "pairs_per_second": {"in_process": len(pairs) / local_seconds, "endpoint": len(pairs) / seconds},
        "concurrency": options.concurrency,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def table(found: dict[str, Any]) -> str:
    """The figures in Markdown."""
    rate = found["pairs_per_second"]
    lines = [
        "| | in process (`LLMAnnotator`) | behind `transformers serve` (`EndpointAnnotator`) |",
        "| --- | --- | --- |",
        f"| pairs | {found['n_pairs']} | {found['n_pairs']} |",
        f"| answers that parse | {found['first_choice_is_a_label']:.1%} | {1 - found['unparsed_share']:.1%} |",
        f"| same grade where it parses | | {found['same_grade']} of {found['parsed']} |",
        f"| pairs/s | {rate['in_process']:.1f} | {rate['endpoint']:.1f} |",
    ]
    if found["base_pairs"]:
        share = f"{1 - found['base_unparsed_share']:.1%} of {found['base_pairs']}"
        lines.insert(4, f"| the unfitted base's answers that parse | | {share} |")
    counts = ", ".join(map(str, found["by_grade"]))
    note = (
        f"A model of {found['parameters'] / 1e6:.2g} M parameters; grades 0, 1, ... given: {counts}. "
        f"{found['cores']} CPU cores, the server asked {found['concurrency']} pairs at a time; load average of the "
        f"machine when measured, with whatever else ran: {found['load_average']:.1f}."
    )
    return "\n".join(lines) + f"\n\n{note}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--work", type=Path, help="keep model and fit here; a rerun takes them from there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = measure(options, options.work or Path(work))
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        write_docs({"serve": found}, {"serve": table(found)})
    if found["same_grade"] != found["parsed"]:
        raise SystemExit(f"{found['parsed'] - found['same_grade']} pairs got another grade behind the endpoint")


if __name__ == "__main__":
    main()
