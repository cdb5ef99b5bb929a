"""What the pages of models and of tasks share: scores as text, places on a scale, links to the other pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from mr_st.leaderboard.board import WHOLE, Board, Model, Task
from mr_st.leaderboard.ranks import rank_ranges
from mr_st.leaderboard.results import Result, Score
from mr_st.leaderboard.texts import Texts
from mr_st.text.wording import metric_family, metric_label

__all__ = [
    "STATUS_WORDS",
    "Around",
    "Scale",
    "any_result",
    "best_rows",
    "compare_link",
    "count_cell",
    "interval_text",
    "metric_tables",
    "number",
    "row_head",
    "score_cells",
    "score_parts",
    "score_rows",
    "table_link",
]  # fmt: skip

STATUS_WORDS = {
    "missing": "not evaluated",
    "partial": "partial",
    "stale": "other data",
    "other": "other protocol",
    "failed": "failed",
}
"""What a cell that is not ranked is called."""


@dataclass(frozen=True, eq=False)
class Around:
    """What a page says of the rest of the site.

    Args:
        model_pages, task_pages: Addresses from the site's root, in the board's order.
        details: For each model and task, which data files there are: some of ``q``, ``r``, ``s``.
        texts: Task's number to its texts.
        ranks: For each task, the rank range of each model by the task's main metric.
        best: For each task, its ranked models, the best first.
    """

    model_pages: Sequence[str | None]
    task_pages: Sequence[str | None]
    details: Sequence[Sequence[str]]
    texts: Mapping[int, Texts]
    ranks: Sequence[Mapping[int, tuple[int, int]]]
    best: Sequence[Sequence[int]]

    @classmethod
    def of(
        cls,
        board: Board,
        pages: Mapping[str, Sequence[str | None]],
        details: Sequence[Sequence[str]],
        texts: Mapping[int, Texts],
    ) -> Around:
        """Everything for a board."""
        ranks = [rank_ranges(task) for task in board.tasks]
        return cls(pages["models"], pages["tasks"], details, texts, ranks, list(map(best_rows, board.tasks)))


def number(value: float, digits: int = 3) -> str:
    """A figure with a minus sign, never a negative zero.

    Example:
        >>> number(-0.0301), number(-0.0001)
        ('−0.030', '0.000')
    """
    text = f"{value:.{digits}f}"
    if text[0] != "-":
        return text
    return "−" + text[1:] if float(text) else text[1:]


def interval_text(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval as text; empty where there is none."""
    return "" if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


def score_parts(score: Score | dict[str, Any] | None) -> tuple[str, str]:
    """A figure and its interval as text; a dash for none."""
    if score is None:
        return "–", ""
    value, low, high = (score["value"], score["low"], score["high"]) if isinstance(score, dict) else score[:3]
    return number(value), interval_text(low, high)


def count_cell(n: int | None) -> str:
    """A count as a cell of a table, HTML; a dash for none."""
    return f'<td class="num">{"–" if n is None else format(n, ",")}</td>'


def score_cells(scores: Iterable[Score | dict[str, Any] | None]) -> Markup:
    """Figures and their intervals as cells of a table; not by the template, since a page may have thousands.

    Example:
        >>> print(score_cells([(-0.5, -0.6, -0.0001, 9)]))
        <td class="num">−0.500<span class="ci">−0.600 to 0.000</span></td>
    """
    return Markup(_cells(scores))


def score_rows(rows: Iterable[tuple[str, Iterable[Score | dict[str, Any] | None]]]) -> Markup:
    """Rows of a table.

    Args:
        rows: Of each the HTML of its first cells, and its scores.

    Example:
        >>> print(score_rows([(row_head("MAP"), [None])]), end="")
        <tr><th scope="row"><bdi>MAP</bdi></th><td class="num"><span class="dash">–</span></td></tr>
    """
    return Markup("".join(f"<tr>{head}{_cells(scores)}</tr>\n" for head, scores in rows))


