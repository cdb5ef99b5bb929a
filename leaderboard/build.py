"""From result folders to a static page that a browser opens from disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.evaluation.wording import metric_family, metric_label, protocol_line
from mr_st.files import ensure_writable, write_text
from mr_st.leaderboard.cards import Card, find_cards, first_known, render_card
from mr_st.leaderboard.pairs import compare_all
from mr_st.leaderboard.results import LeftOut, Result, read_results
from mr_st.text.html import script_json

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["build_leaderboard"]

_COMPARISONS = 1200  # paired comparisons computed for a page, shared by its tasks: about 10 s
_LABEL = 60  # characters of a name where there is little room
_DIGITS = 5
_FAMILY_ORDER = ("ndcg", "recall", "recall/2", "precision", "precision/2", "map", "map/2", "mrr", "mrr/2",
                 "hit_rate", "judged")  # fmt: skip


def build_leaderboard(
    results_dirs: Sequence[str | Path] | str | Path,
    out_dir: str | Path,
    cards_dir: str | Path | None = None,
    title: str = "Graded relevance leaderboard",
) -> Path:
    """Build the leaderboard: one HTML file with its data inside, and a page for each model card.

    Results of mteb itself, which have no per-query values, are shown without intervals. What cannot be read is left
    out and named on the page.

    Args:
        results_dirs: Results folders (``{model}/{revision}/{Task}.json``), several or one.
        out_dir: Folder for the site; created if needed. Nothing else in it is touched.
        cards_dir: Folder of model folders with a README.md (``model_cards/``), or one such folder. Their ``results/``
            are shown too.
        title: The page's heading.

    Returns:
        The path of ``index.html``.

    Raises:
        MrStError: ``out_dir`` cannot be written.
    """
    folders = [results_dirs] if isinstance(results_dirs, (str, Path)) else list(results_dirs)
    cards = find_cards(cards_dir) if cards_dir is not None else []
    folders += [card.folder / "results" for card in cards if (card.folder / "results").is_dir()]
    out = ensure_writable(out_dir)
    results, left_out = read_results(dict.fromkeys(Path(f) for f in folders))
    tasks = _tasks(results)
    models = _models(results)
    metrics = _metric_names(results)
    used = [next((card for card in cards if card.is_of(m.name)), None) for m in models]
    environment = _environment()
    links = {card.folder: _write_card(environment, card, out) for card in used if card is not None}
    data, n_uncompared = _page_data(tasks, models, metrics, used, links)
    notes = [*left_out]
    if n_uncompared:
        notes.append(LeftOut(f"{n_uncompared:,} paired comparisons", "more models than this page compares pairwise"))
    page = environment.get_template("index.html.j2").render(
        title=title,
        summary=_summary(models, tasks),
        has_results=bool(results),
        left_out=notes,
        plain_rows=_plain_rows(tasks),
        data=script_json(data),
        style=_asset("style.css"),
        script=_asset("app.js"),
        version=_version(),
    )
    write_text(out / "index.html", page)
    return out / "index.html"


@dataclass(frozen=True)
class _Task:
    """Results that may be compared: the same task, split, subset, data and protocol."""

    name: str
    split: str
    subset: str
    label: str
    results: tuple[Result, ...]

    @property
    def protocol(self) -> dict[str, Any]:
        return next((r.protocol for r in self.results if r.protocol), {})

    @property
    def main_metric(self) -> str:
        return next((r.main_metric for r in self.results if r.protocol), self.results[0].main_metric)


@dataclass(frozen=True)
class _Model:
    name: str
    revision: str
    facts: tuple[tuple[str, Any], ...]


def _tasks(results: Sequence[Result]) -> list[_Task]:
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(
            (result.task, result.split, result.subset, result.dataset_revision, _pool(result)), []
        ).append(result)
    for key in [k for k in groups if not k[4]]:  # results that say nothing of their protocol join the one that does
        siblings = [k for k in groups if k[:4] == key[:4] and k[4]]
        if len(siblings) == 1:
            groups[siblings[0]] += groups.pop(key)
    keys = sorted(groups)
    tasks = []
    for key in keys:
        name, split, subset, revision, pool = key
        extra = [split] if sum(k[0] == name and k[1] != split for k in keys) else []
        extra += [subset] if sum(k[0] == name and k[2] != subset for k in keys) else []
        extra += [f"data {revision[:8]}"] if sum(k[:3] == key[:3] and k[3] != revision for k in keys) else []
        extra += [pool] if sum(k[:4] == key[:4] and k[4] != pool for k in keys) else []
        label = _short(" · ".join([name, *extra]))
        tasks.append(_Task(name, split, subset, label, tuple(groups[key])))
    return tasks


def _pool(result: Result) -> str:
    """What was searched and how it was judged, in a few words; empty where the result does not say."""
    p = result.protocol
    if not p:
        return ""
    gains = p.get("gains") if isinstance(p.get("gains"), list) else []
    return f"{p.get('corpus', '')}, {p.get('n_items', '?')} items, {p.get('n_queries', '?')} queries, gains {gains}"


def _models(results: Sequence[Result]) -> list[_Model]:
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        facts.setdefault((result.model, result.revision), {}).update(result.facts)
    return [_Model(name, revision, tuple(found.items())) for (name, revision), found in sorted(facts.items())]


def _metric_names(results: Sequence[Result]) -> list[str]:
    def order(name: str) -> tuple[int, str, int]:
        family, k = metric_family(name)
        place = _FAMILY_ORDER.index(family) if family in _FAMILY_ORDER else len(_FAMILY_ORDER)
        return place, family, k or 0

    return sorted({name for result in results for name in result.metrics}, key=order)


def _page_data(
    tasks: Sequence[_Task],
    models: Sequence[_Model],
    metrics: Sequence[str],
    cards: Sequence[Card | None],
    links: dict[Path, str],
) -> tuple[dict[str, Any], int]:
    model_row = {(m.name, m.revision): i for i, m in enumerate(models)}
    metric_row = {name: i for i, name in enumerate(metrics)}
    scores: list[dict[str, Any]] = []
    pairs: list[list[Any]] = []
    n_uncompared = 0
    for t, task in enumerate(tasks):
        rows = [model_row[r.model, r.revision] for r in task.results]
        for row, result in zip(rows, task.results, strict=True):
            values = [[metric_row[name], *map(_rounded, entry)] for name, entry in result.metrics.items()]
            scores.append({"t": t, "m": row, "v": values, "hist": result.histograms(), "file": result.shown_path})
        found, more = compare_all(task.results, _compared(task, metrics), _COMPARISONS // len(tasks))
        n_uncompared += more
        pairs += [
            [t, metric_row[name], rows[i], rows[j], *map(_rounded, (difference, low, high)), p]
            for name, i, j, difference, low, high, p in found
        ]
    data = {
        "tasks": [
            {
                "name": task.name,
                "split": task.split,
                "subset": task.subset,
                "label": task.label,
                "protocol": protocol_line(task.protocol) or _MTEB_NOTE,
                "main": metric_row[task.main_metric],
            }
            for task in tasks
        ],
        "metrics": [_metric(name) for name in metrics],
        "models": [
            _model(model, card, links.get(card.folder) if card else None)
            for model, card in zip(models, cards, strict=True)
        ],
        "scores": scores,
        "pairs": pairs,
    }
    return data, n_uncompared


_MTEB_NOTE = "Results of mteb itself: no intervals, no values per query, so no differences can be tested."


def _compared(task: _Task, metrics: Sequence[str]) -> list[str]:
    """The metrics that models are compared on, the task's main one first."""
    wanted = [n for n in metrics if re.fullmatch(r"(ndcg|recall|precision)@\d+(/\d+)?|margin_(average|worst)_2_0", n)]
    return sorted(wanted, key=lambda name: (name != task.main_metric, metrics.index(name)))


