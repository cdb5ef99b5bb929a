"""What a mining round did, in counts: nothing that changes from run to run, so that equal rounds report alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from mr_st.mining.select import Selection

__all__ = ["count_pairs"]


def count_pairs(
    judged: np.ndarray,
    ranks: np.ndarray,
    grades: np.ndarray,
    selection: Selection,
    *,
    k: int,
    last_negative_rank: int,
    n_grades: int,
) -> dict[str, Any]:
    """Count retrieved, judged, annotated, dropped and taken pairs.

    Args:
        judged: bool (r,), of the r retrieved pairs, those that had a label.
        ranks: int (n,), of the n annotated pairs, from 1.
        grades: int (n,), what the annotator gave.
        selection: What became of the n pairs.
        k: Items retrieved for a query.
        last_negative_rank: Where hard negatives end.
        n_grades: G.

    Returns:
        JSON-ready counts. ``would_be_negatives`` are the unjudged pairs that a miner without an annotator takes for
        negatives; ``positive`` of them are not.
    """
    deciles = (ranks.astype(np.int64) * 10 + k - 1) // k - 1  # rank 1 is in decile 0, rank k in decile 9

    def by_grade(mask: np.ndarray) -> dict[str, int]:
        return {str(g): int(n) for g, n in enumerate(np.bincount(grades[mask].astype(np.int64), minlength=n_grades))}

    def by_decile(mask: np.ndarray) -> list[int]:
        return np.bincount(deciles[mask], minlength=10).tolist()

    def would_be(mask: np.ndarray) -> dict[str, Any]:
        n, positive = int(mask.sum()), int((mask & (grades >= 1)).sum())
        return {"pairs": n, "positive": positive, "share_positive": positive / n if n else None}

    everything = np.ones(len(ranks), dtype=bool)
    kinds = {"hard negative": selection.hard_negatives, "hard positive": selection.hard_positives}
    return {
        "retrieved": len(judged),
        "already_judged": int(judged.sum()),
        "annotated": len(ranks),
        "annotated_by_grade": by_grade(everything),
        "dropped_by_confidence": int(selection.unsure.sum()),
        "dropped_by_cap": int(selection.capped.sum()),
        "taken": int(selection.taken.sum()),
        "taken_by_kind": {
            kind: {"pairs": int(mask.sum()), "by_grade": by_grade(mask), "by_rank_decile": by_decile(mask)}
            for kind, mask in kinds.items()
        },
        "would_be_negatives": {
            "to_boundary": would_be(ranks <= last_negative_rank),
            "to_k": would_be(everything),
        },
    }
