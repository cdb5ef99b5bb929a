"""The spelling channel's tables for Japanese: slips in kana, kanji chosen wrongly, okurigana left out.

Source: ours, written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OKURIGANA", "japanese_swaps", "japanese_table", "other_kana"]

OKURIGANA = frozenset("りいきしちみびえけげれせてべめ")
"""Kana that are often left out after a kanji (取り付け, 取付け)."""

_ROMAJI: dict[str, str] = {
    "": "あいうえお", "k": "かきくけこ", "s": "さしすせそ", "t": "たちつてと", "n": "なにぬねの", "h": "はひふへほ",
    "m": "まみむめも", "y": "や　ゆ　よ", "r": "らりるれろ", "w": "わ　　　を", "g": "がぎぐげご", "z": "ざじずぜぞ",
    "d": "だぢづでど", "b": "ばびぶべぼ", "p": "ぱぴぷぺぽ",
}  # fmt: skip
_SLIPS: dict[str, str] = {  # neighbouring keys that still type kana
    "k": "m", "s": "d", "t": "ry", "n": "bmh", "h": "gnb", "m": "nk", "y": "t", "r": "td", "g": "hb", "d": "sr",
    "b": "nh", "z": "s", "w": "s", "p": "", "": "",
}  # fmt: skip
_VOWEL_SLIPS = {0: (), 1: (2, 4), 2: (1,), 3: (), 4: (1,)}  # i, u and o lie side by side
_SMALL = "ぁあ ぃい ぅう ぇえ ぉお っつ ゃや ゅゆ ょよ ゎわ"
_VOICED = (
    "かが きぎ くぐ けげ こご さざ しじ すず せぜ そぞ ただ ちぢ つづ てで とど はば ひび ふぶ へべ ほぼ "
    "はぱ ひぴ ふぷ へぺ ほぽ ばぱ びぴ ぶぷ べぺ ぼぽ"
)
_ALIKE = "じぢ ずづ おを わは えへ"
_LOOKALIKE = "ソン シツ ノン ワク ヌス ウワ マア ラフ コユ テチ メナ"  # katakana only

_KANJI = (
    "暖温 堅固 堅硬 固硬 早速 熱暑 熱厚 暑厚 丸円 革皮 器機 製制 柔軟 箱函 台代 材財 線腺 髪紙 橋箸 足脚 型形 影陰 "
    "傘笠 釜窯 鋏挟 剣険 検険 複復 専門 間聞 側測 輪論 倍培 低底 末未 士土 待持 績積 栽裁 帳張 幅福 粉紛 網綱 縁緑 "
    "壁璧 枕沈 鏡境 眼眠 椀腕 碗椀 竿芋 箒帯 杯坏 盆分 刷擦 撮取 付着 表面 卓宅 鞄包 帽冒 靴鞄 裾袖"
)
_WORDS = (
    "機械/器械 保証/保障 製作/制作 意外/以外 自動/自働 子供/子ども 子供/こども 掃除機/掃除気 保温/補温 交換/交感 "
    "収納/集納 携帯/形態 電池/伝地 充電器/充電機 加湿器/加湿機 食器/食機 洗濯機/洗濯器 扇風機/扇風器 炊飯器/炊飯機 "
    "補聴器/補聴機 対応/体応 防水/防錐 軽量/計量 用品/洋品 洋服/用服 時計/とけい 財布/さいふ 帽子/ぼうし 鞄/かばん "
    "眼鏡/めがね 椅子/いす 布団/ふとん 鉛筆/えんぴつ 人形/にんぎょう 絨毯/じゅうたん 座布団/ざぶとん 傘/かさ 靴/くつ "
    "鍋/なべ 猫/ねこ 犬/いぬ 箱/はこ 女性/助成 男性/男声 大型/大形 小型/小形 新型/新形 薄型/薄形 折畳/折疊 水筒/水等 "
    "弁当箱/弁当函 照明/証明 電球/電級 冷蔵庫/冷倉庫 乾燥/感想 乾燥機/乾燥器 延長/園長 送料/総量 無料/無量 綿/麺"
)


def japanese_table() -> dict[str, dict[str, dict[str, float]]]:
    """The channel table for kana and kanji, in the form of ``spelling_tables``."""
    hiragana: dict[str, dict[str, float]] = {}
    rows = list(_ROMAJI)
    for consonant in rows:
        for vowel, kana in enumerate(_ROMAJI[consonant]):
            if kana == "　":
                continue
            slips = [_ROMAJI[other][vowel] for other in _SLIPS[consonant]]
            slips += [_ROMAJI[consonant][other] for other in _VOWEL_SLIPS[vowel]]
            slips = [slip for slip in slips if slip != "　"]
            hiragana[kana] = {"d": 0.2, "2": 0.06, "t": 0.2}
            hiragana[kana].update({f"s:{slip}": 0.2 / len(slips) for slip in slips})
    hiragana["ん"] = {"d": 0.5, "2": 0.2, "t": 0.15, "s:な": 0.05}
    for pairs, weight in ((_SMALL, 0.8), (_VOICED, 0.15), (_ALIKE, 0.25)):
        for one, other in _letters(pairs):
            hiragana.setdefault(one, {"d": 0.4, "t": 0.1})[f"s:{other}"] = weight
            back = weight if pairs != _SMALL else 0.1
            hiragana[other][f"s:{one}"] = hiragana[other].get(f"s:{one}", 0.0) + back
    table: dict[str, dict[str, float]] = {
        **hiragana,
        **{other_kana(kana): _in_katakana(edits) for kana, edits in hiragana.items()},
        "ー": {"d": 1.5, "2": 0.15, "t": 0.2},
        "ヴ": {"s:ブ": 0.8, "d": 0.1},
    }
    for one, other in _letters(_LOOKALIKE):
        table[one][f"s:{other}"] = table[one].get(f"s:{other}", 0.0) + 0.1
        table[other][f"s:{one}"] = table[other].get(f"s:{one}", 0.0) + 0.1
    for one, other in _letters(_KANJI):
        table.setdefault(one, {})[f"s:{other}"] = 1.0
        table.setdefault(other, {})[f"s:{one}"] = 1.0
    found = {"": table}
    for column, heard, written in ((4, "お", "う"), (3, "え", "い")):  # long vowels: おお for おう, ええ for えい
        for consonant in rows:
            left = _ROMAJI[consonant][column]
            if left != "　":
                found.setdefault(left, {})[written] = {f"s:{heard}": 0.5, "d": 0.5}
    return found


def japanese_swaps() -> dict[str, tuple[str, ...]]:
    """Kanji words and what an input method gives instead."""
    found: dict[str, list[str]] = {}
    for entry in _WORDS.split():
        word, wrong = entry.split("/")
        found.setdefault(word, []).append(wrong)
    return {word: tuple(wrong) for word, wrong in found.items()}


def other_kana(text: str) -> str:
    """Hiragana for katakana and the other way about; anything else stays.

    Example:
        >>> other_kana("カバン"), other_kana("くつ")
        ('かばん', 'クツ')
    """
    return "".join(
        chr(ord(c) - 0x60) if "ァ" <= c <= "ヴ" else chr(ord(c) + 0x60) if "ぁ" <= c <= "ゔ" else c for c in text
    )


def _letters(pairs: str) -> list[tuple[str, str]]:
    return [(pair[0], pair[1]) for pair in pairs.split()]


def _in_katakana(edits: Mapping[str, float]) -> dict[str, float]:
    return {edit[:2] + other_kana(edit[2:]): weight for edit, weight in edits.items()}