def _metric(name: str) -> dict[str, Any]:
    family, k = metric_family(name)
    k_of_others = k or 10
    beside = [f"ndcg@{k_of_others}", f"recall@{k_of_others}", f"precision@{k_of_others}", "margin_average_2_0",
              f"judged@{k_of_others}"]  # fmt: skip
    return {
        "key": name,
        "family": family,
        "k": k,
        "label": metric_label(name, with_k=False),
        "title": metric_label(name),
        "beside": beside,
    }


def _model(model: _Model, card: Card | None, link: str | None) -> dict[str, Any]:
    facts = dict(model.facts)
    metadata = card.metadata if card else {}
    size, dim, limit = facts.get("n_parameters"), facts.get("embed_dim"), facts.get("max_tokens")
    shown = {
        "Revision": model.revision,
        "Parameters": f"{size / 1e6:,.1f} million" if isinstance(size, (int, float)) and size else None,
        "Dimensions": f"{dim:,}" if isinstance(dim, int) else None,
        "Longest input": f"{limit:,.0f} tokens" if isinstance(limit, (int, float)) else None,
        "Base model": first_known([metadata.get("base_model")]),
        "Licence": first_known([metadata.get("license"), facts.get("license")]),
    }
    organisation, _, short = model.name.rpartition("/")
    millions = f"{size / 1e6:,.0f} M" if isinstance(size, (int, float)) and size >= 1e6 else ""
    sub = [_short(organisation), millions, f"{dim} dimensions" if isinstance(dim, int) else "", model.revision[:8]]
    return {
        "name": model.name,
        "revision": model.revision,
        "label": _short(model.name),
        "short": short or model.name,
        "sub": [s for s in sub if s],
        "facts": [[name, text[:300]] for name, text in shown.items() if text],
        "card": link,
    }


