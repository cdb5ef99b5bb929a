#!/usr/bin/env python3
"""What the spelling channel does to training queries: share with a variant, edit distances, examples.

scripts/study_spelling.py                            the marketplace `small`, default settings
scripts/study_spelling.py --esci DIR                 and an ESCI folder's queries
scripts/study_spelling.py --esci DIR --docs          put the figures into docs/spelling.md, and docs/spelling.json
scripts/study_spelling.py --json FILE --plot FILE    write the figures, and a chart of the edit distances
"""

from __future__ import annotations

import argparse
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

from mr_st.augment.misspelt import add_misspelt_queries
from mr_st.augment.misspelt_report import MisspeltReport, plot_edit_distances
from mr_st.data import GradedDataset
from mr_st.files import write_json, write_text
from mr_st.measures.plots import save_figure
from mr_st.text.markdown import escape

DOCS = Path(__file__).resolve().parents[1] / "docs" / "spelling.md"
N_EXAMPLES = 12
LAST_DISTANCE = 7
"""Edit distances from here on share a column."""

HAND = "written by hand"
BY_HAND = {
    "ru-RU": "красные кроссовки|беспроводные наушники|ёлочные игрушки|зимняя куртка женская",
    "ar": "حذاء رياضي للرجال|سماعات لاسلكية",
    "th": "รองเท้าวิ่งผู้ชาย|หูฟังไร้สาย",
    "ko": "남성 운동화|블루투스 이어폰",
    "zh": "无线蓝牙耳机|儿童雨衣 红色",
    "el": "κόκκινα παπούτσια|ασύρματα ακουστικά",
    "hi": "लाल जूते|हिन्दी किताबें",
}
"""Queries, all misspelt, in scripts that neither data set has: to read their variants."""


def study(dataset: GradedDataset, share: float, seed: int) -> tuple[dict[str, Any], MisspeltReport]:
    """Figures of the additive variant over the training queries, and examples (of all of them)."""
    started = time.perf_counter()
    made, report = add_misspelt_queries(dataset, share=share, seed=seed)
    seconds = time.perf_counter() - started
    clean = dict(zip(dataset.queries["query_id"], dataset.queries["text"], strict=True))
    variants = list(made.queries.select(range(len(dataset.queries), len(made.queries))))
    examples: dict[str, list[list[str]]] = {}
    for row in add_misspelt_queries(dataset, share=1.0, seed=seed)[0].queries:
        if row["source_query_id"] in clean and row["query_id"] not in clean:
            shown = examples.setdefault(row["locale"], [])
            if len(shown) < N_EXAMPLES:
                shown.append([clean[row["source_query_id"]], row["text"]])
    figures = report.to_dict()
    figures["invalid"] = sum(not is_valid(clean[row["source_query_id"]], row["text"]) for row in variants)
    figures["examples"] = dict(sorted(examples.items()))
    print(f"{dataset.name}: {report.n_queries:,} queries in {seconds:.2f} s")
    return figures, report


def by_hand() -> GradedDataset:
    """The queries of :data:`BY_HAND`, each with one judgment."""
    texts = [(locale, text) for locale, of in BY_HAND.items() for text in of.split("|")]
    queries = [{"query_id": str(at), "text": text, "locale": locale} for at, (locale, text) in enumerate(texts)]
    judgments = [{"query_id": str(at), "item_id": "i", "grade": 1} for at in range(len(texts))]
    return GradedDataset.from_tables(queries, [{"item_id": "i", "title": "item"}], judgments, name="by hand")


def is_valid(clean: str, variant: str) -> bool:
    """NFC, not empty, no control character or surrogate, no combining mark that the clean text lacks."""
    marks = {c for c in clean if unicodedata.category(c)[0] in "MC"}
    odd = {c for c in variant if unicodedata.category(c)[0] in "MC"}
    return bool(variant.strip()) and unicodedata.is_normalized("NFC", variant) and odd <= marks


def tables(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    shown = range(1, LAST_DISTANCE + 1)
    lines = [
        f"| queries of | locale | queries | with a variant | {' | '.join(map(str, shown))} or more |",
        f"|---|---|---|---|{'---|' * LAST_DISTANCE}",
    ]
    for name, one in figures.items():
        whole = {"queries": one["n_queries"], "variants": one["n_variants"], "edit_distances": one["edit_distances"]}
        by_locale = one["locales"].items() if name != HAND else ()
        for locale, facts in [("all", whole), *by_locale]:
            n = facts["variants"]
            found = dict.fromkeys(shown, 0)
            for distance, count in facts["edit_distances"].items():
                found[min(int(distance), LAST_DISTANCE)] += count
            shares = " | ".join(f"{found[d] / n:.1%}" if n else "" for d in shown)
            lines.append(f"| {name} | {locale} | {facts['queries']:,} | {n / facts['queries']:.1%} | {shares} |")
    for name, one in figures.items():
        counts = (
            f"{one['n_without_variant']} queries without a possible variant",
            f"{one['n_refused']} draws refused because another query reads so",
            f"{one['n_already_misspelt']} queries passed over that were misspellings already",
            f"{one['invalid']} variants that are not valid text",
        )
        lines += ["", f"{name}: {'; '.join(counts)}."]
    for name, one in figures.items():
        for locale, examples in one["examples"].items():
            lines += ["", f"### {name}, {locale}", "", "| clean | variant |", "|---|---|"]
            lines += [f"| {escape(clean)} | {escape(variant)} |" for clean, variant in examples]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="of the marketplace")
    parser.add_argument("--esci", type=Path, help="a folder of ESCI's files")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write docs/spelling.json and docs/spelling.md's figures")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--plot", type=Path, help="where to draw the marketplace's edit distances")
    options = parser.parse_args()
    datasets = {f"marketplace {options.size}": GradedDataset.load("marketplace", size=options.size)}
    if options.esci:
        datasets["ESCI"] = GradedDataset.load(options.esci)
    studied = {name: study(dataset, options.share, options.seed) for name, dataset in datasets.items()}
    figures = {name: of for name, (of, _) in studied.items()}
    figures[HAND] = study(by_hand(), 1.0, options.seed)[0]
    block = tables(figures)
    print(block)
    if options.plot:
        save_figure(plot_edit_distances(next(iter(studied.values()))[1]), options.plot)
    for path in (options.json, DOCS.with_suffix(".json") if options.docs else None):
        if path:
            write_json(path, figures)
    if options.docs:
        marked = f"<!-- figures: start -->\n{block}\n<!-- figures: end -->"
        text = DOCS.read_text(encoding="utf-8")
        write_text(DOCS, re.sub(r"<!-- figures: start -->.*<!-- figures: end -->", lambda _: marked, text, flags=re.S))


if __name__ == "__main__":
    main()
