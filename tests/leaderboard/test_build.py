"""The site as files: complete, escaped, honest about what is missing, and put in place without harm."""

from __future__ import annotations

import json
import os
import re
import threading
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mr_st.errors import MrStError, UsageError
from mr_st.files import alone_in
from mr_st.leaderboard import build, build_leaderboard, build_site, charts, details, worker
from mr_st.leaderboard.beside import start_beside
from mr_st.leaderboard.serve import make_server
from mr_st.leaderboard.site_folder import LIST, staged_site


def data_of(index: Path, name: str = "board") -> Any:
    text = (index.parent / "data" / f"{name}.js").read_text()
    return json.loads(re.fullmatch(r'MR\.put\("[^"]*",(.*)\);\n', text, re.DOTALL)[1])


def tags_of(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    found: list[tuple[str, dict[str, str | None]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    Tags().feed(page.read_text())
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def index(tmp_path_factory, samples) -> Path:
    folder = tmp_path_factory.mktemp("board")
    samples.write_sample(folder / "results")
    return build_leaderboard([folder / "results"], folder / "site")


def test_every_page_refers_to_files_of_the_site_only(index):
    pages = list(index.parent.rglob("*.html"))
    assert len(pages) == 2 + 5 + 2
    for page in pages:
        for tag, attributes in tags_of(page):
            for name in ("src", "href", "srcset", "action"):
                address = attributes.get(name)
                is_link_out = tag == "a" and str(address).startswith("https://")  # followed when it is clicked only
                if address is None or address.startswith(("#", "data:,")) or is_link_out:
                    continue
                assert (page.parent / re.sub(r"[#?].*", "", address)).is_file(), (page, tag, address)


def test_in_several_processes_the_same_site_is_built(index, samples, tmp_path, monkeypatch):
    samples.write_sample(tmp_path / "results")
    started = []
    monkeypatch.setattr(build, "MANY", 0)
    monkeypatch.setattr(details, "MANY", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for module in (charts, worker):
        monkeypatch.setattr(
            module, "start_beside", lambda f, *rest, **kw: started.append(f) or start_beside(f, *rest, **kw)
        )
    alone = tree(index.parent)
    assert tree(build_leaderboard([tmp_path / "results"], tmp_path / "site").parent) == alone
    assert sorted(set(started)) == ["mr_st.leaderboard.charts:_write_from_text", "mr_st.leaderboard.worker:main"]
    # and where none of them can do its work
    for module in (charts, worker):
        monkeypatch.setattr(module, "start_beside", lambda f, *rest, **kw: start_beside("os:abort", **kw))
    assert tree(build_leaderboard([tmp_path / "results"], tmp_path / "site").parent) == alone


def test_every_score_is_in_the_data_and_what_is_missing_is_absent(index, samples):
    data = data_of(index)
    models = [m["name"] for m in data["models"]]
    assert sorted(models) == sorted([*samples.NAMES.values(), "intfloat/e5-small-v2"])
    tasks = [t["label"] for t in data["tasks"]]
    assert tasks == ["ESCIRetrieval", "MarketplaceRetrieval"]
    assert sorted(data["status"]) == ["-o", "-o", "oo", "oo", "oo"]
    report = samples.make_report("stage2")
    metric = next(i for i, m in enumerate(data["metrics"]) if m["key"] == "recall@50/2")
    at = models.index(report.model_name) * 2 + 1
    scores = data_of(index, f"scores/{metric}-0")
    interval = report["recall@50/2"]
    shown = [scores[key][at] / 100_000 for key in ("value", "low", "high")]
    assert shown == pytest.approx([interval.value, interval.low, interval.high], abs=1e-5)
    assert scores["n"][at] == 60
    assert scores["value"][models.index(samples.NAMES["control"]) * 2] is None


def test_a_result_of_mteb_itself_appears_without_queries(index):
    data = data_of(index)
    row = [m["name"] for m in data["models"]].index("intfloat/e5-small-v2")
    assert data["details"][row] == ["", ""]
    assert data["status"][row] == "-o"
    assert all("q" in files[1] for i, files in enumerate(data["details"]) if i != row)


def test_broken_files_are_named_and_the_protocol_is_said(index):
    page = index.read_text()
    assert "2 files are not on this page" in page
    assert "results/intfloat__e5-small-v2/1a2b3c4d5e6f/Broken.json" in page
    assert "Foreign.json" in page
    protocol = data_of(index)["tasks"][1]["protocol"]
    assert protocol.startswith(
        "Full catalogue, 2,400 items · test split, 60 queries (2 with nothing relevant left out)"
    )


def test_without_javascript_the_main_scores_are_a_table(index, samples):
    interval = samples.make_report("stage2")["ndcg@10"]
    assert f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})" in index.read_text()


def test_results_of_other_data_or_another_corpus_are_shown_and_not_ranked(tmp_path, samples):
    for arm, change in (("base", {}), ("stage1", {"corpus": "judged items", "n_items": 300}), ("stage2", {})):
        report = samples.make_report(arm)
        report.protocol.update(change)
        if arm == "stage2":
            report.protocol["dataset"]["fingerprint"] = "fedcba9876543210"
        path = report.save(tmp_path / "results")
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"date": 5.0 if arm == "stage2" else 9.0}))
    site = build_site(tmp_path / "results", tmp_path / "site")
    assert site.cells == {"ok": 1, "other": 1, "stale": 1}
    data = data_of(site.page)
    assert {m["name"]: s for m, s in zip(data["models"], data["status"], strict=True)} == {
        samples.NAMES["base"]: "o",
        samples.NAMES["stage1"]: "x",
        samples.NAMES["stage2"]: "s",
    }


