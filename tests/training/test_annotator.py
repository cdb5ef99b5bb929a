"""fit_cross_encoder: it learns, it reports what it measured, and it resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer

from mr_st.annotation import CrossEncoderAnnotator
from mr_st.data import GradedDataset
from mr_st.data.label_noise import LabelNoise, distort_labels
from mr_st.errors import MrStError, UsageError
from mr_st.training.annotator import fit_cross_encoder

WORDS = ["shirt", "mug", "lamp", "mouse"]
COLOURS = ["red", "blue", "black"]


def shop() -> GradedDataset:
    """48 queries "colour word", 12 items; 2 when both agree, 1 when the word does, 0 otherwise."""
    kinds = [(colour, word) for colour in COLOURS for word in WORDS]
    queries = [{"query_id": f"q{n}", "text": f"{kinds[n % 12][0]} {kinds[n % 12][1]}"} for n in range(48)]
    items = [{"item_id": f"i{n}", "title": f"{colour} {word}"} for n, (colour, word) in enumerate(kinds)]
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": _grade(kinds[q % 12], kinds[i])}
        for q in range(48) for i in range(12)
    ]  # fmt: skip
    return GradedDataset.from_tables(queries, items, judgments, name="shop")


def easy_shop() -> GradedDataset:
    """A policy that a few steps can teach a random model: mugs are 2, lamps 1, the rest 0."""
    whole = shop()
    grade_of = {row["item_id"]: {"mug": 2, "lamp": 1}.get(row["title"].split()[1], 0) for row in whole.items}
    judgments = [{**row, "grade": grade_of[row["item_id"]]} for row in whole.judgments]
    return GradedDataset.from_tables(whole.queries, whole.items, judgments)


def _grade(query: tuple[str, str], item: tuple[str, str]) -> int:
    return 2 if query == item else int(query[1] == item[1])


QUICK = {"epochs": 1, "batch_size": 32, "max_length": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def fitted(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    return folder, fit_cross_encoder(shop(), tiny_base, folder, **QUICK)


def test_leaves_a_model_that_loads_alone_and_is_calibrated(fitted):
    folder, annotator = fitted
    assert sorted(path.name for path in folder.iterdir()) == [
        "model", "report.json", "report.png", "settings.json",
    ]  # fmt: skip
    alone = CrossEncoderAnnotator(folder / "model", device="cpu")
    assert alone.identity == annotator.identity
    report = json.loads((folder / "report.json").read_text())
    assert alone.temperature == report["temperature"] > 0
    assert CrossEncoder(str(folder / "model"), device="cpu").num_labels == 3


def test_the_report_is_what_the_saved_model_does(fitted):
    folder, _ = fitted
    report = json.loads((folder / "report.json").read_text())
    held = report["held_out"]
    assert held["n_queries"] == 7  # 15 % of 48
    assert held["n_pairs"] == 7 * 12 == np.sum(held["confusion"])
    assert report["learned_from"]["n_queries"] == 41
    assert sum(report["learned_from"]["by_grade"]) == 41 * 12
    assert held["majority_share"] == pytest.approx(0.75)
    assert held["accuracy"] == pytest.approx(np.trace(held["confusion"]) / held["n_pairs"])
    assert set(held) >= {"within_one", "kappa", "macro_f1", "by_grade", "expected_calibration_error"}
    interval = held["intervals"]["accuracy"]
    assert interval["value"] == held["accuracy"]
    assert interval["low"] <= held["accuracy"] <= interval["high"]
    assert interval["n"] == 7
    losses = report["training"]["held_out_loss_by_step"]
    assert report["training"]["best_step"] == min((loss, int(step)) for step, loss in losses.items())[1]
    assert report["data"] == {"name": "shop", "fingerprint": shop().fingerprint, "split": "train"}


def test_it_learns(tiny_base, tmp_path):
    fit_cross_encoder(
        easy_shop(), tiny_base, tmp_path / "fit", epochs=4, learning_rate=3e-3, max_length=16, evaluations_per_epoch=1,
        patience=9, device="cpu",
    )  # fmt: skip
    held = json.loads((tmp_path / "fit" / "report.json").read_text())["held_out"]
    assert held["majority_share"] == 0.5
    assert held["accuracy"] > 0.95


def test_random_negatives_teach_that_other_things_are_irrelevant(tiny_base, tmp_path):
    """All that is judged is relevant (mugs) or partial (lamps), so without them everything is."""
    whole = shop()
    grade_of = {row["item_id"]: {"mug": 2, "lamp": 1}.get(row["title"].split()[1], 0) for row in whole.items}
    judgments = [{**row, "grade": grade_of[row["item_id"]]} for row in whole.judgments if grade_of[row["item_id"]]]
    dataset = GradedDataset.from_tables(whole.queries, whole.items, judgments)
    reports = []
    for name, share in (("without", 0.0), ("with", 1.0)):
        fit_cross_encoder(
            dataset, tiny_base, tmp_path / name, random_negatives=share, label_smoothing=0.1, epochs=4,
            learning_rate=3e-3, max_length=16, evaluations_per_epoch=1, patience=9, device="cpu",
        )  # fmt: skip
        reports.append(json.loads((tmp_path / name / "report.json").read_text()))
    without, with_them = reports
    assert without["learned_from"]["n_random_pairs"] == 0
    assert with_them["learned_from"]["n_random_pairs"] == with_them["learned_from"]["n_pairs"] == 41 * 6
    assert with_them["held_out"]["n_pairs"] == without["held_out"]["n_pairs"] == 7 * 6
    assert with_them["learned_from"]["class_weights"][0] < 1  # half of all pairs, though no judged one has the grade
    assert without["random_items"] == {"n_pairs": 42, "share_above_lowest": 1.0}
    assert with_them["random_items"]["share_above_lowest"] < 0.1
    assert with_them["held_out"]["accuracy"] > 0.9


def test_wrong_labels_are_seen_through(tiny_base, tmp_path):
    """Both learn the truth from labels of which a fifth is wrong; who is told so is as sure of it as it may be."""
    truth = easy_shop()
    noisy = distort_labels(truth, LabelNoise.near(0.2), seed=1).dataset
    judged = truth.judged_pairs("train")
    pairs = truth.pair_table(judged.query_rows, judged.item_rows)
    sure = []
    for name, rate in (("plain", 0.0), ("told", 0.2)):
        annotator = fit_cross_encoder(
            noisy, tiny_base, tmp_path / name, label_noise=rate, epochs=14, learning_rate=3e-3, max_length=16,
            evaluations_per_epoch=1, patience=9, device="cpu",
        )  # fmt: skip
        found = annotator.grade(pairs)
        assert (found.grades == judged.grades).mean() > 0.95
        sure.append(found.probabilities.max(axis=1).mean())
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["settings"].get("label_noise", 0.0) == rate
        assert report["held_out"]["accuracy"] < 0.9  # against the labels as they are
        assert ("believed behind the labels" in report["protocol"]) == bool(rate)
    assert sure[0] < 0.88 < 0.93 < sure[1]


def test_a_finished_fit_is_not_repeated_and_other_settings_are(fitted, tiny_base, monkeypatch, caplog):
    folder, annotator = fitted
    trained = []
    train = CrossEncoderTrainer.train
    monkeypatch.setattr(
        CrossEncoderTrainer, "train", lambda self, **options: trained.append(1) or train(self, **options)
    )
    assert fit_cross_encoder(shop(), tiny_base, folder, **QUICK).identity == annotator.identity
    assert trained == []
    other = fit_cross_encoder(shop(), tiny_base, folder, **QUICK, learning_rate=1e-3)
    assert trained == [1]
    assert other.identity != annotator.identity
    assert "replaced" in caplog.text
    # and back: the same settings give the same model
    assert fit_cross_encoder(shop(), tiny_base, folder, **QUICK).identity == annotator.identity


def test_an_interrupted_fit_goes_on_and_ends_the_same(fitted, tiny_base, tmp_path, monkeypatch):
    _, whole = fitted
    step = CrossEncoderTrainer.training_step
    steps = []

    def interrupted(self, *arguments, **options):
        if len(steps) == 10:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self, *arguments, **options)

    monkeypatch.setattr(CrossEncoderTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_cross_encoder(shop(), tiny_base, tmp_path / "fit", **QUICK)
    assert not (tmp_path / "fit" / "report.json").exists()
    rest = []
    monkeypatch.setattr(
        CrossEncoderTrainer, "training_step", lambda self, *a, **o: rest.append(1) or step(self, *a, **o)
    )
    resumed = fit_cross_encoder(shop(), tiny_base, tmp_path / "fit", **QUICK)
    assert len(rest) == 16 - 8  # 492 pairs in 16 steps, a checkpoint after 8
    assert resumed.identity == whole.identity


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[3])
from test_annotator import QUICK, shop
from sentence_transformers.cross_encoder import CrossEncoderTrainer
from mr_st.training.annotator import fit_cross_encoder

step = CrossEncoderTrainer.training_step
def slow(self, *arguments, **options):
    time.sleep(0.3)
    return step(self, *arguments, **options)
CrossEncoderTrainer.training_step = slow
fit_cross_encoder(shop(), sys.argv[1], sys.argv[2], **QUICK)
"""


