"""Where labels are kept: one SQLite file, which processes may share."""

from mr_st.annotation.store.labels import LabelStore
from mr_st.annotation.store.stored import StoredAnnotator

__all__ = ["LabelStore", "StoredAnnotator"]
