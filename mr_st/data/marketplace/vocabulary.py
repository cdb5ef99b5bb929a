"""How values are said: other words, wider words, units, abbreviations, and the noise that sellers and shoppers add."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["ABBREVIATIONS", "NARROWER", "PUFFERY", "measure_of", "ways_to_say"]

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "navy": ("dark blue", "midnight blue"),
    "gray": ("grey", "charcoal gray"),
    "burgundy": ("wine red", "maroon"),
    "beige": ("sand colored", "oatmeal tone"),
    "teal": ("blue green",),
    "cream": ("off white", "ivory"),
    "olive": ("army green",),
    "tan": ("light brown", "caramel"),
    "emerald": ("deep green",),
    "mint": ("pale green",),
    "silver": ("chrome", "metallic gray"),
    "clear": ("transparent", "see through"),
    "blush": ("pale pink",),
    "turquoise": ("aqua",),
    "assorted colors": ("multicolor", "mixed colors"),
    "stainless steel": ("steel", "inox"),
    "nonstick aluminum": ("non stick", "coated"),
    "vegan leather": ("faux leather", "pu leather"),
    "cubic zirconia": ("cz", "faux diamond"),
    "sterling silver": ("925 silver",),
    "microfiber": ("micro fibre",),
    "synthetic fill": ("down alternative",),
    "innerspring": ("coil spring",),
    "men": ("mens", "for him", "male"),
    "women": ("womens", "ladies", "for her"),
    "kids": ("childrens", "for boys and girls", "youth"),
    "adults": ("grown ups", "adult"),
    "dog": ("canine", "for dogs", "doggy"),
    "cat": ("feline", "for cats", "kitty"),
    "leakproof": ("no spill", "spill proof"),
    "waterproof": ("water proof", "keeps water out"),
    "cordless": ("battery operated", "no cord"),
    "wireless": ("no wires", "wifi enabled"),
    "quiet": ("silent", "low noise"),
    "noise cancelling": ("anc", "blocks out noise"),
    "with handle": ("w handle",),
    "dishwasher safe": ("can go in dishwasher",),
    "foldable": ("folding", "collapses flat"),
    "shockproof": ("drop proof", "rugged"),
    "rechargeable": ("usb rechargeable", "no disposable batteries"),
    "programmable": ("with timer function", "set and forget"),
    "auto shut off": ("turns itself off",),
    "gluten free": ("no gluten", "gf", "celiac friendly"),
    "vegan": ("plant based", "no animal products"),
    "sugar free": ("no sugar", "zero sugar"),
    "low sugar": ("less sugar",),
    "no sugar added": ("unsweetened",),
    "decaf": ("decaffeinated", "no caffeine"),
    "caffeine free": ("herbal without caffeine",),
    "organic": ("bio grown", "usda organic"),
    "grain free": ("no grain", "without cereals"),
    "fragrance free": ("no fragrance", "no perfume"),
    "unscented": ("no scent", "scent free"),
    "sulfate free": ("no sulfates",),
    "low dust": ("dust free",),
    "non slip": ("anti slip", "grippy"),
    "lightweight": ("light weight", "ultralight"),
    "machine washable": ("washable",),
    "packable": ("folds into pocket",),
    "hooded": ("with hood",),
    "wide fit": ("for wide feet", "extra wide width"),
    "high waist": ("high rise",),
    "oversized": ("baggy", "loose fit"),
    "zip up": ("full zip",),
    "slim fit": ("fitted cut",),
    "wrinkle free": ("no iron", "non iron"),
    "moisture wicking": ("sweat wicking", "dry fit"),
    "rfid blocking": ("anti skimming",),
    "with laptop compartment": ("w computer sleeve",),
    "hard shell": ("hardside",),
    "soft side": ("fabric sided",),
    "dimmable": ("adjustable brightness",),
    "with microphone": ("with mic",),
    "long battery": ("all day battery", "long playtime"),
    "ergonomic": ("wrist friendly",),
    "anti theft": ("theft proof",),
    "windproof": ("wont flip in wind",),
    "reflective": ("visible at night", "hi vis"),
    "retractable": ("extends",),
    "insulated": ("double wall", "thermal"),
    "solar": ("sun powered", "solar powered"),
    "uv protection": ("upf 50", "sun protection"),
    "deep pocket": ("for thick mattress",),
    "cooling": ("stays cool", "temperature regulating"),
    "thermal": ("insulating",),
    "electric": ("powered", "plug in"),
    "manual": ("hand operated", "non electric"),
    "anti fog": ("no fogging",),
    "with straw": ("straw lid",),
    "travel": ("portable",),
    "compact": ("small footprint", "space saving"),
    "heavy duty": ("extra strong", "industrial strength"),
    "for seniors": ("for old pets",),
    "for puppies and kittens": ("for young pets",),
    "slow feeder": ("anti gulp",),
    "orthopedic": ("joint support",),
    "self cleaning": ("cleans itself",),
    "odor control": ("smell control",),
    "for side sleepers": ("side sleeping",),
    "queen": ("queen size",),
    "king": ("king size",),
    "twin": ("single bed size",),
    "full": ("double bed size",),
    "small": ("s", "sm"),
    "medium": ("m", "mid size"),
    "large": ("l", "lg", "big"),
    "x large": ("xl", "extra large"),
    "x small": ("xs", "extra small"),
    "jumbo": ("giant",),
    "extra virgin": ("evoo grade",),
    "dark roast": ("french roast", "bold"),
    "light roast": ("blonde roast",),
    "creamy": ("smooth",),
    "crunchy": ("chunky",),
    "remanufactured": ("recycled cartridge",),
    "high yield": ("xl capacity",),
    "anti colic": ("reduces gas",),
    "no contact": ("touchless",),
    "with card holder": ("wallet style",),
    "fast charging": ("quick charge",),
    "braided": ("woven",),
    "4k": ("ultra hd", "uhd"),
    "1080p": ("full hd", "fhd"),
    "720p": ("hd ready",),
    "usb c": ("type c",),
    "3.5 mm jack": ("aux plug",),
    "waterproof formula": ("removes waterproof makeup",),
    "single": ("1 piece",),
    "long lasting": ("stays on all day",),
    "tummy control": ("slimming",),
    "memory foam": ("viscoelastic foam",),
    "self watering": ("waters itself",),
    "with drainage": ("with drain hole",),
    "for pet hair": ("pet hair pickup",),
    "non toxic": ("safe for kids",),
    "undated": ("no dates printed",),
    "recycled": ("eco friendly",),
    "with lumbar support": ("lower back support",),
    "budget": ("affordable", "cheap", "low cost", "inexpensive"),
    "premium": ("luxury", "high end", "top of the line"),
}

NARROWER: dict[str, frozenset[str]] = {
    "blue": frozenset({"navy", "light blue", "teal", "turquoise"}),
    "red": frozenset({"burgundy"}),
    "green": frozenset({"olive", "emerald", "mint", "sage green"}),
    "pink": frozenset({"blush"}),
    "brown": frozenset({"tan"}),
}
"""Values that also count when the wider one is asked for: navy is blue."""

_UNITS: dict[str, tuple[str, ...]] = {
    "oz": ("{}oz", "{} ounce", "{} fl oz"),
    "lb": ("{}lb", "{} pound", "{} lbs"),
    "inch": ("{}in", "{} in", '{}"'),
    "ft": ("{}ft", "{} foot", "{}'"),
    "gb": ("{}gb",),
    "tb": ("{}tb",),
    "mah": ("{}mah",),
    "w": ("{}w", "{} watt"),
    "liter": ("{}l", "{} litre"),
    "quart": ("{}qt", "{} qt"),
    "gallon": ("{}gal", "{} gal"),
    "count": ("{}ct", "{} ct"),
    "piece": ("{}pc", "{} pcs"),
    "mm": ("{}mm",),
    "mg": ("{}mg",),
    "iu": ("{}iu",),
    "cup": ("{}-cup", "{} cups"),
    "slice": ("{}-slice",),
    "ah": ("{}ah", "{} amp hour"),
    "sheets": ("{} sh",),
    "gb ram": ("{}gb ram", "{}gb memory"),
    "person": ("{}-person", "sleeps {}"),
}
_NUMBER = re.compile(r"^([\d.,]+(?: x [\d.]+)?) (.+)$")
_PACK = re.compile(r"^(pack|set) of (\d+)$")

ABBREVIATIONS: tuple[tuple[str, str], ...] = (
    ("without", "w/o"),
    ("with", "w/"),
    ("bluetooth", "bt"),
    ("television", "tv"),
    ("replacement", "repl"),
    ("stainless steel", "ss"),
    ("and", "&"),
    ("wireless", "wrls"),
    ("large", "lrg"),
    ("birthday", "bday"),
    ("battery", "batt"),
    ("temperature", "temp"),
    ("vacuum", "vac"),
    ("refrigerator", "fridge"),
    ("microphone", "mic"),
)
"""What hurried shoppers shorten: (word, short form)."""

PUFFERY: tuple[str, ...] = (
    "best seller",
    "new version",
    "upgraded",
    "2024 model",
    "perfect gift idea",
    "for home and office",
    "great gift for mom dad",
    "top rated",
    "easy to use",
    "satisfaction guaranteed",
    "free shipping",
    "everyday essential",
    "trusted by professionals",
    "limited edition",
    "must have",
    "hot sale",
)
"""What sellers stuff into titles; it says nothing about the product."""


@cache
def ways_to_say(value: str) -> tuple[str, ...]:
    """All ways to say an attribute value, the plain one first.

    Example:
        >>> ways_to_say("16 oz")
        ('16 oz', '16oz', '16 ounce', '16 fl oz')
        >>> ways_to_say("pack of 6")
        ('pack of 6', '6 pack', '6pk', '6 count pack')
    """
    if pack := _PACK.match(value):
        word, number = pack.groups()
        other = (
            ("{n} pack", "{n}pk", "{n} count pack") if word == "pack" else ("{n} piece set", "{n} pc set", "set {n}")
        )
        return (value, *(text.format(n=number) for text in other))
    if (measure := _NUMBER.match(value)) and measure[2] in _UNITS:
        return (value, *(text.format(measure[1]) for text in _UNITS[measure[2]]))
    return (value, *OTHER_WORDS.get(value, ()))


def measure_of(value: str) -> tuple[str, str] | None:
    """Unit and number of a value that is a measure or a pack, or None.

    Example:
        >>> measure_of("16 oz"), measure_of("pack of 6"), measure_of("black")
        (('oz', '16'), ('pack of', '6'), None)
    """
    if pack := _PACK.match(value):
        return f"{pack[1]} of", pack[2]
    measure = _NUMBER.match(value)
    return (measure[2], measure[1]) if measure and measure[2] in _UNITS else None
