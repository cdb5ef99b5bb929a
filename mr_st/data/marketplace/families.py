"""Device families: the models that accessories and refills must fit. A value is brand and model together."""

from __future__ import annotations

__all__ = ["FAMILIES"]


def _models(**brands: str) -> tuple[tuple[str, str], ...]:
    return tuple((brand.replace("_", " "), model) for brand, models in brands.items() for model in models.split("|"))


FAMILIES: dict[str, tuple[tuple[str, str], ...]] = {
    "phone": _models(
        Orbis="S20|S20 Plus|S21|S21 Ultra|A5", Kanto="One|One Pro|Two|Two Pro Max|Mini", Velta="8|8 Lite|9|9 Pro"
    ),
    "tablet": _models(Orbis="Tab 10|Tab 11|Tab 8 Kids", Kanto="Slate Air|Slate Pro 12|Slate Mini"),
    "laptop": _models(Velta="Book 13|Book 15|Book 16 Pro", Harrow="Flex 14|Flex 15|Workmate 17"),
    "watch": _models(Orbis="Fit 3|Fit 4|Watch 5", Kanto="Pulse SE|Pulse 7|Pulse Ultra"),
    "printer": _models(Inkwell="4520|4530|8025 Pro|XP 15", Harrow="Jet 310|Jet 510|LaserMate 20"),
    "console": _models(Playbox="X|X2|Go", Nimbus="Switchboard|Station 4|Station 5"),
    "camera": _models(Fokal="R6|R10|D90", Arriva="Z5|Z50|A7"),
    "robot vacuum": _models(Rondo="R5|R7|R7 Plus|S9", Dustin="Mop 2|Mop 3|Pro 10"),
    "pod system": _models(Brewster="Classic|Mini|Vertu", Perko="K1|K2|K-Duo"),
    "razor": _models(Stryde="Three|Five|Sensitive", Barrow="Edge 3|Edge 5"),
    "toothbrush": _models(Dentiva="Pro 1000|Pro 3000|iO 5", Sonique="4100|6100|Kids"),
    "tool battery": _models(Ironpeak="12V|20V Max|40V", Forgeman="18V One|18V HD"),
    "car": _models(Tavera="Civet|Civet Sport|Ridge", Monarch="Falcon|Falcon XL|Comet", Aurelo="A4|A6|Q5"),
    "water pitcher": _models(Clearbrook="Classic 10|Slim 5|Elite", Aquara="Pure 2|Pure 6"),
    "stroller": _models(Strollaway="City|City Twin|Trek", Pebblo="Nano|Nano 2|Joy"),
}
