"""From result folders to a static site that a browser opens from disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.wording import metric_label
from mr_st.files import ensure_writable, write_text
from mr_st.leaderboard.board import Board, file_stem, make_board
from mr_st.leaderboard.cards import find_cards
from mr_st.leaderboard.charts import write_charts
from mr_st.leaderboard.details import write_details
from mr_st.leaderboard.model_page import model_page
from mr_st.leaderboard.results import read_results
from mr_st.leaderboard.site_data import board_data, scores_data, write_script
from mr_st.leaderboard.task_page import task_page
from mr_st.leaderboard.texts import load_texts

if TYPE_CHECKING:
    from jinja2 import Environment

    from mr_st.data import GradedDataset

__all__ = ["build_leaderboard"]


def build_leaderboard(
    results_dirs: Sequence[str | Path] | str | Path,
    out_dir: str | Path,
    cards_dir: str | Path | None = None,
    title: str = "Graded relevance leaderboard",
    data: Sequence[str | Path | GradedDataset] = (),
) -> Path:
    """Build the leaderboard: a table, a comparison, a page for each model and each task, and their data.

    Results of mteb itself, which have no per-query values, are shown without intervals. What cannot be read is left
    out and named on the page.

    Args:
        results_dirs: Results folders (``{model}/{revision}/{Task}.json``), several or one.
        out_dir: Folder for the site; created if needed.
        cards_dir: Folder of model folders with a README.md (``model_cards/``), or one such folder. Their ``results/``
            are shown too.
        title: The site's heading.
        data: Datasets of the tasks (what :meth:`mr_st.data.GradedDataset.load` takes, or one itself): their texts are
            shown where their fingerprint is that of the results. The bundled marketplace is found without being named.

    Returns:
        The path of ``index.html``.

    Raises:
        MrStError: ``out_dir`` cannot be written, or a dataset cannot be loaded.
    """
    folders = [results_dirs] if isinstance(results_dirs, (str, Path)) else list(results_dirs)
    cards = find_cards(cards_dir) if cards_dir is not None else []
    folders += [card.folder / "results" for card in cards if (card.folder / "results").is_dir()]
    out = ensure_writable(out_dir)
    results, failures, left_out = read_results(dict.fromkeys(Path(f) for f in folders))
    board = make_board(results, failures)
    pages: dict[str, list[str | None]] = {
        "models": [_address("models", f"{m.name}\n{m.revision}", m.name) for m in board.models],
        "tasks": [_address("tasks", f"{t.name}\n{t.split}", t.name) for t in board.tasks],
    }
    texts, unused = load_texts(board, data)
    left_out += unused
    details = write_details(board, out, texts, n_jobs=os.cpu_count() or 1)
    data = board_data(board, title, pages, details)
    write_script(out, "board", data)
    for m, metric in enumerate(board.metrics):
        for s, subset in enumerate(board.subsets):
            if (scores := scores_data(board, metric, subset.name)) is not None:
                write_script(out, f"scores/{m}-{s}", scores)
    for asset in resources.files("mr_st.leaderboard").joinpath("assets").iterdir():
        write_text(out / "assets" / asset.name, asset.read_text(encoding="utf-8"))
    write_charts(out)
    environment = _environment()
    shared = {"site_title": title, "version": _version()}
    for row, model in enumerate(board.models):
        card = next((card for card in cards if card.is_of(model.name)), None)
        _write_page(
            environment, "model.html.j2", out, pages["models"][row], shared | model_page(board, row, card, out)
        )
    for t in range(len(board.tasks)):
        _write_page(environment, "task.html.j2", out, pages["tasks"][t], shared | task_page(board, t))
    _write_page(
        environment,
        "board.html.j2",
        out,
        "index.html",
        shared
        | {
            "summary": _summary(board),
            "has_results": bool(results),
            "left_out": left_out,
            "plain_rows": _plain_rows(board),
            "first_scores": f"scores/{data['metric']}-0",
        },
    )
    _write_page(environment, "compare.html.j2", out, "compare.html", shared)
    return out / "index.html"


def _write_page(
    environment: Environment, template: str, out: Path, address: str | None, values: dict[str, Any]
) -> None:
    assert address is not None
    root = "../" * address.count("/")
    write_text(out / address, environment.get_template(template).render(root=root, **values))


def _address(folder: str, identity: str, name: str) -> str:
    return f"{folder}/{file_stem(name)}-{hashlib.sha256(identity.encode('utf-8', 'replace')).hexdigest()[:8]}.html"


def _summary(board: Board) -> str:
    n_models, n_tasks = len(board.models), len(board.tasks)
    if not n_models:
        return "No results"
    return (
        f"{n_models} {'model' if n_models == 1 else 'models'} on {n_tasks} {'task' if n_tasks == 1 else 'tasks'}. "
        "Every score with its 95 % interval."
    )


def _plain_rows(board: Board) -> list[dict[str, str]]:
    """What a reader without JavaScript sees."""
    rows = []
    for task in board.tasks:
        name = task.main_metric
        found = [(result, row) for row in task.cells if (result := task.of(row)) is not None]
        for result, row in sorted(found, key=lambda pair: -pair[0].metrics.get(name, (-1.0,))[0]):
            value = result.metrics.get(name)
            score = "–" if value is None else f"{value[0]:.3f}"
            if value is not None and value[1] is not None:
                score += f" ({value[1]:.3f} to {value[2]:.3f})"
            if task.status[row] != "ok":
                score += f" ({task.status[row]}: {task.notes[row]})"
            rows.append({"task": task.label, "model": result.model, "metric": metric_label(name), "score": score})
    return rows


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mr_st.leaderboard", "templates"), autoescape=True, undefined=StrictUndefined
    )


def _version() -> str:
    from mr_st import __version__

    return __version__
