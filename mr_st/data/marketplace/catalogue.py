"""The whole catalogue: every department's tables, and the index over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mr_st.data.marketplace.catalogue_baby import BABY
from mr_st.data.marketplace.catalogue_bags import BAGS
from mr_st.data.marketplace.catalogue_beauty import BEAUTY
from mr_st.data.marketplace.catalogue_clothing import CLOTHING
from mr_st.data.marketplace.catalogue_electronics import ELECTRONICS
from mr_st.data.marketplace.catalogue_furniture import FURNITURE
from mr_st.data.marketplace.catalogue_garden import GARDEN
from mr_st.data.marketplace.catalogue_grocery import GROCERY
from mr_st.data.marketplace.catalogue_health import HEALTH
from mr_st.data.marketplace.catalogue_kitchen import KITCHEN
from mr_st.data.marketplace.catalogue_living import LIVING
from mr_st.data.marketplace.catalogue_office import OFFICE
from mr_st.data.marketplace.catalogue_pets import PETS
from mr_st.data.marketplace.catalogue_sports import SPORTS
from mr_st.data.marketplace.catalogue_tools import TOOLS
from mr_st.data.marketplace.catalogue_toys import TOYS
from mr_st.data.marketplace.schema import Department, ProductType, Use

__all__ = ["DEPARTMENTS", "Catalogue"]

DEPARTMENTS: tuple[Department, ...] = (
    KITCHEN, GROCERY, ELECTRONICS, OFFICE, CLOTHING, BAGS, BEAUTY, HEALTH,
    BABY, PETS, LIVING, FURNITURE, SPORTS, GARDEN, TOOLS, TOYS,
)  # fmt: skip


_ANIMALS = frozenset({"dog", "cat"})


def _can_share(key: str, other: str) -> bool:
    """A cat's toy does not stand in for a dog's."""
    animals = _ANIMALS & {key.split()[0], other.split()[0]}
    return len(animals) < 2


@dataclass(frozen=True)
class Catalogue:
    """Some departments, indexed.

    Example:
        >>> catalogue = Catalogue(DEPARTMENTS)
        >>> catalogue.siblings(("travel mug",))
        ('thermos', 'coffee mug')
    """

    departments: Sequence[Department] = DEPARTMENTS

    @cached_property
    def types(self) -> dict[str, ProductType]:
        """Every product type by its key, in the order of the tables."""
        return {one.key: one for department in self.departments for one in department.types}

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Members (type keys) of every substitute group."""
        members: dict[str, list[str]] = {}
        for one in self.types.values():
            if one.group:
                members.setdefault(one.group, []).append(one.key)
        return {group: tuple(keys) for group, keys in members.items()}

    @cached_property
    def group_phrases(self) -> dict[str, tuple[str, ...]]:
        """How shoppers ask for a whole group."""
        return {group: phrases for department in self.departments for group, phrases in department.groups.items()}

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """Every use, with the types of this catalogue that serve it."""
        found = []
        for one in (use for department in self.departments for use in department.uses):
            types = tuple(key for key in one.types if key in self.types)
            if types:
                found.append(Use(one.name, one.phrases, types, one.seller))
        return tuple(found)

    @cached_property
    def _instead(self) -> dict[str, tuple[str, ...]]:
        """Single substitutes outside the groups, both ways."""
        pairs = [(one.key, key) for one in self.types.values() for key in one.instead if key in self.types]
        both: dict[str, list[str]] = {}
        for one, other in pairs:
            both.setdefault(one, []).append(other)
            both.setdefault(other, []).append(one)
        return {key: tuple(found) for key, found in both.items()}

    def siblings(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Types that can stand in for one of ``keys`` without being one of them."""
        found: dict[str, None] = {}
        for key in keys:
            near = (*self.groups.get(self.types[key].group, ()), *self._instead.get(key, ()))
            found.update(dict.fromkeys(other for other in near if _can_share(key, other)))
        return tuple(key for key in found if key not in keys)

    def partners(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Types that are bought to go with one of ``keys``."""
        found = dict.fromkeys(partner for key in keys for partner in self.types[key].partners)
        return tuple(key for key in found if key in self.types and key not in keys)

    def neighbours(self, key: str) -> tuple[str, ...]:
        """The types next to ``key`` in its department: shoppers compare them, none stands in for it."""
        return self._neighbours[key]

    @cached_property
    def _neighbours(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for department in self.departments:
            keys = [one.key for one in department.types]
            for at, key in enumerate(keys):
                near = [keys[(at + step) % len(keys)] for step in (-2, -1, 1, 2)]
                found[key] = tuple(dict.fromkeys(other for other in near if other != key))
        return found
