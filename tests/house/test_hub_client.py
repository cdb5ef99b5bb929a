"""What every use of the Hub's client shares."""

import pytest

from mr_st.errors import MrStError
from mr_st.hub_client import is_hub_id, license_terms, one_line, raise_hub_error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", True), ("a-b/c.d_e", True), ("name", False), ("./name", False), ("../name", False),
        ("~/name", False), ("/name", False), ("a/b/c", False), ("org/na me", False), ("org/..", False), ("", False),
        ("org/", False), ("org/name\n", False), ("org/né", False),
    ],
)  # fmt: skip
def test_which_texts_are_ids(text, expected):
    assert is_hub_id(text) is expected


def test_licences():
    assert license_terms("MIT") == {"license": "mit"}
    assert license_terms("My own, v2") == {"license": "other", "license_name": "my-own-v2"}
    assert license_terms("許可") == {"license": "other", "license_name": "other"}
    assert license_terms("unknown") == license_terms(None) == license_terms(" ") == {}


def test_text_from_elsewhere_is_one_short_line_without_tokens(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plainsecret")
    line = one_line("a\n\x1b[31mb hf_abcdefgh Bearer xyz plainsecret given " + "c" * 500, token="given")
    assert "hf_abc" not in line
    assert "xyz" not in line
    assert "plainsecret" not in line
    assert "given" not in line
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) == 240


def test_a_defect_is_no_fault_of_the_hub():
    with pytest.raises(ZeroDivisionError):
        raise_hub_error(ZeroDivisionError(), "org/name", "committing", None, "")
    with pytest.raises(MrStError, match="no connection"):
        raise_hub_error(ConnectionError(), "org/name", "committing", None, "")
