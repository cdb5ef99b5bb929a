"""mr-st data: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mr_st.cli.data import SOURCES_HELP, parse_options
from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.errors import UsageError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


def make(queries: list[dict[str, Any]], items: list[dict[str, Any]], judgments: list[dict[str, Any]]) -> GradedDataset:
    return GradedDataset.from_tables(queries, items, judgments, name="shop", license="MIT")


def good() -> GradedDataset:
    return make(
        [{"query_id": "q1", "text": "mug", "locale": "en"}, {"query_id": "q2", "text": "taza", "locale": "es"}],
        [{"item_id": "a", "title": "Mug"}, {"item_id": "b", "title": "Hat"}],
        [
            {"query_id": q, "item_id": i, "grade": g, "split": s}
            for q, s in (("q1", "train"), ("q2", "test"))
            for i, g in (("a", 2), ("b", 0))
        ],
    )


def mendable() -> GradedDataset:
    """Two exact duplicates, a blank around an id and one around a reference to another; a title not in NFC."""
    judgment = {"query_id": "q1", "item_id": "a", "grade": 2}
    return make(
        [{"query_id": "q1", "text": " mug"}],
        [{"item_id": "a", "title": "Cafe\u0301"}, {"item_id": "b ", "title": "Hat"}],
        [judgment, judgment, judgment, {"query_id": "q1 ", "item_id": "b ", "grade": 0}],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return good().save(tmp_path / "shop")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return mendable().save(tmp_path / "broken")


MENDED = [
    "queries, column text: blanks around a text: 1 mended",
    "items, column item_id: blanks around an id: 1 mended",
    "items, column title: text not in NFC: 1 mended",
    "judgments, column query_id: blanks around an id: 1 mended",
    "judgments, column item_id: blanks around an id: 1 mended",
    "judgments: duplicate row: 2 dropped",
]


def test_problems_are_printed_in_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make(
        [{"query_id": "q", "text": "x"}],
        [{"item_id": "a", "title": "\ttab"}],
        [{"query_id": "q", "item_id": f"z{n}", "grade": 1} for n in range(30)]
        + [{"query_id": "q", "item_id": "a", "grade": 7}],
    )
    folder = dataset.save(tmp_path / "shop")
    code, out, _ = run(capsys, "data", "check", str(folder))
    lines = out.splitlines()
    assert code == 1
    assert lines[0] == f"{folder}: 31 problems"
    assert lines[1] == "judgments.parquet, column grade: grade outside the scale: 1"
    assert lines[3] == "judgments.parquet, column item_id: unknown id: 30"
    assert lines[4].startswith("  judgments.parquet, row 1, column item_id: 'z0' is not in items.parquet; ")
    assert lines[7] == "  ... and 27 more (--all lists up to 1,000 of them)"
    assert "notices, by which nothing fails:" in lines
    assert lines[-1] == "--fix mends 1 of these"
    code, out, _ = run(capsys, "data", "check", str(folder), "--all")
    assert sum(" is not in items.parquet" in line for line in out.splitlines()) == 30


def test_json_lists_everything(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "check", str(broken), "--json")
    found = json.loads(out)
    assert code == 1
    assert [(g["where"], g["column"], g["rule"], g["count"]) for g in found["groups"]] == [
        ("items.parquet", "item_id", "blanks around an id", 1),
        ("judgments.parquet", "grade", "duplicate row", 2),
        ("judgments.parquet", "query_id", "unknown id", 1),
    ]
    assert [row["row"] for row in found["groups"][1]["first"]] == [2, 3]
    assert [(g["rule"], g["count"]) for g in found["notices"]] == [("blanks around a text", 1), ("text not in NFC", 1)]
    assert len(found["problems"]) == 4


def test_notices_fail_only_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = good()
    dataset = make(dataset.queries.to_list(), [*dataset.items.to_list(), {"item_id": "c", "title": " "}],
                   dataset.judgments.to_list())  # fmt: skip
    folder = str(dataset.save(tmp_path / "shop"))
    assert run(capsys, "data", "check", folder)[0] == 0
    assert "empty title" in run(capsys, "data", "check", folder)[1]
    assert "empty title" not in run(capsys, "data", "check", folder, "--quiet")[1]
    code, out, _ = run(capsys, "data", "check", folder, "--strict")
    assert code == 1
    assert "items.parquet, row 3, column title: the title ' ' is empty" in out


def test_fix_mends_a_saved_folder_in_place(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "data", "check", str(broken), "--fix")
    assert code == 0, out
    assert out.splitlines() == [*MENDED, f"written: {broken}", f"{broken}: no problems found"]
    mended = GradedDataset.load(broken)
    assert mended.items["title"][:] == ["Café", "Hat"]
    assert mended.items["item_id"][:] == ["a", "b"]
    assert len(mended.judgments) == 2
    before = {path.name: path.stat().st_mtime_ns for path in broken.iterdir()}
    code, out, _ = run(capsys, "data", "check", str(broken), "--fix")
    assert (code, out.splitlines()) == (0, ["nothing that --fix mends", f"{broken}: no problems found"])
    assert {path.name: path.stat().st_mtime_ns for path in broken.iterdir()} == before
    assert sorted(path.name for path in broken.parent.iterdir()) == ["broken"]


def test_fix_to_another_folder_leaves_the_first_alone(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = GradedDataset.load(broken, validate=False).fingerprint
    code, out, _ = run(capsys, "data", "check", str(broken), "--fix", "--out", str(tmp_path / "new"), "--json")
    found = json.loads(out)
    assert code == 0
    assert sum(mend["count"] for mend in found["mended"]) == 7
    assert found["problems"] == []
    assert found["written"] == str(tmp_path / "new")
    assert GradedDataset.load(broken, validate=False).fingerprint == before
    assert GradedDataset.load(tmp_path / "new").problems() == []


def test_fix_tells_what_it_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make(
        [{"query_id": "q", "text": "x "}], [{"item_id": "a", "title": "A"}],
        [{"query_id": "q", "item_id": "a", "grade": 1}, {"query_id": "q", "item_id": "a", "grade": 2}],
    )  # fmt: skip
    folder = dataset.save(tmp_path / "shop")
    code, out, _ = run(capsys, "data", "check", str(folder), "--fix")
    assert code == 1
    assert "queries, column text: blanks around a text: 1 mended" in out
    assert "judgments.parquet, column grade: contradicting pair: 1" in out


def test_fix_of_other_sources_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "check", "marketplace", "-o", "size=tiny", "--fix")
    assert code == 2
    assert "add --out DIR" in err
    csv = tmp_path / "judged.csv"
    csv.write_text("query_id,query,item_id,title,grade\nq1,mug,a, Mug,2\nq1,mug,a, Mug,2\nq1,mug,b,Hat,0\n")
    assert run(capsys, "data", "check", str(csv), "--fix")[0] == 2
    code, _, _ = run(capsys, "data", "check", "marketplace", "-o", "size=tiny", "--out", str(tmp_path / "m"))
    assert code == 2


def test_fix_of_a_csv_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "judged.csv"
    csv.write_text("query_id,text,item_id,title,grade\nq1,mug,a, Mug,2\nq1,mug,a, Mug,2\nq1,mug,b,Hat,0\n")
    code, out, _ = run(capsys, "data", "check", str(csv))
    assert code == 1
    assert "judged.csv, row 2, column grade: the pair (q1, a) stands in row 1 already" in out
    code, out, _ = run(capsys, "data", "check", str(csv), "--fix", "--out", str(tmp_path / "new"))
    assert code == 0, out
    assert out.splitlines()[:2] == [
        "items, column title: blanks around a text: 1 mended", "judgments: duplicate row: 1 dropped"
    ]  # fmt: skip
    mended = GradedDataset.load(tmp_path / "new")
    assert mended.items["title"][:] == ["Mug", "Hat"]
    assert mended.judgments["grade"][:] == [2, 0]


def test_fix_of_what_cannot_be_read(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (broken / "items.parquet").write_bytes(b"PAR1")
    code, out, _ = run(capsys, "data", "check", str(broken), "--fix")
    assert code == 1
    assert out.startswith("--fix needs tables that can be read")
    code, _, err = run(capsys, "data", "convert", str(broken), str(broken.parent / "new"), "--fix")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "items.parquet: not a readable Parquet file" in err


def test_convert_mends_on_the_way(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_folder = tmp_path / "new"
    code, _, err = run(capsys, "data", "convert", str(broken), str(out_folder))
    assert code == 1
    assert "blanks around the id 'b '" in err
    assert not out_folder.exists()
    code, out, _ = run(capsys, "data", "convert", str(broken), str(out_folder), "--fix")
    assert code == 0
    assert out.splitlines()[: len(MENDED)] == MENDED
    assert GradedDataset.load(out_folder).problems() == []


def test_convert_stops_at_what_fix_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make([{"query_id": "q", "text": "x "}], [{"item_id": "a", "title": "A"}],
                   [{"query_id": "q", "item_id": "z", "grade": 1}])  # fmt: skip
    folder = dataset.save(tmp_path / "shop")
    code, _, err = run(capsys, "data", "convert", str(folder), str(tmp_path / "new"), "--fix")
    assert code == 1
    assert "queries, column text: blanks around a text: 1 mended" in err
    assert "'z' is not in items" in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_build_and_convert_give_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("marketplace", str(tmp_path / "m"), "-o", "size=tiny", "--json")
    code, out, _ = run(capsys, "data", "build", *words)
    assert code == 0
    built = json.loads(out)
    assert built["items"] == 250
    code, out, _ = run(capsys, "data", "convert", str(tmp_path / "m"), str(tmp_path / "n"), "--json")
    assert json.loads(out)["fingerprint"] == built["fingerprint"]
    code, out, _ = run(capsys, "data", "convert", str(tmp_path / "m"), str(tmp_path / "mteb"), "--mteb", "--json")
    assert code == 0
    assert (tmp_path / "mteb").is_dir()


def test_convert_needs_a_target(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "data", "convert", str(folder))[0] == 2
    assert run(capsys, "data", "convert", str(folder), "--mteb", "--push", "org/x")[0] == 2


def test_convert_pushes_to_the_hub(hub: Any, folder: Path, tmp_path: Path) -> None:
    from loopback_hub import run_client

    code = "import sys; from mr_st.cli.main import main; main(sys.argv[1:])"
    done = run_client(hub.endpoint, tmp_path, code, "data", "convert", str(folder), "--push", "org/shop", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert "org/shop/commit/" in facts["commit"]
    done = run_client(hub.endpoint, tmp_path, code, "data", "convert", "org/shop", str(tmp_path / "back"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fingerprint"] == facts["fingerprint"] == GradedDataset.load(folder).fingerprint


def test_describe_prints_tables_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "data", "describe", str(folder))
    assert (code, err) == (0, "")
    assert all(title in out for title in ("Splits", "Lengths", "Locales", "Without judgments in train", "Shared by"))
    assert "2 (50.0%)" not in out
    assert "1 (50.0%)" in out  # a relevant and an irrelevant judgment in each split
    code, out, _ = run(capsys, "data", "describe", str(folder), "--json")
    assert json.loads(out) == GradedDataset.load(folder).describe()


def test_describe_draws(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "new" / "shop.svg"
    code, out, _ = run(capsys, "data", "describe", str(folder), "--plot", str(plot), "--json")
    assert code == 0
    assert json.loads(out)["plot"] == str(plot)
    assert "<svg" in plot.read_text()
    code, _, err = run(capsys, "data", "describe", str(folder), "--plot", str(tmp_path / "shop.gif"))
    assert code == 2
    assert ".png, .svg or .pdf" in err


def test_describe_prints_samples(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("data", "describe", "marketplace", "-o", "size=tiny", "--samples", "3", "--seed", "4")
    code, out, _ = run(capsys, *words, "--json")
    samples = json.loads(out)["samples"]
    assert code == 0
    assert [sample["grade"] for sample in samples] == [2] * 3 + [1] * 3 + [0] * 3
    assert all(sample["reason"] for sample in samples)
    code, out, _ = run(capsys, *words)
    assert all(title in out for title in ("2 relevant", "1 partial", "0 irrelevant"))
    code, _, err = run(capsys, *words, "--locale", "xx")
    assert code == 2
    assert "no judged query has the locale 'xx'" in err


def test_text_out_of_data_is_shown_and_never_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = GradedDataset.from_tables(
        [{"query_id": "q", "text": "[bold]mug[/bold] \x1b[31mred"}],
        [{"item_id": "a\x1b[2J", "title": "[/nothing] \x07 title\nsecond line"}],
        [{"query_id": "q", "item_id": "a\x1b[2J", "grade": 2}],
        name="[red]shop\x1b[0m",
    )
    folder = str(dataset.save(tmp_path / "shop"))
    code, out, _ = run(capsys, "data", "check", folder, "--all")
    assert code == 1
    assert "\x1b" not in out
    from mr_st.cli.data_print import facts_tables, samples_tables
    from mr_st.cli.io import Out
    from mr_st.data.describe_samples import draw_samples

    Out().result(None, samples_tables(draw_samples(dataset, 1)))
    Out().result(None, facts_tables(dataset.describe()))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[bold]mug[/bold]" in printed
    assert "[/nothing]" in printed
    assert "[red]shop" in printed


def test_the_help_names_every_source_and_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    from mr_st.data.sources import source_names

    assert all(name in SOURCES_HELP for name in source_names())
    for command in ("build", "check", "describe", "convert"):
        code, out, _ = run(capsys, "data", command, "--help")
        assert code == 0
        assert f"mr-st data {command}" in " ".join(out.split())
        assert "Example" in out


def test_options_are_yaml() -> None:
    assert parse_options(["size=tiny", "seed=1", "locale=[us, es]", "share=0.5"]) == {
        "size": "tiny", "seed": 1, "locale": ["us", "es"], "share": 0.5
    }  # fmt: skip
    assert parse_options(["a=2e-4", "b=-1.5E+3", "c=1.e-2", "d=12e4567", "e='2e-4'", "f=2e-4x", "g=1e-4-5"]) == {
        "a": 2e-4, "b": -1500.0, "c": 0.01, "d": "12e4567", "e": "2e-4", "f": "2e-4x", "g": "1e-4-5"
    }  # fmt: skip
    for wrong in ("size", "=tiny", "size=[", "x=!!python/object/apply:os.getcwd []"):
        with pytest.raises(UsageError, match="--option"):
            parse_options([wrong])
