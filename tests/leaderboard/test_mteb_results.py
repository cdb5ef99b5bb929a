"""A result that mteb itself wrote, with no file by query, is on the leaderboard."""

from __future__ import annotations

import json

import mteb
import pytest
from word_shop import WordSystem, word_shop

from mr_st.evaluation.mteb_search import as_mteb_search
from mr_st.leaderboard import build_leaderboard
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval


class MtebShop(GradedRetrievalTask):
    """The word shop as a task."""

    metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "MtebShopRetrieval"})


def test_it_has_a_row_a_score_and_no_interval(tmp_path):
    pytest.importorskip("bm25s")
    (found,) = mteb.evaluate(
        as_mteb_search(WordSystem()), MtebShop(word_shop()), cache=mteb.ResultCache(tmp_path), show_progress_bar=False
    ).task_results
    assert not list(tmp_path.rglob("*.parquet"))
    index = build_leaderboard(tmp_path / "results", tmp_path / "site")
    text = (index.parent / "data" / "board.js").read_text(encoding="utf-8")
    board = json.loads(text[text.index(",") + 1 : text.rindex(")")])
    assert [task["name"] for task in board["tasks"]] == ["MtebShopRetrieval"]
    assert [model["name"] for model in board["models"]] == ["test/words"]
    assert board["status"] == ["o"]
    shown = index.read_text(encoding="utf-8")
    assert f"{found.scores['test'][0]['ndcg_at_10']:.3f}" in shown
    assert "is not on this page" not in shown
