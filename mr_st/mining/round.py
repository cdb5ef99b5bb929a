"""One mining round as a pipeline of stages; what stands between the stages is pure and quick."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation.protocol import Annotations, Annotator
from mr_st.data.dataset import GradedDataset
from mr_st.data.schema import arrow_table
from mr_st.encoding import EncodeStage, ShardFolder, Vectors
from mr_st.encoding.stage import Stage
from mr_st.errors import UsageError
from mr_st.identity import model_hash, settings_hash
from mr_st.mining.annotate_stage import AnnotateStage, KnownLabelsStage, labels_folder
from mr_st.mining.candidates import Candidates, candidates_of, drop_judged, merge_sources, with_scores
from mr_st.mining.duplicates import ItemLikeness, near_positives, text_keys_of, twins_of_harder
from mr_st.mining.earlier_ranking import Rankings
from mr_st.mining.engines.protocol import Engine
from mr_st.mining.index_stage import HnswParts, HnswSettings, IndexStage, RecallStage
from mr_st.mining.pair_keys import pair_keys
from mr_st.mining.search_stage import ExactParts, SearchStage, Span, spans_of
from mr_st.mining.select import HardPairs, Selection, cap_pairs, hard_pairs
from mr_st.mining.settings import MiningSettings
from mr_st.mining.shared_dataset import SharedDataset
from mr_st.mining.strata import query_strata, shares_of_strata, within_budget
from mr_st.mining.text_search_stage import TextSearchStage
from mr_st.search.cost import choose_plan
from mr_st.search.protocol import TopK

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["MiningRound", "ShardSizes", "Workplace"]

BM25 = "bm25"
_PLAN_MEMORY = 8 * 2**30  # what a plan may hold where nobody says how much there is
_LEAST_SAVING = 60.0  # seconds: for less, nobody should have to ask what an approximate search missed
_LEAST_PLAN_MEMORY = 2**30  # exact search runs in less, but the rule knows no plan that does


@dataclass(frozen=True)
class ShardSizes:
    """How finely a round's work is cut: what a killed round loses at most, and what one process holds. What is found
    does not depend on it.

    Args:
        texts: Texts encoded in one shard.
        queries: Queries searched in one shard.
        items: Items of one part of an exact search, where the parts do not lie in one local map.
        pairs: Pairs annotated in one chunk.
    """

    texts: int = 16_384
    queries: int = 2_048
    items: int = 1_000_000
    pairs: int = 1_024

    def __post_init__(self) -> None:
        for name, size in asdict(self).items():
            if size < 1:
                raise UsageError(f"shard size for {name} is {size}; it must be 1 or more")


@dataclass(frozen=True)
class Workplace:
    """Where and by whom a round's stages are run.

    Args:
        folder: Holds every stage's shards.
        maps: A local folder for memory maps.
        engine: Runs the stages.
        sizes: How finely the work is cut.
        batch_size: Texts in one forward pass.
        memory: Bytes that a search may hold in one process; None leaves its default.
        show_progress: Show a progress bar for each stage.
        log: One line for each stage that was run, JSON-ready: shards, how many were done before, seconds.
    """

    folder: ShardFolder
    maps: Path
    engine: Engine
    sizes: ShardSizes
    batch_size: int
    memory: int | None
    show_progress: bool
    log: list[dict[str, Any]]

    @property
    def shared_maps(self) -> str | None:
        """The folder for maps where every process that runs a shard reaches it; None: parts are read into memory."""
        return str(self.maps) if self.folder.is_local else None

    def run(self, stage: Stage) -> None:
        """Run what of a stage is not done, and log it."""
        n_shards = len(stage.sizes)
        done = sum(stage.is_done(shard) for shard in range(n_shards))
        started = time.perf_counter()
        self.engine.run(stage, self.show_progress)
        seconds = round(time.perf_counter() - started, 3)
        self.log.append({"stage": stage.name, "shards": n_shards, "done_before": done, "seconds": seconds})


class MiningRound:
    """The steps of one round, from texts to the annotated pairs and what became of them.

    Args:
        model: The model that is refined.
        dataset: What is mined over.
        annotator: Who grades.
        settings: What is found and kept.
        sources: Further models, or ``"bm25"``.
        place: Where and by whom it is run.
        earlier: Query rows and item rows of pairs that earlier rounds mined.

    Raises:
        UsageError: settings that do not fit the data.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        dataset: GradedDataset,
        annotator: Annotator,
        settings: MiningSettings,
        sources: Sequence[Any],
        place: Workplace,
        earlier: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        self.model, self.dataset, self.annotator = model, dataset, annotator
        self.settings, self.sources, self.place, self.earlier = settings, list(sources), place, earlier
        self.searches: list[dict[str, Any]] = []
        """What was searched how, and what the approximate searches missed: filled by :meth:`candidates`."""
        self._items: Vectors
        judged = dataset.judged_pairs(settings.split)
        self.query_rows = np.flatnonzero(np.diff(judged.offsets) >= settings.min_judged)
        if not len(self.query_rows):
            raise UsageError(
                f"no query of split {settings.split!r} has {settings.min_judged:,} judged pairs; lower min_judged"
            )
        everything = settings.items == "all"
        self.pool = np.arange(len(dataset.items)) if everything else np.unique(judged.item_rows).astype(np.int64)
        if settings.k > len(self.pool):
            which = "the catalogue" if everything else f"the judgments of split {settings.split!r}"
            raise UsageError(
                f"k is {settings.k:,}, but {which} has {len(self.pool):,} items; choose k <= {len(self.pool):,}"
            )

    # ---- texts -----------------------------------------------------------------------------------------------------

    @cached_property
    def item_texts(self) -> list[str]:
        """Of every item of the dataset."""
        return self.dataset.item_texts(self.settings.item_text_levels, self.settings.max_chars)

    @cached_property
    def pool_texts(self) -> list[str]:
        """Of every item that is searched."""
        return [self.item_texts[row] for row in self.pool.tolist()]

    @cached_property
    def query_texts(self) -> list[str]:
        """Of every query that is mined for."""
        texts = self.dataset.query_texts()
        return [texts[row] for row in self.query_rows.tolist()]

    @cached_property
    def source_names(self) -> list[str]:
        """What the candidate sources are called."""
        names = ["model"]
        names += [BM25 if source == BM25 else f"model-{model_hash(source)[:8]}" for source in self.sources]
        if len(set(names)) < len(names):
            raise UsageError(f"candidate sources {', '.join(names[1:])}: one stands there twice; name each once")
        return names

    # ---- encode and search -----------------------------------------------------------------------------------------

    def candidates(self) -> Candidates:
        """What all sources found, each pair once, with its score under the model."""
        names = self.source_names  # refused before anything is encoded
        items, queries = self.encode(self.model)
        found = [candidates_of(self.search(items, queries), self.query_rows, self.pool)]
        for name, source in zip(names[1:], self.sources, strict=True):
            top = self.search_texts() if source == BM25 else self.search(*self.encode(source), name)
            found.append(candidates_of(top, self.query_rows, self.pool))
        merged = merge_sources(found)
        if len(found) == 1:
            return merged
        maps = self.place.maps
        return with_scores(merged, queries.map(maps), items.map(maps), self.query_rows, self.pool)

    def encode(self, model: SentenceTransformer) -> tuple[Vectors, Vectors]:
        """The vectors of items and queries."""
        place, vectors = self.place, []
        columns = (("item", self.pool_texts, self.pool), ("query", self.query_texts, self.query_rows))
        for side, texts, rows in columns:
            table = arrow_table(self.dataset.items if side == "item" else self.dataset.queries)
            ids = [f"{side} {name}" for name in table[f"{side}_id"].take(rows).to_pylist()]
            stage = EncodeStage(
                model, texts, side, place.folder / "vectors",  # type: ignore[arg-type]
                batch_size=place.batch_size, shard_size=place.sizes.texts, dtype=self.settings.dtype, ids=ids,
            )  # fmt: skip
            place.run(stage)
            vectors.append(stage.vectors())
        if model is self.model:
            self._items = vectors[0]
        return vectors[0], vectors[1]

    def search(self, items: Vectors, queries: Vectors, name: str = "model") -> TopK:
        """The top k of every query under one model."""
        hnsw, about = self._plan(items, queries)
        return self._search_graphs(items, queries, name, hnsw, about) if hnsw else (
            self._search_exactly(items, queries, name, about)
        )  # fmt: skip

    def _search_exactly(self, items: Vectors, queries: Vectors, name: str, about: dict[str, Any]) -> TopK:
        place, k = self.place, self.settings.k
        maps = place.shared_maps
        parts = spans_of(items, place.sizes.items) if maps is None else [_whole(items)]
        searchers = ExactParts(items, parts, maps, place.memory)
        stage = SearchStage(
            queries, searchers, k, place.folder / "search", place.sizes.queries, maps, _label("search", name)
        )
        rankings = Rankings(place.folder / "rankings", settings_hash([items.folder.url.rsplit("/", 1)[-1], k]))
        if maps is not None and not all(stage.is_done(shard) for shard in range(len(stage.sizes))):
            stage.earlier = rankings.earlier(items.map(place.maps), queries.map(place.maps), k)
        place.run(stage)
        top = stage.merged()
        if maps is not None and place.engine.is_main:
            kept = settings_hash([items.identity, queries.identity])
            rankings.keep(kept, items.map(place.maps), queries.map(place.maps), top)
        self.searches.append({"source": name, "kind": "exact", **about})
        return top

    def _search_graphs(
        self, items: Vectors, queries: Vectors, name: str, hnsw: HnswSettings, about: dict[str, Any]
    ) -> TopK:
        place, k = self.place, self.settings.k
        maps = str(place.maps)
        parts = spans_of(items, hnsw.part_size)
        searchers = HnswParts(items, parts, hnsw, f"{place.folder.url}/index", maps)
        place.run(IndexStage(searchers))
        stage = SearchStage(
            queries, searchers, k, place.folder / "search", place.sizes.queries, maps, _label("search", name)
        )
        place.run(stage)
        top = stage.merged()
        recall = RecallStage(queries, searchers, top, k, place.folder / "recall", maps)
        place.run(recall)
        how = {**searchers.settings, "parts": len(parts), "recall": recall.report()}
        self.searches.append({"source": name, **how, **about})
        return top

    def search_texts(self) -> TopK:
        """The top k of every query by BM25."""
        from mr_st.search.analyser import common_language

        locales = [row for row in arrow_table(self.dataset.items)["locale"].take(self.pool).to_pylist() if row]
        stage = TextSearchStage(
            self.query_texts, self.pool_texts, self.settings.k, self.place.folder / "search",
            common_language(locales), self.place.sizes.queries,
        )  # fmt: skip
        self.place.run(stage)
        self.searches.append({"source": BM25, **stage.about})
        return stage.merged()

    def _plan(self, items: Vectors, queries: Vectors) -> tuple[HnswSettings | None, dict[str, Any]]:
        """How to search, and why: for one core and measured unit costs, so that every machine decides alike."""
        search = self.settings.search
        if isinstance(search, HnswSettings):
            return search, {"why": "asked for"}
        if search != "auto":
            return (HnswSettings() if search == "hnsw" else None), {"why": "asked for"}
        if not self.place.folder.is_local:
            return None, {"why": "an index is memory-mapped, so it needs a folder, and the work lies at a URL"}
        memory = _PLAN_MEMORY if self.place.memory is None else max(self.place.memory, _LEAST_PLAN_MEMORY)
        plan = choose_plan(
            len(items), len(queries), items.dimension, self.settings.k, memory=memory, min_saving=_LEAST_SAVING
        )
        if plan.kind == "exact" or plan.dtype is None:
            return None, {"why": plan.reason}
        part_size = -(-len(items) // plan.n_shards)
        return HnswSettings(plan.dtype, expansion_search=plan.expansion, part_size=part_size), {"why": plan.reason}

    # ---- from what was found to what is kept -----------------------------------------------------------------------

    def unjudged(self, found: Candidates) -> tuple[Candidates, dict[str, int]]:
        """The pairs to annotate, and how many were left out for which reason."""
        settings = self.settings
        judged = self.dataset.judged_pairs()
        query_rows, item_rows = judged.query_rows, judged.item_rows
        pairs, n_judged = drop_judged(found, query_rows, item_rows)
        left_out = {"already_judged": n_judged}
        if self.earlier is not None:
            pairs, left_out["already_mined"] = drop_judged(pairs, *self.earlier)
        could_be = self._hard(pairs, np.zeros(len(pairs), np.int8)).negatives
        could_be |= self._hard(pairs, np.ones(len(pairs), np.int8)).positives
        if not could_be.all():  # whatever their grade, the windows leave them out
            left_out["outside_rank_windows"] = int((~could_be).sum())
            pairs = pairs.take(could_be)
        if settings.budget is not None:
            strata, shares = np.zeros(len(self.dataset.queries), np.int8), np.ones(1)
            if settings.strata is not None:
                strata, shares = self.strata, shares_of_strata(settings.strata)
            chosen = within_budget(pairs.query_rows, strata, settings.budget, shares, settings.seed)
            left_out["over_budget"] = int((~chosen).sum())
            pairs = pairs.take(chosen)
        return pairs, left_out

    @cached_property
    def strata(self) -> np.ndarray:
        """Head, torso, tail or unknown, for each query of the dataset."""
        return query_strata(arrow_table(self.dataset.queries)["frequency"].to_numpy().astype(np.float64))

    def annotate(self, pairs: Candidates) -> Annotations:
        """Grade the pairs; what this annotator graded before, of the same texts, is looked up."""
        settings, place, n_grades = self.settings, self.place, self.dataset.scale.n_grades
        text_format = settings.item_text_levels, settings.max_chars
        folder = labels_folder(place.folder, self.annotator)
        keys = pair_keys(self.dataset, pairs.query_rows, pairs.item_rows, *text_format)
        known = KnownLabelsStage(keys, n_grades, place.sizes.pairs, folder)
        place.run(known)
        labels = known.result(0)
        unknown = np.ones(len(pairs), dtype=bool)
        unknown[labels["rows"]] = False
        stage = AnnotateStage(
            self.annotator, SharedDataset(self.dataset, place.folder), pairs.query_rows[unknown],
            pairs.item_rows[unknown], keys[unknown], item_text_levels=settings.item_text_levels,
            max_chars=settings.max_chars, n_grades=n_grades, chunk_size=place.sizes.pairs, folder=folder,
        )  # fmt: skip
        place.run(stage)
        asked = stage.annotations()
        grades = np.empty(len(pairs), dtype=np.int8)
        probabilities = np.empty((len(pairs), n_grades), dtype=np.float32)
        grades[unknown], probabilities[unknown] = asked.grades, asked.probabilities
        grades[labels["rows"]], probabilities[labels["rows"]] = labels["grades"], labels["probabilities"]
        return Annotations(grades, probabilities)

    def select(self, pairs: Candidates, annotations: Annotations) -> Selection:
        """What becomes of the annotated pairs."""
        settings = self.settings
        hard = self._hard(pairs, annotations.grades, annotations.confidence)
        near = twins = None
        if settings.near_duplicates is not None:
            near, twins = self._duplicates(settings.near_duplicates, pairs, annotations.grades, hard)
        return cap_pairs(
            pairs.query_rows, annotations.grades, hard, near_positive=near, twins=twins,
            max_negatives=settings.max_negatives, max_positives=settings.max_positives,
            max_by_grade=settings.max_by_grade,
        )  # fmt: skip

    def _hard(self, pairs: Candidates, grades: np.ndarray, confidences: np.ndarray | None = None) -> HardPairs:
        settings = self.settings
        return hard_pairs(
            pairs.ranks, grades, np.ones(len(pairs)) if confidences is None else confidences,
            last_negative_rank=settings.last_negative_rank, negative_ranks=settings.negative_ranks,
            positive_ranks=settings.positive_ranks,
            min_confidence=None if confidences is None else settings.min_confidence,
        )  # fmt: skip

    def _duplicates(
        self, threshold: float, pairs: Candidates, grades: np.ndarray, hard: HardPairs
    ) -> tuple[np.ndarray, np.ndarray]:
        likeness = ItemLikeness(threshold, self._items.map(self.place.maps), self.pool, text_keys_of(self.item_texts))
        judged = self.dataset.judged_pairs()
        positive = judged.grades >= 1  # one that was not searched is compared by its text
        queries, items = judged.query_rows[positive], judged.item_rows[positive]
        near = near_positives(pairs.query_rows, pairs.item_rows, hard.negatives, queries, items, likeness)
        compete = (hard.negatives & ~near) | hard.positives
        twins = twins_of_harder(pairs.query_rows, pairs.item_rows, grades, compete, hard.priorities, likeness)
        return near, twins


def _whole(vectors: Vectors) -> Span:
    return Span(0, len(vectors.sizes), 0, len(vectors))


def _label(verb: str, name: str) -> str:
    return verb if name == "model" else f"{verb} {name}"
