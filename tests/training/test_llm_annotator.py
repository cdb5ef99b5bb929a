"""fit_llm_annotator: it learns through LoRA, leaves a plain model that answers with labels, and resumes."""

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
from llm_tools import QUICK, SHORT, mugs_and_lamps, small_shop
from tiny_causal import build_tiny_causal
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer

from mr_st.annotation import Guideline
from mr_st.annotation.injections import FAMILIES, TRAIN_FAMILIES, inject
from mr_st.annotation.llm import ChatPrompts, LLMAnnotator
from mr_st.annotation.llm.folder import load_causal
from mr_st.annotation.prompt import GradePrompt
from mr_st.errors import MissingExtraError, MrStError, UsageError
from mr_st.training.causal_fit import adapt, best_model
from mr_st.training.holdout import hold_out
from mr_st.training.llm_annotator import _rows, fit_llm_annotator


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build_tiny_causal(tmp_path_factory.mktemp("base"), spread=0.25)


@pytest.fixture(scope="module")
def fitted(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    return folder, fit_llm_annotator(small_shop(), base, folder, **QUICK)


def test_leaves_a_plain_model_that_loads_alone_with_prompt_and_temperature(fitted):
    folder, annotator = fitted
    assert {path.name for path in folder.iterdir()} == {"model", "report.json", "report.png", "settings.json"}
    names = {path.name for path in (folder / "model").iterdir()}
    assert {"annotator.json", "guideline.md", "model.safetensors", "tokenizer.json"} <= names
    assert not any("adapter" in name for name in names)
    alone = LLMAnnotator(folder / "model", device="cpu")
    assert alone.identity == annotator.identity
    assert alone.prompts.prompt.guideline.text == SHORT.text
    assert alone.temperature == json.loads((folder / "report.json").read_text())["temperature"] > 0


def test_the_report_is_what_the_saved_model_does(fitted):
    folder, annotator = fitted
    report = json.loads((folder / "report.json").read_text())
    _, held = hold_out(small_shop(), "train", 0.15, 0, 2, 400)
    grades = annotator.grade(held.pairs).grades
    assert report["held_out"]["n_queries"] == 4  # 15 % of 24
    assert report["held_out"]["accuracy"] == pytest.approx(float(np.mean(grades == held.grades)))
    assert report["answers_parse"] == pytest.approx(float(annotator.answers_parse(held.pairs).mean()))
    assert report["learned_from"]["n_queries"] == 20
    losses = report["training"]["held_out_loss_by_step"]
    assert report["training"]["best_step"] == min((loss, int(step)) for step, loss in losses.items())[1]
    assert report["training"]["packed"] is False  # 32 pairs of a model 32 wide: padding is cheaper
    assert report["data"] == {"name": "shop", "fingerprint": small_shop().fingerprint, "split": "train"}
    assert report["settings"]["guideline"] == "short"


@pytest.mark.slow
def test_it_learns_through_adapters_and_then_generates_the_label_and_stops(tmp_path):
    base = build_tiny_causal(tmp_path / "base", hidden=64, spread=0.25)
    dataset = mugs_and_lamps()
    annotator = fit_llm_annotator(
        dataset, base, tmp_path / "fit", guideline="brief", epochs=3, batch_size=8, learning_rate=3e-3,
        lora_dropout=0.0, evaluations_per_epoch=1, patience=9, item_text_levels=0, device="cpu",
    )  # fmt: skip
    report = json.loads((tmp_path / "fit" / "report.json").read_text())
    assert report["held_out"]["majority_share"] == 0.5
    assert report["held_out"]["accuracy"] > 0.7
    assert report["answers_parse"] == 1
    assert report["training"]["packed"] is True
    _, held = hold_out(dataset, "train", 0.15, 0, 2, 400)
    some = held.pairs.take(range(12))
    for query, item, grade in zip(some.query_texts, some.item_texts, annotator.grade(some).grades, strict=True):
        ids = torch.tensor([annotator.prompts.ids(query, item)])
        said = annotator.model.generate(ids, max_new_tokens=5)[0, ids.shape[1] :]
        assert annotator.tokenizer.decode(said) == f"{grade}<|im_end|>"


def test_a_finished_fit_is_not_repeated_and_other_settings_are(fitted, base, monkeypatch, caplog):
    folder, annotator = fitted
    trained = []
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, **options: trained.append(1) or train(self, **options))
    assert fit_llm_annotator(small_shop(), base, folder, **QUICK).identity == annotator.identity
    assert trained == []
    other = fit_llm_annotator(small_shop(), base, folder, **{**QUICK, "lora_rank": 4})
    assert trained == [1]
    assert other.identity != annotator.identity
    assert "replaced" in caplog.text
    # and back: the same settings give the same model
    assert fit_llm_annotator(small_shop(), base, folder, **QUICK).identity == annotator.identity


