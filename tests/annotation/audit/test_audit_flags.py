"""Flags: labels that engagement contradicts, measured against the query's own breadth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mr_st.annotation.audit.engagement_fit import EngagementCounts, fit_engagement
from mr_st.annotation.audit.flags import FLAG_SCHEMA, LITTLE, MUCH, FlagSettings, flag_disagreements, flag_pairs
from mr_st.data import GradedDataset
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.data.schema import arrow_table
from mr_st.errors import UsageError
from mr_st.grades import GradeScale

KEYS = ["query_id", "item_id"]
USUAL = {0: (100, 2, 0, 0), 1: (100, 12, 3, 1), 2: (100, 30, 15, 8)}
"""Impressions, clicks, carts and purchases of an item of each grade."""

Log = dict[tuple[str, str], tuple[int, tuple[int, int, int, int] | None]]


def usual_log(n_queries: int = 24, share: float = 1.0, prefix: str = "q") -> Log:
    """Each query has nine items, three of each grade, that are engaged with as is usual for it."""
    log: Log = {}
    for q in range(n_queries):
        for i in range(9):
            impressions, *counts = USUAL[i % 3]
            scaled = tuple(round(share * count) for count in counts)
            log[f"{prefix}{q:02d}", f"{prefix}{q:02d}-i{i}"] = (i % 3, (impressions, *scaled))
    return log


def dataset_of(log: Log, shuffle: int | None = None, scale: GradeScale | None = None) -> GradedDataset:
    keys = list(log)
    if shuffle is not None:
        keys = [keys[n] for n in np.random.default_rng(shuffle).permutation(len(keys))]
    names = ("impressions", "clicks", "add_to_carts", "purchases")
    shown = [key for key in keys if log[key][1] is not None]
    if shuffle is not None:
        shown = shown[::-1]
    engagement = [{"query_id": q, "item_id": i, **dict(zip(names, log[q, i][1] or (), strict=True))} for q, i in shown]
    return GradedDataset.from_tables(
        [{"query_id": q, "text": f"text {q}"} for q in dict.fromkeys(q for q, _ in keys)],
        [{"item_id": i, "title": i} for i in dict.fromkeys(i for _, i in keys)],
        [{"query_id": q, "item_id": i, "grade": log[q, i][0]} for q, i in keys],
        engagement or pl.DataFrame(schema={**dict.fromkeys(KEYS, pl.String), **dict.fromkeys(names, pl.Int64)}),
        **({} if scale is None else {"scale": scale}),
    )  # fmt: skip


def flags_of(log: Log, share: float = 1.0, **options) -> dict[tuple[str, str], dict]:
    table = flag_disagreements(dataset_of(log), share=share, settings=FlagSettings(**options))
    return {(row["query_id"], row["item_id"]): row for row in table.iter_rows(named=True)}


def test_labels_that_engagement_bears_out_are_not_flagged():
    assert flags_of(usual_log()) == {}


def test_much_engagement_with_the_lowest_and_little_with_the_highest_grade():
    log = usual_log()
    log["q03", "q03-i0"] = (0, USUAL[2])
    log["q07", "q07-i2"] = (2, USUAL[0])
    flags = flags_of(log, middle=False)
    assert set(flags) == {("q03", "q03-i0"), ("q07", "q07-i2")}
    much, little = flags["q03", "q03-i0"], flags["q07", "q07-i2"]
    assert (much["reason"], much["grade"], much["clicks"], much["purchases"]) == (MUCH, 0, 30, 8)
    assert (little["reason"], little["grade"], little["clicks"]) == (LITTLE, 2, 2)
    assert much["score"] > 0.9
    assert little["score"] > 0.9
    # what the grade would have given: about as much as the others of that grade have
    assert much["expected"] == pytest.approx(2, abs=1)
    assert little["expected"] == pytest.approx(30, rel=0.2)
    assert little["expected_add_to_carts"] == pytest.approx(15, rel=0.2)
    assert little["expected_purchases"] == pytest.approx(8, rel=0.2)


def test_the_middle_grade_goes_both_ways_and_can_be_left_out():
    log = usual_log()
    log["q03", "q03-i1"] = (1, (100, 45, 30, 20))
    log["q07", "q07-i1"] = (1, (100, 0, 0, 0))
    flags = flags_of(log)
    assert flags["q03", "q03-i1"]["reason"] == MUCH
    assert flags["q07", "q07-i1"]["reason"] == LITTLE
    assert flags_of(log, middle=False) == {}


def test_the_same_counts_are_much_in_a_broad_query_and_little_in_a_narrow_one():
    log = usual_log() | usual_log(share=0.2, prefix="b")
    doubtful = (100, 6, 3, 2)  # what a relevant item has in a broad query; in a narrow one it has five times as much
    for query in ("q05", "b05"):
        log[query, f"{query}-i0"] = (0, doubtful)
        log[query, f"{query}-i2"] = (2, doubtful)
    flags = flags_of(log, middle=False)
    assert flags["b05", "b05-i0"]["reason"] == MUCH
    assert flags["q05", "q05-i2"]["reason"] == LITTLE
    assert ("b05", "b05-i2") not in flags
    assert ("b05", "b05-i0") in flags
    assert flags["b05", "b05-i0"]["expected"] < flags["b05", "b05-i0"]["clicks"]
    # one standard for all queries cannot tell the two apart
    for relative in (True, False):
        found = flag_pairs(dataset_of(log), share=1.0, settings=FlagSettings(query_level=relative, item_appeal=False))
        score = dict(found.sampled.select("item_id", "score").iter_rows())
        if relative:
            assert score["q05-i2"] > score["b05-i2"] + 0.5
        else:
            assert score["q05-i2"] == pytest.approx(score["b05-i2"])
            assert score["b05-i0"] == pytest.approx(score["q05-i0"])


def test_an_item_that_is_clicked_whatever_the_query_is_no_surprise():
    log = usual_log()
    for q in range(24):  # a bargain that is shown everywhere and irrelevant everywhere
        log[f"q{q:02d}", "bargain"] = (0, (100, 14, 1, 0))
    with_appeal, without = flags_of(log, middle=False), flags_of(log, middle=False, item_appeal=False)
    assert not [key for key in with_appeal if key[1] == "bargain"]
    assert len([key for key in without if key[1] == "bargain"]) > 12


def test_each_signal_alone_and_what_it_expects():
    log = usual_log()
    log["q03", "q03-i0"] = (0, USUAL[2])
    log["q07", "q07-i2"] = (2, USUAL[0])
    for signal, expected in (("clicks", "expected"), ("purchases", "expected_purchases")):
        flags = flags_of(log, middle=False, signals=(signal,))
        assert {("q03", "q03-i0"), ("q07", "q07-i2")} <= set(flags)
        row = flags["q07", "q07-i2"]
        estimated = {name for name in row if name.startswith("expected") and row[name] is not None}
        assert estimated == {expected}


def test_carts_that_contradict_the_clicks_count_too():
    log = usual_log()
    log["q03", "q03-i0"] = (0, (100, 8, 6, 4))  # few clicks, but nearly all of them buy
    assert (
        flags_of(log)["q03", "q03-i0"]["score"]
        > flags_of(log, min_probability=0.0, signals=("clicks",)).get(("q03", "q03-i0"), {"score": 0.0})["score"]
    )


def test_pairs_that_were_not_shown_or_too_seldom_are_passed_over():
    log = usual_log()
    log["q03", "q03-i0"] = (0, (4, 4, 4, 4))
    log["q04", "q04-i2"] = (2, (0, 0, 0, 0))
    log["q05", "q05-i2"] = (2, None)
    found = flag_pairs(dataset_of(log), share=1.0)
    assert found.table.is_empty()
    assert found.counts == {"annotated": 216, "sampled": 216, "shown": 214, "judged": 213, "flagged": 0}
    assert len(found.sampled) == 216
    assert found.sampled["impressions"].null_count() == 2
    assert ("q03", "q03-i0") in flags_of(log, min_impressions=4)


def test_more_carts_than_clicks_is_no_trouble():
    log = usual_log()
    log["q03", "q03-i0"] = (0, (100, 0, 20, 30))
    assert flags_of(log)["q03", "q03-i0"]["score"] > 0.9


def test_no_engagement_at_all():
    with_table = dataset_of({key: (grade, None) for key, (grade, _) in usual_log(4).items()})
    assert flag_disagreements(with_table).is_empty()
    assert flag_pairs(with_table).counts["shown"] == 0
    nobody = dataset_of({key: (grade, (100, 0, 0, 0)) for key, (grade, _) in usual_log(4).items()})
    assert flag_disagreements(nobody, share=1.0).is_empty()
    without = GradedDataset.from_tables(with_table.queries, with_table.items, with_table.judgments)
    with pytest.raises(UsageError, match="no engagement"):
        flag_disagreements(without)


def test_what_people_do_with_pairs_that_nobody_judged_changes_nothing():
    log = usual_log()
    log["q03", "q03-i0"] = (0, USUAL[2])
    dataset = dataset_of(log)
    more = pl.concat(
        [
            pl.DataFrame(arrow_table(dataset.engagement)),
            pl.DataFrame(arrow_table(dataset.engagement)).with_columns(item_id=pl.lit("q00-i0")).unique("query_id"),
        ]
    ).unique(KEYS, keep="first", maintain_order=True)
    richer = GradedDataset.from_tables(dataset.queries, dataset.items, dataset.judgments, more)
    assert flag_disagreements(richer, share=1.0).equals(flag_disagreements(dataset, share=1.0))


@pytest.fixture(scope="module")
def noisy():
    shop = GradedDataset.load("marketplace", size="tiny", engagement=True)
    return distort_labels(shop, LabelNoise.uniform(0.15), seed=1, splits=tuple(shop.splits))


def test_the_table_is_in_its_schema_sorted_and_scored_in_range(noisy):
    flags = flag_disagreements(noisy.dataset, share=1.0)
    assert dict(flags.schema) == FLAG_SCHEMA
    assert len(flags) > 20
    assert flags["score"].is_sorted(descending=True)
    assert flags["score"].is_between(0.2, 1.0).all()
    assert flags.select(KEYS).is_unique().all()
    assert set(flags["reason"]) == {MUCH, LITTLE}
    assert set(flags.filter(pl.col("grade") == 0)["reason"]) == {MUCH}
    assert set(flags.filter(pl.col("grade") == 2)["reason"]) == {LITTLE}


def test_the_sample_has_its_size_and_does_not_change_a_score(noisy):
    all_flags = flag_disagreements(noisy.dataset, share=1.0)
    found = flag_pairs(noisy.dataset, share=0.3, seed=4)
    assert found.counts["sampled"] == round(0.3 * found.counts["annotated"]) == len(found.sampled)
    assert found.table.equals(all_flags.join(found.sampled.select(KEYS), on=KEYS, how="semi", maintain_order="left"))
    assert not found.table.equals(flag_disagreements(noisy.dataset, share=0.3, seed=5))
    assert found.table.equals(flag_disagreements(noisy.dataset, share=0.3, seed=4))


def test_labels_of_other_splits_are_not_read(noisy):
    judgments = pl.DataFrame(arrow_table(noisy.dataset.judgments))
    only = noisy.dataset.splits[0]
    other = judgments.with_columns(
        pl.when(pl.col("split") == only).then("grade").otherwise(2 - pl.col("grade")).cast(pl.Int8).alias("grade")
    )
    turned = GradedDataset.from_tables(noisy.dataset.queries, noisy.dataset.items, other, noisy.dataset.engagement)
    flags = flag_disagreements(noisy.dataset, share=1.0, splits=[only])
    assert set(flags["split"]) == {only}
    assert flags.equals(flag_disagreements(turned, share=1.0, splits=[only]))
    with pytest.raises(UsageError, match="no split 'nowhere'"):
        flag_disagreements(noisy.dataset, splits=["nowhere"])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_the_order_of_rows_does_not_matter(seed):
    rng = np.random.default_rng(0)
    log = usual_log(8)
    for n, (key, (grade, (shown, *counts))) in enumerate(list(log.items())):
        given = (grade + 1) % 3 if n % 8 == 0 else grade  # one label in eight is wrong
        log[key] = (given, (shown, *sorted(rng.poisson(0.3 * count) for count in counts)[::-1]))
    log["q03", "q03-i0"] = (0, USUAL[2])
    options = {"share": 0.9, "settings": FlagSettings(min_probability=0.0, min_evidence=0.0)}
    straight = flag_disagreements(dataset_of(log), **options)
    assert len(straight) > 5
    assert flag_disagreements(dataset_of(log, shuffle=seed), **options).equals(straight)


@pytest.mark.parametrize("noise", [LabelNoise.near(0.1), LabelNoise.uniform(0.1)], ids=["near", "uniform"])
def test_flags_hold_far_more_wrong_labels_than_random_pairs(noise):
    shop = GradedDataset.load("marketplace", engagement=True)
    noisy = distort_labels(shop, noise, seed=5)
    flags = flag_disagreements(noisy.dataset, share=1.0, splits=["train"])
    truth = noisy.truth.filter(pl.col("split") == "train")
    wrong = (pl.col("grade") != pl.col("true_grade")).mean()
    precision = flags.join(truth.select(*KEYS, "true_grade"), on=KEYS).select(wrong).item()
    assert len(flags) > 300
    assert precision > 3 * truth.select(wrong).item()


def test_other_scales():
    two = {key: (min(grade, 1), counts) for key, (grade, counts) in usual_log().items() if grade != 1}
    two["q03", "q03-i0"] = (0, USUAL[2])
    table = flag_disagreements(dataset_of(two, scale=GradeScale(("no", "yes"), (0.0, 1.0))), share=1.0)
    assert table["item_id"].to_list() == ["q03-i0"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_probability": 1.5}, {"label_accuracy": 0.3}, {"label_accuracy": 1.0}, {"min_impressions": 0},
        {"min_evidence": -1.0}, {"min_evidence": float("nan")}, {"signals": ()}, {"signals": ("likes",)},
    ],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(UsageError, match="FlagSettings"):
        FlagSettings(**wrong)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_share_out_of_range(noisy, share):
    with pytest.raises(UsageError, match="share"):
        flag_disagreements(noisy.dataset, share=share)


def test_priors_by_hand():
    """Two grades, half of the labels each, a judge who is right nine times in ten: so is each label."""
    counts = np.array([[10, 1, 0, 0]] * 4)
    log = EngagementCounts(np.array([0, 0, 1, 1]), np.arange(4), counts, counts[:, 0], np.array([0, 1, 0, 1]))
    fit = fit_engagement(log, 2, label_accuracy=0.9)
    np.testing.assert_allclose(fit.priors, [[0.9, 0.1], [0.1, 0.9]] * 2)
    np.testing.assert_allclose(fit.posterior.sum(axis=1), 1.0)


def test_a_rare_grade_is_more_often_a_slip():
    """Of 98 labels 0 and 2 labels 1, with one more of each: shares 99/102 and 3/102, which come of true shares
    (99/102 - .1) / .8 = 1.0882 and below 0, taken as .01; brought to sum 1 that is .00911 for grade 1."""
    counts = np.array([[10, 1, 0, 0]] * 100)
    labels = np.array([0] * 98 + [1] * 2)
    log = EngagementCounts(np.zeros(100, int), np.arange(100), counts, counts[:, 0], labels)
    priors = fit_engagement(log, 2, label_accuracy=0.9).priors
    share = 0.01 / (1.088235 + 0.01)
    np.testing.assert_allclose(priors[-1, 1], 0.9 * share / (0.9 * share + 0.1 * (1 - share)), rtol=1e-4)
