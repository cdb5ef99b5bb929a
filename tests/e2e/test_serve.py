"""A fitted language model behind a real `transformers serve` gives the grades that it gives in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

from bench_serve import answers, served  # noqa: E402 - scripts are no package


@pytest.mark.slow
def test_500_pairs_get_the_same_grade_wherever_the_answer_parses(tmp_path):
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench_serve.py"), "--json", str(figures)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    print(done.stdout)  # with -s: the share that does not parse
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(figures.read_text())
    assert found["n_pairs"] == 500
    assert found["same_grade"] == found["parsed"] == round(500 * (1 - found["unparsed_share"]))
    assert found["unparsed_share"] <= 0.1  # it learned to answer with a label and to stop
    assert found["unparsed_share"] >= 1 - found["first_choice_is_a_label"]  # what is no label first cannot be parsed
    assert sum(n > 0 for n in found["by_grade"]) > 1  # not one and the same answer to everything
    assert found["base_unparsed_share"] > 0.5  # before the fit, it talks


@pytest.mark.slow
def test_the_server_is_gone_after_an_error(tmp_path):
    urls = []
    with pytest.raises(KeyboardInterrupt), served(tmp_path / "serve.log") as url:
        urls.append(url.replace("/v1", "/health"))
        assert answers(urls[0])
        raise KeyboardInterrupt
    assert not answers(urls[0])
