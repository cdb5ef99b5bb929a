"""Random ragged batches with what breaks losses: missing grades, ties, one-grade instances, cosines of -1 and 1."""

from __future__ import annotations

import torch


def ragged_batch(seed: int, n_grades: int = 3, n_queries: int = 9, dim: int = 6, dtype: torch.dtype = torch.float64):
    """Queries (Q, d), items (U, d), labels (P, 3) in random order; instances of 1 to 40 items that share items.

    Row 0 has one grade only, row 1 has no item, row 2 the cosines -1 and 1 exactly, row 3 ties, row 4 a grade missing.
    """
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, size: tuple[int, ...] = ()) -> torch.Tensor:
        return torch.randint(low, high, size, generator=generator)

    queries = torch.randn(n_queries, dim, generator=generator, dtype=dtype) * 3
    items = torch.randn(60, dim, generator=generator, dtype=dtype)
    axis = torch.zeros(dim, dtype=dtype)
    axis[0] = 2.0
    queries[2], items[0], items[1] = axis, axis * 3, -axis
    items[11] = items[10]
    labels = []
    for query in range(n_queries):
        size = int(integers(1, 41))
        rows = torch.randperm(60, generator=generator)[:size].tolist()
        grades = integers(0, n_grades, (size,)).tolist()
        if query == 0:
            grades = [1] * size
        elif query == 1:
            rows, grades = [], []
        elif query == 2:
            rows, grades = [0, 1, 2, 0, 1], [n_grades - 1, 0, 1 % n_grades, 0, n_grades - 1]
        elif query == 3:
            rows, grades = [10, 11, 10], [1, 0, n_grades - 1]
        elif query == 4:
            grades = [0 if g == 0 else n_grades - 1 for g in grades]
        labels += [(query, row, grade) for row, grade in zip(rows, grades, strict=True)]
    order = torch.randperm(len(labels), generator=generator).tolist()
    return queries, items, torch.tensor([labels[i] for i in order])
