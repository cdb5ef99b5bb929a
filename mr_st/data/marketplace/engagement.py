"""What shoppers do with the results they are shown: impressions, clicks, carts and purchases, biased as logs are.

The truth stays beside it: the judgments and the policy are not touched by anything here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mr_st.data.item_text import format_item
from mr_st.data.marketplace.lexical import TokenOverlap
from mr_st.data.marketplace.world import World
from mr_st.errors import UsageError

__all__ = ["EngagementModel", "simulate_engagement"]


@dataclass(frozen=True)
class EngagementModel:
    """How shoppers behave; the defaults give rates of the usual size for a web shop (ours).

    Args:
        sessions: Searches for a query of frequency 1 (its expected number is ``sessions * frequency``).
        n_days: Rankings that a query is shown with; each is drawn anew, so that items stand at several places.
        depth: Results on the page.
        position_bias: A result shown at place p is looked at with probability ``p ** -position_bias``.
        click: Chance that a shopper who looks at an item clicks on it, by grade (lowest first).
        cart: Chance that a click puts the item into the cart, by grade.
        purchase: Chance that an item in the cart is bought, by grade.
        popularity: Spread (standard deviation of the logarithm) of how attractive items are, whatever the query.
        breadth: A query with n relevant items has each of them put into the cart ``n ** -breadth`` times as often:
            one shopper buys one of many. This is why one threshold on conversion fits no two queries.
    """

    sessions: float = 1.0
    n_days: int = 7
    depth: int = 40
    position_bias: float = 0.7
    click: tuple[float, ...] = (0.03, 0.14, 0.3)
    cart: tuple[float, ...] = (0.05, 0.3, 0.6)
    purchase: tuple[float, ...] = (0.1, 0.4, 0.55)
    popularity: float = 0.6
    breadth: float = 0.35

    def __post_init__(self) -> None:
        rates = (*self.click, *self.cart, *self.purchase)
        if not all(0.0 <= rate <= 1.0 for rate in rates) or not {len(self.click)} == {
            len(self.cart),
            len(self.purchase),
        }:
            raise UsageError("EngagementModel: click, cart and purchase need one rate in 0..1 for each grade")
        if min(self.n_days, self.depth) < 1 or min(self.sessions, self.position_bias, self.popularity) < 0:
            raise UsageError("EngagementModel: give n_days and depth of 1 or more, and no negative rate")


def simulate_engagement(world: World, model: EngagementModel | None = None, seed: int | None = None) -> pl.DataFrame:
    """Let shoppers search the shop; each query's numbers depend on (seed, query) alone.

    Args:
        world: The shop.
        model: How they behave.
        seed: A whole number from 0 up; the shop's own when None.

    Returns:
        query_id, item_id, impressions, clicks, add_to_carts, purchases (int64): a row for every pair that was shown.
        An impression is a place on the page, looked at or not.

    Example:
        >>> from mr_st.data.marketplace.world import make_world
        >>> log = simulate_engagement(make_world("tiny"))
        >>> bool((log["clicks"] <= log["impressions"]).all() and (log["purchases"] <= log["add_to_carts"]).all())
        True
    """
    model = model or EngagementModel()
    seed = world.shop.seed if seed is None else seed
    engine = TokenOverlap([format_item(item.title, item.category_path) for item in world.items])
    appeal = np.exp(np.random.default_rng([seed, 4]).normal(0.0, model.popularity, len(world.items)))
    item_ids = pl.Series("item_id", [item.item_id for item in world.items])
    parts = []
    for number, query in enumerate(world.queries):
        rng = np.random.default_rng([seed, 4, number])
        shown, looked_at = _impressions(engine.scores(query.searched_as), query.frequency, appeal, model, rng)
        rows = np.flatnonzero(shown)
        if len(rows):
            grades = world.grades_of(query.intent)
            n_relevant = max(int((grades > 0).sum()), 1)
            actions = _actions(looked_at[rows], grades[rows], appeal[rows], n_relevant, model, rng)
            table = pl.DataFrame({"item_id": item_ids.gather(rows), "impressions": shown[rows], **actions})
            parts.append(table.select(pl.lit(query.query_id).alias("query_id"), pl.all()))
    return pl.concat(parts)


def _impressions(
    scores: np.ndarray, frequency: float, appeal: np.ndarray, model: EngagementModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How often each item was on the page, and how often somebody looked at it; int64 (n_items,) each."""
    shown, looked_at = np.zeros((2, len(scores)), dtype=np.int64)
    found = np.flatnonzero(scores)
    if not len(found):
        return shown, looked_at
    seen = np.arange(1, min(model.depth, len(found)) + 1) ** -model.position_bias
    merit = np.log(scores[found]) + 0.3 * np.log(appeal[found])  # engines learn what sells
    for sessions in rng.poisson(model.sessions * frequency / model.n_days, model.n_days):
        order = np.argsort(-(merit + rng.gumbel(0.0, 0.1, len(found))), kind="stable")[: len(seen)]
        shown[found[order]] += sessions
        looked_at[found[order]] += rng.binomial(sessions, seen)
    return shown, looked_at


def _actions(
    looked_at: np.ndarray,
    grades: np.ndarray,
    appeal: np.ndarray,
    n_relevant: int,
    model: EngagementModel,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    def rate(table: tuple[float, ...], factor: np.ndarray | float) -> np.ndarray:
        return np.clip(np.asarray(table)[grades] * factor, 0.0, 0.95)

    clicks = rng.binomial(looked_at, rate(model.click, appeal))
    carts = rng.binomial(clicks, rate(model.cart, n_relevant**-model.breadth))
    return {"clicks": clicks, "add_to_carts": carts, "purchases": rng.binomial(carts, rate(model.purchase, 1.0))}
