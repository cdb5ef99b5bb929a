"""Small datasets that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import pytest

from mr_st.data import GradedDataset
from mr_st.grades import ESCI_FOUR_GRADES


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


@pytest.fixture
def full_dataset() -> GradedDataset:
    """Every optional column filled and null, empty texts beside nulls, four grades, engagement, several scripts."""
    return GradedDataset.from_tables(
        queries=[
            {"query_id": "q1", "text": "tasse à café", "locale": "fr-FR", "frequency": 12.5, "kind": "organic"},
            {"query_id": "q2", "text": "コーヒーカップ", "locale": "ja-JP", "frequency": None, "kind": "synthetic"},
            {"query_id": "q3", "text": "tase à café", "locale": "fr-FR", "frequency": 0.0, "kind": "spelling",
             "source_query_id": "q1"},
            {"query_id": "q4", "text": "nobody judged this", "locale": "en-US"},
        ],
        items=[
            {"item_id": "b", "title": "Tasse à café, grès émaillé", "category_path": ["Maison", "Cuisine", "Tasses"],
             "description": "", "brand": None, "color": "bleu", "locale": "fr-FR"},
            {"item_id": "a", "title": "マグカップ 350ml", "category_path": [], "description": None, "brand": "",
             "color": None, "locale": "ja-JP"},
            {"item_id": "c", "title": "", "category_path": ["Home", ""], "description": "x" * 900, "brand": "Acmé",
             "color": "", "locale": "en-US"},
        ],
        judgments=[
            {"query_id": "q2", "item_id": "a", "grade": 3, "split": "test", "source": "oracle", "confidence": 0.1},
            {"query_id": "q1", "item_id": "b", "grade": 2, "split": "train", "source": "human", "confidence": None},
            {"query_id": "q1", "item_id": "a", "grade": 1, "split": "test", "source": "llm:x", "confidence": 1.0},
            {"query_id": "q3", "item_id": "b", "grade": 2, "split": "dev", "source": "mined:m", "confidence": 0.0},
            {"query_id": "q2", "item_id": "c", "grade": 0, "split": "train", "source": "human", "confidence": 0.75},
        ],
        engagement=[
            {"query_id": "q1", "item_id": "b", "impressions": 9, "clicks": 3, "add_to_carts": 1, "purchases": 0},
            {"query_id": "q4", "item_id": "a", "impressions": 2**40, "clicks": 0, "add_to_carts": 0, "purchases": 0},
        ],
        scale=ESCI_FOUR_GRADES,
        name="Tassen & カップ",
        license="CC-BY-4.0",
        source={"name": "by hand", "seed": 0, "parts": ["a", {"b": None}]},
    )  # fmt: skip
