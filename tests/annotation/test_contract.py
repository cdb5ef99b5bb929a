"""What every annotator must do, run over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import CrossEncoder

from mr_st.annotation import Annotations, Annotator, CrossEncoderAnnotator, JudgmentAnnotator, PairTable

QUERIES = {"q1": "red shirt", "q2": "usb mouse"}
ITEMS = {
    "i1": "red cotton shirt. Category: Clothing",
    "i2": "mug",
    "i3": "wireless mouse for the office desk. Category: Electronics",
    "i4": "lamp",
}


class ModuloPolicy:
    """A callable policy with an identity, that knows the pairs of QUERIES and ITEMS."""

    identity = "modulo-v1"

    def __call__(self, query_id: str, item_id: str) -> int:
        if query_id not in QUERIES or item_id not in ITEMS:
            raise KeyError(query_id)
        return (int(query_id[1]) + int(item_id[1])) % 3


class VectorPolicy(ModuloPolicy):
    """The same with the vectorised method that the marketplace's policy offers."""

    def grades(self, query_ids, item_ids):
        return np.array([self(q, i) for q, i in zip(query_ids, item_ids, strict=True)], dtype=np.int64)


@pytest.fixture(scope="module")
def annotators(tiny_base) -> dict[str, Annotator]:
    table = {(q, i): ModuloPolicy()(q, i) for q in QUERIES for i in ITEMS}
    encoder = CrossEncoder(str(tiny_base), num_labels=3, device="cpu")
    return {
        "policy": JudgmentAnnotator(ModuloPolicy()),
        "vectorised": JudgmentAnnotator(VectorPolicy()),
        "table": JudgmentAnnotator(table),
        "cross-encoder": CrossEncoderAnnotator(encoder, batch_size=2, temperature=1.5),
    }


@pytest.fixture(params=["policy", "vectorised", "table", "cross-encoder"])
def annotator(request, annotators) -> Annotator:
    return annotators[request.param]


def table_of(keys: list[tuple[str, str]]) -> PairTable:
    return PairTable(
        [q for q, _ in keys], [i for _, i in keys], [QUERIES[q] for q, _ in keys], [ITEMS[i] for _, i in keys],
        ["en-US"] * len(keys),
    )  # fmt: skip


ALL = [(q, i) for q in QUERIES for i in ITEMS]


def test_is_an_annotator(annotator):
    assert isinstance(annotator, Annotator)
    assert isinstance(annotator.identity, str)
    assert annotator.identity
    assert not set(annotator.identity) & set(" :/\t\n")


def test_shapes_types_and_distributions(annotator):
    annotations = annotator.grade(table_of(ALL))
    assert isinstance(annotations, Annotations)
    assert annotations.grades.dtype == np.int8
    assert annotations.grades.shape == (8,)
    assert annotations.probabilities.dtype == np.float32
    assert annotations.probabilities.shape == (8, 3)
    np.testing.assert_allclose(annotations.probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(annotations.probabilities.argmax(axis=1), annotations.grades)


def test_a_pairs_grade_does_not_depend_on_its_company(annotator):
    together = annotator.grade(table_of(ALL))
    for n, key in enumerate(ALL):
        alone = annotator.grade(table_of([key]))
        assert alone.grades[0] == together.grades[n]
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[n], atol=1e-5)


def test_order_and_repeats(annotator):
    order = [7, 0, 0, 3, 3, 1]
    together = annotator.grade(table_of(ALL))
    mixed = annotator.grade(table_of(ALL).take(order))
    np.testing.assert_array_equal(mixed.grades, together.grades[order])
    np.testing.assert_allclose(mixed.probabilities, together.probabilities[order], atol=1e-5)


def test_no_pairs(annotator):
    annotations = annotator.grade(table_of([]))
    assert annotations.grades.shape == (0,)
    assert annotations.probabilities.shape == (0, 3)


def test_identities_differ_between_annotators_but_not_between_calls(annotators):
    first = [annotator.identity for annotator in annotators.values()]
    assert first == [annotator.identity for annotator in annotators.values()]
    # the two policies name themselves alike; the table and the model are something else
    assert len(set(first)) == 3
