"""How a card writes what was recorded: keys as words, values short, times, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mr_st.measures import Interval
from mr_st.text.markdown import Markdown, number

__all__ = ["as_interval", "duration", "facts", "interval_cell", "mapping", "plain", "words"]

_SHOWN_VALUES = 12  # entries of a nested record that a card shows


def as_interval(value: Any) -> Interval | None:
    """An interval as it is or as JSON holds it; None where there is no value."""
    if isinstance(value, Interval):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("value"), (int, float)):
        return None
    low, high = (float("nan") if value.get(end) is None else float(value[end]) for end in ("low", "high"))
    return Interval(float(value["value"]), low, high, int(value.get("n") or 0))


def interval_cell(value: Any, digits: int = 3) -> Markdown:
    """``value [low, high]``, the value alone where it has no interval, a dash where there is none."""
    interval = as_interval(value)
    if interval is None or not interval.n:
        return Markdown("–")
    if interval.low != interval.low:  # NaN: one query
        return number(interval.value, digits)
    ends = f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"
    return Markdown(f"{number(interval.value, digits)} {ends}")


def facts(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a recorded key: its name in words, its value short; empty ones left out."""
    rows = []
    for key, value in record.items():
        if value is None or value in ("", {}, []):
            continue
        name = words(key)
        rows.append(
            {"name": name[:1].upper() + name[1:], "text": value if isinstance(value, Markdown) else plain(value)}
        )
    return rows


def words(key: Any) -> str:
    """A recorded key as words; ``n_queries`` is a number of queries."""
    key = str(key)
    return (f"number of {key[2:]}" if key.startswith("n_") else key).replace("_", " ")


def plain(value: Any) -> str:
    """A recorded value in a few words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        items = [(k, v) for k, v in value.items() if v is not None]
        text = ", ".join(f"{words(k)}: {_nested(v)}" for k, v in items[:_SHOWN_VALUES])
        return text + (", …" if len(items) > _SHOWN_VALUES else "")
    if isinstance(value, (list, tuple)):
        text = ", ".join(_nested(v) for v in value[:_SHOWN_VALUES])
        return text + (", …" if len(value) > _SHOWN_VALUES else "")
    return str(value)


def _nested(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, (Mapping, list, tuple)) else plain(value)


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def duration(seconds: Any) -> Markdown:
    """Seconds, minutes or hours, whichever reads best; a dash where it is no number."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return Markdown("–")
    if seconds < 120:
        return Markdown(f"{seconds:.0f} s")
    return Markdown(f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h")
