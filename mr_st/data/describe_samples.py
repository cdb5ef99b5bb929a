"""Judged pairs to read: some of each grade, drawn at random, with the texts that a person would judge by."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from mr_st.data.describe import judgment_frame
from mr_st.data.schema import arrow_table
from mr_st.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mr_st.data.dataset import GradedDataset

__all__ = ["Sample", "draw_samples"]


@dataclass(frozen=True)
class Sample:
    """One judged pair, ready to be read.

    Args:
        grade: The grade.
        grade_name: What the scale calls it.
        locale: The query's locale.
        query_id: The query.
        item_id: The item.
        query: The query's text.
        item: The item's text.
        split: train, dev or test.
        source: Who judged.
        reason: Why, where the judge says so: a marketplace's policy; else None.
        true_grade: The policy's grade where it differs from the judgment's (label noise), else None.
    """

    grade: int
    grade_name: str
    locale: str
    query_id: str
    item_id: str
    query: str
    item: str
    split: str
    source: str
    reason: str | None = None
    true_grade: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The sample as plain values."""
        return asdict(self)


def draw_samples(
    dataset: GradedDataset,
    n: int,
    seed: int = 0,
    locale: str | None = None,
    split: str | None = None,
    max_chars: int | None = 400,
) -> list[Sample]:
    """Draw judged pairs of each grade at random.

    Args:
        dataset: The dataset. Of a marketplace each sample comes with the policy's reason.
        n: How many of each grade; fewer where there are fewer.
        seed: The same seed draws the same pairs.
        locale: A locale of the queries: pairs of this locale only; a language such as ``en``: of all its locales.
            ``all``: n of each grade for each locale. None: the n of a grade are spread over the locales as evenly as
            they go.
        split: Pairs of this split only.
        max_chars: Where an item's text is cut; None for no cut.

    Returns:
        By locale, then grade (highest first), then in the order drawn; with ``locale`` None by grade first.

    Raises:
        UsageError: n is below 1, or no judged query has this locale or split.

    Example:
        >>> from mr_st.data import GradedDataset
        >>> dataset = GradedDataset.load("marketplace", size="tiny")
        >>> [sample.grade for sample in draw_samples(dataset, 2)]
        [2, 2, 1, 1, 0, 0]
    """
    if n < 1:
        raise UsageError(f"{n} samples of each grade; ask for 1 or more")
    frame = judgment_frame(dataset).with_row_index("judgment")
    frame = frame.filter((pl.col("query") >= 0) & (pl.col("item") >= 0) & pl.col("grade").is_not_null())
    if split is not None:
        frame = frame.filter(pl.col("split") == split)
        if frame.is_empty():
            raise UsageError(f"{dataset.name}: no judgments in split {split!r}; it has {', '.join(dataset.splits)}")
    locales = pl.Series(arrow_table(dataset.queries)["locale"])
    frame = frame.with_columns(locale=locales.gather(frame["query"]))
    present = frame["locale"].drop_nulls().unique().sort().to_list()
    if locale not in (None, "all"):
        chosen = [tag for tag in present if tag == locale] or [t for t in present if t.split("-")[0] == locale]
        if not chosen:
            raise UsageError(
                f"{dataset.name}: no judged query has the locale {locale!r}; there are {', '.join(present)}"
            )
        frame = frame.filter(pl.col("locale").is_in(chosen))
    rng = np.random.default_rng(seed)
    frame = frame.with_columns(draw=pl.Series(rng.permutation(frame.height)))
    strata = ["locale", "grade"]
    ranked = frame.with_columns(turn=pl.col("draw").rank("ordinal").over(strata))
    if locale == "all":
        drawn = ranked.filter(pl.col("turn") <= n).sort("locale", -pl.col("grade").cast(pl.Int64), "turn")
    else:  # the first of every locale, then the second, ...; which locale begins is drawn as well
        drawn = ranked.sort("turn", "draw").group_by("grade", maintain_order=True).head(n)
        drawn = drawn.sort(-pl.col("grade").cast(pl.Int64), "turn", "draw")
    return _read(dataset, drawn, max_chars)


def _read(dataset: GradedDataset, drawn: pl.DataFrame, max_chars: int | None) -> list[Sample]:
    table = dataset.pair_table(drawn["query"].to_numpy(), drawn["item"].to_numpy(), None, max_chars)
    sources = arrow_table(dataset.judgments).select(["split", "source"]).take(pa.array(drawn["judgment"].to_numpy()))
    judge = _policy(dataset) if drawn.height else None
    samples = []
    for row, (grade, split, source) in enumerate(
        zip(drawn["grade"], sources["split"].to_pylist(), sources["source"].to_pylist(), strict=True)
    ):
        query_id, item_id = table.query_ids[row], table.item_ids[row]
        true_grade, reason = judge(query_id, item_id) if judge else (None, None)
        samples.append(
            Sample(
                grade=grade,
                grade_name=dataset.scale.names[grade] if 0 <= grade < dataset.scale.n_grades else "?",
                locale=drawn["locale"][row],
                query_id=query_id,
                item_id=item_id,
                query=table.query_texts[row],
                item=table.item_texts[row],
                split=split,
                source=source,
                reason=reason,
                true_grade=None if true_grade == grade else true_grade,
            )
        )
    return samples


def _policy(dataset: GradedDataset) -> Callable[[str, str], tuple[int, str]] | None:
    """The marketplace's own judge, where the dataset is one and its shop can be made again."""
    if dataset.source.get("name") != "marketplace":
        return None
    from mr_st.data.marketplace import MarketplacePolicy

    try:
        policy = MarketplacePolicy.for_dataset(dataset)
    except DataError:  # its texts were changed since: nobody knows the reasons
        return None
    return lambda query_id, item_id: (policy(query_id, item_id), policy.explain(query_id, item_id))
