"""The endpoint annotator against a server half of whose answers are faulty: all right, none twice, none lost."""

from __future__ import annotations

import time

import pytest
from faulty_endpoint import FAULTS, KEY, MIXED, MODEL, faulty_endpoint, faulty_process, figures_of, true_grade

from mr_st.annotation import PairTable
from mr_st.annotation.endpoint import EndpointAnnotator

KEY_ENV = "LOOPBACK_KEY"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def annotator_of(base_url: str, **settings) -> EndpointAnnotator:
    settings = {"guideline": "brief", "max_attempts": 60, "first_backoff": 0.02, "longest_wait": 2.0, **settings}
    return EndpointAnnotator(MODEL, base_url=base_url, api_key_env=KEY_ENV, **settings)


def table(n: int) -> PairTable:
    queries, items = [f"query {row % 97}" for row in range(n)], [f"item number {row}" for row in range(n)]
    return PairTable([f"q{row % 97}" for row in range(n)], [f"i{row}" for row in range(n)], queries, items, ["en"] * n)


def texts_of(pairs: PairTable) -> list[tuple[str, str]]:
    return list(zip(pairs.query_texts, pairs.item_texts, strict=True))


def grades_in_parts(annotator: EndpointAnnotator, pairs: PairTable) -> dict[int, int]:
    """Row to grade; a row that comes twice is an error."""
    graded: dict[int, int] = {}
    for part in annotator.grade_in_parts(pairs):
        for row, grade in zip(part.rows.tolist(), part.annotations.grades.tolist(), strict=True):
            assert row not in graded
            graded[row] = grade
    return graded


def patience(concurrency: int, least: float = 4.0) -> float:
    """A timeout that no good answer reaches, on a machine as busy as it is now: 8 times what an answer takes."""
    n = 5 * concurrency
    with faulty_process() as base_url:
        start = time.monotonic()
        grades_in_parts(annotator_of(base_url, timeout=600.0, concurrency=concurrency), table(n))
        return max(least, 8 * (time.monotonic() - start) * concurrency / n)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_kind_of_fault_alone(fault):
    pairs = table(24)
    # a hang is waited for as long as the timeout; all others have all the time there is
    timeout = patience(24, least=1.5) if fault == "hang" else 60.0
    with faulty_endpoint(0.5, faults=[fault]) as server:
        annotator = annotator_of(server.base_url, timeout=timeout, concurrency=24)
        graded = grades_in_parts(annotator, pairs)
        assert graded == {row: true_grade(*texts) for row, texts in enumerate(texts_of(pairs))}
        assert server.asked_after_good == []
        assert server.faults[fault] == sum(annotator.stats.retries.values()) > 5
        assert annotator.stats.requests == server.n_requests


@pytest.mark.parametrize("fault", [MIXED, "wrong-label", "empty", "half-json", "500"])
def test_every_kind_of_fault_with_several_pairs_a_request(fault):
    pairs = table(60)
    with faulty_endpoint(0.5, faults=[fault]) as server:
        annotator = annotator_of(server.base_url, timeout=60.0, pairs_per_request=6)
        graded = grades_in_parts(annotator, pairs)
        assert graded == {row: true_grade(*texts) for row, texts in enumerate(texts_of(pairs))}
        assert server.asked_after_good == []
        assert server.faults[fault] > 0
        assert server.n_requests < 60  # far fewer than one a pair and try


def test_a_pair_whose_answers_were_useless_twice_is_asked_alone():
    pairs = table(4)
    with faulty_endpoint(1.0, faults=["empty"]) as server:
        assert grades_in_parts(annotator_of(server.base_url, pairs_per_request=4, max_attempts=4), pairs) == {}
    assert server.n_requests == 2 + 4 * 2
    assert set(server.asked.values()) == {4}


def test_cut_connections_and_hangs_are_booked_as_paid():
    pairs = table(20)
    with faulty_endpoint(0.5, faults=["cut", "half-json", "500"]) as server:
        annotator = annotator_of(server.base_url, timeout=60.0)
        grades_in_parts(annotator, pairs)
        n_unknown = server.faults["cut"] + server.faults["half-json"]
        assert annotator.stats.estimated_requests == n_unknown > 0
        assert annotator.stats.input_tokens >= server.billed_input
        assert annotator.stats.output_tokens >= server.billed_output


@pytest.mark.slow
def test_five_thousand_pairs_with_half_of_all_answers_faulty():
    """The must-show of the labelling part; some 10,000 requests, of which some 600 hang until the timeout."""
    pairs = table(5000)
    timeout = patience(64)
    with faulty_process("--fault-share", "0.5", "--seed", "7") as base_url:
        annotator = annotator_of(base_url, timeout=timeout, concurrency=64)
        graded = grades_in_parts(annotator, pairs)
        served = figures_of(base_url)
    assert graded == {row: true_grade(*texts) for row, texts in enumerate(texts_of(pairs))}  # all right, none lost
    assert served["asked_after_good"] == []  # none paid for twice
    assert sorted(served["good"]) == sorted([*texts, 1] for texts in texts_of(pairs))
    faults = served["faults"]
    n_answers, n_faulty = sum(faults.values()), sum(faults.values()) - faults["none"]
    assert set(faults) == {*FAULTS, "none"}
    assert 0.47 < n_faulty / n_answers < 0.53
    assert all(abs(faults[kind] - n_faulty / len(FAULTS)) < 0.2 * n_faulty / len(FAULTS) for kind in FAULTS)
    stats = annotator.stats
    assert (stats.answered, stats.unanswered, stats.requests) == (5000, 0, served["n_requests"])
    assert sum(stats.retries.values()) == n_faulty
    print({"timeout": timeout, "requests": stats.requests, "faults": faults, "retries": dict(stats.retries)})


@pytest.mark.slow
def test_a_thousand_pairs_in_requests_of_ten_with_half_of_all_answers_faulty():
    pairs = table(1000)
    annotator = {"concurrency": 32, "timeout": patience(32), "pairs_per_request": 10}
    with faulty_process("--fault-share", "0.5", "--seed", "11") as base_url:
        graded = grades_in_parts(annotator_of(base_url, **annotator), pairs)
        served = figures_of(base_url)
    assert graded == {row: true_grade(*texts) for row, texts in enumerate(texts_of(pairs))}
    assert served["asked_after_good"] == []
    assert set(served["faults"]) == {*FAULTS, MIXED, "none"}
