"""From rows of (query, items, labels) to what the losses take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from mr_st.errors import UsageError
from mr_st.losses.spelling_consistency import VARIANT
from mr_st.training.known import KnownGrades

__all__ = ["GradedCollator", "prompt_of_side"]

_PROMPT_NAMES = {"query": ("query",), "item": ("document", "passage", "corpus")}


@dataclass
class GradedCollator(SentenceTransformerDataCollator):
    """Collates ragged graded instances: ``query: str, items: list[str], labels: list[int]``.

    Each distinct item text of a batch is tokenised once, each column is padded to its own width. The batch carries
    the features of the queries, those of the distinct items (shortest text first), and ``label``: ``(P, 3)`` int64 of
    ``(query_row, item_row, grade)``. One row of the dataset is one query row, also where two rows ask the same query.
    Other columns are ignored, but for two options:

    - With ``known``, a pair of one row's query and another row's item has a label row too, where its grade is known:
      more to learn from the same forward passes. A row's own pairs keep their labels and are never doubled.
    - Rows may have a column ``variants: list[str]``: misspellings of the query, none or some. The batch then carries a
      third column of features, the distinct variants of its rows, encoded as queries are; and a label row
      ``(query_row, variant_row, VARIANT)`` for each variant of a row. ``SpellingConsistencyLoss`` takes such batches,
      no other loss does.

    Rows of other datasets of a DatasetDict, which have no list of items, are collated as the stock trainer does, for
    a loss of its own such as MultipleNegativesRankingLoss: give a Router the routes of all columns then.

    Give it to the stock trainer as ``data_collator=``. The trainer passes prompts and routes to its own collator
    only, so build this one with :meth:`from_trainer_args`.

    Args:
        valid_label_columns, router_mapping, max_length: As for the stock collator.
        query_column, items_column, labels_column, variants_column: What the columns are called.
        known: The grades that are known across the batch; or, for a DatasetDict, those of each dataset by its name.

    Raises:
        UsageError: a row lacks a column, has other than one label an item, a grade below 0, variants that are no
            list of texts; a batch has no item; or none of its queries or none of its items stands in ``known``, which
            was made of other texts then.
    """

    query_column: str = "query"
    items_column: str = "items"
    labels_column: str = "labels"
    variants_column: str = "variants"
    known: KnownGrades | Mapping[str, KnownGrades] | None = field(default=None, repr=False)

    @classmethod
    def from_trainer_args(
        cls,
        model: SentenceTransformer,
        args: SentenceTransformerTrainingArguments | None = None,
        known: KnownGrades | Mapping[str, KnownGrades] | None = None,
    ) -> GradedCollator:
        """A collator for ``model``.

        Args:
            model: Its tokeniser is used; so are its prompts ("query"; "document", "passage" or "corpus") unless
                ``args.prompts`` has others, as ``encode_query`` and ``encode_document`` do.
            args: ``prompts`` and ``router_mapping`` are read. A model with a Router gets the routes "query" and
                "document" unless the mapping says otherwise.
            known: As the collator's own.
        """
        prompts: Any = getattr(args, "prompts", None)
        if not prompts:
            prompts = {"query": prompt_of_side(model, "query"), "items": prompt_of_side(model, "item")}
            prompts = {column: prompt for column, prompt in prompts.items() if prompt}
        routes: Any = getattr(args, "router_mapping", None)
        if not routes and any(isinstance(module, Router) for module in model.children()):
            routes = {"query": "query", "items": "document"}
        return cls(preprocess_fn=model.preprocess, prompts=prompts, router_mapping=routes or {}, known=known)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        if not features:
            return {}
        if not self._is_graded(features[0]):
            return super().__call__(features)
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
        parts = [label, self._known_pairs(features, texts, label)]
        variants: dict[str, int] = {}
        of_rows = [
            (query_row, variants.setdefault(variant, len(variants)), VARIANT)
            for query_row, row in enumerate(features)
            for variant in self._variants(row)
        ]
        if of_rows:
            as_queries = super().__call__([{self.query_column: text, **extra} for text in variants])
            before, after = f"{self.query_column}_", f"{self.variants_column}_"
            batch |= {after + k.removeprefix(before): v for k, v in as_queries.items() if k.startswith(before)}
            parts.append(torch.tensor(of_rows, dtype=torch.long))
        batch["label"] = torch.cat(parts)
        return batch

    def _is_graded(self, row: dict[str, Any]) -> bool:
        """Whether a row is meant for a graded loss; a row that only misspells a column is, and is refused later."""
        texts = [name for name in row if name not in (*self.valid_label_columns, "dataset_name")]
        if self.items_column in row or len(texts) < 2 or any(isinstance(row[name], (list, tuple)) for name in texts):
            return True
        routes = self._resolve_router_mapping(row)
        if self.router_mapping and not any(name in routes for name in texts):
            raise UsageError(
                f"the model has routes, and none is given for the columns {', '.join(texts)}; add them to "
                f'router_mapping: {{"{texts[0]}": "query", "{texts[1]}": "document"}}'
            )
        return False

    def _known_pairs(self, features: list[dict[str, Any]], texts: list[str], own: torch.Tensor) -> torch.Tensor:
        """(n, 3): label rows of the pairs across the batch whose grades are known, the batch's own left out."""
        known = self.known
        if isinstance(known, Mapping):
            known = known.get(features[0].get("dataset_name", ""))
        if known is None:
            return own[:0]
        found = torch.from_numpy(known.among([row[self.query_column] for row in features], texts))
        if len(found) == 0:
            known.check([row[self.query_column] for row in features], texts)
        pair, own_pair = (rows[:, 0] * len(texts) + rows[:, 1] for rows in (found, own))
        return found[~torch.isin(pair, own_pair)]

    def _variants(self, row: dict[str, Any]) -> list[str]:
        variants = row.get(self.variants_column, [])
        if not isinstance(variants, (list, tuple)) or not all(isinstance(variant, str) for variant in variants):
            name = self.variants_column
            raise UsageError(f"query {row[self.query_column]!r}: {name} is {variants!r:.40}; expected a list of texts")
        return list(dict.fromkeys(variants))

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
