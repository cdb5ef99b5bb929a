"""Reading result folders: ours, mteb's own, and what is neither."""

from __future__ import annotations

import json
import os

import pytest

from mr_st.leaderboard.results import read_results


def test_a_report_comes_back_with_intervals_protocol_queries_and_histograms(tmp_path, samples):
    report = samples.make_report("stage2")
    report.save(tmp_path)
    (result,), _, left_out = read_results([tmp_path])
    assert not left_out
    assert (result.model, result.task, result.split) == (report.model_name, "MarketplaceRetrieval", "test")
    assert result.main_metric == "ndcg@10"
    interval = report["ndcg@10"]
    assert result.metrics["ndcg@10"] == (interval.value, interval.low, interval.high, 60)
    assert result.protocol["n_items"] == 2400
    assert result.facts["embed_dim"] == 384
    assert result.date > 0


def test_a_result_of_mteb_itself_has_scores_and_no_intervals(tmp_path, samples):
    samples.write_mteb_result(tmp_path)
    (result,), _, left_out = read_results([tmp_path])
    assert not left_out
    assert result.model == "intfloat/e5-small-v2"
    assert result.metrics["ndcg@10"] == (0.581, None, None, None)
    assert result.metrics["recall@100"] == (0.47, None, None, None)
    assert not [name for name in result.metrics if "nauc" in name]
    assert result.main_metric == "ndcg@10"
    assert result.protocol == {}


def test_mteb_reads_what_the_sample_pretends_to_be(tmp_path, samples):
    from mteb.results import TaskResult

    task = TaskResult.from_disk(samples.write_mteb_result(tmp_path))
    assert task.get_score() == 0.581


def test_a_task_that_is_no_ranking_shows_its_main_score(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path, task="Emotion")
    content = json.loads(path.read_text())
    content["scores"] = {"test": [{"accuracy": 0.4, "main_score": 0.4, "hf_subset": "en", "languages": ["eng-Latn"]}]}
    path.write_text(json.dumps(content))
    (whole, en), _, _ = read_results([tmp_path])
    assert (whole.subset, en.subset) == ("default", "en")
    assert en.metrics == {"main_score": (0.4, None, None, None)}


def test_subsets_without_a_whole_get_their_mean_as_mteb_takes_it(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path)
    content = json.loads(path.read_text())
    content["scores"] = {
        "test": [
            {"ndcg_at_10": 0.4, "recall_at_10": 0.5, "main_score": 0.4, "hf_subset": "de", "languages": ["deu-Latn"]},
            {"ndcg_at_10": 0.8, "main_score": 0.8, "hf_subset": "en", "languages": ["eng-Latn"]},
        ]
    }
    path.write_text(json.dumps(content))
    (whole, *parts), _, left_out = read_results([tmp_path])
    assert whole.metrics == {"ndcg@10": (pytest.approx(0.6), None, None, None)}
    assert whole.mean_of == 2
    assert whole.languages == ("deu-Latn", "eng-Latn")
    assert [part.subset for part in parts] == ["de", "en"]
    assert not left_out


def test_entries_without_a_score_are_left_out_and_the_others_shown(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path / "results")
    content = json.loads(path.read_text())
    content["scores"]["test"] += [7, {"hf_subset": "x"}]
    path.write_text(json.dumps(content))
    (result,), failures, (left_out,) = read_results([tmp_path / "results"])
    assert result.subset == "default"
    assert left_out.reason == "2 of 3 entries of its split test hold no score"
    assert not failures


_FACTS = {"kind": "bi-encoder", "training_datasets": ["A"]}  # beside those of its model_meta.json