def test_no_results_is_a_page_that_says_so(tmp_path):
    page = build_leaderboard([tmp_path / "none"], tmp_path / "site").read_text()
    assert "No result to show yet" in page
    assert "no such folder" in page


def test_building_twice_gives_the_same_site(tmp_path, samples, index):
    samples.write_sample(tmp_path / "results")
    again = build_leaderboard([tmp_path / "results"], tmp_path / "site")
    one, other = tree(again.parent), tree(index.parent)
    assert one.keys() == other.keys()
    assert not [name for name in one if one[name] != other[name] and not name.startswith("assets/")]


def test_what_is_no_longer_there_goes_and_what_no_build_wrote_stays(tmp_path, samples):
    samples.make_report("base").save(tmp_path / "results")
    gone = samples.make_report("stage2").save(tmp_path / "results")
    site = tmp_path / "site"
    build_leaderboard(tmp_path / "results", site)
    (site / "data" / "mine.txt").write_text("mine")
    (site / "README.md").write_text("mine")
    gone.unlink()
    build_leaderboard(tmp_path / "results", site)
    fresh = build_leaderboard(tmp_path / "results", tmp_path / "fresh").parent
    mine = {"data/mine.txt": b"mine", "README.md": b"mine"}
    assert tree(site) == tree(fresh) | mine
    assert not [p for p in site.rglob("*") if p.name.startswith(".tmp")]


def test_a_file_that_no_build_wrote_is_not_replaced(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    with pytest.raises(MrStError, match="was not written by an earlier build"):
        build_leaderboard([], tmp_path / "site")
    assert tree(tmp_path / "site") == {"index.html": b"mine"}


def test_an_interrupted_build_leaves_the_old_site(tmp_path):
    with staged_site(tmp_path) as site:
        (site / "index.html").write_text("old")
    before = tree(tmp_path)
    with pytest.raises(KeyboardInterrupt), staged_site(tmp_path) as site:
        (site / "index.html").write_text("new")
        raise KeyboardInterrupt
    assert tree(tmp_path) == before


def test_what_a_killed_build_left_is_cleared_and_two_at_once_are_refused(tmp_path):
    left = tmp_path / ".tmp-leaderboard" / "site"
    left.mkdir(parents=True)
    (left / "half.html").write_text("half")
    with staged_site(tmp_path) as site:
        (site / "index.html").write_text("new")
    assert sorted(tree(tmp_path)) == [LIST, "index.html"]
    (tmp_path / ".tmp-leaderboard").mkdir()
    with (
        alone_in(tmp_path / ".tmp-leaderboard"),
        pytest.raises(MrStError, match="another run"),
        staged_site(tmp_path),
    ):
        pass


@pytest.mark.parametrize("listed", ['["../secret"]', '["/etc/x", 7]', '["link/secret"]', "{", "7", '[""]'])
def test_the_list_of_files_can_name_nothing_outside(tmp_path, listed):
    (tmp_path / "secret").write_text("secret")
    site = tmp_path / "site"
    site.mkdir()
    (site / "link").symlink_to(tmp_path)
    (site / LIST).write_text(f'{{"files": {listed}}}' if listed[0] == "[" else listed)
    with staged_site(site) as staged:
        (staged / "index.html").write_text("new")
    assert (tmp_path / "secret").read_text() == "secret"
    assert (site / "index.html").read_text() == "new"


def test_a_card_gives_its_facts_and_says_whether_a_task_was_trained_on(tmp_path, samples):
    folder = tmp_path / "cards" / "mr-minilm-marketplace"
    for task in ("MarketplaceRetrieval", "ESCIRetrieval"):
        samples.make_report("stage2", task).save(folder / "results")
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nbase_model: [a/b]\ndatasets: [shop/marketplace]\n---\n# Card\n"
    )
    data = data_of(build_leaderboard([], tmp_path / "site", cards_dir=tmp_path / "cards"))
    (model,) = data["models"]
    assert (model["license"], model["base"], model["training"]) == ("apache-2.0", "a/b", ["shop/marketplace"])
    assert [t["name"] for t in data["tasks"]] == ["ESCIRetrieval", "MarketplaceRetrieval"]
    assert data["zero_shot"] == ["yn"]


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
