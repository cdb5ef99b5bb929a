"""Retrieval data in MTEB's or BEIR's form, from a folder or from the Hub: corpus, queries and qrels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.dataset import GradedDataset
from mr_st.data.mteb_form import EXPORT_SETTINGS
from mr_st.data.schema import SPLITS, to_dataset
from mr_st.data.sources.beir_files import (
    BEIR_PATTERNS,
    find_file,
    is_beir_folder,
    read_jsonl,
    read_qrels,
    require_files,
)  # fmt: skip
from mr_st.data.sources.hub_files import fetch, look
from mr_st.data.sources.mteb_configs import card_metadata, has_mteb_configs, read_configs
from mr_st.data.sources.mteb_export import EXPORT_FILES, is_export_folder, load_export
from mr_st.data.sources.mteb_scores import choose_scale, grades_of_scores, score_keys
from mr_st.data.sources.parts import Part, in_their_files, stack, with_value_problems
from mr_st.data.validation import find_problems
from mr_st.errors import DataError, Problem, UsageError
from mr_st.grades import GradeScale
from mr_st.hub_client import is_hub_id

__all__ = ["is_mteb_folder", "load_mteb"]

_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


def is_mteb_folder(folder: str | Path) -> bool:
    """Whether a folder is our own export, BEIR's files, or has MTEB's configurations in its README.md."""
    folder = Path(folder)
    if not folder.is_dir():
        return False
    return is_export_folder(folder) or find_file(folder, "corpus.jsonl") is not None or has_mteb_configs(folder)


def load_mteb(
    path_or_hub_id: str | Path,
    revision: str | None = None,
    subset: str | None = None,
    scale: GradeScale | Mapping[str, Any] | None = None,
    grade_map: Mapping[Any, int] | None = None,
    split_map: Mapping[str, str | None] | None = None,
    locale: str = "und",
    name: str | None = None,
    license: str | None = None,
    token: str | None = None,
    validate: bool = True,
) -> GradedDataset:
    """Load retrieval data in MTEB's or BEIR's form.

    What ``GradedDataset.to_mteb`` wrote comes back whole: grades, order, columns and scale. Of other data the title
    becomes the item's title and the text its description; where there is no title, the text is the title. Queries
    and items that nobody judged are kept.

    Args:
        path_or_hub_id: A folder that ``to_mteb`` wrote; a folder or Hub dataset with the configurations ``corpus``,
            ``queries`` and ``qrels`` (or ``default``), or ``{subset}-corpus`` and so on; or a folder with BEIR's
            ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/*.tsv`` (each also as ``.gz``).
        revision: Branch, tag or commit of the Hub dataset.
        subset: Which subset, where there are several.
        scale: What the grades mean, also as a mapping with ``names`` and ``gains``. None: two grades (irrelevant,
            relevant) where no score is above 1, else three.
        grade_map: Score -> grade. None: scores are whole numbers of the scale, as they are.
        split_map: The source's split -> train, dev, test, or None to leave it out. Without it train, dev,
            validation and test are known.
        locale: BCP-47 tag that all texts get.
        name: What to call the dataset; None: the folder's or the Hub dataset's name.
        license: None: what the README.md's metadata says.
        token: A Hub token; None takes the one that huggingface_hub finds.
        validate: Also check the values of the finished tables.

    Raises:
        UsageError: an argument has no meaning, or neither folder nor Hub dataset has this form.
        DataError: the data has faults; ``.problems`` lists all, with file and row (of a BEIR file, the line).
        MrStError: the Hub refused, or cannot be reached.
    """
    where = _find(path_or_hub_id, revision, token or None)
    if where.folder is not None and is_export_folder(where.folder):
        given = {"subset": subset, "scale": scale, "grade_map": grade_map, "split_map": split_map, "name": name}
        return _load_own(where.folder, given, validate)
    grade_scale = _scale(scale)
    keys = score_keys(grade_map, grade_scale)
    splits = _split_names(split_map)

    problems: list[Problem] = []
    if where.folder is not None and (is_beir_folder(where.folder) or not has_mteb_configs(where.folder)):
        items, queries, qrels = _read_beir(where.folder, splits, problems)
    else:
        read = read_configs(str(where.folder or where.hub_id), subset, where.commit, token or None, splits, problems)
        items, queries, qrels, subset = read.items, read.queries, read.qrels, read.subset
    source = {"name": "mteb", "hub_id": where.hub_id, "revision": where.commit, "subset": subset}

    titled = [Part(part.where, _titled(part.values), part.rows) for part in items]
    graded, grade_scale = _graded(qrels, keys, grade_scale, problems)
    tables, places = {}, {}
    for table, parts in (
        ("queries", [_with_locale(part, locale) for part in queries]),
        ("items", [_with_locale(part, locale) for part in titled]),
        ("judgments", graded),
    ):
        tables[table], places[table], faults = stack(table, parts)
        problems += faults
    license = license or where.metadata.get("license")
    dataset = GradedDataset(
        **{table: to_dataset(value) for table, value in tables.items()},
        scale=grade_scale,
        name=name or where.name,
        license=license if isinstance(license, str) else "unknown",
        source={key: value for key, value in source.items() if value is not None},
    )
    if validate:
        problems = with_value_problems(problems, in_their_files(find_problems(dataset), places), places)
    if problems:
        raise DataError(problems)
    return dataset


@dataclass(frozen=True)
class _Found:
    """Where the data lies: a folder, or a commit of a Hub dataset, or both where its files have been fetched."""

    name: str
    metadata: dict[str, Any]
    folder: Path | None = None
    hub_id: str | None = None
    commit: str | None = None


def _find(path_or_hub_id: str | Path, revision: str | None, token: str | None) -> _Found:
    """A folder as it is; of a Hub dataset, our export and BEIR's files are fetched whole."""
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UsageError(f"mteb: {folder} is a folder, which has no revision {revision!r}; leave it out")
        return _Found(folder.resolve().name, card_metadata(folder), folder)
    repo_id = str(path_or_hub_id)
    if not is_hub_id(repo_id):
        raise UsageError(f"mteb: {repo_id} is no folder; give one in MTEB's or BEIR's form, or a Hub id (org/name)")
    commit = look(repo_id, revision, token)
    is_export = EXPORT_SETTINGS in commit.files
    is_beir = any(fnmatch(name, "qrels/*.tsv*") for name in commit.files) and bool(
        commit.files & {"corpus.jsonl", "corpus.jsonl.gz"}
    )
    patterns = EXPORT_FILES if is_export else BEIR_PATTERNS if is_beir else ()
    fetched = fetch(commit, ["README.md", *patterns], token)
    name = repo_id.split("/")[-1]
    return _Found(name, card_metadata(fetched), fetched if patterns else None, repo_id, commit.sha)


def _load_own(folder: Path, given: dict[str, Any], validate: bool) -> GradedDataset:
    refused = [option for option, value in given.items() if value is not None]
    if refused:
        raise UsageError(
            f"mteb: {folder} was written by to_mteb and comes back as it was; leave out {', '.join(refused)}"
        )
    return load_export(folder, validate)


def _scale(scale: GradeScale | Mapping[str, Any] | None) -> GradeScale | None:
    if scale is None or isinstance(scale, GradeScale):
        return scale
    try:
        return GradeScale.from_dict(scale)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"mteb: scale makes no sense ({error}); give names and gains, lowest grade first") from error


def _split_names(split_map: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """The source's split -> ours."""
    if split_map is None:
        return dict(_SPLITS)
    if not isinstance(split_map, Mapping):
        raise UsageError("mteb: split_map is no mapping; give e.g. {validation: dev}")
    wrong = [str(ours) for ours in split_map.values() if ours is not None and ours not in SPLITS]
    if wrong:
        raise UsageError(f"mteb: split_map leads to {', '.join(wrong)}; use {', '.join(SPLITS)}, or null to leave out")
    return _SPLITS | {str(theirs): ours for theirs, ours in split_map.items()}


def _read_beir(
    folder: Path, splits: Mapping[str, str | None], problems: list[Problem]
) -> tuple[list[Part], list[Part], list[tuple[Part, str]]]:
    corpus, queries, qrels = require_files(folder)
    items = read_jsonl(corpus, {"_id": "item_id", "title": "title", "text": "text"}, problems)
    asked = read_jsonl(queries, {"_id": "query_id", "text": "text"}, problems)
    judged = []
    for theirs, path in qrels.items():
        where = f"qrels/{path.name}"
        if theirs not in splits:
            what = f"{theirs!r} is none of the splits {', '.join(splits)}"
            problems.append(Problem(where, what, "say with split_map which split it is, or null to leave it out"))
        elif (ours := splits[theirs]) is not None:
            judged.append((read_qrels(path, where, problems), ours))
    return items, asked, judged


def _titled(table: pa.Table) -> pa.Table:
    """Title and text as title and description; the text is the title where there is none."""
    text = table["text"]
    title = table["title"] if "title" in table.column_names else pa.chunked_array([pa.nulls(len(table))])
    if pa.types.is_null(title.type):
        title = title.cast(pa.string())
    if not pa.types.is_string(title.type) or not pa.types.is_string(text.type):  # its type is refused later
        return pa.table({"item_id": table["item_id"], "title": title, "description": text})
    is_bare = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(pc.fill_null(title, ""))), 0)
    description = pc.if_else(is_bare, pa.scalar(None, pa.string()), text)
    title = pc.if_else(is_bare, text, title)
    return pa.table({"item_id": table["item_id"], "title": title, "description": description})


def _with_locale(part: Part, locale: str) -> Part:
    values = part.values.append_column("locale", pa.repeat(pa.scalar(locale, pa.string()), len(part.values)))
    return Part(part.where, values, part.rows)


def _graded(
    qrels: Sequence[tuple[Part, str]],
    keys: Mapping[Any, int] | None,
    scale: GradeScale | None,
    problems: list[Problem],
) -> tuple[list[Part], GradeScale]:
    """The qrels with grades for scores, and the scale that they are of."""
    if scale is None:
        scale = choose_scale([part.values["score"] for part, _ in qrels], keys)
    graded = []
    for part, split in qrels:
        grades = grades_of_scores(part, keys, scale, problems)
        values = {"query_id": part.values["query_id"], "item_id": part.values["item_id"], "grade": grades}
        graded.append(Part(part.where, pa.table({**values, "split": pa.repeat(split, len(grades))}), part.rows))
    return graded, scale
