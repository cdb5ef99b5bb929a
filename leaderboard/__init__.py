"""The leaderboard: a static site, built from result folders, that a browser opens from disk."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mr_st.leaderboard.build import BuiltSite, build_leaderboard, build_site
    from mr_st.leaderboard.serve import serve_leaderboard

__all__ = ["BuiltSite", "build_leaderboard", "build_site", "serve_leaderboard"]

_HOME = {
    "BuiltSite": "mr_st.leaderboard.build",
    "build_leaderboard": "mr_st.leaderboard.build",
    "build_site": "mr_st.leaderboard.build",
    "serve_leaderboard": "mr_st.leaderboard.serve",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a worker of a build needs little of this."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
