"""What every use of the Hub's client shares."""

import hashlib
import logging

import pytest

from mr_st.errors import MrStError
from mr_st.hub_client import (
    check_downloads,
    file_digests,
    hub_session,
    is_hub_id,
    license_terms,
    one_line,
    raise_hub_error,
)


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


def test_what_a_response_carries_that_is_secret_is_hidden(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plainsecret")
    line = one_line(
        "GET https://me:pw@host/a?X-Amz-Signature=abc&x=1 failed: b'Bearer xyz' http://h/b?token=plainsecret"
    )
    assert line == "GET https://[token]@host/a?[...] failed: b'[token]' http://h/b?[...]"


def test_no_log_record_holds_the_token_and_the_factory_is_given_back(caplog, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plainsecret")
    before = logging.getLogRecordFactory()
    logger = logging.getLogger("some.library")
    with caplog.at_level(logging.DEBUG), hub_session("given"):
        logger.debug("headers %s", [(b"X", b"plainsecret")])
        logger.warning("given in text")
        try:
            raise ValueError("no given here")
        except ValueError:
            logger.exception("failed")
    assert logging.getLogRecordFactory() is before
    assert "plainsecret" not in caplog.text
    assert "given" not in caplog.text
    assert "no [token] here" in caplog.text


def test_the_hubs_two_names_of_a_content(tmp_path):
    (tmp_path / "x").write_bytes(b"hello\n")
    names = (hashlib.sha256(b"hello\n").hexdigest(), "ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object
    assert file_digests(tmp_path / "x") == file_digests(b"hello\n") == names


def test_a_download_with_other_bytes_is_thrown_away(tmp_path):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "sha"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    right, _ = file_digests(b"right")
    (blobs / right).write_bytes(b"right")
    (blobs / "named-by-another-server").write_bytes(b"x")
    for name in (right, "named-by-another-server"):
        (snapshot / name[:5]).symlink_to(blobs / name)
    check_downloads(snapshot, "org/name")
    (blobs / right).write_bytes(b"wrong")
    with pytest.raises(MrStError, match="came with other bytes"):
        check_downloads(snapshot, "org/name")
    assert not (blobs / right).exists()
    check_downloads(snapshot, "org/name")
