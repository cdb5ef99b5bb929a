"""What every engine does: which shards are left, how far they are, and errors that cross processes in one line."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, cast

from mr_st.encoding.stage import Stage
from mr_st.errors import MrStError, UsageError

__all__ = ["Progress", "packed", "pin", "plain_error", "shards_to_do", "travelling_error", "unseen"]


def shards_to_do(stage: Stage) -> list[int]:
    """The shards that are not done, in their order."""
    return [shard for shard in range(len(stage.sizes)) if not stage.is_done(shard)]


class Progress:
    """A bar over the units of a stage, of which those of finished shards are there from the start.

    Args:
        stage: The stage.
        to_do: Its shards that are left.
        is_shown: Draw the bar.
    """

    def __init__(self, stage: Stage, to_do: Sequence[int], is_shown: bool):
        from tqdm.auto import tqdm

        total = sum(stage.sizes)
        done = total - sum(stage.sizes[shard] for shard in to_do)
        self._bar = tqdm(total=total, initial=done, desc=stage.name, unit=stage.unit, disable=not is_shown)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, n_units: int) -> None:
        """Count more units as done."""
        self._bar.update(n_units)


def plain_error(error: Exception, stage_name: str, shard: int) -> MrStError:
    """The error itself where it is one of ours, else one line that names the shard."""
    if isinstance(error, MrStError):
        return error
    first = (str(error).strip().splitlines() or [""])[0]
    return MrStError(
        f"{stage_name}, shard {shard}: {type(error).__name__}: {first:.300}; finished shards are kept: mend the cause "
        "and run again"
    )


def travelling_error(error: MrStError) -> bytes:
    """The error pickled: as it is where that gives the same again, else the nearest of our own kinds."""
    try:
        data = pickle.dumps(error)
        again = pickle.loads(data)
        if type(again) is type(error) and str(again) == str(error):
            return data
    except Exception:  # whatever the error's class makes of pickling
        pass
    return pickle.dumps((UsageError if error.exit_code == UsageError.exit_code else MrStError)(str(error)))


def packed(stage: Stage, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """The stage as bytes for another process.

    Raises:
        UsageError: a part of it cannot be pickled.
    """
    try:
        return dumps(stage)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"{stage.name}: it cannot be sent to another process ({reason:.200}); define policies, models and "
            "annotators at the top of an importable module (no lambda, no open file or lock in them), or run in one "
            "process"
        ) from error


def pin(stage: Stage, device: str | None) -> None:
    """Let the stage compute on ``device`` where it has a say in it and nobody chose."""
    if device is not None and getattr(stage, "device", device) is None:
        cast(Any, stage).device = device


def unseen(stage: Stage, shard: int) -> MrStError:
    """What to say when another process finished a shard whose result does not lie where this one looks."""
    return MrStError(
        f"{stage.name}, shard {shard}: another process finished it, but its result is not where this one looks; keep "
        "the work in a folder or URL that all processes see"
    )
