"""What a task's page says: what it is, its licence, statistics, examples of each grade, baselines, results."""

from __future__ import annotations

from typing import Any

from mr_st.leaderboard.board import Board

__all__ = ["task_page"]


def task_page(board: Board, t: int) -> dict[str, Any]:
    """The values of ``task.html.j2`` for one task.

    Args:
        board: Rows and columns.
        t: The task's column.
    """
    task = board.tasks[t]
    return {"title": task.label, "task": task, "t": t}
