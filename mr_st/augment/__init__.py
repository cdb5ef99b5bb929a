"""More training pairs from the ones at hand: misspelt queries, synthetic queries, and golden test sets."""

from mr_st.augment.golden import GoldenReport, GoldenSet, build_golden_set
from mr_st.augment.misspelt import (
    add_misspelt_queries,
    misspelt_pairs,
    misspelt_variants,
    substitute_misspelt_queries,
)
from mr_st.augment.misspelt_report import MisspeltReport
from mr_st.augment.model_writer import ModelQueryWriter
from mr_st.augment.query_writer import ItemFeatures, QueryWriter
from mr_st.augment.synthetic_queries import SyntheticReport, add_synthetic_queries
from mr_st.augment.template_writer import TemplateQueryWriter

__all__ = [
    "GoldenReport",
    "GoldenSet",
    "ItemFeatures",
    "MisspeltReport",
    "ModelQueryWriter",
    "QueryWriter",
    "SyntheticReport",
    "TemplateQueryWriter",
    "add_misspelt_queries",
    "add_synthetic_queries",
    "build_golden_set",
    "misspelt_pairs",
    "misspelt_variants",
    "substitute_misspelt_queries",
]
