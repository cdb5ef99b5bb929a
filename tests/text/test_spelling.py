"""The spelling channel: valid texts out of any text, edits as the tables say, protected parts, estimation."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mr_st.errors import MrStError, UsageError
from mr_st.text.spelling import EDITS_BY_LENGTH, Slip, SpellingChannel, edit_distance, text_rng
from mr_st.text.spelling_distance import align
from mr_st.text.spelling_estimate import estimate_channel
from mr_st.text.spelling_tables import keyboard
from mr_st.text.spelling_tokens import clusters, pieces

LOCALES = ("en", "es", "fr", "de", "ja", "ru", "zh", "und")
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="abcdefgklmñéßüÄœ '-0123", max_size=40),
    st.text(alphabet="赤靴暖温りきいくっゃかがんーカバンシツワヤヘッドe5 ", max_size=25),
    st.text(alphabet="กขาำเ้อحذاء ريُनि्कर가나가한글λόγος", max_size=25),
    st.text(alphabet="e\u0301n\u0303か\u3099\u200d👍🏽🇩🇪a", max_size=25),
)


def plain_distance(a: str, b: str) -> int:
    """Optimal string alignment by its definition."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return len(a) - i + len(b) - j
        best = min(rest(i + 1, j) + 1, rest(i, j + 1) + 1, rest(i + 1, j + 1) + (a[i] != b[j]))
        if a[i : i + 2] == b[j : j + 2][::-1] and len(a) - i > 1 and len(b) - j > 1:
            best = min(best, rest(i + 2, j + 2) + 1)
        return best

    return rest(0, 0)


def cost(slip: Slip) -> int:
    """How many edits of single characters a slip can amount to."""
    return edit_distance(slip.before, slip.after)


# ---- distance and clusters -----------------------------------------------------------------------------------------


@given(st.text(alphabet="abcé", max_size=8), st.text(alphabet="abcé", max_size=8))
@example("ca", "abc")
@example("ab", "ba")
@example("aab", "aba")
def test_distance_and_alignment_agree_with_the_plain_recursion(a: str, b: str) -> None:
    expected = plain_distance(a, b)
    assert edit_distance(a, b) == edit_distance(b, a) == expected
    steps = align(a, b)
    assert sum(step.kind != "keep" for step in steps) == expected
    assert "".join("".join(step.before) for step in steps) == a
    assert "".join("".join(step.after) for step in steps) == b
    assert all((step.before == step.after) == (step.kind == "keep") for step in steps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301a", ["e\u0301", "a"]),
        ("हिन्दी", ["हि", "न्दी"]),
        ("กำลัง", ["กำ", "ลั", "ง"]),
        ("👨‍👩‍👧🇩🇪🇫🇷👍🏽", ["👨‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽"]),
        ("ｶﾞ가각", ["ｶﾞ", "가", "각"]),
        ("\u0301a \u0301", ["\u0301", "a", " ", "\u0301"]),
    ],
)
def test_clusters_hold_together_what_belongs_together(text: str, expected: list[str]) -> None:
    assert clusters(text) == expected


@given(TEXTS, st.booleans())
def test_pieces_give_the_text_back(text: str, protect: bool) -> None:
    for chunk in unicodedata.normalize("NFC", text).split():
        assert "".join(piece.text for piece in pieces(chunk, protect)) == chunk


# ---- properties of a misspelling -----------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(LOCALES), st.integers(0, 2**32), st.booleans())
@example("\u1100A\u1161", "en", 0, True)  # Hangul letters that would run together
@example("क्Aक", "en", 0, True)
@example("AÀÀa", "en", 3839, True)
@example("\u094dA\u093aꯀ", "en", 10343541, False)  # a lone joiner first
def test_any_text_gives_valid_text_within_the_edits_drawn(
    text: str, locale: str, seed: int, must_change: bool
) -> None:
    clean = unicodedata.normalize("NFC", text)
    channel = SpellingChannel.default(locale)
    found, slips = channel.trace(text, random.Random(seed), must_change=must_change)
    assert found.encode("utf-8").decode("utf-8") == found
    assert unicodedata.is_normalized("NFC", found)
    assert bool(found.strip()) == bool(clean.strip())
    assert edit_distance(clean, found) <= sum(map(cost, slips))
    assert (found == clean) or slips
    for lone in clusters(found):  # no mark without its letter that had one before
        assert unicodedata.category(lone[0])[0] != "M" or lone in clusters(clean)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(LOCALES), st.integers(0, 1000))
