"""The shop as a dataset: the same everywhere, split cleanly, judged as promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mr_st.data import GradedDataset
from mr_st.data.marketplace import MarketplacePolicy, load_marketplace
from mr_st.data.marketplace.intents import KIND_SHARES
from mr_st.data.marketplace.lexical import TokenOverlap
from mr_st.data.marketplace.queries import QUERY_LANGUAGES
from mr_st.data.marketplace.shop import ITEM_LANGUAGES
from mr_st.data.marketplace.world import SIZES, World, make_world
from mr_st.errors import UsageError

_FINGERPRINTS = (
    "import json; from mr_st.data.marketplace import load_marketplace;"
    "print(json.dumps([load_marketplace('tiny', 3).fingerprint, load_marketplace('small', 0).fingerprint]))"
)


@pytest.fixture(scope="module")
def small() -> GradedDataset:
    return load_marketplace("small")


@pytest.fixture(scope="module")
def world() -> World:
    return make_world("small", 0)


@pytest.fixture(scope="module")
def judged(small: GradedDataset) -> pl.DataFrame:
    return pl.DataFrame(small.judgments.to_dict())


def test_same_seed_same_data_in_another_process(small: GradedDataset) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FINGERPRINTS],
        env={**os.environ, "PYTHONHASHSEED": "4321"},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert json.loads(run.stdout) == [load_marketplace("tiny", 3).fingerprint, small.fingerprint]


def test_seeds_differ() -> None:
    assert load_marketplace("tiny", 3).fingerprint != load_marketplace("tiny", 4).fingerprint


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_size_license_and_source(size: str) -> None:
    dataset = GradedDataset.load("marketplace", size=size, seed=0)
    assert dataset.problems() == []
    assert (dataset.name, dataset.license) == ("marketplace", "Apache-2.0")
    assert dataset.source == {"name": "marketplace", "size": size, "seed": 0}
    wanted = SIZES[size]
    assert len(dataset.items) == wanted.n_items
    counts = {split: len(dataset.split(split).queries) for split in dataset.splits}
    assert counts == {"train": wanted.n_train, "dev": wanted.n_dev, "test": wanted.n_test}


def test_no_query_and_no_text_in_two_splits(small: GradedDataset, judged: pl.DataFrame) -> None:
    assert judged.select(pl.struct("query_id", "split").n_unique()).item() == judged["query_id"].n_unique()
    texts = small.query_texts()
    assert len(set(texts)) == len(texts)


def test_unseen_share(world: World) -> None:
    trained = {query.intent for query in world.queries if query.split == "train"}
    trained_types = {key for intent in trained for key in intent.types}
    for split in ("dev", "test"):
        queries = [query for query in world.queries if query.split == split]
        assert 0.25 <= np.mean([query.intent not in trained for query in queries]) <= 0.35
    new = [not set(query.intent.types) & trained_types for query in queries]
    assert 0.07 <= np.mean(new) <= 0.15


def test_every_query_has_a_relevant_item_and_most_have_enough(world: World) -> None:
    grades = np.stack([world.grades_of(query.intent) for query in world.queries])
    assert (grades == 2).any(axis=1).all()
    n_relevant = (grades > 0).sum(axis=1)
    assert ((n_relevant >= 5) & (n_relevant <= 60)).mean() > 0.8


def test_train_judgments_are_few_and_leave_relevant_items_unjudged(world: World, judged: pl.DataFrame) -> None:
    train = judged.filter(pl.col("split") == "train")
    per_query = train.group_by("query_id").len()["len"]
    assert per_query.min() >= 16
    assert per_query.max() <= 24
    found = train.filter(pl.col("grade") > 0).height
    there = sum((world.grades_of(query.intent) > 0).sum() for query in world.queries if query.split == "train")
    assert found < 0.4 * there
    assert set(judged["source"]) == {"oracle"}


@pytest.mark.parametrize("split", ["dev", "test"])
def test_dev_and_test_judge_all_relevant_items_and_enough_others(
    world: World, judged: pl.DataFrame, split: str
) -> None:
    part = judged.filter(pl.col("split") == split)
    zero_shares = part.group_by("query_id").agg((pl.col("grade") == 0).mean())["grade"]
    assert zero_shares.min() >= 0.65
    n_judged = dict(part.filter(pl.col("grade") > 0).group_by("query_id").len().iter_rows())
    for query in world.queries:
        if query.split == split:
            assert n_judged[query.query_id] == (world.grades_of(query.intent) > 0).sum()


def test_misspelt_queries_share_the_split_and_the_meaning_of_their_source(world: World) -> None:
    by_id = {query.query_id: query for query in world.queries}
    misspelt = [query for query in world.queries if query.kind == "spelling"]
    assert len(misspelt) == 66
    for query in misspelt:
        assert query.source_query_id is not None
        source = by_id[query.source_query_id]
        assert (query.split, query.intent) == (source.split, source.intent)
        assert query.text != source.text
    assert all(query.source_query_id is None for query in world.queries if query.kind == "organic")


def test_head_is_asked_far_more_often_than_tail(world: World) -> None:
    frequencies = np.sort([query.frequency for query in world.queries])
    assert frequencies[0] > 0
    assert frequencies[-110:].sum() > 0.4 * frequencies.sum()


def test_titles_state_what_the_listing_states(world: World) -> None:
    for item in world.items[:500]:
        for name in ("fits", "model"):
            for device in item.stated.get(name, ()):
                assert device.lower() in item.title.lower()
        if "brand" in item.stated and "model" not in item.stated:
            assert item.stated["brand"][0] in item.title
    assert 8 <= np.mean([len(item.title.split()) for item in world.items]) <= 16
    titles = " ".join(item.title for item in world.items)
    assert " ," not in titles
    assert ",," not in titles


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="no size 'huge'; the sizes are tiny, small, medium, large"):
        load_marketplace("huge")
    with pytest.raises(UsageError, match="seed -1"):
        load_marketplace("tiny", -1)


def test_token_overlap_by_hand() -> None:
    engine = TokenOverlap(["Red mug", "red mugs, blue", "green hat", "hat"])
    # "mug" and "red" stand in 2 of 4 items each: ln 2 apiece; "s" of a longer word is dropped
    assert engine.scores("RED mugs!").tolist() == pytest.approx([2 * np.log(2), 2 * np.log(2), 0, 0], abs=1e-6)
    assert engine.scores("nothing shared").tolist() == [0, 0, 0, 0]


def test_the_engine_reads_every_script() -> None:
    engine = TokenOverlap(["トラベルマグ 黒", "Tasse café", "thermal mug"])
    assert engine.scores("黒い トラベルマグ")[0] > 0
    assert engine.scores("café").tolist()[1] > 0
    assert engine.scores("マグ")[0] > 0


def test_queries_and_titles_in_five_languages(world: World) -> None:
    asked = Counter(query.locale for query in world.queries)
    listed = Counter(item.locale for item in world.items)
    assert set(asked) == set(listed) == {"en-US", "es-ES", "fr-FR", "de-DE", "ja-JP"}
    for counts, shares in ((asked, QUERY_LANGUAGES), (listed, ITEM_LANGUAGES)):
        for language, share in shares.items():
            (n,) = (n for locale, n in counts.items() if locale.startswith(language))
            assert n / counts.total() == pytest.approx(share, abs=0.02)


def test_every_way_to_ask_is_there(world: World) -> None:
    asked = Counter(query.intent.kind for query in world.queries)
    assert set(asked) == set(KIND_SHARES)
    assert min(asked.values()) > 0.03 * len(world.queries)


def test_label_noise_leaves_the_other_splits_and_the_policy_alone() -> None:
    clean, noisy = load_marketplace("tiny"), load_marketplace("tiny", label_noise=0.3)
    before, after = (pl.DataFrame(dataset.judgments.to_dict()) for dataset in (clean, noisy))
    changed = before["grade"] != after["grade"]
    assert set(after.filter(changed)["split"]) == {"train"}
    assert 0.2 < changed.filter(after["split"] == "train").mean() < 0.4
    policy = MarketplacePolicy.for_dataset(noisy)
    assert policy.grades(after["query_id"].to_list(), after["item_id"].to_list()).tolist() == before["grade"].to_list()


def test_engagement_is_a_table_of_the_dataset() -> None:
    dataset = load_marketplace("tiny", engagement=True)
    assert dataset.engagement is not None
    assert dataset.problems() == []
    assert dataset.source["engagement"] is True
    assert dataset.judgments.to_dict() == load_marketplace("tiny").judgments.to_dict()


@pytest.mark.slow
def test_difficulty_is_in_the_middle_of_the_scale(tmp_path: Path) -> None:
    """The bounds that the shop was made for; scripts/bench_marketplace.py prints the figures with their intervals."""
    file = tmp_path / "figures.json"
    subprocess.run(
        [sys.executable, "scripts/bench_marketplace.py", "--json", str(file)],
        capture_output=True, check=True, timeout=600, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    found = {name: row["value"] for name, row in json.loads(file.read_text())["ndcg@10"].items()}
    assert 0.30 < found["bm25"] < 0.70
    assert 0.30 < found["minilm"] < 0.70
    assert found["random"] < 0.05
    assert found["policy"] == 1.0