def test_wrong_types_everywhere_cost_only_themselves(tmp_path, samples):
    path = samples.make_report("base").save(tmp_path)
    content = json.loads(path.read_text())
    ours = content["scores"]["test"][0]["graded"]
    ours["metrics"] |= {
        "a": None,
        "b": ["x", 1, 2, 3],
        "c": [1e300, 0, 1, 3],
        "d": [0.5, 0.9, 0.1, -3],
        "x" * 999: [1, 1, 1, 1],
    }
    ours["protocol"] |= {"gains": ["x"], "n_items": 10**400, "n_queries": True, "system": 7, "corpus": "a\x00b" * 999}
    ours["model"]["facts"] = {
        "n_parameters": "many",
        "embed_dim": -3,
        "license": ["mit"],
        "training_datasets": [1, "A"],
    }
    ours["separability"] = {"pairs": 3}
    content["date"] = 1e14
    path.write_text(json.dumps(content))
    (result,), _, left_out = read_results([tmp_path])
    assert not left_out
    assert "a" not in result.metrics
    assert "c" not in result.metrics
    assert result.metrics["d"] == (0.5, None, None, None)
    assert max(map(len, result.metrics)) <= 100
    assert not {"gains", "n_items", "n_queries"} & set(result.protocol)
    assert len(result.protocol["corpus"]) == 500
    assert "\x00" not in result.protocol["corpus"]
    assert result.facts == {"embed_dim": 384, "max_tokens": 256, "n_parameters": 22_713_216, **_FACTS}
    assert result.separability == {}
    assert result.date == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"task_name": "Bro', "not valid JSON"),
        ("\ud800".encode("utf-8", "surrogatepass"), "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1, 2]", "no MTEB result"),
        ('{"scores": {}}', "no MTEB result"),
        ('{"task_name": "T", "scores": {"test": [{"main_score": NaN}]}}', "no score"),
        ('{"task_name": "T", "scores": {"test": "oops"}}', "no score"),
        ('{"task_name": "T", "scores": {"test": [{"main_score": 1, "graded": {"format": 99}}]}}', "newer mr-st"),
        ('{"task_name": ["T"], "scores": {"test": [{"main_score": 1}]}}', "its task_name is no text"),
        (
            '{"task_name": 1, "scores": {"s": [{"map_at_1": 1, "hf_subset": "a"}, {"mrr_at_1": 1, "hf_subset": 2}]}}',
            "no metric in common",
        ),
        ('{"task_name": "T", "scores": {"test": [{"main_score": 1e999, "ndcg_at_10": true}]}}', "no score"),
    ],
)
def test_what_is_no_result_is_named_with_the_reason(tmp_path, text, reason):
    folder = tmp_path / "results" / "org__m" / "rev"
    folder.mkdir(parents=True)
    (folder / "T.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    results, failures, (left_out,) = read_results([tmp_path / "results"])
    assert not results
    assert left_out.file == "results/org__m/rev/T.json"
    assert reason in left_out.reason
    assert [(failure.model, failure.task) for failure in failures] == [("org/m", "T")]


def test_what_is_no_file_is_not_opened(tmp_path, samples):
    samples.write_mteb_result(tmp_path)
    folder = next(tmp_path.glob("*/*"))
    os.mkfifo(folder / "Pipe.json")
    (folder / "Folder.json").mkdir()
    (folder / "Nothing.json").symlink_to(folder / "no such file")
    (tmp_path / "loop").symlink_to(tmp_path)
    results, failures, left_out = read_results([tmp_path])
    assert len(results) == 1
    assert {item.reason for item in left_out} == {"not a file that can be read (a folder, a pipe or a broken link)"}
    assert sorted(failure.task for failure in failures) == ["Folder", "Nothing", "Pipe"]


def test_names_are_plain_and_stay_two(tmp_path, samples):
    names = ["x" * 6000 + "a", "x" * 6000 + "b", "half \ud83d", "half \udc00", "__proto__"]
    for i, name in enumerate(names):
        path = samples.write_mteb_result(tmp_path, model=f"org/m{i}")
        path.with_name("model_meta.json").write_text(json.dumps({"name": name, "revision": "r"}))
    found = {result.model for result in read_results([tmp_path])[0]}
    assert len(found) == 5
    assert "__proto__" in found
    assert max(map(len, found)) < 5100
    assert all(name.encode("utf-8") for name in found)


def test_a_missing_folder_and_a_result_in_the_wrong_place_are_named(tmp_path, samples):
    path = samples.write_mteb_result(tmp_path / "results")
    path.rename(tmp_path / "results" / "Stray.json")
    results, _, left_out = read_results([tmp_path / "results", tmp_path / "nowhere"])
    assert not results
    assert [item.reason[:20] for item in left_out] == ["a result, but not at", "no such folder"]


def test_the_same_result_in_two_folders_is_taken_once(tmp_path, samples):
    for name in ("a", "b"):
        samples.make_report("base").save(tmp_path / name)
    assert len(read_results([tmp_path / "a", tmp_path / "b"])[0]) == 1
