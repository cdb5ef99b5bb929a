"""The card: metadata that the Hub reads, measured numbers only, and nothing that its inputs could smuggle in."""

from __future__ import annotations

import re
from dataclasses import replace

import pyarrow as pa
import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mr_st.errors import MrStError, UsageError
from mr_st.evaluation import compare
from mr_st.hub import build_card, check_card
from mr_st.hub.card import with_model_id
from mr_st.hub.model_facts import read_model_facts

HOSTILE = [
    'x"\n---\nlicense: mit\n---\n# <script>alert(1)</script> | `code` [a](javascript:alert(2)) ![p](http://e.vil/p.png)',
    "a: [b\n- c: {d\n...\n---\n# e\n",
    "| a | b |\n|---|---|\n| `c` |\n\n```\n## Injected\n",
    "](javascript:alert(1)) <img src=x onerror=alert(1)> <!-- {{ 7 * 7 }} {% raw %} -->",
    "&#10;&lt;script&gt; \\| \\\\| $x$ ~~a~~ ![](x) [a]: http://e.vil",
    "- a\n+ b\n1. c\n> d\n===\n***\n\u2028---\u2029\x0b\x0c\x85",
]
KEYS = {
    "base_model",
    "datasets",
    "language",
    "library_name",
    "license",
    "license_name",
    "model-index",
    "pipeline_tag",
    "tags",
}
HEADINGS = {"What it is for, and what not", "How to load and search", "Thresholds", "Results", "Separability",
            "Smaller and faster", "How it was made", "Limits", "Citation"}  # fmt: skip
MINED = {
    "model": "m", "dataset": {}, "annotator": "a", "settings": {"k": 5}, "queries": 3, "items": 40,
    "search": [{"source": "model", "kind": "exact"}],
    "pairs": {"k": 5, "last_negative_rank": 2, "retrieved": 15, "annotated": 9, "taken": 4,
              "taken_by_kind": {"hard negative": {"pairs": 4}},
              "would_be_negatives": {"to_boundary": {"pairs": 0}, "to_k": {"pairs": 0}}},
}  # fmt: skip


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


def with_separability(report):
    """The report with thresholds as an evaluation leaves them: one that is worth having, one that is not."""

    def interval(value):
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 60}

    part = {"attribute": "locale", "name": "es-ES", "n_queries": 12, "n_pairs": 300, "n_positive": 40,
            "threshold": interval(0.222), "f1_own": 0.5, "f1_common": 0.4, "f1_lost": 0.1}  # fmt: skip
    both = {key: interval(0.6) for key in ("precision", "recall", "f1")} | {"n_pairs": 1440, "n_positive": 500}
    low = {"boundary": 1, "threshold": interval(0.301), "f1_cross_fitted": 0.44, "f1_of_all": 0.45, "strata": []}
    high = {"boundary": 2, "threshold": interval(0.512), "f1_cross_fitted": 0.58, "f1_of_all": 0.31,
            "strata": [{**part, "f1_lost_cross_fitted": 0.09},
                       {**part, "name": "fr-FR", "f1_lost_cross_fitted": 0.01}]}  # fmt: skip
    pair = {"high": 2, "low": 0, "n_high": 5, "n_low": 9, "auc_per_query": interval(0.9), "auc_pooled": interval(0.8),
            "overlap": {"value": None, "low": None, "high": None, "n": 0}}  # fmt: skip
    return replace(report, separability={"pairs": [pair], "boundaries": [both | low, both | high]})


def with_attributes(report):
    """The report with what is known of its 60 queries: 20 rare ones, 15 misspelt, 12 Spanish."""
    columns = {
        "traffic": ["tail"] * 20 + ["head"] * 40,
        "kind": ["spelling"] * 15 + ["organic"] * 45,
        "locale": ["es-ES"] * 12 + ["en-US"] * 48,
        "seen": ["unseen"] * 60,
    }
    table = report.per_query
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    table = table.append_column("n_relevant", pa.array([3] * 60, pa.int32()))
    protocol = {**report.protocol, "interval": {"method": "m", "confidence": 0.95, "n_resamples": 200, "seed": 0}}
    return replace(report, per_query=table, protocol=protocol)


