"""Every number on a committed card, looked for where it was measured: its results, report.json, shrink.json, recipe.

Each place of the card knows which figures belong there, and in which order: a number that merely stands somewhere else
in the results is not found. Whatever has a number and is not known here is reported too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

NUMBER = re.compile(r"(?<![\w.@/\\-])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?(?!\w|\.\d|,\d)")
_QUIET = re.compile(r"(?ms)^```bibtex\n.*?^```|(?<!`)`[^`\n]+`|\]\([^)\n]*\)")
_ARMS = {
    "Base, not trained": "base", "Stage 1: the judgments": "stage1", "Stage 2: mined and refined": "stage2",
    "Control: stage 1 trained on for as many steps": "control",
}  # fmt: skip
_SHORT = {"base": "base", "stage 1": "stage1", "stage 2": "stage2", "control arm": "control"}
_METRICS = {"NDCG": "ndcg", "Recall": "recall", "Precision": "precision", "Judged share": "judged"}
_PARTS = {"head: the most frequent queries": "head", "tail: rare queries": "tail", "misspelt queries": "misspelt"}


class Unproven(Exception):
    """A place of the card whose numbers have no source."""


class Sources:
    """What a folder of model_cards/ measured."""

    def __init__(self, folder: Path):
        self.recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
        self.report = json.loads((folder / "report.json").read_text())
        shrunk = folder / "shrink.json"
        self.shrink = json.loads(shrunk.read_text()) if shrunk.is_file() else {}
        self.made_of = self.report["made_of"]
        repo = self.recipe["publish"]["repo_id"]
        names = {repo: "stage2", f"{repo}-stage1": "stage1", f"{repo}-control": "control"}
        self.arms: dict[str, dict[str, dict[str, Any]]] = {}
        for path in (folder / "results").glob("*/*/*.json"):
            if path.name != "model_meta.json":
                content = json.loads(path.read_text())
                subsets = {s["hf_subset"]: s["graded"] for s in content["scores"][self.recipe["evaluation"]["split"]]}
                self.arms[names.get(subsets["default"]["model"]["name"], "base")] = subsets
        self.own = self.arms["stage2"]["default"]
        self.grades = self.own["protocol"]["grades"]

    @cached_property
    def prose(self) -> dict[str, dict[str, list[Any]]]:
        """The figures that belong into each line with numbers, by section and how the line begins."""
        return _prose(self)

    def metric(self, name: str, arm: str = "stage2", subset: str = "default") -> list[float]:
        value, low, high, n = self.arms[arm][subset]["metrics"][name]
        return [] if not n else [value] if low is None else [value, low, high]

    def compared(self, control: str, metric: str = "ndcg@10", treatment: str = "stage2") -> dict[str, Any]:
        return self.report["comparisons"][f"{treatment} against {control}"][metric]

    def boundary(self, label: str) -> dict[str, Any]:
        grade = self.grades.index(label.removeprefix("at least "))
        return next(b for b in self.own["separability"]["boundaries"] if b["boundary"] == grade)


def interval(found: Mapping[str, Any]) -> list[float]:
    """An interval of JSON as the card prints it."""
    return [found["value"]] if found["low"] is None else [found["value"], found["low"], found["high"]]


def is_rounded(text: str, value: float) -> bool:
    """Whether a printed number is that value, rounded to as many places as are printed."""
    plain = text.replace(",", "").replace("−", "-").rstrip("%")
    digits = re.sub(r"e.*", "", plain).partition(".")[2]
    value = value * 100 if text.endswith("%") else value
    exponent = int(plain.partition("e")[2] or 0)
    return math.isclose(float(plain), value, rel_tol=0, abs_tol=0.5000001 * 10.0 ** (exponent - len(digits)))


def expect(where: str, text: str, values: list[Any]) -> None:
    """Refuse a text whose numbers are not these, in this order."""
    found = NUMBER.findall(_QUIET.sub(" ", text))
    if len(found) != len(values) or not all(map(is_rounded, found, values)):
        raise Unproven(f"{where}: {text.strip()!r} prints {found}, measured {values}")


def unproven(card: str, sources: Sources) -> list[str]:
    """The places of a card whose numbers are not what was measured."""
    faults = []
    for check, *arguments in _places(card, sources):
        try:
            check(*arguments)
        except (Unproven, LookupError, ValueError, RuntimeError, StopIteration, TypeError) as fault:
            faults.append(f"{type(fault).__name__}: {fault}"[:300])
    return faults


def _places(card: str, s: Sources) -> Iterator[tuple[Any, ...]]:
    """Each place with numbers, with what checks it."""
    _, block, body = card.split("---\n", 2)
    yield _metadata, block, s
    section, head, fence = "", [], False
    for line in _QUIET.sub(
        lambda m: "" if m[0].startswith("```") else " " if m[0].startswith("`") else m[0], body
    ).splitlines():
        if line.startswith("```"):
            fence = not fence
        elif line.startswith("#") and not fence:
            section, head = line.lstrip("# "), []
            expect_in = s.recipe["name"] if line.startswith("# ") else section
            yield expect, section, expect_in, []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if set(line) <= set("|-"):
                continue
            if not head:
                head = cells
                if head[0] == "Result":
                    yield _row, section, head, head, s
                elif section != "Smaller and faster" and not head[1].startswith("K ="):
                    yield expect, section, re.sub(r"@\d+", "", line), []
            else:
                yield _row, section, head, cells, s
        else:
            head = [] if not line.strip() else head
            yield _line, section, line, s


def _metadata(block: str, s: Sources) -> None:
    for result in yaml.safe_load(block)["model-index"][0]["results"]:
        if result["dataset"]["revision"] != s.own["protocol"]["dataset"]["fingerprint"]:
            raise Unproven("metadata: another dataset")
        for metric in result["metrics"]:
            if _metric(metric["name"]) != metric["type"]:
                raise Unproven(f"metadata: {metric['type']} is called {metric['name']}")
            value = s.own["metrics"][metric["type"]][0]
            if round(value, 5) != metric["value"]:
                raise Unproven(f"metadata, {metric['type']}: {metric['value']}, measured {value}")


def _row(section: str, head: list[str], cells: list[str], s: Sources) -> None:
    values = list(_values(section, head, cells, s))
    if len(values) != len(cells):
        raise Unproven(f"{section}: a table that is not known: {head}")
    for cell, expected in zip(cells, values, strict=True):
        if cell == "< 0.001" and len(expected) == 1 and expected[0] < 0.001:
            continue
        expect(f"{section}, {cells[0]}", cell, expected)


def _values(section: str, head: list[str], cells: list[str], s: Sources) -> Iterator[list[Any]]:
    """The figures that belong into each cell of a row."""
    first = cells[0]
    if head[0] == "Result":
        c = s.compared("base")
        facts = {
            "Result": s.metric("ndcg@10") + s.metric("ndcg@10", "base") + [c["difference"], c["low"], c["high"]],
            "Embedding": [s.report["model"]["dim"]],
            "Longest input": [s.report["model"]["max_seq_length"]],
            "Parameters": [s.report["model"]["n_parameters"] / 1e6],
        }
        yield from ([], facts.get(first, []))
    elif section == "Smaller and faster":
        yield from _shrunk(head, first, s)
    elif head[0] == "Grade":
        b = s.boundary(first)
        yield []
        yield from (interval(b[key]) for key in ("threshold", "precision", "recall", "f1"))
        yield from ([b["f1_cross_fitted"]], [b["f1_of_all"]])
    elif head[:3] == ["Queries", "n", "Grade"]:
        attribute, _, name = first.partition(": ")
        attribute = {"seen in training": "seen"}.get(attribute, attribute)
        part = next(p for p in s.boundary(cells[2])["strata"] if (p["attribute"], p["name"]) == (attribute, name))
        yield from ([], [part["n_queries"]], [], interval(part["threshold"]), [part["f1_lost_cross_fitted"]])
    elif head[0] == "Queries":
        subset = _PARTS.get(first) or first.removeprefix("language ").removeprefix("queries ").replace(
            " in training", ""
        )
        yield from ([], [s.arms["stage2"][subset]["protocol"]["n_queries"]])
        for column in head[2:]:
            arm = "base" if column.endswith(" of the base") else "stage2"
            yield s.metric(_metric(column.removesuffix(" of the base")), arm, subset)
    elif head[0] == "Comparison":
        treatment, _, control = first.partition(" against ")
        c = s.compared(_SHORT[control], _metric(cells[1]), _SHORT[treatment])
        name = [int(n) for n in re.findall(r"Margin (\d) over (\d)", cells[1])[0]] if "Margin" in cells[1] else []
        yield from (
            [int(n) for n in re.findall(r"\d", treatment)] + [int(n) for n in re.findall(r"\d", control)],
            name,
            [c["difference"], c["low"], c["high"]],
            [c["p_value"]],
            [c["wins"], c["losses"], c["ties"]],
        )
    elif head[0] == "Grades":
        high, low = (s.grades.index(name) for name in first.split(" over "))
        pair = next(p for p in s.own["separability"]["pairs"] if (p["high"], p["low"]) == (high, low))
        yield []
        yield from (interval(pair[key]) for key in ("auc_per_query", "auc_pooled", "overlap"))
        yield from (s.metric(f"margin_{kind}_{high}_{low}") for kind in ("average", "worst"))
    elif head[0] == "Split":
        split = s.made_of["data"]["splits"][first]
        yield from ([], [split["queries"]], [split["judgments"]])
        yield from ([split["label_shares"][grade]] for grade in head[3:])
    elif head[0] == "Stage":
        stage = s.made_of["stages"][_ARMS[first]]
        is_learned = stage["loss_config"].get("learn_temperature")
        settings = {k: v for k, v in stage["loss_config"].items() if not (is_learned and k == "temperature_range")}
        yield from (_numbers(first), [], [stage["steps"]], [_time(stage["seconds"])], list(_leaves(settings)))
    elif head[0] == "" and head[1].startswith("K ="):
        yield _numbers(first) if "≥" in first else []
        yield from (s.metric(_metric(first, k.removeprefix("K = "))) for k in head[1:])
    elif head[0] == "":
        yield _numbers(first)
        yield from (s.metric(_metric(column), _ARMS[first]) for column in head[1:])


def _shrunk(head: list[str], first: str, s: Sources) -> Iterator[list[Any]]:
    row = next(row for row in s.shrink["settings"] if row["name"] == first)
    change = row["difference"]
    yield from (_numbers(first), [row["bytes_per_vector"]], [row["metrics"][s.shrink["metric"]]["value"]])
    yield [] if change is None else [change["value"], change["low"], change["high"]]
    for column in head[4:]:
        if match := re.fullmatch(r"(Margin|AUC) (\d) over (\d)", column):
            pair = next(p for p in row["separability"] if (str(p["high"]), str(p["low"])) == match.groups()[1:])
            found = pair["margin_average" if match[1] == "Margin" else "auc_per_query"]
            yield [found["value"] if isinstance(found, dict) else found]
        else:
            found = row["search_ms" if column.startswith("Search") else "encode_texts_per_second"]
            yield [] if found is None else [found]


def _line(section: str, line: str, s: Sources) -> None:
    """A line of prose or of a list."""
    if not NUMBER.search(_QUIET.sub(" ", line)):
        return
    name, *_ = line.removeprefix("- ").partition(": ")
    for start, values in s.prose.get(section, {}).items():
        if line.startswith(start) or (line.startswith("- ") and name == start):
            expect(f"{section}, {name}", line, values)
            return
    raise Unproven(f"{section}: not known: {line!r}")


def _prose(s: Sources) -> dict[str, dict[str, list[Any]]]:
    data, mining, annotator = s.made_of["data"], s.made_of["mining"], s.made_of["annotator"]
    counts, protocol, how = data["counts"], s.own["protocol"], s.own["protocol"]["interval"]
    pairs, unseen = mining["pairs"], data["unseen"]["test"]
    naive, used = pairs["would_be_negatives"], mining["settings"]
    last, k = pairs["last_negative_rank"], pairs["k"]
    held_out = annotator.get("held_out", {})
    measured = held_out.get("intervals", {})
    threshold = [b["threshold"]["value"] for b in s.own["separability"]["boundaries"]]
    not_better = {
        what: [c["difference"], c["low"], c["high"], c["p_value"]]
        for what, c in (("its base", s.compared("base")), ("stage 1", s.compared("control")))
    }
    taken = [of["pairs"] for of in pairs["taken_by_kind"].values()]
    times = [
        _time(v) for n, v in s.made_of["seconds"].items() if v >= 1 and "/" not in n and n not in ("data", "tower")
    ]
    wrong = [x for of, rank in ((naive["to_boundary"], last), (naive["to_k"], k))
             for x in (rank, of["share_positive"], of["pairs"], 0.95 * 100, of["low"], of["high"])]  # fmt: skip
    accuracy = interval(measured["accuracy"]) if measured else []
    return {
        s.recipe["name"]: {s.recipe["description"][:20]: [float(n) for n in _numbers(s.recipe["description"])]},
        "What it is for, and what not": {
            "- **Know first**: Not shown to rank better than its base": not_better["its base"],
            "- **Know first**: Not shown to rank better than stage 1": [1, *not_better["stage 1"]],
        },
        "How to load and search": {
            "accepted = ": [threshold[-1]],
            "- An item is its title": [s.recipe["data"]["item_text_levels"], protocol["item_text"]["max_chars"]],
            "- Vectors have": [s.report["model"]["dim"], 1],
        },
        "Thresholds": {f"{protocol['n_judged_pairs']:,} judged pairs": [protocol["n_judged_pairs"], 95]},
        s.recipe["evaluation"]["task"]: {
            "Full catalogue": [protocol["n_items"], protocol["n_queries"], protocol["n_judged_pairs"],
                               *protocol["gains"], *protocol["item_text"].values()],
            "In brackets": [how["confidence"] * 100, *(float(n) for n in _numbers(how["method"]))],
            "Recall and precision count": [1],
        },
        "Paired comparisons": {"The same queries": [95]},
        "Separability": {"higher similarity": [0]},
        "Data": {
            "Made from": list(_leaves(data["source"])),
            "Holds": [counts["queries"], counts["items"], counts["judgments"]],
            "Judged by": list(data["judgment_sources"].values()),
            "Query locales": list(data["query_locales"].values()),
            "Query kinds": list(data["query_kinds"].values()),
            "Test queries whose text training never saw": [unseen["texts_unseen_share"]],
            "Test items that training never saw": [unseen["items_unseen_share"]],
        },
        "Training": {"Hardware": [*(float(n) for n in _numbers(s.made_of["hardware"])), *_with_names(s, times)]},
        "Mining": {
            "Searched": [mining["items"], mining["queries"]],
            "Settings": [used[key] for key in ("k", "boundary", "min_confidence", "min_judged", "last_negative_rank")
                         if used.get(key) is not None],
            "Retrieved pairs": [pairs["retrieved"]],
            "Annotated pairs": [pairs["annotated"]],
            "Taken pairs": [pairs["taken"], *taken],
            "- Graded 1 or more": [1, *wrong],
        },
        "Annotator": {} if not held_out else {
            "Learned from": [annotator["learned_from"]["n_pairs"], annotator["learned_from"]["n_queries"]],
            "On held-out judgments": [held_out["n_pairs"], held_out["n_queries"], *accuracy,
                                      *interval(measured["kappa"]), *interval(measured["within_one"]),
                                      held_out["majority_share"]],
        },
        "Smaller and faster": _of_shrink(s),
        "Limits": {
            "- Measured on": [protocol["n_queries"]],
            "- Mining took none of the": [pairs["annotated"], pairs["dropped_by_confidence"], 2],
            "- Its annotator is not shown": [*accuracy, held_out.get("majority_share")],
        },
    }  # fmt: skip


def _of_shrink(s: Sources) -> dict[str, list[Any]]:
    if not s.shrink:
        return {}
    protocol, advice = s.shrink["protocol"], s.shrink["recommendation"]["text"]
    how = [str(protocol[key]) for key in ("search_speed", "encode_speed") if protocol.get(key)]
    return {
        "Measured on": [protocol["n_queries"], 95, *_numbers(". ".join(how))],
        advice[:10]: _numbers(advice),
    }


def _with_names(s: Sources, times: list[float]) -> list[float]:
    """Times with the numbers in the names of their steps."""
    names = [n for n, v in s.made_of["seconds"].items() if v >= 1 and "/" not in n and n not in ("data", "tower")]
    found: list[float] = []
    for name, time in zip(names, times, strict=True):
        found += [*(float(n) for n in re.findall(r"(?<=stage)\d", name)), time]
    return found


def _numbers(text: str) -> list[float]:
    """The numbers in a text of the sources; shares as such."""
    found = [n.replace(",", "").replace("−", "-") for n in NUMBER.findall(text)]
    return [float(n[:-1]) / 100 if n.endswith("%") else float(n) for n in found]


def _leaves(value: Any) -> Iterator[float]:
    """The numbers of a record in its order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from _leaves(element)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def _metric(label: str, k: str = "") -> str:
    """A metric by what the card calls it."""
    if match := re.fullmatch(r"Margin (\d) over (\d), (average|worst) ?(?:case)?", label):
        return f"margin_{match[3]}_{match[1]}_{match[2]}"
    match = re.fullmatch(r"([A-Za-z ]+?)(?:@(\d+))?(?:, grade ≥ (\d))?", label)
    if match is None:
        raise Unproven(f"no metric: {label!r}")
    return f"{_METRICS[match[1]]}@{match[2] or k}" + (f"/{match[3]}" if match[3] else "")


def _time(seconds: float) -> float:
    return seconds if seconds < 120 else seconds / 60 if seconds < 7200 else seconds / 3600
