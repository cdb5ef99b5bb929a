from __future__ import annotations

import copy
from typing import Any

from mr_st.evaluation.swapped import swapped

WORDS = {"kind": "bm25", "k1": 1.2, "analyser": {"language": "en"}}


def dense(model: str, prompt: str = "") -> dict[str, Any]:
    return {"kind": "bi-encoder", "model": model, "prompts": {"query": prompt, "item": ""}, "max_seq_length": 64}


def hybrid(*parts: dict[str, Any], depth: int = 100, names: tuple[str, ...] = ("words", "dense", "more")) -> Any:
    return {
        "kind": "hybrid", "fusion": "rrf", "depth": depth,
        "parts": [
            {"name": name, "weight": 1.0, "system": f"org/{part['kind']}", "revision": str(part), "settings": part}
            for name, part in zip(names, parts, strict=False)
        ],
    }  # fmt: skip


def said(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [str(swap) for swap in swapped(a, b)]


def test_the_same_settings_are_no_swap() -> None:
    assert swapped(hybrid(WORDS, dense("a")), copy.deepcopy(hybrid(WORDS, dense("a")))) == []


def test_all_settings_of_one_component_are_one_swap() -> None:
    (swap,) = swapped(hybrid(WORDS, dense("a")), hybrid(WORDS, dense("b", "query: ")))
    assert (swap.component, swap.kind, swap.is_one) == ("parts.dense", "changed", True)
    assert swap.settings == {"model": ("a", "b"), "prompts.query": ("", "query: ")}
    assert str(swap) == 'parts.dense (bi-encoder): model a -> b; prompts.query "" -> query: '


def test_parts_are_found_again_in_another_order_or_under_another_name() -> None:
    a = hybrid(WORDS, dense("a"))
    moved = hybrid(dense("b"), WORDS, names=("dense", "words"))
    assert said(a, moved) == ["parts.dense (bi-encoder): model a -> b"]
    renamed = hybrid(WORDS, dense("b"), names=("words", "b"))
    assert said(a, renamed) == ["parts.dense (bi-encoder): model a -> b"]


def test_the_outer_component_has_its_own_swap() -> None:
    a, b = hybrid(WORDS, dense("a")), hybrid(WORDS, dense("a"), depth=50)
    assert said(a, b) == ["the system (hybrid): depth 100 -> 50"]
    b["parts"][1]["weight"] = 2.0
    assert said(a, b) == ["the system (hybrid): depth 100 -> 50; weight of parts.dense 1.0 -> 2.0"]
    c = hybrid(WORDS, dense("b"), depth=50)
    assert len(swapped(a, c)) == 2


def test_a_part_of_another_kind_is_replaced() -> None:
    (swap,) = swapped(hybrid(WORDS, dense("a")), hybrid(WORDS, {"kind": "random", "seed": 0}))
    assert (swap.component, swap.kind, swap.control, swap.treatment) == (
        "parts.dense", "replaced", "bi-encoder a", "random",
    )  # fmt: skip


def test_a_part_more_or_less() -> None:
    two, three = hybrid(WORDS, dense("a")), hybrid(WORDS, dense("a"), dense("b"))
    assert said(two, three) == ["parts.more: added bi-encoder b"]
    assert said(three, two) == ["parts.more: removed bi-encoder b"]


def test_a_system_around_the_other_adds_one_component() -> None:
    retriever = {"system": "org/words", "revision": "1", "settings": WORDS}
    reranked = {"kind": "rerank", "depth": 100, "reranker": "cross", "retriever": retriever}
    assert said(WORDS, reranked) == ["the system: added rerank"]
    assert said(reranked, WORDS) == ["the system: removed rerank"]
    assert said(WORDS, hybrid(WORDS, dense("a"))) == ["the system: added hybrid with bi-encoder a"]
    other = {**reranked, "retriever": {"system": "org/h", "revision": "2", "settings": hybrid(WORDS, dense("a"))}}
    assert said(reranked, other) == ["retriever: added hybrid with bi-encoder a"]


def test_whole_systems_of_different_kinds() -> None:
    (one,) = swapped(WORDS, dense("a"))
    assert (one.kind, one.is_one) == ("replaced", True)
    (many,) = swapped(dense("b"), hybrid(WORDS, dense("a")))
    assert not many.is_one, "nothing of the one is in the other"
    assert str(many) == "the system: bi-encoder b -> hybrid of bm25 and bi-encoder a"


def test_what_is_told_is_json_and_short() -> None:
    (swap,) = swapped({**WORDS, "stop_words": ["the"] * 100}, {**WORDS, "stop_words": None})
    assert swap.to_dict()["settings"] == {"stop_words": [["the"] * 100, None]}
    assert len(str(swap)) < 150
