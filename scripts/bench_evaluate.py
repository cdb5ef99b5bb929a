#!/usr/bin/env python3
"""`mr-st evaluate` against `mteb.evaluate`, beyond encoding: time, and whether every shared metric agrees.

    scripts/bench_evaluate.py                          100k items, 1k queries, k=1000, each arm three times
    scripts/bench_evaluate.py --items 5000 --queries 100 --repeats 1      a quick look
    scripts/bench_evaluate.py --dims 768               vectors of another length than 384 and 128
    scripts/bench_evaluate.py --docs                   put what was measured into docs/evaluation.json and .md

Both arms get the same saved dataset, the same task object and the same encoder, each in a process of its own, by
turns. The clock runs from the loaded dataset to the saved result JSON; what the encoder takes is timed inside it and
taken out. The encoder is fake: a text's vector is the sum of one random vector a word. It is given to MTEB through its
EncoderProtocol and to us through encode_query and encode_document. MTEB's own loading of texts for the encoder (its
DataLoader) and our own preparation (each text once, longest first, vectors made unit) are timed apart: the ratio is
given with what so surrounds the encoder, on both sides, and without it ("beyond encoding").
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
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
KS = (1, 3, 5, 10, 20, 50, 100, 1000)
SHARED = ("ndcg", "map", "recall", "precision", "mrr")
TOLERANCE = 5.001e-6  # MTEB rounds to 5 decimals
NAME, REVISION = "bench/bag-of-words", "1"


# ---- data and encoder ----------------------------------------------------------------------------------------------


def make_dataset(folder: Path, n_items: int, n_queries: int, n_judged: int, seed: int) -> None:
    """A catalogue of some thousand kinds of things; a query asks for a kind and a colour, judged by both."""
    from mr_st.data import GradedDataset

    rng = np.random.default_rng(seed)
    n_kinds, n_colours = max(2, n_items // 40), 20
    kinds, colours = rng.integers(0, n_kinds, n_items), rng.integers(0, n_colours, n_items)
    items = {
        "item_id": [f"i{row:06d}" for row in range(n_items)],
        "title": [
            f"colour{c} thing{k} brand{b} no{row}"
            for row, (k, c, b) in enumerate(zip(kinds, colours, rng.integers(0, 500, n_items), strict=True))
        ],
        "category_path": [["home", f"aisle{k % 50}"] for k in kinds],
    }
    of_kind = np.argsort(kinds, kind="stable")
    ends = np.searchsorted(kinds[of_kind], np.arange(n_kinds + 1))
    queries: dict[str, list[str]] = {"query_id": [], "text": []}
    judgments: dict[str, list[Any]] = {"query_id": [], "item_id": [], "grade": [], "split": []}
    for q in range(n_queries):
        while True:
            kind, colour = int(rng.integers(n_kinds)), int(rng.integers(n_colours))
            same = of_kind[ends[kind] : ends[kind + 1]]
            if len(same):
                break
        queries["query_id"].append(f"q{q:05d}")
        queries["text"].append(f"colour{colour} thing{kind} wish{q}")
        judged = rng.permutation(same)[: n_judged // 2]
        others = np.setdiff1d(rng.integers(0, n_items, n_judged - len(judged)), same)
        for row in [*judged.tolist(), *others.tolist()]:
            grade = 0 if kinds[row] != kind else 2 if colours[row] == colour else 1
            judgments["query_id"].append(f"q{q:05d}")
            judgments["item_id"].append(f"i{row:06d}")
            judgments["grade"].append(grade)
            judgments["split"].append("test")
    GradedDataset.from_tables(queries, items, judgments, name="bench").save(folder)


class BagOfWords:
    """Both libraries' encoder: the unit sum of a random vector for each word; the same text, the same vector."""

    _BLOCK, _TABLE = 2048, 1 << 16

    def __init__(self, dim: int):
        self.seconds = self.cpu_seconds = 0.0
        self._table = np.random.default_rng(7).standard_normal((self._TABLE, dim), dtype=np.float32)

    def vectors(self, texts: list[str]) -> np.ndarray:
        """float32 (n, d) unit vectors."""
        start, cpu = time.perf_counter(), time.process_time()
        found = np.empty((len(texts), self._table.shape[1]), dtype=np.float32)
        for first in range(0, len(texts), self._BLOCK):
            words = [text.split() for text in texts[first : first + self._BLOCK]]
            rows = [zlib.crc32(word.encode()) % self._TABLE for of_text in words for word in of_text]
            starts = np.cumsum([0, *map(len, words[:-1])])
            found[first : first + len(words)] = np.add.reduceat(self._table[rows], starts, axis=0)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu
        return found

    def encode_query(self, texts: list[str], **options: Any) -> np.ndarray:
        return self.vectors(texts)

    encode_document = encode_query


