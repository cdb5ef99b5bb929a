"""From rows of (query, items, labels) to what the losses take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from mr_st.errors import UsageError

__all__ = ["GradedCollator", "prompt_of_side"]

_PROMPT_NAMES = {"query": ("query",), "item": ("document", "passage", "corpus")}


@dataclass
class GradedCollator(SentenceTransformerDataCollator):
    """Collates ragged graded instances: ``query: str, items: list[str], labels: list[int]``.

    Each distinct item text of a batch is tokenised once, each column is padded to its own width. The batch carries
    the features of the queries, those of the distinct items (shortest text first), and ``label``: ``(P, 3)`` int64 of
    ``(query_row, item_row, grade)``. One row of the dataset is one query row, also where two rows ask the same query.
    Other columns are ignored.

    Give it to the stock trainer as ``data_collator=``. The trainer passes prompts and routes to its own collator
    only, so build this one with :meth:`from_trainer_args`.

    Raises:
        UsageError: a row lacks a column, has other than one label an item, a grade below 0; or a batch has no item.
    """

    query_column: str = "query"
    items_column: str = "items"
    labels_column: str = "labels"

    @classmethod
    def from_trainer_args(
        cls, model: SentenceTransformer, args: SentenceTransformerTrainingArguments | None = None
    ) -> GradedCollator:
        """A collator for ``model``.

        Args:
            model: Its tokeniser is used; so are its prompts ("query"; "document", "passage" or "corpus") unless
                ``args.prompts`` has others, as ``encode_query`` and ``encode_document`` do.
            args: ``prompts`` and ``router_mapping`` are read. A model with a Router gets the routes "query" and
                "document" unless the mapping says otherwise.
        """
        prompts: Any = getattr(args, "prompts", None)
        if not prompts:
            prompts = {"query": prompt_of_side(model, "query"), "items": prompt_of_side(model, "item")}
            prompts = {column: prompt for column, prompt in prompts.items() if prompt}
        routes: Any = getattr(args, "router_mapping", None)
        if not routes and any(isinstance(module, Router) for module in model.children()):
            routes = {"query": "query", "items": "document"}
        return cls(preprocess_fn=model.preprocess, prompts=prompts, router_mapping=routes or {})

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        if not features:
            return {}
        row_of: dict[str, int] = {}
        labels: list[tuple[int, int, int]] = []
        for query_row, row in enumerate(features):
            items, grades = self._checked(row)
            for item, grade in zip(items, grades, strict=True):
                labels.append((query_row, row_of.setdefault(item, len(row_of)), int(grade)))
        if not row_of:
            raise UsageError(f"a batch of {len(features)} rows has no item; leave out rows without items")
        # Shortest first: neighbours are of like length, which a loss that embeds in chunks can use.
        texts = sorted(row_of, key=lambda text: (len(text), text))
        place = torch.empty(len(texts), dtype=torch.long)
        place[[row_of[text] for text in texts]] = torch.arange(len(texts))
        extra = {"dataset_name": features[0]["dataset_name"]} if "dataset_name" in features[0] else {}
        batch = super().__call__([{self.query_column: row[self.query_column], **extra} for row in features])
        batch |= super().__call__([{self.items_column: text, **extra} for text in texts])
        label = torch.tensor(labels, dtype=torch.long)
        label[:, 1] = place[label[:, 1]]
        batch["label"] = label
        return batch

    def _checked(self, row: dict[str, Any]) -> tuple[list[str], list[int]]:
        missing = [c for c in (self.query_column, self.items_column, self.labels_column) if c not in row]
        if missing:
            raise UsageError(f"a training row lacks column {missing[0]!r} (it has {sorted(row)}); see build_instances")
        items, grades = row[self.items_column], row[self.labels_column]
        if isinstance(items, str) or len(items) != len(grades):
            raise UsageError(
                f"query {row[self.query_column]!r}: {self.items_column} must be a list with one entry of "
                f"{self.labels_column} each; got {len(items)} and {len(grades)}"
            )
        if any(grade < 0 for grade in grades):
            raise UsageError(f"query {row[self.query_column]!r}: grade {min(grades)} is below 0; see GradeScale")
        return items, grades


def prompt_of_side(model: SentenceTransformer, side: str) -> str | None:
    """The prompt that ``encode_query`` (side "query") or ``encode_document`` (side "item") puts before a text."""
    for name in _PROMPT_NAMES[side]:
        if name in model.prompts:
            return model.prompts[name]
    return model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
