#!/usr/bin/env python3
"""Renders docs/mining.json into the marked sections of docs/mining.md; each bench or study of mining owns a key there.

    scripts/mining_tables.py        write the sections anew from the file as it is

A section whose key is not there yet is left out, heading and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from doc_pages import DOCS, interval_cell, p_cell, put_into_docs, read_json_or_nothing
from search_tables import search_section
from study_mining_pairs import ANNOTATED, NAIVE, TITLES

from mr_st.files import write_json

JSON, PAGE = DOCS / "mining.json", DOCS / "mining.md"
STAGE1 = "stage 1"
MARGINS = {"margin_average_2_0": "average", "margin_worst_2_0": "worst", "margin_worst_2_0_oracle": "worst*"}


def merge_into_docs(key: str, figures: Any) -> None:
    """Put one key beside what docs/mining.json has of the others, and write the page's sections anew."""
    write_json(JSON, {**read_json_or_nothing(JSON), key: figures})
    write_sections()


def write_sections() -> None:
    """Write every section of docs/mining.md."""
    found = read_json_or_nothing(JSON)
    for key, section in SECTIONS.items():
        put_into_docs(PAGE, key, section(found[key]) if key in found else "")


# ---- against mine_hard_negatives ------------------------------------------------------------------------------------


def hard_negatives_section(found: Mapping[str, Any]) -> str:
    """What bench_mining.py measured."""
    at = found["protocol"]
    lines = [
        "## Against `mine_hard_negatives`",
        "",
        f"{at['queries']:,} queries x {at['items']:,} items x {at['dim']} numbers, top {at['k']}, {at['threads']} "
        f"threads of {at['machine']}; {at['vectors']}. Time: {at['time']}. Peak: {at['peak']}. `{at['command']}`",
        "",
        "| | seconds | of ours | peak memory | of ours | above the inputs | candidates that differ |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in found["arms"]:
        times = [f"{arm[key]:.2f}" if key in arm else "" for key in ("seconds_over_ours", "peak_over_ours")]
        lines.append(
            f"| {_arm(arm['arm'])} | {arm['seconds']:.1f} | {times[0]} | {size(arm['peak_bytes'])} | {times[1]} | "
            f"{size(arm['peak_above_inputs_bytes'])} | {arm.get('pairs_that_differ', '')} |"
        )
    return "\n".join([*lines, "", " ".join(_bars(found["arms"]))])


def _arm(name: str) -> str:
    kind = name.removeprefix("theirs-")
    if kind == name:
        return {"ours": "ours", "bare": "bare limit: blocked fp32 product and top-k in torch"}[name]
    return f"`mine_hard_negatives`, {f'`faiss_batch_size={kind}`' if kind.isdigit() else f'{kind}'}"


def _bars(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether the marks that were set are met, as far as the arms were run."""
    by_name = {arm["arm"]: arm for arm in arms}
    ours, default, bare = (by_name.get(name) for name in ("ours", "theirs-default", "bare"))
    tuned = [arm for name, arm in by_name.items() if name.startswith("theirs-") and name[7:].isdigit()]
    if ours is None:
        return []

    def bar(what: str, value: float, limit: float, at_least: bool) -> str:
        met = value >= limit if at_least else value <= limit
        asked = f"{'at least' if at_least else 'at most'} {limit:g}"
        return f"{what}: {value:.2f} ({asked}), {'met' if met else '**missed**'}."

    said = []
    if default:
        said.append(bar("Times as fast as its default", default["seconds"] / ours["seconds"], 1.5, True))
        said.append(bar("Peak, of its default's", ours["peak_bytes"] / default["peak_bytes"], 0.2, False))
    if tuned:
        least = min(arm["peak_bytes"] for arm in tuned)
        said.append(bar("Peak, of its own tuned for memory", ours["peak_bytes"] / least, 1.0, False))
    if bare:
        said.append(bar("Seconds, of the bare limit's", ours["seconds"] / bare["seconds"], 1.2, False))
    return said


# ---- re-annotation --------------------------------------------------------------------------------------------------


def reannotation_section(found: Mapping[str, Any]) -> str:
    """Must the retrieved pairs be judged? The study's tables."""
    at, wrong = found["protocol"], found["false_negatives"]
    lines = [
        "## What re-annotation saves",
        "",
        "### Unjudged pairs that a naive miner calls negatives",
        "",
        f"Marketplace (fingerprint `{at['dataset']['fingerprint']}`), top {at['k']} of {found['mined_queries']} "
        "training queries by the stage-1 model of the bundled recipe; the policy, which is the truth here, grades "
        f"what nobody judged. 95 % intervals over queries. `{found['command']}`",
        "",
        "| ranks | unjudged pairs | truly above grade 0 | share wrongly called negative |",
        "|---|---|---|---|",
    ]
    named = [("up to the miner's boundary: ", wrong["to_boundary"]), ("all: ", wrong["to_k"])]
    for name, row in [*(("", decile) for decile in wrong["deciles"]), *named]:
        first, last = row["ranks"]
        lines.append(
            f"| {name}{first} to {last} | {row['pairs']:,} | {row['positive']:,} | "
            f"{interval_cell(row['share'], '.1%')} |"
        )
    lines += ["", "### Stage 2 on each kind of pairs", "", _training_protocol(found), ""]
    for share, rows in found["arms"].items():
        averaged = f"{float(share):.0%} of stage 1's weights averaged in, as in the recipe"
        lines += [f"{averaged if float(share) else 'Nothing averaged'}:", "", *_ndcg_table(found, rows), ""]
        lines += [*_margin_table(rows), ""]
    return "\n".join(lines + _reading(found))


def _training_protocol(found: Mapping[str, Any]) -> str:
    at = found["protocol"]
    return (
        f"From the same stage 1 (model `{at['stage1']}`), the recipe's stage 2 ({at['loss']} loss, "
        f"{at['queries_per_batch']} queries a step at {at['learning_rate']:g}, here {at['steps']} steps), seeds "
        f"{', '.join(map(str, at['seeds']))}. Every arm has the original judgments and, query by query, as many mined "
        f"pairs as `mine` took (k {at['k']}, boundary {at['boundary']}). Test split, {at['queries']} queries, all "
        f"{at['items']:,} items, gains {at['gains']}; each query's mean over the seeds, then 95 % intervals over "
        f"queries; differences against re-annotation by the paired permutation test, p of NDCG@10 Holm-corrected over "
        "the rows. Margins (p uncorrected) are among the judged pairs; worst* is among all pairs of query and item. "
        "The steps are the recipe's; an earlier trial with 100 was stopped and thrown away after its re-annotated "
        "arm's figure on this test split had been seen (.621), before any other arm was scored."
    )


def _ndcg_table(found: Mapping[str, Any], rows: Mapping[str, Any]) -> list[str]:
    lines = [
        "| pairs | mined | called 0 and are not | one-grade queries left out | NDCG@10 | against re-annotated | p | "
        "by seed | judged@10 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        pairs = found["pairs"].get(name, {})
        counts = [pairs.get(key) for key in ("pairs", "false_negatives", "one_grade_queries_left_out")]
        cells = " | ".join("" if count is None else f"{count:,}" for count in counts)
        against = row.get("against", {}).get("ndcg@10")
        difference = " | " if against is None else f"{interval_cell(against, '+.3f')} | {p_cell(against['p_holm'])}"
        seeds = " ".join(f"{value:.3f}" for value in row["ndcg@10_by_seed"].values())
        lines.append(
            f"| {_title(name)} | {cells} | {interval_cell(row['ndcg@10'])} | {difference} | {seeds} | "
            f"{row['judged@10']['value']:.3f} |"
        )
    return lines


def _margin_table(rows: Mapping[str, Any]) -> list[str]:
    lines = [
        f"| margins of 2 over 0 | {' | p | '.join(MARGINS.values())} | p |",
        f"|---|{'---|---|' * len(MARGINS)}",
    ]
    for name, row in rows.items():
        cells = []
        for metric in MARGINS:
            against = row.get("against", {}).get(metric)
            cells.append(f"{interval_cell(row[metric])} | {'' if against is None else p_cell(against['p'])}")
        lines.append(f"| {_title(name)} | {' | '.join(cells)} |")
    return lines


def _title(name: str) -> str:
    return TITLES.get(name, "stage 1, no stage 2")


def _reading(found: Mapping[str, Any]) -> list[str]:
    """What the figures say, in words that follow from them."""
    rows = found["arms"][f"{found['protocol']['average_with_start']:g}"]
    same = all(
        abs(row["ndcg@10"]["value"] - row["ndcg@10_oracle"]["value"]) < 1e-9 for arm in found["arms"].values()
        for row in arm.values()
    )  # fmt: skip
    naive = rows[NAIVE]["against"]["ndcg@10"]
    if naive["p_holm"] < 0.05:
        verdict = "worse than" if naive["value"] < 0 else "**better than**"
    else:
        verdict = "**not told apart from**"
    control = rows["none"]["against"]["ndcg@10"]
    gain = "gains" if control["value"] < 0 and control["p_holm"] < 0.05 else "**does not surely gain**"
    lines = [
        f"Naive negatives are {verdict} re-annotated pairs in NDCG@10 (p {p_cell(naive['p_holm'])}); over no mining "
        f"at all, re-annotation {gain} ({-control['value']:+.3f}, p {p_cell(control['p_holm'])}).",
    ]
    if same:
        lines.append(
            "Unjudged items count as grade 0, which is no guess here: the test split's judgments hold every item "
            "above grade 0, and with the policy as judge of all pairs each arm has the very same NDCG@10. So no arm "
            "is helped or harmed by what nobody judged, as it could be on a real log."
        )
    wins = rows[NAIVE]["ndcg@10"]["value"] > rows[STAGE1]["ndcg@10"]["value"]
    lines.append(
        f"Against stage 1 the naive arm is {'higher' if wins else 'lower'} "
        f"({rows[NAIVE]['ndcg@10']['value']:.3f} against {rows[STAGE1]['ndcg@10']['value']:.3f}), and "
        f"{ANNOTATED} pairs hold hard positives that no naive miner has: part of the difference is theirs."
    )
    return [" ".join(lines)]


# ---- the cost model -------------------------------------------------------------------------------------------------


def cost_section(found: Mapping[str, Any]) -> str:
    """What a job of the given size costs."""
    scale, graphs, search = found["scale"], found["graphs"], found["search_costs"]
    lines = [
        f"## What {scale['items'] / 1e6:g}M items and {scale['queries'] / 1e6:g}M queries cost",
        "",
        f"Unit costs of {found['machine']}, times counts. k {scale['k']}; {scale['dim']} numbers a vector, in "
        f"float16; graphs of at most {scale['shard_items']:,} items ({scale['shards']} of them), with an expansion of "
        f"{graphs['expansion']} for an expected recall of {graphs['recall']:.1%}; {scale['machines']} machines of "
        f"{scale['cores']} such cores, busy {scale['efficiency']:.0%} of the time (assumed); {scale['unjudged']:.0%} "
        f"of the retrieved pairs unjudged, {scale['annotated']:.0%} of those annotated. `{found['command']}`",
        "",
    ]
    for name, costs in found["plans"].items():
        lines += [*_plan_table(name, costs, scale), ""]
    graph = search["graph"]
    lines += [
        f"Hours on these machines: {_walls(found)}. Graphs and vectors stand in the memory of "
        f"{found['machines_needed']} machines or more ({scale['memory'] / 2**30:g} GiB each, 80 % of it). The "
        f"driver's candidates alone are {size(found['driver_bytes'])} of memory.",
        "",
        "One thing changed, with HNSW:",
        "",
        "| what | value | index and search, core-hours | all, core-hours |",
        "|---|---|---|---|",
        *(f"| {what} | {value} | {part:,.0f} | {whole:,.0f} |" for what, value, part, whole in found["sensitivity"]),
        "",
        "The unit costs (core-seconds, or bytes):",
        "",
        "| unit | cost | from |",
        "|---|---|---|",
        *(
            f"| {name.replace('_', ' ')}, each {of['of']} | {of['value']:.3g} | {of['source']} |"
            for name, of in found["units"].items()
        ),
        f"| exact search, each query x item x dimension | {search['exact']:.3g} | the cost rule, "
        f"{search['hardware']} |",
        f"| {graphs['dtype']} graph of 100,000: place an item | {graph['add']:.3g}, "
        f"{graph['add_growth']:+.0%} a doubling | the cost rule |",
        f"| ... search it, each candidate | {graph['search']:.3g}, {graph['search_growth']:+.0%} a doubling | "
        "the cost rule |",
        f"| ... bytes of an item's links | {graph['link_bytes']:g} | the cost rule |",
    ]
    return "\n".join(lines)


def _plan_table(name: str, costs: Mapping[str, Any], scale: Mapping[str, Any]) -> list[str]:
    totals, has_gpu = costs["totals"], any("gpu_hours" in stage for stage in costs["stages"])
    lines = [
        f"With {name}:",
        "",
        f"| stage | how many | core-seconds each | core-hours |{' GPU-hours instead |' * has_gpu} stored | moved |",
        f"|---|---|---|---|{'---|' * has_gpu}---|---|",
    ]
    for stage in costs["stages"]:
        gpu = f" {stage['gpu_hours']:,.1f} |" if "gpu_hours" in stage else " |" * has_gpu
        lines.append(
            f"| {stage['name']} | {stage['count']:.3g} ({stage['of']}) | {stage['unit']:.3g} | "
            f"{hours(stage['core_hours'])} |{gpu} {size(stage['stored'])} | {size(stage['moved'])} |"
        )
    price = f", {totals['price']:,.0f} at the price given" if "price" in totals else ""
    lines.append(
        f"| all, cores busy {scale['efficiency']:.0%} | | | **{totals['core_hours']:,.0f}**{price} |{' |' * has_gpu} "
        f"{size(totals['stored_bytes'])} | {size(totals['moved_bytes'])} |"
    )
    return lines


def hours(value: float) -> str:
    """Hours with three digits, or whole ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _walls(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {costs['totals']['wall_hours']:,.1f}" for name, costs in found["plans"].items())


def size(n_bytes: float) -> str:
    """Bytes as a person reads them.

    Example:
        >>> size(153_600_000_000), size(0)
        ('154 GB', '')
    """
    if not n_bytes:
        return ""
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= of:
            return f"{n_bytes / of:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"


SECTIONS: dict[str, Callable[[Any], str]] = {
    "against_mine_hard_negatives": hard_negatives_section,
    "search": search_section,
    "reannotation": reannotation_section,
    "cost_model": cost_section,
}
"""Key of docs/mining.json, which is also the section's marker in docs/mining.md, to what writes the section."""


if __name__ == "__main__":
    write_sections()
