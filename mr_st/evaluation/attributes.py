"""What is known of the queries of an evaluation, so that its figures can be sliced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mr_st.data.traffic import SEGMENTS, traffic_segments
from mr_st.errors import UsageError
from mr_st.text import normalise

if TYPE_CHECKING:
    from mr_st.data import GradedDataset

__all__ = ["ATTRIBUTES", "language_of", "matching", "query_attributes"]

ATTRIBUTES = ("locale", "kind", "traffic", "seen")
"""What a figure can be sliced by."""


def query_attributes(dataset: GradedDataset, query_rows: np.ndarray, split: str) -> dict[str, list[Any]]:
    """What is known of queries that figures can be sliced by; a list (n,) each, None where unknown.

    ``locale``; ``kind`` (organic, spelling, synthetic); ``traffic``: head, torso or tail of all the dataset's queries
    (:func:`mr_st.data.traffic.traffic_segments`); ``seen``: whether a query of the same normalised text has a training
    judgment (``seen`` or ``unseen``; None where the split is train or there is no train split); ``frequency``: float.
    """
    from mr_st.data.schema import arrow_table

    table = arrow_table(dataset.queries)
    rows = pa.array(query_rows)
    n = table.num_rows

    def column(name: str) -> list[Any]:
        return table[name].take(rows).to_pylist() if name in table.column_names else [None] * len(query_rows)

    frequencies = table["frequency"].to_numpy() if "frequency" in table.column_names else np.full(n, np.nan)
    segments = traffic_segments(frequencies.astype(np.float64))[query_rows]
    seen: list[Any] = [None] * len(query_rows)
    if split != "train" and "train" in dataset.splits:
        texts = [normalise(text) for text in dataset.query_texts()]
        trained = {texts[row] for row in np.unique(dataset.judged_pairs("train").query_rows)}
        seen = ["seen" if texts[row] in trained else "unseen" for row in query_rows]
    return {
        "locale": column("locale"),
        "kind": column("kind"),
        "traffic": [None if s < 0 else SEGMENTS[s] for s in segments],
        "seen": seen,
        "frequency": column("frequency"),
    }


def matching(columns: Mapping[str, Sequence[Any]], where: Mapping[str, str]) -> np.ndarray:
    """Which queries have all the values asked for, bool (n,); a locale may be given by its language (``es``).

    Args:
        columns: Attribute to its value of each query, n long.
        where: Attribute to value.

    Raises:
        UsageError: an attribute that the queries have not.

    Example:
        >>> matching({"locale": ["es-ES", "de-DE", None]}, {"locale": "es"}).tolist()
        [True, False, False]
    """
    kept = np.ones(max(map(len, columns.values()), default=0), dtype=bool)
    for name, value in where.items():
        if name not in ATTRIBUTES or name not in columns:
            raise UsageError(f"queries have no {name!r}; slice by {', '.join(ATTRIBUTES)}")
        kept &= np.array([v == value or (name == "locale" and language_of(v) == value) for v in columns[name]], bool)
    return kept


def language_of(locale: str | None) -> str | None:
    """The language of a BCP-47 locale, lower case: ``es`` of ``es-ES``."""
    return None if locale is None else locale.replace("_", "-").split("-")[0].lower()
