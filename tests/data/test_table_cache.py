"""A big saved table is opened from its Arrow file: never a stale or a damaged one, and never without a check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.table import InMemoryTable, MemoryMappedTable

from mr_st.data import GradedDataset, storage, table_cache
from mr_st.data.storage import load_folder
from mr_st.data.table_cache import is_big
from mr_st.errors import DataError, MrStError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(table_cache, "BIG_BYTES", 20_000)  # items.parquet is big then, the others are not
    return tmp_path / "cache" / "mr_st"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make().save(tmp_path / "saved")


def make(word: str = "mug", n_items: int = 2_000) -> GradedDataset:
    return GradedDataset.from_tables(
        [{"query_id": "q", "text": word}],
        [{"item_id": f"i{row}", "title": f"{word} {row}", "category_path": ["a", f"{row}"]} for row in range(n_items)],
        [{"query_id": "q", "item_id": f"i{row}", "grade": row % 3} for row in range(9)],
    )


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for every time the values are checked."""
    done: list[str] = []
    real = storage.find_problems

    def find(dataset, *args, **options):
        done.append(dataset.items[0]["title"])
        return real(dataset, *args, **options)

    monkeypatch.setattr(storage, "find_problems", find)
    return done


def arrows(cache: Path) -> list[Path]:
    return sorted((cache / "tables").glob("*.arrow"))


def rewrite(folder: Path, table: str, change) -> None:
    path = folder / f"{table}.parquet"
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)


def test_only_big_tables_are_mapped_and_the_rows_are_the_same(folder: Path, cache: Path) -> None:
    dataset = load_folder(folder)
    assert isinstance(dataset.items.data, MemoryMappedTable)
    assert isinstance(dataset.judgments.data, InMemoryTable)
    assert dataset.fingerprint == make().fingerprint == load_folder(folder).fingerprint
    assert len(arrows(cache)) == 1
    assert not is_big(folder / "queries.parquet")
    assert not is_big(folder / "nothing.parquet")


def test_an_unchanged_checked_folder_is_checked_once_and_anew_when_asked(folder: Path, cache: Path, checks) -> None:
    load_folder(folder)
    stamp = arrows(cache)[0].stat().st_mtime_ns
    load_folder(folder)
    assert len(checks) == 1
    assert arrows(cache)[0].stat().st_mtime_ns == stamp
    load_folder(folder, anew=True)
    assert len(checks) == 2
    assert arrows(cache)[0].stat().st_mtime_ns > stamp
    load_folder(folder, validate=False)
    assert len(checks) == 2


def test_a_small_folder_is_checked_every_time(tmp_path: Path, cache: Path, checks) -> None:
    folder = make(n_items=20).save(tmp_path / "small")
    for n in (1, 2):
        load_folder(folder)
        assert len(checks) == n
    assert not cache.exists()


def test_unchecked_and_faulty_folders_are_not_remembered_as_checked(folder: Path, checks) -> None:
    load_folder(folder, validate=False)
    load_folder(folder)
    assert len(checks) == 1
    rewrite(folder, "judgments", lambda rows: rows[0].update(grade=7))
    for n in (2, 3):
        with pytest.raises(DataError, match=r"judgments\.parquet, row 1, column grade"):
            load_folder(folder)
        assert len(checks) == n
    (folder / "dataset.yaml").write_text((folder / "dataset.yaml").read_text().replace("0.5", "0.25"))
    rewrite(folder, "judgments", lambda rows: rows[0].update(grade=0))
    load_folder(folder)
    assert len(checks) == 4


def test_another_scale_is_another_check(folder: Path, checks) -> None:
    load_folder(folder)
    text = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(text.replace("- 0.5", "- 0.25"))
    assert load_folder(folder).scale.gains == (0.0, 0.25, 1.0)
    assert len(checks) == 2


def test_other_rules_check_again(folder: Path, checks, monkeypatch: pytest.MonkeyPatch) -> None:
    load_folder(folder)
    monkeypatch.setattr(table_cache, "file_hash", lambda path: "another version of the package")
    load_folder(folder)
    assert len(checks) == 2


def test_a_file_written_anew_is_read_anew_even_with_its_old_times(folder: Path, cache: Path, checks) -> None:
    before = load_folder(folder).fingerprint
    path = folder / "items.parquet"
    stat = path.stat()
    other = make("hat").save(folder.parent / "other") / "items.parquet"
    assert other.stat().st_size == stat.st_size  # three letters for three letters
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    dataset = load_folder(folder)
    assert dataset.items[0]["title"] == "hat 0"
    assert dataset.fingerprint != before
    assert checks == ["mug 0", "hat 0"]
    assert len(arrows(cache)) == 2


def test_a_moved_folder_keeps_its_entry(folder: Path, cache: Path, checks) -> None:
    load_folder(folder)
    moved = folder.rename(folder.parent / "moved")
    load_folder(moved)
    assert len(checks) == 1
    assert len(arrows(cache)) == 1


