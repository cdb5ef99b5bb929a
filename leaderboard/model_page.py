"""What a model's page says: facts, results, how to load it, separability, thresholds, its recipe and its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mr_st.leaderboard.board import WHOLE, Board, Model, Task
from mr_st.leaderboard.cards import Card, read_recipe, render_card
from mr_st.leaderboard.loading import how_to_load
from mr_st.leaderboard.page_parts import (
    STATUS_WORDS,
    Around,
    Scale,
    any_result,
    compare_link,
    count_cell,
    metric_tables,
    row_head,
    score_parts,
    score_rows,
)
from mr_st.leaderboard.plain import short
from mr_st.leaderboard.ranks import rank_text
from mr_st.leaderboard.results import Result
from mr_st.leaderboard.site_data import kind_label
from mr_st.leaderboard.thresholds import separability_table, threshold_rows
from mr_st.leaderboard.zero_shot import zero_shot
from mr_st.text.wording import metric_label, protocol_line

__all__ = ["model_page"]

_COMPARED = 3  # other models that a link to the comparison takes along


def model_page(board: Board, row: int, card: Card | None, out: Path, around: Around) -> dict[str, Any]:
    """The values of ``model.html.j2`` for one model.

    Args:
        board: Rows and columns.
        row: The model's.
        card: Its card, where it has one; the card's pictures are copied to ``out``.
        out: The site's folder.
        around: The other pages, ranks and data files.
    """
    model = board.models[row]
    tasks = [_task(board, row, t, around) for t, task in enumerate(board.tasks) if row in task.status]
    ok = [task for task in board.tasks if task.status.get(row) == "ok"]
    shown = ok or [task for task in board.tasks if row in task.cells]
    found = [any_result(task.cells[row]) for task in shown]
    separable = [task for task in tasks if task["separability"]["rows"] or "s" in task["charts"]]
    facts, unknown = _facts(model)
    body = render_card(card, out / "models" / f"card-{row}")[0] if card is not None else None
    return {
        "title": model.label,
        "model": model,
        "row": row,
        "kind": kind_label(model.facts.get("kind")),
        "facts": facts,
        "unknown": unknown,
        "tasks": tasks,
        "not_evaluated": [task.label for task in board.tasks if row not in task.status],
        "loading": how_to_load(
            board, model, next((r for r in found if "system" in r.protocol), next(iter(found), None))
        ),
        "separable": separable,
        "opened": next(
            (task["t"] for task in separable if "s" in task["charts"]), separable[0]["t"] if separable else 0
        ),
        "has_queries": any("q" in task["charts"] for task in tasks),
        "thresholds": [task for task in tasks if task["thresholds"]],
        "recipe": read_recipe(card) if card is not None else None,
        "card": body,
    }


def _facts(model: Model) -> tuple[list[tuple[str, str]], list[str]]:
    """What is known of a model, and what of the usual things is not."""
    facts = model.facts
    n, dim, tokens, speed = (facts.get(k) for k in ("n_parameters", "embed_dim", "max_tokens", "texts_per_second"))
    training = facts.get("training_datasets")
    known: dict[str, str | None] = {
        "Parameters": None if n is None else _million(n),
        "Dimensions": None if dim is None else f"{dim:,.0f}",
        "Longest input": None if tokens is None else f"{tokens:,.0f} tokens",
        "Encoding speed": None if speed is None else f"{speed:,.0f} texts a second",
        "Base model": facts.get("adapted_from") or None,
        "Licence": facts.get("license") or None,
        "Training data": None if training is None else ", ".join(map(short, training)) or "none",
    }
    usual = ["Parameters", "Dimensions", "Longest input", "Base model", "Licence", "Training data"]
    if facts.get("kind") not in ("bi-encoder", None):
        usual = []
    shown = [(name, short(value, 1000)) for name, value in known.items() if value]
    return shown, [name.lower() for name in usual if not known[name]]


def _million(n: float) -> str:
    if n < 1e6:
        return f"{n:,.0f}"
    return f"{n / 1e6:,.1f} million" if n < 1e9 else f"{n / 1e9:,.2f} billion"


def _task(board: Board, row: int, t: int, around: Around) -> dict[str, Any]:
    task = board.tasks[t]
    status = task.status[row]
    of_task: dict[str, Any] = {
        "t": t,
        "label": task.label,
        "page": around.task_pages[t],
        "metric": metric_label(task.main_metric),
        "status": STATUS_WORDS.get(status, ""),
        "note": task.notes.get(row, ""),
        "zero_shot": zero_shot(board.models[row].facts, task),
        "charts": around.details[row][t],
        "score": ("–", ""),
        "bar": None,
        "rank": None,
        "compare": None,
        "metrics": None,
        "subsets": None,
        "separability": {"heads": [], "rows": []},
        "thresholds": [],
        "protocol": "",
    }
    cell = task.cells.get(row)
    if not cell:
        return of_task
    result = any_result(cell)
    score = cell[WHOLE].metrics.get(task.main_metric) if WHOLE in cell else None
    grades = result.protocol.get("grades") or []
    place = around.ranks[t].get(row)
    return of_task | {
        "score": score_parts(score),
        "bar": Scale().bar(score) if score is not None else None,
        "rank": (rank_text(place), len(around.ranks[t])) if place is not None else None,
        "compare": _compare(board, row, t, around) if place is not None else None,
        "metrics": metric_tables(result.metrics, board.metrics),
        "subsets": _subsets(cell, task),
        "separability": separability_table(result if WHOLE in cell else None, grades),
        "thresholds": threshold_rows(result, grades) if WHOLE in cell else [],
        "protocol": protocol_line(result.protocol),
    }


def _compare(board: Board, row: int, t: int, around: Around) -> str | None:
    others = [other for other in around.best[t][: _COMPARED + 1] if other != row][:_COMPARED]
    return compare_link([board.models[i] for i in (row, *others)], board.tasks[t]) if others else None


def _subsets(cell: dict[str, Result], task: Task) -> dict[str, Any] | None:
    """Of each part of the queries its name, attribute, number of queries and score: how many, and as rows."""
    rows = []
    for name, result in sorted(cell.items(), key=lambda pair: (sorted(pair[1].where.items()), pair[0])):
        if name != WHOLE and (score := result.metrics.get(task.main_metric)) is not None:
            attribute = ", ".join(f"{key} {value}" for key, value in result.where.items())
            rows.append((row_head(short(name), short(attribute)) + count_cell(score[3]), [score]))
    return {"n": len(rows), "rows": score_rows(rows)} if rows else None
