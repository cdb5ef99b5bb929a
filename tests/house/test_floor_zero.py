"""Grades, errors, identity, files."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from mr_st.errors import DataError, MissingExtraError, MrStError, Problem, require_extra
from mr_st.files import alone_in, atomic_folder, atomic_path, ensure_writable, read_json, write_json
from mr_st.grades import ESCI_FOUR_GRADES, ESCI_LABELS, THREE_GRADES, GradeScale
from mr_st.identity import array_hash, folder_hash, model_hash, settings_hash, texts_hash


def test_scales() -> None:
    assert THREE_GRADES.gain_of(np.array([[2, 1], [0, 2]])).tolist() == [[1.0, 0.5], [0.0, 1.0]]
    assert ESCI_FOUR_GRADES.n_grades == 4
    assert ESCI_LABELS == {"E": 2, "S": 1, "C": 1, "I": 0}
    assert GradeScale.from_dict(THREE_GRADES.to_dict()) == THREE_GRADES


@pytest.mark.parametrize(
    ("names", "gains"),
    [(("a",), (0.0,)), (("a", "b"), (0.0,)), (("a", "b"), (0.1, 1.0)), (("a", "b", "c"), (0.0, 1.0, 0.5))],
)
def test_bad_scales_are_refused(names: tuple[str, ...], gains: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"scale needs|gains must"):
        GradeScale(names, gains)


def test_problem_reads_as_one_line() -> None:
    problem = Problem("judgments.parquet", "grade 3 is outside the scale", "map it", row=1204, column="grade")
    assert str(problem) == "judgments.parquet, row 1,204, column grade: grade 3 is outside the scale; map it"
    assert "(and 1 more" in str(DataError([problem, problem]))


def test_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'mr-st\[llm\]'"):
        require_extra("no_such_module_anywhere", "llm")


def test_hashes_see_what_counts() -> None:
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 1.5})
    assert texts_hash(["ab", "c"]) != texts_hash(["a", "bc"])
    zeros = np.zeros((2, 3), np.float32)
    assert array_hash(zeros) != array_hash(zeros.reshape(3, 2))


def test_model_hash_follows_weights_and_prompts(tiny_base: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    first, second = SentenceTransformer(str(tiny_base)), SentenceTransformer(str(tiny_base))
    assert model_hash(first) == model_hash(second)
    second.prompts = {"query": "query: "}
    assert model_hash(first) != model_hash(second)
    before = model_hash(first)
    with torch.no_grad():
        next(first.parameters()).add_(1e-3)
    assert model_hash(first) != before


def test_model_hash_sees_settings_inside_a_router(tiny_base: Path) -> None:
    from mr_st.models import build_two_tower

    first = build_two_tower(str(tiny_base), architecture="asymmetric", heads=None)
    second = build_two_tower(str(tiny_base), architecture="asymmetric", heads=None)
    assert model_hash(first) == model_hash(second)
    for module in second.modules():
        if type(module).__name__ == "Pooling":
            module.pooling_mode = "cls"
    assert model_hash(first) != model_hash(second)


def test_atomic_path_leaves_the_old_file_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(target) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_atomic_folder_replaces_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in ("one", "two"):
        with atomic_folder(target) as temporary:
            (temporary / f"{text}.txt").write_text(text)
    assert [p.name for p in target.iterdir()] == ["two.txt"]
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "three.txt").write_text("x")
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["two.txt"]
    assert os.listdir(tmp_path) == ["made"]


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_disk_is_one_line_and_leaves_what_was(tmp_path: Path, atomic, number: int) -> None:
    target = tmp_path / "made"
    write_json(target / "a.json", 1) if atomic is atomic_folder else write_json(target, 1)
    reason = os.strerror(number)
    with pytest.raises(MrStError, match=f"made: cannot be written .{reason}.; free") as caught, atomic(target) as half:
        if atomic is atomic_path:
            half.write_text("half")
        raise OSError(number, reason)
    assert "\n" not in str(caught.value)
    assert read_json(target / "a.json" if atomic is atomic_folder else target) == 1
    assert os.listdir(tmp_path) == ["made"]


def test_an_error_of_reading_is_not_taken_for_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "copy") as temporary:
        temporary.write_text((tmp_path / "missing").read_text())


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    message = "another run is at work in this folder; wait for it"
    with alone_in(tmp_path), pytest.raises(MrStError, match=message), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):  # it is free again
        pass


def test_folder_hash_ignores_where_it_lies(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "f.txt").write_text("same")
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    (tmp_path / "b" / "sub" / "f.txt").write_text("other")
    assert folder_hash(tmp_path / "a") != folder_hash(tmp_path / "b")


def test_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(Exception, match="cannot write here") as caught:
        ensure_writable(blocker / "inside")
    assert "\n" not in str(caught.value)


def test_broken_json_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "b.json"
    broken.write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(Exception, match=r"b\.json: not valid JSON"):
        read_json(broken)
