"""How ``mr-st data`` shows problems, figures and samples on a terminal. Text out of data never acts as markup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mr_st.cli.io import one_line

if TYPE_CHECKING:
    from mr_st.data.describe_samples import Sample
    from mr_st.data.validation import ProblemGroup

__all__ = ["facts_tables", "group_dicts", "group_lines", "samples_tables"]

_FIRST = 3


def group_lines(groups: Sequence[ProblemGroup], list_all: bool = False) -> list[str]:
    """Grouped problems as lines: each group's name and count, then its first rows, or all of them."""
    lines: list[str] = []
    for group in groups:
        place = group.where if group.column is None else f"{group.where}, column {group.column}"
        lines.append(f"{place}: {group.rule or 'faults'}: {group.n_faults:,}")
        shown = group.problems if list_all or len(group.problems) <= _FIRST + 1 else group.problems[:_FIRST]
        lines += [f"  {one_line(str(problem))}" for problem in shown]
        rest = group.n_faults - sum(problem.n_faults for problem in shown)
        if rest:
            lines.append(f"  ... and {rest:,} more (--all lists up to 1,000 of them)")
    return lines


def group_dicts(groups: Sequence[ProblemGroup]) -> list[dict[str, Any]]:
    """Grouped problems for JSON, with every one that is listed."""
    return [
        {
            "where": group.where,
            "column": group.column,
            "rule": group.rule,
            "count": group.n_faults,
            "first": [{"row": p.row, "what": p.what, "mend": p.mend} for p in group.problems if p.n_faults == 1],
        }
        for group in groups
    ]


def facts_tables(facts: dict[str, Any]) -> Group:
    """What ``describe`` counts, as tables."""
    counts, splits = facts["counts"], facts["splits"]
    head = Text(f"{one_line(facts['name'])}  ", style="bold")
    head.append(f"licence {one_line(facts['license'])}, fingerprint {facts['fingerprint']}", style="dim")
    rows = {name.replace("_", " "): f"{n:,}" for name, n in counts.items()}
    rows["queries without judgments"] = f"{facts['queries_without_judgments']:,}"
    parts: list[Any] = [head, _pairs_table("Rows", rows)]
    names = list(facts["scale"]["names"])
    table = _table("Splits", ["split", "judgments", "queries", "items", "judged per query", "of the catalogue",
                              "one-grade queries", *names])  # fmt: skip
    for split, of in splits.items():
        per = of["judged_per_query"]
        table.add_row(
            split, f"{of['judgments']:,}", f"{of['queries']:,}", f"{of['items']:,}",
            f"{per['mean']:.1f} ({per['min']:.0f} to {per['max']:.0f})", f"{of['judged_share_of_catalogue']:.2%}",
            f"{of['queries_with_one_grade']:,} ({of['one_grade_share']:.0%})",
            *(f"{of['labels'][name]:,} ({of['label_shares'][name]:.1%})" for name in names),
        )  # fmt: skip
    parts.append(table)
    parts.append(_lengths_table(facts))
    parts.append(_locales_table(facts, names))
    kinds = {f"kind {k}": f"{n:,}" for k, n in facts["query_kinds"].items()}
    sources = {f"judged by {k}": f"{n:,}" for k, n in facts["judgment_sources"].items()}
    parts.append(_pairs_table("Kinds of queries, sources of judgments", kinds | sources))
    if facts["traffic"]:
        parts.append(_traffic_table(facts))
    if facts["unseen"]:
        parts.append(_unseen_table(facts))
    if facts["overlap"]:
        table = _table("Shared by two splits", ["splits", "queries", "query texts", "items", "pairs"])
        for both, of in facts["overlap"].items():
            table.add_row(both, *(f"{of[name]:,}" for name in ("queries", "texts", "items", "pairs")))
        parts.append(table)
    return Group(*[part for found in parts for part in (found, Text(""))][:-1])