def test_an_interrupted_fit_goes_on_and_ends_the_same(fitted, base, tmp_path, monkeypatch):
    _, whole = fitted
    step = Trainer.training_step
    steps = []

    def interrupted(self, *arguments, **options):
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_llm_annotator(small_shop(), base, tmp_path / "fit", **QUICK)
    assert not (tmp_path / "fit" / "report.json").exists()
    rest = []
    monkeypatch.setattr(Trainer, "training_step", lambda self, *a, **o: rest.append(1) or step(self, *a, **o))
    resumed = fit_llm_annotator(small_shop(), base, tmp_path / "fit", **QUICK)
    assert len(rest) == 8 - 4  # 240 pairs in 8 steps, a checkpoint after 4
    assert resumed.identity == whole.identity


KILLED = """
import sys, time
sys.path[:0] = sys.argv[3:]
from llm_tools import QUICK, small_shop
from transformers import Trainer
from mr_st.training.llm_annotator import fit_llm_annotator

step = Trainer.training_step
def slow(self, *arguments, **options):
    time.sleep(0.3)
    return step(self, *arguments, **options)
Trainer.training_step = slow
fit_llm_annotator(small_shop(), sys.argv[1], sys.argv[2], **QUICK)
"""


@pytest.mark.slow
def test_kill_9_while_training(fitted, base, tmp_path):
    _, whole = fitted
    folder = tmp_path / "fit"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(base), str(folder), os.path.dirname(__file__)])
    try:
        deadline = time.monotonic() + 180
        while not list((folder / "checkpoints").glob("checkpoint-4/complete.json")):
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    resumed = fit_llm_annotator(small_shop(), base, folder, **QUICK)
    assert resumed.identity == whole.identity
    assert json.loads((folder / "report.json").read_text())["training"]["steps"] == 8


def test_all_weights_instead_of_adapters(base, tmp_path):
    settings = {**QUICK, "lora_rank": None, "learning_rate": 1e-3}
    annotator = fit_llm_annotator(small_shop(), base, tmp_path / "fit", **settings)
    before, after = AutoModelForCausalLM.from_pretrained(base), annotator.model
    assert not torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)


def test_with_adapters_embeddings_stay_and_matrices_change(fitted, base):
    before, after = AutoModelForCausalLM.from_pretrained(base), fitted[1].model
    assert torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(before.get_parameter(name), after.get_parameter(name))


def test_merged_weights_give_the_logits_of_base_and_adapters(base, tmp_path):
    adapted = adapt(load_causal(str(base), "cpu", "float32"), 4, 8, 0.0, "all-linear")
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    adapted.save_pretrained(tmp_path / "checkpoint-1")
    tokenizer = AutoTokenizer.from_pretrained(base)
    merged = best_model(str(base), tmp_path / "checkpoint-1", tokenizer, 2, "cpu", "float32")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, adapted.eval()(ids).logits, atol=1e-4)
        assert not torch.allclose(merged(ids).logits, load_causal(str(base), "cpu", None)(ids).logits, atol=1e-2)
    assert merged.generation_config.eos_token_id == [2]
    assert merged.generation_config.do_sample is False


