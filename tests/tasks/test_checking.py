"""Each thing that `mr-st tasks check` asks: found where it is, and not where it is not."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from mr_st.data import GradedDataset
from mr_st.evaluation import Collection, evaluate_system
from mr_st.evaluation.systems import RandomSystem
from mr_st.tasks import GradedRetrievalTask, MarketplaceRetrieval, get_task, list_tasks
from mr_st.tasks.checking import check_task
from mr_st.tasks.checking.difficulty import find_difficulty_findings, run_baselines
from mr_st.tasks.checking.labels import find_label_findings
from mr_st.tasks.checking.leakage import find_leakage
from mr_st.tasks.checking.metadata import find_metadata_findings
from mr_st.tasks.checking.near_texts import near_texts
from mr_st.tasks.checking.source import find_source_findings, find_unpinned, snake_case
from mr_st.tasks.checking.texts import find_text_findings
from mr_st.tasks.registry import task_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def data(judgments, queries=None, items=None) -> GradedDataset:
    """A dataset of (query, item, grade[, split]) rows; a query's text is its id unless given."""
    rows = [(*row, "test")[:4] for row in judgments]
    queries = {q: q for q, *_ in rows} | (queries or {})
    items = {i: i for _, i, *_ in rows} | (items or {})
    return GradedDataset.from_tables(
        [{"query_id": q, "text": text, "locale": "en-US"} for q, text in queries.items()],
        [{"item_id": i, "title": title, "locale": "en-US"} for i, title in items.items()],
        [{"query_id": q, "item_id": i, "grade": g, "split": s} for q, i, g, s in rows],
    )


def levels(findings) -> dict[str, str]:
    return {finding.rule: finding.level for finding in findings}


def where(findings, rule: str) -> tuple[str, ...]:
    (found,) = (finding for finding in findings if finding.rule == rule)
    return found.where


# ---- leakage -------------------------------------------------------------------------------------------------------


def leaks(dataset: GradedDataset) -> list:
    collection = Collection.from_dataset(dataset)
    return list(find_leakage(dataset, "test", dataset.query_rows(collection.query_ids)))


def test_a_pair_in_train_and_test() -> None:
    found = leaks(data([("mug", "a", 2), ("lamp", "b", 2), ("mug", "a", 2, "train"), ("mug", "c", 1, "train")]))
    assert levels(found)["same pair in train and test"] == "must"
    assert where(found, "same pair in train and test") == ("mug a",)


def test_a_pair_in_train_and_test_under_other_ids() -> None:
    texts = {"q1": "Red  Mug", "q2": "red mug"}, {"a": "A mug.", "b": "a MUG."}
    found = leaks(data([("q1", "a", 2), ("q1", "x", 0), ("q2", "b", 2, "train")], *texts))
    assert levels(found)["same pair by its texts"] == "must"
    assert where(found, "same pair by its texts") == ("q1 a",)
    assert where(found, "query text in train and test") == ("q1",)
    assert levels(found)["query text in train and test"] == "should"  # no query is new


def test_shared_and_near_query_texts_are_told_and_not_refused() -> None:
    rows = [("red mug", "a", 2), ("led lamp", "b", 2), ("usb hub black", "c", 2), ("red mug", "z", 1, "train"),
            ("black usb hub", "z", 1, "train"), ("led lamps", "z", 0, "train")]  # fmt: skip
    rows += [(f"something new {word}", "c", 2) for word in ("apple", "pear", "plum", "cherry")]
    found = leaks(data(rows))
    assert levels(found) == {"query text in train and test": "note", "near-duplicate query in train": "note"}
    near = where(found, "near-duplicate query in train")
    assert set(near) == {"led lamp like led lamps", "usb hub black like black usb hub"}


def test_no_leak_without_train_or_overlap() -> None:
    assert leaks(data([("mug", "a", 2)])) == []
    assert leaks(data([("mug", "a", 2), ("garden hose", "a", 2, "train")])) == []


@pytest.mark.parametrize(
    ("text", "other", "is_near"),
    [
        ("red mug", "mug, RED!", True),
        ("running shoe", "running shoes", True),
        ("running shoes", "runnign shoes", True),
        ("running shoes", "running shoas", True),
        ("running shoes", "Running Shoes", False),  # the same, not nearly
        ("phone 12 case", "phone 13 case", False),
        ("phone case 1", "phone case 12", False),
        ("mug", "rug", False),
        ("running shoes", "walking shoes", False),
        ("running shoes", "runing shoe", False),
        ("", "", False),
    ],
)
def test_near_texts(text, other, is_near) -> None:
    assert near_texts([text], ["nothing of the kind", other]) == ({0: 1} if is_near else {})
    assert near_texts([other], [text]) == ({0: 0} if is_near else {})


