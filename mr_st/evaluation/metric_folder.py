"""Where the metric folder lies that the ``evaluate`` library loads."""

from __future__ import annotations

from pathlib import Path

__all__ = ["metric_folder"]


def metric_folder() -> str:
    """The path for ``evaluate.load``: our metrics as a module of that library, loaded with no network.

    What it takes and gives is written in the README.md of the folder.

    Example:
        >>> from pathlib import Path
        >>> (Path(metric_folder()) / "graded_retrieval_metric.py").is_file()
        True
    """
    return str(Path(__file__).resolve().parent / "graded_retrieval_metric")