def _summary(models: Sequence[_Model], tasks: Sequence[_Task]) -> str:
    n_models, n_tasks = len(models), len(tasks)
    if not n_models:
        return "No results"
    return (
        f"{n_models} {'model' if n_models == 1 else 'models'} on {n_tasks} {'task' if n_tasks == 1 else 'tasks'}. "
        "Every score with its 95 % interval."
    )


def _plain_rows(tasks: Sequence[_Task]) -> list[dict[str, str]]:
    """What a reader without JavaScript sees."""
    rows = []
    for task in tasks:
        name = task.main_metric
        for result in sorted(task.results, key=lambda r: -r.metrics.get(name, (-1.0,))[0]):
            value = result.metrics.get(name)
            score = "–" if value is None else f"{value[0]:.3f}"
            if value is not None and value[1] is not None:
                score += f" ({value[1]:.3f} to {value[2]:.3f})"
            rows.append({"task": task.label, "model": result.model, "metric": metric_label(name), "score": score})
    return rows


def _write_card(environment: Environment, card: Card, out: Path) -> str:
    """Write a card's page and return its address, relative to the index."""
    digest = hashlib.sha256(str(sorted(card.names)).encode()).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9]+", "-", card.folder.resolve().name).strip("-").lower()[:60] or "model"
    folder = ensure_writable(out / "cards")
    html, _ = render_card(card, folder / f"{stem}-{digest}")
    title = card.folder.resolve().name
    page = environment.get_template("card.html.j2").render(title=title, body=html, style=_asset("style.css"))
    write_text(folder / f"{stem}-{digest}.html", page)
    return f"cards/{stem}-{digest}.html"


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mr_st.leaderboard", "templates"), autoescape=True, undefined=StrictUndefined
    )


def _asset(name: str) -> Any:
    from markupsafe import Markup

    return Markup(resources.files("mr_st.leaderboard").joinpath("assets", name).read_text(encoding="utf-8"))


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, _DIGITS) if isinstance(value, float) else value


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def _version() -> str:
    from mr_st import __version__

    return __version__