def test_thresholds_say_what_they_give_and_where_they_are_of_no_use(tiny_base, samples):
    card = build_card(tiny_base, reports={"stage2": with_separability(samples.make_report("stage2"))})
    assert 'accepted = scores >= 0.512  # "relevant"' in card
    cells = "0.600 [0.550, 0.650]"
    assert f"| relevant | 0.512 [0.462, 0.562] | {cells} | {cells} | {cells} | 0.580 | 0.310 |" in card
    assert "| at least partial | 0.301 [0.251, 0.351] |" in card
    assert "No better than accepting every judged pair: “at least partial”" in card
    assert "| locale: es-ES | 12 | relevant | 0.222 [0.172, 0.272] | 0.090 |" in card
    assert "fr-FR" not in card
    assert "| relevant over irrelevant | 0.900 [0.850, 0.950] | 0.800 [0.750, 0.850] | – |" in card


def test_slices_are_those_that_the_queries_have(tiny_base, samples):
    reports = {arm: with_attributes(samples.make_report(arm)) for arm in ("base", "stage2")}
    card = build_card(tiny_base, reports=reports)
    rows = [
        line.split(" | ")[:2]
        for line in card.splitlines()
        if line.startswith(("| head", "| tail", "| missp", "| lang"))
    ]
    assert rows == [["| head: the most frequent queries", "40"], ["| tail: rare queries", "20"],
                    ["| misspelt queries", "15"], ["| language en", "48"], ["| language es", "12"]]  # fmt: skip
    assert "not seen in training" not in card  # all of them are: no slice
    mean = reports["stage2"].values("ndcg@10")[:20].mean()
    assert f"| tail: rare queries | 20 | {mean:.3f} [" in card


def test_what_is_not_shown_is_said(tiny_base, samples):
    reports = {arm: samples.make_report(arm) for arm in ("base", "stage2")}
    worse = compare(reports["stage2"], reports["base"], "ndcg@10")
    facts = {
        "mining": {**MINED, "pairs": {**MINED["pairs"], "taken": 0, "dropped_by_confidence": 7}},
        "annotator": {"identity": "x", "held_out": {"n_pairs": 10, "n_queries": 4, "accuracy": 0.4,
                      "majority_share": 0.5,
                      "intervals": {"accuracy": {"value": 0.4, "low": 0.2, "high": 0.6, "n": 4}}}},
    }  # fmt: skip
    card = build_card(tiny_base, reports=reports, comparisons={("stage2", "base"): {"ndcg@10": worse}}, **facts)
    assert "**Know first**: Not shown to rank better than its base: NDCG@10 differs by −0." in card
    assert "Mining took none of the 9 pairs that it had annotated (of 7 the annotator was not sure enough)" in card
    assert "not shown to beat naming the commonest grade: accuracy 0.400 (0.200 to 0.600) against 0.500" in card
    better = {("stage2", "base"): {"ndcg@10": compare(reports["base"], reports["stage2"], "ndcg@10")}}
    assert "Know first" not in build_card(tiny_base, reports=reports, comparisons=better)


