"""One shard of an HNSW index: a file of usearch's and a JSON beside it that says what it was built from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.errors import DataError, MrStError, Problem, UsageError
from mr_st.files import atomic_path, ensure_writable, read_json, write_json
from mr_st.identity import file_hash
from mr_st.search.checks import refuse_unusable, row_norms

if TYPE_CHECKING:
    from usearch.index import Index

__all__ = ["GraphSettings", "ShardRecord", "build_shard", "open_shard", "quantised", "read_record", "shard_rows"]

_FORMAT = 1
_BLOCK = 16_384  # rows that are read, checked or added at once
_NORM_SLACK = 0.01  # float16 rounding moves a norm by a thousandth at most
_LEVELS = 127  # int8 values on either side of zero
_NAME = re.compile(r"shard-(\d{3,})\.(json|usearch)")


@dataclass(frozen=True)
class GraphSettings:
    """What the graph is made of; all of it changes what is found.

    Args:
        dtype: How the index holds vectors: "f16", or "i8" (half the bytes, faster, less exact before rescoring).
        connectivity: Links of a node on each upper level of the graph, twice as many on the lowest; 2 or more.
        expansion_add: How many candidates are looked at to place a new item; 1 or more.

    Raises:
        UsageError: another dtype, or a number out of range.
    """

    dtype: str = "f16"
    connectivity: int = 16
    expansion_add: int = 64

    def __post_init__(self) -> None:
        if self.dtype not in ("f16", "i8"):
            raise UsageError(f"dtype is {self.dtype!r}; an HNSW index holds its vectors as 'f16' or 'i8'")
        if self.connectivity < 2 or self.expansion_add < 1:
            raise UsageError(
                f"connectivity is {self.connectivity} and expansion_add {self.expansion_add}; "
                "expected 2 or more and 1 or more"
            )


@dataclass(frozen=True)
class ShardRecord:
    """What the JSON beside a shard says.

    Args:
        graph: The graph's settings.
        dimension: Of the vectors.
        n_items: Rows of the whole index, all shards together.
        n_shards: Shards of the whole index.
        shard: Which of them this is, from 0.
        vectors: Content hash of the vectors of this shard's rows, with their dtype.
        scale: int8 value of a component = its value times this, rounded; None for f16.
        reproducible: Built by one thread, so that the same vectors give the same bytes.
        bytes: Size of the index file.
        hash: Content hash of the index file.
    """

    graph: GraphSettings
    dimension: int
    n_items: int
    n_shards: int
    shard: int
    vectors: str
    scale: float | None
    reproducible: bool
    bytes: int
    hash: str

    @property
    def rows(self) -> tuple[int, int]:
        """First item row of this shard, and the one after its last."""
        return shard_rows(self.n_items, self.n_shards, self.shard)


def shard_rows(n_items: int, n_shards: int, shard: int) -> tuple[int, int]:
    """First and past-the-last item row of a shard: shards are contiguous and differ by one row at most.

    Raises:
        UsageError: no such shard, or fewer items than shards.
    """
    if not 1 <= n_shards <= n_items:
        raise UsageError(f"{n_items:,} items cannot be cut into {n_shards} shards; expected 1 to {n_items:,}")
    if not 0 <= shard < n_shards:
        raise UsageError(f"shard {shard} of {n_shards}: expected 0 to {n_shards - 1}")
    return n_items * shard // n_shards, n_items * (shard + 1) // n_shards


def build_shard(
    vectors: np.ndarray,
    folder: str | Path,
    shard: int = 0,
    *,
    n_shards: int = 1,
    dtype: str = "f16",
    connectivity: int = 16,
    expansion_add: int = 64,
    threads: int = 1,
    ids: Sequence[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> bool:
    """Build one shard of an HNSW index into ``folder``, unless it lies there already, whole and of these vectors.

    With one thread the same vectors and settings give the same bytes (f16: on one kind of processor, as the order of
    its sums is the processor's; i8: on any, for dimensions up to 1,040). Nothing is added before all rows of the shard
    are checked.

    Args:
        vectors: float (N, d), unit rows, of ALL items; may be a memory map. Only this shard's rows are read.
        folder: A folder on this machine's file system (usearch maps its files).
        shard: Which shard, from 0.
        n_shards: How many the items are cut into.
        dtype: "f16" or "i8".
        connectivity: See :class:`GraphSettings`.
        expansion_add: See :class:`GraphSettings`.
        threads: More than 1 builds faster and NOT reproducibly.
        ids: N item ids, for messages about unusable vectors.
        on_progress: Called with the number of rows just added, block by block.

    Returns:
        Whether it was built; False where it lay there already.

    Raises:
        UsageError: the vectors are no (N, d) array, or a setting is out of range.
        DataError: a row is NaN, infinite, zero or not of length 1; its row or id is named.
        MrStError: the folder cannot be written.
    """
    graph = GraphSettings(dtype, connectivity, expansion_add)
    if vectors.ndim != 2:
        raise UsageError(f"item vectors: an array (N, d) expected, got {vectors.shape}")
    if threads < 1:
        raise UsageError(f"threads must be 1 or more, got {threads}")
    first, last = shard_rows(len(vectors), n_shards, shard)
    content, largest = _survey(vectors, first, last, ids)
    wanted = ShardRecord(
        graph, vectors.shape[1], len(vectors), n_shards, shard, content,
        scale=_LEVELS / largest if dtype == "i8" else None, reproducible=threads == 1, bytes=0, hash="",
    )  # fmt: skip
    folder = local_folder(folder)
    if _is_there(folder, wanted):
        if on_progress is not None:
            on_progress(last - first)
        return False
    ensure_writable(folder)
    index = new_index(wanted)
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        block = quantised(vectors[start:stop], wanted.scale)
        index.add(np.arange(start, stop, dtype=np.uint64), block, threads=threads)
        if on_progress is not None:
            on_progress(stop - start)
    path = index_path(folder, shard)
    record_path(folder, shard).unlink(missing_ok=True)  # the record is the proof of a whole shard: it is written last
    try:
        with atomic_path(path) as temporary:
            index.save(str(temporary))
        write_record(folder, wanted, path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MrStError(
            f"{path}: cannot write the index ({reason}); free space or mend the folder, then run again: "
            "finished shards are kept"
        ) from error
    return True


def local_folder(folder: str | Path) -> Path:
    """The folder, refused where it is a URL: an index is memory-mapped, so it lies on a file system of this machine.

    Raises:
        UsageError: it is a URL of another kind than ``file://``.
    """
    text = str(folder)
    if text.startswith("file://"):
        return Path(text[len("file://") :])
    if "://" in text:
        raise UsageError(f"{text}: an HNSW index lies in a folder of this machine (or a mounted one), not at a URL")
    return Path(folder)


def quantised(vectors: np.ndarray, scale: float | None) -> np.ndarray:
    """The rows as the index holds them: float32 (which it rounds to f16 itself) or scaled int8."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if scale is None:
        return rows
    return np.clip(np.rint(rows * np.float32(scale)), -_LEVELS, _LEVELS).astype(np.int8)


def new_index(record: ShardRecord) -> Index:
    """An empty usearch index of a shard's settings."""
    from usearch.index import Index

    # "ip" also for i8: on unit rows it is the cosine, and usearch's own scaling for "cos" wastes most int8 levels
    return Index(
        ndim=record.dimension,
        metric="ip",
        dtype=record.graph.dtype,
        connectivity=record.graph.connectivity,
        expansion_add=record.graph.expansion_add,
        enable_key_lookups=False,
    )


def index_path(folder: Path, shard: int) -> Path:
    """The index file of a shard."""
    return folder / f"shard-{shard:03d}.usearch"


def record_path(folder: Path, shard: int) -> Path:
    """The JSON beside it."""
    return folder / f"shard-{shard:03d}.json"


def write_record(folder: Path, record: ShardRecord, path: Path) -> None:
    """Write the JSON beside a finished index file, with its size and hash."""
    facts = asdict(record) | {"bytes": path.stat().st_size, "hash": file_hash(path)}
    write_json(record_path(folder, record.shard), {"format": _FORMAT, "kind": "hnsw shard", **facts})


def read_record(folder: Path, shard: int) -> ShardRecord:
    """Read the JSON beside a shard.

    Raises:
        MrStError: it is missing, or says nothing that this version understands.
    """
    path = record_path(folder, shard)
    if not path.is_file():
        raise MrStError(f"{path}: no such file, so the shard was not finished; build the index again")
    facts = read_json(path)
    try:
        if facts.pop("format") != _FORMAT or facts.pop("kind") != "hnsw shard":
            raise ValueError
        record = ShardRecord(**facts | {"graph": GraphSettings(**facts["graph"])})
        shard_rows(record.n_items, record.n_shards, record.shard)
        is_sound = record.shard == shard and (record.scale is None) == (record.graph.dtype == "f16")
        if not is_sound or record.dimension < 1 or not record.hash:
            raise ValueError
        return record
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MrStError(
            f"{path}: not the record of an HNSW shard; delete the folder and build the index again"
        ) from error


def remove_other_shards(folder: Path, n_shards: int) -> None:
    """Remove the files of shards ``n_shards`` and above, which an index of more shards left behind."""
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) >= n_shards:
            path.unlink()


