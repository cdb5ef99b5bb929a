"""The audit's tables: what each step makes of the one before. Tables in, tables out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl

from mr_st.annotation.audit.flags import FLAG_SCHEMA
from mr_st.annotation.protocol import Annotations
from mr_st.errors import DataError, Problem, UsageError

__all__ = [
    "ANSWERS", "DECISIONS", "DIFFERING", "HISTORY", "REJUDGED", "Combine", "check_answers", "combine_judges",
    "decide_pairs", "differing_pairs", "history", "merge_answers", "rejudged_table",
]  # fmt: skip

Combine = Literal["mean", "majority"]

KEYS = ["query_id", "item_id"]
_PAIR: dict[str, Any] = {"query_id": pl.String, "item_id": pl.String}
REJUDGED: dict[str, Any] = {
    **_PAIR, "judge": pl.String, "grade": pl.Int8, "confidence": pl.Float32, "probabilities": pl.List(pl.Float32)
}  # fmt: skip
"""A row for each flagged pair and each judge that answered."""
DIFFERING: dict[str, Any] = {**FLAG_SCHEMA, "judged": pl.Int8, "confidence": pl.Float32}
"""Flagged pairs whose label (``grade``) the judges do not share; ``judged`` is their combined grade."""
ANSWERS: dict[str, Any] = {**_PAIR, "grade": pl.Int8, "expert": pl.String, "note": pl.String}
"""What experts said: a row for each expert and pair."""
DECISIONS: dict[str, Any] = {
    **_PAIR, "grade": pl.Int8, "judged": pl.Int8, "confidence": pl.Float32, "decided": pl.Int8, "by": pl.String,
    "votes": pl.Int64, "votes_for": pl.Int64, "why_open": pl.String,
}  # fmt: skip
"""A row for each differing pair: ``decided`` is null where it is open; ``by`` is "experts" or "judges"."""
HISTORY: dict[str, Any] = {
    **_PAIR, "step": pl.Int64, "event": pl.String, "by": pl.String, "grade": pl.Int8, "confidence": pl.Float32,
    "note": pl.String,
}  # fmt: skip
"""A row for each thing that happened to a flagged pair, in order; ``event`` is one of ``EVENTS``."""
EVENTS = ("labelled", "flagged", "judged", "combined", "expert", "final")

UNANSWERED, TIE = "no answer", "tie"


def rejudged_table(pairs: pl.DataFrame, judge: str, rows: np.ndarray, annotations: Annotations) -> pl.DataFrame:
    """What one judge said of the pairs at ``rows`` (int (m,)) of ``pairs``; columns of :data:`REJUDGED`."""
    return pairs[rows].select(
        *KEYS,
        pl.lit(judge).alias("judge"),
        pl.Series("grade", annotations.grades),
        pl.Series("confidence", annotations.confidence),
        pl.Series("probabilities", annotations.probabilities.tolist(), dtype=pl.List(pl.Float32)),
    )


def combine_judges(rejudged: pl.DataFrame, how: Combine = "mean") -> pl.DataFrame:
    """One grade for each pair that any judge answered.

    Args:
        rejudged: Columns of :data:`REJUDGED`.
        how: ``mean``: the likeliest grade of the judges' mean probabilities; ``majority``: the grade that most judges
            gave, a tie by the mean. Of equally likely grades the lowest.

    Returns:
        query_id, item_id, judged, confidence (mean probability of that grade, or share of the judges who gave it).

    Raises:
        UsageError: no such way.
    """
    if how not in ("mean", "majority"):
        raise UsageError(f"combine is {how!r}; expected mean or majority")
    rows = []
    for keys, group in rejudged.sort(*KEYS, "judge").group_by(KEYS, maintain_order=True):
        mean = np.asarray(group["probabilities"].to_list(), dtype=np.float64).mean(axis=0)
        if how == "majority":
            share = np.bincount(group["grade"].to_numpy(), minlength=len(mean)) / len(group)
            judged = int(np.argmax(share + 1e-6 * mean))  # far less than one vote
            rows.append((*keys, judged, float(share[judged])))
        else:
            judged = int(np.argmax(mean.round(9)))
            rows.append((*keys, judged, float(mean[judged])))
    return pl.DataFrame(rows, schema={**_PAIR, "judged": pl.Int8, "confidence": pl.Float32}, orient="row")


def differing_pairs(flags: pl.DataFrame, combined: pl.DataFrame) -> pl.DataFrame:
    """The flagged pairs whose label is not the judges' grade, highest score first; columns of :data:`DIFFERING`."""
    joined = flags.join(combined, on=KEYS, how="inner", maintain_order="left")
    return joined.filter(pl.col("judged") != pl.col("grade")).select(list(DIFFERING))


