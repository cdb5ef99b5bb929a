"""The page's statistics agree with Python's: the same arrays in Chromium and in mr_st.measures."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from mr_st.measures import holm, paired_bootstrap, paired_permutation_test

pytestmark = pytest.mark.browser

ASSETS = Path(__file__).parents[2] / "leaderboard" / "assets"
N_SIGNS = 10_000


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    page = chromium.new_page()
    page.set_content("<main></main>")
    page.evaluate("() => { window.MR = {}; }")
    page.evaluate(f"() => {{ {(ASSETS / 'statistics.js').read_text(encoding='utf-8')} }}")
    yield page
    page.close()


def scores(n: int, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if kind == "ndcg":
        a = rng.beta(2, 2, n)
        b = np.clip(a + rng.normal(0.02, 0.12, n), 0, 1)
    elif kind == "skewed":
        a = np.zeros(n)
        b = np.where(rng.random(n) < 0.3, rng.exponential(0.2, n), 0.0)
    else:
        a, b = rng.integers(0, 2, n).astype(float), rng.integers(0, 2, n).astype(float)
    return a, b


@pytest.mark.parametrize("n", [10, 41, 300])
@pytest.mark.parametrize("kind", ["ndcg", "skewed", "success"])
def test_difference_and_interval_are_pythons(page: Any, n: int, kind: str) -> None:
    a, b = scores(n, n, kind)
    found = page.evaluate("([a, b]) => MR.statistics.compare(a, b)", [a.tolist(), b.tolist()])
    expected = paired_bootstrap(a, b, 0, 20_000)
    others = [paired_bootstrap(a, b, seed, 2000) for seed in range(1, 9)]
    assert found["n"] == n
    assert found["difference"] == pytest.approx(expected.value, abs=1e-6)
    assert found["a"] == pytest.approx(a.mean(), abs=1e-9)
    # As far from the limit as other seeds of Python's own: 5 of their deviations and 1 % of the half-width.
    for end in ("low", "high"):
        spread = float(np.std([getattr(other, end) for other in others]))
        assert found[end] == pytest.approx(getattr(expected, end), abs=5 * spread + 0.01 * expected.half_width), end


@pytest.mark.parametrize("n", [1, 2, 5, 13])
def test_few_differing_queries_have_pythons_exact_p(page: Any, n: int) -> None:
    a, b = scores(n, n, "ndcg")
    a, b = np.append(a, [0.5] * 20), np.append(b, [0.5] * 20)
    found = page.evaluate("([a, b]) => MR.statistics.compare(a, b)", [a.tolist(), b.tolist()])
    assert found["p"] == pytest.approx(paired_permutation_test(a, b), abs=1e-9)


@pytest.mark.parametrize(("n", "kind"), [(14, "ndcg"), (60, "ndcg"), (333, "ndcg"), (80, "skewed"), (120, "success")])
def test_random_p_is_within_its_monte_carlo_error(page: Any, n: int, kind: str) -> None:
    a, b = scores(n, n + 1, kind)
    found = page.evaluate("([a, b]) => MR.statistics.compare(a, b).p", [a.tolist(), b.tolist()])
    p = paired_permutation_test(a, b, 0, 100_000)
    error = sqrt(p * (1 - p) * (1 / N_SIGNS + 1 / 100_000))
    assert abs(found - p) <= 3 * error + 1 / N_SIGNS


def test_reach_of_student_is_scipys(page: Any) -> None:
    freedoms = [1, 2, 3, 9, 39, 399, 22_457]
    found = page.evaluate("(list) => list.map((f) => MR.statistics.studentReach(f))", freedoms)
    assert found == pytest.approx([float(student.ppf(0.975, f)) for f in freedoms], rel=1e-8)


def test_holm_is_pythons(page: Any) -> None:
    values = [0.01, 0.04, nan, 0.03, 0.5, 0.0001]
    found = page.evaluate("(list) => MR.statistics.holm(list)", values)
    assert [None if isnan(x) else x for x in found] == [
        None if isnan(x) else pytest.approx(x, abs=1e-15) for x in holm(np.array(values))
    ]


def test_what_only_one_has_is_left_out_and_counted(page: Any) -> None:
    found = page.evaluate("() => MR.statistics.compare([.1, NaN, .3, .4, .5], [.2, .2, .3, NaN, .1, .9])")
    assert (found["n"], found["wins"], found["ties"], found["losses"]) == (3, 1, 1, 1)
    assert found["onlyOne"] == 3
    assert found["difference"] == pytest.approx((0.1 + 0 - 0.4) / 3, abs=1e-9)


def test_fewer_than_ten_queries_get_no_interval_and_no_p(page: Any) -> None:
    nine, ten = ([0.1] * 9, [0.3] * 9), ([0.1] * 10, [0.3] * 10)
    found = page.evaluate("([a, b]) => MR.statistics.compare(a, b)", list(nine))
    assert isnan(found["low"])
    assert isnan(found["p"])
    assert found["difference"] == pytest.approx(0.2)
    found = page.evaluate("([a, b]) => MR.statistics.compare(a, b)", list(ten))
    assert found["p"] == pytest.approx(2 / 1024)


def test_only_the_kept_queries_count(page: Any) -> None:
    a, b = scores(40, 3, "ndcg")
    kept = np.arange(40) < 25
    found = page.evaluate(
        "([a, b, kept]) => MR.statistics.compare(a, b, kept)", [a.tolist(), b.tolist(), kept.tolist()]
    )
    assert found["n"] == 25
    assert found["difference"] == pytest.approx(float((b - a)[kept].mean()), abs=1e-9)


def test_the_same_seed_gives_the_same_result(page: Any) -> None:
    a, b = scores(50, 5, "ndcg")
    once, again = (page.evaluate("([a, b]) => MR.statistics.compare(a, b)", [a.tolist(), b.tolist()]) for _ in "ab")
    assert once == again
