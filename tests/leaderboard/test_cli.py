"""``mr-st leaderboard build``: defaults, counts as JSON, what is said of what was left out."""

from __future__ import annotations

import json

import pytest

from mr_st.cli.main import main


def test_it_takes_results_beside_it_and_counts_as_json(tmp_path, samples, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    samples.write_mteb_result(tmp_path / "results")
    (tmp_path / "results" / "stray\x1b[31m.json").write_text("[]")
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", "build", "--json", "--title", "Ours"])
    assert not ended.value.code
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["models"], found["tasks"]) == (1, 1)
    assert found["cells"] == {"ok": 1}
    assert found["left_out"][0]["reason"].startswith("no MTEB result")
    assert "\x1b" not in err
    assert "1 model on 1 task: 1 ok" in err
    assert "<title>Ours</title>" in (tmp_path / "leaderboard-site" / "index.html").read_text()


def test_with_nothing_to_show_it_is_wrong_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", "build", "--quiet"])
    assert ended.value.code == 2
    assert "name one with --results" in capsys.readouterr().err
