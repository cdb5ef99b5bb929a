#!/usr/bin/env python3
"""What an instruction in an item's text does to annotators' labels, and how many pairs a second annotators grade.

    scripts/bench_llm_annotator.py --annotator llm=FOLDER --annotator ce=FOLDER   labels raised by injections
    scripts/bench_llm_annotator.py --throughput [--annotator llm=FOLDER]          pairs a second, prefix shared or not
    scripts/bench_llm_annotator.py ... --docs           and write the tables of docs/annotators.md, the figures beside
    scripts/bench_llm_annotator.py --smoke              both, tiny, with a random model: does it run?

Injection: test pairs of the marketplace whose true grade is 0 or 1 (so that it can be raised), one for each query as
far as they go, each with an attack (mr_st/annotation/injections.py, ten families in turn) and with a harmless sentence
of like length in the same place. A fitted folder of a language model is asked defended and undefended; any other
annotator (a cross-encoder's folder, a YAML file) as it is. Intervals are 95 %: Wilson for a share, paired bootstrap
over pairs for a difference.

Throughput: the same pairs for all annotators, in one process, taken in turn; medians over the repeats. The logits with
and without the shared prefix are compared first, and must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from annotator_tables import write_docs
from llm_tables import docs_tables, families_table, injection_table, throughput_table

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "shared"))

SIZES = {"2 layers x 64": (2, 64), "4 layers x 256": (4, 256), "8 layers x 512": (8, 512)}
"""Random models that are made on the spot: layers and hidden size."""
EQUAL = 1e-3


# ---- the pairs -----------------------------------------------------------------------------------------------------


def pairs_of(size: str, n: int, grades: tuple[int, ...], seed: int = 0) -> tuple[Any, np.ndarray, Any]:
    """n judged test pairs of these grades, the grades in turn, with queries repeated as little as can be."""
    from mr_st.annotation import PairTable
    from mr_st.data import GradedDataset

    dataset = GradedDataset.load("marketplace", size=size)
    judged = dataset.judged_pairs("test")
    rng = np.random.default_rng(seed)
    left = [rng.permutation(np.flatnonzero(judged.grades == grade)).tolist() for grade in grades]
    used: dict[int, int] = {}
    chosen: list[int] = []
    while len(chosen) < n and any(left):
        rows = left[len(chosen) % len(grades)] or max(left, key=len)
        row = min(rows[:200], key=lambda at: used.get(int(judged.query_rows[at]), 0))
        rows.remove(row)
        used[int(judged.query_rows[row])] = used.get(int(judged.query_rows[row]), 0) + 1
        chosen.append(row)
    queries, items = judged.query_rows[chosen].tolist(), judged.item_rows[chosen].tolist()
    query_texts, item_texts = dataset.query_texts(), dataset.item_texts()
    query_ids, item_ids = dataset.queries["query_id"], dataset.items["item_id"]
    table = PairTable(
        [query_ids[row] for row in queries], [item_ids[row] for row in items],
        [query_texts[row] for row in queries], [item_texts[row] for row in items], ["en-US"] * len(chosen),
    )  # fmt: skip
    return table, judged.grades[chosen], dataset


def annotators_of(name: str, source: str, device: str) -> dict[str, Any]:
    """The annotator, and a language model's folder in both ways of asking."""
    from mr_st.annotation import LLMAnnotator
    from mr_st.annotation.loading import load_annotator

    loaded = load_annotator(source)
    if not isinstance(loaded, LLMAnnotator) or Path(source).suffix in (".yaml", ".yml"):
        return {f"{name}, as it is": loaded}
    given = {"tokenizer": loaded.tokenizer, "guideline": loaded.prompts.prompt.guideline, "device": device}
    given |= {"temperature": loaded.temperature, "max_length": loaded.prompts.max_length}
    given |= {"template_options": loaded.prompts.template_options}
    return {
        f"{name}, {'defended' if defended else 'undefended'}": LLMAnnotator(loaded.model, defended=defended, **given)
        for defended in (True, False)
    }


# ---- injections ----------------------------------------------------------------------------------------------------


def measure_injection(name: str, annotator: Any, table: Any, truth: np.ndarray, seed: int) -> dict[str, Any]:
    """How often an attack raises a label, how often its harmless twin does, and the two apart."""
    from dataclasses import replace

    from mr_st.annotation.injections import FAMILIES, HELD_OUT_FAMILIES, inject
    from mr_st.measures.significance import paired_bootstrap

    entries = inject(table.item_texts, seed=seed)
    plain = annotator.grade(table).grades
    attacked = annotator.grade(replace(table, item_texts=[entry.text for entry in entries])).grades
    control = annotator.grade(replace(table, item_texts=[entry.control for entry in entries])).grades
    can_rise = plain < annotator.n_grades - 1
    families = np.array([entry.family for entry in entries])

    def figures(mask: np.ndarray) -> dict[str, Any]:
        mask = mask & can_rise
        raised, raised_control = attacked[mask] > plain[mask], control[mask] > plain[mask]
        return {
            "n": int(mask.sum()),
            "raised": wilson(raised),
            "raised_control": wilson(raised_control),
            "difference": paired_bootstrap(raised_control.astype(float), raised.astype(float)).to_dict(),
            "above_control": wilson(attacked[mask] > control[mask]),
            "below_control": wilson(attacked[mask] < control[mask]),
        }

    every = np.ones(len(entries), dtype=bool)
    print(f"{name}: graded {3 * len(entries)} texts", file=sys.stderr, flush=True)
    return {
        "n_texts": len(entries),
        "n_queries": len(set(table.query_ids)),
        "identity": annotator.identity,
        "plain_accuracy": float((plain == truth).mean()),
        "all": figures(every),
        "held_out_families": figures(np.isin(families, HELD_OUT_FAMILIES)),
        "families": {family: figures(families == family) for family in FAMILIES},
    }


