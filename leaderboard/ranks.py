"""Ranks as ranges: what intervals leave open is not decided by the means."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from mr_st.leaderboard.board import WHOLE, Task

__all__ = ["rank_ranges", "rank_text"]


def rank_ranges(task: Task, metric: str | None = None, subset: str = WHOLE) -> dict[int, tuple[int, int]]:
    """The first and last place of each model whose cell is ``ok``.

    First: 1 + the models whose whole interval lies above. Last: the models, but for those whose whole interval lies
    below. A score without an interval is taken as exact.

    Args:
        task: The column.
        metric: What it is ranked by; None for the task's own.
        subset: Of the queries.

    Example:
        >>> from pathlib import Path
        >>> from mr_st.leaderboard.results import Result
        >>> scores = [(0.7, 0.6, 0.8, 9), (0.6, 0.5, 0.65, 9), (0.2, None, None, None)]
        >>> cells = {
        ...     row: {WHOLE: Result("m", "1", "T", "test", WHOLE, "", "ndcg@10", {"ndcg@10": score}, {}, Path(), "")}
        ...     for row, score in enumerate(scores)
        ... }
        >>> task = Task("T", "test", "T", "", "", {}, "ndcg@10", cells, dict.fromkeys(cells, "ok"))
        >>> rank_ranges(task)
        {0: (1, 2), 1: (1, 2), 2: (3, 3)}
    """
    name = task.main_metric if metric is None else metric
    ends: dict[int, tuple[float, float]] = {}
    for row, cell in task.cells.items():
        result = cell.get(subset)
        if task.status.get(row) == "ok" and result is not None and name in result.metrics:
            value, low, high, _ = result.metrics[name]
            ends[row] = (value if low is None else low, value if high is None else high)
    lows, highs = sorted(low for low, _ in ends.values()), sorted(high for _, high in ends.values())
    return {
        row: (1 + len(ends) - bisect_right(lows, high), len(ends) - bisect_left(highs, low))
        for row, (low, high) in ends.items()
    }


def rank_text(place: tuple[int, int]) -> str:
    """Ranges as they are shown.

    Example:
        >>> rank_text((2, 2)), rank_text((1, 4))
        ('2', '1–4')
    """
    return str(place[0]) if place[0] == place[1] else f"{place[0]}–{place[1]}"