def check_answers(answers: Any, differing: pl.DataFrame, n_grades: int) -> pl.DataFrame:
    """Experts' answers in the columns of :data:`ANSWERS`; rows without a grade are left out.

    Args:
        answers: A frame or list of dicts with query_id, item_id, grade; expert and note may be absent.
        differing: The pairs that were asked.
        n_grades: G.

    Raises:
        DataError: a column is missing, a pair nobody asked about, a grade outside the scale, or two grades of one
            expert for one pair; each with its row.
    """
    table = answers if isinstance(answers, pl.DataFrame) else pl.DataFrame(answers or [], infer_schema_length=None)
    if not table.width and not len(table):
        return pl.DataFrame(schema=ANSWERS)
    missing = [name for name in ("query_id", "item_id", "grade") if name not in table.columns]
    if missing:
        found = ", ".join(table.columns)
        raise DataError(Problem("answers", f"no such column; found {found}", "name it so", None, missing[0]))
    for name, value in (("expert", "expert"), ("note", "")):
        if name not in table.columns:
            table = table.with_columns(pl.lit(value).alias(name))
    asked = set(differing.select(KEYS).iter_rows())
    problems: list[Problem] = []
    kept: dict[tuple[str, str, str], tuple[int, str | None, int]] = {}
    for row, (query, item, grade, expert, note) in enumerate(table.select(list(ANSWERS)).iter_rows(), start=1):
        if grade is None:
            continue
        query, item, expert = str(query), str(item), str(expert or "expert")
        if (query, item) not in asked:
            what = f"query {query!r}, item {item!r} is no pair that the judges and the label differ on"
            problems.append(Problem("answers", what, "answer the pairs of this audit's sheet", row, "query_id"))
        elif isinstance(grade, bool) or not isinstance(grade, (int, float)) or grade not in range(n_grades):
            what = f"grade {grade!r} is outside 0..{n_grades - 1}"
            problems.append(Problem("answers", what, "give a grade of the scale", row, "grade"))
        elif (before := kept.setdefault((query, item, expert), (int(grade), note, row)))[0] != grade:
            what = (
                f"{expert!r} gave query {query!r}, item {item!r} grade {grade}, and {before[0]} in row {before[2]:,}"
            )
            problems.append(Problem("answers", what, "leave one of the two", row, "grade"))
    if problems:
        raise DataError(problems)
    rows = [(query, item, grade, expert, note) for (query, item, expert), (grade, note, _) in kept.items()]
    return pl.DataFrame(rows, schema=ANSWERS, orient="row")