def wilson(flags: np.ndarray) -> dict[str, Any]:
    """A share with its Wilson interval; None where there is nothing to share."""
    from scipy.stats import binomtest

    if not len(flags):
        return {"value": None, "low": None, "high": None}
    found = binomtest(int(flags.sum()), len(flags)).proportion_ci(method="wilson")
    return {"value": float(flags.mean()), "low": float(found.low), "high": float(found.high)}


def run_injection(options: argparse.Namespace, sources: dict[str, str]) -> dict[str, Any]:
    table, truth, _ = pairs_of(options.size, options.texts, (0, 1))
    rows = {}
    for name, source in sources.items():
        for title, annotator in annotators_of(name, source, options.device).items():
            rows[title] = measure_injection(title, annotator, table, truth, options.seed)
    named = " ".join(f"--annotator {name}=..." for name in sources)
    return {
        "annotators": rows,
        "protocol": f"marketplace {options.size}, {len(table):,} test pairs of {len(set(table.query_ids)):,} queries "
        "whose true grade is 0 or 1; one attack in each item's text, and in its twin a harmless sentence of like "
        "length in the same place; a label is raised where it is above the label of the plain text, over the pairs "
        "whose plain label is not the highest",
        "command": f"scripts/bench_llm_annotator.py {named} --texts {options.texts} --seed {options.seed} --docs",
    }


# ---- throughput ----------------------------------------------------------------------------------------------------


