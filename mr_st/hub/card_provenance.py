"""Where a model comes from: its data, its training stages, its mining and its annotator, as they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mr_st.hub.card_results import arm_title
from mr_st.hub.card_words import duration, facts, interval_cell, mapping, plain, words
from mr_st.text.markdown import Markdown, code, escape, number, table

__all__ = ["annotator_facts", "data_facts", "item_format", "mining_facts", "split_table", "stage_table", "time_line"]

_STEPS = {
    "annotator": "annotator", "augment": "augmentation", "stage1": "stage 1", "mining": "mining",
    "stage2": "stage 2", "control": "control arm", "average": "average",
}  # fmt: skip
_KINDS = {
    "policy": "The shop's own policy, which also made the judgments: its labels are true by construction",
    "cross_encoder": "A cross-encoder that learned the training judgments",
    "llm": "A language model",
    "saved": "One that was fitted before",
}


def data_facts(data: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the data is, under which licence, how it was made and judged, as ``GradedDataset.describe`` tells it."""
    if not data:
        return []
    counts = mapping(data.get("counts"))
    unseen = mapping(mapping(data.get("unseen")).get("test"))
    shown: dict[str, Any] = {
        "name": data.get("name"),
        "licence": data.get("license"),
        "made from": data.get("source"),
        "holds": ", ".join(f"{plain(counts[k])} {k}" for k in ("queries", "items", "judgments") if k in counts),
        "judged by": data.get("judgment_sources"),
        "query locales": data.get("query_locales"),
        "query kinds": data.get("query_kinds"),
        "test queries whose text training never saw": _share(unseen.get("texts_unseen_share")),
        "test items that training never saw": _share(unseen.get("items_unseen_share")),
        "fingerprint": code(data["fingerprint"]) if data.get("fingerprint") else None,
    }
    return facts(shown)


def split_table(data: Mapping[str, Any] | None) -> Markdown | None:
    """One row a split: queries, judgments, and the share of each grade."""
    splits = {name: mapping(of) for name, of in mapping((data or {}).get("splits")).items()}
    grades = list(dict.fromkeys(grade for of in splits.values() for grade in mapping(of.get("label_shares"))))
    if not splits:
        return None
    rows = []
    for name, of in splits.items():
        shares = mapping(of.get("label_shares"))
        cells = [_share(shares.get(grade)) or Markdown("–") for grade in grades]
        rows.append([name, plain(of.get("queries")), plain(of.get("judgments")), *cells])
    return table(["Split", "Queries", "Judgments", *grades], rows)


def stage_table(stages: Mapping[str, Mapping[str, Any]]) -> Markdown | None:
    """One row a training stage: its loss with the parameters it learned or was given, its steps and its time."""
    rows: list[list[Any]] = []
    for name, record in stages.items():
        settings = mapping(record.get("loss_config")) or mapping(record.get("loss_state"))
        names = [record.get("loss"), settings.pop("loss", None), settings.pop("name", None)]
        loss = next((str(name) for name in names if name), None)
        steps = record.get("steps")
        rows.append(
            [
                arm_title(name),
                Markdown("–") if loss is None else code(loss),
                f"{steps:,}" if isinstance(steps, int) else Markdown("–"),
                duration(record.get("seconds")),
                Markdown(
                    ", ".join(f"{escape(words(k))} {escape(v)}" for k, v in _loss_settings(settings).items()) or "–"
                ),
            ]
        )
    return table(["Stage", "Loss", "Steps", "Time", "Learned or set"], rows) if rows else None


def _loss_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """What is set, in a few words; a temperature that was learned says so."""
    shown = {key: plain(value) for key, value in settings.items() if value is not None}
    is_learned = shown.pop("learn_temperature", "no") == "yes"
    if "temperature" in shown and is_learned:
        shown["temperature"] += " (learned)"
        shown.pop("temperature_range", None)
    return shown


