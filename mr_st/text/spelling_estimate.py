"""Estimating the spelling channel from pairs of a correct and a misspelt text."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mr_st.errors import UsageError
from mr_st.text.spelling import EDITS_BY_LENGTH, MIXING, SpellingChannel
from mr_st.text.spelling_distance import Step, align
from mr_st.text.spelling_tables import FALLBACK, Table
from mr_st.text.spelling_tokens import Piece, case_key, clusters, is_plain, pieces

__all__ = ["estimate_channel"]


def estimate_channel(
    pairs: Iterable[tuple[str, str]], locale: str = "en", *, smoothing: float = 1.0, min_count: int = 3
) -> SpellingChannel:
    """Estimate a channel: what goes wrong with each letter after each left context, how often, and which words.

    Each pair is aligned with the fewest edits. A token with more edits than two and than half its letters counts as
    taken for another word; the edits of all others are counted by letter and by left contexts of 0 to 3 letters.

    Args:
        pairs: (correct, misspelt) texts; correct tokens in them say how rare errors are, so leave them in.
        locale: Of the texts, BCP-47.
        smoothing: What the default chances weigh, in occurrences.
        min_count: How often a letter must be seen after a context of one letter or more for that context to count.

    Raises:
        UsageError: no pair differs in a letter, or an argument is out of range.

    Example:
        >>> channel = estimate_channel([("letter", "leter"), ("better", "beter"), ("button", "button")])
        >>> max(channel.table["t"]["t"].items(), key=lambda entry: entry[1])
        ('d', 0.5)
    """
    if smoothing <= 0 or min_count < 1:
        raise UsageError(f"estimate_channel: smoothing={smoothing}, min_count={min_count}; give > 0 and >= 1")
    counts = _Counts()
    for correct, misspelt in pairs:
        counts.add(unicodedata.normalize("NFC", correct), unicodedata.normalize("NFC", misspelt))
    n_letters = sum(counts.seen[""].values())
    n_errors = sum(sum(edits.values()) for edits in counts.wrong[""].values())
    if not n_errors and not counts.swaps:
        raise UsageError("estimate_channel: no pair differs in a letter; give (correct, misspelt) texts")
    rate = n_errors / max(n_letters, 1)
    prior = {edit: rate * weight for edit, weight in FALLBACK.items()}
    n_swapped = sum(sum(wrong.values()) for wrong in counts.swaps.values())
    n_could = sum(counts.words[word] for word in counts.swaps)
    return SpellingChannel(
        locale=locale,
        table=_table(counts, prior, smoothing, min_count),
        swaps={word: tuple(sorted(wrong.elements())) for word, wrong in sorted(counts.swaps.items())},
        swap_share=(n_swapped + 0.1 * smoothing) / (n_could + smoothing),
        edits=tuple(
            (longest, _chances(counts.edits[longest], chances, smoothing)) for longest, chances in EDITS_BY_LENGTH
        ),
        fallback=prior if rate else FALLBACK,
        first_letter=1.0,  # the contexts that start with ^ tell
    )


@dataclass
class _Counts:
    """Occurrences of letters and of what went wrong with them, by left context."""

    seen: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    edits: dict[int | None, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    words: Counter[str] = field(default_factory=Counter)
    swaps: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, correct: str, misspelt: str) -> None:
        """Count one pair."""
        first, second = clusters(correct), clusters(misspelt)
        steps = align([case_key(cluster) for cluster in first], [case_key(cluster) for cluster in second])
        by_place: dict[int, list[Step]] = defaultdict(list)
        for step in steps:
            if step.kind == "insert":
                by_place[step.at - 1].append(step)  # it belongs to the letter before
            else:
                by_place[step.at].append(step)
        at = 0
        for chunk, is_blank in _chunks(first):
            for piece in () if is_blank else pieces(chunk):
                if not piece.is_protected:
                    self._add_token(piece, at, by_place)
                at += len(piece.clusters)
            at += len(chunk) if is_blank else 0

    def _add_token(self, piece: Piece, start: int, by_place: dict[int, list[Step]]) -> None:
        keys, n = [case_key(cluster) for cluster in piece.clusters], len(piece.clusters)
        found: list[tuple[int, str]] = []
        written: list[str] = []
        for at, key in enumerate(keys):
            for step in by_place[start + at]:
                written += step.after
                edit = _edit(step, key)
                if edit:
                    found.append((at, edit))
        word = "".join(keys)
        self.words[word] += 1
        if len(found) > max(2, n / 2):
            wrong = " ".join("".join(written).split())
            if wrong and all(is_plain(cluster) for cluster in wrong.split()):
                self.swaps[word][wrong] += 1
            return
        longest = next(longest for longest, _ in EDITS_BY_LENGTH if longest is None or n <= longest)
        self.edits[longest][len(found)] += 1
        for at, key in enumerate(keys):
            left = "^" + "".join(keys[:at])
            for length in range(min(len(MIXING) - 1, len(left)) + 1):
                self.seen[left[len(left) - length :]][key] += 1
        for at, edit in found:
            left = "^" + "".join(keys[:at])
            for length in range(min(len(MIXING) - 1, len(left)) + 1):
                self.wrong[left[len(left) - length :]][keys[at]][edit] += 1


def _chunks(found: list[str]) -> Iterable[tuple[str, bool]]:
    """Runs of blanks (cluster by cluster) and of anything else."""
    run = ""
    for cluster in found:
        if not cluster[0].isspace():
            run += cluster
            continue
        if run:
            yield run, False
        run = ""
        yield cluster[0], True
    if run:
        yield run, False


def _edit(step: Step, key: str) -> str:
    """A step as the tables write it; nothing where the letter was kept, or a blank or a lone mark came in."""
    after = step.after[0] if step.after else ""
    if step.kind == "keep" or (after and not is_plain(after)):
        return ""
    if step.kind == "insert":
        return "2" if after == key else f"i:{after}"
    return {"delete": "d", "transpose": "t"}.get(step.kind) or f"s:{after}"


def _table(counts: _Counts, prior: dict[str, float], smoothing: float, min_count: int) -> Table:
    table: Table = {}
    for left, letters in sorted(counts.seen.items()):
        for key, n in sorted(letters.items()):
            if left and n < min_count:
                continue
            wrong = counts.wrong[left][key] if left in counts.wrong else Counter()
            weights = {edit: count / (n + smoothing) for edit, count in sorted(wrong.items())}
            for edit, weight in prior.items() if not left else ():
                weights[edit] = weights.get(edit, 0.0) + weight * smoothing / (n + smoothing)
            table.setdefault(left, {})[key] = weights
    return table


def _chances(found: Counter[int], default: tuple[float, ...], smoothing: float) -> tuple[float, ...]:
    """How likely 0, 1, 2, ... edits are, shrunk towards the default."""
    longest = max([len(default) - 1, *found])
    prior = [*default, *[0.0] * (longest + 1 - len(default))]
    total = sum(found.values()) + smoothing
    return tuple((found[n] + smoothing * prior[n]) / total for n in range(longest + 1))
