"""The items of a shop, batch by batch, made by one process or by several that write to pipes.

A pipe holds little, so no process runs far ahead of the reader, and memory stays flat. (``multiprocessing`` would
import the caller's script once more in each process.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa

from mr_st.data.marketplace.shop import Shop
from mr_st.data.marketplace.world import make_world
from mr_st.data.schema import arrow_schema
from mr_st.errors import MrStError, UsageError

__all__ = ["stream_items"]

_IN_PROCESS = 3  # chunks or fewer: not worth starting processes


def stream_items(size: str = "small", seed: int = 0, workers: int | None = None) -> Iterator[pa.RecordBatch]:
    """The items of a shop in the schema of the items table, in row order.

    Args:
        size: tiny, small, medium or large.
        seed: Any whole number >= 0.
        workers: Processes that make the batches; None for one a core. The batches are the same for any number.

    Raises:
        UsageError: an unknown size, a bad seed, or fewer than one worker.
        MrStError: a process broke off.

    Example:
        >>> [batch.num_rows for batch in stream_items("tiny")]
        [250]
    """
    if workers is not None and workers < 1:
        raise UsageError(f"marketplace: workers={workers}; give 1 or more, or leave it out")
    shop = make_world(size, seed).shop
    workers = min(workers or os.cpu_count() or 1, shop.n_chunks)
    if workers == 1 or shop.n_chunks <= _IN_PROCESS or not sys.executable:
        return (_item_batch(shop, number) for number in range(shop.n_chunks))
    return _from_processes(size, seed, shop.n_chunks, workers)


def _from_processes(size: str, seed: int, n_chunks: int, workers: int) -> Iterator[pa.RecordBatch]:
    command = [sys.executable, "-c", f"from {__name__} import write_chunks; write_chunks()", size, str(seed)]
    with ExitStack() as stack:
        processes = []
        for first in range(workers):
            process = subprocess.Popen([*command, str(first), str(workers)], stdout=subprocess.PIPE)
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            stack.enter_context(process.stdout)  # type: ignore[arg-type]
        readers: list[pa.RecordBatchStreamReader | None] = [None] * workers
        for number in range(n_chunks):
            at = number % workers
            try:
                readers[at] = readers[at] or pa.ipc.open_stream(processes[at].stdout)
                batch = readers[at].read_next_batch()  # type: ignore[union-attr]
            except (pa.ArrowInvalid, StopIteration, OSError) as error:
                what = f"the process that makes its items broke off (exit code {processes[at].wait()})"
                raise MrStError(f"marketplace {size}: {what}; try again with workers=1") from error
            yield batch


def _item_batch(shop: Shop, number: int) -> pa.RecordBatch:
    items = shop.chunk(number)
    columns = {
        "item_id": [item.item_id for item in items],
        "title": [item.title for item in items],
        "category_path": [item.category_path for item in items],
        "description": [None] * len(items),
        "brand": [item.stated.get("brand", (None,))[0] for item in items],
        "color": [item.color for item in items],
        "locale": [item.locale for item in items],
    }
    schema = arrow_schema("items")
    return pa.record_batch([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)


def write_chunks() -> None:
    """Write chunks FIRST, FIRST + STEP, ... to standard output as an Arrow stream; arguments: SIZE SEED FIRST STEP."""
    size, seed, first, step = sys.argv[1:]
    shop = make_world(size, int(seed)).shop
    try:
        with pa.ipc.new_stream(pa.PythonFile(sys.stdout.buffer), arrow_schema("items")) as writer:
            for number in range(int(first), shop.n_chunks, int(step)):
                writer.write_batch(_item_batch(shop, number))
    except BrokenPipeError:
        os._exit(1)  # the reader has gone: nobody wants the rest
