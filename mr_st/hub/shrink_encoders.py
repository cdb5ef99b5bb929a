"""The model itself made smaller or quicker: weights in float16, ONNX, ONNX with int8 weights.

optimum, through which sentence-transformers reads ONNX, needs an older transformers than this project. So the trunk is
exported by torch and run by onnxruntime in its place; tokenizer, pooling, heads and prompts stay those of the model.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mr_st.errors import MrStError, UsageError, require_extra

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from mr_st.evaluation import BiEncoder

__all__ = ["changed_encoder", "onnx_model", "write_onnx"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_FILES = {False: "model.onnx", True: "model_qint8.onnx"}
_MOST_OFF = 1e-2


def changed_encoder(full: BiEncoder, name: str, work: Path) -> BiEncoder:
    """The same model with other weights or another engine, as a system with a revision and vectors of its own.

    Args:
        full: The model.
        name: ``float16-weights``, ``onnx`` or ``onnx-int8``.
        work: A folder for the graphs; they are read from it as long as the system lives.

    Raises:
        MissingExtraError: ONNX without the ``onnx`` extra.
        MrStError: a trunk that torch cannot export, or that gives other values when exported.
    """
    from mr_st.evaluation import BiEncoder

    if name == "float16-weights":
        model = copy.deepcopy(full.model).half()
    else:
        model = onnx_model(full.model, work, quantised=name == "onnx-int8")
    made = BiEncoder(
        model, full.name, store=full.store, batch_size=full.batch_size, show_progress=full.show_progress
    )  # fmt: skip
    made.settings["encoder"] = name
    return made


def onnx_model(model: SentenceTransformer, work: Path, quantised: bool = False) -> SentenceTransformer:
    """A copy of a model whose trunks are run by onnxruntime, on the CPU.

    Args:
        model: The model; it stays as it is.
        work: A folder for the graphs.
        quantised: Weights in int8, one scale a channel; activations are quantised on the way.

    Raises:
        MissingExtraError: the ``onnx`` extra is not installed.
        MrStError: a trunk that cannot be exported, or that gives other values when exported.
    """
    from mr_st.models.trunk import transformers_of

    _needs()
    twin = copy.deepcopy(model).to("cpu")
    for number, transformer in enumerate(transformers_of(twin)):
        path = _export(transformer, work / f"trunk{number}", quantised)
        trunk = _onnx_trunk(path, transformer.model)
        if not quantised:
            _check_equal(transformer, trunk)
        transformer.model = trunk
    return twin


def write_onnx(model: SentenceTransformer, folder: Path, quantised: bool = False) -> Path:
    """Write a model's trunk as ``onnx/model.onnx`` (``onnx/model_qint8.onnx``) below a folder; returns the path.

    Raises:
        UsageError: a model of two trunks: sentence-transformers looks for one.
        MissingExtraError, MrStError: as :func:`onnx_model`.
    """
    from mr_st.models.trunk import transformers_of

    _needs()
    trunks = list(transformers_of(model))
    if len(trunks) != 1:
        raise UsageError(f"the model has {len(trunks)} trunks; only a model of one can be saved as ONNX")
    twin = copy.deepcopy(trunks[0]).to("cpu")
    path = _export(twin, folder / "onnx", quantised)
    if quantised:
        (path.parent / _FILES[False]).unlink()
    return path


def _needs() -> None:
    for module in ("onnxruntime", "onnx", "onnxscript"):
        require_extra(module, "onnx")


def _export(transformer: Any, folder: Path, quantised: bool) -> Path:
    """Write the graph of a trunk, tokens to their last states, for any number of texts and tokens."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / _FILES[False]
    if not plain.exists():
        trunk = transformer.model.eval().float()
        names = _input_names(trunk)
        example = {name: torch.ones(2, 8, dtype=torch.long) for name in names}
        axes = {name: {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")} for name in names}
        try:
            with _quietly():
                torch.onnx.export(
                    _States(trunk, names), tuple(example.values()), str(plain), input_names=list(names),
                    output_names=["last_hidden_state"], dynamic_shapes=(tuple(axes.values()),), dynamo=True,
                    external_data=False,
                )  # fmt: skip
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise MrStError(
                f"the trunk ({type(trunk).__name__}) cannot be exported to ONNX ({type(error).__name__}: "
                f"{reason:.120}); leave onnx out"
            ) from error
    if not quantised:
        return plain
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = folder / _FILES[True]
    with _quietly():
        quantize_dynamic(str(plain), str(small), weight_type=QuantType.QInt8, per_channel=True)
    return small


def _input_names(trunk: Any) -> tuple[str, ...]:
    known = inspect.signature(trunk.forward).parameters
    return tuple(name for name in _INPUTS if name in known)


def _States(trunk: Any, names: tuple[str, ...]) -> Any:
    """The trunk as a function of its inputs alone."""
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk

        def forward(self, *inputs: Any) -> Any:
            return self.trunk(**dict(zip(names, inputs, strict=True)), return_dict=True).last_hidden_state

    return States()


def _onnx_trunk(path: Path, like: Any) -> Any:
    """A module that stands where the trunk stood: the same inputs and states, computed by onnxruntime."""
    import hashlib

    import numpy as np
    import onnxruntime
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = [one.name for one in session.get_inputs()]

    class OnnxTrunk(torch.nn.Module):
        content: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.config = like.config
            digest = np.frombuffer(hashlib.sha256(path.read_bytes()).digest(), dtype=np.uint8).copy()
            self.register_buffer("content", torch.from_numpy(digest))  # so that the model's hash tells graphs apart

        def forward(
            self, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None, **more: Any
        ) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            if given["token_type_ids"] is None:
                given["token_type_ids"] = torch.zeros_like(input_ids)
            states = session.run(None, {name: given[name].cpu().numpy() for name in inputs})[0]
            return BaseModelOutput(last_hidden_state=torch.from_numpy(states))

    return OnnxTrunk()


def _check_equal(transformer: Any, trunk: Any) -> None:
    """Refuse a graph that holds for the example it was exported with only."""
    import torch

    features = transformer.tokenizer(["red running shoes", "mug", "a lamp for the desk, black"], padding=True)
    given = {name: torch.tensor(values) for name, values in features.items() if name in _INPUTS}
    with torch.no_grad():
        expected = transformer.model(**given, return_dict=True).last_hidden_state
    seen = given["attention_mask"].bool()
    off = float((trunk(**given).last_hidden_state - expected)[seen].abs().max() / expected[seen].abs().max())
    if not off <= _MOST_OFF:
        raise MrStError(f"the exported trunk gives other values than the model (by {off:.1%}); leave onnx out")


@contextlib.contextmanager
def _quietly() -> Any:
    """Without the exporter's own progress and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
