"""The endpoint annotator against a loopback server that behaves: what is asked, read, refused, limited and shown."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from faulty_endpoint import KEY, MODEL, faulty_endpoint, read_pairs, true_grade

from mr_st.annotation import Annotator, BudgetSpentError, PairTable, StreamingAnnotator, UnansweredError
from mr_st.annotation.endpoint import EndpointAnnotator
from mr_st.annotation.guideline import Guideline
from mr_st.errors import MrStError, UsageError

KEY_ENV = "LOOPBACK_KEY"
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server():
    with faulty_endpoint() as server:
        yield server


def annotator_of(server, **settings) -> EndpointAnnotator:
    settings = {"api_key_env": KEY_ENV, "guideline": "brief", "timeout": 60.0, "first_backoff": 0.01, **settings}
    return EndpointAnnotator(settings.pop("model", MODEL), base_url=server.base_url, **settings)


def table(n: int, item: str = "item") -> PairTable:
    queries, items = [f"query {row % 7}" for row in range(n)], [f"{item} {row}" for row in range(n)]
    return PairTable([f"q{row % 7}" for row in range(n)], [f"i{row}" for row in range(n)], queries, items, ["en"] * n)


def truth(pairs: PairTable) -> list[int]:
    return [true_grade(*texts) for texts in zip(pairs.query_texts, pairs.item_texts, strict=True)]


def test_grades_every_pair(server):
    annotator, pairs = annotator_of(server), table(30)
    annotations = annotator.grade(pairs)
    assert annotations.grades.tolist() == truth(pairs)
    np.testing.assert_array_equal(annotations.confidence, 1)
    assert isinstance(annotator, Annotator)
    assert isinstance(annotator, StreamingAnnotator)
    assert server.most_at_once <= 8
    stats = annotator.stats
    assert (stats.requests, stats.answered, stats.unanswered, stats.retries) == (30, 30, 0, {})
    assert (stats.input_tokens, stats.output_tokens) == (server.billed_input, server.billed_output)
    assert stats.estimated_requests == 0


def test_equal_texts_are_asked_about_once_and_parts_name_their_rows(server):
    rows = [3, 1, 1, 4, 3, 3]
    pairs, seen = table(5).take(rows), Counter()
    for part in annotator_of(server).grade_in_parts(pairs):
        for row, grade in zip(part.rows, part.annotations.grades, strict=True):
            seen[int(row)] += 1
            assert grade == truth(pairs)[row]
    assert seen == dict.fromkeys(range(6), 1)
    assert server.n_requests == 3


def test_no_pairs_ask_nothing(server):
    annotator = annotator_of(server)
    assert annotator.grade(table(0)).probabilities.shape == (0, 3)
    assert list(annotator.grade_in_parts(table(0))) == []
    assert server.n_requests == 0


def test_what_is_sent(server):
    annotator_of(server, seed=5, extra_body={"top_p": 1}).grade(table(1))
    body = server.bodies[-1]
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens", "logprobs", "top_p")} == {
        "model": MODEL, "temperature": 0.0, "seed": 5, "max_tokens": 4, "logprobs": True, "top_p": 1,
    }  # fmt: skip
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert Guideline.load("brief").text.strip() in body["messages"][0]["content"]


@pytest.mark.parametrize("defended", [True, False])
def test_odd_texts_reach_the_server(server, defended):
    pairs = PairTable(["q"], ["i"], ['café "au lait" \U0001f600'], ["tasse\ud800 {}"], ["fr"])
    annotator_of(server, defended=defended).grade(pairs)
    ((query, item),) = server.good
    assert query.strip('"').startswith("café")
    assert item.startswith("tasse")


# -- log-probabilities


def test_log_probabilities_become_probabilities():
    with faulty_endpoint(logprobs=True) as server:
        pairs = table(12)
        annotations = annotator_of(server).grade(pairs)
    assert annotations.grades.tolist() == truth(pairs)
    # .63 of .9 on the grade, .18 on the next, .09 on the one after
    for probabilities, grade in zip(annotations.probabilities, truth(pairs), strict=True):
        np.testing.assert_allclose(np.roll(probabilities, -grade), [0.7, 0.2, 0.1], atol=1e-5)


def test_a_temperature_calibrates_them():
    with faulty_endpoint(logprobs=True) as server:
        annotations = annotator_of(server, temperature=2.0).grade(table(1))
    roots = np.sqrt([0.7, 0.2, 0.1])
    np.testing.assert_allclose(sorted(annotations.probabilities[0])[::-1], roots / roots.sum(), atol=1e-5)


def test_they_may_be_left_alone():
    with faulty_endpoint(logprobs=True) as server:
        annotations = annotator_of(server, use_logprobs=False, reliability=0.8).grade(table(3))
        assert "logprobs" not in server.bodies[-1]
    np.testing.assert_allclose(np.sort(annotations.probabilities, axis=1), [[0.1, 0.1, 0.8]] * 3, atol=1e-6)


def test_who_insists_on_them_gets_no_answer_without(server):
    with pytest.raises(UnansweredError, match="no log-probabilities"):
        annotator_of(server, use_logprobs=True, max_attempts=2).grade(table(1))
    assert server.n_requests == 2


@pytest.mark.parametrize("name", ["logprobs", "seed", "max_tokens"])
def test_a_setting_that_the_server_refuses_is_left_out_from_then_on(name):
    with faulty_endpoint(refuses=[name]) as server:
        server.complaints = {"max_tokens": "Unsupported parameter: 'max_tokens'; use 'max_completion_tokens'"}
        annotator, pairs = annotator_of(server, concurrency=2), table(20)
        assert annotator.grade(pairs).grades.tolist() == truth(pairs)
        assert server.n_requests <= 20 + 2
        assert name not in server.bodies[-1]
        assert ("max_completion_tokens" in server.bodies[-1]) == (name == "max_tokens")


def test_log_probabilities_are_left_out_where_a_refusal_says_nothing():
    with faulty_endpoint(refuses=["logprobs"]) as server:
        server.complaints = {"logprobs": "bad request"}
        pairs = table(20)
        assert annotator_of(server, concurrency=2).grade(pairs).grades.tolist() == truth(pairs)
        assert server.n_requests <= 20 + 4


def test_one_refused_pair_does_not_turn_log_probabilities_off():
    with faulty_endpoint(logprobs=True) as server:
        pairs = table(10)
        pairs.item_texts[0] = "REFUSED"
        annotations = annotator_of(server, concurrency=1, on_unanswered="unsure").grade(pairs)
    assert (annotations.confidence[1:] < 0.71).all()
    np.testing.assert_allclose(annotations.probabilities[0], 1 / 3, atol=1e-6)


# -- several pairs a request


def test_several_pairs_a_request(server):
    annotator, pairs = annotator_of(server, pairs_per_request=7), table(30)
    assert annotator.grade(pairs).grades.tolist() == truth(pairs)
    assert server.n_requests == 5
    keyed = read_pairs(server.bodies[-1]["messages"][-1]["content"])
    assert list(keyed) == sorted(keyed)
    assert all(len(key) == 6 for key in keyed)


def test_keys_depend_on_the_seed_only(server):
    def keys(seed: int) -> set[str]:
        annotator_of(server, pairs_per_request=4, seed=seed).grade(table(4))
        return set(read_pairs(server.bodies[-1]["messages"][-1]["content"]))

    assert keys(0) == keys(0)
    assert not keys(0) & keys(1)


# -- refusals


def test_a_wrong_key_ends_it_at_once_and_is_not_shown(monkeypatch, server):
    monkeypatch.setenv(KEY_ENV, "sk-wrongWRONG")
    with pytest.raises(MrStError, match=rf"v1/chat/completions: .*status 401.*{KEY_ENV}") as caught:
        annotator_of(server).grade(table(50))
    assert "WRONG" not in str(caught.value)
    assert server.n_requests <= 8


def test_no_key_where_one_is_wanted(server):
    with pytest.raises(MrStError, match="api_key_env"):
        annotator_of(server, api_key_env=None).grade(table(2))


def test_a_key_that_is_not_set(monkeypatch, server):
    annotator = annotator_of(server)
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(UsageError, match=f"{KEY_ENV} is not set"):
        annotator.grade(table(1))
    monkeypatch.setenv(KEY_ENV, "sk-two words")
    with pytest.raises(UsageError, match=KEY_ENV) as caught:
        annotator.grade(table(1))
    assert "two words" not in str(caught.value)
    assert server.n_requests == 0


def test_no_other_services_key_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-meant-for-another-service")
    with faulty_endpoint(key="none") as server:
        annotator_of(server, api_key_env=None).grade(table(1))
        assert server.n_requests == 1


def test_an_unknown_model(server):
    with pytest.raises(MrStError, match=r"status 404 .*'nobody' does not exist.*check base_url and model"):
        annotator_of(server, model="nobody").grade(table(20))
    assert server.n_requests <= 8


def test_a_request_that_the_server_always_refuses_ends_it_soon():
    with faulty_endpoint(refuses=["temperature"]) as server:
        with pytest.raises(MrStError, match=r"status 400 .*'temperature'"):
            annotator_of(server).grade(table(100))
        assert server.n_requests <= 24
        with pytest.raises(MrStError, match="status 400"):
            annotator_of(server).grade(table(1))


def test_one_refused_pair_does_not_stop_the_rest(server):
    pairs = table(30)
    pairs.item_texts[11] = "REFUSED"
    graded = [row for part in annotator_of(server).grade_in_parts(pairs) for row in part.rows.tolist()]
    assert sorted(graded) == [row for row in range(30) if row != 11]
    with pytest.raises(
        UnansweredError, match=r"1 of 30 pairs .* pair 12 \(query 'q4', item 'i11'\).*status 400"
    ) as caught:
        annotator_of(server).grade(pairs)
    assert caught.value.rows.tolist() == [11]
    graded = [row for part in annotator_of(server, pairs_per_request=5).grade_in_parts(pairs) for row in part.rows]
    assert sorted(graded) == [row for row in range(30) if row != 11]


def test_nobody_there():
    with faulty_endpoint() as server:
        annotator = annotator_of(server, max_attempts=2)
    with pytest.raises(MrStError, match="connection failed"):
        annotator.grade(table(50))
    assert annotator.stats.cost == annotator.stats.input_tokens == 0


def test_pairs_without_an_answer():
    with faulty_endpoint(1.0, faults=["wrong-label"]) as server:
        pairs = table(4)
        annotator = annotator_of(server, max_attempts=3)
        assert list(annotator.grade_in_parts(pairs)) == []
        assert server.n_requests == 12
        assert (annotator.stats.unanswered, annotator.stats.retries) == (4, {"wrong label": 8})
        with pytest.raises(UnansweredError, match=r"4 of 4 pairs .*first pair 1 .*wrong label") as caught:
            annotator.grade(pairs)
        assert caught.value.rows.tolist() == [0, 1, 2, 3]
        unsure = annotator_of(server, max_attempts=1, on_unanswered="unsure").grade(pairs)
    np.testing.assert_allclose(unsure.probabilities, 1 / 3, atol=1e-6)
    assert unsure.grades.tolist() == [0] * 4


# -- money and rates


@pytest.mark.parametrize("gives_usage", [True, False])
@pytest.mark.parametrize("fault_share", [0.0, 0.5])
def test_a_spent_budget_stops_cleanly(gives_usage, fault_share):
    faults = ["429-wait", "500", "cut", "half-json", "wrong-label", "empty"]
    with faulty_endpoint(fault_share, faults=faults, gives_usage=gives_usage) as server:
        # a request has about 260 tokens, at most 1,100 by its bytes
        annotator = annotator_of(
            server, price_per_million_input=10.0, price_per_million_output=30.0, budget=0.1, max_attempts=30
        )
        pairs, graded, cost = table(400), {}, 0.0
        with pytest.raises(BudgetSpentError, match=r"of the budget of 0\.1 .* of 400 pairs are graded") as caught:
            for part in annotator.grade_in_parts(pairs):
                graded |= zip(part.rows.tolist(), part.annotations.grades.tolist(), strict=True)
                cost += part.cost
        bill = (server.billed_input * 10 + server.billed_output * 30) / 1e6
    texts = list(zip(pairs.query_texts, pairs.item_texts, strict=True))
    assert {texts[row] for row in graded} == set(server.good)  # all that was paid for, and no more
    assert all(truth(pairs)[row] == grade for row, grade in graded.items())
    assert 0 < len(graded) < 400
    assert f"{len(graded):,} of 400" in str(caught.value)
    assert bill <= annotator.stats.cost * (1 + 1e-9)
    assert annotator.stats.cost <= 0.1
    assert cost <= annotator.stats.cost * (1 + 1e-9)
    if gives_usage and not fault_share:
        assert bill == pytest.approx(annotator.stats.cost) == pytest.approx(cost)
        assert bill > 0.088  # what is left would not pay for the most that one more request can cost
    n_requests = server.n_requests
    with pytest.raises(BudgetSpentError):
        annotator.grade(pairs)
    assert server.n_requests == n_requests


def test_max_requests(server):
    annotator = annotator_of(server, max_requests=10)
    graded = []
    with pytest.raises(BudgetSpentError, match=r"the 10 requests .* 10 of 30 pairs are graded"):
        for part in annotator.grade_in_parts(table(30)):
            graded += part.rows.tolist()
    assert (server.n_requests, len(set(graded))) == (10, 10)


def test_a_429_pauses_all_and_is_waited_for(server):
    """The first answer says: wait a second. What is sent after it has arrived comes a second later."""
    waits, times = [{"retry-after-ms": "1000"}], []
    server.before = lambda: times.append(time.monotonic()) or (waits.pop() if waits else None)
    pairs = table(6)
    annotator = annotator_of(server, concurrency=1)
    assert annotator.grade(pairs).grades.tolist() == truth(pairs)
    assert times[1] - times[0] >= 0.99
    assert annotator.stats.retries == {"status 429": 1}


def test_a_wait_that_is_too_long_is_cut_and_said(server, caplog):
    waits = [{"Retry-After": "86400"}]
    server.before = lambda: waits.pop() if waits else None
    with caplog.at_level(logging.WARNING):
        annotator_of(server, longest_wait=0.05).grade(table(3))
    assert "asks to wait 86400 s" in caplog.text


def test_requests_a_minute_hold_for_all_workers(server):
    annotator = annotator_of(server, requests_per_minute=1200)
    start = time.monotonic()
    annotator.grade(table(40))
    assert time.monotonic() - start >= 0.95  # 20 of 40 at once, the others at 20 a second


# -- where it runs


def test_inside_a_running_event_loop(server):
    async def cell() -> list[int]:
        return annotator_of(server).grade(table(5)).grades.tolist()

    assert asyncio.run(cell()) == truth(table(5))


def test_a_reader_that_stops_early_stops_the_requests(server):
    server.delay = 0.05
    parts = annotator_of(server, concurrency=2).grade_in_parts(table(500))
    next(parts)
    parts.close()
    n_requests = server.n_requests
    time.sleep(0.3)
    assert server.n_requests == n_requests < 100


def test_what_a_slow_reader_does_not_take_is_not_paid_ahead(server):
    parts = annotator_of(server, concurrency=2).grade_in_parts(table(500))
    next(parts)
    time.sleep(1.0)
    assert server.n_requests <= 30
    parts.close()


def test_ctrl_c_stops_promptly(tmp_path):
    code = (
        "import sys; from mr_st.annotation import PairTable; from mr_st.annotation.endpoint import EndpointAnnotator\n"
        "a = EndpointAnnotator('loopback-judge', base_url=sys.argv[1], api_key_env='LOOPBACK_KEY', timeout=600)\n"
        "for part in a.grade_in_parts(PairTable(['q'], ['i'], ['query'], ['item'], ['en'])): pass\n"
    )
    with faulty_endpoint(1.0, faults=["hang"], longest_hang=600.0) as server:
        child = subprocess.Popen(
            [sys.executable, "-c", code, server.base_url], stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        while not server.asked and child.poll() is None:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=120)  # far less than the 600 s that the request may take
    assert child.returncode not in (0, None)
    assert errors.strip().endswith("KeyboardInterrupt")


# -- identity and secrets


def test_identity_covers_what_may_change_a_grade(tmp_path):
    def identity(model: str = "m", base_url: str = "https://host/v1", **settings) -> str:
        return EndpointAnnotator(model, base_url=base_url, **settings).identity

    changes = [
        {}, {"model": "n"}, {"base_url": "https://host/v2"}, {"guideline": "brief"}, {"defended": False},
        {"use_logprobs": True}, {"use_logprobs": False}, {"pairs_per_request": 2}, {"temperature": 1.5},
        {"reliability": 0.9}, {"max_answer_tokens": 9}, {"seed": 1}, {"extra_body": {"top_p": 0.5}},
    ]  # fmt: skip
    assert len({identity(**change) for change in changes}) == len(changes)
    same = [
        {"concurrency": 3}, {"timeout": 3.0}, {"max_attempts": 3}, {"requests_per_minute": 3.0}, {"max_requests": 3},
        {"price_per_million_input": 3.0, "budget": 1.0}, {"api_key_env": "ANY"}, {"on_unanswered": "unsure"},
        {"base_url": "https://HOST/v1/?token=secret"}, {"temperature": 1.0},
    ]  # fmt: skip
    assert {identity(**change) for change in same} == {identity()}
    assert not set(identity()) & set(" :/\t\n")


def test_the_key_shows_nowhere(server, caplog):
    with caplog.at_level(logging.DEBUG):
        annotator = annotator_of(server)
        annotator.grade(table(2))
        server.key = "another"
        with pytest.raises(MrStError) as caught:
            annotator.grade(table(2))
    server.key = KEY
    shown = [repr(annotator), annotator.identity, str(annotator.stats), repr(caught.value), caplog.text]
    shown += [json.dumps(vars(annotator), default=vars_or_text)]
    assert server.n_requests > 2
    assert not [text for text in shown if "SECRET" in text]


def vars_or_text(value: object) -> object:
    return {str(key): repr(each) for key, each in vars(value).items()} if hasattr(value, "__dict__") else repr(value)


def test_a_complaint_that_repeats_the_key_is_cleaned():
    with faulty_endpoint(refuses=["temperature"]) as server:
        server.complaints = {"temperature": f"not with {KEY}"}
        with pytest.raises(MrStError, match=r"not with \[key\]") as caught:
            annotator_of(server).grade(table(1))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "host/v1"}, "no http or https address"),
        ({"base_url": "ftp://host/v1"}, "no http or https address"),
        ({"base_url": "http://[::1/v1"}, "no http or https address"),
        ({"base_url": "https://me:sk-SECRET@host/v1"}, "user name or a password"),
        ({"api_key_env": "sk-proj-SECRET"}, "no name of an environment variable"),
        ({"model": " "}, "model is empty"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"reliability": 0.3}, "reliability is 0.3"),
        ({"pairs_per_request": 0}, "pairs_per_request is 0"),
        ({"pairs_per_request": 2, "use_logprobs": True}, "one pair a request"),
        ({"max_answer_tokens": 0}, "max_answer_tokens is 0"),
        ({"budget": 1.0}, "without prices"),
        ({"on_unanswered": "guess"}, "on_unanswered is 'guess'"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        EndpointAnnotator(**{"model": "m", "base_url": "https://host/v1", **settings})
    assert "SECRET" not in str(caught.value)
