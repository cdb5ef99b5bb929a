"""Human judgments as the chat JSONL with which hosted services fine-tune their models."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mr_st.annotation.guideline import Guideline
from mr_st.annotation.prompt import GradePrompt
from mr_st.data.dataset import GradedDataset
from mr_st.errors import UsageError
from mr_st.files import atomic_path, ensure_writable, write_json
from mr_st.training.holdout import LabelledPairs, hold_out

__all__ = ["ChatExport", "ChatFile", "write_chat_jsonl"]

_BYTES_PER_TOKEN = 4  # of English text in the vocabularies of today; other scripts need more tokens


@dataclass(frozen=True)
class ChatFile:
    """One file of chat examples.

    Args:
        name: The file's name.
        n_pairs: Lines.
        n_queries: Different queries.
        by_grade: Lines of each grade, lowest first.
        n_characters: In all messages.
        n_tokens: About as many: a quarter of the messages' UTF-8 bytes.
    """

    name: str
    n_pairs: int
    n_queries: int
    by_grade: tuple[int, ...]
    n_characters: int
    n_tokens: int


@dataclass(frozen=True)
class ChatExport:
    """What :func:`write_chat_jsonl` wrote.

    Args:
        folder: Where the files lie.
        train: To learn from.
        validation: Other queries, to choose by.
    """

    folder: Path
    train: ChatFile
    validation: ChatFile


def write_chat_jsonl(
    dataset: GradedDataset,
    out_dir: str | Path,
    *,
    guideline: str | Path | Guideline = "three_grades",
    split: str = "train",
    holdout_share: float = 0.15,
    seed: int = 0,
    defended: bool = True,
    item_text_levels: int | None = 2,
    max_chars: int | None = 400,
) -> ChatExport:
    """Write ``train.jsonl`` and ``validation.jsonl``: a line ``{"messages": [system, user, assistant]}`` for a pair.

    The messages are those that ``EndpointAnnotator`` sends, the answer the grade's number alone, so the tuned model
    is asked as it was taught. Queries are split as :func:`~mr_st.training.fit_cross_encoder` and
    :func:`~mr_st.training.fit_llm_annotator` split them with the same share and seed. Lines stand in a seeded random
    order, in UTF-8; ``export.json`` beside them says what was written from what.

    Args:
        dataset: Human judgments.
        out_dir: A folder; the three files in it are replaced one by one, each at once.
        guideline: ``"three_grades"``, ``"brief"``, a Markdown file, or a Guideline; of the data's number of grades.
        split: Whose judgments.
        holdout_share: Share of the queries in ``validation.jsonl``, in 0..1, ends excluded.
        seed: Of that choice and of the order.
        defended: As :class:`~mr_st.annotation.prompt.GradePrompt` takes it.
        item_text_levels: Taxonomy levels in an item's text.
        max_chars: Where an item's text is cut.

    Returns:
        Counts, and about how many tokens an epoch has: what services charge by.

    Raises:
        UsageError: a share out of range, too few queries to hold any out, one grade only to learn from, or a guideline
            of another number of grades.
        MrStError: the folder cannot be written.
    """
    rules = guideline if isinstance(guideline, Guideline) else Guideline.load(guideline)
    if rules.n_grades != dataset.scale.n_grades:
        raise UsageError(
            f"guideline {rules.name!r} defines {rules.n_grades} grades and {dataset.name} has "
            f"{dataset.scale.n_grades}; give a guideline of as many"
        )
    learn, held = hold_out(dataset, split, holdout_share, seed, item_text_levels, max_chars)
    folder = ensure_writable(Path(out_dir))
    prompt = GradePrompt(rules, defended)
    export = ChatExport(
        folder,
        _write(folder / "train.jsonl", prompt, learn, seed),
        _write(folder / "validation.jsonl", prompt, held, seed),
    )
    about: dict[str, Any] = {
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint, "split": split},
        "guideline": rules.name, "prompt": prompt.settings, "holdout_share": holdout_share, "seed": seed,
        "item_text_levels": item_text_levels, "max_chars": max_chars,
        "train": asdict(export.train), "validation": asdict(export.validation),
    }  # fmt: skip
    write_json(folder / "export.json", about)
    return export


def _write(path: Path, prompt: GradePrompt, part: LabelledPairs, seed: int) -> ChatFile:
    """Write one file line by line; it is there whole or not at all."""
    n_characters = n_bytes = 0
    pairs, grades = part.pairs, part.grades.tolist()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for row in np.random.default_rng(seed).permutation(len(grades)).tolist():
            messages = [
                *prompt.messages(pairs.query_texts[row], pairs.item_texts[row]),
                {"role": "assistant", "content": prompt.answer(grades[row])},
            ]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
            n_characters += sum(len(message["content"]) for message in messages)
            n_bytes += sum(len(message["content"].encode()) for message in messages)
    by_grade = np.bincount(part.grades, minlength=prompt.guideline.n_grades).tolist()
    tokens = -(-n_bytes // _BYTES_PER_TOKEN)
    return ChatFile(path.name, len(grades), len(set(pairs.query_ids)), tuple(by_grade), n_characters, tokens)
