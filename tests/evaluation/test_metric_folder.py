"""The module of the evaluate library, loaded from its folder with no network."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mr_st.errors import UsageError
from mr_st.evaluation import metric_folder
from mr_st.evaluation.scoring import score_run

PREDICTIONS = [
    {"item_ids": ["a", "b", "c"], "scores": [0.5, 0.5, 0.9]},
    {"item_ids": ["b"], "scores": [1.0]},
    {"item_ids": [], "scores": []},
    {"item_ids": ["a", "z"], "scores": [0.2, 0.1]},
]
REFERENCES = [
    {"item_ids": ["a", "b", "d"], "grades": [2, 1, 1]},
    {"item_ids": ["b", "c"], "grades": [0, 0]},
    {"item_ids": ["a"], "grades": [1]},
    {"item_ids": [], "grades": []},
]


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import evaluate

    def refuse(*_: Any) -> None:
        raise OSError("the network was asked")

    folder, path = tmp_path_factory.mktemp("evaluate"), list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", folder / "modules")
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield evaluate.load(metric_folder(), cache_dir=str(folder / "data"), keep_in_memory=True)
    sys.path[:] = path


def test_the_means_by_hand(metric) -> None:
    found = metric.compute(predictions=PREDICTIONS, references=REFERENCES, ks=[1, 3])
    # row 0 reads c (unjudged), b (grade 1), a (grade 2): the tie goes to the later id; row 3 is left out
    assert found["n_queries"] == 3
    assert found["mrr@3"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert found["mrr@3/2"] == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert found["recall@3"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert found["precision@3"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert found["map@3"] == pytest.approx((1 / 2 + 2 / 3) / 3 / 3)
    dcg, best = 0.5 / np.log2(3) + 1 / 2, 1 + 0.5 / np.log2(3) + 0.5 / 2
    assert found["ndcg@3"] == pytest.approx(dcg / best / 3)
    assert found["judged@3"] == pytest.approx((2 / 3 + 1) / 2)  # of rows that returned something
    assert found["ndcg@1"] == 0


def test_it_is_the_core(metric) -> None:
    rng = np.random.default_rng(0)
    predictions, references = [], []
    for _ in range(30):
        returned, judged = rng.choice(40, size=12, replace=False), rng.choice(40, size=9, replace=False)
        predictions.append({"item_ids": [f"i{i}" for i in returned], "scores": rng.integers(0, 5, 12) / 4})
        references.append({"item_ids": [f"i{i}" for i in judged], "grades": rng.integers(0, 4, 9)})
    run = {str(n): dict(zip(p["item_ids"], p["scores"].tolist(), strict=True)) for n, p in enumerate(predictions)}
    qrels = {str(n): dict(zip(r["item_ids"], r["grades"].tolist(), strict=True)) for n, r in enumerate(references)}
    for options in ({}, {"gains": "exponential"}, {"gains": [0, 1, 1, 9], "ties": "given", "empty": float("nan")}):
        found = metric.compute(
            predictions=predictions, references=references, ks=(1, 5, 10), per_query=True, **options
        )
        rows, expected = score_run(run, qrels, ks=(1, 5, 10), n_grades=4, **options)
        assert rows == list(run)
        assert set(found) == {*expected, "n_queries", "per_query"}
        for name, values in expected.items():
            np.testing.assert_array_equal(found["per_query"][name], values, err_msg=name)
            assert found[name] == np.nanmean(values)


def test_rows_that_are_left_out_keep_their_place(metric) -> None:
    found = metric.compute(predictions=PREDICTIONS, references=REFERENCES, ks=[3], per_query=True, empty=float("nan"))
    np.testing.assert_allclose(found["per_query"]["mrr@3"], [1 / 2, np.nan, 0, np.nan])
    assert found["mrr@3"] == pytest.approx(1 / 4)


def test_batches_and_rows_add_up(metric) -> None:
    metric.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    for prediction, reference in zip(PREDICTIONS[2:], REFERENCES[2:], strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute(ks=[1, 3]) == metric.compute(predictions=PREDICTIONS, references=REFERENCES, ks=[1, 3])


def rows(ids: list, values: list, name: str = "scores") -> list[dict[str, list]]:
    return [{"item_ids": ids, name: values}]


@pytest.mark.parametrize(
    ("predictions", "references", "options", "message"),
    [
        (
            rows(["a", "a"], [1.0, 0.5]),
            rows(["a"], [1], "grades"),
            {},
            "predictions, row 0: item 'a' stands there twice",
        ),
        (rows(["a"], [1.0, 0.5]), rows(["a"], [1], "grades"), {}, "predictions, row 0: 1 item_ids and 2 scores"),
        (
            rows(["a"], [1.0]),
            rows(["a"], [0.5], "grades"),
            {},
            "references, row 0, item 'a': grade 0.5; expected a whole",
        ),
        (rows(["a"], [float("nan")]), rows(["a"], [1], "grades"), {}, "item 'a': score nan; expected a number"),
        (rows(["a"], [1.0]), rows([], [], "grades"), {}, "none of the 1 queries of the run"),
        (rows(["a"], [1.0]), rows(["a"], [3], "grades"), {"n_grades": 3}, r"grade 3, outside the scale 0\.\.2"),
        (rows(["a"], [1.0]), rows(["a"], [1], "grades"), {"ks": [0]}, "cut-offs must be 1 or more"),
        (rows(["a"], [1.0]), rows(["a"], [1], "grades"), {"gains": "cubic"}, "gains 'cubic': expected linear"),
        (rows(["a"], [1.0]), rows(["a"], [1], "grades"), {"ties": "random"}, "ties 'random': expected trec_eval"),
    ],
)
def test_faults_are_named(metric, predictions: list, references: list, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        metric.compute(predictions=predictions, references=references, **options)
    good = metric.compute(
        predictions=PREDICTIONS, references=REFERENCES, ks=[3]
    )  # and the next call knows nothing of it
    assert good["n_queries"] == 3


def test_rows_of_another_form_are_refused(metric) -> None:
    with pytest.raises(ValueError, match="Mismatch in the number of predictions"):
        metric.compute(predictions=PREDICTIONS, references=REFERENCES[:2])
    with pytest.raises(ValueError, match="don't match the expected format"):
        metric.compute(predictions=[["a"]], references=REFERENCES[:1])
