"""Run a function of this package in a process of its own.

Not with :mod:`multiprocessing`: its ``spawn`` and ``forkserver`` run a user's unguarded script again, and ``fork`` is
unsafe beside the threads of pyarrow.
"""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["start_beside"]


def start_beside(function: str, *arguments: str, piped: bool = False) -> subprocess.Popen[bytes]:
    """Start ``function(*arguments)``, which sees the same modules as this process and uses one thread.

    Args:
        function: ``module:name``.
        arguments: Texts.
        piped: Give it pipes as standard input and output; else it has neither.

    Raises:
        OSError, ValueError: no such process can be started.
    """
    module, name = function.split(":")
    code = f"import sys; from {module} import {name}; {name}(*sys.argv[1:])"
    here = os.pathsep.join(path or os.getcwd() for path in sys.path)
    stream = subprocess.PIPE if piped else subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdin=stream,
        stdout=stream,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