def open_shard(folder: Path, record: ShardRecord, *, view: bool, check: bool) -> Index:
    """Load or map the index file of a shard.

    Args:
        folder: Where it lies.
        record: What it must be.
        view: Map it (read-only, shared between processes) rather than read it into memory.
        check: Compare its content hash with the record's, which reads the file once.

    Raises:
        MrStError: it is missing, damaged, or another index.
    """
    path = index_path(folder, record.shard)
    problem = _damage(path, record, check)
    index = new_index(record)
    if problem is None:
        try:
            (index.view if view else index.load)(str(path))
        except Exception as error:  # usearch raises RuntimeError and ValueError for files that it cannot read
            problem = f"usearch cannot read it ({error})"
    if problem is None:
        first, last = record.rows
        held = (len(index), index.ndim, index.dtype.name.lower(), str(index.metric_kind).rsplit(".", 1)[-1].lower())
        expected = (last - first, record.dimension, record.graph.dtype, "ip")
        if held != expected:
            problem = f"it holds (rows, dimension, dtype, metric) {held}, its record says {expected}"
    if problem is not None:
        raise MrStError(f"{path}: {problem}; build the index again (finished shards are kept)")
    return index


def shard_vectors_hash(vectors: np.ndarray, first: int, last: int) -> str:
    """Content hash of rows ``first`` to ``last``, with dtype and shape: ``array_hash`` of them, read in blocks."""
    digest = _Digest(vectors, first, last)
    for start in range(first, last, _BLOCK):
        digest.update(vectors[start : min(start + _BLOCK, last)])
    return digest.value


