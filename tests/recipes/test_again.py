"""A run's card made anew: only from a finished training."""

from __future__ import annotations

from pathlib import Path

import pytest

from mr_st.errors import MrStError
from mr_st.recipes import bundled_recipe
from mr_st.recipes.again import publish_again
from mr_st.recipes.steps import Steps


def test_an_unfinished_training_is_not_published_and_nothing_is_removed(tmp_path: Path) -> None:
    Steps(tmp_path).once("data", "Data", {}, lambda folder: {})
    (tmp_path / "report").mkdir()
    with pytest.raises(MrStError, match=r"stage1, .*not finished there; run the recipe first"):
        publish_again(bundled_recipe("marketplace"), tmp_path)
    assert (tmp_path / "report").is_dir()
