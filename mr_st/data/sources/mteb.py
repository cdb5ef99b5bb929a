"""Retrieval data in MTEB's or BEIR's form, from a folder or from the Hub: corpus, queries and qrels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    QRELS_NAMES,
    beir_files,
    is_beir_folder,
    read_jsonl,
    read_qrels,
)  # fmt: skip
from mr_st.data.sources.hub_files import fetch, look
from mr_st.data.sources.mteb_configs import card_metadata, has_mteb_configs, read_configs
from mr_st.data.sources.mteb_export import EXPORT_FILES, is_export_folder, load_export
from mr_st.data.sources.parts import Part, in_their_files, stack, with_value_problems
from mr_st.data.sources.problem_list import ProblemList
from mr_st.data.sources.table_columns import Reading, convert, grade_labels
from mr_st.data.sources.text_files import RawTable
from mr_st.data.validation import find_problems
from mr_st.data.validation_locales import find_locale_fault
from mr_st.errors import DataError, Problem, UsageError
from mr_st.grades import THREE_GRADES, TWO_GRADES, GradeScale
from mr_st.hub_client import is_hub_id

__all__ = ["is_mteb_folder", "load_mteb", "refuse_options"]

_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


def is_mteb_folder(folder: str | Path) -> bool:
    """Whether a folder is our own export, BEIR's files, or has MTEB's configurations in its README.md."""
    folder = Path(folder)
    if not folder.is_dir():
        return False
    return is_export_folder(folder) or beir_files(folder)[0] is not None or has_mteb_configs(folder)


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
        DataError: the data has faults; ``.problems`` lists all, with file and row (of a .tsv, below the header).
        MrStError: the Hub refused, or cannot be reached.
    """
    where = _find(path_or_hub_id, revision, token or None)
    if where.folder is not None and is_export_folder(where.folder):
        refuse_options(
            f"mteb: {path_or_hub_id} was written by to_mteb", subset=subset, scale=scale, grade_map=grade_map,
            split_map=split_map, locale=None if locale == "und" else locale, name=name, license=license,
        )  # fmt: skip
        return load_export(where.folder, validate)
    given_scale = _scale(scale)
    labels = grade_labels(grade_map, given_scale or THREE_GRADES)
    splits = _split_names(split_map)
    if fault := find_locale_fault(locale):
        raise UsageError(f"mteb: locale: {fault[1]}; {fault[2]}")

    found = ProblemList()
    if where.folder is not None and (is_beir_folder(where.folder) or not has_mteb_configs(where.folder)):
        items, queries, qrels = _read_beir(where.folder, found)
    else:
        read = read_configs(str(where.folder or where.hub_id), subset, where.commit, token or None, found)
        items, queries, qrels, subset = read.items, read.queries, read.qrels, read.subset
    judged = _judged(qrels, splits, Reading(labels, given_scale or THREE_GRADES), found)
    source = {"name": "mteb", "hub_id": where.hub_id, "revision": where.commit, "subset": subset}

    tables, places = {}, {}
    for table, parts in (
        ("queries", [_with_locale(part, locale) for part in queries]),
        ("items", [_with_locale(replace(part, values=_titled(part.values)), locale) for part in items]),
        ("judgments", judged),
    ):
        tables[table], places[table], faults = stack(table, parts)
        found.extend(faults)
    license = license or where.metadata.get("license")
    dataset = GradedDataset(
        **{table: to_dataset(value) for table, value in tables.items()},
        scale=given_scale or _scale_of(tables["judgments"], labels is not None),
        name=name or where.name,
        license=license if isinstance(license, str) else "unknown",
        source={key: value for key, value in source.items() if value is not None},
    )
    problems = found.all()
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
    commit = look(repo_id, revision, token, [*EXPORT_FILES, *BEIR_PATTERNS])
    is_export = EXPORT_SETTINGS in commit.files
    is_beir = any(fnmatch(name, "qrels/*.tsv*") for name in commit.files) and bool(
        commit.files & {"corpus.jsonl", "corpus.jsonl.gz"}
    )
    patterns = EXPORT_FILES if is_export else BEIR_PATTERNS if is_beir else ()
    fetched = fetch(commit, ["README.md", *patterns], token)
    name = repo_id.split("/")[-1]
    return _Found(name, card_metadata(fetched), fetched if patterns else None, repo_id, commit.sha)


