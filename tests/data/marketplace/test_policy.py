"""The relevance policy, rule by rule, on hand-made listings; and the judge over a dataset."""

from __future__ import annotations

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.data.marketplace import Intent, Listing, MarketplacePolicy, grade, load_marketplace
from mr_st.errors import DataError, UsageError


def listing(kind: str, **stated: str) -> Listing:
    return Listing(kind, {name: tuple(values.split("|")) for name, values in stated.items()})


MUG = Intent("type", ("travel mug",), siblings=("thermos",), partners=("coffee maker",))
NAVY_MUG = Intent(
    "attribute", ("travel mug",), required=(("color", "navy"),), siblings=("thermos",), partners=("lid",)
)
BLUE_20OZ = Intent("attribute", ("travel mug",), required=(("capacity", "20 oz"), ("color", "blue")))
CASE = Intent(
    "compatibility",
    ("phone case",),
    required=(("fits", "Orbis S20"),),
    siblings=("pouch",),
    partners=("screen protector",),
)
PHONE = Intent(
    "compatibility", ("smartphone",), required=(("model", "Orbis S20"),), partners=("phone case", "charger")
)
NOT_LEATHER = Intent("negation", ("wallet",), excluded=(("material", "leather"),), siblings=("card holder",))
HOT = Intent("use", ("travel mug", "mug warmer"), topic="keep drinks hot", siblings=("thermos",))
SHIRT = Intent("attribute", ("t shirt",), required=(("audience", "men"),))
MOUSE = Intent("attribute", ("trackball",), required=(("connection", "wireless"),), siblings=("wireless mouse",))


@pytest.mark.parametrize(
    ("intent", "item", "expected"),
    [
        # the type
        (MUG, listing("travel mug"), 2),
        (MUG, listing("thermos", color="red"), 1),
        (MUG, listing("coffee maker"), 1),
        (MUG, listing("hammer", color="navy"), 0),
        # an attribute: met, missed, not stated; a sibling that meets it, that misses it
        (NAVY_MUG, listing("travel mug", color="navy"), 2),
        (NAVY_MUG, listing("travel mug", color="red"), 1),
        (NAVY_MUG, listing("travel mug"), 1),
        (NAVY_MUG, listing("thermos", color="navy"), 1),
        (NAVY_MUG, listing("thermos", color="red"), 0),
        (NAVY_MUG, listing("thermos"), 0),
        # a partner is a complement only where nothing more than the type was asked
        (NAVY_MUG, listing("lid", color="navy"), 0),
        # two attributes, and navy is blue, but blue is not navy
        (BLUE_20OZ, listing("travel mug", color="navy", capacity="20 oz"), 2),
        (NAVY_MUG, listing("travel mug", color="blue"), 1),
        (BLUE_20OZ, listing("travel mug", color="blue", capacity="12 oz"), 1),
        (BLUE_20OZ, listing("travel mug", color="red", capacity="12 oz"), 0),
        (BLUE_20OZ, listing("travel mug"), 0),
        # one of several stated values is enough
        (NAVY_MUG, listing("travel mug", color="red|navy"), 2),
        # compatibility is hard: another device is useless
        (CASE, listing("phone case", fits="Orbis S20"), 2),
        (CASE, listing("phone case", fits="Orbis S20 Plus"), 0),
        (CASE, listing("phone case"), 1),
        (CASE, listing("pouch", fits="Orbis S20"), 1),
        (CASE, listing("screen protector", fits="Orbis S20"), 1),
        (CASE, listing("screen protector", fits="Kanto One"), 0),
        (PHONE, listing("smartphone", model="Orbis S20"), 2),
        (PHONE, listing("smartphone", model="Orbis S21"), 0),
        (PHONE, listing("phone case", fits="Orbis S20"), 1),
        (PHONE, listing("phone case", fits="Orbis S21"), 0),
        (PHONE, listing("charger", power="20 w"), 1),
        # so is the wearer
        (SHIRT, listing("t shirt", audience="men"), 2),
        (SHIRT, listing("t shirt", audience="kids"), 0),
        (SHIRT, listing("t shirt"), 1),
        # negation
        (NOT_LEATHER, listing("wallet", material="canvas"), 2),
        (NOT_LEATHER, listing("wallet", material="leather"), 0),
        (NOT_LEATHER, listing("wallet"), 1),
        (NOT_LEATHER, listing("card holder", material="aluminum"), 1),
        (NOT_LEATHER, listing("card holder", material="leather"), 0),
        (NOT_LEATHER, listing("card holder"), 0),
        # a use: any of its types
        (HOT, listing("travel mug"), 2),
        (HOT, listing("mug warmer"), 2),
        (HOT, listing("thermos"), 1),
        (HOT, listing("coffee beans"), 0),
        # what the kind is by its name need not be stated
        (MOUSE, listing("wireless mouse", color="red"), 1),
        (MOUSE, listing("trackball", connection="wired"), 1),
        (MOUSE, listing("trackball", connection="wireless"), 2),
    ],
)
def test_rule(intent: Intent, item: Listing, expected: int) -> None:
    found, reason = grade(intent, item)
    assert found == expected, reason
    assert reason


