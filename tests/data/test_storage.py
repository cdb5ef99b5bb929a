import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.data import GradedDataset
from mr_st.data.storage import load_folder, read_parquet
from mr_st.errors import DataError, MrStError, UsageError
from mr_st.grades import ESCI_FOUR_GRADES, GradeScale

character = st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # U+0000 is refused
text = st.text(character, min_size=1, max_size=6).filter(str.strip)


def test_a_round_trip_keeps_everything(tables, tmp_path):
    engagement = [{"query_id": "q1", "item_id": "a", "impressions": 5, "clicks": 1}]
    dataset = GradedDataset.from_tables(
        **tables, engagement=engagement, scale=ESCI_FOUR_GRADES, name="tíny", license="MIT", source={"seed": 0}
    )
    folder = dataset.save(tmp_path / "new" / "folder")
    again = GradedDataset.load(folder)
    assert again.fingerprint == dataset.fingerprint
    assert (again.scale, again.name, again.license, again.source) == (ESCI_FOUR_GRADES, "tíny", "MIT", {"seed": 0})
    assert again.engagement is not None
    assert again.engagement[0]["purchases"] == 0
    assert sorted(p.name for p in folder.iterdir()) == [
        "dataset.yaml", "engagement.parquet", "items.parquet", "judgments.parquet", "queries.parquet"
    ]  # fmt: skip


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    queries=st.lists(text, min_size=1, max_size=5),
    items=st.lists(st.tuples(text, st.lists(text, max_size=3), st.none() | text), min_size=1, max_size=5),
    grades=st.lists(st.integers(0, 4), min_size=5, max_size=5),
    confidence=st.none() | st.floats(0, 1, width=32),
)
def test_any_valid_dataset_survives_save_and_load(tmp_path, queries, items, grades, confidence):
    pairs = [(q, i) for q in range(len(queries)) for i in range(len(items))][:5]
    dataset = GradedDataset.from_tables(
        [{"query_id": i, "text": t} for i, t in enumerate(queries)],
        [{"item_id": i, "title": t, "category_path": c, "brand": b} for i, (t, c, b) in enumerate(items)],
        [
            {"query_id": q, "item_id": i, "grade": g, "confidence": confidence}
            for (q, i), g in zip(pairs, grades, strict=False)
        ],
        scale=GradeScale(tuple("abcde"), (0, 1, 2, 3, 4)),
    )
    again = GradedDataset.load(dataset.save(tmp_path / "saved"))
    assert again.fingerprint == dataset.fingerprint
    assert again.item_texts() == dataset.item_texts()


def test_saving_replaces_a_saved_dataset_and_nothing_else(dataset, tmp_path):
    folder = dataset.save(tmp_path / "d")
    dataset.split("train").save(folder)
    assert len(GradedDataset.load(folder).queries) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds other files and no dataset\.yaml"):
        dataset.save(tmp_path / "mine")
    with pytest.raises(UsageError, match="a file stands here"):
        dataset.save(tmp_path / "mine" / "thesis.txt")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".tmp")] == []


def test_a_source_that_is_no_yaml_is_refused_before_anything_is_written(dataset, tmp_path):
    dataset.source = {"made by": object()}
    with pytest.raises(UsageError, match="plain values"):
        dataset.save(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_gives_one_line(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MrStError, match="cannot write here"):
        dataset.save(tmp_path / "file" / "d")


def test_every_damaged_or_missing_file_is_named_at_once(dataset, tmp_path):
    folder = dataset.save(tmp_path / "d")
    (folder / "queries.parquet").unlink()
    whole = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "judgments.parquet").write_text("no parquet at all")
    with pytest.raises(DataError) as error:
        GradedDataset.load(folder)
    assert [p.where for p in error.value.problems] == ["queries.parquet", "items.parquet", "judgments.parquet"]
    assert "the file is missing" in error.value.problems[0].what
    assert all("not a readable Parquet file" in p.what for p in error.value.problems[1:])
    assert all("\n" not in str(p) for p in error.value.problems)


def test_damage_inside_a_file_is_found(dataset, tmp_path):
    path = dataset.save(tmp_path / "d") / "items.parquet"
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"items\.parquet: not a readable Parquet file"):
        read_parquet(path)


def test_text_that_is_no_utf8_is_found(tmp_path):
    import pyarrow as pa

    bad = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"query_id": ["q"], "text": bad}), tmp_path / "queries.parquet")
    with pytest.raises(DataError, match=r"UTF-?8"):
        read_parquet(tmp_path / "queries.parquet")


def test_a_missing_column_and_a_bad_value_are_named_with_file_row_and_column(dataset, tmp_path):
    folder = dataset.save(tmp_path / "d")
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.drop_columns(["title"]), folder / "items.parquet")
    with pytest.raises(DataError, match=r"^items\.parquet, column title: missing; found item_id, category_path"):
        GradedDataset.load(folder)
    pq.write_table(table, folder / "items.parquet")
    judgments = pq.read_table(folder / "judgments.parquet").to_pylist()
    judgments[1]["grade"] = 3
    pq.write_table(pq.read_table(folder / "judgments.parquet").from_pylist(judgments), folder / "judgments.parquet")
    expected = r"^judgments\.parquet, row 2, column grade: grade 3 is outside the scale 0\.\.2 \(irrelevant, partial"
    with pytest.raises(DataError, match=expected):
        GradedDataset.load(folder)
    assert load_folder(folder, validate=False).judgments[1]["grade"] == 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(format=2), "format 2 where 1 is expected"),
        (lambda s: s.pop("scale"), "no mapping with name"),
        (lambda s: s["scale"].update(gains=[0, 1]), "column scale: not a grade scale"),
    ],
)
def test_settings_that_make_no_sense(dataset, tmp_path, change, expected):
    path = dataset.save(tmp_path / "d") / "dataset.yaml"
    settings_ = yaml.safe_load(path.read_text())
    change(settings_)
    path.write_text(yaml.safe_dump(settings_))
    with pytest.raises(DataError, match=rf"dataset\.yaml.*{expected}"):
        GradedDataset.load(path.parent)


@pytest.mark.parametrize("content", ["a: [1", "!!python/object:os.system {}", "just text"])
def test_settings_that_are_no_plain_yaml(dataset, tmp_path, content):
    path = dataset.save(tmp_path / "d") / "dataset.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=r"dataset\.yaml"):
        GradedDataset.load(path.parent)
    path.unlink()
    with pytest.raises(DataError, match=r"dataset\.yaml"):
        GradedDataset.load(path.parent)
