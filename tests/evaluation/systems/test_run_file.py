"""External runs: what is read, what is refused, and that a run gives the figures of the system that made it."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest

from mr_st.errors import DataError, UsageError
from mr_st.evaluation import Collection, evaluate_system
from mr_st.evaluation.systems import Bm25System, RandomSystem, RunFile
from mr_st.evaluation.trec import write_trec_qrels, write_trec_run

GOOD = "q00 Q0 i3 1 0.9 tag\nq00 Q0 i1 2 0.5 tag\nq02 Q0 i7 1 3 tag\n"


@pytest.fixture
def small() -> Collection:
    """Two queries and four items, hand-made."""
    from mr_st.data import GradedDataset

    items = [{"item_id": f"i{i}", "title": f"item {i}", "category_path": ["x"], "locale": "en"} for i in range(4)]
    queries = [{"query_id": q, "text": q, "locale": "en"} for q in ("qa", "qb")]
    grades = {("qa", "i0"): 2, ("qa", "i1"): 0, ("qb", "i2"): 1, ("qb", "i3"): 2}
    judgments = [{"query_id": q, "item_id": i, "grade": g, "split": "test"} for (q, i), g in grades.items()]
    return Collection.from_dataset(GradedDataset.from_tables(queries, items, judgments, name="small"))


def run_of(folder: Path, text: str | bytes, name: str = "x.run") -> RunFile:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return RunFile(path)


def ids(run: RunFile, collection: Collection, k: int = 3) -> list[list[str | None]]:
    rows = run.search(collection, k).ids.tolist()
    return [[collection.item_ids[row] if row >= 0 else None for row in of] for of in rows]


def test_the_order_is_that_of_the_scores_and_not_of_ranks_or_lines(tmp_path: Path, small: Collection) -> None:
    run = run_of(tmp_path, "qa Q0 i1 1 0.1 t\nqb Q0 i2 7 -3 t\nqa Q0 i3 2 0.7 t\nqa Q0 i0 9 2e-1 t\n")
    assert ids(run, small) == [["i3", "i0", "i1"], ["i2", None, None]]
    assert run.search(small, 3).scores[0].tolist() == np.float32([0.7, 0.2, 0.1]).tolist()


def test_ties_as_float32_stand_lower_item_row_first(tmp_path: Path, small: Collection) -> None:
    run = run_of(tmp_path, "qa Q0 i3 1 0.50000000001 t\nqa Q0 i1 2 0.5 t\nqa Q0 i2 3 0.6 t\n")
    assert ids(run, small)[0] == ["i2", "i1", "i3"]


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "   ").replace("\n", "  \r\n\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n\n" + text.rstrip("\n"),
        lambda text: text.replace("Q0", "q0").replace("t\n", "another-tag\n"),
    ],
)
def test_blanks_line_ends_and_marks_do_not_matter(tmp_path: Path, small: Collection, form) -> None:
    text = "qa Q0 i1 1 0.9 t\nqb Q0 i2 1 0.5 t\n"
    assert ids(run_of(tmp_path, form(text)), small) == ids(run_of(tmp_path, text, "plain.run"), small)


def test_a_gzipped_run_is_the_same_run(tmp_path: Path, small: Collection) -> None:
    text = "qa Q0 i1 1 0.9 t\n"
    plain, packed = run_of(tmp_path, text), run_of(tmp_path, gzip.compress(text.encode()), "x.run.gz")
    assert packed.revision == plain.revision
    assert packed.name == plain.name == "local/x"
    assert ids(packed, small) == ids(plain, small)
    with pytest.raises(UsageError, match=r"cut.run.gz: a damaged gzip file"):
        run_of(tmp_path, gzip.compress(GOOD.encode())[:-12], "cut.run.gz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 i1 1 0.9 t\nq1 Q0 i2 2 0.8\n", r"x.run, line 2: 5 columns .'q1 Q0 i2 2 0.8'.; a run line is: qid Q0"),
        ("q1 Q0 i1 1 0.9 t and more\n", "line 1: 8 columns"),
        ("query,item,score\n", "line 1: 1 columns"),
        ("q1 Q0 i1 1 nan t\n", "line 1: the score is 'nan'; give a finite"),
        ("q1 Q0 i1 1 inf t\n", "line 1: the score is 'inf'"),
        ("q1 Q0 i1 1 1e39 t\n", "line 1: the score is '1e39'"),
        ("\n\nq1 Q0 i1 1 high t\n", "line 3: the score is 'high'"),
        (
            "q1 Q0 i1 1 0.9 t\nq2 Q0 i1 1 0.9 t\n\nq1 Q0 i1 2 0.8 t\n",
            "line 4: item 'i1' stands twice for query 'q1', first in line 1; keep one",
        ),
    ],
)
def test_a_fault_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run_of(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "nothing in it"),
        (b" \n\n", "nothing in it"),
        (b"q\xff Q0 i1 1 0.5 t\n", "is not UTF-8"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_of(tmp_path, content)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.run: cannot read the run .No such file"):
        RunFile(tmp_path / "none.run")


def test_unknown_ids_are_counted_and_missing_queries_are_empty(
    tmp_path: Path, small: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(tmp_path, "qa Q0 i9 1 0.9 t\nqa Q0 i1 2 0.8 t\nzz Q0 i1 1 0.9 t\nzz Q0 i8 2 0.1 t\n")
    coverage = run.coverage(small)
    assert (coverage.n_queries, coverage.n_missing_queries) == (1, 1)
    assert (coverage.n_unknown_queries, coverage.n_unknown_items) == (1, 1)
    assert str(coverage) == (
        "1 queries; 1 queries missing, which count as empty; 1 queries that are not evaluated; "
        "1 lines whose item is not in the catalogue, left out"
    )
    with caplog.at_level(logging.WARNING):
        assert ids(run, small) == [["i1", None, None], [None, None, None]]
    assert "1 queries missing" in caplog.text
    report = evaluate_system(run, small, ks=(10,), n_resamples=50)
    assert report.values("ndcg@10").tolist() == [0.0, 0.0]
    assert report.values("judged@10")[0] == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zz Q0 i1 1 0.9 t\n", r"no query id of the run .e.g. 'zz'. is one of the task's .e.g. 'qa'."),
        ("qa Q0 9 1 0.9 t\n", r"no item id of the run .e.g. '9'. is one of the task's .e.g. 'i0'."),
    ],
)
def test_a_run_of_something_else_is_refused(tmp_path: Path, small: Collection, text: str, message: str) -> None:
    run = run_of(tmp_path, text)
    with pytest.raises(UsageError, match=message):
        run.search(small, 10)
    with pytest.raises(UsageError, match=message):
        run.score_pairs(small)


def test_a_pair_that_the_run_lacks_is_nan(tmp_path: Path, small: Collection) -> None:
    run = run_of(tmp_path, "qa Q0 i1 1 0.25 t\nqb Q0 i3 1 -4 t\nqb Q0 i0 2 -5 t\n")
    assert run.score_pairs(small).tolist()[1:] == pytest.approx([0.25, np.nan, -4], nan_ok=True)
    assert np.isnan(run.score_pairs(small)[0])


@pytest.mark.parametrize("n", [30, 100])
def test_an_exported_run_gives_the_figures_of_its_system(
    dataset, catalogue: Collection, tmp_path: Path, n: int
) -> None:
    for number, system in enumerate([Bm25System(), RandomSystem()]):
        direct = evaluate_system(system, catalogue, ks=(5, 10, 30), n_resamples=100)
        write_trec_run(system.search(catalogue, n), tmp_path / f"{number}.run", collection=catalogue)
        again = evaluate_system(RunFile(tmp_path / f"{number}.run"), catalogue, ks=(5, 10, 30), n_resamples=100)
        for metric, interval in direct.metrics.items():
            assert again[metric] == pytest.approx(interval, nan_ok=True), metric
        write_trec_run(direct, tmp_path / f"{number}.report.run.gz")
        kept = evaluate_system(RunFile(tmp_path / f"{number}.report.run.gz"), catalogue, ks=(10,), n_resamples=100)
        assert kept.values("ndcg@10").tolist() == direct.values("ndcg@10").tolist()


def test_trec_eval_reads_the_export_as_we_do(twice, tmp_path: Path) -> None:
    """With ties all over: trec_eval's order is ours, for equal scores were written apart."""
    pytrec_eval = pytest.importorskip("pytrec_eval")
    collection = Collection.from_dataset(twice)
    system = Bm25System()
    top = system.search(collection, 50)
    assert (top.scores[:, 1:] == top.scores[:, :-1])[top.ids[:, 1:] >= 0].any()
    write_trec_run(top, tmp_path / "x.run", collection=collection)
    write_trec_qrels(collection, tmp_path / "x.qrels")
    with open(tmp_path / "x.run") as run, open(tmp_path / "x.qrels") as qrels:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(qrels), {"ndcg_cut.10", "recip_rank"})
        theirs = evaluator.evaluate(pytrec_eval.parse_run(run))
    report = evaluate_system(system, collection, ks=(10, 50), n_resamples=50)
    ours = dict(zip(collection.query_ids, report.values("ndcg@10").tolist(), strict=True))
    assert ours == pytest.approx({query: scores["ndcg_cut_10"] for query, scores in theirs.items()}, abs=1e-9)