@pytest.mark.parametrize("harm", ["cut", "grown", "overwritten", "gone", "no receipt", "receipt is no JSON", "a list"])
def test_a_damaged_entry_is_made_again(folder: Path, cache: Path, harm: str) -> None:
    whole = load_folder(folder).fingerprint
    (arrow,) = arrows(cache)
    receipt = arrow.with_suffix(".json")
    data = arrow.read_bytes()
    if harm == "cut":
        arrow.write_bytes(data[: len(data) // 2])
    elif harm == "grown":
        arrow.write_bytes(data + b"\0" * 64)
    elif harm == "overwritten":
        arrow.write_bytes(bytes(len(data)))
    elif harm == "gone":
        arrow.unlink()
    elif harm == "no receipt":
        receipt.unlink()
    else:
        receipt.write_text("{" if harm == "receipt is no JSON" else "[]")
    assert load_folder(folder).fingerprint == whole
    assert arrow.stat().st_size == len(data)
    assert json.loads(receipt.read_text())["rows"] == 2_000


def test_an_entry_whose_receipt_lies_is_made_again(folder: Path, cache: Path) -> None:
    load_folder(folder)
    (arrow,) = arrows(cache)
    receipt = arrow.with_suffix(".json")
    with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("n", pa.int64())])) as writer:
        writer.write_table(pa.table({"n": list(range(2_000))}))
    stat = arrow.stat()
    facts = json.loads(receipt.read_text()) | {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    receipt.write_text(json.dumps(facts))
    assert load_folder(folder).fingerprint == make().fingerprint


def test_a_cache_that_cannot_be_written_gives_one_line_and_one_that_is_there_is_used(
    folder, cache, monkeypatch
) -> None:
    load_folder(folder)
    monkeypatch.setattr(table_cache, "ensure_writable", lambda folder: pytest.fail("nothing is to be written"))
    load_folder(folder)
    monkeypatch.undo()
    monkeypatch.setattr(table_cache, "BIG_BYTES", 20_000)
    blocked = folder.parent / "blocked"
    blocked.write_text("no folder")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", blocked)
    with pytest.raises(MrStError, match="blocked/mr_st/tables: cannot write here") as error:
        load_folder(folder)
    assert "\n" not in str(error.value)


def test_a_check_that_cannot_be_noted_is_done_without(folder: Path, cache: Path, checks) -> None:
    cache.mkdir(parents=True)
    (cache / "checked").write_text("a file stands here")
    for n in (1, 2):
        assert load_folder(folder).fingerprint == make().fingerprint
        assert len(checks) == n


def test_faults_of_a_big_file_are_all_named_with_their_rows(folder: Path, cache: Path) -> None:
    path = folder / "items.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["title"]), path)
    (folder / "queries.parquet").unlink()
    with pytest.raises(DataError) as error:
        load_folder(folder)
    found = [(p.where, p.column, p.what.split(";")[0][:7]) for p in error.value.problems]
    assert found == [("queries.parquet", None, "the fil"), ("items.parquet", "title", "missing")]
    assert arrows(cache) == []


def test_values_of_a_wrong_type_are_named_with_their_rows(folder: Path, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(table_cache, "BIG_BYTES", 0)
    grades = [0.0, 1.0, 1.5, 2.0, 0.0, 300.0, 1.0, 0.0, 2.0]
    path = folder / "judgments.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("grade")
    pq.write_table(table.set_column(at, "grade", pa.array(grades)), path, row_group_size=2)
    with pytest.raises(DataError) as error:
        load_folder(folder)
    assert [(p.where, p.row, p.column) for p in error.value.problems] == [
        ("judgments.parquet", 3, "grade"), ("judgments.parquet", 6, "grade"),
    ]  # fmt: skip
    pq.write_table(table.set_column(at, "grade", pa.array([float(int(g) % 3) for g in grades])), path)
    assert load_folder(folder).judgments["grade"][:] == [0, 1, 1, 2, 0, 0, 1, 0, 2]


def test_damage_inside_a_big_file_is_found_and_nothing_is_kept(folder: Path, cache: Path) -> None:
    path = folder / "items.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^items\.parquet: not a readable Parquet file") as error:
        load_folder(folder)
    assert "\n" not in str(error.value)
    assert not list(cache.rglob("*.arrow")) + list(cache.rglob(".tmp-*"))


def test_a_file_that_changes_while_it_is_read_is_said(folder: Path, cache: Path, monkeypatch) -> None:
    real = table_cache.write_arrow

    def write(*args):
        n_rows = real(*args)
        make("cap").save(folder)
        return n_rows

    monkeypatch.setattr(table_cache, "write_arrow", write)
    with pytest.raises(MrStError, match="changed while it was read"):
        load_folder(folder)
    monkeypatch.undo()
    monkeypatch.setattr(table_cache, "BIG_BYTES", 20_000)
    assert load_folder(folder).items[0]["title"] == "cap 0"


def test_entries_that_nobody_can_use_go_after_a_day(folder: Path, cache: Path) -> None:
    load_folder(folder)
    (stale,) = arrows(cache)
    make("hat").save(folder)
    load_folder(folder)
    assert stale.exists()  # another process may still have it open
    old = time.time() - 90_000
    os.utime(stale.with_suffix(".json"), (old, old))
    leftover = cache / "tables" / ".tmp-killed"
    leftover.write_text("")
    os.utime(leftover, (old, old))
    make("cap").save(folder)
    load_folder(folder)
    assert not stale.exists()
    assert not stale.with_suffix(".json").exists()
    assert not leftover.exists()
    assert len(arrows(cache)) == 2


def test_processes_that_open_it_at_once_agree(folder: Path, cache: Path) -> None:
    code = (
        "import sys, datasets; from pathlib import Path; datasets.config.HF_DATASETS_CACHE = Path(sys.argv[2]);"
        "from mr_st.data import table_cache; table_cache.BIG_BYTES = 20_000;"
        "from mr_st.data.storage import load_folder; print(load_folder(sys.argv[1]).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(folder), str(cache.parent)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate()[0].strip() for process in processes} == {make().fingerprint}
    assert len(arrows(cache)) == 1
