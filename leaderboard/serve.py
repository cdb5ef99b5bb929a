"""A plain file server on the loopback interface, for a built site."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mr_st.errors import MrStError, UsageError

__all__ = ["make_server", "serve_leaderboard"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def make_server(folder: str | Path, port: int = 8000) -> ThreadingHTTPServer:
    """A server for a built site, bound to 127.0.0.1 and not yet serving; port 0 takes a free one.

    Raises:
        UsageError: the folder holds no ``index.html``.
        MrStError: the port is taken or not allowed.
    """
    folder = Path(folder)
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder}: holds no index.html; build the site first with `mr-st leaderboard build`")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
    except OSError as error:
        raise MrStError(f"port {port}: {error.strerror}; choose another one with --port") from error


def serve_leaderboard(folder: str | Path, port: int = 8000) -> None:
    """Serve a built site on this machine only, until interrupted.

    Args:
        folder: What :func:`mr_st.leaderboard.build_leaderboard` wrote.
        port: 0 takes a free one. The address is printed to standard error.

    Raises:
        UsageError: the folder holds no site.
        MrStError: the port is taken.
    """
    with make_server(folder, port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl+C to stop)", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
