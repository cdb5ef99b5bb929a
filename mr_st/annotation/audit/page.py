"""The page about an audit, in the paper's terms, and the same figures as a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mr_st.annotation.audit.figures import PAPER
from mr_st.annotation.audit.flags import MUCH
from mr_st.annotation.audit.plot import engagement_figures
from mr_st.annotation.audit.procedure import Audit
from mr_st.annotation.audit.tables import ANSWERS
from mr_st.annotation.pages import write_page
from mr_st.data.parquet import read_parquet
from mr_st.files import ensure_writable

__all__ = ["AuditRow", "audit_rows", "audit_summary", "audited_pairs", "error_rows", "write_audit_report"]

_KEYS = ["query_id", "item_id"]
_PAPER_NOTE = (
    f"The paper's {100 * PAPER['error_reduction']:.2f} %: it says that label errors fell by so much, not over which "
    "pairs, nor how they were counted."
)


@dataclass(frozen=True)
class AuditRow:
    """One step of the audit.

    Args:
        name: What is counted.
        n: How many pairs.
        share: The share that ``note`` names; None for the first step, and where nothing stands below the line.
        note: What the share is of.
        interval: The share's 95 % interval over queries; None where there is none.
        paper: The paper's share; None where it gives none.
        is_part: Whether the row is a part of one above.
    """

    name: str
    n: int
    share: float | None = None
    note: str = ""
    interval: tuple[float, float] | None = None
    paper: float | None = None
    is_part: bool = False

    @property
    def count(self) -> str:
        """The number of pairs."""
        return f"{self.n:,}"

    @property
    def percent(self) -> str:
        """The share in per cent; a dash where there is none."""
        return _percent(self.share)

    @property
    def interval_text(self) -> str:
        """The interval in per cent; empty where there is none."""
        return "" if self.interval is None else f"{_digits(self.interval[0])} to {_digits(self.interval[1])}"

    @property
    def paper_percent(self) -> str:
        """The paper's share in per cent; empty where it gives none."""
        return "" if self.paper is None else _percent(self.paper)


def audit_rows(report: Mapping[str, Any]) -> list[AuditRow]:
    """The steps of an audit, from the annotated pairs to the changed labels.

    Args:
        report: Of :class:`~mr_st.annotation.audit.procedure.AuditResult`.
    """
    flagged, differing, by_experts = report["flagged"], report["differing"], report["decided_by_experts"]
    sided = report["experts_sided"]

    def part(name: str, n: int, whole: int, of: str) -> AuditRow:
        return AuditRow(name, n, n / whole if whole else None, of, is_part=True)

    rows = [
        AuditRow("Annotated pairs", report["annotated"]),
        AuditRow("Sampled", report["sampled"], report["share_sampled"], "of the annotated", paper=PAPER["sampled"]),
        AuditRow(
            "Shown often enough to tell", report["judged"], report["share_judged_by_engagement"], "of the sampled"
        ),
        _measured("Flagged: label and engagement disagree", flagged, report["share_flagged"], "of the sampled"),
        *(part(reason, n, flagged, "of the flagged") for reason, n in sorted(report["flagged_by_reason"].items())),
    ]
    if report["rejudged"] < flagged:
        rows.append(part("judged again", report["rejudged"], flagged, "of the flagged"))
    rows.append(
        _measured(
            "The judges differ from the label", differing, report["disagreement"], "of the pairs judged again",
            PAPER["disagreement"],
        )
    )  # fmt: skip
    if len(report["judges"]) > 1:
        for judge in report["judges"]:
            differs = judge["differs"]
            n = round((differs["value"] or 0) * differs["n"])
            rows.append(_measured(judge["judge"], n, differs, "of what it judged", is_part=True))
    rows.append(AuditRow("Decided by experts", by_experts, by_experts / differing if differing else None, "of these"))
    if by_experts:
        rows += [
            _measured(
                "the experts side with the judges", sided["with_judges"], report["sided_with_judges"],
                "of the decided", PAPER["sided_with_judges"], is_part=True,
            ),
            part("with the label", sided["with_label"], by_experts, "of the decided"),
            part("with neither", sided["with_neither"], by_experts, "of the decided"),
        ]  # fmt: skip
    if report["decided_by_judges"]:
        rows.append(
            part("decided by the judges alone", report["decided_by_judges"], differing, "of those that differ")
        )
    for why, n in report["open"].items():
        if n:
            rows.append(part(f"open: {why}", n, differing, "of those that differ"))
    rows.append(
        AuditRow("Labels changed", report["changed"], report["changed_share_of_annotated"], "of the annotated")
    )
    return rows


