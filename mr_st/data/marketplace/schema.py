"""What the catalogue tables are made of: departments, product types, uses and device families."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

__all__ = ["HARD_ATTRIBUTES", "Department", "ProductType", "Use", "department", "kind", "use"]

HARD_ATTRIBUTES = frozenset({"audience", "fits", "model", "pet"})
"""Attributes that make a product useless when they are wrong: a case for another phone, food for another animal."""


@dataclass(frozen=True)
class ProductType:
    """One kind of product that the shop sells.

    Args:
        names: What sellers and shoppers call it; the first is its key.
        asked: What only shoppers call it.
        path: Category path below the department, without the department.
        group: Name of the group of types that can stand in for each other, or "" for none.
        instead: Keys of single types outside the group that can stand in for it, and it for them.
        partners: Keys of the types that are bought to go with it (complements).
        attributes: Attribute name to the values it can have; ``model`` and ``fits`` hold values of a device family.
        department: Name of the department, first level of the category path.
        brands: The brands that make it, most common first.
    """

    names: tuple[str, ...]
    path: tuple[str, ...]
    asked: tuple[str, ...] = ()
    group: str = ""
    instead: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    department: str = ""
    brands: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The type's key: its first name."""
        return self.names[0]


@dataclass(frozen=True)
class Use:
    """Something people want to do, and the types that do it.

    Args:
        name: Its key.
        phrases: How shoppers ask for it; none names a type.
        types: Keys of the types that serve it.
        seller: How a title may mention it ("for camping"), or "".
    """

    name: str
    phrases: tuple[str, ...]
    types: tuple[str, ...]
    seller: str = ""


@dataclass(frozen=True)
class Department:
    """A department: its brands, its types, the names of its substitute groups and the uses it serves."""

    name: str
    brands: tuple[str, ...]
    types: tuple[ProductType, ...]
    groups: dict[str, tuple[str, ...]]
    uses: tuple[Use, ...]


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def kind(
    path: str,
    names: str,
    *,
    asked: str = "",
    group: str = "",
    instead: str = "",
    partners: str = "",
    **attributes: str,
) -> ProductType:
    """Write one product type as a table row; lists are separated by ``|``, path levels by ``>``.

    Example:
        >>> kind("Kitchen > Drinkware", "travel mug|thermal cup", capacity="12 oz|16 oz").attributes["capacity"]
        ('12 oz', '16 oz')
    """
    levels = tuple(level.strip() for level in path.split(">"))
    values = {name: _split(text) for name, text in attributes.items()}
    return ProductType(_split(names), levels, _split(asked), group, _split(instead), _split(partners), values)


def use(name: str, phrases: str, types: str, seller: str = "") -> Use:
    """Write one use as a table row; lists are separated by ``|``."""
    return Use(name, _split(phrases), _split(types), seller)


def department(
    name: str, brands: str, types: list[ProductType], groups: dict[str, str], uses: list[Use]
) -> Department:
    """Write one department: each type gets the department's name and six of its brands, in turn."""
    every = _split(brands)
    placed = []
    for number, one in enumerate(types):
        own = tuple(every[(number * 3 + step) % len(every)] for step in range(min(6, len(every))))
        placed.append(replace(one, department=name, brands=own))
    return Department(name, every, tuple(placed), {key: _split(text) for key, text in groups.items()}, tuple(uses))
