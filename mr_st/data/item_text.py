"""How an item becomes one text: its title and the first levels of its category path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["format_item", "format_items"]

_BEFORE_PATH, _BETWEEN_LEVELS = ". Category: ", " > "


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
    text = f"{title}{_BEFORE_PATH}{_BETWEEN_LEVELS.join(path)}" if len(path) else title
    return text if max_chars is None else text[:max_chars]


def format_items(
    titles: pa.Array | pa.ChunkedArray,
    category_paths: pa.Array | pa.ChunkedArray,
    levels: int | None = 2,
    max_chars: int | None = 400,
) -> list[str]:
    """:func:`format_item` of many items, in Arrow's kernels.

    Args:
        titles: string (n,).
        category_paths: list of string (n,); empty or null where unknown.
        levels, max_chars: As there.

    Example:
        >>> import pyarrow as pa
        >>> format_items(pa.array(["Red mug", "Cup"]), pa.array([["Home", "Kitchen", "Mugs"], None]))
        ['Red mug. Category: Home > Kitchen', 'Cup']
    """
    import pyarrow.compute as pc

    texts = titles
    if levels is None or levels > 0:
        named = category_paths if levels is None else pc.list_slice(category_paths, 0, levels)
        path = pc.binary_join(named, _BETWEEN_LEVELS)
        is_known = pc.greater(pc.fill_null(pc.list_value_length(category_paths), 0), 0)
        texts = pc.if_else(is_known, pc.binary_join_element_wise(titles, path, _BEFORE_PATH), titles)
    if max_chars is not None:
        texts = pc.utf8_slice_codeunits(texts, 0, max_chars)  # of code points, whatever its name says
    return texts.to_pylist()
