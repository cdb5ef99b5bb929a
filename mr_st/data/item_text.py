"""How an item becomes one text: its title and the first levels of its category path."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["format_item"]


def format_item(
    title: str, category_path: Sequence[str] | None, levels: int | None = 2, max_chars: int | None = 400
) -> str:
    """The text that stands for an item in training, mining and evaluation.

    Args:
        title: The item's name.
        category_path: Its place in the taxonomy, broadest level first; empty or None where unknown.
        levels: How many levels of the path to name; 0 for none, None for the whole path.
        max_chars: Cut the text after this many characters; None for no cut.

    Source:
        arXiv 2602.17654: item name plus the first two taxonomy levels in a natural-language pattern (which is ours).

    Example:
        >>> format_item("Red mug", ["Home", "Kitchen", "Mugs"])
        'Red mug. Category: Home > Kitchen'
        >>> format_item("Red mug", ["Home", "Kitchen", "Mugs"], levels=0)
        'Red mug'
    """
    path = () if not category_path else category_path if levels is None else category_path[:levels]
    text = f"{title}. Category: {' > '.join(path)}" if len(path) else title
    return text if max_chars is None else text[:max_chars]
