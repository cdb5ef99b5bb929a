"""The whole job: one YAML recipe, its stages in order, resumable."""

from mr_st.recipes.bundled import bundled_recipe, bundled_recipes
from mr_st.recipes.result import RunResult
from mr_st.recipes.run import run_recipe
from mr_st.recipes.schema import Recipe

__all__ = ["Recipe", "RunResult", "bundled_recipe", "bundled_recipes", "run_recipe"]