def test_what_is_protected_stays_in_its_order(text: str, locale: str, seed: int) -> None:
    clean = unicodedata.normalize("NFC", text)
    protected = [piece.text for chunk in clean.split() for piece in pieces(chunk) if piece.is_protected]
    found, _ = SpellingChannel.default(locale).trace(clean, random.Random(seed), must_change=True)
    at = 0
    for part in protected:
        at = found.index(part, at) + len(part)


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.sampled_from(LOCALES), st.integers(0, 1000))
def test_variants_are_new_distinct_and_the_same_every_time(text: str, locale: str, seed: int) -> None:
    channel = SpellingChannel.default(locale)
    found = channel.variants(text, 3, seed)
    assert len(set(found)) == len(found) <= 3
    assert unicodedata.normalize("NFC", text) not in found
    fresh = SpellingChannel.from_dict(channel.to_dict())  # nothing in its caches
    assert fresh.variants(text, 3, seed) == found
    assert fresh.variants(text, 2, seed) == found[:2]


def test_same_result_in_other_processes_and_under_other_hash_seeds() -> None:
    texts = ["stainless steel water bottle", "größe weiße tasse", "折り畳み傘 ワイヤレス", "красные кроссовки"]
    script = (
        "import json, sys; from mr_st.text.spelling import SpellingChannel as C\n"
        "print(json.dumps([[C.default(l).identity, C.default(l).variants(t, 3, 5)] "
        "for l in ('en', 'de', 'ja') for t in json.loads(sys.argv[1])]))"
    )
    expected = [
        [SpellingChannel.default(locale).identity, SpellingChannel.default(locale).variants(text, 3, 5)]
        for locale in ("en", "de", "ja")
        for text in texts
    ]
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", script, json.dumps(texts)]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert json.loads(out) == expected


def test_the_draw_of_a_text_depends_on_text_and_seed_alone() -> None:
    assert text_rng("mug", 1).random() == text_rng("mug", 1).random()
    assert len({text_rng(text, seed).random() for text in ("mug", "mugs") for seed in (0, 1, -1)}) == 6


# ---- what the tables say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["mug", "bottle", "wallpaper"])
def test_edits_per_token_follow_the_table(word: str) -> None:
    channel = replace(SpellingChannel.default("en"), swap_share=0.0)
    rng, n_draws = random.Random(7), 6000
    counts = Counter(len(channel.trace(word, rng)[1]) for _ in range(n_draws))
    expected = next(chances for longest, chances in EDITS_BY_LENGTH if longest is None or len(word) <= longest)
    assert set(counts) <= set(range(len(expected)))
    observed = [counts[n] for n in range(len(expected))]
    assert chisquare(observed, [chance * n_draws for chance in expected]).pvalue > 0.001


def test_a_swap_is_tried_first_with_its_share() -> None:
    channel = SpellingChannel(table={}, fallback={"d": 1.0}, swaps={"steel": ("steal",)}, edits=((None, (1.0,)),))
    rng = random.Random(1)
    found = Counter(channel.misspell("steel", rng) for _ in range(4000))
    assert set(found) == {"steel", "steal"}
    assert 0.08 < found["steal"] / 4000 < 0.12
    alone = replace(channel, fallback={})
    assert alone.variants("STEEL", 9, 0) == ["STEAL"]
    assert alone.variants("Steel", 9, 0) == ["Steal"]


def test_left_contexts_are_mixed_by_their_weights() -> None:
    """After "ab", c: (.025 * 1 + .05 * 0 + .2 * 4) / (.025 + .05 + .2) for the edit s:x against s:y."""
    channel = SpellingChannel(
        table={"": {"c": {"s:x": 1.0, "s:y": 3.0}}, "b": {"c": {"s:y": 1.0}}, "ab": {"c": {"s:x": 4.0}}},
        fallback={},
        swap_share=0.0,
        edits=((None, (0.0, 1.0)),),
    )
    rng, n_draws = random.Random(2), 5000
    counts = Counter(channel.misspell("abc", rng) for _ in range(n_draws))
    assert set(counts) == {"abx", "aby"}
    x, y = 0.025 * 1 + 0.2 * 4, 0.025 * 3 + 0.05 * 1
    assert chisquare([counts["abx"], counts["aby"]], [n_draws * x / (x + y), n_draws * y / (x + y)]).pvalue > 0.001


