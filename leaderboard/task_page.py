"""What a task's page says: what it is, its licence, results, grades and examples of each, statistics, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mr_st.leaderboard.board import WHOLE, Board, Task
from mr_st.leaderboard.page_parts import (
    STATUS_WORDS,
    Around,
    Scale,
    compare_link,
    score_parts,
    table_link,
)
from mr_st.leaderboard.plain import short
from mr_st.leaderboard.ranks import rank_text
from mr_st.leaderboard.site_data import kind_label
from mr_st.leaderboard.texts import Texts
from mr_st.leaderboard.thresholds import grade_name
from mr_st.leaderboard.zero_shot import task_stem, zero_shot
from mr_st.text.wording import metric_label, protocol_line

__all__ = ["task_page"]

_COMPARED = 4
_BASELINES = {"random": "Random order", "bm25": "BM25", "dense": "MiniLM, not trained"}
_BASELINE_METRICS = ("ndcg@10", "recall@10", "recall@100", "precision@10")
_LANGUAGES = {
    "ara": "Arabic", "ces": "Czech", "dan": "Danish", "deu": "German", "eng": "English", "fra": "French",
    "hin": "Hindi", "ita": "Italian", "jpn": "Japanese", "kor": "Korean", "nld": "Dutch", "pol": "Polish",
    "por": "Portuguese", "rus": "Russian", "spa": "Spanish", "swe": "Swedish", "tur": "Turkish", "vie": "Vietnamese",
    "zho": "Chinese",
}  # fmt: skip


def task_page(board: Board, t: int, around: Around) -> dict[str, Any]:
    """The values of ``task.html.j2`` for one task.

    Args:
        board: Rows and columns.
        t: The task's column.
        around: The other pages, ranks, texts and data files.
    """
    from mr_st.tasks.facts import task_facts

    task = board.tasks[t]
    known = task_facts(task.name)
    texts = around.texts.get(t, Texts())
    twin = _twin(board, t)
    best = around.best[t][:_COMPARED]
    return {
        "title": task.label,
        "task": task,
        "t": t,
        "description": known.get("description", ""),
        "facts": _facts(task, known, texts),
        "reference": _web_address(known.get("reference")),
        "twin": None if twin is None else (board.tasks[twin].label, around.task_pages[twin]),
        "is_pool": _is_pool(task),
        "protocol": protocol_line(task.protocol),
        "metric": metric_label(task.main_metric),
        **_results(board, t, around),
        "n_ranked": len(around.ranks[t]),
        "compare": compare_link([board.models[row] for row in best], task) if len(best) > 1 else None,
        "table": table_link(task),
        "grades": _grades(task),
        "gains": task.protocol.get("gains") or [],
        "subsets": _subsets(task),
        "texts": texts,
        "examples": _examples(task, texts),
        **_recorded(task),
    }


def _facts(task: Task, known: Mapping[str, Any], texts: Texts) -> list[tuple[str, str]]:
    protocol = task.protocol
    dataset = protocol.get("dataset")
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    languages = sorted({_language(of) for cell in task.cells.values() for r in cell.values() for of in r.languages})
    rows = [
        ("Data", name if isinstance(name, str) else None),
        ("Data revision", task.revision),
        ("Licence", known.get("license") or (texts.license if texts.name else None)),
        ("Languages", ", ".join(languages)),
        ("Main metric", metric_label(task.main_metric)),
        ("Split", task.split),
        ("Queries", _count(protocol.get("n_queries"))),
        ("Items", _count(protocol.get("n_items"))),
        ("Judged pairs", _count(protocol.get("n_judged_pairs"))),
    ]
    return [(label, short(str(value), 200)) for label, value in rows if value]


def _results(board: Board, t: int, around: Around) -> dict[str, Any]:
    """The ranked models, best first; then what is not ranked and why; and the scale of their pictures."""
    task = board.tasks[t]
    ranked = around.best[t]
    rows = [*ranked, *(row for row in sorted(task.status) if row not in set(ranked))]
    score_of = {
        row: result.metrics[task.main_metric]
        for row in rows
        if (result := task.of(row)) is not None and task.main_metric in result.metrics
    }
    scale = Scale.of(score_of.values())
    found = []
    for row in rows:
        score = score_of.get(row)
        place = around.ranks[t].get(row)
        model = board.models[row]
        found.append(
            {
                "model": model.label,
                "page": around.model_pages[row],
                "kind": kind_label(model.facts.get("kind")),
                "rank": None if place is None else rank_text(place),
                "score": score_parts(score),
                "bar": scale.bar(score) if score is not None else None,
                "status": STATUS_WORDS.get(task.status[row], ""),
                "note": task.notes.get(row, ""),
                "zero_shot": zero_shot(model.facts, task),
            }
        )
    return {"results": found, "scale": (f"{scale.low:.1f}", f"{scale.high:.1f}")}


def _grades(task: Task) -> list[dict[str, Any]]:
    """The scale, best first: grade, name, gain, judged pairs and their share where a result has counted them."""
    names, gains = task.protocol.get("grades") or [], task.protocol.get("gains") or []
    counts: list[int] = []
    for row in sorted(task.cells):
        result = task.of(row)
        if task.status.get(row) == "ok" and result is not None:
            of_grade = result.separability.get("pairs_of_grade") or []
            counts = of_grade if len(of_grade) == len(names) else counts
    n = sum(counts)
    return [
        {
            "grade": grade,
            "name": grade_name(names, grade),
            "gain": f"{gains[grade]:g}" if grade < len(gains) else "–",
            "n": f"{counts[grade]:,}" if counts else "",
            "share": f"{100 * counts[grade] / n:.1f}" if n else "",
        }
        for grade in reversed(range(len(names)))
    ]


def _subsets(task: Task) -> list[tuple[str, str, str]]:
    """Name, attribute and number of queries of each part, as the largest of the results says it."""
    found: dict[str, tuple[str, int | None]] = {}
    for row, cell in task.cells.items():
        if task.status.get(row) == "ok":
            for name, result in cell.items():
                score = result.metrics.get(task.main_metric)
                if name != WHOLE and score is not None:
                    where = ", ".join(f"{key} {value}" for key, value in result.where.items())
                    of_before = found.get(name, ("", None))
                    found[name] = (where or of_before[0], max(filter(None, (score[3], of_before[1])), default=None))
    rows = sorted(found.items(), key=lambda pair: (pair[1][0] == "", pair[1][0], pair[0]))
    return [(short(name), short(where), _count(n) or "–") for name, (where, n) in rows]


def _examples(task: Task, texts: Texts) -> list[dict[str, Any]]:
    names = task.protocol.get("grades") or []
    return [
        {
            "query": short(example.query, 300),
            "lang": example.locale,
            "items": [(g, grade_name(names, g), short(title, 300), locale) for g, title, locale in example.items],
        }
        for example in texts.examples
    ]


def _recorded(task: Task) -> dict[str, Any]:
    """Statistics and baselines that are shipped for a task; marked where they are of other data."""
    from mr_st.tasks.statistics import read_baselines

    base = task.name.partition("-")[0]
    entries = read_baselines(base).get("entries", []) if base.isidentifier() else []
    same = [entry for entry in entries if entry["fingerprint"] == task.revision]
    if not entries or (not same and base != task.name):
        return {"statistics": [], "baselines": [], "baseline_metrics": [], "other_data": None}
    entry = (same or entries)[0]
    metrics = [name for name in _BASELINE_METRICS if any(name in s["metrics"] for s in entry["systems"].values())]
    baselines = [
        (_BASELINES.get(key, key), [score_parts(system["metrics"].get(name)) for name in metrics])
        for key, system in entry["systems"].items()
    ]
    return {
        "statistics": _statistics(entry["statistics"], is_same=bool(same)),
        "baselines": baselines,
        "baseline_metrics": [metric_label(name) for name in metrics],
        "other_data": None if same else (entry["data"], entry["fingerprint"]),
    }


def _statistics(of: Mapping[str, Any], is_same: bool) -> list[tuple[str, str]]:
    """Counts that stand among the facts are left out where the data is the same."""

    def spread(key: str) -> str:
        found = of[key]
        return f"{found['median']:,.0f} ({found['min']:,.0f} to {found['max']:,.0f})"

    duplicates = of["duplicates"]
    counts = [
        ("Queries", f"{of['n_queries']:,}"),
        ("Items", f"{of['n_items']:,}"),
        ("Judged pairs", f"{of['n_judged_pairs']:,}"),
    ]
    return [
        *([] if is_same else counts),
        ("Judged items", f"{of['n_items_judged']:,}"),
        ("Judged items a query", spread("judged_per_query")),
        ("Relevant items a query", spread("relevant_per_query")),
        ("Share of grade 0", f"{100 * of['zero_share']['pairs']:.0f} % of the pairs"),
        ("Characters of a query", spread("query_characters")),
        ("Characters of an item", spread("item_characters")),
        ("Repeated texts", f"{duplicates['queries']:,} queries, {duplicates['items']:,} items"),
    ]


def _twin(board: Board, t: int) -> int | None:
    """The task on the same data and split that ranks the other set of items: the catalogue, or the judged pool."""
    task = board.tasks[t]
    for other, found in enumerate(board.tasks):
        same = (found.revision, found.split) == (task.revision, task.split) and task.revision
        if same and _is_pool(found) != _is_pool(task) and task_stem(found.name) == task_stem(task.name):
            return other
    return None


def _is_pool(task: Task) -> bool:
    corpus = task.protocol.get("corpus")
    return corpus == "judged pool" if corpus else "Reranking" in task.name


def _language(code: str) -> str:
    return _LANGUAGES.get(code.partition("-")[0], code)


def _web_address(value: Any) -> str | None:
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None


def _count(n: Any) -> str:
    return f"{n:,}" if isinstance(n, int) and not isinstance(n, bool) else ""
