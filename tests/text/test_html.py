"""Text made safe inside HTML."""

from __future__ import annotations

import json

import pytest

from mr_st.text.html import markdown_html, script_json


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a & b", "]]>", "\u2028 line", 'quote " and \\'])
def test_json_in_a_script_keeps_its_text_and_cannot_end_the_element(text):
    found = str(script_json({"t": text}))
    assert json.loads(found) == {"t": text}
    assert not set("<>&\u2028") & set(found)


def test_html_in_markdown_shows_as_text():
    found = str(markdown_html("**bold** <script>x</script>\n\n[a](https://example.org)"))
    assert "<strong>bold</strong>" in found
    assert "<script>" not in found
    assert 'rel="noopener noreferrer"' in found


def test_pictures_show_as_their_description_or_where_they_are_said_to_be():
    text = "![a plot](plot.png) ![far](https://example.org/x.png)"
    assert "<img" not in str(markdown_html(text))
    assert "a plot" in str(markdown_html(text))
    found = str(markdown_html(text, {"plot.png": "card/0-plot.png"}.get))
    assert found.count("<img") == 1
    assert 'src="card/0-plot.png"' in found
