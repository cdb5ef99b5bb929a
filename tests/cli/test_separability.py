from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mr_st.cli.main import main
from mr_st.data import GradedDataset
from mr_st.evaluation import Collection, GradedReport, evaluate_system
from mr_st.search import TopK


class Known:
    """Similarity by grade: the sharper, the further the grades stand apart."""

    facts: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str, sharp: float, gives_similarities: bool = True):
        self.name, self.revision, self.settings = name, "r" * 12, {"kind": "known", "sharp": sharp}
        self.sharp, self.gives_similarities = sharp, gives_similarities

    def search(self, collection: Collection, k: int) -> TopK:
        n, k = collection.n_queries, min(k, len(collection.item_ids))
        return TopK(np.tile(np.arange(k), (n, 1)), np.zeros((n, k), np.float32))

    def score_pairs(self, collection: Collection) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 0.08, collection.judged.n_pairs)
        return 0.1 + self.sharp * collection.judged.grades + noise


def shop(n_queries: int = 30) -> GradedDataset:
    items = [{"item_id": f"i{i}", "title": f"thing {i}", "category_path": [], "locale": "en-US"} for i in range(12)]
    queries = [{"query_id": f"q{q}", "text": f"thing {q % 12}", "locale": "en-US"} for q in range(n_queries)]
    rng = np.random.default_rng(0)
    judgments = [
        {"query_id": f"q{q}", "item_id": f"i{i}", "grade": int(rng.integers(3)), "split": "test"}
        for q in range(n_queries)
        for i in range(12)
    ]
    return GradedDataset.from_tables(queries, items, judgments, name="shop of things")


def run(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["separability", *map(str, arguments)])
    assert (stopped.value.code or 0) == code


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("of") / "results"
    collection = Collection.from_dataset(shop(), "test")
    kinds = (["organic", "spelling"] * collection.n_queries)[: collection.n_queries]
    collection = replace(collection, attributes={**collection.attributes, "kind": kinds})
    for system in (Known("lab/dull", 0.05), Known("lab/sharp", 0.25), Known("lab/bm25", 0.25, False)):
        evaluate_system(system, collection, task_name="Shop", ks=(5,)).save(folder)
    evaluate_system(Known("lab/sharp", 0.25), collection, task_name="Mall", ks=(5,)).save(folder)
    return folder


def test_two_models_side_by_side(results: Path, capsys) -> None:
    run("lab/dull", "lab/sharp", "--task", "Shop", "--results", results)
    shown = capsys.readouterr().out
    for part in ("Shop, test: 0 irrelevant, 1 partial, 2 relevant", "lab/dull", "lab/sharp", "2 over 0", "AUC pooled",
                 "\u2265 1 partial", "cross-fitted", "kind: organic", "kind: spelling", "lost"):  # fmt: skip
        assert part in shown
    report = GradedReport.load(results / "lab__sharp" / ("r" * 12) / "Shop.json")
    margin = report["margin_average_2_0"]
    assert f"{margin.value:.3f} [{margin.low:.3f}, {margin.high:.3f}]" in shown
    threshold = report.separability["boundaries"][1]["threshold"]
    assert f"{threshold['value']:.3f} [{threshold['low']:.3f}, {threshold['high']:.3f}]" in shown


def test_json_and_figures(results: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "figures"
    run("lab/dull", "lab/sharp", "-t", "Shop", "--results", results, "--out", out, "--json", "--quiet")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert (found["task"], found["grades"]) == ("Shop", ["irrelevant", "partial", "relevant"])
    dull, sharp = found["models"]
    assert (dull["model"], sharp["model"]) == ("lab/dull", "lab/sharp")
    first = [model["separability"]["pairs"][0] for model in (dull, sharp)]
    assert first[0]["auc_pooled"]["high"] < first[1]["auc_pooled"]["low"]
    assert first[0]["margin_average"]["value"] == pytest.approx(0.1, abs=0.02)
    assert first[1]["margin_average"]["value"] == pytest.approx(0.5, abs=0.02)
    assert sorted(Path(path).name for path in found["figures"]) == sorted(
        f"{name}.{end}" for name in ("similarity", "margins", "thresholds") for end in ("png", "svg")
    )
    assert all(Path(path).stat().st_size > 1000 for path in found["figures"])


def test_formats_and_a_result_file(results: Path, tmp_path: Path, capsys) -> None:
    path = results / "lab__sharp" / ("r" * 12) / "Shop.json"
    run(path, "--out", tmp_path, "--format", "pdf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["margins.pdf", "similarity.pdf", "thresholds.pdf"]
    assert "figures: " in capsys.readouterr().err


def test_one_model_twice_is_told_apart(results: Path, capsys) -> None:
    run("lab/sharp", "lab/sharp", "-t", "Shop", "--results", results)
    shown = capsys.readouterr().out
    assert "lab/sharp (rrrrrrrr) #1" in shown
    assert "lab/sharp (rrrrrrrr) #2" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lab/bm25", "-t", "Shop"], 2, "lab/bm25 on Shop: its scores are no similarities"),
        (["lab/sharp", "MALL"], 2, "task is"),
        (["lab/none", "-t", "Shop"], 2, "no result of lab/none on Shop"),
        (["lab/sharp"], 2, "--task is needed"),
        (["nowhere.json"], 1, "nowhere.json: no such result file"),
        (["lab/sharp", "-t", "Shop", "--split", "dev"], 2, "no split 'dev'"),
    ],
)
def test_wrong_use_is_one_line(results: Path, capsys, arguments: list[str], code: int, message: str) -> None:
    shop_file, mall_file = (str(results / "lab__sharp" / ("r" * 12) / f"{task}.json") for task in ("Shop", "Mall"))
    if "MALL" in arguments:
        arguments = [shop_file, mall_file]
    run(*arguments, "--results", results, code=code)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