# ---- texts ---------------------------------------------------------------------------------------------------------


def test_empty_short_and_repeated_texts() -> None:
    rows = [(f"query {n}", f"item number {n}", 2) for n in range(50)]
    rows += [("q-a", "i-a", 2), ("q-b", "i-b", 1), ("q-c", "i-c", 1)]
    found = list(
        find_text_findings(
            Collection.from_dataset(
                data(
                    rows,
                    {"q-a": "?!", "q-b": "x", "q-c": "Query  7"},
                    {"i-a": "--", "i-b": "abc", "i-c": "ITEM number 7"},
                )
            )
        )
    )
    assert levels(found) == {
        "empty query text": "must", "short query text": "note", "repeated query text": "note",
        "empty item text": "should", "short item text": "note", "repeated item text": "note",
    }  # fmt: skip
    assert where(found, "empty query text") == ("q-a",)
    assert where(found, "short query text") == ("q-b",)
    assert where(found, "repeated query text") == ("q-c like query 7",)
    assert where(found, "repeated item text") == ("i-c like item number 7",)


def test_many_repeated_items_should_be_mended() -> None:
    items = {f"i{n}": f"a thing {n % 3}" for n in range(12)}
    found = levels(
        find_text_findings(Collection.from_dataset(data([("some query", i, 2) for i in items], None, items)))
    )
    assert found == {"repeated item text": "should"}


def test_one_text_with_two_grades() -> None:
    rows = [("mugs", "a", 2), ("mugs", "b", 0), ("lamps", "a", 1), ("lamps", "c", 2)]
    found = list(find_text_findings(Collection.from_dataset(data(rows, None, {"a": "a red mug", "b": "A red mug"}))))
    assert where(found, "one text, two grades") == ("mugs: b and a",)


# ---- labels --------------------------------------------------------------------------------------------------------


def label_levels(rows) -> dict[str, str]:
    return levels(find_label_findings(Collection.from_dataset(data(rows))))


def test_one_grade_only_must_be_mended() -> None:
    assert label_levels([(f"q{q}", f"i{i}", 2) for q in range(60) for i in (q, q + 1)]) == {"one grade only": "must"}


def test_the_mix_of_grades() -> None:
    many = range(60)
    assert label_levels([(f"q{q}", f"i{g}", g) for q in many for g in (0, 1, 2)]) == {"label mix": "note"}
    assert label_levels([(f"q{q}", f"i{g}", g) for q in many for g in (1, 2)]) == {"no irrelevant pair": "should"}
    skewed = [(f"q{q}", f"i{i}", 2 if i == 0 else 0) for q in many for i in range(30)]
    assert label_levels(skewed) == {"one grade nearly alone": "should", "grade never given": "note"}


def test_few_queries_lonely_judgments_and_queries_without_positives() -> None:
    found = label_levels([("a", "x", 2), ("b", "x", 1), ("b", "y", 0), ("c", "y", 0)])
    assert found["few queries"] == "should"
    assert found["queries without positives"] == "note"
    assert found["one judgment only"] == "note"
    mostly = [("a", "x", 2), ("a", "y", 0), *((f"c{n}", "y", 0) for n in range(5))]
    assert label_levels(mostly)["queries without positives"] == "should"


# ---- metadata ------------------------------------------------------------------------------------------------------


def metadata_findings(locales=("en-US",), data_license="unknown", judged_pool=False, **changes) -> list:
    whole = {"eval_langs": ["eng-Latn"], **changes}
    metadata = MarketplaceRetrieval.metadata.model_copy(update=whole)
    return list(find_metadata_findings(metadata, locales, data_license, judged_pool))


def test_complete_metadata_has_no_findings() -> None:
    assert not [finding for finding in metadata_findings() if finding.level != "note"]