class _Digest:
    def __init__(self, vectors: np.ndarray, first: int, last: int):
        import hashlib

        dtype = np.dtype(vectors.dtype)
        self._digest = hashlib.sha256(f"{dtype.str}{(last - first, vectors.shape[1])}".encode())

    def update(self, block: np.ndarray) -> None:
        self._digest.update(np.ascontiguousarray(block).data)

    @property
    def value(self) -> str:
        return self._digest.hexdigest()[:16]


def _survey(vectors: np.ndarray, first: int, last: int, ids: Sequence[str] | None) -> tuple[str, float]:
    """Check all rows of a shard in one pass; their content hash and largest component."""
    digest, largest = _Digest(vectors, first, last), 0.0
    for start in range(first, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        block = vectors[start:stop]
        refuse_unusable(block, "item vectors", start, None if ids is None else ids[start:stop])
        rows = np.asarray(block, dtype=np.float32)
        lengths = row_norms(rows)
        odd = np.abs(lengths - 1) > _NORM_SLACK
        if odd.any():
            at = int(np.argmax(odd))
            named = "" if ids is None else f" ({ids[start + at]})"
            raise DataError(
                Problem(
                    "item vectors",
                    f"length {lengths[at]:.4g}{named}, but an HNSW graph ranks unit vectors only",
                    "normalise them, or use ExactSearcher",
                    row=start + at + 1,
                )
            )
        digest.update(block)
        largest = max(largest, float(np.abs(rows).max()))
    return digest.value, largest


def _is_there(folder: Path, wanted: ShardRecord) -> bool:
    """Whether the shard lies there, whole, as it would be built now."""
    try:
        found = read_record(folder, wanted.shard)
    except MrStError:
        return False
    same = ("graph", "dimension", "n_items", "n_shards", "shard", "vectors")
    if any(getattr(found, name) != getattr(wanted, name) for name in same):
        return False
    if wanted.scale is not None and not math.isclose(found.scale or 0.0, wanted.scale):
        return False
    if wanted.reproducible and not found.reproducible:
        return False
    return _damage(index_path(folder, wanted.shard), found, check=True) is None


def _damage(path: Path, record: ShardRecord, check: bool) -> str | None:
    if not path.is_file():
        return "no such file"
    size = path.stat().st_size
    if size != record.bytes:
        return f"damaged: {size:,} bytes, its record says {record.bytes:,}"
    if check and file_hash(path) != record.hash:
        return "damaged: its content is not what its record says"
    return None


def all_records(folder: Path) -> list[ShardRecord]:
    """The records of all shards of an index, in order, proved to belong together.

    Raises:
        MrStError: no index is there, a shard is missing, or shards of different indexes lie there.
    """
    if not any(_NAME.fullmatch(path.name) for path in (folder.iterdir() if folder.is_dir() else ())):
        raise MrStError(f"{folder}: no HNSW index lies here; build one with HnswSearcher.build")
    first = read_record(folder, 0)
    records = [first, *(read_record(folder, shard) for shard in range(1, first.n_shards))]
    for record in records:
        if any(
            getattr(record, name) != getattr(first, name) for name in ("graph", "dimension", "n_items", "n_shards")
        ):
            raise MrStError(
                f"{record_path(folder, record.shard)}: belongs to another index than shard 0; build the index again"
            )
    return records


def facts_of(records: Sequence[ShardRecord]) -> dict[str, Any]:
    """What of the records belongs in a searcher's settings."""
    return {**asdict(records[0].graph), "n_shards": records[0].n_shards}
