#!/usr/bin/env python3
"""Put the tables of docs/shrink.md there, out of what `mr-st shrink` measured for the models of model_cards/.

scripts/shrink_tables.py
"""

from __future__ import annotations

import json
from pathlib import Path

from doc_pages import DOCS, put_into_docs

from mr_st.hub.shrink_table import heading, markdown_rows, notes
from mr_st.text.markdown import escape

CARDS = Path(__file__).resolve().parents[1] / "model_cards"
MODELS = ("mr-minilm-marketplace", "mr-minilm-esci-sample")
SPEEDS = ("search speed", "encode speed")


def main() -> None:
    for name in MODELS:
        found = json.loads((CARDS / name / "shrink.json").read_text(encoding="utf-8"))
        about, protocol = map(escape, heading(found))
        put_into_docs(
            DOCS / "shrink.md",
            name,
            f"{about}. {protocol}.\n\n{markdown_rows(found)}\n\n{found['recommendation']['text']}\n\n"
            + "\n".join(f"- {what}: {told}" for what, told in notes(found).items() if what in ("truncation", *SPEEDS)),
        )


if __name__ == "__main__":
    main()
