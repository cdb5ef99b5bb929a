"""Pages of models and tasks as files: everything useful stands in their HTML, whatever the results and cards hold."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from mr_st.data import GradedDataset
from mr_st.leaderboard import build_leaderboard
from mr_st.leaderboard.cards import Recipe, find_cards, read_recipe, render_card

SEPARABILITY = {
    "pairs": [
        {"high": 2, "low": 0, "n_high": 9, "n_low": 30,
         "auc_per_query": {"value": 0.931, "low": 0.917, "high": 0.944, "n": 60},
         "auc_pooled": {"value": 0.879, "low": 0.855, "high": 0.898, "n": 60},
         "overlap": {"value": 0.423, "low": None, "high": None, "n": 60}},
    ],
    "boundaries": [
        {"boundary": grade, "threshold": {"value": 0.1 + grade / 5, "low": 0.25, "high": 0.35, "n": 60},
         "precision": {"value": 0.601, "low": 0.582, "high": 0.619, "n": 60},
         "recall": {"value": 0.802, "low": 0.766, "high": 0.838, "n": 60},
         "f1": {"value": 0.687, "low": 0.664, "high": 0.707, "n": 60},
         "f1_cross_fitted": 0.685, "f1_of_all": 0.469, "n_pairs": 1440, "n_positive": 300,
         "strata": [
             {"attribute": "locale", "name": "es-ES", "n_queries": 21, "n_pairs": 83, "n_positive": 20,
              "threshold": {"value": 0.172, "low": 0.157, "high": 0.207, "n": 21},
              "f1_own": 0.524, "f1_common": 0.322, "f1_lost": 0.202, "f1_lost_cross_fitted": 0.187}]}
        for grade in (1, 2)
    ],
    "pairs_of_grade": [900, 360, 180],
}  # fmt: skip
BM25 = {"kind": "bm25", "k1": 1.2, "b": 0.75, "method": "lucene", "analyser": {"language": "auto"}}


class Page(HTMLParser):
    """A page's text, and its elements as (tag, attributes)."""

    def __init__(self, path: Path):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.html = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self.feed(self.html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def report_with(samples, arm, name=None, system=None, task="MarketplaceRetrieval", **changes):
    report = samples.make_report(arm, task, name=name)
    protocol = report.protocol | ({} if system is None else {"system": system}) | changes
    return dataclasses.replace(report, protocol=protocol)


def page_of(site: Path, folder: str, name: str) -> Page:
    (path,) = (site / folder).glob(f"{name}-????????.html")
    return Page(path)


@pytest.fixture(scope="module")
def site(tmp_path_factory, samples) -> Path:
    """Four arms, of them stage2 with separability and a card; BM25; a hybrid; one that mteb evaluated."""
    folder = tmp_path_factory.mktemp("pages")
    results = folder / "results"
    samples.write_sample(results)
    whole = dataclasses.replace(report_with(samples, "stage2"), separability=SEPARABILITY)
    prompts = {"kind": "bi-encoder", "prompts": {"query": 'find: "x" ', "item": ""}, "max_seq_length": 64}
    whole.protocol["system"] = prompts
    whole.save(results)
    report_with(samples, "base", "mr-st/bm25", BM25).save(results)
    dense = {"kind": "bi-encoder", "model": "00000301c0ffee00", "prompts": {"query": "", "item": ""}}
    parts = {
        "lexical": {"weight": 1.0, "settings": BM25},
        "dense": {"weight": 2.0, "settings": dense | {"model": whole.revision}},
        "other": {"weight": 1.0, "settings": dense | {"model": "not here"}},
    }
    hybrid = {"kind": "hybrid", "fusion": "rrf", "depth": 100, "constant": 60.0, "parts": parts}
    report_with(samples, "base", "my/hybrid", hybrid).save(results)
    report_with(samples, "stage1", task="MarketplaceReranking", corpus="judged pool").save(results)
    card = folder / "cards" / "mr-minilm-marketplace"
    (card / "plots").mkdir(parents=True)
    (card / "plots" / "a.png").write_bytes(b"picture")
    (card / "recipe.yaml").write_text("name: refined\ndata:\n  source: marketplace\n# </code><b>bold</b>\n")
    (card / "README.md").write_text(
        "---\nlicense: apache-2.0\nbase_model: a/b\n---\n# Its card\n\n## How it was made\n\n![plot](plots/a.png) "
        "[out](https://example.org/) [beside](recipe.yaml) [mail](mailto:a@b.c) [bad](javascript:alert(1))\n"
    )
    return build_leaderboard([results], folder / "site", cards_dir=folder / "cards").parent


@pytest.fixture(scope="module")
def refined(site) -> Page:
    return page_of(site, "models", "mr-st-mr-minilm-marketplace")


def test_a_model_s_facts_come_from_results_card_and_recipe(refined):
    for fact in ("Parameters 22.7 million", "Dimensions 384", "Longest input 256 tokens", "Base model a/b",
                 "Licence apache-2.0", "Training data marketplace"):  # fmt: skip
        assert fact in refined.text
    assert "Not said" not in refined.text


def test_results_say_score_interval_rank_and_zero_shot(refined, samples):
    score = samples.make_report("stage2")["ndcg@10"]
    assert f"{score.value:.3f} {score.low:.3f} to {score.high:.3f}" in refined.text
    assert re.search(r" 1–[2-7] of 7 Compare ", refined.text)
    rows = re.findall(r'<tr><th scope="row"><a href="../tasks/(\w+)-.*?</tr>', refined.html, re.DOTALL)
    assert rows == ["esciretrieval", "marketplaceretrieval"]
    zero_shot = re.findall(r'<td class="last">(.*?)</td>', refined.html)
    assert zero_shot == ["yes", "no"]


def test_every_metric_stands_in_the_page_without_javascript(refined, samples):
    report = samples.make_report("stage2")
    for name in ("recall@100/2", "precision@50", "margin_average_2_0_overlap70"):
        assert f"{report[name].value:.3f}".replace("-", "−") in refined.text
    assert "Recall, grade ≥ 2" in refined.text
    assert "pairs with ≥ 70 % token overlap" in refined.text


def test_separability_and_thresholds_are_tables_with_intervals(refined):
    assert "2 relevant over 0 irrelevant 0.931 0.917 to 0.944 0.879 0.855 to 0.898 0.423" in refined.text
    assert (
        "2 relevant 0.500 0.250 to 0.350 0.601 0.582 to 0.619 0.802 0.766 to 0.838 0.687 0.664 to 0.707"
        in refined.text
    )
    assert "1 at least partial 0.300" in refined.text
    assert "Costs 0.187 F1 for locale es-ES, which wants a threshold of its own." in refined.text
    assert "locale es-ES 21 0.172 0.157 to 0.207 0.524 0.322 0.187" in refined.text


def test_a_bi_encoder_is_loaded_with_its_prompts(refined):
    (code,) = re.findall(r'aria-label="Code, python"><code>(.*?)</code>', refined.html, re.DOTALL)
    code = code.replace("&#34;", '"')
    compile(code, "page", "exec")
    assert 'model = SentenceTransformer(\n    "mr-st/mr-minilm-marketplace",\n' in code
    assert r'prompts={"query": "find: \"x\" "}' in code
    assert "model.max_seq_length = 64" in code


def test_bm25_and_a_hybrid_are_specifications_that_evaluate_takes(site, tmp_path, monkeypatch):
    from mr_st.evaluation.systems.spec import read_spec

    monkeypatch.chdir(tmp_path)
    for name in ("mr-st-bm25", "my-hybrid"):
        page = page_of(site, "models", name)
        (code,) = re.findall(r'aria-label="Code, yaml"><code>(.*?)</code>', page.html, re.DOTALL)
        spec = yaml.safe_load(code.replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'"))
        if name == "my-hybrid":
            assert spec["parts"]["dense"]["model"] == "mr-st/mr-minilm-marketplace"
            assert spec["parts"]["other"]["model"] == "<model not here>"
            assert "fill in" in page.text
            assert spec["weights"] == {"lexical": 1.0, "dense": 2.0, "other": 1.0}
            spec["parts"]["other"]["model"] = "org/other"
        Path("it.yaml").write_text(yaml.safe_dump(spec))
        assert read_spec("it.yaml").kind == spec["kind"]
        assert "--task MarketplaceRetrieval" in page.text


def test_what_mteb_evaluated_is_loaded_by_mteb_and_has_no_interval(site):
    page = page_of(site, "models", "intfloat-e5-small-v2")
    assert 'mteb.get_model("intfloat/e5-small-v2")' in page.text
    assert "0.581 no interval" in page.text
    assert "Not said: longest input, base model, licence, training data." in page.text
    assert "Not evaluated on ESCIRetrieval, MarketplaceReranking." in page.text
    assert "Recommended thresholds" not in page.text


def test_a_card_is_part_of_the_page_its_dead_links_are_text(refined, site):
    assert "<h3>Its card</h3>" in refined.html
    assert "<h4>How it was made</h4>" in refined.html
    (picture,) = refined.of("img")
    assert (site / "models" / picture["src"]).read_bytes() == b"picture"
    assert "bad" in refined.text
    outside = {a["href"] for a in refined.of("a") if not a["href"].startswith(("#", "../"))}
    assert outside == {"https://example.org/", "mailto:a@b.c"}


def test_a_recipe_is_shown_as_text(refined):
    assert "# </code><b>bold</b>" in refined.text
    assert "&lt;b&gt;bold" in refined.html


def test_links_to_the_comparison_name_this_model_first(refined, samples):
    report = samples.make_report("stage2")
    links = [a["href"] for a in refined.of("a") if "compare.html#" in a["href"]]
    assert len(links) == 2
    assert all(
        link.startswith("../compare.html#m=mr-st%2Fmr-minilm-marketplace+%40+" + report.revision) for link in links
    )
    assert links[1].count("m=") == 4
    assert links[1].endswith("task=MarketplaceRetrieval")


def test_a_task_s_page_says_what_it_is_and_ranks_results(site, samples):
    page = page_of(site, "tasks", "marketplaceretrieval")
    assert "Retrieve the items of a synthetic online shop" in page.text
    assert "Licence apache-2.0" in page.text
    assert "Languages English" in page.text
    assert "https://arxiv.org/abs/2602.17654" in [a["href"] for a in page.of("a")]
    assert "Twin MarketplaceReranking" in page.text
    names = re.findall(r"<th scope=\"row\"><a href=\"../models/.*?<bdi>(.*?)</bdi>", page.html)
    assert len(names) == 7
    values = [float(x) for x in re.findall(r"<b>(0\.\d{3})</b>", page.html)]
    assert values == sorted(values, reverse=True)
    assert names[values.index(0.581)] == "intfloat/e5-small-v2"
    assert "2 relevant 1 180 12.5 % 1 partial 0.5 360 25.0 % 0 irrelevant 0 900 62.5 %" in page.text


def test_recorded_statistics_of_other_data_say_so(site):
    page = page_of(site, "tasks", "marketplaceretrieval")
    assert (
        "Measured on other data ( marketplace: 4,000 items , fingerprint 0adf59a92ebcd416 ): not comparable"
        in page.text
    )
    assert "Random order" in page.text
    assert "Examples of each grade" not in page.text


def test_data_at_hand_gives_examples_and_says_where_from(tmp_path, samples):
    shop = GradedDataset.from_tables(
        [{"query_id": "q", "text": "<i>mug</i>", "locale": '"x'}],
        [{"item_id": f"i{g}", "title": f"item of {g}"} for g in range(3)],
        [{"query_id": "q", "item_id": f"i{g}", "grade": g, "split": "test"} for g in range(3)],
        name="<b>shop</b>",
    )
    path = samples.make_report("base", "MyRetrieval").save(tmp_path / "results")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_revision": shop.fingerprint}))
    index = build_leaderboard([tmp_path / "results"], tmp_path / "site", data=[shop])
    page = page_of(index.parent, "tasks", "myretrieval")
    assert "<i>mug</i> 2 relevant: item of 2 1 partial: item of 1 0 irrelevant: item of 0" in page.text
    assert "Texts from <b>shop</b> , licence unknown : find out" in page.text
    assert all("style" in attributes for attributes in page.of("i")), "an element from a text"
    assert '"x' in [attributes.get("lang") for attributes in page.of("h3")]
    assert "Baselines" not in page.text


def test_missing_parts_leave_no_empty_headings(site):
    for path in sorted([*(site / "models").glob("*.html"), *(site / "tasks").glob("*.html")]):
        page = Page(path)
        ids = {attributes["id"] for _, attributes in page.found if "id" in attributes}
        for attributes in page.of("a"):
            if attributes["href"].startswith("#"):
                assert attributes["href"][1:] in ids
        for _, attributes in page.found:
            assert attributes.get("aria-labelledby", "main") in ids


HOSTILE_METADATA = {
    "damaged": "a: [1, 2",
    "a list": "- a\n- b",
    "no such day": "date: 2020-99-99",
    "a key that is a list": "? [1]\n: 2",
    "too deep": "a: " + "[" * 1500,
    "too long": "x" * 200_000,
}


@pytest.mark.parametrize("metadata", HOSTILE_METADATA.values(), ids=HOSTILE_METADATA)
def test_metadata_that_cannot_be_read_is_left_aside(tmp_path, metadata):
    (tmp_path / "README.md").write_text(f"---\n{metadata}\n---\n# Body\n")
    (tmp_path / "recipe.yaml").write_text("data: [1")
    (card,) = find_cards(tmp_path)
    assert card.metadata == {}
    assert render_card(card, tmp_path / "out")[0] == "<h3>Body</h3>\n"
    assert read_recipe(card) == Recipe("data: [1", False)


def test_a_card_s_files_stay_inside_its_folder(tmp_path):
    folder = tmp_path / "card"
    folder.mkdir()
    (tmp_path / "secret.yaml").write_text("secret")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "recipe.yaml").symlink_to(tmp_path / "secret.yaml")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "README.md").write_text("![a](../secret.png) ![b](link.png) ![c](https://e.org/a.png) ![d](//x/a.png)\n")
    (card,) = find_cards(folder)
    html, copied = render_card(card, tmp_path / "out")
    assert (html, copied) == ("<p>a b c d</p>\n", [])
    assert read_recipe(card) is None
    assert card.metadata == {}
    assert not (tmp_path / "out").exists()


def test_a_recipe_says_what_it_trained_on_but_no_path(tmp_path):
    (tmp_path / "README.md").write_text("# Body\n")
    for source, said in (("esci", "esci"), ("org/data", "org/data"), ("/home/me/private/shop/", "shop")):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"data": {"source": source}}))
        assert find_cards(tmp_path)[0].metadata == {"datasets": [said]}


def test_a_long_recipe_is_cut(tmp_path):
    (tmp_path / "README.md").write_text("# Body\n")
    (tmp_path / "recipe.yaml").write_text("# long\n" * 20_000)
    recipe = read_recipe(find_cards(tmp_path)[0])
    assert recipe.is_cut
    assert len(recipe.text) == 64_000
