"""What a model's page says: its card, results, separability, thresholds, how to load it, its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mr_st.leaderboard.board import Board
from mr_st.leaderboard.cards import Card, render_card

__all__ = ["model_page"]


def model_page(board: Board, row: int, card: Card | None, out: Path) -> dict[str, Any]:
    """The values of ``model.html.j2`` for one model.

    Args:
        board: Rows and columns.
        row: The model's.
        card: Its card, where it has one; the card's pictures are copied to ``out``.
        out: The site's folder.
    """
    model = board.models[row]
    body = render_card(card, out / "models" / f"card-{row}")[0] if card is not None else None
    return {"title": model.label, "model": model, "row": row, "card": body}