@pytest.mark.parametrize(
    ("changes", "rule", "level"),
    [
        ({"sample_creation": None}, "metadata not filled", "must"),
        ({"description": "DECIDE: what it is, and so on and so on."}, "metadata not decided", "must"),
        ({"description": "A task."}, "short description", "should"),
        ({"license": None}, "licence unknown", "must"),
        ({"license": "not specified"}, "licence unknown", "must"),
        ({"license": "mit", "data_license": "cc-by-4.0"}, "two licences", "should"),
        ({"date": ("2024-13-01", "2024-12-01")}, "dates not readable", "must"),
        ({"date": ("2024-06-01", "2024-01-01")}, "dates out of order", "must"),
        ({"date": (str(date.today() + timedelta(days=9)), "2999-01-01")}, "dates in the future", "must"),
        ({"bibtex_citation": "@article{x, title={y}"}, "broken citation", "must"),
        ({"bibtex_citation": "see our paper"}, "broken citation", "must"),
        ({"bibtex_citation": ""}, "no citation", "note"),
        ({"reference": "our wiki"}, "broken reference", "must"),
        ({"main_score": "accuracy"}, "unknown main score", "must"),
        ({"judged_pool": True}, "wrong type", "must"),
        ({"eval_splits": ["train"]}, "evaluates on train", "should"),
        ({"locales": ["en-US", "de-DE"]}, "language not named", "must"),
        ({"eval_langs": ["eng-Latn", "deu-Latn"]}, "language not there", "should"),
        ({"locales": ["en", "und"]}, "locale unknown", "should"),
        ({"locales": ["en", "sw"]}, "language not compared", "note"),
    ],
)
def test_metadata(changes, rule, level) -> None:
    found = levels(metadata_findings(**changes))
    assert found.get(rule) == level
    assert [r for r, its in found.items() if its == "must"] == ([rule] if level == "must" else [])


# ---- file, names, revisions ----------------------------------------------------------------------------------------


def test_names_of_class_task_and_file(tmp_path) -> None:
    def found(*arguments) -> dict[str, str]:
        return levels(find_source_findings(*arguments))

    assert found("MyShopRetrieval", "MyShopRetrieval", tmp_path / "my_shop.py", "") == {}
    assert found("MyShopRetrieval", "Other", None, None) == {"two names": "must"}
    assert found("my_shop", "my_shop", None, None) == {"name of the class": "should"}
    assert found("MyShopRetrieval", "MyShopRetrieval", tmp_path / "My-Shop.py", "") == {"name of the file": "should"}
    assert [snake_case(n) for n in ("HTTPLogRetrieval", "Retrieval", "B2cRetrieval")] == [
        "http_log",
        "retrieval",
        "b2_c",
    ]


@pytest.mark.parametrize(
    ("call", "is_pinned"),
    [
        ('GradedDataset.load("org/shop")', False),
        ('GradedDataset.load("org/shop", revision="main")', False),
        (f'GradedDataset.load("org/shop", revision="{COMMIT}")', True),
        ('GradedDataset.load("org/shop", revision=revision)', True),  # whoever calls says which
        ('load_dataset("org/shop", "default")', False),
        ('GradedDataset.load("marketplace", size="tiny")', True),
        ('GradedDataset.load(Path(__file__).parent / "data")', True),
        ('print("org/shop")', True),
    ],
)
def test_a_branch_of_the_hub_is_refused_by_the_source(tmp_path, call, is_pinned) -> None:
    found = list(find_source_findings("XRetrieval", "XRetrieval", tmp_path / "x.py", f"a = 1\nb = {call}\n"))
    assert levels(found) == ({} if is_pinned else {"revision not pinned": "must"})
    if not is_pinned:
        assert found[0].where == ("x.py, line 2",)


def test_a_branch_is_refused_by_metadata_and_by_the_data() -> None:
    assert levels(find_unpinned("set from the data", "set from the data", {})) == {}
    assert levels(find_unpinned(COMMIT, "set from the data", {"hub_id": "org/x", "revision": COMMIT})) == {}
    assert levels(find_unpinned("main", "set from the data", {})) == {"revision not pinned": "must"}
    unpinned = find_unpinned("set from the data", "set from the data", {"hub_id": "org/x", "revision": None})
    assert levels(unpinned) == {"revision not pinned": "must"}


# ---- difficulty ----------------------------------------------------------------------------------------------------

WORDS = ["mug", "lamp", "hose", "kettle", "chair", "desk", "shirt", "printer", "mouse", "shoes", "table", "clock"]


