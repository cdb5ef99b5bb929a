import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mr_st.errors import UsageError
from mr_st.search.cost import choose_plan, predicted
from mr_st.search.unit_costs import DEFAULT_COSTS, GraphCosts, UnitCosts, calibrate

GIB = 2**30
FLAT = GraphCosts(
    add=1e-3, add_growth=0.0, search=1e-6, search_start=0.0, search_growth=0.0, link_bytes=100, value_bytes=2,
    oversampling=1.0, miss=0.01, miss_growth=0.0, miss_decay=1.0,
)  # fmt: skip
COSTS = UnitCosts(
    hardware="a made-up machine", exact=1e-11, exact_place=0.0, rescore=0.0, f16=FLAT,
    i8=dataclasses.replace(FLAT, add=0.5e-3, value_bytes=1), working_bytes=GIB // 4,
)  # fmt: skip

sizes = st.integers(1, 10**9)
some_plans = st.fixed_dictionaries(
    {"dtype": st.sampled_from([None, "f16", "i8"]), "threads": st.integers(1, 64), "expansion": st.integers(1, 2000)}
)


def test_the_sums_are_those_worked_out_by_hand():
    exact = predicted(1_000_000, 20_000, 384, 100, threads=4, costs=COSTS)
    assert exact.seconds == pytest.approx(1e6 * 2e4 * 384 * 1e-11 / 4)
    assert exact.bytes == 1_000_000 * 384 * 2 + GIB // 4
    graph = predicted(1_000_000, 20_000, 384, 100, dtype="i8", expansion=200, threads=4, costs=COSTS)
    assert graph.build_seconds == pytest.approx(1e6 * 0.5e-3)  # one graph is built by one core
    assert graph.search_seconds == pytest.approx(2e4 * 200 * 1e-6 / 4)
    assert graph.bytes == 1_000_000 * (384 + 100 + 768) + GIB // 4
    assert graph.recall == pytest.approx(0.99)  # an expansion of 2 k misses 0.01
    four = predicted(1_000_000, 20_000, 384, 100, dtype="i8", n_shards=4, expansion=200, threads=4, costs=COSTS)
    assert four.build_seconds == pytest.approx(graph.build_seconds / 4)
    assert four.search_seconds == pytest.approx(graph.search_seconds * 4)
    six = predicted(600_000, 1, 384, 100, dtype="i8", n_shards=6, expansion=200, threads=4, costs=COSTS)
    assert six.build_seconds == pytest.approx(2 * 100_000 * 0.5e-3)  # four at once, then two


def test_exact_search_pays_for_its_places_however_few_the_items():
    costs = dataclasses.replace(COSTS, exact_place=1e-9)
    assert costs.exact_seconds(1000, 7, 10, 2, k=100) == pytest.approx(7 * 10 * (1e-11 * 1000 + 1e-9 * 100) / 2)
    assert costs.exact_seconds(50, 7, 10, 1, k=100) == pytest.approx(7 * 10 * (1e-11 * 50 + 1e-9 * 50))


def test_adding_to_a_larger_graph_costs_the_integral_of_the_growth():
    costs = dataclasses.replace(COSTS, f16=dataclasses.replace(FLAT, add_growth=0.1))
    from math import log2

    rows = range(200_000, 400_000, 100)
    total = sum(100 * 1e-3 * (1 + 0.1 * log2(row / 100_000)) for row in rows)
    difference = costs.add_seconds("f16", 400_000, 384) - costs.add_seconds("f16", 200_000, 384)
    assert difference == pytest.approx(total, rel=1e-3)


@given(n=sizes, q=sizes, more=st.integers(1, 1000), plan=some_plans, d=st.integers(8, 4096), k=st.integers(1, 500))
def test_more_work_never_costs_less(n, q, more, plan, d, k):
    base = predicted(n, q, d, k, **plan)
    bigger = [
        predicted(n * more, q, d, k, **plan),
        predicted(n, q * more, d, k, **plan),
        predicted(n, q, d * more, k, **plan),
    ]
    for other in bigger:
        assert other.seconds >= base.seconds * 0.999
        assert other.bytes >= base.bytes
    if plan["dtype"]:
        wider = predicted(n, q, d, k, **plan | {"expansion": plan["expansion"] * 2})
        assert wider.search_seconds >= base.search_seconds
        assert wider.recall >= base.recall
    assert predicted(n, q, d, k, **plan | {"threads": plan["threads"] * 2}).seconds <= base.seconds


@given(
    n=st.integers(1, 10**9), q=st.integers(1, 10**8), threads=st.integers(1, 32), memory=st.integers(1, 4096),
    recall=st.floats(0.5, 1.0),
)  # fmt: skip
def test_the_choice_is_the_quickest_of_what_fits_and_finds_enough(n, q, threads, memory, recall):
    chosen = choose_plan(n, q, 384, 100, memory=memory * GIB, threads=threads, min_recall=recall)
    assert chosen.fits
    assert chosen.bytes <= memory * GIB
    assert chosen.recall >= min(recall, 1.0)
    assert all(not other.fits or other.seconds >= chosen.seconds for other in chosen.alternatives)
    kinds = [(plan.kind, plan.dtype) for plan in (chosen, *chosen.alternatives)]
    assert len(kinds) == len(set(kinds))
    assert ("exact", None) in kinds
    json.dumps(chosen.to_json(), allow_nan=False)


