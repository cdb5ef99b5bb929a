"""The sheet that experts fill in, and the way back."""

from mr_st.annotation.review.answers import AnswersError, read_answers
from mr_st.annotation.review.sheet import ReviewSheet, write_review_sheet

__all__ = ["AnswersError", "ReviewSheet", "read_answers", "write_review_sheet"]
