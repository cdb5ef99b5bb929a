"""The store of labels: exact texts, nothing lost, nothing asked twice, and clear words about a file that is none."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from counting_annotators import (
    Counting,
    Streaming,
    numbered,
    pairs_of,
    right_annotations,
    right_grades,
)
from hypothesis import given
from hypothesis import strategies as st

from mr_st.annotation import (
    Annotations,
    BudgetSpentError,
    JudgmentAnnotator,
    LabelStore,
    StoredAnnotator,
    StreamingAnnotator,
    UnansweredError,
)
from mr_st.annotation.store.claims import BUSY, KNOWN, MINE, Claims
from mr_st.errors import MrStError, UsageError

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def child(code: str, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SHARED), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, env=environment
    )  # fmt: skip


# ---- what goes in comes out -----------------------------------------------------------------------------------------


def test_labels_come_back_as_they_were(store: LabelStore) -> None:
    pairs = numbered(4)
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 4).astype(np.float32)
    given = Annotations(probabilities.argmax(axis=1), probabilities)
    assert store.put("a-1", pairs.take([3, 1]), given.take(np.array([3, 1])), cost=0.5) == 2
    known, annotations = store.get("a-1", pairs)
    assert known.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(annotations.grades, given.grades[[1, 3]])
    np.testing.assert_array_equal(annotations.probabilities, probabilities[[1, 3]])
    assert not store.get("a-2", pairs)[0].any()
    assert len(store.get("a-2", pairs)[1]) == 0


def test_texts_count_and_ids_do_not(store: LabelStore) -> None:
    store.put("a-1", pairs_of([("mug", "a mug")]), Annotations.certain([2], 3))
    looked_up = pairs_of([("a mug", "mug"), ("mug ", "a mug"), ("Mug", "a mug"), ("mug", "a mug"), ("mug", "a mug")])
    known, annotations = store.get("a-1", looked_up)
    assert known.tolist() == [False, False, False, True, True]
    assert annotations.grades.tolist() == [2, 2]


def test_long_texts_that_differ_at_the_end_are_two(store: LabelStore) -> None:
    long = "x" * 300_000
    store.put("a-1", pairs_of([("q", long + "a"), ("q", long + "b")]), Annotations.certain([2, 0], 3))
    known, annotations = store.get("a-1", pairs_of([("q", long + "b"), ("q", long), ("q", long + "a")]))
    assert known.tolist() == [True, False, True]
    assert annotations.grades.tolist() == [0, 2]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> LabelStore:
    return LabelStore(tmp_path_factory.mktemp("store") / "labels.sqlite")


ODD = st.text(
    st.characters() | st.sampled_from(["\x00", "\ud800", "\udfff", "\u0301", "é", "e", "'", '"', "%", "\n", " "]),
    max_size=6,
)


@given(texts=st.lists(st.tuples(ODD, ODD), min_size=1, max_size=12, unique=True), number=st.integers(0, 1 << 60))
def test_odd_texts_are_told_apart(shared_store: LabelStore, texts: list[tuple[str, str]], number: int) -> None:
    identity = f"odd-{number}-{len(texts)}-{texts!r}"  # a store of its own for each example
    pairs = pairs_of(texts)
    half = np.arange(0, len(texts), 2)
    shared_store.put(identity, pairs.take(half), right_annotations(pairs.take(half)))
    known, annotations = shared_store.get(identity, pairs)
    assert np.flatnonzero(known).tolist() == half.tolist()
    assert annotations.grades.tolist() == right_grades(pairs.take(half))


def test_the_first_label_holds_and_every_cost_counts(store: LabelStore) -> None:
    pairs = numbered(2)
    assert store.put("a-1", pairs.take([0]), Annotations.certain([1], 3), 0.25) == 1
    assert store.put("a-1", pairs, Annotations.certain([2, 2], 3), 0.5) == 1
    assert store.put("a-1", pairs.take([]), Annotations.concatenate([], 3), 0.125) == 0  # paid, no answer
    assert store.get("a-1", pairs)[1].grades.tolist() == [1, 2]
    (facts,) = store.facts()
    assert (facts["identity"], facts["n_labels"], facts["cost"]) == ("a-1", 2, 0.875)
    assert facts["by_grade"] == [0, 1, 1]
    assert facts["first_written"] <= facts["last_written"]


def test_an_identity_keeps_its_scale(store: LabelStore) -> None:
    store.put("a-1", numbered(1), Annotations.certain([1], 3))
    with pytest.raises(MrStError, match=r"a-1 has labels of 3 grades, and comes with 4"):
        store.put("a-1", numbered(1, 5), Annotations.certain([1], 4))
    with pytest.raises(UsageError, match=r"1 pairs and 2 annotations"):
        store.put("a-1", numbered(1), Annotations.certain([1, 1], 3))
    assert store.facts()[0]["n_labels"] == 1


def test_history_export_and_the_readable_view(store: LabelStore, tmp_path: Path) -> None:
    pair = pairs_of([("mug", "a \ud800mug")])
    store.put("b-1", pair, Annotations.certain([2], 3), 0.5)
    store.put("a-1", pair, Annotations(np.array([1]), np.array([[0.25, 0.5, 0.25]])))
    store.put("a-1", pairs_of([("mug", "lamp"), ("cup", "lamp")]), Annotations.certain([0, 0], 3), 0.5)
    history = store.history("mug", "a \ud800mug")
    assert [(h["annotator"], h["grade"], h["cost"]) for h in history] == [("b-1", 2, 0.5), ("a-1", 1, 0.0)]
    assert history[1]["probabilities"] == [0.25, 0.5, 0.25]
    assert store.history("mug", "nothing") == []
    table = pq.read_table(store.export(tmp_path / "out.parquet")).to_pylist()
    assert [(r["annotator"], r["query_text"], r["item_text"], r["grade"], r["cost"]) for r in table] == [
        ("b-1", "mug", "a \ufffd\ufffd\ufffdmug", 2, 0.5),
        ("a-1", "mug", "a \ufffd\ufffd\ufffdmug", 1, 0.0),
        ("a-1", "cup", "lamp", 0, 0.25),
        ("a-1", "mug", "lamp", 0, 0.25),
    ]
    store.close()
    with sqlite3.connect(store.path) as connection:
        seen = connection.execute("SELECT annotator, query_text, item_text, grade, probabilities FROM readable")
        assert ("a-1", "cup", "lamp", 0, "[1.0,0.0,0.0]") in seen.fetchall()


def test_thousands_at_once(store: LabelStore) -> None:
    pairs = numbered(20_000)
    store.put("a-1", pairs, right_annotations(pairs))
    order = np.random.default_rng(0).permutation(20_000)
    known, annotations = store.get("a-1", pairs.take(order))
    assert known.all()
    assert annotations.grades.tolist() == right_grades(pairs.take(order))


# ---- threads and processes ------------------------------------------------------------------------------------------


def test_threads_share_one_object_and_one_file(store: LabelStore) -> None:
    other = LabelStore(store.path)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for row in range(10):
                pair = numbered(1, 100 * number + row)
                (store if number % 2 else other).put("a-1", pair, right_annotations(pair), 0.01)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    (facts,) = store.facts()
    assert facts["n_labels"] == 60
    assert facts["cost"] == pytest.approx(0.6)


WRITER = """
import sys
from counting_annotators import numbered, right_annotations
from mr_st.annotation import LabelStore
store = LabelStore(sys.argv[1])
for row in range(int(sys.argv[2]), int(sys.argv[3])):
    pair = numbered(1, row)
    store.put("a-1", pair, right_annotations(pair), 0.01)
    print(row, flush=True)