def test_each_kind_of_edit_by_hand() -> None:
    def only(edit: str, text: str) -> set[str]:
        table = {"": {"b": {edit: 1.0}}}
        channel = SpellingChannel(table=table, fallback={}, swap_share=0.0, edits=((None, (0.0, 1.0)),))
        return set(channel.variants(text, 5, 0))

    assert only("d", "abc") == {"ac"}
    assert only("2", "abc") == {"abbc"}
    assert only("t", "abc") == {"acb"}
    assert only("s:xy", "abc") == {"axyc"}
    assert only("i:q", "abc") == {"abqc"}
    assert only("t", "aBc") == {"aCb"}
    assert only("s:x", "ABC") == {"AXC"}
    assert only("d", "ab") == set()  # one of two letters is no word
    assert only("t", "ab") == set()  # nothing to swap with


def test_keyboards_differ_by_locale() -> None:
    assert "w" in keyboard("en-US")["q"]
    assert "q" in keyboard("fr-FR")["a"]
    assert "q" in keyboard("fr-CA")["a"]
    assert "z" in keyboard("fr-FR")["a"]
    assert "z" in keyboard("de-DE")["t"]
    assert "ñ" in keyboard("es-MX")["l"]
    assert set(keyboard("en")["g"]) == set("tyfhvb")
    for locale in LOCALES:
        near = keyboard(locale)
        assert all(key in near[other] for key, keys in near.items() for other in keys)


@pytest.mark.parametrize(
    ("locale", "text", "expected"),
    [
        ("es", "niño", "nino"),
        ("es", "térmica", "termica"),
        ("fr", "théière", "théiere"),
        ("de", "weiße", "weisse"),
        ("de", "grün", "gruen"),
        ("en", "running", "runing"),
        ("ja", "いった", "いつた"),
        ("ja", "バッグ", "パッグ"),
        ("ja", "ケーキ", "ケキ"),
        ("ja", "カメラ", "かめら"),
        ("ja", "取り付け", "取付け"),
        ("ja", "掃除機", "掃除気"),
    ],
)
def test_natural_errors_are_among_the_variants(locale: str, text: str, expected: str) -> None:
    assert expected in SpellingChannel.default(locale).variants(text, 60, 0)


def _family(character: str) -> str:
    name = unicodedata.name(character, "")
    if "HIRAGANA" in name or "KATAKANA" in name:
        return "kana"
    return name.split(" ")[0].split("-")[0]


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("ja", "赤い折り畳み傘 ワイヤレスイヤホン スーパー"),
        ("fr", "théière à côté garçon œuvre"),
        ("es", "cañón niños lámpara"),
        ("de", "größe fußmatte übergrößen"),
        ("ru", "красные кроссовки ёлка"),
        ("el", "κόκκινα παπούτσια"),
        ("ar", "حذاء رياضي للرجال"),
        ("th", "รองเท้าวิ่งผู้ชาย"),
        ("ko", "남성 운동화 블루투스"),
        ("zh", "无线蓝牙耳机 运动"),
        ("hi", "हिन्दी किताबें"),
    ],
)
def test_every_script_stays_itself(locale: str, text: str) -> None:
    families = {_family(c) for c in text if not c.isspace()}
    variants = SpellingChannel.default(locale).variants(text, 40, 3)
    assert len(variants) > 10
    for variant in variants:
        assert {_family(c) for c in variant if not c.isspace()} <= families
        assert unicodedata.is_normalized("NFC", variant)
        known = {mark for cluster in clusters(text) for mark in cluster if unicodedata.category(mark)[0] == "M"}
        assert all(c in known for c in variant if unicodedata.category(c)[0] == "M")


def test_kanji_become_known_kanji_or_kana_only() -> None:
    channel = SpellingChannel.default("ja")
    known = {edit[2:] for edits in channel.table[""].values() for edit in edits if edit[:2] == "s:"}
    known |= {character for wrong in channel.swaps.values() for word in wrong for character in word}
    text = "軽量防水折畳傘 掃除機 赤靴 革財布"
    for variant in channel.variants(text, 50, 0):
        assert set(variant) <= set(text) | known
        assert len(variant) >= len(text) - 1  # no kanji is dropped


