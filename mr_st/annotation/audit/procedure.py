"""The audit of labels: flags by engagement, stronger judges, experts where they differ, and labels with a history."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mr_st.annotation.audit.figures import audit_report
from mr_st.annotation.audit.flags import FlagSettings, flag_pairs
from mr_st.annotation.audit.tables import (
    ANSWERS,
    REJUDGED,
    Combine,
    check_answers,
    combine_judges,
    decide_pairs,
    differing_pairs,
    history,
    merge_answers,
    rejudged_table,
)
from mr_st.annotation.protocol import Annotator, PairTable
from mr_st.annotation.running import annotate
from mr_st.annotation.store import LabelStore
from mr_st.data.dataset import GradedDataset
from mr_st.data.parquet import read_parquet, write_parquet
from mr_st.data.schema import arrow_table
from mr_st.errors import MrStError, UsageError
from mr_st.files import atomic_path, ensure_writable, read_json, write_json
from mr_st.identity import settings_hash

__all__ = ["DONE", "WAITING", "Audit", "AuditResult", "AuditState"]

logger = logging.getLogger(__name__)

WAITING, DONE = "waiting for experts", "done"

_FORMAT = 1
_KEY, _REPORT, _STORE, _DATASET = "audit.json", "report.json", "labels.sqlite", "dataset"
_SOURCES = {"experts": "audit:expert", "judges": "audit:judge"}
_KEYS = ["query_id", "item_id"]


@dataclass(frozen=True)
class AuditState:
    """How far an audit is.

    Args:
        step: ``waiting for experts`` while pairs are open, else ``done``.
        annotated: Labelled pairs of the audited splits.
        sampled: How many of them were looked at.
        shown: How many of these are in the log.
        flagged: How many of these engagement contradicts.
        rejudged: How many of these a judge answered.
        differing: How many of these the judges grade otherwise.
        decided: How many of these are decided.
        open: How many are not, for want of answers or by a tie.
    """

    step: str
    annotated: int
    sampled: int
    shown: int
    flagged: int
    rejudged: int
    differing: int
    decided: int
    open: int

    def to_dict(self) -> dict[str, Any]:
        """The state, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit comes to.

    Args:
        dataset: Decided pairs carry the decided grade, the source ``audit:expert`` or ``audit:judge``, and as
            confidence the share of the experts who said so, or the judges'; all else is as it was.
        history: Everything that happened to each flagged pair, in order.
        report: The figures, JSON-ready.
        state: How far it is; open pairs keep their label.
    """

    dataset: GradedDataset
    history: pl.DataFrame
    report: dict[str, Any]
    state: AuditState


class Audit:
    """Find wrong labels with the help of engagement, judges and experts, in a folder, where it goes on when run again.

    The folder holds a table for each step (``sampled``, ``flags``, ``rejudged``, ``differing``, ``answers``,
    ``decisions`` and ``history``, as Parquet), ``labels.sqlite`` with what the judges said, ``report.json`` and
    ``dataset/``, the audited dataset. A step that is done is not done again; a judge is asked only for what it has not
    answered.

    Args:
        dataset: Labels, and the engagement of their pairs.
        judges: One annotator or several, stronger than whoever made the labels. One that was trained on these very
            labels repeats their errors: cross-fit it (:func:`~mr_st.annotation.folded.cross_fit_annotators`).
        out_dir: The audit's folder.
        share: Of the labelled pairs that are looked at (paper: .3).
        settings: When engagement contradicts a label.
        seed: Of the sample, and of the report's intervals.
        splits: Whose judgments; None for all.
        combine: How several judges come to one grade: ``mean`` of their probabilities, or ``majority``.
        accept_without_experts: Where no expert answers, take the judges' grade from this confidence on, in 0..1
            (ours); None leaves the label.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.
        show_progress: Draw progress bars.

    Raises:
        UsageError: no judge, the same judge twice, an argument out of range, or a folder that holds the audit of
            another dataset, other judges or other settings.
        MrStError: the folder cannot be written.

    Source: section 3.2 of arXiv 2602.17654; the rule of the flags, and the way without experts, are ours.
    """

    def __init__(
        self,
        dataset: GradedDataset,
        judges: Annotator | Sequence[Annotator],
        out_dir: str | Path,
        *,
        share: float = 0.3,
        settings: FlagSettings | None = None,
        seed: int = 0,
        splits: Sequence[str] | None = None,
        combine: Combine = "mean",
        accept_without_experts: float | None = None,
        item_text_levels: int | None = 2,
        max_chars: int | None = 400,
        show_progress: bool = False,
    ):
        self.dataset = dataset
        self.judges = list(judges) if isinstance(judges, Sequence) else [judges]
        self.folder = Path(out_dir)
        self.settings = settings or FlagSettings()
        self.share, self.seed, self.combine = share, seed, combine
        self.splits = None if splits is None else list(splits)
        self.accept_without_experts = accept_without_experts
        self._texts = (item_text_levels, max_chars)
        self._show_progress = show_progress
        identities = [judge.identity for judge in self.judges]
        if not identities or len(set(identities)) < len(identities):
            raise UsageError(f"judges {identities}: give one or more, each once")
        if accept_without_experts is not None and not 0 <= accept_without_experts <= 1:
            raise UsageError(f"accept_without_experts is {accept_without_experts}; it must lie in 0..1")
        if combine not in ("mean", "majority"):
            raise UsageError(f"combine is {combine!r}; expected mean or majority")
        self._open(identities)

    def run(self) -> AuditState:
        """Flag, and have the judges grade what is flagged; go on where an earlier run stopped.

        Raises:
            UsageError: no engagement, no such split, or a share out of range.
            MrStError: a judge stopped early (its budget is spent); what it answered is kept, so run again.
        """
        if not self._has("flags"):
            found = flag_pairs(
                self.dataset, share=self.share, settings=self.settings, seed=self.seed, splits=self.splits
            )
            self._write("sampled", found.sampled)
            write_json(self.folder / "counts.json", found.counts)
            self._write("flags", found.table)  # the last: it says that the others are there
        if not self._has("differing"):
            flags = self._read("flags")
            rejudged = self._rejudge(flags)
            self._write("rejudged", rejudged)
            self._write("differing", differing_pairs(flags, combine_judges(rejudged, self.combine)))
        return self.state()

    def state(self) -> AuditState:
        """How far the audit is, once :meth:`run` has returned.

        Raises:
            MrStError: it has not.
        """
        if not self._has("differing"):
            raise MrStError(f"{self.folder}: the judges have not graded the flagged pairs yet; run the audit first")
        differing = self._read("differing")
        decisions = decide_pairs(differing, self._answers(), self.accept_without_experts)
        counts = read_json(self.folder / "counts.json")
        n_decided = len(decisions) - decisions["decided"].null_count()
        return AuditState(
            WAITING if n_decided < len(decisions) else DONE,
            counts["annotated"], counts["sampled"], counts["shown"], counts["flagged"],
            self._read("rejudged").select(_KEYS).n_unique(), len(decisions), n_decided, len(decisions) - n_decided,
        )  # fmt: skip

    def decide(self, answers: Any = None, truth: pl.DataFrame | None = None) -> AuditResult:
        """Take experts' answers, decide what can be decided, and write decisions, history, report and dataset.

        Answers are kept: those of another call add to them, and an expert's later answer replaces the earlier one.

        Args:
            answers: query_id, item_id, grade, and where there are any expert and note; from
                :func:`~mr_st.annotation.review.read_answers`, or any frame or list of dicts. None for none.
            truth: query_id, item_id, true_grade, where it is known: the report's errors are then exact.

        Raises:
            DataError: an answer for a pair that was not asked, or with a grade outside the scale; the row is named.
            MrStError: as :meth:`run`.
        """
        self.run()
        differing, flags, rejudged = self._read("differing"), self._read("flags"), self._read("rejudged")
        given = self._answers()
        if answers is not None:
            given = merge_answers(given, check_answers(answers, differing, self.dataset.scale.n_grades))
            self._write("answers", given)
        decisions = decide_pairs(differing, given, self.accept_without_experts)
        combined = combine_judges(rejudged, self.combine)
        judgments: Any = pl.DataFrame(arrow_table(self.dataset.judgments))
        events = history(judgments, flags, rejudged, combined, given, decisions)
        audited = judgments if self.splits is None else judgments.filter(pl.col("split").is_in(self.splits))
        report = {
            "dataset": {"name": self.dataset.name, "fingerprint": self.dataset.fingerprint, "splits": self.splits},
            "settings": {"share": self.share, "seed": self.seed, "combine": self.combine, **asdict(self.settings)},
            "accept_without_experts": self.accept_without_experts,
            **audit_report(
                read_json(self.folder / "counts.json"), self._read("sampled"), flags, rejudged, combined, given,
                decisions, truth, audited, self.seed,
            ),
        }  # fmt: skip
        dataset = self._audited(judgments, decisions)
        self._write("decisions", decisions)
        self._write("history", events)
        dataset.save(self.folder / _DATASET)
        write_json(self.folder / _REPORT, report)
        return AuditResult(dataset, events, report, self.state())

    def pairs(self, table: pl.DataFrame) -> PairTable:
        """Ids and texts of the pairs of a table with query_id and item_id, as judges and experts read them."""
        query_rows = self.dataset.query_rows(table["query_id"].to_list())
        item_rows = self.dataset.item_rows(table["item_id"].to_list())
        return self.dataset.pair_table(query_rows, item_rows, *self._texts)

    def _audited(self, judgments: pl.DataFrame, decisions: pl.DataFrame) -> GradedDataset:
        said = pl.when(pl.col("by") == "experts").then(pl.col("votes_for") / pl.col("votes"))
        decided = decisions.filter(pl.col("decided").is_not_null()).select(
            *_KEYS,
            "decided",
            pl.col("by").replace_strict(_SOURCES, return_dtype=pl.String).alias("new_source"),
            said.otherwise(pl.col("confidence")).cast(pl.Float32).alias("new_confidence"),
        )
        changed = judgments.join(decided, on=_KEYS, how="left", maintain_order="left").with_columns(
            pl.coalesce("decided", "grade").alias("grade"),
            pl.coalesce("new_source", "source").alias("source"),
            pl.coalesce("new_confidence", "confidence").alias("confidence"),
        )
        d = self.dataset
        return GradedDataset(
            d.queries, d.items, changed.select(judgments.columns), d.engagement, d.scale, d.name, d.license,
            {**d.source, "audit": self._key},
        )  # fmt: skip

    def _rejudge(self, flags: pl.DataFrame) -> pl.DataFrame:
        """What every judge says of the flagged pairs, asked in the order of their ids: a score gives nothing away."""
        pairs = flags.select(_KEYS).sort(_KEYS)
        texts, n_grades = self.pairs(pairs), self.dataset.scale.n_grades
        tables = [pl.DataFrame(schema=REJUDGED)]
        for judge in self.judges if len(pairs) else ():
            store = None if getattr(judge, "reads_ids", False) else LabelStore(self.folder / _STORE)
            run = annotate(judge, texts, store, show_progress=self._show_progress)
            if store is not None:
                store.close()
            if run.stopped_by is not None:
                raise MrStError(f"{judge.identity}: {run.advice}")
            if len(run.annotations) and run.annotations.n_grades != n_grades:
                raise MrStError(
                    f"{judge.identity}: grades 0..{run.annotations.n_grades - 1}, but the dataset's scale is "
                    f"{self.dataset.scale}; use a judge of the same scale"
                )
            if not run.complete:
                logger.warning("%s: no usable answer for %d flagged pairs", judge.identity, run.n_left)
            if len(run.annotations):
                rows = np.flatnonzero(run.is_labelled)
                tables.append(rejudged_table(pairs, judge.identity, rows, run.annotations))
        return pl.concat(tables)

    def _open(self, identities: list[str]) -> None:
        self._about = {
            "dataset": self.dataset.fingerprint, "judges": sorted(identities), "share": self.share, "seed": self.seed,
            "settings": asdict(self.settings), "splits": self.splits, "combine": self.combine,
            "texts": list(self._texts), "format": _FORMAT,
        }  # fmt: skip
        self._key = settings_hash(self._about)
        if (self.folder / _KEY).is_file():
            known = read_json(self.folder / _KEY)
            before = known.get("audit", {}) if isinstance(known, dict) else {}
            if settings_hash(before) != self._key:
                others = [
                    name
                    for name, value in self._about.items()
                    if settings_hash(before.get(name)) != settings_hash(value)
                ]
                raise UsageError(
                    f"{self.folder}: holds an audit with other {', '.join(others)}; choose another folder for this "
                    "one, or delete that one"
                )
            return
        strangers = [name for name in ("flags.parquet", "differing.parquet", _REPORT) if (self.folder / name).exists()]
        if strangers:
            raise UsageError(f"{self.folder}: holds {strangers[0]} but no {_KEY}; choose another folder")
        ensure_writable(self.folder)
        write_json(self.folder / _KEY, {"audit": self._about})

    def _answers(self) -> pl.DataFrame:
        return self._read("answers") if self._has("answers") else pl.DataFrame(schema=ANSWERS)

    def _has(self, name: str) -> bool:
        return (self.folder / f"{name}.parquet").is_file()

    def _read(self, name: str) -> pl.DataFrame:
        return pl.DataFrame(read_parquet(self.folder / f"{name}.parquet"))

    def _write(self, name: str, table: pl.DataFrame) -> None:
        arrow = table.to_arrow()
        with atomic_path(self.folder / f"{name}.parquet") as temporary:
            write_parquet(temporary, arrow.to_batches(), arrow.schema)
