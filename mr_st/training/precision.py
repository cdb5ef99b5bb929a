"""Whether a machine computes in bfloat16, or only pretends to."""

from __future__ import annotations

import logging

__all__ = ["computes_in_bfloat16", "warn_where_bfloat16_crawls"]

logger = logging.getLogger(__name__)


def computes_in_bfloat16(on_cpu: bool) -> bool:
    """Whether bfloat16 is fast here: on any accelerator; of x86 CPUs on those with AVX512-BF16 or AMX.

    Others convert value by value: torch's products take many times as long there as in float32. Of CPUs that are not
    x86 nothing is known, and the answer is yes.
    """
    import torch

    if not on_cpu:
        return True
    has = torch.cpu.get_capabilities()
    return has.get("architecture") != "x86_64" or bool(has["avx512_bf16"] or has["amx_bf16"])


def warn_where_bfloat16_crawls(on_cpu: bool) -> None:
    """Log a warning before a training in bfloat16 that would take many times as long as one in float32."""
    if not computes_in_bfloat16(on_cpu):
        logger.warning(
            "this CPU has no bfloat16 arithmetic (AVX512-BF16, AMX): training in bf16 takes many times as long as "
            "in fp32 here; turn it off"
        )
