"""``mr-st evaluate``: systems on tasks, what is served again, and that nothing is ever served for another thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mr_st.cli.evaluate_jobs import task_options
from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.errors import UsageError
from mr_st.evaluation import GradedReport

COLOURS = "red blue black white green".split()
THINGS = "shoes shirt mouse keyboard mug kettle chair desk lamp hose".split()


def build(folder: Path, best: int = 2) -> Path:
    """A shop of 50 things with 12 test queries, saved as a dataset; ``best`` is the grade of the first one's item."""
    items = [
        {"item_id": f"{c}-{t}", "title": f"{c} {t}" + " made of steel" * (len(c) % 2), "category_path": [t, c]}
        for t in THINGS
        for c in COLOURS
    ]
    queries, judgments = [], []
    for n in range(12):
        thing, colour = THINGS[n % 10], COLOURS[(n + n // 10) % 5]
        queries.append({"query_id": f"q{n}", "text": f"{colour} {thing}", "locale": "en-US"})
        grades = {f"{c}-{thing}": 1 for c in COLOURS} | {f"{colour}-{thing}": best if n == 0 else 2}
        grades |= {f"{colour}-{t}": 0 for t in THINGS if t != thing}
        judgments += [{"query_id": f"q{n}", "item_id": i, "grade": g, "split": "test"} for i, g in grades.items()]
    items = [{**item, "locale": "en-US"} for item in items]
    return GradedDataset.from_tables(queries, items, judgments, name="colours").save(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("data") / "shop")


@pytest.fixture
def here(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a model in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoder").symlink_to(tiny_base)
    return tmp_path


@pytest.fixture
def evaluate(here: Path, data: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command on the shop as an ESCI task; gives the JSON."""

    def run(*words: Any, path: Path = data) -> list[dict[str, Any]]:
        return found(capsys, *words, "--task", "ESCIRetrieval", "-o", f"path={path}")

    return run


@pytest.fixture
def market(here: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command on a tiny marketplace, whose task has subsets; gives the JSON."""
    return lambda *words: found(capsys, *words, "--task", "MarketplaceRetrieval", "-o", "size=tiny")


def found(capsys: pytest.CaptureFixture[str], *words: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert code_of(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def code_of(*words: Any, command: str = "evaluate") -> int:
    try:
        main([command, *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def wholes(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in found if one["subset"] == "default"]


def figure(one: dict[str, Any], metric: str = "ndcg@10") -> float:
    return one["metrics"][metric]["value"]


def system_file(called: str, /, **content: Any) -> str:
    Path(called).write_text(yaml.safe_dump(content))
    return called


# ---- what it does ---------------------------------------------------------------------------------------------------


def test_several_systems_on_a_task_and_its_twin(evaluate, here: Path) -> None:
    found = evaluate("bm25", "random", "encoder", "--twin")
    assert [(one["model"], one["task"]) for one in wholes(found)] == [
        (model, task)
        for model in ("mr-st/bm25", "mr-st/random", f"local/{(here / 'encoder').resolve().parent.name}")
        for task in ("ESCIRetrieval", "ESCIGradedReranking")
    ]
    assert {one["protocol"]["corpus"] for one in found} == {"full catalogue", "judged pool"}
    for one in found:
        report = GradedReport.load(one["file"], one["split"], one["subset"])
        assert report.metrics["ndcg@10"].value == figure(one)
        assert report.revision == one["revision"]
    words, chance, model = (figure(one) for one in wholes(found)[::2])
    assert words > model > 0
    assert words > chance


def test_a_model_is_encoded_once_for_tasks_and_twins(evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    import mr_st.evaluation.bi_encoder as module

    encoded: list[str] = []
    whole = module.encode

    def counting(model, texts, *rest, **more):
        encoded.extend(texts)
        return whole(model, texts, *rest, **more)

    monkeypatch.setattr(module, "encode", counting)
    hybrid = system_file("h.yaml", kind="hybrid", parts={"dense": "encoder", "words": "bm25"})
    evaluate("encoder", hybrid, "--twin")
    assert len(encoded) == len(set(encoded)) == 50 + 12


def test_the_table_has_intervals_and_the_judged_share(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bm25", "random", "--task", "MarketplaceRetrieval", "-o", "size=tiny"]
    assert code_of(*arguments, "--subset", "head") == 0
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if line[0] in "│┃"]
    rows = [[cell.strip() for cell in line.split(line[0])[1:-1]] for line in lines]
    assert rows[0] == ["system", "subset", "queries", "NDCG@10", "MRR@10", "Recall@100", "Judged share@10"]
    report = GradedReport.load(next((here / "results" / "mr-st__bm25").glob("*/Marketplace*.json")))
    main = report["ndcg@10"]
    assert rows[1][:4] == ["mr-st/bm25", "all", str(main.n), f"{main.value:.4f} [{main.low:.4f}, {main.high:.4f}]"]
    assert rows[1][-1] == f"{report['judged@10'].value:.0%}"
    assert [row[1] for row in rows[1:]] == ["all", "head", "all", "head"]
    assert f"[2/2] mr-st/random on {report.task_name}: ndcg@10 0." in said.err
    hint = next(line for line in said.err.splitlines() if "mr-st compare" in line)
    run_hint = hint.partition("mr-st ")[2].split()
    assert code_of(*run_hint[1:], command=run_hint[0]) == 0
    assert "mr-st/random" in capsys.readouterr().out
    assert code_of(*arguments, "--quiet", "--metric", "map@50") == 0
    said = capsys.readouterr()
    assert (said.err, "MAP@50" in said.out, "NDCG" in said.out) == ("", True, False)


def test_a_run_that_was_written_gives_the_same_figures(evaluate, here: Path) -> None:
    for ks in ("10,50", "10,200"):
        (direct,) = wholes(evaluate("encoder", "--trec", f"trec{ks}", "--k", ks))
        (run,) = (here / f"trec{ks}").glob("ESCIRetrieval.test.*.run")
        (again,) = wholes(evaluate(run, "--k", ks))
        assert {m: v for m, v in again["metrics"].items() if m.endswith(("@10", "@50"))} == {
            m: v for m, v in direct["metrics"].items() if m.endswith(("@10", "@50"))
        }
    (pool,) = wholes(evaluate("encoder", "--judged-pool", "--trec", "twin"))
    (run,) = (here / "twin").glob("*.run")
    assert figure(wholes(evaluate(run, "--judged-pool"))[0]) == figure(pool)
    assert (here / "twin" / "ESCIGradedReranking.test.qrels").read_text().startswith("q0 0 ")


def test_a_run_files_gaps_are_told(evaluate, here: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.run").write_text("q1 Q0 red-mug 1 1 t\nq1 Q0 nowhere 2 0.5 t\nz Q0 red-mug 1 1 t\n")
    assert code_of("x.run", "--task", "ESCIRetrieval", "-o", f"path={data}") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("x.run: ")]
    assert told == [
        "x.run: 1 queries; 11 queries missing, which count as empty; 1 queries that are not evaluated; "
        "1 lines whose item is not in the catalogue, left out"
    ]


# ---- what is served again -------------------------------------------------------------------------------------------


def test_what_is_there_is_not_evaluated_again(evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    import mr_st.evaluation.bi_encoder as module

    first = evaluate("encoder", "bm25")
    assert all(one["is_new"] for one in first)
    whole = module.encode
    monkeypatch.setattr(module, "encode", lambda *given, **more: pytest.fail("it was encoded again"))
    second = evaluate("encoder", "random", "bm25")
    assert [one["is_new"] for one in wholes(second)] == [False, True, False]
    kept = [one for one in second if one["model"] != "mr-st/random"]
    assert [{**one, "is_new": True} for one in kept] == first
    monkeypatch.setattr(module, "encode", whole)
    assert all(one["is_new"] for one in evaluate("encoder", "--again"))


def test_parts_that_a_killed_run_did_not_write_are_cut_out_of_the_whole(market) -> None:
    first = market("bm25")
    assert {one["subset"] for one in first} > {"default", "head"}
    path = Path(first[0]["file"])
    content = json.loads(path.read_text())
    content["scores"]["test"] = [one for one in content["scores"]["test"] if one["hf_subset"] == "default"]
    path.write_text(json.dumps(content))
    second = market("bm25")
    assert [{**one, "is_new": True} for one in second] == first
    assert not any(one["is_new"] for one in second)
    subsets = [one["hf_subset"] for one in json.loads(path.read_text())["scores"]["test"]]
    assert sorted(subsets) == sorted(one["subset"] for one in first)


def test_more_cut_offs_are_added_to_those_that_are_there(evaluate) -> None:
    for k, is_new, ks in (
        ("10", True, [10]),
        ("5", True, [5, 10]),
        ("10,5", False, [5, 10]),
        ("50", True, [5, 10, 50]),
    ):
        (one,) = wholes(evaluate("bm25", "--k", k))
        assert (one["is_new"], one["protocol"]["ks"]) == (is_new, ks)


@pytest.mark.parametrize("content", ["{", "[]", '{"scores": {"test": [{"hf_subset": "default"}]}}'])
def test_a_damaged_result_is_made_anew(evaluate, content: str) -> None:
    (first,) = wholes(evaluate("bm25"))
    Path(first["file"]).write_text(content)
    (second,) = wholes(evaluate("bm25"))
    assert second == first
    assert second["is_new"]


@pytest.mark.slow
def test_a_killed_command_resumes(here: Path, data: Path) -> None:
    """Killed in the second system: the first one's result is kept, and served."""
    (here / "slow.py").write_text(
        "import sys\nfrom mr_st.cli.main import main\nfrom mr_st.evaluation.systems.random import RandomSystem\n"
        "import os\nRandomSystem.search = lambda *given: os.kill(os.getpid(), 9)\nmain(sys.argv[1:])\n"
    )
    words = ["evaluate", "bm25", "random", "--task", "ESCIRetrieval", "-o", f"path={data}", "--json"]
    killed = subprocess.run([sys.executable, "slow.py", *words], cwd=here, env=dict(os.environ), capture_output=True)
    assert killed.returncode == -9
    ran = subprocess.run([sys.executable, "-m", "mr_st.cli.main", *words], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert [one["is_new"] for one in wholes(json.loads(ran.stdout))] == [False, True]


# ---- never one result for another -----------------------------------------------------------------------------------


def test_two_models_of_one_folder_name(evaluate, here: Path, tiny_base: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    other = SentenceTransformer(str(tiny_base), device="cpu")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    for folder, model in (("a", SentenceTransformer(str(tiny_base), device="cpu")), ("b", other)):
        model.save(str(here / folder / "encoder"), create_model_card=False)
    one, two = wholes(evaluate("a/encoder", "b/encoder"))
    assert one["model"] == two["model"] == "local/encoder"
    assert one["revision"] != two["revision"]
    assert one["file"] != two["file"]
    assert figure(one) != figure(two)
    same = wholes(evaluate("b/encoder"))[0]
    assert (same["is_new"], figure(same)) == (False, figure(two))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"kind": "hybrid", "parts": {"a": "encoder", "b": "bm25"}, "weights": {"a": 9, "b": 1}},
            {"kind": "hybrid", "parts": {"a": "encoder", "b": "bm25"}, "weights": {"a": 1, "b": 9}},
        ),
        (
            {"kind": "hybrid", "parts": {"a": "encoder", "b": "bm25"}, "constant": 60},
            {"kind": "hybrid", "parts": {"a": "encoder", "b": "bm25"}, "constant": 0},
        ),
        (
            {"kind": "bi-encoder", "model": "encoder", "prompts": {"query": "mug "}},
            {"kind": "bi-encoder", "model": "encoder", "prompts": {"query": "lamp "}},
        ),
        ({"kind": "bm25"}, {"kind": "bm25", "stop_words": COLOURS}),
        ({"kind": "random", "seed": 1}, {"kind": "random", "seed": 2}),
    ],
)
def test_two_settings_under_one_name(evaluate, first: dict, second: dict) -> None:
    """The same file, edited; what is embedded is kept in a store between the two."""
    found = [wholes(evaluate(system_file("mine.yaml", name="my/system", **content), "--store", "store"))[0]
             for content in (first, second, first)]  # fmt: skip
    assert [one["is_new"] for one in found] == [True, True, False]
    assert {one["model"] for one in found} == {"my/system"}
    assert found[0]["revision"] != found[1]["revision"]
    assert figure(found[0]) != figure(found[1])
    assert figure(found[0]) == figure(found[2])


def test_two_runs_in_one_file(evaluate, here: Path) -> None:
    figures = []
    for score in (2, -2):
        (here / "x.run").write_text(f"q0 Q0 red-shoes 1 {score} t\nq0 Q0 red-mug 2 1 t\n")
        (one,) = wholes(evaluate("x.run"))
        assert one["is_new"]
        figures.append(figure(one))
    assert figures[0] > figures[1]


@pytest.mark.parametrize("option", ["max_chars=16", "item_text_levels=0"])
def test_two_text_formats(evaluate, option: str) -> None:
    (usual,) = wholes(evaluate("encoder", "--store", "store"))
    (other,) = wholes(evaluate("encoder", "--store", "store", "-o", option))
    assert other["is_new"]
    assert other["task"] != usual["task"]
    assert other["file"] != usual["file"]
    assert figure(other) != figure(usual)
    assert not wholes(evaluate("encoder"))[0]["is_new"]


def test_two_gain_schemes(evaluate) -> None:
    names = {}
    for gains in (None, "linear", "exponential", "0,1,3", "0,0.5,1", "0,1,10"):
        (one,) = wholes(evaluate("random", *([] if gains is None else ["--gains", gains])))
        names[gains] = one["task"], one["is_new"], figure(one)
    usual, exponential = names[None], names["exponential"]
    assert usual[:2] == ("ESCIRetrieval", True)
    assert names["linear"] == names["0,0.5,1"] == ("ESCIRetrieval", False, usual[2])
    assert exponential[:2] == ("ESCIRetrieval-gains=exponential", True)
    assert names["0,1,3"][:2] == ("ESCIRetrieval-gains=0+1+3", True)
    assert names["0,1,3"][2] == pytest.approx(exponential[2]) != usual[2]
    assert names["0,1,10"][2] not in (usual[2], exponential[2])


def test_data_that_was_changed_in_place(evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = wholes(evaluate("bm25", path=build(tmp_path / "mine")))
    path = build(tmp_path / "mine", best=0)
    assert code_of("bm25", "--task", "ESCIRetrieval", "-o", f"path={path}", "--quiet", "--json") == 0
    (second,) = wholes(json.loads(capsys.readouterr().out))
    assert (second["is_new"], second["file"]) == (True, first["file"])
    assert figure(second) != figure(first)
    build(tmp_path / "mine")
    assert code_of("bm25", "--task", "ESCIRetrieval", "-o", f"path={path}") == 0
    assert "what stood there was of another protocol (dataset)" in capsys.readouterr().err


# ---- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bm25", "--task", "ESCIRetrival"], "did you mean ESCIRetrieval?"),
        (["bm25", "random", "--name", "one"], "--name was given 1 times for 2 systems"),
        (["bm25", "--name", "a/../b"], "cannot name a file"),
        (["bm25", "--k", "ten"], "--k is 'ten'; expected cut-offs such as 10,50,100"),
        (["bm25", "--k", "0"], "cut-offs must be 1 or more"),
        (["bm25", "--gains", "0,1"], "--gains 0,1: 2 gains for 3 grades"),
        (["bm25", "--gains", "cubic"], "--gains cubic"),
        (["bm25", "--gains", "0,0,0"], "the best grade gains nothing"),
        (["bm25", "--subset", "nowhere"], "--subset nowhere: ESCIRetrieval has no such part; it has default"),
        (["bm25", "--split", "nowhere"], "nowhere"),
        (["bm25", "-o", "WANDSRetrieval.path=x"], "WANDSRetrieval is none of the tasks (ESCIRetrieval)"),
        (["bm25", "--metric", "ndcg@11"], "--metric ndcg@11: there is no such figure here"),
        (["none.yaml"], "none.yaml: cannot read the system file"),
        (["none.run"], "none.run: no such run file"),
        (["no/such/model"], "no such folder"),
    ],
)
def test_wrong_use_is_one_line(
    here: Path, data: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = [] if "--task" in words else ["--task", "ESCIRetrieval"]
    code = code_of(*words, *task, "-o", f"path={data}", "--quiet")
    said = capsys.readouterr()
    assert code in (1, 2)
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err


def test_a_fault_in_a_later_system_is_told_before_the_first_is_evaluated(
    here: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = system_file("wrong.yaml", kind="bm25", k2=1)
    assert code_of("bm25", wrong, "--task", "ESCIRetrieval", "-o", f"path={data}") == 2
    assert "wrong.yaml: k2: unknown key" in capsys.readouterr().err
    assert not (here / "results").exists()


def test_options_of_one_task() -> None:
    assert task_options({"a": 1, "T.b": 2, "T.a": 3}, ["S", "T"]) == {"S": {"a": 1}, "T": {"a": 3, "b": 2}}
    assert task_options({"T.a": 3, "a": 1}, ["T"]) == {"T": {"a": 3}}, "whatever the order"
    with pytest.raises(UsageError, match="U is none of the tasks"):
        task_options({"U.a": 1}, ["S", "T"])