def samples_tables(samples: Sequence[Sample]) -> Group:
    """Judged pairs to read, a table for each grade (and locale, where samples are drawn for each)."""
    parts: list[Any] = []
    table: Table | None = None
    before: int | None = None
    by_locale = len({sample.locale for sample in samples}) > 1
    columns = ["query", "item", *(["why"] if any(sample.reason for sample in samples) else []), "split"]
    for sample in samples:
        if sample.grade != before or table is None:
            table = Table(title=Text(f"{sample.grade} {sample.grade_name}", style="bold"), title_justify="left",
                          box=_box(), pad_edge=False, expand=True)  # fmt: skip
            if by_locale:
                table.add_column("locale", no_wrap=True)
            for column in columns:
                ratio = {"query": 3, "item": 7, "why": 4}.get(column)
                table.add_column(column, ratio=ratio, overflow="fold", no_wrap=column == "split")
            parts += [table, Text("")]
            before = sample.grade
        why = sample.reason or ""
        if sample.true_grade is not None:
            why = f"(the policy says {sample.true_grade}) {why}"
        cells = {"query": sample.query, "item": sample.item, "why": why, "split": sample.split}
        table.add_row(*([Text(sample.locale)] if by_locale else []), *(Text(one_line(cells[c])) for c in columns))
    return Group(*parts)


def _locales_table(facts: dict[str, Any], names: list[str]) -> Table:
    table = _table("Locales", ["locale", "queries", "items", "judgments", *names])
    tags = sorted(
        {*facts["query_locales"], *facts["item_locales"]},
        key=lambda tag: (-facts["query_locales"].get(tag, 0), -facts["item_locales"].get(tag, 0), tag),
    )
    for tag in tags:
        judged = facts["labels_by_locale"].get(tag)
        shares = [f"{judged['label_shares'][name]:.1%}" if judged else "" for name in names]
        table.add_row(
            Text(one_line(tag)), f"{facts['query_locales'].get(tag, 0):,}", f"{facts['item_locales'].get(tag, 0):,}",
            f"{judged['judgments']:,}" if judged else "0", *shares,
        )  # fmt: skip
    return table


def _lengths_table(facts: dict[str, Any]) -> Table:
    table = _table("Lengths", ["", "least", "median", "mean", "most"])
    rows = {
        "query, characters": "query_characters",
        "title, characters": "title_characters",
        "description, characters": "description_characters",
        "category path, levels": "category_levels",
    }
    for name, key in rows.items():
        spread = facts[key]
        if spread:
            table.add_row(name, f"{spread['min']:,.0f}", f"{spread['median']:,.0f}", f"{spread['mean']:,.1f}",
                          f"{spread['max']:,.0f}")  # fmt: skip
    return table


def _traffic_table(facts: dict[str, Any]) -> Table:
    by_split = facts["segments_by_split"]
    title = "Head, torso, tail: the queries that make the first, second and last third of the traffic"
    table = _table(title, ["", "queries", "share of queries", "share of traffic", "least frequency",
                           *(f"in {split}" for split in by_split)])  # fmt: skip
    for segment in ("head", "torso", "tail"):
        of = facts["traffic"][segment]
        least = "" if of["least_frequency"] is None else f"{of['least_frequency']:,.4g}"
        table.add_row(segment, f"{of['queries']:,}", f"{of['query_share']:.1%}", f"{of['traffic_share']:.1%}", least,
                      *(f"{counts[segment]:,}" for counts in by_split.values()))  # fmt: skip
    return table


def _unseen_table(facts: dict[str, Any]) -> Table:
    table = _table("Without judgments in train", ["split", "queries by id", "queries by text", "items"])
    for split, of in facts["unseen"].items():
        table.add_row(
            split,
            f"{of['queries_unseen']:,} of {of['queries']:,} ({of['queries_unseen_share']:.1%})",
            f"{of['texts_unseen']:,} of {of['queries']:,} ({of['texts_unseen_share']:.1%})",
            f"{of['items_unseen']:,} of {of['items']:,} ({of['items_unseen_share']:.1%})",
        )
    return table


def _pairs_table(title: str, pairs: dict[str, str]) -> Table:
    table = _table(title, list(pairs), first_is_name=False)
    table.add_row(*pairs.values())
    return table


def _table(title: str, columns: Sequence[str], first_is_name: bool = True) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=_box(), pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(Text(one_line(column)), justify="left" if first_is_name and not number else "right")
    return table


def _box() -> Any:
    from rich.box import SIMPLE_HEAD

    return SIMPLE_HEAD
