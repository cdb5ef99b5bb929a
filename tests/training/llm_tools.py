"""What the tests of a causal model's fit share: a short guideline, a policy a few steps can teach, quick settings."""

from __future__ import annotations

from test_annotator import shop

from mr_st.annotation import Guideline
from mr_st.data import GradedDataset

SHORT = Guideline.parse(
    "## Grade 0: no\n\nno\n\n## Grade 1: partial\n\npartial\n\n## Grade 2: yes\n\nyes\n", "short.md"
)
QUICK = {
    "guideline": SHORT, "epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "lora_dropout": 0.1, "device": "cpu",
}  # fmt: skip


def small_shop() -> GradedDataset:
    """The shop's first 24 queries: 4 are held out, 20 with 240 pairs are learned from, in 8 steps."""
    dataset = shop()
    wanted = {f"q{n}" for n in range(24)}
    queries = [row for row in dataset.queries if row["query_id"] in wanted]
    judgments = [row for row in dataset.judgments if row["query_id"] in wanted]
    return GradedDataset.from_tables(queries, dataset.items, judgments, name="shop")


def mugs_and_lamps() -> GradedDataset:
    """The shop where mugs are 2, lamps 1, and the rest 0, whatever the query: half the pairs are 0."""
    dataset = shop()
    grade_of = {row["item_id"]: {"mug": 2, "lamp": 1}.get(row["title"].split()[1], 0) for row in dataset.items}
    judgments = [{**row, "grade": grade_of[row["item_id"]]} for row in dataset.judgments]
    return GradedDataset.from_tables(dataset.queries, dataset.items, judgments, name="mugs and lamps")
