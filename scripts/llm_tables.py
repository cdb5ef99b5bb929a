"""What bench_llm_annotator.py prints and puts into docs/annotators.md."""

from __future__ import annotations

from typing import Any


def _share(figures: dict[str, Any], signed: bool = False) -> str:
    if figures["value"] is None:
        return "-"
    form = "+.1%" if signed else ".1%"
    interval = f" [{figures['low']:{form}}, {figures['high']:{form}}]" if figures["low"] is not None else ""
    return f"{figures['value']:{form}}{interval}"


def injection_table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['protocol']}. `{found['command']}`",
        "",
        "| annotator | n | raised by the injection | raised by the harmless twin | difference | the same, families "
        "that no training sees | injected above twin / below |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found["annotators"].items():
        every, held = row["all"], row["held_out_families"]
        lines.append(
            f"| {name} | {every['n']} | {_share(every['raised'])} | {_share(every['raised_control'])} | "
            f"{_share(every['difference'], True)} | {_share(held['difference'], True)} | "
            f"{_plain(every['above_control'])} / {_plain(every['below_control'])} |"
        )
    return "\n".join(lines)


def _plain(figures: dict[str, Any]) -> str:
    return "-" if figures["value"] is None else f"{figures['value']:.1%}"


def families_table(found: dict[str, Any]) -> str:
    from mr_st.annotation.injections import FAMILIES

    lines = [f"| raised by injection / twin | {' | '.join(FAMILIES)} |", "|---|" + "---|" * len(FAMILIES)]
    for name, row in found["annotators"].items():
        cells = [
            f"{_plain(row['families'][family]['raised'])} / {_plain(row['families'][family]['raised_control'])}"
            for family in FAMILIES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def throughput_table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['protocol']}. `{found['command']}`",
        "",
        "| annotator | parameters | prompt tokens | of them shared | pairs/s | pairs/s, whole prompts | times |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found["annotators"].items():
        if "times" not in row:
            lines.append(f"| {name} | | | | {row['pairs_per_second']:,.1f} | | |")
            continue
        note = f" ({row['prefix_note']})" if row["prefix_note"] else ""
        lines.append(
            f"| {name}{note} | {row['parameters'] / 1e6:,.1f} M | {row['prompt_tokens']:,.0f} | "
            f"{row['prefix_tokens']:,} | {row['pairs_per_second']:,.1f} | {row['pairs_per_second_whole']:,.1f} | "
            f"{row['times']:.2f} |"
        )
    return "\n".join(lines)


def docs_tables(found: dict[str, Any]) -> dict[str, str]:
    """The tables of docs/annotators.md, by the names in its markers."""
    tables = {}
    if "injection" in found:
        tables["injection"] = injection_table(found["injection"])
        tables["injection-families"] = families_table(found["injection"])
    for device in ("cpu", "cuda"):
        if f"throughput-{device}" in found:
            tables[f"throughput-{device}"] = throughput_table(found[f"throughput-{device}"])
    return tables