@pytest.mark.slow
def test_kill_9_while_training(fitted, tiny_base, tmp_path):
    _, whole = fitted
    folder = tmp_path / "fit"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tiny_base), str(folder), os.path.dirname(__file__)])
    try:
        deadline = time.monotonic() + 120
        while not list((folder / "checkpoints").glob("checkpoint-8/complete.json")):
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    resumed = fit_cross_encoder(shop(), tiny_base, folder, **QUICK)
    assert resumed.identity == whole.identity
    assert json.loads((folder / "report.json").read_text())["training"]["steps"] == 16


def test_a_folder_with_other_files_is_left_alone(tiny_base, tmp_path):
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"other files \(thesis\.txt\)"):
        fit_cross_encoder(shop(), tiny_base, tmp_path, **QUICK)
    assert (tmp_path / "thesis.txt").read_text() == "keep me"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "must be 1 or more"),
        ({"max_length": 4}, "max_length 4 8 or more"),
        ({"holdout_share": 1.0}, "between 0 and 1"),
        ({"class_weights": "some"}, "class_weights is 'some'"),
        ({"split": "test"}, "no split 'test'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"label_noise": 1.0}, "label_noise is 1.0"),
        ({"random_negatives": -0.5}, "random_negatives is -0.5"),
    ],
)
def test_wrong_use(tiny_base, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        fit_cross_encoder(shop(), tiny_base, tmp_path / "fit", **{**QUICK, **options})


def test_no_such_base(tmp_path):
    with pytest.raises(MrStError, match="nothing") as error:
        fit_cross_encoder(shop(), tmp_path / "nothing", tmp_path / "fit", **QUICK)
    assert "\n" not in str(error.value)


def test_class_weights_are_taken_back_out_and_bf16_trains(tiny_base, tmp_path, monkeypatch, caplog):
    """The weights shape what is learned; the saved shift undoes them in the probabilities."""
    without = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: without)
    fitted = fit_cross_encoder(
        shop(), tiny_base, tmp_path / "fit", epochs=1, max_length=16, class_weights=[1.0, 2.0, 4.0], bf16=True,
        evaluations_per_epoch=1, device="cpu",
    )  # fmt: skip
    assert "no bfloat16 arithmetic" in caplog.text
    saved = json.loads((tmp_path / "fit" / "model" / "calibration.json").read_text())
    np.testing.assert_allclose(saved["shift"], -np.log([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(fitted.shift, saved["shift"])
    assert json.loads((tmp_path / "fit" / "report.json").read_text())["settings"]["bf16"] is True