def refuse_options(what: str, **given: Any) -> None:
    """Refuse options that mean nothing for data which comes back as it was written.

    Raises:
        UsageError: one of them is not None.
    """
    refused = [option for option, value in given.items() if value is not None]
    if refused:
        raise UsageError(f"{what} and comes back as it was; leave out {', '.join(refused)}")


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


def _read_beir(folder: Path, found: ProblemList) -> tuple[list[Part], list[Part], list[tuple[RawTable, str]]]:
    corpus, queries, qrels = beir_files(folder)
    wanted = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels or None}
    for name, path in wanted.items():
        if not path:
            found.add(
                "missing files", Problem(name, f"missing in {folder}", "put it there, or it with .gz at the end")
            )
    items = read_jsonl(corpus, {"_id": "item_id", "title": "title", "text": "text"}, found) if corpus else []
    asked = read_jsonl(queries, {"_id": "query_id", "text": "text"}, found) if queries else []
    judged = [(raw, split) for split, path in qrels.items() if (raw := read_qrels(path, found)) is not None]
    return items, asked, judged


def _judged(
    qrels: Sequence[tuple[RawTable, str]], splits: Mapping[str, str | None], reading: Reading, found: ProblemList
) -> list[Part]:
    """The judgments of each split under our split's name, scores read as grades."""
    judged = []
    for raw, theirs in qrels:
        if theirs not in splits:
            what = f"the split {theirs!r:.60} is none of {', '.join(splits)}"
            mend = "say with split_map which split it is, or null to leave it out"
            found.add("unknown splits", Problem(raw.name, what, mend))
        elif (ours := splits[theirs]) is not None:
            names = {column: name for column, name in QRELS_NAMES.items() if name in raw.columns}
            columns = {name: raw.columns[name] for name in names.values()} or raw.columns
            columns = {**columns, "split": pa.chunked_array([pa.repeat(pa.scalar(ours, pa.string()), raw.n_rows)])}
            draft = convert("judgments", replace(raw, columns=columns), names, reading, found)
            judged.append(Part(draft.where, draft.table, draft.rows))
    return judged


def _scale_of(judgments: pa.Table, is_mapped: bool) -> GradeScale:
    """Two grades for scores of 0 and 1 that no grade map says more of; else three."""
    highest = pc.max(judgments["grade"]).as_py()
    return TWO_GRADES if highest in (0, 1) and not is_mapped else THREE_GRADES


def _titled(table: pa.Table) -> pa.Table:
    """Title and text as title and description; the text is the title where there is none."""
    title = _plain(table["title"]) if "title" in table.column_names else pa.nulls(len(table), pa.string())
    text = _plain(table["text"])
    if not pa.types.is_string(title.type) or not pa.types.is_string(text.type):  # its type is refused later
        return pa.table({"item_id": table["item_id"], "title": title, "description": text})
    is_bare = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(pc.fill_null(title, ""))), 0)
    description = pc.if_else(is_bare, pa.scalar(None, pa.string()), text)
    title = pc.if_else(is_bare, text, title)
    return pa.table({"item_id": table["item_id"], "title": title, "description": description})


def _plain(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts of any Arrow type (large, dictionary, all null) as plain ones; other values as they are."""
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_string(kind)
    return texts.cast(pa.string()) if is_text or pa.types.is_null(kind) else texts


def _with_locale(part: Part, locale: str) -> Part:
    values = part.values.append_column("locale", pa.repeat(pa.scalar(locale, pa.string()), len(part.values)))
    return Part(part.where, values, part.rows)
