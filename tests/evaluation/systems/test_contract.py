"""What every system must do, run over all of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mr_st.evaluation import Collection, GradedReport, System, evaluate_system, folder_name
from mr_st.evaluation.systems import (
    AnnotatorScorer,
    Bm25System,
    CrossEncoderScorer,
    HybridSystem,
    RandomSystem,
    RerankedSystem,
    RunFile,
    load_pair_scorer,
)
from mr_st.evaluation.systems.kinds import BiEncoderSpec, Loading
from mr_st.evaluation.trec import write_trec_run


@dataclass(frozen=True)
class Where:
    """What the systems are made from."""

    model: str
    other_model: str
    cross: dict[str, Path]
    run: Path
    other_run: Path
    folder: Path


@dataclass(frozen=True)
class Case:
    """How a system is made, made so that nothing it finds changes, and made so that something does."""

    make: Callable[[Where], System]
    same: dict[str, Callable[[Where], System]]
    changed: dict[str, Callable[[Where], System]]


def encoder(model: str, how: Loading | None = None, name: str = "a/model", **options: Any) -> System:
    return BiEncoderSpec(model=model, **options).load(how or Loading(device="cpu"), name)


def words(name: str = "mr-st/bm25", **options: Any) -> System:
    return Bm25System(name=name, **options)


def hybrid(w: Where, weights: dict[str, float] | None = None, **options: Any) -> System:
    parts = {"dense": encoder(w.model), "words": words(), "random": RandomSystem()}
    return HybridSystem(parts, weights=weights or {"dense": 2, "words": 1, "random": 0}, **options)


def reranked(w: Where, retriever: System | None = None, scorer: Any = None, **options: Any) -> System:
    return RerankedSystem(
        retriever or words(), scorer or CrossEncoderScorer(w.cross["one"]), **{"depth": 7, **options}
    )


def graded(w: Where, **options: Any) -> System:
    return reranked(w, encoder(w.model), load_pair_scorer(w.cross["three"], **options))


CASES = {
    "bi-encoder": Case(
        lambda w: encoder(w.model),
        {
            "another batch size": lambda w: encoder(w.model, Loading(device="cpu", batch_size=3)),
            "a store": lambda w: encoder(w.model, Loading(w.folder / "store", device="cpu")),
            "another name": lambda w: encoder(w.model, name="b/model"),
        },
        {
            "other weights": lambda w: encoder(w.other_model),
            "a prompt for queries": lambda w: encoder(w.model, prompts={"query": "mug lamp "}),
            "a prompt for items": lambda w: encoder(w.model, prompts={"item": "mug lamp "}),
            "fewer tokens": lambda w: encoder(w.model, max_seq_length=4),
            "fewer components": lambda w: encoder(w.model, truncate_dim=8),
        },
    ),
    "bm25": Case(
        lambda w: words(),
        {"another name": lambda w: words("b/words"), "progress": lambda w: words(show_progress=True)},
        {
            "k1": lambda w: words(k1=0.3),
            "b": lambda w: words(b=0.2),
            "stop words": lambda w: words(stop_words=["lamp", "mug"]),
            "method": lambda w: words(method="robertson"),
        },
    ),
    "hybrid": Case(
        hybrid,
        {
            "another name": lambda w: hybrid(w, name="b/hybrid"),
            "parts in another order, under other names, without the one of weight 0": lambda w: HybridSystem(
                {"a": words("x/y"), "z": encoder(w.model, name="x/z")}, weights={"a": 1, "z": 2}
            ),
        },
        {
            "weights": lambda w: hybrid(w, {"dense": 1, "words": 2, "random": 0}),
            "weights close by": lambda w: hybrid(w, {"dense": 2.001, "words": 1, "random": 0}),
            "a third part": lambda w: hybrid(w, {"dense": 2, "words": 1, "random": 0.5}),
            "constant": lambda w: hybrid(w, constant=5),
            "depth": lambda w: hybrid(w, depth=4),
            "fusion": lambda w: hybrid(w, fusion="weighted"),
            "scale": lambda w: hybrid(w, fusion="weighted", normalise="zscore"),
            "a part's setting": lambda w: HybridSystem(
                {"dense": encoder(w.model), "words": words(stop_words=["lamp", "mug"])},
                weights={"dense": 2, "words": 1},
            ),
            "a part's weights": lambda w: HybridSystem(
                {"dense": encoder(w.other_model), "words": words()}, weights={"dense": 2, "words": 1}
            ),
        },
    ),
    "reranked, one output": Case(
        reranked,
        {
            "another name": lambda w: reranked(w, name="b/reranked"),
            "another batch size": lambda w: reranked(w, scorer=CrossEncoderScorer(w.cross["one"], batch_size=2)),
        },
        {
            "depth": lambda w: reranked(w, depth=3),
            "retriever": lambda w: reranked(w, RandomSystem()),
            "other weights": lambda w: reranked(w, scorer=CrossEncoderScorer(w.cross["other"])),
            "fewer tokens": lambda w: reranked(w, scorer=CrossEncoderScorer(w.cross["one"], max_length=6)),
        },
    ),
    "reranked, one output a grade": Case(
        graded,
        {"another name": lambda w: reranked(w, encoder(w.model, name="c/d"), load_pair_scorer(w.cross["three"]))},
        {
            "gains": lambda w: graded(w, gains=[0, 0.1, 1]),
            "retriever": lambda w: reranked(w, encoder(w.other_model), load_pair_scorer(w.cross["three"])),
            "temperature": lambda w: reranked(w, encoder(w.model), _hotter(w.cross["three"])),
        },
    ),
    "run": Case(
        lambda w: RunFile(w.run),
        {"another name": lambda w: RunFile(w.run, name="b/run")},
        {"another run": lambda w: RunFile(w.other_run)},
    ),
    "random": Case(
        lambda w: RandomSystem(),
        {"another name": lambda w: RandomSystem(name="b/random")},
        {"seed": lambda w: RandomSystem(1)},
    ),
}


def _hotter(folder: Path) -> AnnotatorScorer:
    from mr_st.annotation import CrossEncoderAnnotator

    return AnnotatorScorer(CrossEncoderAnnotator(folder, temperature=4.0))


@pytest.fixture(scope="session")
def where(tiny_base, other_folder, cross_encoders, catalogue, tmp_path_factory) -> Where:
    folder = tmp_path_factory.mktemp("systems")
    runs = [folder / "a.run", folder / "b.run"]
    for seed, path in enumerate(runs):
        write_trec_run(RandomSystem(seed + 5).search(catalogue, 20), path, collection=catalogue)
    return Where(str(tiny_base), str(other_folder), cross_encoders, *runs, folder)


@pytest.fixture(scope="session")
def made(where: Where) -> dict[str, System]:
    return {name: case.make(where) for name, case in CASES.items()}


@pytest.fixture(params=CASES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def system(kind: str, made: dict[str, System]) -> System:
    return made[kind]


def found_by(system: System, collection: Collection) -> tuple[list[Any], list[Any]]:
    top = system.search(collection, 12)
    return top.ids.tolist(), top.scores.tolist()


def test_it_is_a_system_with_a_name_and_a_revision(system: System) -> None:
    assert isinstance(system, System)
    assert folder_name(system.name).count("__") == 1
    assert len(system.revision) == 16


def test_settings_are_plain_data(system: System) -> None:
    assert json.loads(json.dumps(system.settings, allow_nan=False)) == system.settings
    assert pickle.loads(pickle.dumps(system.settings)) == system.settings
    assert isinstance(system.settings["kind"], str)
    assert "/" not in json.dumps(system.settings, allow_nan=False).replace("a/model", ""), "no place where things lie"


@pytest.mark.parametrize("k", [1, 10, 200])
def test_a_search_is_a_top_k(system: System, catalogue: Collection, k: int) -> None:
    top = system.search(catalogue, k)
    assert top.ids.shape == top.scores.shape == (catalogue.n_queries, k)
    assert (top.ids.dtype, top.scores.dtype) == (np.int64, np.float32)
    assert top.ids.max() < len(catalogue.item_ids)
    assert not np.isnan(top.scores).any()
    for ids, scores in zip(top.ids, top.scores, strict=True):
        n = int((ids >= 0).sum())
        assert (ids[n:] == -1).all()
        assert np.isneginf(scores[n:]).all()
        assert np.isfinite(scores[:n]).all()
        assert len(set(ids[:n].tolist())) == n
        assert (np.diff(scores[:n]) <= 0).all()


def test_a_shorter_search_is_the_start_of_a_longer_one(system: System, catalogue: Collection) -> None:
    short, long = system.search(catalogue, 3), system.search(catalogue, 40)
    assert np.array_equal(short.ids, long.ids[:, :3])
    assert np.array_equal(short.scores, long.scores[:, :3])


def test_equal_scores_stand_lower_row_first(kind: str, system: System, twice) -> None:
    collection = Collection.from_dataset(twice)
    top = system.search(collection, 60)
    tied = (top.scores[:, 1:] == top.scores[:, :-1]) & (top.ids[:, 1:] >= 0)
    assert (top.ids[:, 1:] > top.ids[:, :-1])[tied].all()
    if kind not in ("random", "run", "hybrid"):  # they go by ids, or by ranks
        assert tied.any()


@pytest.mark.parametrize("corpus", ["catalogue", "pool"])
def test_pairs_are_scored_in_order(kind: str, system: System, corpus: str, request: pytest.FixtureRequest) -> None:
    collection: Collection = request.getfixturevalue(corpus)
    scores = system.score_pairs(collection)
    assert scores is not None
    assert (scores.shape, scores.dtype) == ((collection.judged.n_pairs,), np.float64)
    assert not np.isinf(scores).any()
    assert np.isnan(scores).any() == (kind == "run"), "only the run lacks a score"
    if kind == "hybrid":  # fused among the pairs of the query: see test_hybrid_system.py
        return
    top = system.search(collection, len(collection.item_ids))
    rows_of = dict(zip(zip(*np.nonzero(top.ids >= 0), strict=True), top.scores[top.ids >= 0].tolist(), strict=True))
    searched = {(q, int(top.ids[q, place])): score for (q, place), score in rows_of.items()}
    pairs = list(zip(collection.judged.query_of_pair.tolist(), collection.judged.items.tolist(), strict=True))
    both = [(searched[pair], score) for pair, score in zip(pairs, scores.tolist(), strict=True) if pair in searched]
    assert len(both) >= collection.n_queries
    assert np.allclose(*zip(*both, strict=True), atol=1e-5)


@pytest.mark.parametrize("corpus", ["catalogue", "pool"])
def test_it_is_evaluated_and_read_back(
    system: System, corpus: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = evaluate_system(system, request.getfixturevalue(corpus), task_name="Shop", ks=(5, 10), n_resamples=200)
    assert 0 <= report.main_score <= 1
    assert report.protocol["system"] == system.settings
    assert ("margin_average_2_0" in report.metrics) == system.gives_similarities
    kept = GradedReport.load(report.save(tmp_path))
    assert (kept.main_score, kept.protocol) == (report.main_score, report.protocol)


def test_made_anew_it_finds_the_same(kind: str, system: System, where: Where, catalogue: Collection) -> None:
    again = CASES[kind].make(where)
    assert again.revision == system.revision
    assert found_by(again, catalogue) == found_by(system, catalogue)


@pytest.mark.parametrize(("kind_", "name"), [(k, n) for k, case in CASES.items() for n in case.same])
def test_what_changes_no_result_changes_no_identity(
    kind_: str, name: str, made: dict[str, System], where: Where, catalogue: Collection
) -> None:
    other = CASES[kind_].same[name](where)
    assert other.revision == made[kind_].revision
    ids, scores = found_by(other, catalogue)
    kept_ids, kept_scores = found_by(made[kind_], catalogue)
    assert np.allclose(scores, kept_scores, atol=1e-5)
    if name != "another batch size":  # another padding moves the last bit of a score
        assert ids == kept_ids


def test_what_changes_a_result_changes_the_identity(
    kind: str, system: System, where: Where, catalogue: Collection
) -> None:
    revisions = {system.revision}
    for name, make in CASES[kind].changed.items():
        other = make(where)
        assert other.revision not in revisions, name
        revisions.add(other.revision)
        assert other.settings != system.settings, name
        assert found_by(other, catalogue) != found_by(system, catalogue), f"{name} changes nothing"


def test_a_k_below_one_is_refused(system: System, catalogue: Collection) -> None:
    from mr_st.errors import UsageError

    with pytest.raises(UsageError, match="k must be 1 or more"):
        system.search(catalogue, 0)
