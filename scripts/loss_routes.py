"""The ways to train that bench_losses.py compares: ragged batches, the stock collator's fixed columns, and MNRL."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

MOST_ITEMS, MEAN_ITEMS = 32, 8
CACHED_TEXTS = 32  # mini_batch_size of the cached route
CHUNK_ON_GPU = 128

ROUTES = {
    "ours": "**ours**: `GradedCollator`, `GradedSupConLoss`",
    "chunks": f"ours, `rows_per_forward={CHUNK_ON_GPU}`",
    "cached": f"ours, cached (`mini_batch_size={CACHED_TEXTS}`)",
    "columns": f"(a) stock: columns query, item_1 .. item_{MOST_ITEMS}, label -1; a forward a column",
    "merged": "(a) the same, the item columns in one forward (`embed_columns`)",
    "mnrl": "(b) stock: `MultipleNegativesRankingLoss`, a row (query, item) for each item",
}


def ragged_batches(n_batches: int, n_queries: int, size: str) -> list[list[dict[str, Any]]]:
    """Batches of instances with 2 to 32 items of two grades or more."""
    import numpy as np

    from mr_st.data import GradedDataset

    dataset = GradedDataset.load("marketplace", size=size)
    queries, items = dataset.query_texts(), dataset.item_texts()
    rng = np.random.default_rng(0)
    judged: dict[int, list[tuple[int, int]]] = {}
    for split in ("dev", "test"):
        pairs = dataset.judged_pairs(split)
        for query, item, grade in zip(pairs.query_rows, pairs.item_rows, pairs.grades, strict=True):
            judged.setdefault(int(query), []).append((int(item), int(grade)))
    usable = [query for query, found in judged.items() if len({grade for _, grade in found}) > 1]
    rows = []
    for at in rng.integers(len(usable), size=n_batches * n_queries):
        found = judged[usable[at]]
        # an exponential with its tail cut off at 32, of mean 8 as it comes out
        n_items = min(2 + int(rng.exponential(MEAN_ITEMS - 1.4)), MOST_ITEMS, len(found))
        order = rng.permutation(len(found)).tolist()
        grades = [found[i][1] for i in order]
        other = next(i for i, grade in enumerate(grades) if grade != grades[0])
        order.insert(1, order.pop(other))  # two grades at least
        chosen = [found[i] for i in order[:n_items]]
        rows.append(
            {
                "query": queries[usable[at]],
                "items": [items[item] for item, _ in chosen],
                "labels": [grade for _, grade in chosen],
            }
        )
    return [rows[start : start + n_queries] for start in range(0, len(rows), n_queries)]


def fixed_columns(row: dict[str, Any]) -> dict[str, Any]:
    """An instance as a row of fixed columns, as the stock collator takes it."""
    n_missing = MOST_ITEMS - len(row["items"])
    texts = row["items"] + [""] * n_missing
    columns = {f"item_{at}": text for at, text in enumerate(texts, start=1)}
    return {"query": row["query"], **columns, "label": row["labels"] + [-1] * n_missing}


def fixed_width_loss(model: Any, merges: bool) -> Any:
    """GradedSupConLoss's maths over fixed columns, as a user of sentence-transformers writes it."""
    import torch
    import torch.nn.functional as F
    from sentence_transformers.base.losses.merged_forward import embed_columns

    class FixedWidthSupCon(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.log_tau = torch.nn.Parameter(torch.tensor(0.05).log())

        def forward(self, features: list[dict[str, Any]], labels: Any) -> Any:
            columns = embed_columns(model, features) if merges else [model(f)["sentence_embedding"] for f in features]
            query, *items = (F.normalize(column.float(), dim=-1) for column in columns)
            is_there = labels >= 0
            scores = torch.stack([(query * item).sum(-1) for item in items], dim=1)
            logits = (scores / self.log_tau.exp()).masked_fill(~is_there, -torch.inf)
            lowest = labels.masked_fill(~is_there, 127).amin(1, keepdim=True)
            weights = (labels * (labels > lowest)).float()
            log_shares = logits.log_softmax(1).masked_fill(~is_there, 0.0)
            return -((weights * log_shares).sum(1) / weights.sum(1)).sum()

    return FixedWidthSupCon()


class Route:
    """One way to train: its collator, its loss, and an optimizer over both model and loss."""

    def __init__(self, name: str, model: Any):
        import torch
        from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        from mr_st.losses import GradedSupConLoss
        from mr_st.training import GradedCollator

        self.name, self.model = name, model
        stock = SentenceTransformerDataCollator(preprocess_fn=model.preprocess)
        graded = GradedCollator.from_trainer_args(model)
        self.collator = graded if name in ("ours", "chunks", "cached") else stock
        if name in ("columns", "merged"):
            self.loss = fixed_width_loss(model, merges=name == "merged")
        elif name == "mnrl":
            self.loss = MultipleNegativesRankingLoss(model)
        else:
            self.loss = GradedSupConLoss(model, mini_batch_size=CACHED_TEXTS if name == "cached" else None)
            if name == "chunks":
                self.loss.rows_per_forward = CHUNK_ON_GPU
        self.loss.to(model.device)
        self.optimizer = torch.optim.AdamW(self.loss.parameters(), lr=1e-6)

    def collate(self, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        """Features and labels on the model's device."""
        from sentence_transformers import SentenceTransformerTrainer

        if self.name in ("columns", "merged"):
            rows = [fixed_columns(row) for row in rows]
        elif self.name == "mnrl":
            rows = [{"anchor": row["query"], "positive": item} for row in rows for item in row["items"]]
        batch = {
            key: value.to(self.model.device) if hasattr(value, "to") else value
            for key, value in self.collator(rows).items()
        }
        return SentenceTransformerTrainer.collect_features(None, batch)  # type: ignore[arg-type]  # reads no self

    def step(self, rows: list[dict[str, Any]]) -> tuple[float, float]:
        """Take a step; seconds of the whole and of its collating."""
        synchronise(self.model)
        started = time.perf_counter()
        features, labels = self.collate(rows)
        collated = time.perf_counter()
        with autocast(self.model):
            loss = self.loss(features, labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        synchronise(self.model)
        return time.perf_counter() - started, collated - started

    def loss_and_gradient(self, rows: list[dict[str, Any]]) -> tuple[float, Any]:
        """The loss of a batch in full precision without dropout, and the gradient of the model's largest matrix."""
        was_training = self.model.training
        self.model.eval()
        loss = self.loss(*self.collate(rows))
        loss.backward()
        largest = max(self.model.parameters(), key=lambda parameter: parameter.numel())
        gradient = largest.grad.clone()
        self.optimizer.zero_grad()
        self.model.train(was_training)
        return loss.item(), gradient


def synchronise(model: Any) -> None:
    """Wait for the GPU, where there is one."""
    if model.device.type == "cuda":
        import torch

        torch.cuda.synchronize()


def autocast(model: Any) -> contextlib.AbstractContextManager[Any]:
    """bf16 on a GPU; full precision on a CPU, where it is faster."""
    import torch

    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=model.device.type == "cuda")


@contextlib.contextmanager
def loaded_model(device: str, kind: str) -> Iterator[Any]:
    """MiniLM from the extra demo, or a model of multilingual-e5-small's size with random weights (MiniLM's words)."""
    from mr_st.models import load_sentence_transformer, resolve_base

    if kind == "minilm":
        yield load_sentence_transformer("minilm", device=device).train()
        return
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=250_037, hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536
    )
    with tempfile.TemporaryDirectory() as folder:
        BertModel(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(resolve_base("minilm")[0]).save_pretrained(folder)
        trunk = Transformer(folder, max_seq_length=256)
        yield SentenceTransformer(modules=[trunk, Pooling(384, "mean"), Normalize()], device=device).train()
