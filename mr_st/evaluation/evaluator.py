"""GradedRetrievalEvaluator: the graded metrics as an evaluator of sentence-transformers, for use during training."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from mr_st.encoding import encode
from mr_st.evaluation.collection import Collection
from mr_st.evaluation.scoring import (
    check_cutoffs,
    main_metric,
    margin_metrics,
    pair_similarities,
    ranking_metrics,
)
from mr_st.search import ExactSearcher, QueryBatch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.data import GradedDataset

__all__ = ["GradedRetrievalEvaluator"]

logger = logging.getLogger(__name__)


class GradedRetrievalEvaluator(SentenceEvaluator):
    """Graded retrieval over the catalogue: NDCG, recall, precision, MAP, MRR, judged share and margins, as means.

    The same metrics under the same names as :func:`mr_st.evaluation.evaluate_model`, without intervals. The primary
    metric is ``{name}_ndcg@10``, known before the first call, so that
    ``metric_for_best_model="eval_dev_ndcg@10"`` can be written beforehand.

    Args:
        dataset: Judgments and catalogue.
        split: Which judgments.
        name: Prefix of the metrics and part of the CSV's name; None for the split's name, "" for no prefix.
        ks: Cut-offs.
        max_items: Search only this many items: all that the split judges, then randomly chosen others. None searches
            the whole catalogue. NDCG over fewer items is higher: do not compare it with a full-catalogue figure.
        seed: Seed of that choice.
        item_text_levels, max_chars: How an item becomes a text.
        gains: The gain of each grade for NDCG, lowest first; None for the dataset's own.
        batch_size: Texts in one forward pass.
        show_progress: Show a progress bar.
        write_csv: Append a line to ``Graded-Retrieval_evaluation_{name}_results.csv`` under ``output_path``.

    Raises:
        UsageError: no such split, an empty catalogue, or no query with an item above grade 0.

    Example:
        evaluator = GradedRetrievalEvaluator(dataset, split="dev", max_items=5000)
        trainer = SentenceTransformerTrainer(model, args, train_dataset=..., loss=loss, evaluator=evaluator)
    """

    def __init__(
        self,
        dataset: GradedDataset,
        split: str = "dev",
        name: str | None = None,
        *,
        ks: Sequence[int] = (10, 50, 100),
        max_items: int | None = None,
        seed: int = 0,
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        gains: Sequence[float] | None = None,
        batch_size: int = 64,
        show_progress: bool = False,
        write_csv: bool = True,
    ):
        super().__init__()
        self.collection = Collection.from_dataset(
            dataset, split, item_text_levels=item_text_levels, max_chars=max_chars, max_items=max_items, seed=seed,
            gains=gains,
        )  # fmt: skip
        self.name = split if name is None else name
        self.ks = check_cutoffs(ks)
        self.batch_size = batch_size
        self.show_progress = show_progress
        self.write_csv = write_csv
        self.greater_is_better = True
        self.primary_metric = f"{self.name}_{main_metric(self.ks)}" if self.name else main_metric(self.ks)
        self.csv_file = f"Graded-Retrieval_evaluation{'_' if self.name else ''}{self.name}_results.csv"

    def __call__(  # type: ignore[override]
        self, model: SentenceTransformer, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Evaluate the model.

        Args:
            model: The model.
            output_path: Folder of the CSV, or None.
            epoch, steps: Where the training stands; -1 outside of one.

        Returns:
            Metric name, with prefix, to its mean. A margin that no query has (a grade is missing) is left out.
        """
        metrics = self.compute_metrics(model)
        if output_path is not None and self.write_csv:
            self._append_csv(Path(output_path), epoch, steps, metrics)
        logger.info(
            "%s: %s %.4f over %d queries and %d items", self.name, main_metric(self.ks), metrics[main_metric(self.ks)],
            self.collection.n_queries, len(self.collection.item_ids),
        )  # fmt: skip
        metrics = self.prefix_name_to_metrics(metrics, self.name)
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics

    def compute_metrics(self, model: SentenceTransformer) -> dict[str, float]:
        """The means, under names without prefix."""
        values = self.per_query(model)
        return {name: float(np.nanmean(v)) for name, v in values.items() if not np.isnan(v).all()}

    def per_query(self, model: SentenceTransformer) -> dict[str, np.ndarray]:
        """Each metric of each query, float (n,), in the order of ``collection.query_ids``; NaN where it has none."""
        queries = encode(
            model, self.collection.query_texts, "query", batch_size=self.batch_size, show_progress=self.show_progress
        )
        items = encode(
            model, self.collection.item_texts, "item", batch_size=self.batch_size, show_progress=self.show_progress
        )
        top = ExactSearcher(items).search(QueryBatch(vectors=queries), max(self.ks))
        judged, scale = self.collection.judged, self.collection.scale
        values = ranking_metrics(judged, top.ids, self.ks, scale)
        return values | margin_metrics(judged, pair_similarities(queries, items, judged), scale.n_grades)

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of this evaluator."""
        wanted = ("corpus", "n_items", "split", "n_queries", "n_queries_left_out", "gains", "item_text")
        return {key: self.collection.protocol[key] for key in wanted} | {"ks": list(self.ks)}

    def _append_csv(self, folder: Path, epoch: int, steps: int, metrics: dict[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.csv_file
        is_new = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if is_new:
                writer.writerow(["epoch", "steps", *metrics])
            writer.writerow([epoch, steps, *metrics.values()])
