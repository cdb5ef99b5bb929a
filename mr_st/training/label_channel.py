"""Learning through wrong labels: what a judge who errs would say, given what the model holds for true."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LabelChannel"]


class LabelChannel(nn.Module):
    """Logits of the true grade (n, G) to log-probabilities of the given grade (n, G).

    With this before cross-entropy a model learns the truth behind labels that are wrong at a known rate: a label that
    it disbelieves costs it no more than the rate says, so it is not driven to learn wrong labels by heart.

    Args:
        confusion: (G, G) rows of probabilities, ``confusion[true][given]``, as
            :class:`~mr_st.data.label_noise.LabelNoise` holds them.

    Source: G. Patrini et al., Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach, CVPR 2017
    (arXiv 1609.03683), section 4.2, "forward".

    Example:
        >>> sure_of_grade_0 = torch.tensor([[9.0, 0.0, -9.0]])
        >>> channel = LabelChannel([[0.9, 0.1, 0.0], [0.05, 0.9, 0.05], [0.0, 0.1, 0.9]])
        >>> channel(sure_of_grade_0).exp().round(decimals=2)
        tensor([[0.9000, 0.1000, 0.0000]])
    """

    log_confusion: Tensor

    def __init__(self, confusion: Sequence[Sequence[float]]):
        super().__init__()
        self.register_buffer("log_confusion", torch.tensor(confusion, dtype=torch.float32).log(), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Log-probabilities (n, G) of the given grades, float32, from logits (n, G) of the true ones."""
        believed = logits.float().log_softmax(dim=1)
        return torch.logsumexp(believed[:, :, None] + self.log_confusion, dim=1)
