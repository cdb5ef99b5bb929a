"""From result folders to a static site that a browser opens from disk."""

from __future__ import annotations

import gc
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st import __version__
from mr_st.leaderboard.board import Board, Task, file_stem, make_board
from mr_st.leaderboard.cards import Card, find_cards
from mr_st.leaderboard.charts import started_charts
from mr_st.leaderboard.details import MANY, expected_details, started_details
from mr_st.leaderboard.model_facts import card_facts
from mr_st.leaderboard.model_page import model_page
from mr_st.leaderboard.page_parts import Around
from mr_st.leaderboard.plain import plain_text, short
from mr_st.leaderboard.results import LeftOut, Score, read_results
from mr_st.leaderboard.script_files import write_script
from mr_st.leaderboard.site_data import all_scores, board_data
from mr_st.leaderboard.site_folder import FIRST_PAGE, staged_site
from mr_st.leaderboard.task_page import task_page
from mr_st.leaderboard.texts import Texts, load_texts
from mr_st.text.wording import metric_label

if TYPE_CHECKING:
    from jinja2 import Environment

    from mr_st.data import GradedDataset

__all__ = ["BuiltSite", "build_leaderboard", "build_site"]

_PLAIN_ROWS = 50  # of each task, without JavaScript
_NO_SCORE = {"metric": "", "score": ""}


@dataclass(frozen=True)
class BuiltSite:
    """A site that was built.

    Args:
        page: Its first page.
        n_models, n_tasks: Rows and columns of its table.
        cells: How many cells there are of each status: ok, partial, stale, other, failed, missing.
        left_out: What it does not show, and why.
    """

    page: Path
    n_models: int
    n_tasks: int
    cells: dict[str, int]
    left_out: list[LeftOut]


def build_leaderboard(
    results_dirs: Sequence[str | Path] | str | Path,
    out_dir: str | Path,
    cards_dir: str | Path | None = None,
    title: str = "Graded relevance leaderboard",
    data: Sequence[str | Path | GradedDataset] = (),
) -> Path:
    """Build the leaderboard: a table, a comparison, a page for each model and each task, and their data.

    Results of mteb itself, which have no per-query values, are shown without intervals. What cannot be read is left
    out and named on the page. The new site replaces an older one at the end; files in the folder that no build wrote
    are left alone.

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
        MrStError: ``out_dir`` cannot be written or holds other files where the site's should stand, or a dataset
            cannot be loaded.
    """
    return build_site(results_dirs, out_dir, cards_dir, title, data).page


