"""What a reader must not conclude, as far as a card's inputs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mr_st.hub.card_words import as_interval, mapping
from mr_st.text.markdown import number, p_value, signed
from mr_st.text.wording import metric_label

if TYPE_CHECKING:
    from mr_st.evaluation import Comparison, GradedReport

__all__ = ["measured_limits", "not_better"]

_FEW_QUERIES = 200
_CONTROLS = {"base": "its base", "control": "stage 1 trained on for as many steps"}


def measured_limits(
    arms: Mapping[str, Sequence[GradedReport]],
    primary: str | None,
    data: Mapping[str, Any] | None,
    mining: Mapping[str, Any] | None,
    annotator: Mapping[str, Any] | None,
) -> list[str]:
    """One sentence a limit; :func:`not_better` stands elsewhere on the card."""
    reports = list(arms.get(primary or "", []))
    limits = _weak_labels(mining, annotator)
    for report in reports:
        n = max((interval.n for interval in report.metrics.values()), default=0)
        if 0 < n < _FEW_QUERIES:
            limits.append(
                f"Measured on {n} test queries of {report.task_name}: compare systems by the paired differences, "
                "not by the absolute scores."
            )
    if mapping((data or {}).get("source")).get("name") == "marketplace":
        limits.append("Trained and tested on a synthetic shop: it says nothing of how it fares on yours.")
    limits.append(
        "Tested on the catalogue and languages of its own test set only; measure it on your judgments first."
    )
    return limits


def not_better(
    arms: Mapping[str, Sequence[GradedReport]],
    primary: str | None,
    comparisons: Mapping[tuple[str, str], Mapping[str, Comparison]],
) -> list[str]:
    """Than what the model is not shown to rank better, of what it should."""
    reports = arms.get(primary or "", [])
    metric = reports[0].main_metric if reports else ""
    limits = []
    for control, what in _CONTROLS.items():
        c = comparisons.get((primary or "", control), {}).get(metric)
        if c is not None and not c.low > 0:
            limits.append(
                f"Not shown to rank better than {what}: {metric_label(metric)} differs by {signed(c.difference)} "
                f"({signed(c.low)} to {signed(c.high)}, p {p_value(c.p_value)})."
            )
    return limits


def _weak_labels(mining: Mapping[str, Any] | None, annotator: Mapping[str, Any] | None) -> list[str]:
    limits = []
    pairs = mapping((mining or {}).get("pairs"))
    if pairs.get("taken") == 0:
        unsure = pairs.get("dropped_by_confidence")
        why = f" (of {unsure:,} the annotator was not sure enough)" if unsure else ""
        limits.append(
            f"Mining took none of the {pairs.get('annotated', 0):,} pairs that it had annotated{why}: stage 2 learned "
            "from the original judgments only."
        )
    held_out = mapping((annotator or {}).get("held_out"))
    accuracy = as_interval(mapping(held_out.get("intervals")).get("accuracy"))
    majority = held_out.get("majority_share")
    if accuracy is not None and isinstance(majority, float) and accuracy.low <= majority:
        limits.append(
            f"Its annotator is not shown to beat naming the commonest grade: accuracy {number(accuracy.value)} "
            f"({number(accuracy.low)} to {number(accuracy.high)}) against {number(majority)}."
        )
    return limits