"""


def test_two_processes_write_at_once_from_the_first_opening_on(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    writers = [child(WRITER, str(path), start, stop) for start, stop in (("0", "40"), ("20", "60"))]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    pairs = numbered(60)
    known, annotations = LabelStore(path).get("a-1", pairs)
    assert known.all()
    assert annotations.grades.tolist() == right_grades(pairs)


@pytest.mark.parametrize("n_seen", [1, 17, 60])
def test_a_killed_process_has_lost_nothing_that_it_wrote(tmp_path: Path, n_seen: int) -> None:
    path = tmp_path / "labels.sqlite"
    writer = child(WRITER, str(path), "0", "100000")
    assert writer.stdout is not None
    seen = [int(writer.stdout.readline()) for _ in range(n_seen)]
    writer.send_signal(signal.SIGKILL)
    seen += [int(line) for line in writer.communicate()[0].splitlines()]
    known, _ = LabelStore(path).get("a-1", numbered(seen[-1] + 2))
    assert known[: len(seen)].all()  # and one more at most, written and not yet said
    assert not known[len(seen) + 1 :].any()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_travels_by_its_path(store: LabelStore) -> None:
    store.put("a-1", numbered(1), right_annotations(numbered(1)))
    assert pickle.loads(pickle.dumps(store)).get("a-1", numbered(1))[0].all()
    pid = os.fork()
    if not pid:
        os._exit(0 if store.get("a-1", numbered(1))[0].all() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.get("a-1", numbered(1))[0].all()


# ---- a file that is no label store ----------------------------------------------------------------------------------


def test_what_is_no_label_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    noise = tmp_path / "noise.sqlite"
    noise.write_bytes(b"no database at all " * 100)
    with pytest.raises(MrStError, match=r"noise\.sqlite: the label store cannot be used \(file is not a database\)"):
        LabelStore(noise)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = other.read_bytes()
    with pytest.raises(UsageError, match=r"other\.sqlite: the database of another program, no label store"):
        LabelStore(other)
    assert other.read_bytes() == before
    with pytest.raises(UsageError, match=r"a folder; name the label store's file"):
        LabelStore(tmp_path)
    with pytest.raises(MrStError, match=r"cannot write here"):
        LabelStore(noise / "labels.sqlite")


def test_a_newer_version_is_refused(store: LabelStore) -> None:
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version=2")
    with pytest.raises(MrStError, match=r"a label store of version 2, this mr_st knows 1; update mr_st"):
        LabelStore(store.path)


def test_a_damaged_store_is_named_in_one_line(store: LabelStore) -> None:
    pairs = numbered(500)
    store.put("a-1", pairs, right_annotations(pairs))
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096:] = b"\xab" * (len(content) - 4096)
    store.path.write_bytes(content)
    with pytest.raises(
        MrStError, match=r"labels\.sqlite: the label store cannot be used .*restore the file"
    ) as caught:
        LabelStore(store.path).get("a-1", pairs)
    assert "\n" not in str(caught.value)


def test_a_read_only_file_is_named(store: LabelStore) -> None:
    store.put("a-1", numbered(1), right_annotations(numbered(1)))
    with store.file.reading() as connection:
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA query_only=1")
    with pytest.raises(MrStError, match=r"readonly.*mend the permissions"):
        store.put("a-1", numbered(1, 5), right_annotations(numbered(1)))


# ---- claims ---------------------------------------------------------------------------------------------------------


def test_a_claim_is_one_workers_until_it_is_labelled_or_given_back(store: LabelStore) -> None:
    pairs = numbered(4)
    store.put("a-1", pairs.take([0]), right_annotations(pairs.take([0])))
    with Claims(store.file) as first, Claims(LabelStore(store.path).file) as second:
        assert first.take("a-1", pairs.take([0, 1, 2, 1])).tolist() == [KNOWN, MINE, MINE, MINE]
        assert first.take("a-1", pairs.take([1])).tolist() == [MINE]
        assert second.take("a-1", pairs).tolist() == [KNOWN, BUSY, BUSY, MINE]
        assert second.take("b-1", pairs).tolist() == [MINE] * 4  # another annotator's labels
        store.put("a-1", pairs.take([1]), right_annotations(pairs.take([1])))
        first.release()
        assert second.take("a-1", pairs).tolist() == [KNOWN, KNOWN, MINE, MINE]
    with Claims(store.file) as third:
        assert third.take("a-1", pairs).tolist() == [KNOWN, KNOWN, MINE, MINE]


CLAIMANT = """
import sys, time
from counting_annotators import numbered
from mr_st.annotation import LabelStore
from mr_st.annotation.store.claims import Claims
with Claims(LabelStore(sys.argv[1]).file) as claims:
    print(claims.take("a-1", numbered(3)).tolist(), flush=True)
    time.sleep(600)