class ForMteb:
    """The same encoder as MTEB's EncoderProtocol; ``around`` is what its DataLoader took to give the texts."""

    def __init__(self, encoder: BagOfWords):
        from mteb.models import ModelMeta

        self.encoder, self.around = encoder, 0.0
        self.mteb_model_meta = ModelMeta.create_empty({"name": NAME, "revision": REVISION})

    def encode(self, inputs: Any, **options: Any) -> np.ndarray:
        start = time.perf_counter()
        texts = [text for batch in inputs for text in batch["text"]]
        self.around += time.perf_counter() - start
        return self.encoder.vectors(texts)

    def similarity(self, a: Any, b: Any) -> Any:
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        import torch

        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(dim=1)


# ---- the arms, each in a process of its own ------------------------------------------------------------------------


def run_arm(arm: str, data: Path, out: Path, dim: int) -> dict[str, Any]:
    """One arm from the loaded dataset to the saved result JSON: seconds in all, of the encoder, and of the rest."""
    import mteb
    import torch

    from mr_st.data import GradedDataset
    from mr_st.evaluation import BiEncoder
    from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval

    class Bench(GradedRetrievalTask):
        metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "Bench"})

    class TimedBiEncoder(BiEncoder):
        seconds = 0.0

        def _encode(self, texts: list[str], side: Any) -> np.ndarray:
            start = time.perf_counter()
            found = super()._encode(texts, side)
            self.seconds += time.perf_counter() - start
            return found

    class Plain(Bench):
        def task_specific_scores(self, *args: Any, **options: Any) -> dict[str, float]:
            return {}  # what our tasks add to MTEB's run is no time of MTEB's

    encoder = BagOfWords(dim)
    dataset = GradedDataset.load(data)
    import sentence_transformers  # noqa: F401  what both arms need is loaded before the clock starts

    torch.ones(64, 64) @ torch.ones(64, 64)
    encoder.vectors(["warm"])
    encoder.seconds = encoder.cpu_seconds = around = 0.0
    cache = mteb.ResultCache(out)
    wall, cpu = time.perf_counter(), time.process_time()
    task = (Plain if arm == "mteb" else Bench)(dataset)
    if arm == "mteb":
        model = ForMteb(encoder)
        mteb.evaluate(model, task, cache=cache, encode_kwargs={"batch_size": 512}, show_progress_bar=False)
        around = model.around
    else:
        system = TimedBiEncoder(encoder, NAME, REVISION, batch_size=512)  # type: ignore[arg-type]
        task.report(system, ks=KS).save(out / "results")
        around = system.seconds - encoder.seconds
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    (path,) = out.glob("results/*/*/Bench.json")
    return {
        "seconds": wall, "encoding": encoder.seconds, "around_encoder": around,
        "cpu_seconds": cpu, "cpu_encoding": encoder.cpu_seconds, "file": str(path),
    }  # fmt: skip


def shared_metrics(path: Path) -> dict[str, float]:
    """What both write, as MTEB's own reader gives it."""
    import mteb

    results = mteb.ResultCache(path.parents[3]).load_results()
    (found,) = [r for m in results.model_results for r in m.task_results if r.task_name == "Bench"]
    return {
        f"{name}_at_{k}": found.scores["test"][0][f"{name}_at_{k}"]
        for name in SHARED for k in KS if f"{name}_at_{k}" in found.scores["test"][0]
    }  # fmt: skip