@lru_cache(maxsize=4096)
def row_head(text: str, aside: str = "", before: str = "") -> str:
    """A row's first cell: a name, and what stands softly before and after it."""
    before = f'<span class="soft">{escape(before)}</span> ' if before else ""
    aside = f' <span class="soft small">{escape(aside)}</span>' if aside else ""
    return f'<th scope="row">{before}<bdi>{escape(text)}</bdi>{aside}</th>'


def _cells(scores: Iterable[Score | dict[str, Any] | None]) -> str:
    return "".join(map(_cell, scores)).replace("-0.000", "0.000").replace("-", "−")


def _cell(score: Score | dict[str, Any] | None) -> str:
    """With plain hyphens, of which it holds no other than minus signs."""
    if score is None:
        return '<td class="num"><span class="dash">–</span></td>'
    value, low, high = (score["value"], score["low"], score["high"]) if isinstance(score, dict) else score[:3]
    if low is None or high is None:
        return f'<td class="num">{value:.3f}</td>'
    return f'<td class="num">{value:.3f}<span class="ci">{low:.3f} to {high:.3f}</span></td>'


@dataclass(frozen=True)
class Scale:
    """From ``low`` to ``high``: what pictures of scores stand on."""

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, scores: Iterable[Score]) -> Scale:
        """The tenths about some scores and their intervals.

        Example:
            >>> Scale.of([(0.62, 0.58, 0.66, 9), (0.43, None, None, None)])
            Scale(low=0.4, high=0.7)
        """
        ends = [end for score in scores for end in score[:3] if end is not None]
        low, high = math.floor(10 * min(ends, default=0.0)) / 10, math.ceil(10 * max(ends, default=1.0)) / 10
        return cls(low, high if high > low else low + 0.1)

    def bar(self, score: Score) -> dict[str, str]:
        """Places as CSS takes them: of the value, and of the interval where there is one."""
        value, low, high, _ = score
        place = {"at": f"{self._percent(value):.2f}%"}
        if low is not None and high is not None:
            at = self._percent(low)
            place |= {"low": f"{at:.2f}%", "width": f"{self._percent(high) - at:.2f}%"}
        return place

    def _percent(self, value: float) -> float:
        return 100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def metric_tables(metrics: Mapping[str, Score], names: Iterable[str]) -> dict[str, Any]:
    """All of a result's metrics: a table of metric x K, and those without a cut-off.

    Args:
        metrics: Of one result.
        names: Every metric of the board, in order.
    """
    families: dict[str, dict[int, str]] = {}
    others = []
    for name in names:
        if name in metrics:
            family, k = _family(name)
            if k is None:
                others.append((row_head(_label(name, True)), [metrics[name]]))
            else:
                families.setdefault(family, {})[k] = name
    ks = sorted({k for of_family in families.values() for k in of_family})
    rows = [
        (row_head(_label(next(iter(of_k.values())), False)), [metrics.get(of_k.get(k, "")) for k in ks])
        for of_k in families.values()
    ]
    return {"ks": ks, "rows": score_rows(rows), "others": score_rows(others)}


@lru_cache(maxsize=4096)
def _family(name: str) -> tuple[str, int | None]:
    return metric_family(name)


@lru_cache(maxsize=4096)
def _label(name: str, with_k: bool) -> str:
    return metric_label(name, with_k=with_k)


def compare_link(models: Iterable[Model], task: Task) -> str:
    """The comparison of some models on a task, from the site's root."""
    pairs = [("m", f"{model.name} @ {model.revision}") for model in models]
    return "compare.html#" + urlencode([*pairs, ("task", task.label)], errors="replace")


def table_link(task: Task) -> str:
    """The table with a task chosen, from the site's root."""
    return "index.html#" + urlencode({"task": task.label}, errors="replace")


def best_rows(task: Task) -> list[int]:
    """The ranked models of a task, the best first."""
    scored = {}
    for row in task.cells:
        result = task.of(row)
        if task.status.get(row) == "ok" and result is not None and task.main_metric in result.metrics:
            scored[row] = result.metrics[task.main_metric][0]
    return sorted(scored, key=lambda row: (-scored[row], row))


def any_result(cell: Mapping[str, Result]) -> Result:
    """The result over all queries, else the first there is."""
    return cell.get(WHOLE) or next(iter(cell.values()))
