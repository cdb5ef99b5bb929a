"""From the scores of qrels to grades of a scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mr_st.data.schema import MAX_PROBLEMS
from mr_st.data.sources.parts import Part
from mr_st.errors import Problem, UsageError
from mr_st.grades import THREE_GRADES, TWO_GRADES, GradeScale

__all__ = ["choose_scale", "grades_of_scores", "score_keys"]


def score_keys(grade_map: Mapping[Any, int] | None, scale: GradeScale | None) -> dict[float | str, int] | None:
    """A grade map whose keys compare as scores do: 1, 1.0 and "1" are the same score.

    Raises:
        UsageError: it is no mapping, a key stands twice, or a value is no grade of the scale (of three, if None).
    """
    if grade_map is None:
        return None
    if not isinstance(grade_map, Mapping) or not grade_map:
        raise UsageError("grade_map is no mapping from scores to grades; give e.g. {0: 0, 1: 2}")
    scale = scale or THREE_GRADES
    keys: dict[float | str, int] = {}
    for score, grade in grade_map.items():
        if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade < scale.n_grades:
            raise UsageError(f"grade_map: {score!r} leads to {grade!r}, which is no grade of the scale {scale}")
        key = _key(score)
        if key is None or key in keys:
            raise UsageError(
                f"grade_map: the score {score!r} {'is empty' if key is None else 'stands twice'}; mend it"
            )
        keys[key] = grade
    return keys


def choose_scale(scores: Sequence[Any], keys: Mapping[float | str, int] | None) -> GradeScale:
    """Two grades where there is no grade map and no score is above 1; three otherwise.

    Args:
        scores: The scores of each file, as Arrow arrays.
        keys: The grade map, if any.
    """
    found = {_key(value) for column in scores for value in pc.unique(column).to_pylist()} - {None}
    is_binary = keys is None and bool(found) and all(key in (0.0, 1.0) for key in found)
    return TWO_GRADES if is_binary else THREE_GRADES


def grades_of_scores(
    part: Part, keys: Mapping[float | str, int] | None, scale: GradeScale, problems: list[Problem]
) -> pa.Array:
    """int8 (n,) grades of the column ``score``; null, and a problem, where a score has none.

    Args:
        part: Rows with the column ``score``: numbers or texts.
        keys: The grade map; None takes whole numbers of the scale as they are.
        scale: What the grades mean.
        problems: Takes the rows whose score has no grade.
    """
    scores = part.values["score"]
    scores = scores.combine_chunks() if isinstance(scores, pa.ChunkedArray) else scores
    distinct = pc.unique(scores)
    by_score = [_grade(value, keys, scale) for value in distinct.to_pylist()]
    at = pc.index_in(scores, value_set=distinct)
    grades = pa.array(by_score, pa.int8()).take(at)
    missing = pc.indices_nonzero(pc.is_null(grades)).to_pylist()
    for index in missing[:MAX_PROBLEMS]:
        problems.append(_no_grade(part, index, scores[index].as_py(), keys, scale))
    if len(missing) > MAX_PROBLEMS:
        what = f"{len(missing) - MAX_PROBLEMS:,} more scores without a grade"
        problems.append(Problem(part.where, what, "give a grade_map that has them all", column="score"))
    return grades


def _no_grade(part: Part, index: int, score: Any, keys: Any, scale: GradeScale) -> Problem:
    if score is None:
        what, mend = "empty (null)", "fill it in"
    elif keys is None:
        what = f"{score!r:.60} is no grade of the scale {scale}"
        mend = "give a grade_map from scores to grades, or a scale with more grades"
    else:
        what, mend = f"{score!r:.60} is not in the grade_map", "add it there"
    return Problem(part.where, what, mend, part.row(index), "score")


def _grade(score: Any, keys: Mapping[float | str, int] | None, scale: GradeScale) -> int | None:
    key = _key(score)
    if key is None:
        return None
    if keys is not None:
        return keys.get(key)
    return int(key) if isinstance(key, float) and key.is_integer() and 0 <= key < scale.n_grades else None


def _key(score: Any) -> float | str | None:
    """A number where the score is one, otherwise its text."""
    if score is None or (isinstance(score, float) and not math.isfinite(score)):
        return None
    try:
        number = float(score)
    except (TypeError, ValueError):
        return str(score).strip() or None
    return number if math.isfinite(number) else str(score).strip()
