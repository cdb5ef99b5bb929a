"""What two systems differ in: their settings read as a tree of components."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Swap", "swapped"]

_NAMING = ("name", "system", "revision", "settings")  # beside a component's settings; they follow from it
_LONGEST = 80


@dataclass(frozen=True)
class Swap:
    """One component in which the treatment differs from the control.

    Args:
        component: Where it stands, e.g. ``searchers.dense``; ``the system`` for the whole.
        kind: ``changed`` (its own settings), ``replaced`` (by one of another kind), ``added`` or ``removed``.
        control, treatment: What kind of component stands there; None where there is none.
        settings: Setting to its values in control and treatment; where the component is ``changed``.
        is_one: False where a whole system of several components is replaced by another.
    """

    component: str
    kind: str
    control: str | None
    treatment: str | None
    settings: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    is_one: bool = True

    def __str__(self) -> str:
        if self.kind == "changed":
            what = "; ".join(f"{name} {_short(a)} -> {_short(b)}" for name, (a, b) in self.settings.items())
            return f"{self.component} ({self.control}): {what}"
        if self.kind == "replaced":
            return f"{self.component}: {self.control} -> {self.treatment}"
        return f"{self.component}: {self.kind} {self.control or self.treatment}"

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**vars(self), "settings": {name: list(values) for name, values in self.settings.items()}}


def swapped(control: Mapping[str, Any], treatment: Mapping[str, Any]) -> list[Swap]:
    """The components in which two systems differ; empty where their settings are the same.

    A component is a mapping with a ``kind``, wherever it stands in the settings. A system that holds the other whole
    (a reranker over it, a hybrid with it) adds one component.

    Args:
        control, treatment: ``settings`` of two systems.

    Example:
        >>> lexical = {"kind": "bm25", "k1": 1.2}
        >>> hybrid = {"kind": "hybrid", "searchers": {"words": lexical, "dense": {"kind": "bi-encoder", "model": "a"}}}
        >>> other = {"kind": "hybrid", "searchers": {"words": lexical, "dense": {"kind": "bi-encoder", "model": "b"}}}
        >>> [str(swap) for swap in swapped(hybrid, other)]
        ['searchers.dense (bi-encoder): model a -> b']
        >>> [str(swap) for swap in swapped(lexical, hybrid)]
        ['the system: added hybrid with bi-encoder a']
    """
    return _compare("", control, treatment)


@dataclass(frozen=True)
class _Part:
    """A component inside another: where it stands, its settings, and what the outer one says of it (its weight)."""

    place: str
    settings: Mapping[str, Any]
    said: dict[str, Any]


def _compare(place: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Swap]:
    if a == b:
        return []
    name = place or "the system"
    parts_a, parts_b = list(_parts(a)), list(_parts(b))
    if a.get("kind") != b.get("kind"):
        if any(part.settings == a for part in parts_b):
            return [Swap(name, "added", None, _about(b, without=a))]
        if any(part.settings == b for part in parts_a):
            return [Swap(name, "removed", _about(a, without=b), None)]
        return [Swap(name, "replaced", _about(a), _about(b), is_one=not parts_a and not parts_b)]
    own_a, own_b = _own(a), _own(b)
    pairs, gone, come = _matched(parts_a, parts_b)
    for x, y in pairs:
        own_a |= {f"{key} of {x.place}": value for key, value in x.said.items()}
        own_b |= {f"{key} of {x.place}": value for key, value in y.said.items()}
    keys = dict.fromkeys([*own_a, *own_b])
    settings = {k: (own_a.get(k), own_b.get(k)) for k in keys if own_a.get(k) != own_b.get(k)}
    found = [Swap(name, "changed", _kind(a), _kind(b), settings)] if settings else []
    inner = f"{place}." if place else ""
    for x, y in pairs:
        found += _compare(inner + x.place, x.settings, y.settings)
    found += [Swap(inner + part.place, "removed", _about(part.settings), None) for part in gone]
    found += [Swap(inner + part.place, "added", None, _about(part.settings)) for part in come]
    return found


def _matched(
    parts_a: Sequence[_Part], parts_b: Sequence[_Part]
) -> tuple[list[tuple[_Part, _Part]], list[_Part], list[_Part]]:
    """Which part of one stands for which of the other, and what is left of both: equal parts first, then those in the
    same place, then of the same kind, then whatever is left where it is one in each."""
    left_a, left_b = list(parts_a), list(parts_b)
    pairs: list[tuple[_Part, _Part]] = []
    rules: list[Callable[[_Part, _Part], bool]] = [
        lambda x, y: x.settings == y.settings,
        lambda x, y: x.place == y.place,
        lambda x, y: _kind(x.settings) == _kind(y.settings),
        lambda x, y: len(left_a) == len(left_b) == 1,
    ]
    for rule in rules:
        for x in list(left_a):
            y = next((y for y in left_b if rule(x, y)), None)
            if y is not None:
                pairs.append((x, y))
                left_a.remove(x)
                left_b.remove(y)
    return pairs, left_a, left_b


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from ((str(key), inner) for key, inner in enumerate(value))


def _part(key: str, value: Any) -> _Part | None:
    """A component, bare or under ``settings`` beside what is said of it."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("kind"), str):
        return _Part(key, value, {})
    inner = value.get("settings")
    if isinstance(inner, Mapping) and isinstance(inner.get("kind"), str):
        said = {name: of for name, of in value.items() if name not in _NAMING}
        return _Part(str(value.get("name") or key), inner, said)
    return None


def _parts(component: Any, path: str = "") -> Iterator[_Part]:
    """The components directly inside a component."""
    for key, inner in _entries(component):
        part = _part(key, inner)
        if part is not None:
            yield replace(part, place=path + part.place)
        else:
            yield from _parts(inner, f"{path}{key}.")


def _own(component: Any, path: str = "") -> dict[str, Any]:
    """A component's own settings, flat; what stands inside its parts is theirs."""
    found: dict[str, Any] = {}
    for key, inner in _entries(component):
        if _part(key, inner) is not None:
            continue
        if isinstance(inner, Mapping) or (isinstance(inner, (list, tuple)) and any(True for _ in _parts(inner))):
            found |= _own(inner, f"{path}{key}.")
        else:
            found[path + key] = inner
    return found


def _kind(component: Mapping[str, Any]) -> str:
    return str(component.get("kind", "system"))


def _about(component: Mapping[str, Any], without: Mapping[str, Any] | None = None) -> str:
    """A component and its parts by kind; the model of a bi-encoder is told apart by its hash."""
    parts = [_about(part.settings) for part in _parts(component) if part.settings != without]
    model = component.get("model")
    said = _kind(component) + (f" {model}" if isinstance(model, str) else "")
    return said + (f" {'of' if without is None else 'with'} {' and '.join(parts)}" if parts else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