def difficulty(rows, queries=None, items=None) -> tuple[dict[str, str], dict]:
    reports, not_run = run_baselines(Collection.from_dataset(data(rows, queries, items)), "T", model=None)
    assert not_run == []
    return levels(find_difficulty_findings(reports)), reports


def test_a_task_that_shared_words_solve_is_trivial() -> None:
    rows = [(f"q{n}", f"i{m}", 2 if n == m else 0) for n in range(12) for m in range(12)]
    found, reports = difficulty(
        rows, {f"q{n}": word for n, word in enumerate(WORDS)}, {f"i{n}": f"A {word}" for n, word in enumerate(WORDS)}
    )
    assert found["trivial"] == "should"
    assert reports["bm25"]["ndcg@10"].value == 1.0


def test_a_task_whose_ids_are_mixed_up_is_random() -> None:
    """Judgments name items whose texts have nothing to do with the query."""
    rng = np.random.default_rng(0)
    n = 40
    queries = {f"q{q}": f"{WORDS[q % 12]} {q}" for q in range(n)}
    items = {f"i{i}": f"the {WORDS[i % 12]} no {i}" for i in range(200)}
    rows = [(f"q{q}", f"i{i}", int(rng.integers(3))) for q in range(n) for i in rng.choice(200, 6, replace=False)]
    found, _ = difficulty(rows, queries, items)
    assert found["random"] == "must"
    good = [(f"q{q}", f"i{i}", 2 if i % 12 == q % 12 else 0) for q in range(n) for i in range(q, q + 13)]
    found, _ = difficulty(good, queries, items)
    assert set(found) == {"difficulty"}


def test_a_pool_where_all_is_relevant_is_easy_by_chance() -> None:
    dataset = data([(f"{WORDS[q]}", f"i{q} {i}", 2 if i else 1) for q in range(12) for i in range(5)])
    collection = Collection.from_dataset(dataset, judged_pool=True)
    found = levels(find_difficulty_findings(run_baselines(collection, "T", model=None)[0]))
    assert found["easy by chance"] == "should"


def test_difficulty_needs_chance_to_compare_with(tiny_shop) -> None:
    report = evaluate_system(RandomSystem(), Collection.from_dataset(tiny_shop), ks=(10,))
    assert list(find_difficulty_findings({})) == []
    assert list(find_difficulty_findings({"random": report})) == []


def test_a_baseline_that_cannot_run_is_noted(tiny_shop, tmp_path) -> None:
    reports, not_run = run_baselines(Collection.from_dataset(tiny_shop), "T", model=str(tmp_path / "nowhere"))
    assert set(reports) == {"random", "bm25"}
    assert [finding.level for finding in not_run] == ["note"]


# ---- the whole -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in list_tasks() if name.startswith(("Marketplace", "Golden"))])
def test_own_tasks_pass(name) -> None:
    task = get_task(name, size="tiny")
    found = check_task(task, file=task_file(name), model=None)
    assert [str(finding) for finding in found.findings if finding.level == "must"] == []
    assert found.is_sound
    assert found.statistics["test"]["n_queries"] == task.collection().n_queries
    assert found.baselines["bm25"].task_name == task.metadata.name
    assert json.loads(json.dumps(found.to_dict()))["is_sound"]


@pytest.mark.parametrize("name", ["ESCIRetrieval", "ESCIGradedReranking"])
def test_esci_passes(name, esci_folder) -> None:
    found = check_task(get_task(name, path=esci_folder), file=task_file(name), model=None)
    assert [str(finding) for finding in found.findings if finding.level == "must"] == []


def test_faults_of_data_that_nobody_validated_are_found() -> None:
    class FaultyRetrieval(GradedRetrievalTask):
        """A task whose data was never loaded through a check."""

        metadata = MarketplaceRetrieval.metadata.model_copy(update={"name": "FaultyRetrieval"})

    dataset = data([("mug", "a", 2), ("mug", "b", 0), ("mug", "a", 2, "train")])
    found = check_task(FaultyRetrieval(dataset), baselines=False)
    assert not found.is_sound
    assert found.baselines == {}
    rules = levels(found.findings)
    assert rules["pair in two splits"] == "must"
    assert rules["same pair in train and test"] == "must"
    assert [finding.level for finding in found.findings] == sorted(
        (finding.level for finding in found.findings), key=["must", "should", "note"].index
    )
