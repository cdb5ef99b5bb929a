"""A process that has imported everything and forks one child for each mining run that it is told of, on stdin.

Its argument is the folder of a model that the runs share, or empty where only the command line is run. A run is a
JSON line: {"out": folder, "cli": words or null}. On stdout come the child's "pid N", its "stage NAME" lines
as it begins each stage, and "ended STATUS" (negative: the signal).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SIZES = {"texts": 32, "queries": 5, "pairs": 32}
PART = 80


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def mine_there(model, dataset, annotator, out: Path) -> None:  # type: ignore[no-untyped-def]
    from mr_st.mining import HnswSettings, ShardSizes, mine
    from mr_st.mining.engines.local import LocalEngine

    class Telling(LocalEngine):
        def run(self, stage, show_progress: bool = False) -> None:  # type: ignore[no-untyped-def]
            tell(f"stage {stage.name}")
            super().run(stage, show_progress)

    refinement = mine(
        model, dataset, annotator, 20, search=HnswSettings(part_size=PART), near_duplicates=0.999,
        work_dir=out / "work", shard_sizes=ShardSizes(**SIZES), batch_size=8, engine=Telling(),
    )  # fmt: skip
    tell("stage merge")
    refinement.save(out / "refinement")


def main(tiny_base: str) -> None:
    from sentence_transformers import SentenceTransformer

    import mr_st.cli.main
    from mr_st.annotation import SimilarityAnnotator
    from mr_st.data import GradedDataset

    if tiny_base:  # not for the command line: its children load data themselves, with threads that no fork takes along
        model = SentenceTransformer(tiny_base, device="cpu")
        annotator = SimilarityAnnotator(model, [0.85, 0.97])  # what grades does not matter, only that it computes
        dataset = GradedDataset.load("marketplace", size="tiny", seed=3)
    tell("ready")
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 70
            try:
                if order["cli"] is None:
                    mine_there(model, dataset, annotator, Path(order["out"]))
                else:
                    with open(Path(order["log"]), "w") as log:
                        os.dup2(log.fileno(), 2)
                    mr_st.cli.main.main(order["cli"])
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        tell(f"pid {child}")
        _, status = os.waitpid(child, 0)
        tell(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(sys.argv[1])
