"""The committed cards: each number on them is what was measured, and a changed one is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from card_numbers import NUMBER, Sources, unproven

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
NAMES = sorted(path.parent.name for path in CARDS.glob("*/README.md"))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_card_is_found_where_it_was_measured(name: str) -> None:
    card = (CARDS / name / "README.md").read_text(encoding="utf-8")
    assert unproven(card, Sources(CARDS / name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_number_is_found_wherever_it_stands(name: str) -> None:
    card, sources = (CARDS / name / "README.md").read_text(encoding="utf-8"), Sources(CARDS / name)
    places = [m for m in re.finditer(NUMBER, card) if is_figure(card, m)]
    assert len(places) > 150
    missed = []
    for place in places:
        digit = re.search(r"\d(?=\D*$)", place[0])  # the last one: the smallest change that shows
        assert digit is not None
        at = place.start() + digit.start()
        changed = f"{card[:at]}{(int(card[at]) + 5) % 10}{card[at + 1 :]}"
        if not unproven(changed, sources):
            line = card[card.rfind("\n", 0, at) + 1 : card.find("\n", at)]
            missed.append(f"{place[0]} in {line[:120]}")
    assert missed == []


def is_figure(card: str, place: re.Match[str]) -> bool:
    """Whether a number is one of the card's own: not in code, in a bibliography, in a column's head or in a name."""
    line = card[card.rfind("\n", 0, place.start()) + 1 : card.find("\n", place.end())]
    quiet = re.finditer(r"(?ms)^```bibtex\n.*?^```|(?<!`)`[^`\n]+`|\]\([^)\n]*\)", card)
    if any(m.start() <= place.start() < m.end() for m in quiet):
        return False
    return not re.match(r"\|  \| K = |.*model-index|- name: |.*revision: ", line)


def test_a_measured_number_that_changes_is_found_too(tmp_path: Path) -> None:
    name = NAMES[0]
    sources = Sources(CARDS / name)
    card = (CARDS / name / "README.md").read_text(encoding="utf-8")
    sources.own["metrics"]["ndcg@10"][0] += 0.01
    assert len(unproven(card, sources)) >= 3  # metadata, headline, tables
