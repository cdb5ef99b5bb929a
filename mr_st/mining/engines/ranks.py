"""Shards shared among the processes of ``accelerate launch`` or ``torchrun``, one for each device."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mr_st.encoding.stage import Stage
from mr_st.errors import MrStError, UsageError
from mr_st.identity import settings_hash
from mr_st.mining.engines.work import Progress, pin, plain_error, shards_to_do, travelling_error, unseen

if TYPE_CHECKING:
    from torch.distributed import TCPStore

__all__ = ["RanksEngine", "n_ranks_launched"]

_TICK = 0.1  # seconds between two looks at the board
_GRACE = 30.0  # seconds that a rank which failed waits for the others to hear of it


def n_ranks_launched() -> int:
    """How many processes a launcher started beside this one, itself included: 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class RanksEngine:
    """Run stages on the ranks of one ``accelerate launch`` or ``torchrun``; each must run the same stages in order.

    Rank 0 decides once what is to do; every rank takes the next shard when it has done one. All return together. The
    first error stops every rank at its next shard and is raised by all. (A rank that is killed tells nobody: the
    launcher stops the others.) Make the engine before models are loaded: it chooses the device of each rank.

    Raises:
        UsageError: no launcher started this process.

    Example:
        $ accelerate launch --multi_gpu --num_processes 4 -m mr_st.cli.main mine MODEL DATA --out mined/

    Source: ours, over accelerate's PartialState.
    """

    def __init__(self) -> None:
        if n_ranks_launched() < 2:
            raise UsageError(
                "RanksEngine is for `accelerate launch` or `torchrun` with 2 processes or more; here is 1"
            )
        import torch
        from accelerate import PartialState

        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.rank, self.n_ranks = int(self._state.process_index), int(self._state.num_processes)
        if self.n_ranks < 2:
            raise UsageError("the ranks found no backend to talk over; launch with --multi_gpu or torchrun (see docs)")
        self._board = _board(self.rank)
        self._n_runs = 0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def run(self, stage: Stage, show_progress: bool = False) -> None:
        """Run this rank's share of the shards that are not done, and return when all ranks have.

        Raises:
            MrStError: what a shard raised, on whichever rank.
            UsageError: the ranks were given different stages.
        """
        self._n_runs += 1
        pin(stage, str(self._state.device) if self._state.device.type != "cpu" else None)
        call = _Call(self._board, f"run {self._n_runs}", self.rank, self.n_ranks)
        error: MrStError | None = None
        try:
            to_do = call.agreed(stage)
            with Progress(stage, to_do, show_progress and self.is_main) as progress:
                own = call.share(stage, to_do, progress)
                call.wait_for_all("finished", progress)
                call.look(stage, next((shard for shard in to_do if shard not in own), None))
                call.wait_for_all("seen", progress)
        except MrStError as raised:
            error = raised
        except Exception as raised:  # the board itself is gone
            raise MrStError(
                f"{stage.name}: rank {self.rank} lost rank 0 ({type(raised).__name__}); run again"
            ) from raised
        call.leave(is_failed=error is not None)
        if error is not None:
            raise error


class _Call:
    """One run of a stage as the ranks see it on the board."""

    def __init__(self, board: TCPStore, name: str, rank: int, n_ranks: int):
        self.board, self.name, self.rank, self.n_ranks = board, name, rank, n_ranks
        self.n_units = 0

    def agreed(self, stage: Stage) -> list[int]:
        """What rank 0 says is to do, of the same stage as this rank's."""
        about = settings_hash([stage.name, list(stage.sizes)])
        if self.rank == 0:
            try:
                to_do = shards_to_do(stage)
            except Exception as error:
                raise self.tell(plain_error(error, stage.name, 0)) from error
            self.board.set(self._key("to do"), json.dumps([about, to_do]))
        self._wait(lambda: self.board.check([self._key("to do")]))
        theirs, to_do = json.loads(self.board.get(self._key("to do")))
        if theirs != about:
            raise self.tell(
                UsageError(f"{stage.name}: rank {self.rank} has other shards than rank 0; give all the same data")
            )
        return to_do

    def share(self, stage: Stage, to_do: Sequence[int], progress: Progress) -> set[int]:
        """Take shards until there are none; these are the ones that were taken."""
        own = set()
        while (place := self.board.add(self._key("taken"), 1) - 1) < len(to_do):
            self._hear()
            shard = to_do[place]
            try:
                stage.run(shard)
            except Exception as error:
                raise self.tell(plain_error(error, stage.name, shard)) from error
            own.add(shard)
            self.board.add(self._key("units"), stage.sizes[shard])
            self._show(progress)
        return own

    def look(self, stage: Stage, shard: int | None) -> None:
        """Make sure that this rank sees a shard that another one finished."""
        if shard is not None and not stage.is_done(shard):
            raise self.tell(unseen(stage, shard))

    def wait_for_all(self, point: str, progress: Progress) -> None:
        """Wait until every rank has come to this point."""
        self.board.add(self._key(point), 1)
        self._wait(lambda: self._count(point) == self.n_ranks, lambda: self._show(progress))

    def leave(self, is_failed: bool) -> None:
        """Say that this rank has heard how it ended; rank 0, which keeps the board, leaves last."""
        deadline = time.monotonic() + _GRACE
        try:
            self.board.add(self._key("left"), 1)
            while (self.rank == 0 or is_failed) and self._count("left") < self.n_ranks:
                if is_failed and time.monotonic() > deadline:
                    break
                time.sleep(_TICK)
        except Exception:  # rank 0 left first
            if not is_failed:
                raise

    def tell(self, error: MrStError) -> MrStError:
        """Put an error on the board, where it is the first; gives it back."""
        self.board.compare_set(self._key("error"), "", travelling_error(error).hex())
        return error

    def _hear(self) -> None:
        if self.board.check([self._key("error")]):
            raise pickle.loads(bytes.fromhex(self.board.get(self._key("error")).decode()))  # from a rank of our own

    def _wait(self, is_over: Callable[[], Any], meanwhile: Callable[[], None] = lambda: None) -> None:
        while not is_over():
            self._hear()
            meanwhile()
            time.sleep(_TICK)  # and not in the board's own wait, which Ctrl-C does not end
        self._hear()
        meanwhile()

    def _show(self, progress: Progress) -> None:
        if self.rank == 0:
            n_units = self._count("units")
            progress.update(n_units - self.n_units)
            self.n_units = n_units

    def _count(self, what: str) -> int:
        return self.board.add(self._key(what), 0)

    def _key(self, what: str) -> str:
        return f"{self.name} {what}"


def _board(rank: int) -> TCPStore:
    """A store of our own that every rank can reach: it waits for nobody and does not time out a stage of hours."""
    from torch import distributed

    host = os.environ.get("MASTER_ADDR", "localhost")
    patience = timedelta(minutes=5)
    places: list[Any] = [None]
    board: TCPStore | None = None
    if rank == 0:
        board = distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=patience)
        places = [board.port]
    distributed.broadcast_object_list(places, src=0)
    return board or distributed.TCPStore(host, places[0], is_master=False, wait_for_workers=False, timeout=patience)