def merge_answers(earlier: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Both tables of answers; what an expert said of a pair later replaces what that expert said before."""
    keys = [*KEYS, "expert"]
    return pl.concat([earlier, later]).unique(keys, keep="last", maintain_order=True).sort(keys)


def decide_pairs(
    differing: pl.DataFrame, answers: pl.DataFrame, accept_without_experts: float | None = None
) -> pl.DataFrame:
    """What each differing pair's grade is to be; columns of :data:`DECISIONS`.

    Most experts' grade holds, and a tie stays open. A pair that no expert answered stays open too, unless the judges
    are to be believed from a confidence on.

    Args:
        differing: Columns of :data:`DIFFERING`.
        answers: Columns of :data:`ANSWERS`.
        accept_without_experts: The confidence, in 0..1; None for never.
    """
    votes: dict[tuple[str, str], list[int]] = {}
    for query, item, grade in answers.select(*KEYS, "grade").iter_rows():
        votes.setdefault((query, item), []).append(grade)
    rows: list[tuple[Any, ...]] = []
    for query, item, grade, judged, confidence in differing.select(*KEYS, "grade", "judged", "confidence").iter_rows():
        given = votes.get((query, item), [])
        counts = np.bincount(given, minlength=1)
        most = int(counts.max())
        leaders = np.flatnonzero(counts == most).tolist()
        decided, by, why = None, None, None
        if given and len(leaders) == 1:
            decided, by = leaders[0], "experts"
        elif given:
            why = TIE
        elif accept_without_experts is not None and confidence >= accept_without_experts - 1e-6:  # a float32's .9
            decided, by = judged, "judges"
        else:
            why = UNANSWERED
        rows.append((query, item, grade, judged, confidence, decided, by, len(given), most, why))
    return pl.DataFrame(rows, schema=DECISIONS, orient="row")


def history(
    judgments: pl.DataFrame, flags: pl.DataFrame, rejudged: pl.DataFrame, combined: pl.DataFrame,
    answers: pl.DataFrame, decisions: pl.DataFrame,
) -> pl.DataFrame:  # fmt: skip
    """Everything that happened to each flagged pair, in order; columns of :data:`HISTORY`.

    Args:
        judgments: The dataset's, as they were.
        flags, rejudged, combined, answers, decisions: The audit's tables.
    """
    labelled = flags.select(KEYS).join(judgments, on=KEYS, how="left", maintain_order="left")
    several = rejudged["judge"].n_unique() > 1
    said = "{}: {} clicks where {} were to be expected, {} carts ({}), {} purchases ({}), {} impressions"
    counts = [
        pl.col("reason"), pl.col("clicks"), pl.col("expected").round(2), pl.col("add_to_carts"),
        pl.col("expected_add_to_carts").round(2), pl.col("purchases"), pl.col("expected_purchases").round(2),
        pl.col("impressions"),
    ]  # fmt: skip
    counts = [column.cast(pl.String).fill_null("unknown") for column in counts]
    none: Any = {"grade": pl.lit(None, pl.Int8), "confidence": pl.lit(None, pl.Float32), "note": pl.lit("")}
    final = flags.select(*KEYS, "grade").join(decisions.drop("grade", "confidence"), on=KEYS, how="left")
    final = final.join(combined.select(*KEYS, pl.lit(True).alias("asked")), on=KEYS, how="left").with_columns(
        pl.when(pl.col("asked").is_null())
        .then(pl.lit("no judge answered; the label stays"))
        .when(pl.col("judged").is_null())
        .then(pl.lit("the judges share the label"))
        .when(pl.col("decided").is_null())
        .then(pl.concat_str(pl.lit("open ("), pl.col("why_open"), pl.lit("); the label stays")))
        .when(pl.col("decided") == pl.col("grade"))
        .then(pl.lit("the label was right"))
        .otherwise(pl.lit("the label is changed"))
        .alias("note")
    )
    parts = [
        labelled.select(*KEYS, by=pl.col("source"), grade="grade", confidence="confidence", note=pl.lit("")),
        flags.select(
            *KEYS, by=pl.lit("engagement"), grade=none["grade"], confidence="score", note=pl.format(said, *counts)
        ),
        rejudged.sort("judge").select(*KEYS, by="judge", grade="grade", confidence="confidence", note=pl.lit("")),
        (combined if several else combined.clear()).select(
            *KEYS, by=pl.lit("judges"), grade="judged", confidence="confidence", note=pl.lit("")
        ),
        answers.select(*KEYS, by="expert", grade="grade", confidence=none["confidence"], note="note"),
        final.select(
            *KEYS, by=pl.coalesce("by", pl.lit("label")), grade=pl.coalesce("decided", "grade"),
            confidence=none["confidence"], note="note",
        ),
    ]  # fmt: skip
    order = flags.select(*KEYS).with_row_index("pair")
    together = pl.concat(
        part.select(
            *KEYS, pl.lit(EVENTS[n]).alias("event"), pl.col("by").cast(pl.String), pl.col("grade").cast(pl.Int8),
            pl.col("confidence").cast(pl.Float32), pl.col("note").cast(pl.String), pl.lit(n).alias("kind"),
        )
        for n, part in enumerate(parts)
    )  # fmt: skip
    together = together.join(order, on=KEYS).sort("pair", "kind", "by")
    return together.with_columns((pl.int_range(pl.len()).over("pair") + 1).alias("step")).select(
        pl.col(name).cast(kind) for name, kind in HISTORY.items()
    )
