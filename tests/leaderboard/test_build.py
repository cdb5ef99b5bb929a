"""The page as a file: self-contained, escaped, complete, honest about what is missing."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from html.parser import HTMLParser

import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.leaderboard import build_leaderboard
from mr_st.leaderboard.serve import make_server


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def page(tmp_path_factory, samples) -> str:
    folder = tmp_path_factory.mktemp("board")
    samples.write_sample(folder / "results")
    return build_leaderboard([folder / "results"], folder / "site").read_text()


def test_the_page_refers_to_nothing_outside_itself(page):
    for tag, attributes in Tags(page).found:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert "@import" not in page
    assert "url(" not in page
    assert "fetch(" not in page
    assert "innerHTML" not in page


def test_every_score_is_in_the_data_and_what_is_missing_is_absent(page, samples):
    data = data_of(page)
    models = [m["name"] for m in data["models"]]
    assert sorted(models) == sorted([*samples.NAMES.values(), "intfloat/e5-small-v2"])
    tasks = [t["label"] for t in data["tasks"]]
    assert tasks == ["ESCIRetrieval", "MarketplaceRetrieval"]
    pairs = {(tasks[s["t"]], models[s["m"]]) for s in data["scores"]}
    assert len(pairs) == 8
    assert ("ESCIRetrieval", samples.NAMES["control"]) not in pairs
    keys = [m["key"] for m in data["metrics"]]
    report = samples.make_report("stage2")
    shown = next(s for s in data["scores"] if (tasks[s["t"]], models[s["m"]]) == (report.task_name, report.model_name))
    values = {keys[v[0]]: v[1:] for v in shown["v"]}
    assert set(values) == set(report.metrics)
    interval = report["recall@50/2"]
    assert values["recall@50/2"] == pytest.approx([interval.value, interval.low, interval.high, 60], abs=1e-5)


def test_broken_files_are_named_and_the_protocol_is_said(page):
    assert "2 files are not on this page" in page
    assert "results/intfloat__e5-small-v2/1a2b3c4d5e6f/Broken.json" in page
    assert "Foreign.json" in page
    protocol = data_of(page)["tasks"][1]["protocol"]
    assert protocol.startswith(
        "Full catalogue, 2,400 items · test split, 60 queries (2 with nothing relevant left out)"
    )
    assert "gains irrelevant 0, partial 0.5, relevant 1" in protocol


def test_paired_differences_are_there_for_models_with_queries_only(page, samples):
    data = data_of(page)
    e5 = [m["name"] for m in data["models"]].index("intfloat/e5-small-v2")
    assert data["pairs"]
    assert not [p for p in data["pairs"] if e5 in p[2:4]]
    ndcg = [m["key"] for m in data["metrics"]].index("ndcg@10")
    assert sum(p[:2] == [1, ndcg] for p in data["pairs"]) == 6  # four models, every pair


def test_without_javascript_the_main_scores_are_a_table(page, samples):
    interval = samples.make_report("stage2")["ndcg@10"]
    assert f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})" in page


def test_hostile_names_stay_text(tmp_path, samples):
    names = ['<script>alert("x")</script>', "__proto__", "a" * 5000, "../../etc", "\u202egnp.exe", "</script><img>"]
    for i, name in enumerate(names):
        path = samples.write_mteb_result(tmp_path / "results", model=f"org/m{i}")
        content = json.loads(path.read_text())
        scores = content["scores"].pop("test")
        scores[0]["graded"] = {
            "model": {"name": name, "revision": name, "facts": {"embed_dim": name, "max_tokens": 10**400}},
            "protocol": {"corpus": name, "grades": [1], "gains": [name], "item_text": name, "n_items": name},
        }
        content.update(task_name=name, scores={name: scores})
        path.write_text(json.dumps(content))
    page = build_leaderboard([tmp_path / "results"], tmp_path / "site", title="<b>&title").read_text()
    tags = Tags(page).found
    assert sum(tag == "script" for tag, _ in tags) == 2
    assert not [tag for tag, _ in tags if tag in ("img", "b")]
    assert {m["name"] for m in data_of(page)["models"]} == set(names)
    assert "<title>&lt;b&gt;&amp;title</title>" in page
    assert sorted(p.name for p in (tmp_path / "site").iterdir()) == ["index.html"]


def test_results_of_other_data_are_another_task(tmp_path, samples):
    samples.make_report("base").save(tmp_path)
    other = samples.make_report("stage2")
    other.protocol["dataset"]["fingerprint"] = "fedcba9876543210"
    other.save(tmp_path)
    labels = [t["label"] for t in data_of(build_leaderboard(tmp_path, tmp_path / "site").read_text())["tasks"]]
    assert labels == ["MarketplaceRetrieval · data 01234567", "MarketplaceRetrieval · data fedcba98"]


def test_a_bounded_corpus_is_not_ranked_with_the_full_one(tmp_path, samples):
    samples.make_report("base").save(tmp_path)
    other = samples.make_report("stage2")
    other.protocol.update(corpus="judged items and random others (seed 0)", n_items=500)
    other.save(tmp_path)
    assert len(data_of(build_leaderboard(tmp_path, tmp_path / "site").read_text())["tasks"]) == 2


def test_no_results_is_a_page_that_says_so(tmp_path):
    page = build_leaderboard([tmp_path / "none"], tmp_path / "site").read_text()
    assert "No result to show yet" in page
    assert "no such folder" in page


def test_building_twice_gives_the_same_page(tmp_path, samples, page):
    samples.write_sample(tmp_path / "results")
    assert build_leaderboard([tmp_path / "results"], tmp_path / "site").read_text() == page


def test_a_card_is_rendered_linked_and_cannot_escape(tmp_path, samples):
    samples.make_report("stage2").save(tmp_path / "cards" / "mr-minilm-marketplace" / "results")
    folder = tmp_path / "cards" / "mr-minilm-marketplace"
    (folder / "plots").mkdir()
    (folder / "plots" / "a.png").write_bytes(b"picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nbase_model: a/b\n---\n# Card & more\n<script>alert(1)</script>\n\n"
        "![grades](plots/a.png) ![x](../../secret.png) ![y](http://e.vil/p.png) [z](javascript:alert(1))\n\n"
        "| a |\n|---|\n| b |\n"
    )
    index = build_leaderboard([], tmp_path / "site", cards_dir=tmp_path / "cards")
    (model,) = data_of(index.read_text())["models"]
    card = (index.parent / model["card"]).read_text()
    assert ["Base model", "a/b"] in model["facts"]
    assert ["Licence", "apache-2.0"] in model["facts"]
    assert "<h1>Card &amp; more</h1>" in card
    tags = Tags(card).found
    assert "script" not in [tag for tag, _ in tags]
    assert "table" in [tag for tag, _ in tags]
    (picture,) = [a["src"] for tag, a in tags if tag == "img"]
    assert (index.parent / "cards" / picture).read_bytes() == b"picture"
    assert [a["href"] for tag, a in tags if tag == "a"] == ["../index.html"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MrStError) as caught:
        build_leaderboard([], tmp_path / "file" / "site")
    assert "\n" not in str(caught.value)


def test_the_server_serves_the_site_on_loopback_only(tmp_path):
    build_leaderboard([], tmp_path / "site")
    (tmp_path / "outside.txt").write_text("secret")
    with make_server(tmp_path / "site", 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert b"leaderboard" in urllib.request.urlopen(f"{address}/index.html").read()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/../outside.txt")
        with pytest.raises(MrStError, match="choose another one"):
            make_server(tmp_path / "site", server.server_port)
        server.shutdown()


def test_serving_a_folder_without_a_site_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match=r"index\.html"):
        make_server(tmp_path)
