"""Small datasets that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import pytest

from mr_st.data import GradedDataset


@pytest.fixture
def tables() -> dict[str, list[dict[str, Any]]]:
    """Two queries, three items, four judgments over two splits; every optional column is used once."""
    return {
        "queries": [
            {"query_id": "q1", "text": "red mug", "locale": "en-US", "frequency": 3.0},
            {"query_id": "q2", "text": "taza roja", "locale": "es-ES", "kind": "spelling", "source_query_id": "q1"},
        ],
        "items": [
            {"item_id": "a", "title": "Red mug", "category_path": ["Home", "Kitchen", "Mugs"], "brand": "Acme"},
            {"item_id": "b", "title": "Blue hat", "category_path": [], "description": "A hat", "color": "blue"},
            {"item_id": "c", "title": "Red cup", "category_path": ["Home"], "locale": "en-US"},
        ],
        "judgments": [
            {"query_id": "q2", "item_id": "c", "grade": 1, "split": "test", "confidence": 0.5},
            {"query_id": "q1", "item_id": "c", "grade": 1, "split": "train", "source": "oracle"},
            {"query_id": "q1", "item_id": "a", "grade": 2, "split": "train"},
            {"query_id": "q1", "item_id": "b", "grade": 0, "split": "test"},
        ],
    }


@pytest.fixture
def dataset(tables: dict[str, list[dict[str, Any]]]) -> GradedDataset:
    return GradedDataset.from_tables(**tables, name="tiny", license="MIT", source={"name": "by hand"})
