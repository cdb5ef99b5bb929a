"""Rows, columns and what each cell is: ok, partial, stale, other, failed or missing, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mr_st.leaderboard.board import WHOLE, make_board
from mr_st.leaderboard.results import Failure, Result
from mr_st.leaderboard.site_data import board_data

PROTOCOL = {"corpus": "full catalogue", "n_items": 500, "n_queries": 40, "gains": [0.0, 1.0]}


def result(model: str = "org/a", task: str = "T", revision: str = "new", **options: Any) -> Result:
    """A result of our own on the newest data; ``protocol={}`` for one of MTEB's."""
    options = {"subset": WHOLE, "protocol": PROTOCOL, "date": 100.0, "split": "test", "score": 0.5} | options
    return Result(
        model=model,
        revision=options.pop("of", "r1"),
        task=task,
        dataset_revision=revision,
        main_metric="ndcg@10",
        metrics={"ndcg@10": (options.pop("score"), None, None, None)},
        path=Path(f"results/m/r/{task}.json"),
        shown_path="",
        **options,
    )


def statuses(*results: Result, failures: tuple[Failure, ...] = ()) -> dict[str, tuple[str, str]]:
    """Model to the status and note of its cell on the only task."""
    board = make_board(results, failures)
    (task,) = board.tasks
    return {m.name: (task.status.get(i, "missing"), task.notes.get(i, "")) for i, m in enumerate(board.models)}


def test_what_was_never_evaluated_is_missing_and_has_no_score():
    board = make_board([result("org/a", "T"), result("org/b", "U")])
    assert [task.status for task in board.tasks] == [{0: "ok"}, {1: "ok"}]
    assert [task.of(0) is None for task in board.tasks] == [False, True]


def test_older_data_is_stale_and_keeps_its_figures():
    results = [result("org/a", revision="old", date=1.0), result("org/b", date=100.0)]
    assert statuses(*results) == {
        "org/a": ("stale", "data revision old; this column shows new"),
        "org/b": ("ok", ""),
    }
    assert make_board(results).tasks[0].of(0).metrics["ndcg@10"][0] == 0.5


def test_the_newest_data_is_that_whose_first_evaluation_is_the_latest():
    results = [
        result("org/a", revision="old", date=1.0),
        result("org/b", revision="new", date=50.0),
        result("org/c", revision="old", date=99.0),  # somebody evaluated the old data again
    ]
    assert make_board(results).tasks[0].revision == "new"


def test_a_column_is_of_data_whose_protocol_is_said_where_there_is_some():
    results = [result("org/a", revision="ours", date=1.0), result("org/b", revision="theirs", date=9.0, protocol={})]
    assert statuses(*results)["org/b"][0] == "stale"


def test_without_dates_the_data_of_most_models_is_shown_whatever_the_order():
    results = [
        result("org/a", revision="z", date=0.0),
        result("org/b", revision="b", date=0.0),
        result("org/c", revision="b", date=0.0),
    ]
    assert {make_board(order).tasks[0].revision for order in (results, results[::-1])} == {"b"}


def test_a_model_on_both_data_shows_the_new_one():
    board = make_board([result(revision="old", date=1.0, score=0.1), result(revision="new", date=2.0, score=0.9)])
    assert board.tasks[0].of(0).metrics["ndcg@10"][0] == 0.9
    assert board.tasks[0].status == {0: "ok"}


def test_fewer_queries_are_partial():
    found = statuses(result("org/a"), result("org/b"), result("org/c", protocol={**PROTOCOL, "n_queries": 20}))
    assert found["org/c"] == ("partial", "20 of 40 queries")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus": "judged items"}, "judged items, 500 items"),
        ({"n_items": 50}, "full catalogue, 50 items"),
        ({"gains": [0.0, 2.0]}, "gains 0, 2"),
        ({"n_queries": 80}, "80 queries, not 40"),
    ],
)
def test_another_protocol_is_not_ranked(change, said):
    found = statuses(result("org/a"), result("org/b"), result("org/c", protocol={**PROTOCOL, **change}, date=999.0))
    status, note = found["org/c"]
    assert status == "other"
    assert said in note


def test_between_two_protocols_the_one_over_more_items_is_shown():
    bounded = result("org/a", protocol={**PROTOCOL, "n_items": 50}, date=999.0)
    assert statuses(bounded, result("org/b"))["org/a"][0] == "other"


def test_only_a_subset_is_partial():
    found = statuses(result("org/a"), result("org/b", subset="de", protocol={"n_queries": 3}))
    assert found["org/b"] == ("partial", "only on de")


def test_results_of_mteb_on_the_same_data_are_ok():
    assert statuses(result("org/a"), result("org/b", protocol={}))["org/b"] == ("ok", "")


def test_a_mean_over_fewer_subsets_is_partial_and_beside_all_queries_another_protocol():
    few, all_of_them = (result(f"org/{n}", protocol={}, mean_of=n) for n in (2, 3))
    assert statuses(few, all_of_them) == {
        "org/2": ("partial", "2 of 3 subsets"),
        "org/3": ("ok", "the mean of 3 subsets, as MTEB takes it"),
    }
    assert statuses(result("org/a"), few)["org/2"] == ("other", "the mean of 2 subsets; this column shows all queries")


def test_a_file_that_cannot_be_read_is_a_failed_cell_where_others_have_results():
    failures = (
        Failure("org/b", "r1", "T", "r/b.json", "not valid JSON"),
        Failure("org/a", "r1", "T", "r/a.json", "not valid JSON"),  # it has a result too
        Failure("org/c", "r1", "package", "r/c.json", "no MTEB result"),  # no task of anybody
    )
    assert statuses(result("org/a"), failures=failures) == {
        "org/a": ("ok", ""),
        "org/b": ("failed", "not valid JSON"),
    }


def test_splits_and_revisions_are_told_apart():
    board = make_board(
        [result(split="test"), result(split="dev"), result(of="12345678aa"), result(of="12345678bb"), result("org/b")]
    )
    assert [task.label for task in board.tasks] == ["T · dev", "T · test"]
    labels = [model.label for model in board.models]
    assert len(set(labels)) == len(labels) == 4
    assert all(label.startswith("org/a @ ") for label in labels[:3])


def test_names_that_look_alike_get_different_labels():
    board = make_board([result("x" * 100 + end) for end in "ab"] + [result(" ")])
    assert [model.label for model in board.models] == ["(no name)", f"{'x' * 59}… (1)", f"{'x' * 59}… (2)"]


def test_what_is_too_much_is_left_out_and_said():
    many = [result(subset=f"s{i:04d}", protocol={}) for i in range(500)]
    board = make_board([result(), *many])
    assert len(board.subsets) == 400
    assert board.subsets[0].name == WHOLE
    assert board.left_out[0].reason == "101 of 501 are not shown; those most in use are"


def test_the_data_say_status_notes_and_zero_shot_for_each_cell():
    trained = result("org/b", revision="old", date=1.0)
    trained.facts = {"training_datasets": ["T"]}
    board = make_board([result("org/a"), trained, result("org/b", "URetrieval")])
    pages = {"models": [None, None], "tasks": [None, None]}
    data = board_data(board, "title", pages, [["", ""], ["", ""]])
    assert data["status"] == ["o-", "so"]
    assert data["zero_shot"] == ["??", "ny"]
    assert list(data["notes"]) == ["1-0"]