# ---- protection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["s21", "wh-1000xm4", "500 ml", "xl", "10 GB", "5枚", "1/2 inch", "５００ｍｌ", "m", "", " \t", "!?"]
)
def test_numbers_units_and_sizes_are_left_alone(text: str) -> None:
    channel = SpellingChannel.default("en")
    assert channel.variants(text, 3, 0) == []
    assert channel.misspell(text, random.Random(0), must_change=True) == text


def test_protection_can_be_turned_off() -> None:
    bold = replace(SpellingChannel.default("en"), protect=False)
    assert bold.variants("wh-1000xm4", 3, 0)
    assert not SpellingChannel.default("en").variants("wh-1000xm4", 3, 0)
    assert bold.identity != SpellingChannel.default("en").identity


def test_a_model_number_in_japanese_text_is_protected_and_the_rest_is_not() -> None:
    found = SpellingChannel.default("ja").variants("iphone13ケース", 10, 0)
    assert found
    assert all(variant.startswith("iphone13") for variant in found)


def test_at_most_so_many_edits() -> None:
    channel = replace(SpellingChannel.default("en"), max_edits=1)
    rng = random.Random(0)
    counts = Counter(len(channel.trace("comfortable mattress protectors waterproof", rng)[1]) for _ in range(500))
    assert set(counts) == {0, 1}
    assert counts[1] > 400


# ---- locales, files, faults ----------------------------------------------------------------------------------------


def test_another_locale_brings_its_own_tables() -> None:
    english = replace(SpellingChannel.default("en"), max_edits=1)
    german = english.in_locale("de-DE")
    assert german.table == SpellingChannel.default("de").table
    assert german.max_edits == 1
    assert english.in_locale("en-GB") is english
    assert english.in_locale("und") is english
    assert english.in_locale(None) is english
    draws = [english.misspell("weiße schuhe", random.Random(seed), "de") for seed in range(20)]
    assert draws == [german.misspell("weiße schuhe", random.Random(seed)) for seed in range(20)]


def test_saved_and_loaded(tmp_path: Path) -> None:
    channel = replace(SpellingChannel.default("ja"), max_edits=2, swap_share=0.3)
    channel.save(tmp_path / "channel.json")
    again = SpellingChannel.load(tmp_path / "channel.json")
    assert again.identity == channel.identity
    assert again.to_dict() == channel.to_dict()
    assert again.identity != SpellingChannel.default("ja").identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "its format is not"),
        ({"edits": [[None, [0.5, 0.4]]]}, "sum to 1"),
        ({"edits": [[3, [1.0]]]}, "any length"),
        ({"edits": 5}, "has another form"),
        ({"swap_share": 1.5}, "swap_share is 1.5"),
        ({"max_edits": 0}, "max_edits is 0"),
        ({"fallback": {"q": 1.0}}, "edit 'q'"),
        ({"fallback": {"d": -1.0}}, "weight -1.0"),
        ({"table": []}, "has another form"),
        ({"swaps": {"mug": [" "]}}, "swaps of 'mug'"),
        ({"colour": 1}, "has another form"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    path = tmp_path / "channel.json"
    path.write_text(json.dumps({**SpellingChannel.default("en").to_dict(), **change}))
    with pytest.raises(UsageError, match=message) as fault:
        SpellingChannel.load(path)
    assert str(path) in str(fault.value)


def test_a_file_that_is_no_json_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "channel.json").write_text("{")
    with pytest.raises(MrStError, match="not valid JSON"):
        SpellingChannel.load(tmp_path / "channel.json")
    with pytest.raises(MrStError, match="cannot be read"):
        SpellingChannel.load(tmp_path / "nothing.json")


# ---- estimation ----------------------------------------------------------------------------------------------------

WORDS = (
    "letter bottle table kettle pillow carpet mirror candle basket ladder hammer blender heater cooler pepper".split()
)