def error_rows(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Label errors as texts: name, before, after, change, paper; one row for the flagged pairs, one for all."""
    rows = []
    for scope, name in (("flagged", "{:,} flagged pairs"), ("total", "all {:,} annotated pairs")):
        found = report["errors"].get(scope)
        if found:
            rate = [
                f"{found[when]:,} ({_percent(_ratio(found[when], found['pairs']))})" for when in ("before", "after")
            ]
            if report["errors"]["basis"] != "truth":
                rate[1] = f"{found['after']:,} (as decided)"
            change = "–" if found["reduction"] is None else _signed(-found["reduction"])
            paper = _signed(-PAPER["error_reduction"]) if scope == "total" else ""
            row = {"name": name.format(found["pairs"]), "before": rate[0], "after": rate[1], "change": change}
            rows.append({**row, "paper": paper})
    return rows


def audit_summary(report: Mapping[str, Any]) -> str:
    """The report as Markdown whose columns are in line on a terminal too."""
    steps = [
        ("- " * row.is_part + row.name, row.count, f"{row.percent} {row.note}".strip(), row.interval_text,
         row.paper_percent)
        for row in audit_rows(report)
    ]  # fmt: skip
    errors = [tuple(row.values()) for row in error_rows(report)]
    return "\n".join(
        [
            *_markdown_table(("step", "pairs", "share", "95 % interval", "paper (other data)"), steps),
            "",
            *_markdown_table(("label errors among", "before", "after", "change", "paper (other data)"), errors),
            "",
            *_error_notes(report),
        ]
    )


def audited_pairs(audit: Audit) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the page shows of single pairs, from the audit's folder after :meth:`Audit.decide`.

    Returns:
        The flagged pairs: the columns of the flags, query and item (texts), judges and experts (lists of grades) and
        final (null where nothing is decided); and grade, clicks, expected of sampled pairs that were not flagged.
    """

    def read(name: str) -> pl.DataFrame:
        return pl.DataFrame(read_parquet(audit.folder / f"{name}.parquet"))

    flags = read("flags")
    texts = audit.pairs(flags)
    answers = read("answers") if (audit.folder / "answers.parquet").is_file() else pl.DataFrame(schema=ANSWERS)
    judges = read("rejudged").sort("judge").group_by(_KEYS).agg(pl.col("grade").alias("judges"))
    experts = answers.sort("expert").group_by(_KEYS).agg(pl.col("grade").alias("experts"))
    decisions = read("decisions").select(*_KEYS, "decided", differs=pl.lit(True))
    pairs = flags.with_columns(pl.Series("query", texts.query_texts), pl.Series("item", texts.item_texts))
    for table in (judges, experts, decisions):
        pairs = pairs.join(table, on=_KEYS, how="left", maintain_order="left")
    agrees = pl.col("differs").is_null() & pl.col("judges").is_not_null()
    pairs = pairs.with_columns(
        pl.when(agrees).then("grade").otherwise("decided").alias("final"),
        *(pl.col(name).fill_null(pl.lit([], dtype=pl.List(pl.Int8))) for name in ("judges", "experts")),
    ).drop("decided", "differs")
    others = read("sampled").filter(~pl.col("is_flagged") & pl.col("impressions").is_not_null())
    return pairs, others.select("grade", "clicks", "expected")


def write_audit_report(
    folder: str | Path,
    report: Mapping[str, Any],
    pairs: pl.DataFrame,
    others: pl.DataFrame,
    *,
    grade_names: Sequence[str],
    about: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Path:
    """Write ``report.html``: one file that loads nothing; ``report.json`` beside it is :meth:`Audit.decide`'s.

    Args:
        folder: Where to.
        report: Of :class:`~mr_st.annotation.audit.procedure.AuditResult`.
        pairs, others: Of :func:`audited_pairs`.
        grade_names: What to call grade 0, 1, ...
        about: What else to say of how it was done.
        title: The page's heading.

    Returns:
        The page.

    Raises:
        MrStError: the folder cannot be written.
    """
    rows = [_line(row) for row in pairs.iter_rows(named=True)]
    return write_page(
        ensure_writable(folder) / "report.html",
        "audit_report",
        {"grades": list(grade_names), "rows": rows},
        title=title or f"Label audit of {report['dataset']['name']}",
        lede=_lede(report),
        rows=audit_rows(report),
        errors=error_rows(report),
        error_notes=_error_notes(report),
        panels=engagement_figures(pairs, others, grade_names, much=MUCH),
        has_others=len(others) > 0,
        facts=[*_facts(report), *(about or {}).items()],
    )


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A pair as the page's script takes it."""
    final = row["final"]
    outcome = "open" if final is None else "kept" if final == row["grade"] else "changed"
    taken = (*_KEYS, "query", "item", "reason", "impressions", "clicks", "purchases", "judges", "experts", "final")
    return {**{name: row[name] for name in taken}, "label": row["grade"], "outcome": outcome}


def _lede(report: Mapping[str, Any]) -> str:
    text = (
        f"{report['sampled']:,} of {report['annotated']:,} annotated pairs were held against engagement; "
        f"{report['flagged']:,} were flagged and judged again, {report['changed']:,} labels changed."
    )
    n_open = sum(report["open"].values())
    return text + (f" {n_open:,} {'pair is' if n_open == 1 else 'pairs are'} not decided yet." if n_open else "")


def _error_notes(report: Mapping[str, Any]) -> list[str]:
    errors = report["errors"]
    precision = f"Flags that were errors: {_with_interval(errors['precision_of_flags'])}."
    if errors["basis"] != "truth":
        return [f"Estimated, for the true grades are not known; basis: {errors['basis']}.", precision, _PAPER_NOTE]
    mended = f"Flagged errors that were mended: {_with_interval(errors['mended_of_flagged_errors'])}."
    introduced = f"Right labels made wrong: {errors['total']['introduced']:,}."
    return ["Counted exactly: the true grades are known.", f"{precision} {mended} {introduced}", _PAPER_NOTE]


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    dataset, accepts = report["dataset"], report["accept_without_experts"]
    work = report["expert_workload"]
    return [
        ("Dataset", f"{dataset['name']}, fingerprint {dataset['fingerprint']}"),
        ("Splits", ", ".join(dataset["splits"] or ["all"])),
        ("Judges", ", ".join(judge["judge"] for judge in report["judges"]) or "none"),
        ("Experts", f"{work['experts']:,}, with {work['answers']:,} answers to {work['pairs_to_answer']:,} pairs"),
        ("Accepted without experts", "nothing" if accepts is None else f"from confidence {accepts:g} on"),
        ("Settings", ", ".join(f"{name} {_plain(value)}" for name, value in report["settings"].items())),
    ]


def _markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [head, *([text.replace("|", "\\|") for text in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return (
            f"| {row[0]:<{widths[0]}} | "
            + " | ".join(f"{t:>{w}}" for t, w in zip(row[1:], widths[1:], strict=True))
            + " |"
        )

    rule = f"| {'-' * widths[0]} | " + " | ".join(f"{'-' * (width - 1)}:" for width in widths[1:]) + " |"
    return [line(cells[0]), rule, *map(line, cells[1:])]


def _measured(
    name: str, n: int, share: Mapping[str, Any], note: str, paper: float | None = None, is_part: bool = False
) -> AuditRow:
    interval = None if share["low"] is None else (share["low"], share["high"])
    return AuditRow(name, n, share["value"], note, interval, paper, is_part)


def _with_interval(share: Mapping[str, Any]) -> str:
    if share["value"] is None or share["low"] is None:
        return _percent(share["value"])
    return f"{_percent(share['value'])} (95 % interval {_digits(share['low'])} to {_digits(share['high'])})"


def _plain(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _digits(share: float) -> str:
    return f"{100 * share:.2f}" if 0 < abs(share) < 0.1 else f"{100 * share:.1f}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{_digits(share)} %"


def _signed(share: float) -> str:
    return f"{'+' if share > 0 else '−' if share < 0 else ''}{_digits(abs(share))} %"
