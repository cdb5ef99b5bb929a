"""The wheel carries everything (templates, recipes, assets), and the model loads without this project."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

RECIPE = """
name: from-a-wheel
data: {{source: marketplace, options: {{size: tiny}}}}
model: {{base: {base}}}
stage1: {{loss: supcon, max_steps: 2, queries_per_batch: 4, evaluations: 1}}
mining: {{k: 20}}
stage2: {{loss: circle, max_steps: 2, queries_per_batch: 4, evaluations: 1}}
evaluation: {{dev_items: 50}}
publish: {{repo_id: test/from-a-wheel}}
"""

LOAD_WITHOUT_US = """
import sys
sys.modules["mr_st"] = None  # whoever imports it fails
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
np.save(sys.argv[2], np.stack([model.encode_query("red running shoes"), model.encode_document("blue mug")]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    if names.returncode != 0:
        pytest.skip("not a git checkout: nothing tells which files belong to the project")
    for name in names.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    target = folder / "installed"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(target)
    return target


def test_package_data_is_in_the_wheel(installed: Path) -> None:
    for name in ("recipes/marketplace.yaml", "hub/card_template.md", "py.typed", "tasks/marketplace.py",
                 "tasks/templates/task.py.txt", "evaluation/graded_retrieval_metric/README.md"):  # fmt: skip
        assert (installed / "mr_st" / name).is_file(), name
    assert list((installed / "mr_st" / "leaderboard" / "templates").iterdir())
    assert list((installed / "mr_st" / "leaderboard" / "assets").iterdir())


def test_the_metric_folder_loads_from_the_wheel_without_a_network(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, socket; sys.path.insert(0, sys.argv[1])\n"
        "def refuse(*_): raise OSError('the network was asked')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import evaluate; from mr_st.evaluation import metric_folder\n"
        "assert metric_folder().startswith(sys.argv[1])\n"
        "row = {'item_ids': ['a', 'b'], 'scores': [0.9, 0.5]}, {'item_ids': ['b'], 'grades': [1]}\n"
        "print(evaluate.load(metric_folder()).compute(predictions=[row[0]], references=[row[1]], ks=[2])['mrr@2'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed.resolve())], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0.5"


@pytest.mark.slow
def test_the_job_runs_from_an_empty_folder_and_the_model_stands_alone(
    installed: Path, tmp_path: Path, tiny_base: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=tiny_base))
    empty = tmp_path / "empty"
    empty.mkdir()
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "import mr_st, os; assert os.path.realpath(mr_st.__file__).startswith(os.path.realpath(sys.path[0]))\n"
        "from mr_st.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), "run", str(recipe), "--quiet"],
        cwd=empty,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    out = empty / "runs" / "from-a-wheel"
    model = out / "published" / "from-a-wheel"
    assert (out / "leaderboard" / "site" / "index.html").is_file()
    assert "ndcg@10" in done.stdout

    import numpy as np
    from sentence_transformers import SentenceTransformer

    vectors = tmp_path / "vectors.npy"
    alone = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_US, str(model), str(vectors)], capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr
    here = SentenceTransformer(str(model), device="cpu")
    expected = np.stack([here.encode_query("red running shoes"), here.encode_document("blue mug")])
    np.testing.assert_allclose(np.load(vectors), expected, atol=1e-6)
    assert not np.allclose(here.encode_query("red mug"), here.encode_document("red mug"), atol=1e-6)  # two heads
