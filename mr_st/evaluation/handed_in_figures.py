"""A result from somebody else against our own judgments: what its run and its tables say is worked out anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from mr_st.evaluation.finding import Finding, Level
from mr_st.evaluation.scoring import ranking_metrics
from mr_st.measures import ABSENT, INTERVAL_METHOD, Interval, bootstrap_intervals

if TYPE_CHECKING:
    from mr_st.evaluation.collection import Collection
    from mr_st.evaluation.report import GradedReport

__all__ = [
    "MEND",
    "Recomputed",
    "check_intervals",
    "check_protocol",
    "check_queries",
    "check_run",
    "recompute_metrics",
    "run_rows",
]

MEND = "evaluate again with mr-st evaluate and hand that in"
_TOLERANCE = 1e-9
_OURS = ("ks", "ties", "system", "model", "run_depth", "interval", "mr_st")  # of a protocol, beside the collection's
_RESAMPLES = range(200, 50_001)
_CUTOFF = re.compile(r"[a-z]+@(\d+)(/\d+)?")


@dataclass(frozen=True)
class Recomputed:
    """What could be worked out anew from a run and our judgments, and what had to be believed.

    Args:
        metrics: Names of the metrics that were recomputed, per query.
        believed: Names of those that could not be: deeper than the run, or made of similarities.
        findings: Where the two differ.
    """

    metrics: tuple[str, ...]
    believed: tuple[str, ...]
    findings: tuple[Finding, ...]


def check_protocol(report: GradedReport, collection: Collection) -> Iterator[Finding]:
    """The protocol is complete, and says of the data what our own task says."""
    protocol = report.protocol
    missing = [key for key in (*collection.protocol, *_OURS) if key not in protocol]
    if missing:
        yield _must("protocol not complete", f"lacks {', '.join(missing)}", MEND)
    for key, ours in collection.protocol.items():
        theirs = protocol.get(key)
        if key in protocol and json.dumps(theirs, sort_keys=True) != json.dumps(ours, sort_keys=True):
            yield _must(
                "another protocol", f"{key} is {_short(theirs)}, the task's own here is {_short(ours)}",
                "evaluate the same version of the task, with its own settings",
            )  # fmt: skip
    how = protocol.get("interval")
    if not isinstance(how, Mapping) or how.get("method") != INTERVAL_METHOD or how.get("confidence") != 0.95:
        yield _must("another interval", f"made by {_short(how)}, expected 95 % by {INTERVAL_METHOD!r}", MEND)
    elif not isinstance(how.get("seed"), int) or how["seed"] < 0 or how.get("n_resamples") not in _RESAMPLES:
        yield _must("another interval", f"made by {_short(how)}, expected 200 to 50,000 resamples and a seed", MEND)
    model = protocol.get("model")
    if model != {"name": report.model_name, "revision": report.revision}:
        yield _must("two models", f"the protocol names {_short(model)}, the result {report.model_name}", MEND)


def check_queries(per_query: pa.Table, collection: Collection) -> Iterator[Finding]:
    """The per-query table has every query of the task once, in order, with its attributes and counts of judgments."""
    theirs, ours = per_query["query_id"].to_pylist(), collection.query_ids
    if theirs != ours:
        dropped = sorted(set(ours) - set(theirs))
        foreign = sorted(set(theirs) - set(ours))
        if dropped:
            yield _must("queries missing", f"{len(dropped):,} of {len(ours):,} queries are not there", MEND, dropped)
        if foreign:
            yield _must("foreign queries", f"{len(foreign):,} queries are none of the task", MEND, foreign)
        if not dropped and not foreign:
            yield _must("queries in another order", "queries repeated, or not in the task's order", MEND)
        return
    expected: dict[str, Sequence[Any]] = dict(collection.attributes)
    expected["n_judged"] = collection.judged.per_query.tolist()
    expected["n_relevant"] = collection.judged.count_at_least(1).tolist()
    for name, values in expected.items():
        found = per_query[name].to_pylist() if name in per_query.column_names else [None] * len(ours)
        wrong = [q for q, a, b in zip(ours, found, values, strict=True) if a != b and not _both_nan(a, b)]
        if wrong:
            yield _must("another query table", f"{name} of {len(wrong):,} queries is not the task's", MEND, wrong)


def run_rows(run: pa.Table, collection: Collection) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Finding]]:
    """The run as item rows.

    Returns:
        Item rows int64 (n, depth), -1 where there is none; query row and item row of each line, int64 (r,), -1 where
        unknown; and what is wrong with its ids and ranks.
    """
    queries = _rows(run["query_id"], collection.query_ids)
    items = _rows(run["item_id"], collection.item_ids)
    ranks = run["rank"].to_numpy().astype(np.int64)
    findings = []
    for rule, rows, column in (("foreign queries", queries, "query_id"), ("foreign items", items, "item_id")):
        if (rows < 0).any():
            unknown = sorted(set(run[column].filter(pa.array(rows < 0)).to_pylist()))
            findings.append(_must(rule, f"the run names {len(unknown):,} that the task has not", MEND, unknown))
    known = (queries >= 0) & (items >= 0)
    new = np.concatenate([[True], queries[1:] != queries[:-1]]) if len(queries) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(new)
    expected = np.arange(len(queries)) - np.repeat(starts, np.diff(np.append(starts, len(queries)))) + 1
    if not np.array_equal(ranks, expected) or (queries[starts][1:] <= queries[starts][:-1]).any():
        findings.append(
            _must("broken ranks", "ranks do not run 1, 2, 3 ... query by query, in the task's order", MEND)
        )
    grid = np.full((collection.n_queries, int(expected.max(initial=1))), -1, dtype=np.int64)
    grid[queries[known], expected[known] - 1] = items[known]
    ordered = np.sort(grid, axis=1)
    twice = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        where = [collection.query_ids[row] for row in np.flatnonzero(twice)]
        findings.append(_must("item returned twice", f"in the runs of {len(where):,} queries", MEND, where))
    return grid, queries, items, findings


def check_run(
    run: pa.Table, collection: Collection, grid: np.ndarray, queries: np.ndarray, items: np.ndarray, depth: int
) -> Iterator[Finding]:
    """The run's depth, its scores, and its grades against our judgments; arguments as :func:`run_rows` gives them."""
    if grid.shape[1] > depth:
        yield _must("run too deep", f"{grid.shape[1]} places a query where the protocol says {depth}", MEND)
    scores = run["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    rising = np.flatnonzero((queries[1:] == queries[:-1]) & ~(scores[1:] <= scores[:-1]))
    if run["score"].null_count or np.isnan(scores).any() or len(rising):
        where = sorted({str(run["query_id"][int(row)]) for row in rising})
        yield _must("scores out of order", "scores are missing, or rise along a query's run", MEND, where)
    ours = np.full(len(items), ABSENT)
    known = (queries >= 0) & (items >= 0)
    stride = len(collection.item_ids)
    judged = collection.judged
    keys, wanted = judged.query_of_pair * stride + judged.items, queries[known] * stride + items[known]
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    ours[known] = np.where(keys[place] == wanted, judged.grades[place], -1)
    theirs = run["grade"].fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(known & (theirs != ours))
    if len(wrong):
        where = [f"{run['query_id'][row]} {run['item_id'][row]}" for row in wrong.tolist()]
        yield _must("grades edited", f"{len(wrong):,} grades of the run are not our judgments'", MEND, where)


def recompute_metrics(report: GradedReport, collection: Collection, grid: np.ndarray) -> Recomputed:
    """Every per-query metric down to the run's depth, from the run and OUR judgments, against the handed-in table."""
    ks = report.protocol.get("ks")
    depth = report.protocol.get("run_depth")
    good = isinstance(ks, list) and ks and all(isinstance(k, int) and 0 < k <= 10_000 for k in ks)
    if not isinstance(ks, list) or not good or not isinstance(depth, int) or sorted(set(ks)) != ks:
        return Recomputed((), (), (_must("protocol not complete", f"cut-offs {_short(ks)}", MEND),))
    deepest = int(collection.judged.per_query.max()) if collection.judged_pool else len(collection.item_ids)
    shallow = ks if deepest <= depth else [k for k in ks if k <= depth]  # a run of everything tells every cut-off
    width = max([*shallow, grid.shape[1], 1])
    padded = np.pad(grid, ((0, 0), (0, width - grid.shape[1])), constant_values=-1)
    ours = ranking_metrics(collection.judged, padded, shallow, collection.scale) if shallow else {}
    findings = []
    missing = [name for name in ours if name not in report.metrics]
    if missing:
        findings.append(_must("metrics missing", "the result lacks metrics of its own cut-offs", MEND, missing))
    for name, values in ours.items():
        if name in report.metrics and name in report.per_query.column_names:
            theirs = report.values(name)
            wrong = np.flatnonzero(~((np.abs(theirs - values) <= _TOLERANCE) | (np.isnan(theirs) & np.isnan(values))))
            if len(wrong):
                where = [collection.query_ids[row] for row in wrong.tolist()]
                what = f"{name} of {len(wrong):,} queries is not what the run gives by our judgments"
                findings.append(_must("figures edited", what, MEND, where))
    believed = tuple(name for name in report.metrics if name not in ours)
    findings += [finding for name in believed for finding in _implausible(name, report, ks, depth)]
    return Recomputed(tuple(ours), believed, tuple(findings))


def check_intervals(
    metrics: Mapping[str, Interval], values: Mapping[str, np.ndarray], how: Mapping[str, Any], part: str
) -> Iterator[Finding]:
    """Means and intervals follow from the per-query values, by the protocol's own seed and number of resamples."""
    how_made = how["seed"], how["n_resamples"], how["confidence"]
    anew = bootstrap_intervals(values, *how_made)
    for name, interval in anew.items():
        theirs = metrics.get(name)
        if theirs is None or not _same_interval(theirs, interval):
            found = "none" if theirs is None else str(theirs)
            what = f"{part}, {name} is {found}; the table gives {interval}"
            yield _must("means edited", what, MEND)


def _implausible(name: str, report: GradedReport, ks: Sequence[int], depth: int) -> Iterator[Finding]:
    """What can be said of a metric that cannot be recomputed: that its name is one, and its values are possible."""
    values = report.values(name)
    values = values[~np.isnan(values)]
    cutoff = _CUTOFF.fullmatch(name)
    if name.startswith("margin_"):
        low, high = -2.0, 2.0
    elif cutoff and int(cutoff[1]) in ks and int(cutoff[1]) > depth:
        low, high = 0.0, 1.0
    else:
        yield _must("unknown metric", f"{ascii(name)[:60]} is none that mr-st evaluate writes", MEND)
        return
    if len(values) and not (low - _TOLERANCE <= values.min() and values.max() <= high + _TOLERANCE):
        yield _must("impossible figures", f"{name} outside {low:g}..{high:g}", MEND)


def _rows(ids: pa.ChunkedArray, known: Sequence[str]) -> np.ndarray:
    found = pa.compute.index_in(ids, value_set=pa.array(known, pa.string()))
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _same_interval(a: Interval, b: Interval) -> bool:
    pairs = zip((a.value, a.low, a.high), (b.value, b.low, b.high), strict=True)
    return a.n == b.n and all(_both_nan(x, y) or abs(x - y) <= _TOLERANCE for x, y in pairs)


def _both_nan(a: Any, b: Any) -> bool:
    return isinstance(a, float) and isinstance(b, float) and a != a and b != b


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _must(rule: str, what: str, mend: str, where: Sequence[str] = ()) -> Finding:
    level: Level = "must"
    return Finding(level, rule, what, mend, tuple(where))
