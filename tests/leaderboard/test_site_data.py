"""The data scripts of the first page: scores as integers, absent where there are none."""

from __future__ import annotations

import json

from mr_st.leaderboard.board import make_board
from mr_st.leaderboard.results import read_results
from mr_st.leaderboard.script_files import packed, write_script
from mr_st.leaderboard.site_data import all_scores, board_data


def test_scores_stand_at_their_cell_and_what_is_missing_is_null(tmp_path, samples):
    samples.make_report("base").save(tmp_path)
    samples.make_report("stage2", "ESCIRetrieval").save(tmp_path)
    samples.write_mteb_result(tmp_path, score=0.25)
    board = make_board(read_results([tmp_path])[0])
    assert [t.name for t in board.tasks] == ["ESCIRetrieval", "MarketplaceRetrieval"]
    files = {(board.metrics[m], s): scores for m, s, scores in all_scores(board)}
    ndcg = files["ndcg@10", 0]
    e5 = next(i for i, m in enumerate(board.models) if m.name == "intfloat/e5-small-v2")
    assert ndcg["value"][2 * e5 : 2 * e5 + 2] == [None, 25_000]
    assert ndcg["low"][2 * e5 + 1] is None
    assert sum(value is None for value in ndcg["value"]) == 3
    margins = files["margin_worst_2_0", 0]
    assert margins["value"][2 * e5 + 1] is None  # mteb has none, and it is no zero


def test_facts_of_a_model_are_shown_where_they_are_known(tmp_path, samples):
    samples.write_mteb_result(tmp_path)
    meta = next(tmp_path.glob("*/*/model_meta.json"))
    known = {
        "model_type": ["dense"],
        "license": "mit",
        "adapted_from": "a/b",
        "training_datasets": {"ESCI": ["train"]},
    }
    meta.write_text(json.dumps(json.loads(meta.read_text()) | known))
    board = make_board(read_results([tmp_path])[0])
    (model,) = board_data(board, "t", {"models": ["m.html"], "tasks": ["t.html"]}, [[""]])["models"]
    wanted = {"kind": "bi-encoder", "license": "mit", "base": "a/b", "training": ["ESCI"], "dim": 384}
    assert {key: model[key] for key in wanted} == wanted
    assert model["max_tokens"] is None


def test_a_script_file_is_one_call_and_no_text_ends_it(tmp_path):
    write_script(tmp_path, "tasks/0", {"a": "</script>\u2028"})
    text = (tmp_path / "data" / "tasks" / "0.js").read_text()
    assert text == 'MR.put("tasks/0",{"a":"\\u003c/script\\u003e\\u2028"});\n'


def test_numbers_are_packed_little_endian():
    import numpy as np

    assert packed(np.array([1, -1]), "i4") == "AQAAAP////8="
