"""The round's counts against plain loops, its intervals against a bootstrap that draws query by query."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import MrStError, UsageError
from mr_st.measures import save_figure
from mr_st.mining.report import count_pairs, rank_deciles, share_interval
from mr_st.mining.report_plot import plot_round
from mr_st.mining.report_text import report_facts, report_text
from mr_st.mining.select import cap_pairs, hard_pairs

NAMES = ("irrelevant", "partial", "relevant")


def a_report(n_queries=40, k=20, last=None, seed=0, dropped=None, **options):
    """A round of two sources over random pairs; also the columns it counted."""
    rng = np.random.default_rng(seed)
    last = k // 2 if last is None else last
    query_rows = np.repeat(np.arange(n_queries), k)
    ranks = np.stack([rng.permuted(np.tile(np.arange(k) + 1, (n_queries, 1)), axis=1).ravel() for _ in "ab"], axis=1)
    ranks[rng.random(len(ranks)) < 0.3, 0] = 0
    ranks[(rng.random(len(ranks)) < 0.3) & (ranks[:, 0] > 0), 1] = 0
    grades = (rng.random(len(ranks)) < 0.5).astype(int) + (rng.random(len(ranks)) < 0.2)
    confidences = rng.random(len(ranks))
    hard = hard_pairs(ranks, grades, confidences, last_negative_rank=last, min_confidence=0.2)
    near, twins = rng.random((2, len(ranks))) < 0.1
    selection = cap_pairs(query_rows, grades, hard, near_positive=near, twins=twins, max_negatives=2)
    pairs = count_pairs(
        query_rows, ranks, grades, selection, k=k, last_negative_rank=last, n_grades=3,
        retrieved=len(ranks) + sum((dropped or {}).values()), dropped=dropped, source_names=["model", "bm25"],
        **options,
    )  # fmt: skip
    return {"queries": n_queries, "pairs": pairs}, (query_rows, ranks, grades, selection)


@pytest.mark.parametrize("k", [20, 7, 30])
def test_counts_equal_a_loop(k):
    strata = np.arange(40, dtype=np.int8) % 2 * 2
    report, (query_rows, ranks, grades, selection) = a_report(k=k, strata=strata, dropped={"already_judged": 5})
    pairs = report["pairs"]
    best = np.array([min(r for r in row if r) for row in ranks])
    assert (pairs["retrieved"], pairs["already_judged"], pairs["annotated"]) == (40 * k + 5, 5, 40 * k)
    fates = ["dropped_by_confidence", "dropped_near_positive", "dropped_as_twin", "dropped_by_cap", "taken"]
    masks = [selection.unsure, selection.near_positive, selection.twins, selection.capped, selection.taken]
    assert [pairs[name] for name in fates] == [mask.sum() for mask in masks]
    assert all(pairs[name] for name in fates)  # the example has some of each

    def check(of, mask):
        assert of["pairs"] == mask.sum()
        assert of["positive"] == (grades[mask] >= 1).sum()
        assert of["by_grade"] == {str(g): (grades[mask] == g).sum() for g in range(3)}
        assert of["taken_by_grade"] == {str(g): (selection.taken & mask & (grades == g)).sum() for g in range(3)}
        assert of["queries"] == len(set(query_rows[mask]))

    covered = np.zeros(len(best), dtype=bool)
    for of in pairs["by_rank_decile"]:
        within = (best >= of["first_rank"]) & (best <= of["last_rank"])
        check(of, within)
        assert not (covered & within).any()
        covered |= within
    assert covered.all()
    assert list(pairs["by_source"]) == ["model", "bm25", "model+bm25"]
    check(pairs["by_source"]["model"], ranks[:, 1] == 0)
    check(pairs["by_source"]["bm25"], ranks[:, 0] == 0)
    check(pairs["by_source"]["model+bm25"], (ranks > 0).all(axis=1))
    assert list(pairs["by_stratum"]) == ["head", "tail"]
    check(pairs["by_stratum"]["tail"], strata[query_rows] == 2)
    for kind, mask in (("hard negative", selection.hard_negatives), ("hard positive", selection.hard_positives)):
        of = pairs["taken_by_kind"][kind]
        assert (of["pairs"], sum(of["by_rank_decile"])) == (mask.sum(), mask.sum())
    naive = pairs["would_be_negatives"]
    assert naive["to_k"]["pairs"] == 40 * k
    assert naive["to_boundary"]["share_positive"] == (grades[best <= k // 2] >= 1).mean()


def test_a_report_is_json_and_equal_for_equal_rounds():
    one, other = a_report()[0], a_report()[0]
    assert json.dumps(one) == json.dumps(other)
    assert json.loads(json.dumps(one)) == one


@given(st.integers(1, 40), st.integers(1, 60))
def test_deciles_are_where_their_ranks_say(k, rank):
    decile = int(rank_deciles(np.array([rank]), k)[0])
    assert 0 <= decile <= 9
    if rank <= k:
        assert decile * k // 10 + 1 <= rank <= (decile + 1) * k // 10
    else:
        assert decile == 9


def test_the_interval_is_that_of_whole_queries_resampled():
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 12, 150)
    queries = np.repeat(np.arange(150) * 3, sizes)  # two of three queries have no pair
    leaning = np.repeat(rng.random(150), sizes)  # pairs of a query are alike, so the pairs' own spread is too small
    positive = rng.random(len(queries)) < leaning
    interval = share_interval(queries, positive)
    assert (interval.value, interval.n) == (positive.mean(), 150)
    per_query = [(sizes[q], positive[queries == 3 * q].sum()) for q in range(150)]
    counts = np.array(per_query)
    drawn = counts[rng.integers(0, 150, (20_000, 150))].sum(axis=1)
    low, high = np.quantile(drawn[:, 1] / drawn[:, 0], [0.025, 0.975])
    assert abs(interval.low - low) < 0.008
    assert abs(interval.high - high) < 0.008
    naive = 2 * 1.96 * np.sqrt(interval.value * (1 - interval.value) / len(queries))
    assert interval.high - interval.low > 1.3 * naive


def test_intervals_at_the_edges():
    none = share_interval(np.empty(0, dtype=int), np.empty(0, dtype=bool))
    assert (none.n, none.to_dict()["value"]) == (0, None)
    one = share_interval(np.zeros(4, dtype=int), np.array([True, False, False, False]))
    assert one.to_dict() == {"value": 0.25, "low": None, "high": None, "n": 1}
    never = share_interval(np.arange(5), np.zeros(5, dtype=bool))
    assert (never.value, never.low, never.high) == (0, 0, 0)
    alike = share_interval(np.repeat(np.arange(7), 3), np.tile([True, False, False], 7))
    assert alike.low == alike.value == alike.high


def test_counts_that_do_not_add_up():
    one = np.array([1])
    selection = cap_pairs(one, one, hard_pairs(one[:, None], one, one, last_negative_rank=1))
    with pytest.raises(UsageError, match="10 pairs retrieved and 3 dropped, but 1 annotated"):
        count_pairs(
            one, one[:, None], one, selection, k=1, last_negative_rank=1, n_grades=2, retrieved=10,
            dropped={"already_judged": 3},
        )  # fmt: skip


# ---- the text and the figure ---------------------------------------------------------------------------------------


def nothing_annotated():
    empty = np.empty(0, dtype=np.int64)
    selection = cap_pairs(empty, empty, hard_pairs(empty[:, None], empty, empty, last_negative_rank=5))
    return {
        "queries": 2,
        "pairs": count_pairs(
            empty, empty[:, None], empty, selection, k=10, last_negative_rank=5, n_grades=3, retrieved=4,
            dropped={"already_judged": 4}, strata=np.zeros(3, dtype=np.int8),
        ),
    }  # fmt: skip


def test_the_text_says_what_the_report_says():
    report, _ = a_report(dropped={"already_judged": 1234, "over_budget": 0}, strata=np.zeros(40, dtype=np.int8))
    pairs = report["pairs"]
    text = report_text(report, NAMES)
    naive = pairs["would_be_negatives"]["to_boundary"]
    for words in (
        "2,034 pairs of 40 queries, top 20", "-1,234 already judged", f"{pairs['taken']:,}",
        f"{naive['share_positive']:.1%} of {naive['pairs']:,}", f"{naive['low']:.1%} to {naive['high']:.1%}",
        "irrelevant", "model+bm25", "head", f"{pairs['dropped_as_twin']} twins of harder pairs", "rank    10:",
    ):  # fmt: skip
        assert words in text
    assert "over budget" not in text  # nothing was dropped for it
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("ranks"))
    assert len({len(line) for line in lines[first : first + 11]}) == 1  # the columns stand under each other
    assert all(line == line.rstrip() for line in lines)
    assert "grade 2" in report_text(report)


def test_the_facts_for_a_card():
    pairs = a_report()[0]["pairs"]
    about = {"model": "m", "dataset": {}, "annotator": "a", "settings": {}, "queries": 40, "items": 9}
    search = [{"source": "model", "kind": "exact"}, {"source": "bm25", "kind": "bm25"}]
    facts = report_facts({**about, "search": search, "pairs": pairs})
    assert facts["search"] == "model (exact), bm25 (bm25)"
    assert facts["taken pairs"].startswith(f"{pairs['taken']:,} (")
    shares = next(text for name, text in facts.items() if name.startswith("graded 1 or more"))
    assert f"{pairs['would_be_negatives']['to_k']['share_positive']:.1%} of" in shares
    assert "rank_decile" not in str(facts)


def test_the_text_of_a_round_without_pairs():
    text = report_text(nothing_annotated())
    assert "no such pair" in text
    assert "ranks" not in text


@pytest.mark.parametrize(
    ("k", "last", "line"), [(20, 10, 4.5), (6, 3, 2.5), (20, 5, 2.0), (20, 0, -0.5), (20, 20, 9.5)]
)
def test_the_figure_shows_the_shares_and_the_boundary(k, last, line, tmp_path):
    report, _ = a_report(k=k, last=last)
    pairs = report["pairs"]
    figure = plot_round(report, NAMES)
    (axes,) = figure.axes
    shown = [of for of in pairs["by_rank_decile"] if of["pairs"]]
    heights = np.zeros(len(shown))
    bars = list(axes.containers)
    for grade in range(3):
        taken, rest = bars[2 * grade], bars[2 * grade + 1]
        for n, of in enumerate(shown):
            assert taken[n].get_height() == pytest.approx(of["taken_by_grade"][str(grade)] / of["pairs"])
            both = taken[n].get_height() + rest[n].get_height()
            assert both == pytest.approx(of["by_grade"][str(grade)] / of["pairs"])
            heights[n] += both
    np.testing.assert_allclose(heights, 1)
    assert axes.lines[0].get_xdata()[0] == pytest.approx(line)
    naive = pairs["would_be_negatives"]["to_boundary" if last else "to_k"]
    assert f"{naive['share_positive']:.1%} [" in figure.get_suptitle()
    first, again = save_figure(figure, tmp_path / "a.png"), save_figure(plot_round(report, NAMES), tmp_path / "b.png")
    assert first.read_bytes() == again.read_bytes()
    assert save_figure(figure, tmp_path / "a.svg").stat().st_size > 1000


def test_nothing_to_plot():
    with pytest.raises(MrStError, match="annotated no pair"):
        plot_round(nothing_annotated())