def time_line(seconds: Mapping[str, float] | None) -> str:
    """How long each step took, those that make no model left out."""
    worth = {name: value for name, value in (seconds or {}).items() if name in _STEPS and value >= 1}
    known = [(_STEPS[name], duration(value)) for name, value in worth.items()]
    return ", ".join(f"{name} {time}" for name, time in known)


def mining_facts(report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the miner searched, had graded and took.

    Args:
        report: ``RefinementSet.report``, or any facts.
    """
    if not report or "pairs" not in report:
        return facts(report or {})
    from mr_st.mining.report_text import report_facts

    found = report_facts(report)
    settings = {k: v for k, v in mapping(found.pop("settings")).items() if k in _SETTINGS and v is not None}
    model = found.pop("model", None)
    for known in ("dataset", "search"):
        found.pop(known, None)
    searches = ", ".join(f"{escape(how['source'])} ({escape(how['kind'])} search)" for how in report["search"])
    found["annotator"] = code(found["annotator"])
    return facts(
        {
            "searched": f"{plain(found.pop('items'))} items for {plain(found.pop('queries'))} training queries",
            "found by": Markdown(f"{searches}; the model is {code(model)}"),
            "settings": settings,
            **found,
        }
    )


_SETTINGS = ("k", "boundary", "last_negative_rank", "min_confidence", "min_judged", "max_negatives", "max_positives",
             "near_duplicates")  # fmt: skip


def annotator_facts(annotator: Mapping[str, Any] | None, recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Who graded the mined pairs, and how well, as measured on judgments held out.

    Args:
        annotator: ``identity`` and what else was recorded of it.
        recipe: For the kind of annotator.
    """
    if not annotator:
        return []
    kind = mapping(recipe.get("annotator")).get("kind")
    learned, held_out = mapping(annotator.get("learned_from")), mapping(annotator.get("held_out"))
    intervals = mapping(held_out.get("intervals"))
    shown: dict[str, Any] = {
        "kind": _KINDS.get(str(kind)),
        "identity": code(annotator["identity"]) if annotator.get("identity") else None,
        "base": annotator.get("base"),
    }
    if learned:
        shown["learned from"] = f"{plain(learned.get('n_pairs'))} pairs of {plain(learned.get('n_queries'))} queries"
    if held_out:
        of = f"{plain(held_out.get('n_pairs'))} pairs of {plain(held_out.get('n_queries'))} queries"
        measured = [
            f"{name} {interval_cell(intervals.get(key)) if key in intervals else number(held_out.get(key))}"
            for key, name in (("accuracy", "accuracy"), ("kappa", "kappa"), ("within_one", "within one grade"))
            if held_out.get(key) is not None
        ]
        shown["on held-out judgments"] = Markdown(
            f"{escape(of)}: {', '.join(measured)}; always naming the commonest grade would reach "
            f"{number(held_out.get('majority_share'))}"
        )
    known = {"identity", "base", "learned_from", "held_out", "data", "settings", "training", "protocol", "temperature",
             "calibrated_on", "calibration_error_at_temperature_1", "random_items"}  # fmt: skip
    return facts({**shown, **{k: v for k, v in annotator.items() if k not in known}})


def item_format(recipe: Mapping[str, Any]) -> tuple[str, str]:
    """An example item text as the model was trained on, and a sentence that says how it is made."""
    from mr_st.data import format_item

    data = mapping(recipe.get("data"))
    levels, max_chars = data.get("item_text_levels", 2), data.get("max_chars", 400)
    path = ["Sports", "Shoes", "Running shoes"]
    example = format_item("Trail running shoes, red", path, levels=levels, max_chars=max_chars)
    if not data:
        return example, "Write an item as its title, a full stop, and its category path, as in the example."
    if levels == 0:
        return example, f"An item is its title alone, cut at {max_chars} characters."
    depth = "the whole category path" if levels is None else f"the first {levels} levels of its category path"
    return example, f"An item is its title, then {depth}, as in the example, cut at {max_chars} characters."


def _share(value: Any) -> Markdown | None:
    return Markdown(f"{value:.0%}") if isinstance(value, (int, float)) and not isinstance(value, bool) else None
