"""Labels for new pairs, from any annotator, a chunk at a time."""

from __future__ import annotations

import numpy as np

from mr_st.annotation import Annotations, Annotator
from mr_st.data.dataset import GradedDataset
from mr_st.errors import MrStError

__all__ = ["label_pairs"]

_AT_ONCE = 20_000


def label_pairs(
    dataset: GradedDataset,
    annotator: Annotator,
    query_rows: np.ndarray,
    item_rows: np.ndarray,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
    show_progress: bool = False,
) -> Annotations:
    """The annotator's grades of n pairs of a dataset.

    Args:
        dataset: Where the texts are.
        annotator: Who grades.
        query_rows: (n,) rows of the queries.
        item_rows: (n,) rows of the items.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        show_progress: Draw a progress bar.

    Raises:
        MrStError: an answer that does not fit the pairs or the dataset's scale.
    """
    from tqdm.auto import tqdm

    n, n_grades = len(query_rows), dataset.scale.n_grades
    parts: list[Annotations] = []
    with tqdm(total=n, desc="annotate", unit="pair", disable=not show_progress) as progress:
        for start in range(0, n, _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, n))
            table = dataset.pair_table(query_rows[part], item_rows[part], item_text_levels, max_chars)
            answer = annotator.grade(table)
            if len(answer) != len(table):
                raise MrStError(f"{annotator.identity}: {len(answer):,} grades for {len(table):,} pairs; mend it")
            if answer.n_grades != n_grades:
                raise MrStError(
                    f"{annotator.identity}: grades 0..{answer.n_grades - 1}, but the dataset's scale is "
                    f"{dataset.scale}; use an annotator of the same scale"
                )
            parts.append(answer)
            progress.update(len(table))
    return Annotations.concatenate(parts, n_grades)
