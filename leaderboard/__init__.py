"""The leaderboard: a static page, built from result folders, that a browser opens from disk."""

from mr_st.leaderboard.build import build_leaderboard
from mr_st.leaderboard.serve import serve_leaderboard

__all__ = ["build_leaderboard", "serve_leaderboard"]