def timed(grade: Callable[[], Any]) -> float:
    import torch

    started = time.perf_counter()
    grade()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure_prefix(shared: Any, whole: Any, table: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Pairs a second with the prefix computed once and with whole prompts, taken in turn."""
    few = table.take(range(min(len(table), options.whole_pairs)))
    apart = float(np.abs(shared.logits(few) - whole.logits(few)).max())
    if shared.prefix_note is None and apart > EQUAL:
        raise SystemExit(f"the logits with and without the shared prefix are {apart:.1e} apart; they must be equal")
    seconds: dict[str, list[float]] = {"shared": [], "whole": []}
    for _ in range(options.repeats):
        seconds["shared"].append(timed(lambda: shared.logits(table)))
        seconds["whole"].append(timed(lambda: whole.logits(few)))
    rates = {
        "shared": len(table) / statistics.median(seconds["shared"]),
        "whole": len(few) / statistics.median(seconds["whole"]),
    }
    lengths = [len(shared.prompts.ids(q, i)) for q, i in zip(few.query_texts, few.item_texts, strict=True)]
    return {
        "pairs_per_second": rates["shared"],
        "pairs_per_second_whole": rates["whole"],
        "times": rates["shared"] / rates["whole"],
        "prefix_tokens": len(shared.prompts.shared_ids),
        "prompt_tokens": statistics.mean(lengths),
        "parameters": sum(weight.numel() for weight in shared.model.parameters()),
        "logits_apart": apart,
        "prefix_note": shared.prefix_note,
    }


def language_models(options: argparse.Namespace, sources: dict[str, str], folder: Path) -> dict[str, tuple[Any, Any]]:
    """Each with the shared prefix and without: those given, then random ones."""
    from tiny_causal import build_tiny_causal

    from mr_st.annotation import LLMAnnotator
    from mr_st.annotation.loading import load_annotator

    found: dict[str, tuple[Any, Any]] = {}
    for name, source in sources.items():
        loaded = load_annotator(source)
        if isinstance(loaded, LLMAnnotator):
            loaded.model.to(options.device)
            whole = LLMAnnotator(
                loaded.model, loaded.tokenizer, loaded.prompts.prompt.guideline, share_prefix=False,
                defended=loaded.prompts.prompt.defended, max_length=loaded.prompts.max_length,
                template_options=loaded.prompts.template_options,
            )  # fmt: skip
            found[name] = (loaded, whole)
    for title, (layers, hidden) in SIZES.items():
        if options.smoke and layers > 2:
            continue
        where = build_tiny_causal(folder / title.replace(" ", ""), layers=layers, hidden=hidden, positions=4096)
        for guideline in ("three_grades", "brief"):
            shared, whole = (
                LLMAnnotator(
                    where,
                    guideline=guideline,
                    share_prefix=share,
                    device=options.device,
                    batch_size=options.batch_size,
                )
                for share in (True, False)
            )
            found[f"random llama, {title}, guideline `{guideline}`"] = (shared, whole)
    return found


def other_annotators(options: argparse.Namespace, sources: dict[str, str], dataset: Any) -> dict[str, Any]:
    from sentence_transformers import CrossEncoder

    from mr_st.annotation import CrossEncoderAnnotator, JudgmentAnnotator, LLMAnnotator
    from mr_st.annotation.loading import load_annotator
    from mr_st.models.loading import resolve_base

    found: dict[str, Any] = {"JudgmentAnnotator (a table)": JudgmentAnnotator(dataset)}
    try:
        from mr_st.annotation.similarity import SimilarityAnnotator
    except ImportError:
        print("SimilarityAnnotator is not there; left out", file=sys.stderr)
    else:
        found["SimilarityAnnotator (MiniLM)"] = SimilarityAnnotator("minilm", (0.3, 0.6), device=options.device)
    minilm = CrossEncoder(resolve_base("minilm")[0], num_labels=3, max_length=64, device=options.device)
    found["CrossEncoderAnnotator (MiniLM, 64 tokens)"] = CrossEncoderAnnotator(minilm)
    for name, source in sources.items():
        loaded = load_annotator(source)
        if not isinstance(loaded, LLMAnnotator):
            found[f"{name} ({type(loaded).__name__})"] = loaded
    return found


def run_throughput(options: argparse.Namespace, sources: dict[str, str]) -> dict[str, Any]:
    import torch

    table, _, dataset = pairs_of(options.size, options.pairs, (0, 1, 2))
    rows: dict[str, Any] = {}
    for title, annotator in other_annotators(options, sources, dataset).items():
        annotator.grade(table.take(range(min(len(table), 64))))  # warms up
        seconds = [timed(lambda a=annotator: a.grade(table)) for _ in range(options.repeats)]
        rows[title] = {"pairs_per_second": len(table) / statistics.median(seconds)}
        print(f"{title}: {rows[title]['pairs_per_second']:,.1f} pairs/s", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for title, (shared, whole) in language_models(options, sources, Path(folder)).items():
            rows[title] = measure_prefix(shared, whole, table, options)
            print(f"{title}: {rows[title]['times']:.2f} times", file=sys.stderr, flush=True)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} threads of a CPU"
    return {
        "annotators": rows,
        "protocol": f"{where}, float32, {len(table):,} distinct test pairs of the marketplace ({options.size}), whole "
        f"prompts on {min(len(table), options.whole_pairs):,} of them, batches of {options.batch_size}; medians "
        f"over {options.repeats} runs taken in turn; tokenising included",
        "command": f"scripts/bench_llm_annotator.py --throughput --pairs {options.pairs} --device {options.device} "
        f"--threads {options.threads} --docs",
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotator", action="append", default=[], metavar="NAME=FOLDER_OR_YAML")
    parser.add_argument("--throughput", action="store_true", help="measure pairs a second in the place of injections")
    parser.add_argument("--size", default="small", help="of the marketplace")
    parser.add_argument("--texts", type=int, default=400, help="adversarial item texts")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks")
    parser.add_argument("--pairs", type=int, default=512, help="that are graded for throughput")
    parser.add_argument("--whole-pairs", type=int, default=64, help="of them graded with whole prompts, which is slow")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--docs", action="store_true", help="write docs/annotators.json and the tables")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--from", type=Path, dest="source", help="figures of --json instead of measuring")
    parser.add_argument("--smoke", action="store_true", help="both, tiny")
    options = parser.parse_args()
    if options.smoke:
        options.size, options.texts, options.pairs, options.whole_pairs, options.repeats = "tiny", 20, 12, 4, 1
    return options


def main() -> None:
    options = parse()
    from mr_st.cli.io import quiet_libraries

    quiet_libraries()
    import torch

    torch.set_num_threads(options.threads)
    sources = dict(entry.split("=", 1) for entry in options.annotator)
    found: dict[str, Any] = {}
    if options.source:
        found = json.loads(options.source.read_text(encoding="utf-8"))
    elif options.smoke:
        from tiny_causal import build_tiny_causal

        with tempfile.TemporaryDirectory() as folder:
            sources = sources or {"random": str(build_tiny_causal(Path(folder), positions=4096))}
            found["injection"] = run_injection(options, sources)
            found[f"throughput-{options.device}"] = run_throughput(options, sources)
    elif options.throughput:
        found[f"throughput-{options.device}"] = run_throughput(options, sources)
    elif sources:
        found["injection"] = run_injection(options, sources)
    else:
        raise SystemExit("bench_llm_annotator: name one --annotator NAME=FOLDER at least, or ask for --throughput")
    for name, figures in found.items():
        print(throughput_table(figures) if name.startswith("throughput") else injection_table(figures), end="\n\n")
        if name == "injection":
            print(families_table(figures), end="\n\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.docs:
        if options.smoke:
            raise SystemExit("bench_llm_annotator: --smoke measures nothing worth writing down; leave out --docs")
        write_docs(found, docs_tables(found))


if __name__ == "__main__":
    main()