def build_site(
    results_dirs: Sequence[str | Path] | str | Path,
    out_dir: str | Path,
    cards_dir: str | Path | None = None,
    title: str = "Graded relevance leaderboard",
    data: Sequence[str | Path | GradedDataset] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> BuiltSite:
    """:func:`build_leaderboard`, and say what was built.

    Args:
        results_dirs, out_dir, cards_dir, title, data: As there.
        progress: Called with what is being done, how much of it is done, and of how much.
    """
    title = short(plain_text(title), 200)
    folders = [results_dirs] if isinstance(results_dirs, (str, Path)) else list(results_dirs)
    cards = find_cards(cards_dir) if cards_dir is not None else []
    folders += [card.folder / "results" for card in cards if (card.folder / "results").is_dir()]
    with _no_collector(), staged_site(out_dir) as out, started_charts(out, _are_many(folders)):
        results, failures, left_out = read_results(
            dict.fromkeys(Path(f) for f in folders), lambda n, of: progress("Reading results", n, of)
        )
        board = make_board(results, failures)
        card_of = {row: card for row, m in enumerate(board.models) if (card := _card(cards, m.name)) is not None}
        for row, card in card_of.items():
            facts = board.models[row].facts
            facts.update({k: v for k, v in card_facts(card.metadata).items() if k not in facts})
        texts, unused = load_texts(board, data)
        left_out += [*board.left_out, *unused]
        _write_site(out, board, texts, card_of, title, left_out, progress)
    cells: Counter[str] = Counter(
        task.status.get(row, "missing") for task in board.tasks for row in range(len(board.models))
    )
    return BuiltSite(Path(out_dir) / FIRST_PAGE, len(board.models), len(board.tasks), dict(cells), left_out)


def _are_many(folders: Sequence[str | Path]) -> bool:
    """Whether there are so many results that more than one process pays."""
    return sum(1 for folder in folders for _ in islice(Path(folder).glob("*/*/*.json"), MANY + 1)) > MANY


@contextmanager
def _no_collector() -> Iterator[None]:
    """Python's cycle collector is off within: it would look again and again at a million figures that stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _write_site(
    out: Path,
    board: Board,
    texts: dict[int, Texts],
    card_of: dict[int, Card],
    title: str,
    left_out: list[LeftOut],
    progress: Callable[[str, int, int], None],
) -> None:
    pages: dict[str, list[str | None]] = {
        "models": [_address("models", f"{m.name}\n{m.revision}", m.name) for m in board.models],
        "tasks": [_address("tasks", f"{t.name}\n{t.split}", t.name) for t in board.tasks],
    }
    n_done = count(1)
    tell = lambda: progress("Writing values by query", next(n_done), len(board.tasks))  # noqa: E731
    write_page = partial(_write_page, _environment(), out, {"site_title": title, "version": __version__})
    with started_details(board, out, os.cpu_count() or 1, tell) as details_with:
        for m, s, scores in all_scores(board):
            write_script(out, f"scores/{m}-{s}", scores)
        (out / "assets").mkdir(exist_ok=True)
        for asset in resources.files("mr_st.leaderboard").joinpath("assets").iterdir():
            (out / "assets" / asset.name).write_bytes(asset.read_bytes())
        # pages are written meanwhile, by what the files that are there lead to expect of the cells
        expected = expected_details(board)
        around = Around.of(board, pages, expected, texts)
        for row in range(len(board.models)):
            write_page("model.html.j2", pages["models"][row], model_page(board, row, card_of.get(row), out, around))
        for t in range(len(board.tasks)):
            write_page("task.html.j2", pages["tasks"][t], task_page(board, t, around))
        details = details_with(texts)
    around = Around.of(board, pages, details, texts)
    for row in (row for row in range(len(board.models)) if details[row] != expected[row]):
        write_page("model.html.j2", pages["models"][row], model_page(board, row, card_of.get(row), out, around))
    of_board = board_data(board, title, pages, details)
    write_script(out, "board", of_board)
    write_page("compare.html.j2", "compare.html", {})
    first = {
        "summary": _summary(board),
        "has_results": bool(board.models),
        "left_out": left_out,
        "plain_rows": _plain_rows(board),
        "first_scores": f"scores/{of_board['metric']}-0",
    }
    write_page("board.html.j2", FIRST_PAGE, first)


def _write_page(
    environment: Environment,
    out: Path,
    shared: dict[str, Any],
    template: str,
    address: str | None,
    values: dict[str, Any],
) -> None:
    assert address is not None
    root = "../" * address.count("/")
    path = out / address
    path.parent.mkdir(exist_ok=True)
    text = environment.get_template(template).render(root=root, **shared, **values)
    path.write_text(text, encoding="utf-8", newline="\n")


def _card(cards: Sequence[Card], model: str) -> Card | None:
    return next((card for card in cards if card.is_of(model)), None)


def _address(folder: str, identity: str, name: str) -> str:
    return f"{folder}/{file_stem(name)}-{hashlib.sha256(identity.encode('utf-8', 'replace')).hexdigest()[:8]}.html"


def _summary(board: Board) -> str:
    n_models, n_tasks = len(board.models), len(board.tasks)
    if not n_models:
        return "No results"
    return f"{n_models} {'model' if n_models == 1 else 'models'} on {n_tasks} {'task' if n_tasks == 1 else 'tasks'}."


def _plain_rows(board: Board) -> list[dict[str, str]]:
    """What a reader without JavaScript sees: each task's best, then what has a score that is not ranked."""
    rows = []
    for task in board.tasks:
        name = task.main_metric
        found = [(row, score) for row in task.cells if (score := _score(task, row)) is not None]
        found.sort(key=lambda pair: (task.status[pair[0]] != "ok", -pair[1][0]))
        for row, (value, low, high, _) in found[:_PLAIN_ROWS]:
            text = f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
            if task.status[row] != "ok":
                text += f" ({task.status[row]}: {task.notes[row]})"
            rows.append(
                {"task": task.label, "model": board.models[row].label, "metric": metric_label(name), "score": text}
            )
        if len(found) > _PLAIN_ROWS:
            rows.append({"task": task.label, "model": f"and {len(found) - _PLAIN_ROWS:,} more"} | _NO_SCORE)
    return rows


def _score(task: Task, row: int) -> Score | None:
    result = task.of(row)
    return result.metrics.get(task.main_metric) if result is not None else None


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mr_st.leaderboard", "templates"), autoescape=True, undefined=StrictUndefined
    )
