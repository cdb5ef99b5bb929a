"""What a system's results are filed under."""

from __future__ import annotations

import re
from pathlib import Path

from mr_st.evaluation.naming import folder_name

__all__ = ["full_name", "name_of_file"]


def full_name(name: str) -> str:
    """The name with an organisation before it, ``local`` where it has none.

    Raises:
        UsageError: it cannot name a folder.

    Example:
        >>> full_name("bm25-titles"), full_name("my-shop/hybrid")
        ('local/bm25-titles', 'my-shop/hybrid')
    """
    full = name if "/" in name else f"local/{name}"
    folder_name(full)
    return full


def name_of_file(path: str | Path) -> str:
    """``local/`` and a file's name without its endings, fit to name a folder.

    Example:
        >>> name_of_file("runs/my run.trec.gz")
        'local/my-run'
    """
    stem = re.sub(r"(\.(gz|trec|run|yaml|yml|txt))+$", "", Path(path).name, flags=re.IGNORECASE)
    return f"local/{re.sub('[^A-Za-z0-9._+=-]+', '-', stem).strip('.-_+=') or 'run'}"