def test_injections_hit_the_share_of_the_rows_and_leave_their_labels(base):
    learn, _ = hold_out(small_shop(), "train", 0.15, 0, 2, 400)
    prompts = ChatPrompts(AutoTokenizer.from_pretrained(base), GradePrompt(SHORT))
    plain, attacked = _rows(prompts, learn), _rows(prompts, learn, 0.25, seed=3)
    changed = [row for row in range(len(plain)) if plain[row] != attacked[row]]
    assert len(changed) == round(0.25 * len(plain))
    assert [ids[-1] for ids in plain] == [ids[-1] for ids in attacked]
    assert _rows(prompts, learn, 0.25, seed=3) == attacked != _rows(prompts, learn, 0.25, seed=4)
    # each attack is one of the families that training may see, with the top grade as its target
    texts = [learn.pairs.item_texts[row] for row in changed]
    expected = inject(texts, 3, TRAIN_FAMILIES, target=2)
    assert [attacked[row][:-1] for row in changed] == [
        prompts.ids(learn.pairs.query_texts[row], found.text) for row, found in zip(changed, expected, strict=True)
    ]
    assert set(TRAIN_FAMILIES) < set(FAMILIES)


def test_a_long_item_is_cut_alike_in_the_fit_and_later(base, tmp_path):
    dataset = small_shop()
    items = [{**row, "title": row["title"] + " with a set" * 30} for row in dataset.items]
    dataset = dataset.from_tables(dataset.queries, items, dataset.judgments)
    annotator = fit_llm_annotator(dataset, base, tmp_path / "fit", **QUICK, max_length=300)
    assert annotator.prompts.max_length == 300
    assert len(annotator.prompts.ids("red mug", items[0]["title"] * 9)) <= 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "must be 1 or more"),
        ({"max_length": 4}, "max_length 4 8 or more"),
        ({"lora_rank": 0}, "lora_rank 0"),
        ({"holdout_share": 1.0}, "between 0 and 1"),
        ({"injection_share": 1.5}, r"injection_share is 1\.5"),
        ({"class_weights": "some"}, "class_weights is 'some'"),
        ({"split": "test"}, "no split 'test'"),
        ({"target_modules": ["nowhere"]}, "nowhere"),
        ({"dtype": "auto"}, "give float32 or bfloat16"),
        ({"dtype": "int3"}, "int3"),
        ({"guideline": Guideline.parse("## Grade 0: no\n\n## Grade 1: yes\n")}, "defines 2 grades and shop has 3"),
    ],
)
def test_wrong_use(base, tmp_path, options, message):
    with pytest.raises(UsageError, match=message) as error:
        fit_llm_annotator(small_shop(), base, tmp_path / "fit", **{**QUICK, **options})
    assert "\n" not in str(error.value)


def test_no_such_base_an_encoder_and_no_room(base, tiny_base, tmp_path):
    with pytest.raises(MrStError, match="nothing"):
        fit_llm_annotator(small_shop(), tmp_path / "nothing", tmp_path / "fit", **QUICK)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(MrStError, match="could be loaded") as error:
        fit_llm_annotator(small_shop(), tmp_path / "empty", tmp_path / "fit", **QUICK)
    assert "\n" not in str(error.value)
    with pytest.raises(MrStError, match="shorter guideline"):
        fit_llm_annotator(small_shop(), base, tmp_path / "fit", **QUICK, max_length=20)


def test_without_peft(base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"mr-st\[llm\]"):
        fit_llm_annotator(small_shop(), base, tmp_path / "fit", **QUICK)


def test_a_folder_with_other_files_is_left_alone(base, tmp_path):
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(UsageError, match=r"other files \(thesis\.txt\)"):
        fit_llm_annotator(small_shop(), base, tmp_path, **QUICK)
    assert (tmp_path / "thesis.txt").read_text() == "keep me"
