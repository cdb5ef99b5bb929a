"""What the other browser tests rely on: an outward request, a complaint or a fault of a page does fail its test."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_visit import PageVisit

pytestmark = pytest.mark.browser

PAGE = "<!doctype html><html lang='en'><title>t</title><link rel='icon' href='data:,'><main><h1>t</h1>{}</main></html>"


def write(folder: Path, body: str) -> Path:
    (folder / "index.html").write_text(PAGE.format(body), encoding="utf-8")
    return folder / "index.html"


@pytest.mark.parametrize(
    "body",
    [
        "<img alt='a' src='http://127.0.0.1:9/a.png'>",
        "<img alt='a' src='../beside.png'>",
        "<script>console.error('wrong')</script>",
        "<script>throw new Error('wrong')</script>",
        "<script>alert('wrong')</script>",
    ],
)
def test_a_page_that_misbehaves_is_found_out(chromium, tmp_path, body):
    path = write(tmp_path, body)
    visit = PageVisit(chromium, allowed=(tmp_path.as_uri() + "/",))
    visit.open(path).wait_for_load_state("load")
    with pytest.raises(AssertionError):
        visit.close()


def test_axe_names_the_fault_and_passes_a_sound_page(visit, axe, tmp_path):
    axe(visit(write(tmp_path, "<p>Some text.</p>")))
    with pytest.raises(AssertionError, match=r"critical image-alt: .*\n.*img"):
        axe(visit(write(tmp_path, "<img src='data:,'>")))
    with pytest.raises(AssertionError, match="color-contrast"):
        axe(visit(write(tmp_path, "<p style='color: #ddd; background: #fff'>Some text.</p>")))


def test_axe_examines_a_page_whose_policy_runs_no_other_script(visit, axe, tmp_path):
    policy = (
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; script-src 'self'; img-src data:\">"
    )
    path = tmp_path / "index.html"
    path.write_text(PAGE.format("<img src='data:,'>").replace("<title>", policy + "<title>"))
    for options in ({}, {"bypass_csp": True}):
        with pytest.raises(AssertionError, match="image-alt"):
            axe(visit(path, **options))
