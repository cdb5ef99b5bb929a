"""The default tables of the spelling channel for alphabets: keyboards, accents, sounds, words taken for others.

A table is ``{left context: {character: {edit: weight}}}``. An edit is written ``d`` (dropped), ``2`` (doubled), ``t``
(swapped with the next), ``s:x`` (x instead) or ``i:x`` (x slipped in after it). Weights are errors for each
occurrence, on any common scale; ``^`` in a left context is the start of a word.

Source: ours, written by hand; the kinds of error after Damerau (1964).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from mr_st.text.spelling_japanese import japanese_swaps, japanese_table

__all__ = ["FALLBACK", "Table", "default_swaps", "default_table", "keyboard"]

Table = dict[str, dict[str, dict[str, float]]]

FALLBACK: dict[str, float] = {"d": 0.4, "2": 0.2, "t": 0.4}
"""What can happen to a letter that no table knows: edits that are safe in any script."""

_LAYOUTS: dict[str, tuple[str, str, str]] = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwerty-es": ("qwertyuiop", "asdfghjklñ", "zxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
    "qwertz": ("qwertzuiop", "asdfghjkl", "yxcvbnm"),
    "qwertz-de": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
}
_LAYOUT_OF = {
    "es": "qwerty-es", "fr": "azerty", "fr-ca": "qwerty", "fr-ch": "qwertz",
    "de": "qwertz-de", "de-ch": "qwertz", "cs": "qwertz", "hu": "qwertz", "sk": "qwertz", "sl": "qwertz",
    "hr": "qwertz",
}  # fmt: skip

_KEYS = {"d": 0.28, "t": 0.22, "2": 0.1}  # edits that need no neighbour
_NEXT_KEY, _SLIPPED_IN, _BY_EAR = 0.24, 0.06, 0.12  # and those that do

_SOUNDS: dict[str, str] = {
    "en": "ae ea ei ie oa ao ou uo iy yi sc cs sz zs ck kc kq gj jg vw fv vf tx mn nm dt",
    "es": "bv vb cs sc sz zs zc cz gj jg yi iy ck kc mn nm éí íé ié ei ie",
    "fr": "sc cs ck kc gj jg ea ae yi iy éè èé êe mn nm sz zs oa uo",
    "de": "vf fv ck kc dt td bp pb gk kg zs sz äe üy yi iy mn nm wv",
}
_WHOLE_ACCENT: dict[str, str] = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l"}
_GERMAN = {"ä": "ae", "ö": "oe", "ü": "ue"}

# left context + letter, edit, weight; "|" parts the context from the letter
_RULES: dict[str, str] = {
    "en": "c|k d 1.2, g|h d 1.2, w|h d 1.5, p|h d .6, r|h d 1.2, ec|e t 2, ei|g t .8, ti|o t .8, si|o t .8, "
    "an|c s:s .8, en|c s:s .8, ab|l t .5, ib|l t .5, ^k|n d 1, ^w|r d 1, ou|s d .8, ea|u d 1, ur|e d .8, "
    "ui|t d .8, ^ps|y s:i 1, oo|t s:d .4, it|t d 2, ^|h d .3, ow|e d .8",
    "es": "^|h d 4, l|l d 1.2, q|u d .4, n|v s:b 1.5, m|b s:v 1, m|p t .5, ^|b s:v 2, ^|v s:b 2, ie|n t .5, "
    "ci|o t .6, ^g|e t .3, ^|z s:s 2, x|c d 1.5",
    "fr": "^|h d 3, p|h d .8, t|h d 1.2, ea|u t .8, au|x d 2, e|s d .6, q|u d .4, ai|l t .6, eu|i t .8, o|n s:m .3, "
    "en|t s:d .2, s|c d .8, ch|a t .3",
    "de": "i|e d 1.2, c|k d 1.2, e|h d 1.2, a|h d 1.2, o|h d 1.2, t|h d 1.2, r|h d 1.5, sc|h d .8, ei|ß s:s 2, "
    "e|i t 1, d|t d 1, t|z d 1, p|h d .6, ie|h d 1",
}

_CONFUSIONS: dict[str, str] = {
    "en": "their/there to/too two/to womens/woman's men/man women/woman mens/men heel/heal sole/soul pair/pear "
    "plain/plane brake/break flour/flower steel/steal stationery/stationary bare/bear mail/male sleeve/sleave "
    "jewelry/jewlery jewelry/jewellery necklace/neckless calendar/calender mattress/matress vacuum/vaccum "
    "bracelet/braclet umbrella/umberella accessories/accesories accessory/accesory earrings/earings "
    "bluetooth/blutooth wireless/wirless refrigerator/refridgerator cable/cabel table/tabel candle/candel "
    "label/lable handle/handel sandals/sandles aluminum/aluminium luggage/lugage whisk/wisk grey/gray "
    "color/colour tire/tyre keyboard/keybord charger/charjer speaker/speeker cushion/cusion curtain/curtin "
    "curtains/curtins receiver/reciever leather/lether kitchen/kichen bicycle/bycicle schedule/scedule "
    "lightning/lightening lamp/lampe ceiling/cieling cellphone/celphone toothbrush/toothbrash "
    "conditioner/condishoner scissors/sissors thermometer/thermometor mirror/mirrior wallet/walet "
    "laptop/labtop desk/disk quilt/quit duvet/duvay razor/razer vitamin/vitimin protein/protien for/four "
    "with/whit without/witout small/smal large/larg black/balck white/withe waterproof/water proof "
    "headphones/head phones backpack/back pack hairdryer/hair drier",
    "es": "hombre/ombre mujer/muger vaso/baso bolso/volso zapatos/sapatos zapatillas/sapatillas "
    "inalámbrico/inalanbrico auriculares/auricurales cinturón/sinturon tubo/tuvo taza/tasa hervidor/erbidor "
    "horno/orno lavadora/labadora vestido/bestido cajón/cagon jersey/yersey chaqueta/chaketa mochila/mochilla "
    "batería/bateria botella/boteya silla/siya llavero/yavero cepillo/sepillo cocina/cosina manzana/mansana "
    "hilo/ilo helado/elado cobija/covija móvil/movil portátil/portatil lápiz/lapis niño/nino niña/nina "
    "para/pa zapato/sapato cafetera/cafetara aspiradora/aspirador almohada/almoada colchón/colchon "
    "toalla/toaya juguete/jugete gafas/jafas",
    "fr": "verre/vert verre/ver pot/peau fil/file thé/té sel/selle balle/bal mur/mûre chaussures/chausures "
    "chaussure/chausure ordinateur/ordinatuer accessoire/accesoire femme/fame homme/home enfant/enfan "
    "lunettes/lunette casque/casques sac/sacs vaisselle/vaiselle aspirateur/asspirateur rideau/rido "
    "bureau/burau oreiller/oreillé cahier/cayer collier/colier bouteille/bouteil tapis/tapi draps/dras "
    "matelas/matela veste/vest manteau/mento pantalon/pentalon écouteurs/ecouteur chargeur/charjeur "
    "couteau/couto bouilloire/bouiloire cafetière/cafetiere sans/sens pour/pou théière/teière",
    "de": "seite/saite mine/miene das/dass standard/standart matratze/matraze fahrrad/farrad batterie/baterie "
    "teppich/tepich adapter/adabter portemonnaie/portmonee kissen/küssen schuhe/schue damen/dammen "
    "herren/heren kaffee/kafee kaffeemaschine/kafeemaschine staubsauger/staubsager rucksack/ruksack "
    "handtuch/hantuch spülmaschine/spühlmaschine wecker/weker waage/wage kopfhörer/kopfhöhrer "
    "ladegerät/ladegeret decke/deke stuhl/stul sessel/sesel vorhang/forhang regal/regahl lampe/lamp "
    "zahnbürste/zanbürste mikrowelle/microwelle tasse/tase weihnachten/weinachten ohne/one kabellos/kabelos "
    "wasserkocher/waserkocher reifen/raifen",
}


def keyboard(locale: str) -> dict[str, str]:
    """Each letter's neighbours on the keyboard of a locale: QWERTY unless the locale has another.

    Example:
        >>> keyboard("fr-FR")["a"], keyboard("en-US")["a"]
        ('zq', 'qwsz')
    """
    tag = locale.lower()
    layout = _LAYOUT_OF.get(tag, _LAYOUT_OF.get(tag.split("-")[0], "qwerty"))
    rows = _LAYOUTS[layout]
    near: dict[str, str] = {}
    for r, row in enumerate(rows):
        above, below = rows[r - 1] if r else "", rows[r + 1] if r + 1 < len(rows) else ""
        for at, key in enumerate(row):  # a key stands below the gap between its own column and the next
            near[key] = (
                above[at : at + 2]
                + row[max(0, at - 1) : at]
                + row[at + 1 : at + 2]
                + below[max(0, at - 1) : at]
                + below[at : at + 1]
            )
    return near


def default_table(locale: str) -> Table:
    """The built-in channel table of a locale: its keyboard, accents and sounds; kana and kanji are in each."""
    language = _language(locale)
    table: Table = {"": {}}
    near = keyboard(locale)
    sounds = _pairs(_SOUNDS.get(language, ""))
    for key, keys in near.items():
        edits = dict(_KEYS)
        for other in keys:
            edits[f"s:{other}"] = _NEXT_KEY / len(keys)
            edits[f"i:{other}"] = _SLIPPED_IN / len(keys)
        table[""][key] = edits
    for letter, base in _accents():
        edits = table[""].setdefault(letter, {"d": 0.1, "t": 0.1})
        for kept in [key for key in edits if key[:2] in ("s:", "i:")]:  # typed without its accent, rarely as another
            edits[kept] /= 4
        edits[f"s:{base}"] = 3.0
        if language == "de" and letter in _GERMAN:
            edits[f"s:{base}"], edits[f"s:{_GERMAN[letter]}"] = 1.2, 1.8
    for letter, heard in sounds.items():
        edits = table[""].setdefault(letter, dict(_KEYS))
        for other in heard:
            edits[f"s:{other}"] = edits.get(f"s:{other}", 0.0) + _BY_EAR / len(heard)
    table[""]["'"] = table[""]["’"] = {"d": 4.0}
    for letter in near:
        table.setdefault(letter, {})[letter] = {"d": 2.0, "t": 0.0}  # a double letter loses one
    for left, letter, edit, weight in _rules(_RULES.get(language, "")):
        table.setdefault(left, {}).setdefault(letter, {})[edit] = weight
    return table if language in ("zh", "yue", "wuu") else _merged(table, japanese_table())


def default_swaps(locale: str) -> dict[str, tuple[str, ...]]:
    """Words and what is written for them by mistake: homophones, old misspellings, wrong kanji."""
    language = _language(locale)
    swaps: dict[str, list[str]] = {}
    for entry in _entries(_CONFUSIONS.get(language, "")):
        word, wrong = entry.split("/")
        swaps.setdefault(word, []).append(wrong)
    found = {word: tuple(wrong) for word, wrong in swaps.items()}
    return found if language in ("zh", "yue", "wuu") else {**japanese_swaps(), **found}


def _entries(text: str) -> list[str]:
    """Entries are parted by blanks; a part without a slash goes on with the entry before (water proof)."""
    entries: list[str] = []
    for part in text.split():
        if "/" in part:
            entries.append(part)
        else:
            entries[-1] += f" {part}"
    return entries


def _language(locale: str) -> str:
    return locale.lower().split("-")[0]


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split():
        found[pair[0]] = found.get(pair[0], "") + pair[1]
    return found


def _rules(text: str) -> Iterable[tuple[str, str, str, float]]:
    for rule in filter(None, (part.strip() for part in text.split(","))):
        where, edit, weight = rule.split(" ")
        left, letter = where.split("|")
        yield left, letter, edit, float(weight)


@cache
def _accents() -> tuple[tuple[str, str], ...]:
    """Lower-case letters with an accent, and the letters that are typed when it is left off."""
    found = list(_WHOLE_ACCENT.items())
    for code in (*range(0xDF, 0x180), *range(0x1E00, 0x1F00)):  # Latin-1, Extended-A, Vietnamese
        letter = chr(code)
        base = unicodedata.normalize("NFD", letter)[0]
        if letter.islower() and base.isascii() and base.isalpha():
            found.append((letter, base))
    return tuple(found)


def _merged(first: Table, second: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    for left, characters in second.items():
        for character, edits in characters.items():
            first.setdefault(left, {})[character] = dict(edits)
    return first
