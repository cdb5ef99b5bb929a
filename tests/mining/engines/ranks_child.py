"""What the processes of ``test_ranks.py`` do: ranks_child.py FOLDER KIND."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))

from toy_stages import BadStage, Squares

from mr_st.errors import MrStError
from mr_st.mining.engines import RanksEngine, engine_of


def main(folder: str, kind: str) -> None:
    engine = engine_of()
    assert isinstance(engine, RanksEngine)
    assert engine.n_ranks == 2
    assert engine.is_main == (engine.rank == 0)
    name = str(engine.rank) if kind == "apart" else "stage"
    n = 20 + engine.rank if kind == "unlike" else 48
    stage: Squares = Squares(f"{folder}/{name}", n=n, seconds=0.4)
    if kind not in ("good", "apart", "unlike", "slow"):
        stage = BadStage(f"{folder}/{name}", kind, at=3, n=48, seconds=0.4)
    started = time.monotonic()
    try:
        engine.run(stage, show_progress=True)
        assert stage.result, "every rank sees the whole result"
        second = Squares(f"{folder}/second", n=7)
        engine.run(second)
        assert second.result == [0, 1, 4, 9, 16, 25, 36]
    except MrStError as error:
        Path(folder, f"error.{engine.rank}").write_text(f"{type(error).__name__}: {error}")
        sys.exit(error.exit_code)
    Path(folder, f"done.{engine.rank}").write_text(f"{os.getpid()} {time.monotonic() - started:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