def test_few_queries_are_searched_exactly_and_many_are_worth_an_index():
    # exact: 3.84e-3 s a query and core; the index: 500 s to build, then 1e-4 s a query: even at 134,000 queries
    def kind(n_queries: int) -> str:
        return choose_plan(1_000_000, n_queries, 384, 100, memory=64 * GIB, costs=COSTS, min_recall=0.98).kind

    assert [kind(n) for n in (1, 10_000, 120_000, 150_000, 10_000_000)] == ["exact"] * 3 + ["hnsw"] * 2


def test_an_index_that_lies_there_is_used_for_few_queries():
    plan = choose_plan(1_000_000, 10_000, 384, 100, memory=64 * GIB, costs=COSTS, has_index=True)
    assert plan.kind == "hnsw"
    assert plan.build_seconds == 0


def test_an_approximate_search_may_have_to_be_worth_it():
    quicker = choose_plan(200_000, 2_000_000, 384, 100, memory=8 * GIB)
    assert quicker.kind == "hnsw"
    assert "has to save" not in quicker.reason
    (exact,) = (plan for plan in quicker.alternatives if plan.kind == "exact")
    saved = exact.seconds - quicker.seconds
    wanted = {0.99: "hnsw", 1.01: "exact"}
    for share in (0.99, 1.01):
        plan = choose_plan(200_000, 2_000_000, 384, 100, memory=8 * GIB, min_saving=share * saved)
        assert plan.kind == wanted[share]
    assert "an approximate search has to save" in plan.reason


def test_the_expansion_is_the_smallest_that_is_expected_to_reach_the_recall():
    found = {}
    for recall in (0.9, 0.98, 0.985, 0.995):
        plan = choose_plan(1_000_000, 10**7, 384, 100, memory=64 * GIB, costs=COSTS, min_recall=recall, dtypes=["i8"])
        found[recall] = plan.expansion
        assert plan.recall >= recall
    # misses .01 at 200, .02 at 100, .015 at 133, .005 at 400; in steps of 16; never fewer than k
    assert found == {0.9: 100, 0.98: 100, 0.985: 144, 0.995: 400}


def test_perfect_recall_leaves_exact_search_only():
    plan = choose_plan(10**8, 10**8, 384, 100, memory=8 * GIB, min_recall=1.0)
    assert (plan.kind, plan.alternatives) == ("exact", ())


def test_memory_decides():
    def plan(memory: float, **options):
        return choose_plan(4_000_000, 10**7, 384, 100, memory=int(memory * GIB), costs=COSTS, threads=2, **options)

    roomy, tight = plan(64), plan(2)
    assert (roomy.kind, tight.kind) == ("hnsw", "hnsw")
    assert roomy.n_shards <= 2 < tight.n_shards
    assert tight.bytes <= 2 * GIB
    with pytest.raises(UsageError, match="memory is 256 MiB, but any search here needs"):
        plan(0.25)
    whole = choose_plan(10**6, 10**7, 384, 100, memory=GIB // 2, costs=COSTS, dtypes=())
    assert whole.kind == "exact"  # block by block, however little there is
    assert whole.bytes <= GIB // 2


def test_more_cores_build_more_shards():
    plan = choose_plan(1_000_000, 200_000, 384, 100, memory=64 * GIB, costs=COSTS, threads=8)
    assert plan.n_shards == 8


def test_a_device_does_not_share_its_work_among_cores():
    on_device = dataclasses.replace(COSTS, device="cuda")
    assert on_device.exact_seconds(10, 10, 10, threads=8) == on_device.exact_seconds(10, 10, 10, threads=1)


def test_the_reason_names_shape_seconds_and_the_alternatives():
    plan = choose_plan(1_000_000, 10_000, 384, 100, memory=64 * GIB, costs=COSTS, threads=1)
    assert plan.reason == (
        "exact search is expected to take 38.4 s for 1,000,000 items x 10,000 queries on 1 core (a made-up machine); "
        "i8 HNSW 8.3 min (8.3 min to build), f16 HNSW 16.7 min (16.7 min to build)"
    )


def test_wrong_use_is_refused():
    good = {"n_items": 10, "n_queries": 10, "dimension": 8, "k": 1, "memory": GIB}
    for wrong in ({"n_items": 0}, {"n_queries": 0}, {"dimension": 0}, {"k": 0}, {"threads": 0}, {"min_recall": 0.0},
                  {"min_recall": 1.1}, {"memory": 0}):  # fmt: skip
        with pytest.raises(UsageError):
            choose_plan(**good | wrong)
    with pytest.raises(UsageError):
        calibrate(0)


def test_calibration_measures_this_machine():
    costs = calibrate(64)
    assert costs.hardware != DEFAULT_COSTS.hardware
    assert 0 < costs.exact < 1e-6
    for dtype in ("f16", "i8"):
        seconds = costs.add_seconds(dtype, 10_000, 64), costs.query_seconds(dtype, 10_000, 64, 100, 128)
        assert all(0 < value < 10_000 for value in seconds)
        assert costs.graph(dtype).miss == DEFAULT_COSTS.graph(dtype).miss  # recall is no matter of speed
    assert all(a.add != b.add for a, b in itertools.pairwise((DEFAULT_COSTS.f16, costs.f16)))
    choose_plan(10**6, 10**6, 64, 10, memory=8 * GIB, costs=costs)
