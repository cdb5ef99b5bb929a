"""shrink: one model at several sizes, each measured on the graded metrics, on separability and on speed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MissingExtraError, UsageError
from mr_st.evaluation import BiEncoder, Collection, compare_several, evaluate_system
from mr_st.evaluation.report import RUN_DEPTH
from mr_st.hub.shrink_report import ShrinkReport, ShrinkRow
from mr_st.hub.shrink_settings import Setting, default_settings, settings_of
from mr_st.hub.shrink_speed import SEARCH_ENGINE, encode_speed, search_ms
from mr_st.hub.shrink_systems import ShrunkEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.evaluation import GradedReport
    from mr_st.tasks import GradedRetrievalTask

__all__ = ["shrink"]

N_CANDIDATES = 2 * RUN_DEPTH
"""Candidates that are scored again: sentence-transformers' rescore_multiplier of 2, at the depth of a report's run."""

_SIMILARITY = (
    "of judged pairs, for margins, AUC and thresholds: the inner product of what the last score reads, on the scale "
    "of the cosine. int8: both sides read back as the middles of their steps; int8+rescore, binary+int8: the float32 "
    "query and the item read back; binary: 1 - 2 h / d for h differing bits; binary+rescore: the cosine of the query "
    "and the item's signs; int8+float32, binary+float32: the full cosine"
)


def shrink(
    model: SentenceTransformer | BiEncoder,
    on: GradedRetrievalTask | Collection,
    settings: Sequence[str] | None = None,
    *,
    dims: Sequence[int] | None = None,
    split: str | None = None,
    n_candidates: int = N_CANDIDATES,
    measure_speed: bool = True,
    store: str | Path | None = None,
    batch_size: int = 64,
    show_progress: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> ShrinkReport:
    """Measure a model at several sizes over the same vectors, which are encoded once.

    Args:
        model: The model, or a :class:`~mr_st.evaluation.BiEncoder` with a name and a store of its own.
        on: A task, or a collection of judged queries.
        settings: Names of settings (:func:`~mr_st.hub.shrink_settings.parse_setting`); None for the usual ones. The
            full one is always measured.
        dims: With no ``settings``: numbers of components to cut to; None for a half, a quarter and an eighth.
        split: A split of the task; None for its first.
        n_candidates: How many of the best are scored again, where a setting does so; at least as many as are sought.
        measure_speed: Also time search and encoding.
        store: Folder that keeps vectors between runs, keyed by content; not for a BiEncoder.
        batch_size: Texts in one forward pass; not for a BiEncoder.
        show_progress: Show progress bars; not for a BiEncoder.
        announce: Called with a line about each step.

    Returns:
        The report: rows, protocol, recommendation.

    Raises:
        UsageError: an unknown setting, more dimensions than the model has, or a collection with a split.
        MrStError: a vector that is zero when cut, or what encoding raises.

    Example:
        >>> from mr_st.hub.shrink import shrink  # doctest: +SKIP
        >>> from mr_st.tasks import get_task  # doctest: +SKIP
        >>> report = shrink(model, get_task("MarketplaceRetrieval"))  # doctest: +SKIP
        >>> report.to_dict()["recommendation"]["setting"]  # doctest: +SKIP
        'int8+rescore-192'
    """
    if n_candidates < 1:
        raise UsageError(f"n_candidates is {n_candidates}; it must be 1 or more")
    if isinstance(on, Collection) and split is not None:
        raise UsageError("a collection is of one split already; leave split out")
    full = (
        model
        if isinstance(model, BiEncoder)
        else BiEncoder(model, store=store, batch_size=batch_size, show_progress=show_progress)
    )
    width = int(full.model.get_embedding_dimension() or 0)
    chosen = settings_of([s.name for s in default_settings(width, dims)] if settings is None else settings, width)
    evaluate, collection, task_name = _evaluation(on, split)
    rows: list[tuple[Setting, GradedReport, BiEncoder]] = []
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mr-st-shrink-") as work:
        for number, setting in enumerate(chosen, start=1):
            announce(f"[{number}/{len(chosen)}] {setting.name}")
            encoder = full
            if setting.encoder != "float32":
                from mr_st.hub.shrink_encoders import changed_encoder

                try:
                    encoder = changed_encoder(full, setting.encoder, Path(work))
                except MissingExtraError as error:
                    left_out[setting.name] = str(error)
                    continue
            plain = setting.name == chosen[0].name or encoder is not full
            system = encoder if plain else ShrunkEncoder(full, setting, n_candidates)
            rows.append((setting, evaluate(system), encoder))
        speeds = [
            _speeds(row, rows[0][2], collection, n_candidates) if measure_speed else (None, None) for row in rows
        ]
    baseline = rows[0][1]
    compared = [None, *(compare_several(baseline, [report for _, report, _ in rows[1:]]) if rows[1:] else [])]
    return ShrinkReport(
        full.name,
        full.revision,
        task_name,
        [
            ShrinkRow(setting, report, comparison, *speed)
            for (setting, report, _), comparison, speed in zip(rows, compared, speeds, strict=True)
        ],
        {**_protocol(baseline, collection, n_candidates, measure_speed), "truncation": _truncation(full, width)},
        left_out,
    )


def _evaluation(
    on: GradedRetrievalTask | Collection, split: str | None
) -> tuple[Callable[[Any], GradedReport], Collection, str]:
    """How a system is evaluated, what it searches, and what that is called."""
    if isinstance(on, Collection):
        name = "GradedRetrieval"
        return lambda system: evaluate_system(system, on, task_name=name), on, name
    return lambda system: on.report(system, split), on.collection(split), on.metadata.name


def _speeds(
    row: tuple[Setting, GradedReport, BiEncoder], full: BiEncoder, collection: Collection, n_candidates: int
) -> tuple[float | None, float | None]:
    setting, _, encoder = row
    if encoder is not full:  # its vectors are searched like the full ones
        return None, encode_speed(encoder, collection.item_texts)
    queries, items = full.vectors(collection.query_texts, "query"), full.vectors(collection.item_texts, "item")
    speed = encode_speed(full, collection.item_texts) if setting.name == "float32" else None
    return search_ms(queries, items, setting, RUN_DEPTH, n_candidates), speed


def _protocol(report: GradedReport, collection: Collection, n_candidates: int, measure_speed: bool) -> dict[str, Any]:
    from importlib.metadata import version

    kept = ("key", "system", "model", "search")
    n_candidates = min(max(n_candidates, RUN_DEPTH), len(collection.item_ids))
    found = {key: value for key, value in report.protocol.items() if key not in kept}
    found["search"] = "exact at every setting"
    found["calibration"] = (
        f"int8: least and greatest value of each dimension over all {len(collection.item_ids):,} catalogue vectors; "
        "values of queries beyond them take the nearest code; no query is calibrated on"
    )
    found["similarity"] = _SIMILARITY
    found["rescoring"] = f"the best {n_candidates:,} candidates of the first search, scored again by the float32 query"
    found["comparison"] = (
        "each setting minus full, paired by query: its interval as the metrics', p from a paired permutation test "
        "(10,000), Holm's correction over the settings"
    )
    if report.separability is not None:
        found["separability_intervals"] = report.separability["method"]["intervals"]
    if measure_speed:
        found["search_speed"] = (
            f"milliseconds for {RUN_DEPTH} places, median over up to 100 queries, best of 3; {SEARCH_ENGINE}"
        )
        found["encode_speed"] = f"item texts a second, best of 3 over up to 256 texts; {_machine()}"
    found["sentence_transformers"] = version("sentence-transformers")
    return found


def _truncation(full: BiEncoder, width: int) -> str:
    from mr_st.models.matryoshka import matryoshka_dims

    dims = matryoshka_dims(full.model) or (width,)
    at = ", ".join(map(str, dims))
    how = f"trained to be cut to {at}" if len(dims) > 1 else f"trained at {at} dimensions only, not to be cut"
    return f"the first components of each vector, rescaled to length 1; the model was {how}"


def _machine() -> str:
    import os
    import platform

    import torch

    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads != 1)} of {os.cpu_count()} CPU cores ({platform.machine()})"