def test_shrunk_settings_stand_in_a_table_and_are_of_this_model(model_dir, samples):
    report = samples.make_report("stage2")
    figure = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 60}
    row = {"bytes_per_vector": 1536, "metrics": {"ndcg@10": figure}, "difference": None, "search_ms": 0.8421,
           "separability": [{"high": 2, "low": 0, "margin_average": figure, "auc_per_query": figure}]}  # fmt: skip
    small = {**row, "name": "int8|x", "bytes_per_vector": 384, "encode_texts_per_second": 1234.5}
    small["difference"] = {"value": -0.002, "low": -0.01, "high": 0.006}
    shrink = {"model": {"revision": report.revision}, "task": "T", "metric": "ndcg@10", "protocol": {"n_queries": 60},
              "settings": [{**row, "name": "float32"}, small], "recommendation": {"text": "Take <int8>."}}  # fmt: skip
    (model_dir / "plots").mkdir()
    (model_dir / "plots" / "shrink.png").write_bytes(b"")
    card = build_card(model_dir, reports={"stage2": report}, shrink=shrink)
    assert "| float32 | 1,536 | 0.700 | – | 0.700 | 0.700 | 0.842 | – |" in card
    assert "| int8\\|x | 384 | 0.700 | −0.002 [−0.010, +0.006] | 0.700 | 0.700 | 0.842 | 1,234 |" in card
    assert "![Quality against bytes a vector](plots/shrink.png)" in card
    assert "Take \\<int8\\>." in card
    with pytest.raises(UsageError, match="measured on revision 0"):
        build_card(model_dir, reports={"stage2": report}, shrink={**shrink, "model": {"revision": "0"}})


def check_nothing_broke_out(card: str) -> None:
    """The metadata is one block with known keys; the body has the template's headings, even tables, no markup."""
    from markdown_it import MarkdownIt

    start = card.index("\n---\n")
    metadata = yaml.safe_load(card[4:start])
    assert set(metadata) <= KEYS
    assert ModelCard(card).data.to_dict().keys() == metadata.keys()
    body = card[start + 5 :]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    kinds = {child.type for token in tokens for child in token.children or []} | {t.type for t in tokens}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "hr", "blockquote_open"}
    assert sum(t.type == "heading_open" and t.tag == "h1" for t in tokens) == 1
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
    assert set(headings) <= HEADINGS
    fences = [t.info for t in tokens if t.type == "fence"]
    assert set(fences) <= {"python", "bibtex", "yaml"}
    for block in re.findall(r"(?m)(?:^\|.*\n)+", body):
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}) == 1, block


def hostile_card(model_dir, samples, text: str, **more) -> str:
    """A card where whatever can come from elsewhere is this text."""
    report = with_separability(samples.make_report("stage2"))
    protocol = {**report.protocol, "corpus": text, "grades": [text, text + "b", text + "c"], "split": text}
    protocol["dataset"] = {"name": text, "fingerprint": text}
    report = replace(report, task_name=text or "t", protocol=protocol)
    report.separability["boundaries"][1]["strata"][0].update(attribute=text, name=text)
    return build_card(
        model_dir,
        model_id=text or "m",
        reports={text or "arm": report},
        stages={text: {"loss": text, "steps": 3, "seconds": 1.0, "loss_config": {text: text}}},
        data={"name": text, "license": text, "fingerprint": text or "f", "source": {"name": text, text: text},
              "query_locales": {text: 3},
              "splits": {text: {"queries": 1, "judgments": 2, "label_shares": {text: 1.0}}}},
        mining={text: text},
        annotator={"identity": text, text: text},
        seconds={text: 3.0},
        base_model=text,
        license=text,
        language=[text],
        datasets=[text],
        hardware=text or "x",
        description=text,
        limits=[text],
        **more,
    )  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_text(tiny_base, samples, text):
    card = hostile_card(tiny_base, samples, text)
    check_nothing_broke_out(card)
    metadata = yaml.safe_load(card[4 : card.index("\n---\n")])
    assert metadata["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", metadata["license_name"])
    assert not {"base_model", "datasets", "language"} & set(metadata)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("-:[]{}|`\\\n\r\t #<>!&*()\"'%@,?~=+_x1\u2028\u202e\x00.:/"), max_size=40))
def test_no_text_breaks_out(tiny_base, samples, text):
    check_nothing_broke_out(hostile_card(tiny_base, samples, text))


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
