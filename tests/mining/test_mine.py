"""A mining round over a shop whose rankings are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compass_shop import ANNOTATOR, Compass, Interrupted, compass_shop, policy, rows

from mr_st.annotation import Annotations, JudgmentAnnotator
from mr_st.data import GradedDataset
from mr_st.errors import MrStError, UsageError
from mr_st.mining import HnswSettings, RefinementSet, ShardSizes, mine


@pytest.fixture
def dataset() -> GradedDataset:
    return compass_shop()


def test_by_hand(dataset):
    """Rankings q0: a b c d | e f, q1: f e d c | b a (k = 6, boundary rank 3, pool without g).

    q0: a, c judged in train, d in test; b (rank 2, grade 0) is a hard negative, e (5, grade 2) a hard positive,
    f (6, grade 0) is neither. q1: f, e, d, b judged; c (rank 4, grade 1) and a (6, grade 2) are hard positives.
    """
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6)
    assert rows(refinement) == [
        ("q0", "b", 0, 2, "hard negative"),
        ("q0", "e", 2, 5, "hard positive"),
        ("q1", "c", 1, 4, "hard positive"),
        ("q1", "a", 2, 6, "hard positive"),
    ]
    exact = mine(Compass(), dataset, ANNOTATOR, k=6, dtype="float32")
    cosines = np.cos(np.radians([10, 40, 30, 50]))
    np.testing.assert_allclose(exact.table["score"].to_numpy(), cosines, atol=1e-6)
    np.testing.assert_allclose(refinement.table["score"].to_numpy(), cosines, atol=5e-4)  # vectors are float16
    assert rows(exact) == rows(refinement)
    assert set(refinement.table["annotator"].to_pylist()) == {ANNOTATOR.identity}
    assert refinement.table["confidence"].to_pylist() == [1.0] * 4

    pairs = refinement.report["pairs"]
    assert (pairs["retrieved"], pairs["already_judged"], pairs["annotated"], pairs["taken"]) == (12, 7, 5, 4)
    assert pairs["annotated_by_grade"] == {"0": 2, "1": 1, "2": 2}
    assert pairs["taken_by_kind"]["hard negative"]["by_grade"] == {"0": 1, "1": 0, "2": 0}
    # ranks 5, 4 and 6 of 6 stand in deciles 8, 6 and 9
    assert pairs["taken_by_kind"]["hard positive"]["by_rank_decile"] == [0, 0, 0, 0, 0, 0, 1, 0, 1, 1]
    assert (
        pairs["would_be_negatives"]["to_boundary"].items()
        >= {"pairs": 1, "positive": 0, "share_positive": 0.0}.items()
    )
    assert pairs["would_be_negatives"]["to_k"].items() >= {"pairs": 5, "positive": 3, "share_positive": 0.6}.items()
    assert (refinement.report["queries"], refinement.report["items"]) == (2, 6)


def test_the_whole_catalogue(dataset):
    """g stands at 1 degree and nobody judged it: rank 2 for q0, grade 2, so no negative; rank 6 for q1."""
    refinement = mine(Compass(), dataset, ANNOTATOR, k=7, items="all")
    assert ("q1", "g", 2, 6, "hard positive") in rows(refinement)
    assert refinement.report["items"] == 7
    assert refinement.report["pairs"]["would_be_negatives"]["to_boundary"]["positive"] == 1


def test_only_queries_with_enough_judged_pairs(dataset):
    """q0 has two judged pairs in train, q1 four."""
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6, min_judged=3)
    assert {row[0] for row in rows(refinement)} == {"q1"}
    assert (refinement.report["queries"], refinement.report["items"]) == (1, 6)
    with pytest.raises(UsageError, match="no query of split 'train' has 5 judged pairs"):
        mine(Compass(), dataset, ANNOTATOR, k=6, min_judged=5)


def test_caps_and_confidence(dataset):
    class Unsure:
        identity = "unsure"

        def grade(self, pairs):
            grades = np.array([policy(q, i) for q, i in zip(pairs.query_ids, pairs.item_ids, strict=True)])
            sure = np.array([0.4 if i == "b" else 0.9 for i in pairs.item_ids])
            probabilities = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
            probabilities[np.arange(len(grades)), grades] = sure
            return Annotations(grades, probabilities)

    refinement = mine(Compass(), dataset, Unsure(), k=6, min_confidence=0.5, max_positives=1)
    assert rows(refinement) == [("q0", "e", 2, 5, "hard positive"), ("q1", "a", 2, 6, "hard positive")]
    np.testing.assert_allclose(refinement.table["confidence"].to_numpy(), 0.9, atol=1e-6)
    assert refinement.report["pairs"]["dropped_by_confidence"] == 1
    assert refinement.report["pairs"]["dropped_by_cap"] == 1


def test_to_dataset_adds_and_keeps(dataset):
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6)
    merged = refinement.to_dataset()
    merged.validate()
    assert len(merged.judgments) == len(dataset.judgments) + 4
    before = dataset.judgments.to_list()
    assert merged.judgments.to_list()[: len(before)] == before
    added = merged.judgments.to_list()[len(before) :]
    assert added[0] == {
        "query_id": "q0", "item_id": "b", "grade": 0, "split": "train",
        "source": f"mined:{ANNOTATOR.identity}", "confidence": 1.0,
    }  # fmt: skip
    assert merged.fingerprint != dataset.fingerprint
    assert (merged.name, merged.source, merged.scale) == (dataset.name, dataset.source, dataset.scale)


def test_forgetting_is_refused_unless_allowed(dataset):
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6)
    with pytest.raises(UsageError, match="catastrophic forgetting"):
        refinement.to_dataset(keep_original_negatives=False)
    without = refinement.to_dataset(keep_original_negatives=False, allow_forgetting=True)
    kept = [(j["query_id"], j["item_id"], j["grade"]) for j in without.judgments if j["source"] == "human"]
    assert kept == [("q0", "a", 2), ("q1", "b", 1), ("q1", "f", 2), ("q0", "d", 1), ("t", "b", 2)]


def test_save_and_load(dataset, tmp_path):
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6)
    refinement.save(tmp_path / "refinement")
    refinement.save(tmp_path / "refinement")  # replaces itself
    loaded = RefinementSet.load(tmp_path / "refinement", dataset)
    assert loaded.table.equals(refinement.table)
    assert (loaded.report, loaded.split) == (refinement.report, refinement.split)
    assert loaded.to_dataset().fingerprint == refinement.to_dataset().fingerprint

    with pytest.raises(MrStError, match="another dataset"):
        RefinementSet.load(tmp_path / "refinement", refinement.to_dataset())
    with pytest.raises(MrStError, match="mine first"):
        RefinementSet.load(tmp_path, dataset)
    (tmp_path / "refinement" / "mined.parquet").write_bytes(b"PAR1")
    with pytest.raises(MrStError, match=r"mined\.parquet: cannot be read"):
        RefinementSet.load(tmp_path / "refinement", dataset)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError):
        refinement.save(tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep me"


def test_nothing_to_annotate(dataset):
    refinement = mine(Compass(), dataset, ANNOTATOR, k=1)
    assert len(refinement) == 0
    assert refinement.report["pairs"]["would_be_negatives"]["to_k"]["share_positive"] is None
    assert len(refinement.to_dataset().judgments) == len(dataset.judgments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 7}, r"k is 7, but the judgments of split 'train' has 6 items"),
        ({"k": 8, "items": "all"}, r"k is 8, but the catalogue has 7 items"),
        ({"k": 0}, "must be 1 or more"),
        ({"k": 2, "min_judged": 0}, "must be 1 or more"),
        ({"k": 2, "items": "some"}, "'judged' or 'all'"),
        ({"k": 2, "boundary": 1.5}, "boundary is 1.5"),
        ({"k": 2, "min_confidence": 2}, "min_confidence is 2"),
        ({"k": 2, "max_negatives": -1}, "max_negatives is -1"),
        ({"k": 2, "split": "dev"}, "no split 'dev'"),
        ({"k": 2, "max_negative": 1}, "no argument 'max_negative'; did you mean max_negatives"),
        ({"k": 2, "min_confidence": {0: 2}}, "min_confidence is 2"),
        ({"k": 2, "max_by_grade": {0: -1}}, "max_by_grade of grade 0 is -1"),
        ({"k": 2, "negative_ranks": (0, 5)}, r"negative_ranks is 0\.\.5"),
        ({"k": 2, "near_duplicates": 1.2}, "near_duplicates is 1.2"),
        ({"k": 2, "search": "fast"}, "'auto', 'exact', 'hnsw'"),
        ({"k": 2, "strata": {"head": 1}}, "give budget"),
        ({"k": 2, "budget": 3, "strata": {"heads": 1}}, "no stratum 'heads'"),
        ({"k": 2, "sources": "bm25"}, "sources is one string"),
        ({"k": 2, "sources": ["bm26"]}, "expected a SentenceTransformer or 'bm25'"),
        ({"k": 2, "sources": ["bm25", "bm25"]}, "one stands there twice"),
        ({"k": 2, "memory": 0}, "memory 0"),
        ({"k": 2, "chunk_size": 0}, "chunk_size is 0"),
    ],
)
def test_wrong_use(dataset, options, message):
    with pytest.raises(UsageError, match=message):
        mine(Compass(), dataset, ANNOTATOR, **options)


def test_an_annotator_of_another_scale_or_length_is_refused(dataset):
    with pytest.raises(MrStError, match=r"grades 0\.\.3, but the dataset's scale is 0\.\.2"):
        mine(Compass(), dataset, JudgmentAnnotator(policy, n_grades=4, name="four"), k=6)

    class Short:
        identity = "short"

        def grade(self, pairs):
            return Annotations.certain([0], 3)

    with pytest.raises(MrStError, match="1 grades for 5 pairs"):
        mine(Compass(), dataset, Short(), k=6)


def test_a_folder_that_cannot_be_written(dataset, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MrStError, match="cannot write here"):
        mine(Compass(), dataset, ANNOTATOR, k=2, work_dir=tmp_path / "file")


# ---- resume ------------------------------------------------------------------------------------------------------


def test_a_later_round_counts_the_first_as_judged(dataset):
    first = mine(Compass(), dataset, ANNOTATOR, k=6, max_positives=1)
    assert rows(first) == [
        ("q0", "b", 0, 2, "hard negative"),
        ("q0", "e", 2, 5, "hard positive"),
        ("q1", "a", 2, 6, "hard positive"),
    ]
    both = mine(Compass(), dataset, ANNOTATOR, k=6, previous=first)
    assert rows(both) == [*rows(first), ("q1", "c", 1, 4, "hard positive")]
    assert both.table["round"].to_pylist() == [1, 1, 1, 2]
    assert both.report["pairs"]["already_mined"] == 3
    with pytest.raises(UsageError, match="mined over another dataset"):
        mine(Compass(), first.to_dataset(), ANNOTATOR, k=6, previous=first)


def test_windows_and_a_budget_save_labels(dataset):
    """b has rank 2 for q0, c rank 4 for q1, e and f ranks 5 and 6 for q0, a rank 6 for q1; the boundary is 3."""
    asked = Interrupted()
    refinement = mine(Compass(), dataset, asked, k=6, negative_ranks=(3, None), positive_ranks=(4, 5))
    assert rows(refinement) == [("q0", "e", 2, 5, "hard positive"), ("q1", "c", 1, 4, "hard positive")]
    assert asked.graded == 2
    assert refinement.report["pairs"]["outside_rank_windows"] == 3
    asked = Interrupted()
    refinement = mine(Compass(), dataset, asked, k=6, budget=3)
    assert asked.graded == 3
    assert refinement.report["pairs"]["over_budget"] == 2


def test_bm25_and_another_model_bring_candidates(dataset, tmp_path):
    """BM25 finds what shares a word with "mug 0": none of the items, as their titles are "item 10" and the like, but
    the two of "0" and "50"; the turned model ranks from the other end."""
    pytest.importorskip("bm25s")

    class Turned(Compass):
        def __init__(self):
            super().__init__()
            self.turn = torch.nn.Parameter(torch.ones(1))

        def encode_query(self, texts, **options):
            return self._encode([f"{text.split()[0]} {50 - float(text.split()[-1])}" for text in texts])

    plain = mine(Compass(), dataset, ANNOTATOR, k=2)
    more = mine(Compass(), dataset, ANNOTATOR, k=2, sources=[Turned(), "bm25"], work_dir=tmp_path)
    assert plain.report["sources"] == ["model"]
    assert more.report["sources"][0::2] == ["model", "bm25"]
    assert [search["kind"] for search in more.report["search"]] == ["exact", "exact", "bm25"]
    other = more.report["sources"][1]
    found = {(r["query_id"], r["item_id"]): (r["found_by"], r["rank"]) for r in more.table.to_pylist()}
    # q0 at 0 degrees: the turned model searches at 50 and finds f, e; of these e is graded 2, and the model missed it
    assert found["q0", "e"] == (other, None)
    np.testing.assert_allclose(
        [r["score"] for r in more.table.to_pylist() if r["item_id"] == "e"], np.cos(np.radians(40)), atol=5e-4
    )
    assert more.table.equals(mine(Compass(), dataset, ANNOTATOR, k=2, sources=[Turned(), "bm25"]).table)


def test_near_duplicates_are_left_out():
    """x stands where the judged positive a does, so it is no trustworthy negative; y and z are one item twice."""
    dataset = GradedDataset.from_tables(
        queries=[{"query_id": "q", "text": "mug 0"}],
        items=[{"item_id": i, "title": f"item {i} {angle}"} for i, angle in
               {"a": 0, "x": 0.1, "y": 10, "z": 10.1, "w": 40}.items()],
        judgments=[{"query_id": "q", "item_id": "a", "grade": 2}],
    )  # fmt: skip
    annotator = JudgmentAnnotator(lambda query, item: 0, name="none")
    options = {"k": 5, "items": "all", "boundary": 1.0}
    plain = mine(Compass(), dataset, annotator, **options)
    assert [row[1] for row in rows(plain)] == ["x", "y", "z", "w"]
    refinement = mine(Compass(), dataset, annotator, **options, near_duplicates=0.999)
    assert [row[1] for row in rows(refinement)] == ["y", "w"]
    assert refinement.report["pairs"]["dropped_near_positive"] == 1
    assert refinement.report["pairs"]["dropped_as_twin"] == 1


def test_a_graph_reports_its_recall(dataset, tmp_path):
    refinement = mine(Compass(), dataset, ANNOTATOR, k=6, search=HnswSettings(part_size=1), work_dir=tmp_path,
                      shard_sizes=ShardSizes(texts=2))  # fmt: skip
    (search,) = refinement.report["search"]
    assert (search["kind"], search["parts"], search["why"]) == ("hnsw", 3, "asked for")
    assert search["recall"]["value"] == 1.0
    assert rows(refinement) == rows(mine(Compass(), dataset, ANNOTATOR, k=6))
    assert mine(Compass(), dataset, ANNOTATOR, k=6).report["search"][0]["why"].startswith("exact search")


def test_sizes_of_shards_change_nothing(dataset, tmp_path):
    sizes = ShardSizes(texts=2, queries=1, items=2, pairs=1)
    whole = mine(Compass(), dataset, ANNOTATOR, k=6)
    cut = mine(Compass(), dataset, ANNOTATOR, k=6, shard_sizes=sizes)
    far = mine(Compass(), dataset, ANNOTATOR, k=6, shard_sizes=sizes, work_dir="memory://round")
    assert whole.table.equals(cut.table)
    assert whole.table.equals(far.table)
    assert whole.report == cut.report
    with pytest.raises(UsageError, match="shard size for pairs is 0"):
        ShardSizes(pairs=0)
