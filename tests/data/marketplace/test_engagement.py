"""The simulated log has the biases it says, and the truth is left alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mr_st.data.marketplace.engagement import EngagementModel, simulate_engagement
from mr_st.data.marketplace.policy import grade
from mr_st.data.marketplace.world import World, make_world
from mr_st.errors import UsageError


@pytest.fixture(scope="module")
def world() -> World:
    return make_world("small", 0)


def with_grades(world: World, log: pl.DataFrame) -> pl.DataFrame:
    intents = {query.query_id: query.intent for query in world.queries}
    items = {item.item_id: item for item in world.items}
    pairs = log.select("query_id", "item_id").iter_rows()
    return log.with_columns(grade=pl.Series([grade(intents[q], items[i])[0] for q, i in pairs]))


@pytest.fixture(scope="module")
def log(world: World) -> pl.DataFrame:
    return with_grades(world, simulate_engagement(world))


def rates(log: pl.DataFrame) -> pl.DataFrame:
    total = pl.col("impressions", "clicks", "add_to_carts", "purchases").sum()
    return log.group_by("grade").agg(total).sort("grade")


def test_counts_are_nested_and_repeatable(world: World, log: pl.DataFrame) -> None:
    for fewer, more in (("clicks", "impressions"), ("add_to_carts", "clicks"), ("purchases", "add_to_carts")):
        assert (log[fewer] <= log[more]).all()
    assert log.select(pl.struct("query_id", "item_id").n_unique()).item() == log.height
    assert simulate_engagement(world).equals(log.drop("grade"))
    assert not simulate_engagement(world, seed=9).equals(log.drop("grade"))


def test_relevant_items_are_clicked_and_bought_more(log: pl.DataFrame) -> None:
    by_grade = rates(log)
    ctr = (by_grade["clicks"] / by_grade["impressions"]).to_list()
    conversion = (by_grade["purchases"] / by_grade["clicks"]).to_list()
    assert ctr[0] < ctr[1] < ctr[2]
    assert conversion[0] < conversion[1] < conversion[2]


def test_the_log_disagrees_with_the_truth_now_and_then(log: pl.DataFrame) -> None:
    """What the audit is there to find: irrelevant items that are clicked, relevant ones that nobody clicks."""
    shown = log.filter(pl.col("impressions") >= 20)
    assert shown.filter((pl.col("grade") == 0) & (pl.col("clicks") >= 5)).height > 0
    assert shown.filter((pl.col("grade") == 2) & (pl.col("clicks") == 0)).height > 0


def test_position_bias_takes_clicks_from_the_bottom(world: World) -> None:
    flat, steep = (simulate_engagement(world, EngagementModel(position_bias=bias)) for bias in (0.0, 1.5))
    assert flat["impressions"].sum() == steep["impressions"].sum()
    assert flat["clicks"].sum() > 3 * steep["clicks"].sum()


def test_broad_queries_convert_less_per_item(world: World) -> None:
    breadth = {query.query_id: int((world.grades_of(query.intent) > 0).sum()) for query in world.queries}
    log = with_grades(world, simulate_engagement(world, EngagementModel(breadth=1.0, sessions=20)))
    relevant = log.filter(pl.col("grade") == 2).with_columns(
        n=pl.col("query_id").replace_strict(breadth, return_dtype=pl.Int64)
    )
    middle = relevant["n"].median()
    part = relevant.group_by(pl.col("n") > middle).agg(pl.col("purchases").sum() / pl.col("clicks").sum())
    narrow, broad = part.sort("n")["purchases"].to_list()
    assert broad < 0.7 * narrow


def test_popular_items_are_clicked_whatever_their_grade(world: World) -> None:
    def spread(popularity: float) -> float:
        model = EngagementModel(popularity=popularity, sessions=20, position_bias=0.0)
        log = with_grades(world, simulate_engagement(world, model)).filter(pl.col("grade") == 0)
        per_item = log.group_by("item_id").agg(pl.col("clicks").sum() / pl.col("impressions").sum())
        return float(np.std(per_item["clicks"].to_numpy()))

    assert spread(1.0) > 2 * spread(0.0)


def test_frequent_queries_are_searched_more(world: World, log: pl.DataFrame) -> None:
    frequency = pl.DataFrame(
        {"query_id": [q.query_id for q in world.queries], "frequency": [q.frequency for q in world.queries]}
    )
    seen = log.group_by("query_id").agg(pl.col("impressions").max()).join(frequency, on="query_id")
    assert np.corrcoef(seen["impressions"], seen["frequency"])[0, 1] > 0.95


def test_bad_models() -> None:
    with pytest.raises(UsageError, match=r"rate in 0\.\.1 for each grade"):
        EngagementModel(click=(0.1, 0.2, 1.5))
    with pytest.raises(UsageError, match=r"rate in 0\.\.1 for each grade"):
        EngagementModel(click=(0.1, 0.2))
    with pytest.raises(UsageError, match="1 or more"):
        EngagementModel(n_days=0)
