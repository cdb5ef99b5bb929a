"""bfloat16 where a machine only pretends to compute in it."""

from __future__ import annotations

import logging

import pytest
import torch

from mr_st.training.precision import computes_in_bfloat16, warn_where_bfloat16_crawls

AVX2 = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("cpu", "computes"),
    [
        (AVX2, False),
        ({**AVX2, "avx512_bf16": True}, True),
        ({**AVX2, "amx_bf16": True}, True),
        ({"architecture": "aarch64"}, True),
        ({}, True),
    ],
)
def test_a_cpu_that_cannot_is_told_and_warned_of(cpu, computes, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert computes_in_bfloat16(on_cpu=True) is computes
    assert computes_in_bfloat16(on_cpu=False)
    with caplog.at_level(logging.WARNING):
        warn_where_bfloat16_crawls(on_cpu=False)
        assert not caplog.messages
        warn_where_bfloat16_crawls(on_cpu=True)
    assert ["no bfloat16 arithmetic" in message for message in caplog.messages] == [True] * (not computes)