def test_estimation_recovers_a_planted_channel() -> None:
    """e becomes a in one of five, and after t it is dropped in one of two; l is doubled in one of ten."""
    rng = random.Random(3)
    pairs = []
    for _ in range(4000):
        word, out = rng.choice(WORDS), ""
        for at, letter in enumerate(word):
            drawn = rng.random()
            if letter == "e" and word[at - 1 : at] == "t":
                out += "" if drawn < 0.5 else "e"
            elif letter == "e":
                out += "a" if drawn < 0.2 else "e"
            else:
                out += letter * 2 if letter == "l" and drawn < 0.1 else letter
        pairs.append((word, out))
    table = estimate_channel(pairs).table
    assert table["t"]["e"]["d"] == pytest.approx(0.5, abs=0.04)
    assert table["p"]["e"] == {"s:a": pytest.approx(0.2, abs=0.05)}
    assert table["t"]["l"].get("2", 0.0) == pytest.approx(0.1, abs=0.03)
    assert table["b"]["a"] == {}
    assert max(table[""]["e"], key=lambda edit: table[""]["e"][edit]) in ("s:a", "d")


def test_a_channel_estimated_from_a_channel_errs_like_it() -> None:
    source = replace(SpellingChannel.default("en"), swap_share=0.0)
    rng = random.Random(0)
    words = [word for word in WORDS for _ in range(600)]
    found = estimate_channel([(word, source.misspell(word, rng)) for word in words])
    by_length = dict(found.edits)
    assert by_length[6][0] == pytest.approx(0.7, abs=0.03)
    assert by_length[6][1] == pytest.approx(0.15, abs=0.03)
    again = Counter(found.misspell("letter", rng) for _ in range(3000))
    first = Counter(source.misspell("letter", rng) for _ in range(3000))
    assert {word for word, _ in again.most_common(2)} == {word for word, _ in first.most_common(2)}


def test_estimation_counts_by_hand() -> None:
    pairs = [("red mug", "red mgu"), ("red mug", "red mug"), ("s21 mug", "s22 mug"), ("big mug", "big mugg")]
    channel = estimate_channel(pairs, smoothing=1.0, min_count=1)
    assert channel.table["m"]["u"] == {"t": 1 / 5}  # four mugs and one for smoothing
    assert channel.table["u"]["g"] == {"2": 1 / 5}
    assert "s" not in channel.table[""]  # a model number tells nothing
    assert dict(channel.edits)[3] == pytest.approx(((5 + 0.9) / 8, (2 + 0.1) / 8))


def test_estimation_takes_far_words_for_swaps() -> None:
    pairs = [("blue sofa", "blue couch")] * 3 + [("blue sofa", "blue sofa")] * 3
    channel = estimate_channel(pairs)
    assert set(channel.swaps) == {"sofa"}
    assert set(channel.swaps["sofa"]) == {"couch"}
    assert channel.swap_share == pytest.approx((3 + 0.1) / (6 + 1))
    assert "couch" in channel.variants("sofa", 20, 0)


def test_estimation_follows_words_that_run_together_and_other_scripts() -> None:
    channel = estimate_channel(
        [("water proof", "waterproof"), ("赤いバッグ", "赤いパッグ"), ("кофе", "коффе")], min_count=1
    )
    assert channel.table["^"]["バ"] == {"s:パ": 0.5}
    assert channel.table["о"]["ф"] == {"2": 0.5}
    assert channel.table["e"]["r"] == {}


def test_an_unseen_letter_errs_at_the_average_rate() -> None:
    channel = estimate_channel([("aaaa bbbb", "aaaa bbbc")])
    assert sum(channel.fallback.values()) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        ([], {}),
        ([("mug", "mug")], {}),
        ([("s21", "s22")], {}),
        ([("mug", "mgu")], {"smoothing": 0}),
        ([("mug", "mgu")], {"min_count": 0}),
    ],
)
def test_estimation_refuses_what_tells_nothing(pairs: list, options: dict) -> None:
    with pytest.raises(UsageError, match="estimate_channel"):
        estimate_channel(pairs, **options)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), TEXTS)
@example([("AAÀÀ", " ")], "AAÀÀ")
def test_estimation_takes_any_texts(pairs: list[tuple[str, str]], text: str) -> None:
    try:
        channel = estimate_channel(pairs, min_count=1)
    except UsageError:
        return
    for variant in channel.variants(text, 3, 0):
        assert unicodedata.is_normalized("NFC", variant)
        assert variant.strip()
    assert SpellingChannel.from_dict(channel.to_dict()).identity == channel.identity
