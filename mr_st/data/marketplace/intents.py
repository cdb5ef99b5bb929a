"""What shoppers mean: intents drawn from what stands on the shelves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from mr_st.data.marketplace.catalogue import Catalogue
from mr_st.data.marketplace.policy import Intent
from mr_st.data.marketplace.schema import ProductType
from mr_st.data.marketplace.shop import Item
from mr_st.data.marketplace.wording import DEVICE, chosen

__all__ = ["KIND_SHARES", "IntentWriter"]

KIND_SHARES: dict[str, float] = {
    "type": 0.12,
    "attribute": 0.30,
    "brand": 0.12,
    "price": 0.08,
    "use": 0.14,
    "compatibility": 0.09,
    "negation": 0.08,
    "group": 0.07,
}
"""How often each way to ask is tried; a draw that the shelf does not allow is drawn anew."""

_CAN_BE_EXCLUDED = ("material", "scent", "flavor", "pattern", "color", "style", "theme", "neck")
_PLAIN = ("color", "material", "audience", "pet")  # what a shopper adds to a use or a group


class IntentWriter:
    """Draws intents that at least one item on the shelves meets in full.

    Args:
        shelves: Items by type.
        catalogue: What the types are.
    """

    def __init__(self, shelves: Mapping[str, Sequence[Item]], catalogue: Catalogue):
        self.shelves, self.catalogue = shelves, catalogue
        self._kinds, self._shares = list(KIND_SHARES), list(KIND_SHARES.values())

    def draw(self, keys: Sequence[str], rng: Random) -> Intent | None:
        """One intent of any kind whose types are all among ``keys``, or None where this draw gives none."""
        kind = rng.choices(self._kinds, self._shares)[0]
        allowed = set(keys)
        if kind in ("use", "group"):
            topics = self._topics(kind, allowed)
            if not topics:
                return None
            topic = chosen(sorted(topics), rng)
            return self._whole(kind, topics[topic], topic, rng)
        if kind == "compatibility":
            keys = [key for key in keys if set(DEVICE) & set(self.catalogue.types[key].attributes)] or keys
        shelf = self.shelves[chosen(keys, rng)]
        if kind in ("brand", "price"):
            shelf = [item for item in shelf if kind in item.stated]
        if not shelf:
            return None
        item = chosen(shelf, rng)
        device = [(name, item.stated[name][0]) for name in DEVICE if name in item.stated]
        free = [name for name in item.stated if name not in (*DEVICE, "brand", "price")]
        required: list[tuple[str, str]] = []
        excluded: list[tuple[str, str]] = []
        if kind == "attribute":
            required = _some_of(item, free, 1 if rng.random() < 0.5 else 2, rng)
        elif kind in ("brand", "price") and not device:
            required = [(kind, item.stated[kind][0]), *_some_of(item, free, int(rng.random() < 0.45), rng)]
        elif kind == "compatibility" and device:
            required = [*device, *_some_of(item, free, int(rng.random() < 0.35), rng)]
        elif kind == "negation":
            names = [name for name in _CAN_BE_EXCLUDED if name in item.stated]
            one = self.catalogue.types[item.type]
            others = [(name, value) for name in names for value in _other_values(one, name, item)]
            if others:
                excluded = [chosen(others, rng)]
        if kind != "type" and not required and not excluded:
            return None
        return self._intent(kind, (item.type,), "", required, excluded)

    def _topics(self, kind: str, allowed: set[str]) -> dict[str, tuple[str, ...]]:
        """The uses or groups all of whose types may be asked for."""
        catalogue = self.catalogue
        every = {use.name: use.types for use in catalogue.uses} if kind == "use" else catalogue.groups
        return {topic: types for topic, types in every.items() if allowed.issuperset(types)}

    def _whole(self, kind: str, types: tuple[str, ...], topic: str, rng: Random) -> Intent:
        """A use or a group, sometimes with one plain attribute."""
        item = chosen(self.shelves[chosen(types, rng)], rng)
        plain = [name for name in _PLAIN if name in item.stated]
        wanted = int(rng.random() < (0.3 if kind == "use" else 0.55))
        return self._intent(kind, types, topic, _some_of(item, plain, wanted, rng), [])

    def _intent(
        self,
        kind: str,
        types: tuple[str, ...],
        topic: str,
        required: list[tuple[str, str]],
        excluded: list[tuple[str, str]],
    ) -> Intent:
        siblings = self.catalogue.siblings(types)
        partners = () if topic else tuple(key for key in self.catalogue.partners(types) if key not in siblings)
        return Intent(kind, types, topic, tuple(sorted(required)), tuple(excluded), siblings, partners)


def _some_of(item: Item, names: list[str], count: int, rng: Random) -> list[tuple[str, str]]:
    return [(name, chosen(item.stated[name], rng)) for name in rng.sample(names, min(count, len(names)))]


def _other_values(one: ProductType, name: str, item: Item) -> list[str]:
    return [value for value in one.attributes[name] if value not in item.stated[name]]
