"""The labelling job: what it counts, how it stops, and that it goes on where it stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting_annotators import Counting, Streaming, numbered, right_grades

from mr_st.annotation import GradedPart, JudgmentAnnotator, LabelStore, PairTable
from mr_st.annotation.running import annotate
from mr_st.errors import MrStError, UsageError


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """As in a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path / "labels.sqlite")


def test_a_whole_job_and_the_same_again(store: LabelStore) -> None:
    annotator, pairs, seen = Streaming(size=4), numbered(10), []
    done = annotate(annotator, pairs, store, on_progress=lambda *state: seen.append(state))
    assert done.complete
    assert done.annotations.grades.tolist() == right_grades(pairs)
    assert (done.known_before, done.newly_labelled, done.n_left, done.stopped_by) == (0, 10, 0, None)
    assert done.spend == pytest.approx(0.1)
    assert [(n, total) for n, total, _ in seen] == [(4, 10), (8, 10), (10, 10)]
    assert seen[1][2] == pytest.approx(0.08)
    assert done.advice == ""

    again = annotate(annotator, numbered(12), store)
    assert (again.known_before, again.newly_labelled) == (10, 2)
    assert again.spend == pytest.approx(0.02)
    assert again.annotations.grades.tolist() == right_grades(numbered(12))
    assert set(annotator.asked.values()) == {1}
    assert again.to_dict()["complete"] is True


def test_equal_texts_are_counted_as_the_pairs_that_they_are(store: LabelStore) -> None:
    done = annotate(Counting(), numbered(3).take([0, 1, 2, 1, 1]), store)
    assert (done.newly_labelled, len(done.is_labelled), done.complete) == (5, 5, True)


def test_the_annotators_own_budget_stops_it(store: LabelStore) -> None:
    annotator = Streaming(size=2, budget=0.05)
    done = annotate(annotator, numbered(10), store)
    assert (done.stopped_by, done.newly_labelled, done.complete) == ("budget", 4, False)
    assert done.is_labelled.tolist() == [False] * 6 + [True] * 4
    assert done.annotations.grades.tolist() == right_grades(numbered(10))[6:]
    assert done.advice.startswith("0.04 of the budget of 0.05 is spent: 6 of 10 pairs have no label yet; raise the")
    assert len(done.unanswered) == 0
    annotator.budget = 1
    assert annotate(annotator, numbered(10), store).complete
    assert set(annotator.asked.values()) == {1}


def test_the_jobs_budget_stops_it(store: LabelStore) -> None:
    annotator = Streaming(size=2)
    done = annotate(annotator, numbered(10), store, budget=0.05)
    assert (done.stopped_by, done.newly_labelled) == ("budget", 6)
    assert done.advice.startswith("0.06 of the budget of 0.05 is spent")
    enough = annotate(annotator, numbered(10), store, budget=0.04)
    assert (enough.stopped_by, enough.complete) == (None, True)


def test_a_limit_is_on_what_is_asked_anew(store: LabelStore) -> None:
    annotator = Counting()
    first = annotate(annotator, numbered(10), store, limit=3)
    assert (first.newly_labelled, first.stopped_by, first.is_labelled.sum()) == (3, "limit", 3)
    assert first.is_labelled.tolist() == [True] * 3 + [False] * 7
    assert len(first.unanswered) == 0
    second = annotate(annotator, numbered(10), store, limit=3)
    assert (second.known_before, second.newly_labelled) == (3, 3)
    assert "4 of 10 pairs have no label yet; run again" in second.advice
    assert annotate(annotator, numbered(10), store, limit=4).stopped_by is None
    assert annotate(annotator, numbered(20), store, limit=0).newly_labelled == 0


def test_unanswered_pairs_are_named(store: LabelStore) -> None:
    done = annotate(Streaming(refused=("item 2", "item 5")), numbered(8), store)
    assert done.unanswered.tolist() == [2, 5]
    assert (done.complete, done.stopped_by) == (False, None)
    assert done.advice == "no usable answer for 2 of 8 pairs; run again to ask these anew"


def test_without_a_store(store: LabelStore) -> None:
    table = {(str(row), str(row)): row % 3 for row in range(600)}
    done = annotate(JudgmentAnnotator(table), numbered(600), None)
    assert done.annotations.grades.tolist() == [row % 3 for row in range(600)]
    with pytest.raises(UsageError, match="grades by ids"):
        annotate(JudgmentAnnotator(table), numbered(2), store)


def test_the_bar_shows_rate_and_spend(store: LabelStore, capsys: pytest.CaptureFixture[str]) -> None:
    annotate(Streaming(), numbered(12), store, show_progress=True)
    shown = capsys.readouterr().err
    assert "12/12" in shown
    assert "label/s" in shown
    assert "spent 0.12" in shown


def test_nonsense_is_refused_and_faults_are_passed_on(store: LabelStore) -> None:
    with pytest.raises(UsageError, match="budget is -1"):
        annotate(Counting(), numbered(1), store, budget=-1)

    class Broken(Counting):
        def grade(self, pairs: PairTable):
            if self.calls:
                raise MrStError("the server is gone")
            return super().grade(pairs)

    with pytest.raises(MrStError, match="the server is gone"):
        annotate(Broken(), numbered(10), store, chunk=4)
    assert store.get("counting-1", numbered(10))[0].sum() == 4


class Interrupted(Streaming):
    """Presses Ctrl-C after the second part, and goes on if it is let."""

    def grade_in_parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        for number, part in enumerate(super().grade_in_parts(pairs)):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield part


class Stoppable(Interrupted):
    """Has two more answers under way when it is told to stop."""

    left: int | None = None

    def stop(self) -> None:
        self.left = 2

    def grade_in_parts(self, pairs: PairTable) -> Iterator[GradedPart]:
        for part in super().grade_in_parts(pairs):
            if self.left is not None:
                self.left -= 1
            yield part
            if self.left == 0:
                return


@pytest.mark.parametrize(("kind", "n_kept"), [(Interrupted, 4), (Stoppable, 6)])
def test_ctrl_c_keeps_what_was_paid_for(store: LabelStore, kind: type[Streaming], n_kept: int) -> None:
    annotator = kind(size=2)
    before = signal.getsignal(signal.SIGINT)
    done = annotate(annotator, numbered(20), store)
    assert signal.getsignal(signal.SIGINT) is before
    assert (done.stopped_by, done.newly_labelled) == ("interrupt", n_kept)
    assert len(annotator.asked) == n_kept  # nothing was asked whose answer is not kept
    assert store.get(annotator.identity, numbered(20))[0].sum() == n_kept
    assert done.advice.startswith(f"interrupted: {20 - n_kept} of 20 pairs have no label yet; run again")


def test_ctrl_c_does_not_wait_for_an_annotator_that_works_here(store: LabelStore) -> None:
    class Slow(Counting):
        def grade(self, pairs: PairTable):
            if len(self.calls) == 2:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
                threading.Event().wait(30)
            return super().grade(pairs)

    done = annotate(Slow(), numbered(20), store, chunk=5)
    assert (done.stopped_by, done.newly_labelled) == ("interrupt", 10)


def test_it_runs_in_any_thread(store: LabelStore) -> None:
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(annotate(Counting(), numbered(5), store)))
    thread.start()
    thread.join()
    assert outcome[0].complete
