"""The card: metadata that the Hub reads, measured numbers only, and nothing that its inputs could smuggle in."""

from __future__ import annotations

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import compare
from mr_st.hub import build_card, check_card
from mr_st.hub.card import with_model_id
from mr_st.hub.model_facts import read_model_facts

HOSTILE = 'x"\n---\nlicense: mit\n---\n# <script>alert(1)</script> | `code` [a](javascript:alert(2)) ![p](http://e.vil/p.png)'


@pytest.fixture(scope="module")
def full(tiny_base, samples):
    """A card with everything on it, and the reports it was made of."""
    reports = {arm: samples.make_report(arm) for arm in ("base", "stage1", "control", "stage2")}
    pairs = [("stage1", "base"), ("stage2", "stage1"), ("stage2", "control")]
    metrics = ("ndcg@10", "margin_average_2_0")
    card = build_card(
        tiny_base,
        model_id="mr-st/mr-minilm-marketplace",
        reports=reports,
        comparisons={(t, c): {m: compare(reports[c], reports[t], m) for m in metrics} for t, c in pairs},
        stages={
            "stage1": {"loss": "supcon", "steps": 1200, "seconds": 95.2, "loss_state": {"temperature": 0.0412}},
            "stage2": {"loss": "circle", "steps": 300, "seconds": 240.0, "loss_config": {"gamma": 32.0}},
        },
        data={"name": "marketplace", "license": "Apache-2.0", "source": {"name": "marketplace", "seed": 3}},
        mining={"n_queries": 300, "mined": {"hard_negatives": 1480, "hard_positives": 522}},
        annotator={"identity": "policy:abc", "accuracy": 1.0},
        recipe="name: demo\ndata:\n  item_text_levels: 2\n  max_chars: 400\n",
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        license="Apache-2.0",
        language="en",
        hardware="2 CPU cores",
    )
    return card, reports


def test_the_metadata_passes_the_clients_own_checks(full):
    card, reports = full
    data = ModelCard(card).data
    assert (data.license, data.library_name, data.language) == ("apache-2.0", "sentence-transformers", ["en"])
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    found = {r.metric_type: r for r in data.eval_results}
    assert found["ndcg@10"].metric_value == round(reports["stage2"]["ndcg@10"].value, 5)
    assert found["ndcg@10"].dataset_split == "test"
    assert found["ndcg@10"].dataset_revision == "0123456789abcdef"
    assert not [name for name in found if name.startswith(("margin", "judged"))]


def test_a_learned_temperature_is_called_learned(tiny_base):
    config = {"loss": "GradedSupConLoss", "temperature": 0.0431, "learn_temperature": True,
              "temperature_range": [0.005, 1.0], "mini_batch_size": None, "reduction": "sum"}  # fmt: skip
    fixed = {**config, "learn_temperature": False}
    stages = {"stage1": {"loss_config": config}, "stage2": {"loss_config": fixed}}
    card = build_card(tiny_base, stages=stages)
    assert "| `GradedSupConLoss` | – | – | temperature 0.0431 (learned), reduction sum |" in card
    assert "temperature 0.0431, temperature range 0.005, 1, reduction sum |" in card


def test_the_results_table_has_every_arm_with_its_interval(full):
    card, reports = full
    for arm, title in (("base", "Base, not trained"), ("stage2", "Stage 2: mined and refined")):
        i = reports[arm]["ndcg@10"]
        row = next(line for line in card.splitlines() if line.startswith(f"| {title} |"))
        assert f"{i.value:.3f} [{i.low:.3f}, {i.high:.3f}]" in row
    assert "Full catalogue, 2,400 items · test split, 60 queries" in card
    assert "| K = 10 | K = 50 | K = 100 |" in card


def test_the_comparison_and_the_provenance_are_there(full):
    card, reports = full
    c = compare(reports["stage1"], reports["stage2"], "ndcg@10")
    row = next(line for line in card.splitlines() if line.startswith("| stage 2 against stage 1 | NDCG@10 |"))
    assert f"+{c.difference:.3f}" in row
    assert f"{c.wins:,} / {c.losses:,} / {c.ties:,}" in row
    assert "| `supcon` | 1,200 | 95 s | temperature 0.0412 |" in card
    assert "hard negatives: 1,480" in card
    assert "policy:abc" in card
    assert "2602.17654" in card
    assert "synthetic shop" in card
    assert "Measured on 60 test queries" in card


def test_every_table_row_has_as_many_cells_as_its_head(full):
    card, _ = full
    for block in re.findall(r"(?m)(?:^\|.*\n)+", card):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_a_card_without_inputs_claims_nothing(tiny_base):
    card = build_card(tiny_base, model_id="org/m")
    assert "None measured yet" in card
    assert "Mine and Refine" not in card
    assert "model-index" not in card
    assert "32 dimensions" in card


def test_the_recipe_cannot_close_its_block(tiny_base):
    card = build_card(tiny_base, recipe="name: a\n# ```\n# ## Injected\n")
    fence = next(line for line in card.splitlines() if line.endswith("yaml"))
    assert fence == "````yaml"


def test_hostile_names_stay_text(tiny_base, samples):
    report = samples.make_report("stage2")
    report.protocol["dataset"]["name"] = HOSTILE
    report.protocol["corpus"] = HOSTILE
    card = build_card(
        tiny_base,
        model_id=HOSTILE,
        reports={HOSTILE: report},
        data={"name": HOSTILE, HOSTILE: 1},
        annotator={"identity": HOSTILE},
        base_model=HOSTILE,
        license=HOSTILE,
        hardware=HOSTILE,
        description=HOSTILE,
    )
    metadata = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert metadata["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", metadata["license_name"])
    assert "base_model" not in metadata
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(card[card.index("\n---\n") + 5 :])
    kinds = {child.type for token in tokens for child in token.children or []} | {t.type for t in tokens}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "hr"}
    assert sum(t.type == "heading_open" and t.tag == "h1" for t in tokens) == 1


def test_the_id_to_load_is_replaced_as_data_not_as_a_pattern():
    card = 'x\nmodel = SentenceTransformer("old\\"id")\nmodel = SentenceTransformer("second")\n'
    assert with_model_id(card, r"org/\1new").splitlines()[1:] == [
        r'model = SentenceTransformer("org/\\1new")',
        'model = SentenceTransformer("second")',
    ]


def test_a_plot_outside_the_model_and_an_unknown_arm_are_wrong_use(tiny_base, samples):
    with pytest.raises(UsageError, match="plot"):
        build_card(tiny_base, plots={"x": "../../etc/passwd.png"})
    with pytest.raises(UsageError, match="stage9"):
        build_card(tiny_base, reports={"base": samples.make_report("base")}, primary="stage9")


@pytest.mark.parametrize("block", ["", "---\n- a\n- b\n---\n", "---\nlicense: [x]\n---\n", "---\na: b: c\n---\n"])
def test_bad_metadata_is_one_line(block):
    with pytest.raises(MrStError) as caught:
        check_card(block + "# card\n")
    assert "\n" not in str(caught.value)


def test_the_facts_come_from_the_models_files(tiny_base, tmp_path):
    from sentence_transformers import SentenceTransformer

    facts = read_model_facts(tiny_base)
    model = SentenceTransformer(str(tiny_base))
    assert facts.n_parameters == sum(p.numel() for p in model.parameters())
    assert facts.dim == 32
    assert facts.max_seq_length == 64
    model.max_seq_length = 48
    model.save(str(tmp_path), create_model_card=False)
    assert read_model_facts(tmp_path).max_seq_length == 48
    assert facts.modules == ("Transformer", "Pooling", "Normalize")