def test_reason_names_what_is_missed() -> None:
    assert grade(NAVY_MUG, listing("travel mug", color="red"))[1] == "substitute: color is red, not navy"
    assert grade(CASE, listing("phone case", fits="Kanto One"))[1] == (
        "fits is Kanto One, useless where Orbis S20 is asked"
    )
    assert grade(MUG, listing("hammer"))[1] == "another kind of product: hammer"


@pytest.fixture(scope="module")
def tiny() -> GradedDataset:
    return load_marketplace("tiny", seed=1)


@pytest.fixture(scope="module")
def policy(tiny: GradedDataset) -> MarketplacePolicy:
    return MarketplacePolicy.for_dataset(tiny)


def test_policy_knows_every_id_and_agrees_with_every_judgment(tiny: GradedDataset, policy: MarketplacePolicy) -> None:
    pairs = tiny.judged_pairs()
    assert np.array_equal(policy.grades(pairs.query_rows, pairs.item_rows), pairs.grades)
    for row in tiny.judgments.select(range(0, len(tiny.judgments), 37)):
        assert policy(row["query_id"], row["item_id"]) == row["grade"]
        assert policy.explain(row["query_id"], row["item_id"])


def test_every_pair_can_be_graded_by_id_or_by_row(tiny: GradedDataset, policy: MarketplacePolicy) -> None:
    query_rows, item_rows = (at.ravel() for at in np.indices((len(tiny.queries), len(tiny.items))))
    by_row = policy.grades(query_rows, item_rows)
    query_ids, item_ids = tiny.queries["query_id"][:], tiny.items["item_id"][:]
    assert np.array_equal(by_row, policy.grades([query_ids[q] for q in query_rows], [item_ids[i] for i in item_rows]))
    assert by_row.dtype == np.int8
    assert (by_row.reshape(len(query_ids), -1) == 2).any(axis=1).all()


def test_policy_follows_the_rows_of_a_split(tiny: GradedDataset) -> None:
    test = tiny.split("test")
    pairs = test.judged_pairs("test")
    found = MarketplacePolicy.for_dataset(test).grades(pairs.query_rows, pairs.item_rows)
    assert np.array_equal(found, pairs.grades)


def _with_queries(tiny: GradedDataset, **changes: object) -> GradedDataset:
    rows = [{**row, **changes} if at == 0 else row for at, row in enumerate(tiny.queries)]
    return GradedDataset.from_tables(rows, tiny.items, tiny.judgments, source=tiny.source)


def test_variant_of_a_query_shares_its_meaning(tiny: GradedDataset, policy: MarketplacePolicy) -> None:
    source = tiny.queries[0]["query_id"]
    extra = [*tiny.queries, {**tiny.queries[0], "query_id": "variant", "text": "misspelt", "source_query_id": source}]
    with_variant = GradedDataset.from_tables(extra, tiny.items, tiny.judgments, source=tiny.source)
    item_ids = tiny.items["item_id"][:]
    found = MarketplacePolicy.for_dataset(with_variant).grades(["variant"] * len(item_ids), item_ids)
    assert np.array_equal(found, policy.grades([source] * len(item_ids), item_ids))
    assert found.max() == 2


def test_foreign_datasets_are_refused(tiny: GradedDataset) -> None:
    nameless = GradedDataset.from_tables(tiny.queries, tiny.items, tiny.judgments)
    with pytest.raises(DataError, match="a marketplace with size and seed is expected"):
        MarketplacePolicy.for_dataset(nameless)
    other_seed = GradedDataset.from_tables(
        tiny.queries, tiny.items, tiny.judgments, source={"name": "marketplace", "size": "tiny", "seed": 2}
    )
    with pytest.raises(DataError, match="where the shop has"):
        MarketplacePolicy.for_dataset(other_seed)
    with pytest.raises(DataError, match="queries, column text: 'Q000000' reads 'changed'"):
        MarketplacePolicy.for_dataset(_with_queries(tiny, text="changed"))
    with pytest.raises(DataError, match="'new' is not in the shop"):
        MarketplacePolicy.for_dataset(_with_queries(tiny, query_id="new"))


def test_unknown_ids_and_rows_are_refused(policy: MarketplacePolicy) -> None:
    with pytest.raises(UsageError, match="query 'nobody' is not one of this marketplace"):
        policy("nobody", "I0000000")
    with pytest.raises(UsageError, match="item 'nothing' is not one of this marketplace"):
        policy.explain("Q000000", "nothing")
    with pytest.raises(UsageError, match=r"item row 250 is outside 0\.\.249"):
        policy.grades([0], [250])
    with pytest.raises(UsageError, match="2 queries and 1 items"):
        policy.grades([0, 1], [0])


def test_the_policy_travels_to_another_process() -> None:
    """Also once it has remembered listings."""
    import pickle

    from mr_st.data.marketplace import MarketplacePolicy, load_marketplace

    dataset = load_marketplace("tiny")
    policy = MarketplacePolicy.for_dataset(dataset)
    pairs = list(zip(dataset.judgments["query_id"], dataset.judgments["item_id"], strict=True))
    grades = [policy(*pair) for pair in pairs]
    there = pickle.loads(pickle.dumps(policy))
    assert [there(*pair) for pair in pairs] == grades
