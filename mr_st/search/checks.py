"""What no inner product can rank is refused, and named: NaN, infinity and zero vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mr_st.errors import DataError, Problem

__all__ = ["refuse_unusable", "row_norms"]

LONGEST = 1e18  # the product of two such vectors is far inside float32's range
_ROWS = 4096


def row_norms(block: np.ndarray) -> np.ndarray:
    """Length of each row, float64 (n,), which neither overflows nor underflows for float32 rows.

    Args:
        block: float32 (n, d).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.einsum("nd,nd->n", block, block)
        out_of_range = ~((squared > 1e-30) & (squared < 1e30))
        norms = np.sqrt(squared, dtype=np.float64)
        if out_of_range.any():
            wide = block[out_of_range].astype(np.float64)
            norms[out_of_range] = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    return norms


def refuse_unusable(vectors: np.ndarray, where: str, first: int = 0, ids: Sequence[str] | None = None) -> float:
    """Raise for the first row that cannot be compared: NaN or infinite, all zeros, or longer than 1e18.

    Returns the length of the longest row, 0 where there is none.

    Args:
        vectors: float (n, d); read a few thousand rows at a time, so that a memory map stays one.
        where: What the message calls them, e.g. "item vectors".
        first: Number of the first row, from 0, where ``vectors`` is a part of something longer.
        ids: n names by which a row is called; None to call it by its number alone.

    Raises:
        DataError: there is such a row.
    """
    longest = 0.0
    for start in range(0, len(vectors), _ROWS):
        norms = row_norms(np.asarray(vectors[start : start + _ROWS], dtype=np.float32))
        wrong = ~((norms > 0) & (norms <= LONGEST))
        if not wrong.any():
            longest = max(longest, float(norms.max()))
            continue
        at = int(np.argmax(wrong))
        if norms[at] == 0:
            what, mend = "a zero vector", "check the text and the model that made it"
        elif np.isfinite(norms[at]):
            what, mend = f"a length of {norms[at]:.3g}, over {LONGEST:.0e}", "divide all vectors by one number"
        else:
            what, mend = "NaN or infinite values", "check the text and the model that made it"
        name = "" if ids is None else f" ({ids[start + at]})"
        problem = Problem(where, f"{what}{name}, which no similarity can rank", mend, row=first + start + at + 1)
        raise DataError(problem)
    return longest