# ---- both, by turns ------------------------------------------------------------------------------------------------


def measure(at: argparse.Namespace, data: Path, work: Path, dim: int) -> dict[str, Any]:
    """Run the arms by turns on vectors of some length, compare their figures and their times."""
    environment = os.environ | {"OMP_NUM_THREADS": str(at.threads), "HF_HUB_OFFLINE": "1"}
    runs: dict[str, list[dict[str, Any]]] = {"mteb": [], "ours": []}
    for turn in range(at.repeats):
        for arm in ("mteb", "ours") if turn % 2 == 0 else ("ours", "mteb"):
            out = work / f"{arm}-{dim}-{turn}"
            command = [sys.executable, __file__, "--arm", arm, "--data", str(data), "--out", str(out)]
            done = subprocess.run(
                [*command, "--dims", str(dim)],
                env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            runs[arm].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{dim} dimensions, turn {turn + 1}, {arm}: {describe(runs[arm][-1])}", file=sys.stderr)
    theirs, ours = (shared_metrics(Path(runs[arm][0]["file"])) for arm in ("mteb", "ours"))
    missing = sorted(set(theirs) - set(ours))
    off = {name: abs(theirs[name] - ours[name]) for name in theirs if name in ours}
    times = {
        arm: {
            "seconds": median(found, "seconds"),
            "cpu_beyond_encoding": statistics.median(r["cpu_seconds"] - r["cpu_encoding"] for r in found),
            "encoding": median(found, "encoding"),
            "around_encoder": median(found, "around_encoder"),
            "beyond_encoder": statistics.median(r["seconds"] - r["encoding"] for r in found),
            "beyond_encoding": statistics.median(r["seconds"] - r["encoding"] - r["around_encoder"] for r in found),
            "runs": [{k: round(v, 3) for k, v in r.items() if k != "file"} for r in found],
        }
        for arm, found in runs.items()
    }
    return {
        "protocol": {
            "n_items": at.items, "n_queries": at.queries, "judged_per_query": at.judged, "dimension": dim,
            "k": max(KS), "ks": list(KS), "repeats": at.repeats, "threads": at.threads, "seed": at.seed,
            "cores": os.cpu_count(), "machine": platform.machine(), "cpu": instructions(),
            "load_before": round(os.getloadavg()[0], 2), "versions": versions(),
        },
        "times": times,
        "ratio": times["mteb"]["beyond_encoding"] / times["ours"]["beyond_encoding"],
        "cpu_ratio": times["mteb"]["cpu_beyond_encoding"] / times["ours"]["cpu_beyond_encoding"],
        "ratio_beyond_encoder": times["mteb"]["beyond_encoder"] / times["ours"]["beyond_encoder"],
        "metrics": {"n_shared": len(off), "greatest_difference": max(off.values()), "missing_in_ours": missing},
    }  # fmt: skip


def median(runs: list[dict[str, Any]], key: str) -> float:
    return round(statistics.median(run[key] for run in runs), 3)


def versions() -> dict[str, str]:
    """Of what was timed."""
    from importlib.metadata import version

    import mr_st

    packages = ("mteb", "torch", "numpy", "sentence-transformers", "pytrec-eval-terrier")
    return {"python": platform.python_version(), "mr_st": mr_st.__version__} | {p: version(p) for p in packages}


def instructions() -> str:
    """What this CPU multiplies with, which decides how we search: e.g. ``AVX2``."""
    import torch

    from mr_st.training.precision import computes_in_bfloat16

    known = torch.backends.cpu.get_cpu_capability()
    return f"{known} with bfloat16" if computes_in_bfloat16(on_cpu=True) else known


def describe(run: dict[str, Any]) -> str:
    rest = run["seconds"] - run["encoding"] - run["around_encoder"]
    return (
        f"{run['seconds']:.2f} s, of which encoder {run['encoding']:.2f} s, around it "
        f"{run['around_encoder']:.2f} s, rest {rest:.2f} s (CPU beyond the encoder "
        f"{run['cpu_seconds'] - run['cpu_encoding']:.2f} s)"
    )


def table(found: list[dict[str, Any]]) -> str:
    """What was measured at each length of the vectors, as Markdown."""
    protocol, rows = found[0]["protocol"], []
    for one in found:
        for arm, name in (("mteb", "`mteb.evaluate`"), ("ours", "`mr-st evaluate`")):
            t = one["times"][arm]
            rows.append(
                f"| {one['protocol']['dimension']} | {name} | {t['seconds']:.2f} | {t['encoding']:.2f} | "
                f"{t['beyond_encoder']:.2f} | {t['beyond_encoding']:.2f} | {t['cpu_beyond_encoding']:.2f} |"
            )
        rows.append(
            f"| | ratio | | | {one['ratio_beyond_encoder']:.1f} | **{one['ratio']:.1f}** | {one['cpu_ratio']:.1f} |"
        )
    n_shared = found[0]["metrics"]["n_shared"]
    off = max(one["metrics"]["greatest_difference"] for one in found)
    return "\n".join(
        [
            f"{protocol['n_items']:,} items, {protocol['n_queries']:,} queries, k = {protocol['k']:,}, "
            f"{protocol['repeats']} runs each by turns (medians), {protocol['threads']} threads of "
            f"{protocol['cores']} cores ({protocol['cpu']}); "
            + ", ".join(f"{k} {v}" for k, v in protocol["versions"].items())
            + ".",
            "",
            "| dimensions | | in all, s | encoder, s | beyond the encoder, s | beyond encoding, s | the same, CPU s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"{n_shared} shared figures ({', '.join(SHARED)} at {', '.join(map(str, protocol['ks']))}): "
            f"the greatest difference is {off:.1e}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=20, help="judged items a query")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dims", type=int, nargs="+", default=[384, 128], help="of the vectors; one or several")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for data and results; default: a temporary one")
    parser.add_argument(
        "--docs",
        action="store_true",
        help="write docs/evaluation.json and the table of its page",
    )
    parser.add_argument("--json", type=Path, help="write what was measured here")
    parser.add_argument("--arm", choices=["mteb", "ours"], help="run one arm once and print its times")
    parser.add_argument("--data", type=Path, help="with --arm: a saved dataset")
    parser.add_argument("--out", type=Path, help="with --arm: where results go")
    parser.add_argument("--sort", default="tottime", help="with --profile: tottime or cumtime")
    parser.add_argument("--profile", action="store_true", help="with --arm: print where the time goes")
    at = parser.parse_args()
    if at.arm:
        if at.profile:
            import cProfile
            import pstats

            with cProfile.Profile() as profile:
                found = run_arm(at.arm, at.data, at.out, at.dims[0])
            pstats.Stats(profile).sort_stats(at.sort).print_stats(40)
        else:
            found = run_arm(at.arm, at.data, at.out, at.dims[0])
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = at.work or Path(temporary)
        make_dataset(work / "data", at.items, at.queries, at.judged, at.seed)
        found = [measure(at, work / "data", work, dim) for dim in at.dims]
    print(table(found))
    if at.json:
        at.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if at.docs:
        from doc_pages import DOCS, put_into_docs, read_json_or_nothing

        path = DOCS / "evaluation.json"
        path.write_text(json.dumps(read_json_or_nothing(path) | {"speed": found}, indent=2) + "\n", encoding="utf-8")
        put_into_docs(DOCS / "evaluation.md", "speed", table(found))
    for metrics in (one["metrics"] for one in found):
        if metrics["missing_in_ours"] or metrics["greatest_difference"] > TOLERANCE:
            sys.exit(f"figures differ: {metrics}")


if __name__ == "__main__":
    main()
