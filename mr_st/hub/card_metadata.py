"""The metadata block of a card: written for the Hub, checked as the Hub's client checks it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError
from mr_st.hub_client import is_hub_id, license_terms
from mr_st.text.markdown import flatten
from mr_st.text.wording import metric_label

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from mr_st.evaluation import GradedReport

__all__ = ["card_metadata", "check_card"]

_TAGS = [
    "sentence-transformers",
    "sentence-similarity",
    "feature-extraction",
    "graded-relevance",
    "e-commerce",
    "product-search",
    "mr-st",
]
_RANKING = re.compile(r"(ndcg|recall|precision)@\d+(/\d+)?")


def card_metadata(
    model_id: str,
    reports: Sequence[GradedReport],
    *,
    base_model: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    datasets: Sequence[str] = (),
) -> str:
    """The block's YAML, without its fences. What is no Hub id, language code or known licence does not enter it.

    Args:
        model_id: Its last part names the model in ``model-index``.
        reports: Of the card's model; their ranking metrics are the results in ``model-index``.
        base_model: Hub id.
        license: An SPDX id, or any name.
        language: ISO 639 codes.
        datasets: Hub ids of the training data.
    """
    from huggingface_hub import ModelCardData

    languages = [language] if isinstance(language, str) else list(language or [])
    results = [result for report in reports for result in _eval_results(report)]
    is_model = base_model is not None and is_hub_id(base_model) and not base_model.startswith("local/")
    card_data = ModelCardData(
        language=[code for code in languages if re.fullmatch(r"[a-z]{2,3}", code)] or None,
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=_TAGS,
        base_model=base_model if is_model else None,
        datasets=[name for name in datasets if is_hub_id(name)] or None,
        model_name=flatten(model_id.rsplit("/", 1)[-1]) or "model" if results else None,
        eval_results=results or None,
        **license_terms(license),
    )
    return card_data.to_yaml()


def _eval_results(report: GradedReport) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    protocol = report.protocol
    dataset = protocol.get("dataset")
    if not isinstance(dataset, Mapping):
        dataset = {}
    return [
        EvalResult(
            task_type="information-retrieval",
            task_name="Graded product retrieval",
            dataset_type=re.sub(r"[^a-z0-9._-]+", "-", report.task_name.lower()).strip("-") or "dataset",
            dataset_name=flatten(str(dataset.get("name") or report.task_name)) or "dataset",
            dataset_split=flatten(str(protocol.get("split", "test"))),
            dataset_revision=flatten(str(dataset["fingerprint"])) if dataset.get("fingerprint") else None,
            metric_type=name,
            metric_name=metric_label(name),
            metric_value=round(interval.value, 5),
        )
        for name, interval in report.metrics.items()
        if interval.n and math.isfinite(interval.value) and _RANKING.fullmatch(name)
    ]


def check_card(card: str) -> None:
    """Check a card's metadata as the Hub's client does, without the network, and that what it holds makes sense.

    Raises:
        MrStError: there is no metadata block, or it is not what the Hub reads.
    """
    import yaml
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if not REGEX_YAML_BLOCK.search(card):
        raise MrStError("README.md: starts with no metadata block (---); rebuild the card")
    try:
        data = ModelCard(card).data
        parsed = data.to_dict()
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MrStError(f"README.md: its metadata is not valid ({reason}); rebuild the card") from error
    for key in ("license", "license_name", "library_name", "pipeline_tag"):
        if key in parsed and not isinstance(parsed[key], str):
            raise _wrong(key, "text", parsed[key])
    for key in ("tags", "datasets", "language", "base_model", "metrics"):
        found = parsed.get(key)
        texts = [found] if isinstance(found, str) else [] if found is None else found
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _wrong(key, "text or a list of texts", found)
        if key in ("datasets", "base_model"):
            for text in texts:
                if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", text, re.ASCII):
                    raise _wrong(key, "a Hub id", text)
    for result in getattr(data, "eval_results", None) or []:
        value = result.metric_value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise _wrong(f"model-index, {result.metric_type}", "a number", value)


def _wrong(key: str, expected: str, found: Any) -> MrStError:
    return MrStError(f"README.md: metadata {flatten(key)} must be {expected}, found {found!r:.60}; rebuild the card")
