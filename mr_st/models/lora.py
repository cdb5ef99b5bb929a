"""LoRA trunks: train a few small matrices beside a frozen trunk, then fold them into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from torch import nn

from mr_st.errors import UsageError, require_extra
from mr_st.models.trunk import transformers_of

__all__ = ["add_lora", "has_lora", "merge_lora", "save_lora_base", "unfreeze_lora"]


def add_lora(model: SentenceTransformer, lora: Mapping[str, Any], seed: int = 0) -> SentenceTransformer:
    """Freeze the trunk and put LoRA adapters beside its matrices; in place. Source: arXiv 2106.09685.

    What is trained afterwards: the adapters and the heads. The embeddings do not change (adapters begin at zero). An
    asymmetric model gets adapters in both trunks.

    Save such a model with :func:`merge_lora` first: without, a Siamese model writes its adapters and the place of its
    base only, and an asymmetric one cannot be loaded again. ``train_stage`` merges by itself.

    Args:
        model: A model with one or two transformer trunks.
        lora: What peft's ``LoraConfig`` takes, e.g. ``{"r": 8, "target_modules": ["query", "value"]}``;
            ``"target_modules": "all-linear"`` for every matrix; without it peft's own choice for the architecture.
            None as a value leaves peft's default.
        seed: For the adapters' first values.

    Raises:
        MissingExtraError: peft is not installed (extra ``llm``).
        UsageError: options that peft does not take, that match nothing, or that would train whole modules; a model
            without a transformer, or with adapters already.

    Example:
        >>> from mr_st.models import build_two_tower
        >>> model = add_lora(build_two_tower("minilm"), {"r": 4})
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad) < 500_000
        True
    """
    peft = require_extra("peft", "llm")
    trunks = list(transformers_of(model))
    if not trunks:
        raise UsageError("lora needs a transformer trunk, and this model has none; leave lora out")
    if has_lora(model):
        raise UsageError("this model has LoRA adapters already; merge_lora(model) folds them in")
    options = {name: value for name, value in lora.items() if value is not None}
    for trunk in trunks:
        try:
            config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", **options)
            if config.modules_to_save or config.trainable_token_indices or config.target_parameters:
                raise ValueError("modules_to_save, trainable_token_indices and target_parameters cannot be merged")
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                trunk.model.add_adapter(config)
        except (TypeError, ValueError) as error:
            reason = f"{error}".splitlines()[0][:200]
            raise UsageError(f"lora={dict(lora)}: {reason}; see peft's LoraConfig for what it takes") from error
    return model


def has_lora(model: nn.Module) -> bool:
    """Whether a trunk of the model carries adapters that are not merged yet."""
    return any(getattr(trunk.model, "_hf_peft_config_loaded", False) for trunk in transformers_of(model))


def merge_lora(model: SentenceTransformer) -> SentenceTransformer:
    """Fold the adapters into the trunk's own matrices and unfreeze it; in place, the embeddings stay the same.

    The model is then plain: it is saved whole and loads with ``SentenceTransformer(path)`` alone, without peft or its
    base. A model without adapters is returned as it is.
    """
    for trunk in transformers_of(model):
        network: Any = trunk.model
        if not getattr(network, "_hf_peft_config_loaded", False):
            continue
        for name, layer in _adapted(network):
            layer.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer.get_base_layer())
        network._hf_peft_config_loaded = False
        del network.peft_config
        network.requires_grad_(True)
        _forget_adapter_names(network)
    return model


def unfreeze_lora(model: nn.Module) -> None:
    """Make loaded adapters trainable: transformers freezes them, and training would go on with the heads alone."""
    for trunk in transformers_of(model):
        if getattr(trunk.model, "_hf_peft_config_loaded", False):
            trunk.model.set_adapter(trunk.model.active_adapters())


def save_lora_base(model: SentenceTransformer, folder: str | Path) -> None:
    """Write the frozen trunks, without adapters, and point the adapters there, so that checkpoints can be loaded.

    A checkpoint of a model with adapters holds these only, with the place of the base. This makes it a place of our
    own: what the base's folder is changed to later does no harm, and trunks inside a Router are found.

    Args:
        model: A model with adapters.
        folder: Must be empty or absent; it has to stay while the checkpoints are in use.
    """
    folder = Path(folder).absolute()
    for place, trunk in _places(model):
        network: Any = trunk.model
        adapters, network.peft_config = network.peft_config, None
        network._hf_peft_config_loaded = False
        _forget_adapter_names(network)
        try:
            plain = {
                name.replace(".base_layer.", "."): tensor
                for name, tensor in network.state_dict().items()
                if ".lora_" not in name
            }
            network.save_pretrained(folder / place, state_dict=plain)
            if place:
                network.config.save_pretrained(folder)  # looked for here, the weights below
        finally:
            network.peft_config, network._hf_peft_config_loaded = adapters, True
        for config in network.peft_config.values():
            config.base_model_name_or_path = str(folder)


def _forget_adapter_names(network: Any) -> None:
    """A network that was loaded with adapters would be saved with the names that an adapter file has."""
    for conversion in getattr(network, "_weight_conversions", None) or []:
        if any("base_model.model" in str(pattern) for pattern in conversion.source_patterns):
            network._weight_conversions = None  # transformers takes the architecture's own
            return


def _adapted(network: nn.Module) -> list[tuple[str, Any]]:
    layer_class = require_extra("peft.tuners.tuners_utils", "llm").BaseTunerLayer
    return [(name, module) for name, module in network.named_modules() if isinstance(module, layer_class)]


def _places(model: SentenceTransformer) -> list[tuple[str, Transformer]]:
    """Each trunk with the folder that sentence-transformers gives it below a saved model."""
    places: list[tuple[str, Transformer]] = []
    for index, module in enumerate(model.children()):
        if isinstance(module, Transformer):
            places.append(("" if index == 0 else f"{index}_Transformer", module))
        elif isinstance(module, Router):
            routes: Any = module.sub_modules.items()
            for route, inner in routes:
                for number, part in enumerate(inner):
                    if isinstance(part, Transformer):
                        below = f"{route}_{number}_Transformer"
                        places.append((below if index == 0 else f"{index}_Router/{below}", part))
    return places
