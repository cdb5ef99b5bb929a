"""The golden set is what it says: shares, labels, and not a pair that training holds, not even through a variant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from reading_annotators import ConstantAnnotator, OverlapAnnotator

from mr_st.annotation import Annotations, Annotator, JudgmentAnnotator, PairTable
from mr_st.augment.golden import GoldenSet, build_golden_set
from mr_st.augment.golden_pairs import RandomItems, zeros_missing
from mr_st.data import GradedDataset
from mr_st.errors import MrStError, UsageError
from mr_st.text import tokens

Pairs = dict[str, dict[str, int]]


def pairs_of(dataset: GradedDataset, split: str) -> Pairs:
    """Query id to item id to grade."""
    found: Pairs = defaultdict(dict)
    for row in dataset.judgments:
        if row["split"] == split:
            found[row["query_id"]][row["item_id"]] = row["grade"]
    return dict(found)


def groups_of(dataset: GradedDataset) -> dict[str, int]:
    """Query id to a number that variants and queries of the same words share; merged until nothing changes."""
    rows = list(dataset.queries)
    group = {row["query_id"]: number for number, row in enumerate(rows)}
    links = [(row["query_id"], row["source_query_id"]) for row in rows if row["source_query_id"] in group]
    by_words: dict[tuple[str, ...], str] = {}
    for row in rows:
        links.append((row["query_id"], by_words.setdefault(tuple(tokens(row["text"])), row["query_id"])))
    changed = True
    while changed:
        changed = False
        for one, other in links:
            low = min(group[one], group[other])
            if group[one] != low or group[other] != low:
                group[one] = group[other] = low
                changed = True
    return group


def check(before: GradedDataset, golden: GoldenSet, zero_share: float, split: str = "test") -> None:
    """What holds for every golden set, found anew from its tables."""
    after, report = golden.dataset, golden.report
    after.validate()
    assert after.items is before.items
    assert after.scale == before.scale
    made, group = pairs_of(after, split), groups_of(after)
    assert len(made) == report.reported["queries"]
    for grades in made.values():
        zeros = list(grades.values()).count(0)
        assert any(grade >= 1 for grade in grades.values())
        assert zeros >= zero_share * len(grades)
    in_set = {(group[q], item) for q, grades in made.items() for item in grades}
    others = [name for name in ("train", "dev", "test") if name != split]
    for other in others:
        left = pairs_of(after, other)
        assert not in_set & {(group[q], item) for q, grades in left.items() for item in grades}
        was = pairs_of(before, other)
        assert all(left[q].items() <= was[q].items() for q in left), "a judgment changed"
        if other != "train":
            assert left == was
    trained, was = pairs_of(after, "train"), pairs_of(before, "train")
    seen = {group[q] for q in trained}
    unseen = [q for q in made if group[q] not in seen]
    assert report.reported["unseen_share"] == pytest.approx(len(unseen) / len(made), abs=1e-4)
    held_out = {group[q] for q in unseen} & {group[q] for q in was}
    assert report.held_out_queries == len(held_out)
    source = {row["query_id"]: row["source_query_id"] for row in after.queries}
    known = set(before.queries["query_id"])
    chosen = {query_id if query_id in known else source[query_id] for query_id in made}
    for query_id, grades in was.items():
        lost = grades.keys() - trained.get(query_id, {}).keys()
        if group[query_id] not in held_out:
            assert {(group[query_id], item) for item in lost} <= in_set
            if query_id in chosen:  # a query of the same words may have had nothing but a pair that moved
                assert set(trained[query_id].values()) == set(grades.values()), "training lost a grade of a query"
    shares = [list(grades.values()).count(0) / len(grades) for grades in made.values()]
    assert report.reported["zero_share_min"] == pytest.approx(min(shares), abs=1e-4)
    assert report.reported["zero_share_mean"] == pytest.approx(float(np.mean(shares)), abs=1e-4)
    assert report.reported["pairs"] == sum(map(len, made.values())) == sum(report.pairs.values())
    assert report.training_pairs == (sum(map(len, was.values())), sum(map(len, trained.values())))
    kinds = {row["query_id"]: row["kind"] for row in after.queries}
    assert report.reported["misspelt_share"] == pytest.approx(
        sum(kinds[q] == "spelling" for q in made) / len(made), abs=1e-4
    )
    random_rows = [row for row in after.judgments if row["source"].startswith("golden:")]
    assert len(random_rows) == sum(report.random_items.values())
    assert all(row["split"] == split and row["confidence"] is not None for row in random_rows)


# ---- the marketplace and its exact policy ------------------------------------------------------------------------


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 10), seed=st.integers(0, 1000), zero_share=st.sampled_from([0.0, 0.65, 0.8]),
    unseen=st.sampled_from([0.0, 0.3, 0.5]), misspelt=st.sampled_from([None, 0.0, 0.2, 0.5]),
    n_random=st.integers(0, 12),
)  # fmt: skip
def test_shares_hold_on_the_marketplace(
    shop: GradedDataset, shop_policy: JudgmentAnnotator, n: int, seed: int, zero_share: float, unseen: float,
    misspelt: float | None, n_random: int,
) -> None:  # fmt: skip
    golden = build_golden_set(
        shop, shop_policy, n_queries=n, seed=seed, zero_share=zero_share, unseen_share=unseen,
        misspelt_share=misspelt, n_random=n_random,
    )  # fmt: skip
    check(shop, golden, zero_share)
    found = golden.report.reported
    assert found["queries"] == n
    assert abs(found["unseen_share"] * n - unseen * n) <= 0.51
    if misspelt is not None:
        assert abs(found["misspelt_share"] * n - misspelt * n) <= 0.51
    assert golden.report.shortfalls == []


def test_every_label_is_the_policys(shop: GradedDataset, shop_policy: JudgmentAnnotator) -> None:
    golden = build_golden_set(shop, shop_policy, n_queries=10, misspelt_share=0.3)
    source = {row["query_id"]: row["source_query_id"] for row in golden.dataset.queries}
    known = set(shop.queries["query_id"])
    for query_id, grades in pairs_of(golden.dataset, "test").items():
        meant = query_id if query_id in known else source[query_id]
        pairs = PairTable([meant] * len(grades), list(grades), *([""] * len(grades) for _ in range(3)))
        assert shop_policy.grade(pairs).grades.tolist() == list(grades.values())


def test_a_random_item_found_relevant_keeps_its_label(shop: GradedDataset, shop_policy: JudgmentAnnotator) -> None:
    golden = build_golden_set(shop, shop_policy, n_queries=10, n_random=100)
    assert golden.report.random_items["partial"] + golden.report.random_items["relevant"] > 0
    check(shop, golden, 0.65)


def test_asked_head_and_tail_shares(shop: GradedDataset, shop_policy: JudgmentAnnotator) -> None:
    golden = build_golden_set(shop, shop_policy, n_queries=10, head_share=0.2, tail_share=0.5)
    queries = {row["query_id"]: row["frequency"] for row in shop.queries}
    by_frequency = sorted(queries.values(), reverse=True)
    third = sum(by_frequency) / 3
    head = {f for place, f in enumerate(by_frequency) if sum(by_frequency[:place]) < third}
    made = [queries[q] for q in pairs_of(golden.dataset, "test")]
    assert sum(frequency in head for frequency in made) == 2
    assert golden.report.reported["head_share"] == 0.2
    assert golden.report.reported["tail_share"] == 0.5


def test_the_same_seed_gives_the_same_set_in_any_process(tmp_path: Path) -> None:
    script = (
        "from mr_st.data import GradedDataset\n"
        "from mr_st.annotation import JudgmentAnnotator\n"
        "from mr_st.augment.golden import build_golden_set\n"
        "from mr_st.data.marketplace import MarketplacePolicy\n"
        "shop = GradedDataset.load('marketplace', size='tiny')\n"
        "policy = JudgmentAnnotator(MarketplacePolicy.for_dataset(shop))\n"
        "for seed in (0, 1):\n"
        "    golden = build_golden_set(shop, policy, n_queries=8, misspelt_share=0.25, seed=seed)\n"
        "    print(golden.dataset.fingerprint)\n"
    )
    prints = []
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        prints.append(run.stdout.split())
    assert prints[0] == prints[1]
    assert prints[0][0] != prints[0][1]


def test_save_keeps_the_report(shop: GradedDataset, shop_policy: JudgmentAnnotator, tmp_path: Path) -> None:
    golden = build_golden_set(shop, shop_policy, n_queries=8, misspelt_share=0.25)
    golden.save(tmp_path / "golden")
    again = GradedDataset.load(tmp_path / "golden")
    assert again.fingerprint == golden.dataset.fingerprint
    written = yaml.safe_load((tmp_path / "golden" / "dataset.yaml").read_text())
    assert written["source"]["golden"] == golden.report.to_dict()
    assert again.source["name"] == "marketplace"
    JudgmentAnnotator(type(shop_policy._policy).for_dataset(again))  # variants are known to the policy


# ---- real judgments ----------------------------------------------------------------------------------------------


class TableThenOverlap:
    """The judgments where there are any, word overlap for the rest."""

    identity = "table-then-overlap"

    def __init__(self, dataset: GradedDataset):
        self.known = {(r["query_id"], r["item_id"]): r["grade"] for r in dataset.judgments}
        self.rest = OverlapAnnotator()

    def grade(self, pairs: PairTable) -> Annotations:
        grades = self.rest.grade(pairs).grades.tolist()
        ids = zip(pairs.query_ids, pairs.item_ids, strict=True)
        return Annotations.certain([self.known.get(pair, g) for pair, g in zip(ids, grades, strict=True)], 3)


@pytest.mark.parametrize("asked", [{}, {"n_queries": 25, "unseen_share": 0.4, "zero_share": 0.75, "seed": 3}])
def test_shares_hold_on_esci(esci: GradedDataset, asked: dict[str, Any]) -> None:
    golden = build_golden_set(esci, TableThenOverlap(esci), misspelt_share=0.2, **asked)
    check(esci, golden, asked.get("zero_share", 0.65))
    n = asked.get("n_queries", 40)
    assert golden.report.reported["queries"] == n
    assert golden.report.reported["unseen_share"] == pytest.approx(asked.get("unseen_share", 0.3), abs=0.51 / n)
    assert golden.report.reported["head_share"] is None  # ESCI has no frequencies


def test_a_table_of_judgments_cannot_label_random_items(esci: GradedDataset) -> None:
    with pytest.raises(MrStError, match="has no grade for this pair; use an annotator that can grade any pair"):
        build_golden_set(esci, JudgmentAnnotator(esci), n_queries=5)


# ---- any judgments at all ----------------------------------------------------------------------------------------

WORDS = ["red", "blue", "mug", "cup", "hat", "lamp", "shoe", "desk"]


@st.composite
def datasets(draw: st.DrawFn) -> GradedDataset:
    """Small shops with variants, queries of the same words, pairs over all splits, several locales."""
    n_items, n_queries = draw(st.integers(12, 40)), draw(st.integers(2, 10))
    text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
    queries: list[dict[str, Any]] = []
    for i in range(n_queries):
        source = draw(st.sampled_from([None, *(q["query_id"] for q in queries)]))
        queries.append(
            {
                "query_id": f"q{i}",
                "text": draw(text),
                "source_query_id": source,
                "kind": "organic" if source is None else draw(st.sampled_from(["spelling", "organic"])),
                "locale": draw(st.sampled_from(["en-US", "es-ES", "und"])),
                "frequency": draw(st.floats(0, 100)),
            }
        )
    items = [
        {"item_id": f"i{i}", "title": draw(text), "locale": draw(st.sampled_from(["en-US", "es-MX"]))}
        for i in range(n_items)
    ]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": draw(st.integers(0, 2)),
         "split": draw(st.sampled_from(["train", "train", "dev", "test"]))}
        for q in range(n_queries)
        for i in sorted(draw(st.sets(st.integers(0, n_items - 1), max_size=6)))
    ]  # fmt: skip
    if not judgments:
        judgments = [{"query_id": "q0", "item_id": "i0", "grade": 2, "split": "test"}]
    return GradedDataset.from_tables(queries, items, judgments)


@settings(deadline=None, max_examples=80)
@given(datasets(), st.integers(0, 50), st.sampled_from([0.5, 0.65]), st.booleans())
def test_any_dataset_gives_a_sound_set_or_one_clear_line(
    dataset: GradedDataset, seed: int, zero_share: float, with_more: bool
) -> None:
    more: dict[str, Any] = (
        {"misspelt_share": 0.3, "locale_shares": {"es": 0.4}, "tail_share": 0.2} if with_more else {}
    )
    try:
        golden = build_golden_set(
            dataset,
            OverlapAnnotator(),
            seed=seed,
            zero_share=zero_share,
            n_random=3,
            allow_shortfall=True,
            **(more if with_more else {}),
        )
    except UsageError:
        event("refused")
        return
    event("built")
    check(dataset, golden, zero_share)


@settings(deadline=None, max_examples=60)
@given(datasets(), st.integers(0, 50))
def test_what_is_not_allowed_to_fall_short_holds_or_is_refused(dataset: GradedDataset, seed: int) -> None:
    try:
        golden = build_golden_set(
            dataset, OverlapAnnotator(), n_queries=3, seed=seed, n_random=0, locale_shares={"es": 0.33}
        )
    except UsageError:
        event("refused")
        return
    event("built")
    check(dataset, golden, 0.65)
    assert golden.report.shortfalls == []
    locale = {row["query_id"]: row["locale"] for row in golden.dataset.queries}
    made = list(pairs_of(golden.dataset, "test"))
    assert len(made) == 3
    assert sum(locale[q].startswith("es") for q in made) == 1
    assert golden.report.reported["locale_shares"]["es"] == pytest.approx(1 / 3, abs=1e-3)
    assert golden.report.reported["unseen_share"] == pytest.approx(1 / 3, abs=1e-3)


# ---- by hand -----------------------------------------------------------------------------------------------------


def by_hand(**changed: Any) -> GradedDataset:
    """q1 has two judged mugs in training and a variant of its own; 30 lamps that nobody judged."""
    tables: dict[str, Any] = {
        "queries": [
            {"query_id": "q1", "text": "red mug"},
            {"query_id": "q1v", "text": "red mgu", "kind": "spelling", "source_query_id": "q1"},
        ],
        "items": [{"item_id": name, "title": f"Red mug {name}"} for name in "abcd"]
        + [{"item_id": f"l{i}", "title": f"Lamp {i}"} for i in range(30)],
        "judgments": [
            {"query_id": query, "item_id": item, "grade": grade}
            for query in ("q1", "q1v")
            for item, grade in (("a", 2), ("b", 2), ("c", 0), ("d", 0))
        ],
    }
    return GradedDataset.from_tables(**{**tables, **changed})


def test_half_of_each_grade_leaves_training_with_the_variants_pairs() -> None:
    before = by_hand()
    golden = build_golden_set(before, OverlapAnnotator(), n_queries=1, unseen_share=0.0, n_random=0)
    check(before, golden, 0.65)
    made = pairs_of(golden.dataset, "test")["q1"]
    moved = {item for item in made if item in "abcd"}
    assert len(moved & {"a", "b"}) == len(moved & {"c", "d"}) == 1
    assert list(made.values()).count(0) == 2  # 1 positive and 1 zero are 50 %; one random zero makes 67 %
    trained = pairs_of(golden.dataset, "train")
    assert trained["q1"].keys() == trained["q1v"].keys() == set("abcd") - moved
    assert golden.report.from_training == 2
    assert golden.report.training_pairs == (8, 4)


def test_a_training_query_is_held_out_whole_where_no_other_is_unseen() -> None:
    golden = build_golden_set(by_hand(), OverlapAnnotator(), n_queries=1, unseen_share=1.0, n_random=0)
    assert "train" not in golden.dataset.splits
    assert golden.report.held_out_queries == 1
    assert pairs_of(golden.dataset, "test").keys() == {"q1"}
    assert golden.report.reported["unseen_share"] == 1.0


def test_a_query_with_one_positive_cannot_share_with_training() -> None:
    judgments = [{"query_id": "q1", "item_id": "a", "grade": 2}, {"query_id": "q1", "item_id": "c", "grade": 0}]
    with pytest.raises(UsageError, match=r"no query has a positive pair that could stand in split 'test'"):
        build_golden_set(by_hand(judgments=judgments), OverlapAnnotator(), unseen_share=0.0)


def test_pairs_of_the_split_are_used_before_training_gives_any() -> None:
    judgments = [*by_hand().judgments, {"query_id": "q1", "item_id": "l0", "grade": 1, "split": "test"}]
    golden = build_golden_set(
        by_hand(judgments=judgments), OverlapAnnotator(), n_queries=1, unseen_share=0.0, n_random=0
    )
    assert golden.report.from_training == 0
    assert golden.report.training_pairs == (8, 8)
    made = pairs_of(golden.dataset, "test")["q1"]
    assert made.pop("l0") == 1
    assert list(made.values()) == [0, 0]  # 1 of 3 is positive: 67 % zeros


def test_unsure_labels_are_dropped_and_counted() -> None:
    class Unsure(OverlapAnnotator):
        def grade(self, pairs: PairTable) -> Annotations:
            sure = np.where(np.char.endswith(np.array(pairs.item_ids), "5"), 0.4, 0.9)
            rest = (1 - sure) / 2
            return Annotations(np.zeros(len(pairs), np.int8), np.stack([sure, rest, rest], axis=1))

    before = by_hand()
    golden = build_golden_set(before, Unsure(), n_queries=1, unseen_share=0.0, n_random=30, min_confidence=0.5)
    check(before, golden, 0.65)
    assert golden.report.low_confidence == 3  # l5, l15, l25
    assert golden.report.random_items == {"irrelevant": 27, "partial": 0, "relevant": 0}


def test_a_query_without_enough_zeros_is_skipped_for_another(shop: GradedDataset) -> None:
    class Lenient(OverlapAnnotator):
        """All is relevant to queries with an even number."""

        def grade(self, pairs: PairTable) -> Annotations:
            return Annotations.certain([2 * (int(q[-1]) % 2 == 0) for q in pairs.query_ids], 3)

    golden = build_golden_set(shop, Lenient(), n_queries=6, n_random=5, max_random=40, misspelt_share=None)
    assert golden.report.reported["queries"] == 6
    assert golden.report.skipped["too few random items of grade 0"] > 0
    check(shop, golden, 0.65)


def test_an_annotator_that_finds_all_relevant_ends_with_one_line(shop: GradedDataset) -> None:
    with pytest.raises(UsageError, match="golden set: "):
        build_golden_set(shop, ConstantAnnotator(2), n_queries=6, n_random=200)


def test_random_items_are_of_the_querys_language_first() -> None:
    queries = [{"query_id": "q1", "text": "taza roja", "locale": "es-ES"}]
    places = [(locale, i) for locale in ("es-MX", "en-US") for i in range(20)]
    items = [{"item_id": f"{locale}{i}", "title": f"Lamp {i}", "locale": locale} for locale, i in places]
    judgments = [
        {"query_id": "q1", "item_id": "es-MX0", "grade": 2, "split": "test"},
        {"query_id": "q1", "item_id": "es-MX1", "grade": 0, "split": "test"},
    ]
    dataset = GradedDataset.from_tables(queries, items, judgments)
    few = build_golden_set(dataset, ConstantAnnotator(0), unseen_share=None, n_random=18)
    assert {item[:5] for item in pairs_of(few.dataset, "test")["q1"]} == {"es-MX"}
    more = build_golden_set(dataset, ConstantAnnotator(0), unseen_share=None, n_random=25)
    assert sum(item.startswith("en-US") for item in pairs_of(more.dataset, "test")["q1"]) == 7


def test_any_scale(shop: GradedDataset) -> None:
    from mr_st.grades import ESCI_FOUR_GRADES

    four = replace(shop, scale=ESCI_FOUR_GRADES)
    golden = build_golden_set(four, ConstantAnnotator(0, n_grades=4), n_queries=6)
    assert list(golden.report.pairs) == ["irrelevant", "complement", "substitute", "exact"]
    with pytest.raises(MrStError, match=r"grades 0\.\.2, but the dataset's scale is 0\.\.3"):
        build_golden_set(four, ConstantAnnotator(0), n_queries=6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": "train"}, r"split is 'train'; a golden set stands in test or dev"),
        ({"n_queries": 0}, r"n_queries is 0"),
        ({"zero_share": 1.0}, r"zero_share is 1\.0"),
        ({"unseen_share": -0.1}, r"unseen_share is -0\.1"),
        ({"misspelt_share": 30}, r"misspelt_share is 30; a share is in 0\.\.1"),
        ({"locale_shares": {"es": 0.7, "ja": 0.7}}, r"locale_shares add up to 1\.4"),
        ({"locale_shares": {"es": 0.1, "es-MX": 0.1}}, r"'es' stands for another key too"),
        ({"head_share": 0.6, "tail_share": 0.6}, r"head_share and tail_share add up to 1\.2"),
        ({"n_random": 50, "max_random": 10}, r"n_random is 50, max_random 10"),
        ({"moved_share": 1.0}, r"moved_share is 1\.0"),
        ({"positive_grade": 3}, r"positive_grade is 3; expected 1\.\.2"),
        ({"min_confidence": 2}, r"min_confidence is 2"),
        ({"seed": -1}, r"seed is -1"),
        ({"n_queries": 5000}, r"5,000 queries asked, \d+ can be used.*--allow-shortfall"),
        ({"n_queries": 10, "locale_shares": {"xx": 0.5}}, r"locale xx: asked 50% of 10 queries, 0 can be had"),
    ],
)  # fmt: skip
def test_bad_use_is_one_clear_line(
    shop: GradedDataset, shop_policy: JudgmentAnnotator, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build_golden_set(shop, shop_policy, **asked)
    assert "\n" not in str(caught.value)


def test_no_frequencies_no_head(esci: GradedDataset) -> None:
    with pytest.raises(UsageError, match="no query has a frequency, so head and tail are unknown"):
        build_golden_set(esci, OverlapAnnotator(), head_share=0.2)


def test_an_allowed_shortfall_is_reported(shop: GradedDataset, shop_policy: JudgmentAnnotator) -> None:
    golden = build_golden_set(shop, shop_policy, n_queries=10, locale_shares={"xx": 0.5}, allow_shortfall=True)
    check(shop, golden, 0.65)
    assert golden.report.shortfalls == ["locale xx: asked 50% of 10 queries, 0 can be had"]
    assert golden.report.reported["locale_shares"]["xx"] == 0.0


def test_texts_that_no_channel_misspells_fall_short(shop: GradedDataset, shop_policy: Annotator) -> None:
    class Mute:
        def misspell(self, text: str, rng: Any) -> str:
            return text

    with pytest.raises(UsageError, match=r"misspelt: asked 50% of 6 queries, \d can be had"):
        build_golden_set(shop, shop_policy, n_queries=6, misspelt_share=0.5, channel=Mute())


# ---- the pieces --------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 0.99))
def test_zeros_missing_is_the_least_that_will_do(zeros: int, others: int, share: float) -> None:
    missing = zeros_missing(zeros + others, zeros, share)
    assert zeros + missing >= share * (zeros + others + missing)
    if missing:
        assert zeros + missing - 1 < share * (zeros + others + missing - 1) + 1e-6


@given(st.integers(0, 60), st.sets(st.integers(0, 59)), st.lists(st.integers(0, 25), max_size=6), st.integers(0, 9))
def test_random_items_come_once_and_the_first_pool_first(
    n_first: int, taken: set[int], takes: list[int], seed: int
) -> None:
    first, every = np.arange(n_first), np.arange(60)
    items = RandomItems([first, every], taken, np.random.default_rng(seed))
    given_out = [row for n in takes for row in items.take(n)]
    assert len(given_out) == len(set(given_out)) == min(sum(takes), 60 - len(taken))
    assert not taken & set(given_out)
    n_own = len(set(range(n_first)) - taken)
    assert all(row < n_first for row in given_out[:n_own])
