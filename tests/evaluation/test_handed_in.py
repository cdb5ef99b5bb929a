"""Results that somebody else made: honest ones pass, and each way to make them better than they are is caught."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import Collection, GradedReport
from mr_st.evaluation.handed_in import add_handed_in, check_handed_in


@pytest.fixture(scope="module")
def collection_of(dataset):
    made = Collection.from_dataset(dataset)

    def of(task: str, split: str) -> Collection:
        if (task, split) != ("Shop", "test"):
            raise UsageError(f"no task {task!r} with a split {split!r}")
        return made

    return of


@pytest.fixture(scope="module")
def honest(report, tmp_path_factory) -> Path:
    """What an honest contributor hands in: the whole split and a part of it."""
    folder = tmp_path_factory.mktemp("handed") / "results"
    report.save(folder)
    report.take({"locale": "en"}, "en").save(folder)
    return folder


@pytest.fixture
def handed(honest, tmp_path) -> Path:
    """A copy of it that a test may tamper with."""
    return Path(shutil.copytree(honest, tmp_path / "handed" / "results"))


def json_of(folder: Path) -> Path:
    (path,) = folder.glob("*/*/Shop.json")
    return path


def edit_json(folder: Path, change) -> None:
    path = json_of(folder)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_table(folder: Path, name: str, change) -> None:
    path = json_of(folder).with_name(f"Shop.test.{name}.parquet")
    pq.write_table(change(pq.read_table(path)), path)


def put(table: pa.Table, column: str, values) -> pa.Table:
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(values, table[column].type))


def figures(report: GradedReport) -> dict:
    return {name: interval.to_dict() for name, interval in report.metrics.items()}


def rules(folder: Path, collection_of, **options) -> set[str]:
    """The rules that something must be mended by."""
    (result,) = check_handed_in(folder, collection_of, **options)
    assert result.is_sound == (not any(f.level == "must" for f in result.findings))
    return {finding.rule for finding in result.findings if finding.level == "must"}


def consistent(folder: Path, report: GradedReport) -> None:
    """Write a tampered report anew with means and intervals that fit its table, as a careful cheat would."""
    shutil.rmtree(folder)
    report.take({}, "default").save(folder)


# ---- honest results ------------------------------------------------------------------------------------------------


def test_honest_results_pass_and_say_what_was_worked_out(handed, collection_of, report) -> None:
    (result,) = check_handed_in(handed, collection_of)
    assert result.is_sound
    assert result.findings == ()
    assert (result.model, result.revision, result.task) == ("test/tiny", report.revision, "Shop")
    assert {"ndcg@10", "recall@5/2", "map@1", "judged@10"} <= set(result.recomputed)
    assert set(result.recomputed) | set(result.believed) == set(report.metrics)
    assert all(name.startswith("margin_") for name in result.believed)
    assert json.dumps(result.to_dict())


def test_only_what_the_run_tells_is_worked_out(model, dataset, tmp_path) -> None:
    from mr_st.evaluation import evaluate_model

    big = [{"item_id": f"x{i}", "title": f"extra {i}", "locale": "en-US"} for i in range(120)]
    tables = {name: getattr(dataset, name).to_list() for name in ("queries", "items", "judgments")}
    wide = type(dataset).from_tables(tables["queries"], tables["items"] + big, tables["judgments"])
    evaluate_model(model, wide, task_name="Shop", ks=(10, 150), model_name="test/tiny").save(tmp_path)
    (result,) = check_handed_in(tmp_path, lambda task, split: Collection.from_dataset(wide, split))
    assert result.is_sound
    assert "ndcg@10" in result.recomputed
    assert "ndcg@150" in result.believed


def test_honest_results_are_added_and_not_twice(handed, collection_of, tmp_path, report) -> None:
    ours = tmp_path / "ours"
    (added,) = add_handed_in(handed, ours, collection_of)
    assert added.state == "added"
    kept = GradedReport.load(ours / added.file)
    assert figures(kept) == figures(report)
    assert kept.run.equals(report.run)
    assert {p.name for p in (ours / added.file).parent.iterdir()} == {p.name for p in json_of(handed).parent.iterdir()}
    (again,) = add_handed_in(handed, ours, collection_of)
    assert again.state == "already there"


def test_another_result_of_the_same_revision_is_not_overwritten_unless_told(
    handed, collection_of, tmp_path, model, dataset, report
) -> None:
    from mr_st.evaluation import evaluate_model

    ours = tmp_path / "ours"
    other = evaluate_model(model, dataset, task_name="Shop", ks=(10,), model_name="test/tiny")
    kept = other.save(ours)
    neighbour = evaluate_model(model, dataset, task_name="Shop.more", ks=(10,), model_name="test/tiny").save(ours)
    with pytest.raises(UsageError, match=r"Shop.json: another result .* is there; .*--replace"):
        add_handed_in(handed, ours, collection_of)
    assert figures(GradedReport.load(kept)) == figures(other)
    (replaced,) = add_handed_in(handed, ours, collection_of, replace=True)
    assert replaced.state == "replaced"
    assert figures(GradedReport.load(kept)) == figures(report)
    assert figures(GradedReport.load(neighbour)) == figures(other)  # a task whose name begins alike is not touched


def test_an_unsound_result_is_not_added(handed, collection_of, tmp_path) -> None:
    edit_json(handed, lambda c: c["scores"]["test"][0].update(main_score=0.99))
    (result,) = add_handed_in(handed, tmp_path / "ours", collection_of)
    assert not result.is_sound
    assert result.state == ""
    assert not (tmp_path / "ours").exists()


# ---- figures better than they are ----------------------------------------------------------------------------------


def test_a_raised_mean_is_caught(handed, collection_of) -> None:
    def raise_mean(content) -> None:
        content["scores"]["test"][0]["graded"]["metrics"]["ndcg@10"][0] += 0.01

    edit_json(handed, raise_mean)
    assert "means edited" in rules(handed, collection_of)


@pytest.mark.parametrize("key", ["ndcg_at_10", "main_score", "recall_at_5_grade_2", "made_up_at_10"])
def test_a_raised_figure_of_mtebs_part_is_caught(handed, collection_of, key) -> None:
    edit_json(handed, lambda c: c["scores"]["test"][0].update({key: 0.987}))
    assert rules(handed, collection_of) == {"means edited"}


def test_a_raised_figure_of_a_part_is_caught(handed, collection_of) -> None:
    edit_json(handed, lambda c: c["scores"]["test"][1].update(ndcg_at_10=0.987))
    assert rules(handed, collection_of) == {"means edited"}


def test_a_narrowed_interval_is_caught(handed, collection_of) -> None:
    def narrow(content) -> None:
        metric = content["scores"]["test"][0]["graded"]["metrics"]["ndcg@10"]
        metric[1] = metric[2] = metric[0]

    edit_json(handed, narrow)
    assert rules(handed, collection_of) == {"means edited"}


def test_a_raised_query_is_caught_though_means_and_intervals_fit(handed, collection_of, report) -> None:
    values = report.values("ndcg@10")
    values[int(values.argmin())] = 1.0
    from dataclasses import replace

    consistent(handed, replace(report, per_query=put(report.per_query, "ndcg@10", values)))
    (result,) = check_handed_in(handed, collection_of)
    (finding,) = result.findings
    assert finding.rule == "figures edited"
    assert "ndcg@10 of 1 queries" in finding.what
    assert finding.where == (report.per_query["query_id"][int(report.values("ndcg@10").argmin())].as_py(),)


def test_dropped_hard_queries_are_caught_though_all_figures_fit(handed, collection_of, report) -> None:
    from dataclasses import replace

    hard = report.per_query["query_id"][int(report.values("ndcg@10").argmin())].as_py()
    keep = [q != hard for q in report.per_query["query_id"].to_pylist()]
    run = report.run.filter(pa.array([q != hard for q in report.run["query_id"].to_pylist()]))
    consistent(handed, replace(report, per_query=report.per_query.filter(pa.array(keep)), run=run))
    (result,) = check_handed_in(handed, collection_of)
    missing = next(f for f in result.findings if f.rule == "queries missing")
    assert missing.where == (hard,)
    assert not result.recomputed


def test_edited_grades_of_the_run_are_caught_though_all_figures_fit(handed, collection_of, report) -> None:
    """A cheat calls the first item of each query relevant, and works all figures out from that."""
    ranks, grades = report.run["rank"].to_pylist(), report.run["grade"].to_pylist()
    edit_table(
        handed, "run", lambda t: put(t, "grade", [2 if r == 1 else g for r, g in zip(ranks, grades, strict=True)])
    )
    assert rules(handed, collection_of) == {"grades edited"}


def test_a_reordered_run_is_caught(handed, collection_of, report) -> None:
    """The judged best items are put first; the table of queries still tells the old ranking."""
    frame = report.run.to_pylist()
    for query in {row["query_id"] for row in frame}:
        rows = [row for row in frame if row["query_id"] == query]
        best = sorted(rows, key=lambda row: -(row["grade"] if row["grade"] is not None else -1))
        items = [(row["item_id"], row["grade"]) for row in best]
        for row, (item, grade) in zip(rows, items, strict=True):
            row["item_id"], row["grade"] = item, grade
    edit_table(handed, "run", lambda t: pa.Table.from_pylist(frame, schema=t.schema))
    assert rules(handed, collection_of) == {"figures edited"}


def test_a_run_that_returns_an_item_twice_is_caught(handed, collection_of, report) -> None:
    items, ranks = report.run["item_id"].to_pylist(), report.run["rank"].to_pylist()
    again = [items[i - 1] if rank == 2 else item for i, (item, rank) in enumerate(zip(items, ranks, strict=True))]
    edit_table(handed, "run", lambda t: put(t, "item_id", again))
    assert "item returned twice" in rules(handed, collection_of)


@pytest.mark.parametrize(
    ("column", "change", "rule"),
    [
        ("rank", lambda v: [*v[1:], v[0]], "broken ranks"),
        ("score", lambda v: v[::-1], "scores out of order"),
        ("item_id", lambda v: ["no such item", *v[1:]], "foreign items"),
        ("query_id", lambda v: ["no such query", *v[1:]], "foreign queries"),
    ],
)
def test_a_broken_run_is_caught(handed, collection_of, column, change, rule) -> None:
    edit_table(handed, "run", lambda t: put(t, column, change(t[column].to_pylist())))
    assert rule in rules(handed, collection_of)


def test_queries_out_of_order_or_with_other_attributes_are_caught(handed, collection_of, honest) -> None:
    edit_table(handed, "per_query", lambda t: t.take(pa.array(range(t.num_rows)[::-1])))
    assert "queries in another order" in rules(handed, collection_of)
    shutil.copytree(honest, handed, dirs_exist_ok=True)
    edit_table(handed, "per_query", lambda t: put(t, "n_relevant", np.ones(t.num_rows)))
    assert rules(handed, collection_of) == {"another query table"}


def test_other_data_is_caught(handed, collection_of) -> None:
    edit_json(handed, lambda c: c.update(dataset_revision="0123456789abcdef"))
    assert rules(handed, collection_of) == {"other data"}


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("n_items", 3, "another protocol"),
        ("gains", [0.0, 1.0, 1.0], "another protocol"),
        ("corpus", "judged pool", "another protocol"),
        ("item_text", {"levels": None, "max_chars": None}, "another protocol"),
        ("interval", {"method": "wishes", "confidence": 0.95, "n_resamples": 2000, "seed": 0}, "another interval"),
        ("model", {"name": "org/other", "revision": "1"}, "two models"),
        ("ks", [10, 5], "protocol not complete"),
        ("ks", "all", "protocol not complete"),
    ],
)
def test_another_protocol_is_caught(handed, collection_of, key, value, rule) -> None:
    edit_json(handed, lambda c: c["scores"]["test"][0]["graded"]["protocol"].update({key: value}))
    assert rule in rules(handed, collection_of)


def test_a_bootstrap_that_would_take_for_ever_is_not_begun(handed, collection_of) -> None:
    def ask(content) -> None:
        content["scores"]["test"][0]["graded"]["protocol"]["interval"]["n_resamples"] = 10**12

    edit_json(handed, ask)
    assert rules(handed, collection_of) == {"another interval"}


@pytest.mark.parametrize("key", ["ks", "interval", "system", "gains", "mr_st"])
def test_a_missing_part_of_the_protocol_is_caught(handed, collection_of, key) -> None:
    edit_json(handed, lambda c: c["scores"]["test"][0]["graded"]["protocol"].pop(key))
    assert "protocol not complete" in rules(handed, collection_of)


def test_a_missing_metric_is_caught(handed, collection_of) -> None:
    """The figure that looks bad is left out everywhere."""

    def leave_out(content) -> None:
        for entry in content["scores"]["test"]:
            del entry["recall_at_10"], entry["graded"]["metrics"]["recall@10"]

    edit_json(handed, leave_out)
    edit_table(handed, "per_query", lambda t: t.drop_columns(["recall@10"]))
    assert rules(handed, collection_of) == {"metrics missing"}


def test_impossible_and_unknown_figures_are_caught(handed, collection_of, report) -> None:
    name = next(n for n in report.metrics if n.startswith("margin_average"))
    edit_table(handed, "per_query", lambda t: put(t, name, np.full(t.num_rows, 7.0)))
    assert {"impossible figures", "means edited"} <= rules(handed, collection_of)


def test_a_histogram_of_other_pairs_is_caught(handed, collection_of) -> None:
    edit_table(handed, "similarities", lambda t: put(t, "count", np.asarray(t["count"]) + 1))
    assert rules(handed, collection_of) == {"another histogram"}


def test_a_task_that_is_not_here_is_unverified(handed) -> None:
    def none_here(task: str, split: str) -> Collection:
        raise UsageError(f"no task {task!r}")

    assert rules(handed, none_here) == {"unverified"}
    (result,) = check_handed_in(handed, none_here, allow_unverified=True)
    assert result.is_sound
    assert [f.level for f in result.findings] == ["note"]
    assert result.recomputed == ()
    assert "ndcg@10" in result.believed
    edit_json(handed, lambda c: c["scores"]["test"][0].update(main_score=0.99))  # what can be told still is
    assert rules(handed, none_here, allow_unverified=True) == {"means edited"}


# ---- hostile folders -----------------------------------------------------------------------------------------------


def refused(folder: Path, collection_of, match: str) -> None:
    with pytest.raises(MrStError, match=match) as caught:
        check_handed_in(folder, collection_of)
    assert "\n" not in str(caught.value)
    with pytest.raises(MrStError):
        add_handed_in(folder, folder.parent / "ours", collection_of)
    assert not (folder.parent / "ours").exists()


def test_links_are_refused(handed, collection_of, tmp_path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    path = json_of(handed)
    path.unlink()
    path.symlink_to(secret)
    refused(handed, collection_of, "Shop.json: a link")
    path.unlink()
    folder = path.parent
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    refused(handed, collection_of, "a link")


@pytest.mark.parametrize("name", ["weights.pkl", "Shop.test.run.pkl", "notes.txt", "Other.test.run.parquet", "x.py",
                                  "Shop.run.parquet", ".hidden.json", "a b.json", "<img src=x onerror=alert(1)>.json",
                                  "Shop\n.json", "n" * 240 + ".json"])  # fmt: skip
def test_foreign_files_and_names_are_refused(handed, collection_of, name) -> None:
    (json_of(handed).parent / name).write_bytes(pickle.dumps({}))
    refused(handed, collection_of, r"remove it|more than 200 characters")


@pytest.mark.parametrize("folder", ["..__x", ".git", "org__<b>", "org name"])
def test_folder_names_are_refused(handed, collection_of, folder) -> None:
    (handed / folder / "r1").mkdir(parents=True)
    refused(handed, collection_of, "remove it")


def test_devices_and_wrong_depths_are_refused(handed, collection_of) -> None:
    os.mkfifo(json_of(handed).parent / "pipe.json")
    refused(handed, collection_of, "no plain file")
    (json_of(handed).parent / "pipe.json").unlink()
    refused(handed.parent, collection_of, "no plain file|no folder")
    refused(handed / "test__tiny", collection_of, "no folder")
    (handed / "empty__model" / "r").mkdir(parents=True)
    refused(handed, collection_of, "lacks a result")
    with pytest.raises(UsageError, match="no such folder"):
        check_handed_in(handed / "nowhere", collection_of)


def test_huge_files_are_refused_unread(handed, collection_of) -> None:
    with open(json_of(handed), "r+b") as file:
        file.truncate((16 << 20) + 1)  # sparse
    refused(handed, collection_of, "above the limit")


def test_a_pickle_called_parquet_is_not_loaded(handed, collection_of, tmp_path) -> None:
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    json_of(handed).with_name("Shop.test.run.parquet").write_bytes(pickle.dumps(Bomb()))
    assert rules(handed, collection_of) == {"not readable"}
    assert not (tmp_path / "exploded").exists()


def test_a_table_of_endless_rows_is_refused_unread(handed, collection_of) -> None:
    edit_table(handed, "per_query", lambda t: pa.concat_tables([t] * 400))
    (result,) = check_handed_in(handed, collection_of)
    assert "rows where at most" in str(result.findings[0])


def test_long_texts_and_foreign_columns_are_refused(handed, collection_of, honest) -> None:
    edit_table(handed, "run", lambda t: put(t, "item_id", ["x" * 100_000] * t.num_rows))
    (result,) = check_handed_in(handed, collection_of)
    assert "a text of more than" in str(result.findings[0])
    shutil.copytree(honest, handed, dirs_exist_ok=True)
    edit_table(handed, "run", lambda t: t.append_column("payload", pa.array([b"x"] * t.num_rows)))
    (result,) = check_handed_in(handed, collection_of)
    assert "column payload does not belong there" in str(result.findings[0]).replace("'", "")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', "[" * 100_000, '{"task_name": "Shop"}',
     '{"task_name": "Shop", "scores": {"test": []}}', '{"task_name": "Shop", "scores": {"../../x": [1]}}',
     '{"task_name": "Shop", "scores": {"test": [{"hf_subset": "default", "graded": {}}]}}',
     '{"task_name": "../Shop", "scores": {"test": []}}', '{"a": ' * 90 + "1" + "}" * 90],
)  # fmt: skip
def test_broken_json_is_told_in_one_line(handed, collection_of, text) -> None:
    json_of(handed).write_text(text)
    (result,) = check_handed_in(handed, collection_of)
    assert not result.is_sound
    assert "\n" not in str(result.findings[0])


def test_names_inside_the_json_are_checked(handed, collection_of, honest) -> None:
    def name_it(model: str, revision: str):
        def change(content) -> None:
            for entry in content["scores"]["test"]:
                entry["graded"]["model"] |= {"name": model, "revision": revision}

        return change

    for model, revision in (("../../etc/x", "r"), ("<script>", "r"), ("test/tiny", "../r"), ("other/model", "r")):
        edit_json(handed, name_it(model, revision))
        assert rules(handed, collection_of) & {"two models", "not readable"}
        shutil.copytree(honest, handed, dirs_exist_ok=True)
    edit_json(handed, lambda c: c["scores"]["test"][1].update(hf_subset="<b>en</b>"))
    assert "not readable" in rules(handed, collection_of)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"name": "org/other"}, "two models"),
        ({"reference": "javascript:alert(1)"}, "markup"),
        ({"license": "<img src=x>"}, "markup"),
        ({"surprise": 1}, "foreign model_meta"),
    ],
)
def test_the_models_facts_are_checked(handed, collection_of, change, rule) -> None:
    path = json_of(handed).with_name("model_meta.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert rules(handed, collection_of) == {rule}