"""


def test_claims_of_a_killed_process_are_free_at_once(store: LabelStore) -> None:
    other = child(CLAIMANT, str(store.path))
    assert other.stdout is not None
    assert other.stdout.readline() == f"{[MINE] * 3}\n"
    with Claims(store.file) as claims:
        assert claims.take("a-1", numbered(4)).tolist() == [BUSY] * 3 + [MINE]
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert claims.take("a-1", numbered(4)).tolist() == [MINE] * 4


def test_claims_from_another_machine_hold_as_long_as_their_lease(store: LabelStore) -> None:
    def another(lease_until: float) -> None:
        with store.file.transaction() as connection:
            connection.execute("UPDATE owners SET machine = 'elsewhere', pid = 1, lease_until = ?", (lease_until,))

    with Claims(store.file, lease=1000) as absent:
        absent.take("a-1", numbered(2))
        another(lease_until=4e9)
        with Claims(store.file) as claims:
            assert claims.take("a-1", numbered(2)).tolist() == [BUSY, BUSY]
            with store.file.transaction() as connection:
                connection.execute("UPDATE owners SET lease_until = 1 WHERE machine = 'elsewhere'")
            assert claims.take("a-1", numbered(2)).tolist() == [MINE, MINE]


def test_a_lease_is_renewed_while_the_worker_works(store: LabelStore) -> None:
    with Claims(store.file, lease=0.4) as claims, Claims(store.file) as other:
        claims.take("a-1", numbered(1))
        threading.Event().wait(1.2)
        assert other.take("a-1", numbered(1)).tolist() == [BUSY]


# ---- the annotator that asks only what is missing -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Counting, Streaming])
def test_only_what_is_missing_is_asked_and_equal_texts_once(store: LabelStore, kind: type[Counting]) -> None:
    inner = kind()
    annotator = StoredAnnotator(inner, store, chunk=7)
    assert isinstance(annotator, StreamingAnnotator)
    assert annotator.identity == inner.identity
    order = [*range(20), 3, 3, 19, 0]
    first = annotator.grade(numbered(20).take(order))
    assert first.grades.tolist() == right_grades(numbered(20).take(order))
    again = annotator.grade(numbered(30).take([*range(30), 5]))
    assert again.grades.tolist() == right_grades(numbered(30).take([*range(30), 5]))
    np.testing.assert_array_equal(again.probabilities[:20], first.probabilities[:20])
    assert len(inner.asked) == 30
    assert set(inner.asked.values()) == {1}
    (facts,) = store.facts()
    assert facts["n_labels"] == 30
    assert facts["cost"] == pytest.approx(0.3 if kind is Streaming else 0)


def test_each_part_is_kept_before_it_is_handed_over(store: LabelStore) -> None:
    inner = Streaming(size=2)
    parts = StoredAnnotator(inner, store).grade_in_parts(numbered(10))
    first = next(parts)
    assert sorted(first.rows.tolist()) == [8, 9]
    assert LabelStore(store.path).get(inner.identity, numbered(10))[0].tolist() == [False] * 8 + [True] * 2
    parts.close()
    with Claims(store.file) as claims:  # the rest was given back
        assert claims.take(inner.identity, numbered(10)).tolist() == [MINE] * 8 + [KNOWN] * 2


def test_pairs_without_an_answer_are_named_and_the_others_kept(store: LabelStore) -> None:
    inner = Streaming(refused=("item 4", "item 7"))
    with pytest.raises(UnansweredError, match=r"no usable answer for 2 of 10 pairs.*item '4'") as caught:
        StoredAnnotator(inner, store).grade(numbered(10))
    assert caught.value.rows.tolist() == [4, 7]
    assert store.get(inner.identity, numbered(10))[0].sum() == 8
    inner.refused.clear()
    StoredAnnotator(inner, store).grade(numbered(10))
    assert set(inner.asked.values()) == {1}


def test_a_spent_budget_keeps_what_was_paid_for(store: LabelStore) -> None:
    inner = Streaming(budget=0.06)
    with pytest.raises(BudgetSpentError, match=r"0\.06 of the budget of 0\.06"):
        StoredAnnotator(inner, store).grade(numbered(10))
    (facts,) = store.facts()
    assert facts["n_labels"] == 6
    assert facts["cost"] == pytest.approx(0.06)
    inner.budget = 1.0
    assert StoredAnnotator(inner, store).grade(numbered(10)).grades.tolist() == right_grades(numbered(10))
    assert set(inner.asked.values()) == {1}


def test_two_workers_share_the_pairs(store: LabelStore) -> None:
    inner = Counting(seconds=0.05)
    answers: list[Annotations] = []

    def work(to: LabelStore) -> None:
        answers.append(StoredAnnotator(inner, to, chunk=10).grade(numbered(100)))

    threads = [threading.Thread(target=work, args=(to,)) for to in (store, LabelStore(store.path))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.grades.tolist() for a in answers] == [right_grades(numbered(100))] * 2
    assert len(inner.asked) == 100
    assert set(inner.asked.values()) == {1}


def test_no_lock_is_held_while_an_annotator_works(store: LabelStore) -> None:
    class Writing(Counting):
        def grade(self, pairs):
            elsewhere = LabelStore(store.path)
            with elsewhere.file.transaction() as connection:
                connection.execute("PRAGMA busy_timeout=0")
            elsewhere.put("other-1", pairs, right_annotations(pairs))
            return super().grade(pairs)

    StoredAnnotator(Writing(), store).grade(numbered(5))
    assert [facts["n_labels"] for facts in store.facts()] == [5, 5]


def test_another_label_that_came_first_is_the_one_that_is_given(store: LabelStore) -> None:
    class Overtaken(Counting):
        def grade(self, pairs):
            store.put(self.identity, pairs.take([0]), Annotations.certain([2], 3))
            return Annotations.certain([0] * len(pairs), 3)

    assert StoredAnnotator(Overtaken(), store).grade(numbered(3)).grades.tolist() == [2, 0, 0]


def test_who_grades_by_ids_is_refused(store: LabelStore) -> None:
    with pytest.raises(UsageError, match=r"grades by ids, and labels are kept by texts"):
        StoredAnnotator(JudgmentAnnotator({("q", "i"): 1}), store)
    with pytest.raises(UsageError, match=r"chunk is 0"):
        StoredAnnotator(Counting(), store, chunk=0)
