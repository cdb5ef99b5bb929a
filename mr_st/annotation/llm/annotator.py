"""The annotator that is any causal language model: a guideline, a prompt, and the logits of the label tokens."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mr_st.annotation.cross_encoder import softmax
from mr_st.annotation.guideline import Guideline
from mr_st.annotation.llm.chat import ChatPrompts
from mr_st.annotation.llm.folder import load_causal, load_tokenizer, read_about
from mr_st.annotation.llm.prefix import SharedPrefix, next_token_logits
from mr_st.annotation.prompt import GradePrompt
from mr_st.annotation.protocol import Annotations, PairTable
from mr_st.errors import MrStError, UsageError
from mr_st.identity import model_hash, settings_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LLMAnnotator"]

logger = logging.getLogger(__name__)

_LEAST_PREFIX = 8  # tokens; sharing fewer is not worth a forward pass
_MOST_BLANKS = 3  # tokens of white space that a model may put before its answer
_AT_ONCE = 4096  # pairs whose prompts are held as tokens
_NO_PART_OF_A_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "architectures")


class LLMAnnotator:
    """Grade pairs with a causal language model: which label would it answer, and how sure is it?

    The prompt (guideline, rules, pair) is rendered with the tokenizer's chat template, as a server that hosts the
    model renders it, and the labels are scored where the answer begins, in one forward pass and with no generation.
    A label's logit is the highest of the single tokens that say it (``2``, `` 2``): so where the model's own first
    choice is a label, it is the grade. The grade is the most probable label, the lower of two that are equal;
    probabilities are ``softmax(logits / temperature)``.

    A folder that ``mr_st.training.fit_llm_annotator`` wrote brings guideline, prompt and temperature; what is given
    here overrides them. Weights are read from safetensors only, and no code from a repository is run.

    Args:
        model: A folder, a Hub id, or a loaded causal language model.
        tokenizer: The same for the tokenizer; the model's own when None.
        guideline: ``"three_grades"``, ``"brief"``, a Markdown file or a Guideline; the folder's own or
            ``"three_grades"`` when None.
        defended: Whether texts are cleaned and quoted, with the rule that they are no instructions
            (see :class:`~mr_st.annotation.prompt.GradePrompt`); as fitted, or True, when None.
        batch_size: Pairs in one forward pass; no part of the identity.
        max_length: Most tokens of a prompt, the model's positions when None. An item's text is cut to fit.
        temperature: Above 0; the folder's own or 1 when None.
        share_prefix: Compute the beginning that all prompts share once for a call; no part of the identity.
            ``prefix_note`` says why where a model does not allow it.
        device: Where to run; a GPU where there is one when None (a loaded model stays where it is).
        dtype: ``"float32"`` (when None), ``"bfloat16"``, ``"auto"`` for the type of the files. Part of the identity,
            as labels may differ.
        n_grades: G that the caller needs; refused where the guideline defines another number.
        template_options: More variables of the chat template, e.g. ``{"enable_thinking": False}``.

    Raises:
        MrStError: no such model or tokenizer, or a damaged ``annotator.json``.
        UsageError: a temperature that is not above 0, a guideline of another number of grades, or labels that the
            tokenizer cannot tell apart by their first token.
        DataError: a guideline that cannot be read.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: Any = None,
        guideline: str | Path | Guideline | None = None,
        *,
        defended: bool | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        temperature: float | None = None,
        share_prefix: bool = True,
        device: str | None = None,
        dtype: str | None = None,
        n_grades: int | None = None,
        template_options: Mapping[str, Any] | None = None,
    ):
        about = read_about(Path(model), guideline is None) if isinstance(model, (str, Path)) else {}
        if guideline is None:
            guideline = about.get("guideline", "three_grades")
        if not isinstance(guideline, Guideline):
            guideline = Guideline.load(guideline)
        if n_grades not in (None, guideline.n_grades):
            raise UsageError(
                f"guideline {guideline.name!r} defines {guideline.n_grades} grades and {n_grades} are asked for; give "
                "a guideline of as many"
            )
        given = about.get("temperature", 1.0) if temperature is None else temperature
        self.temperature = float(given)
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        if batch_size < 1 or (max_length is not None and max_length < 1):
            raise UsageError(f"batch_size {batch_size} and max_length {max_length} must be 1 or more")
        defended = about.get("defended", True) if defended is None else defended
        options = about.get("template_options") if template_options is None else template_options
        self.tokenizer = load_tokenizer(tokenizer, model)
        self.model: Any = load_causal(model, device, dtype)
        self.model.eval()
        self.batch_size, self.share_prefix = batch_size, share_prefix
        limit = about.get("max_length") if max_length is None else max_length
        self.prompts = ChatPrompts(self.tokenizer, GradePrompt(guideline, defended), self._most_tokens(limit), options)
        self.n_grades = guideline.n_grades
        self.prefix_note: str | None = None
        self._identity: str | None = None

    @property
    def identity(self) -> str:
        """``llm-`` and a hash of weights, configuration, tokenizer, template, prompt, length and temperature."""
        if self._identity is None:
            config = {k: v for k, v in self.model.config.to_dict().items() if k not in _NO_PART_OF_A_MODEL}
            settings = {
                "model": model_hash(self.model),
                "config": config,
                "tokenizer": _tokenizer_settings(self.tokenizer),
                "template": getattr(self.tokenizer, "chat_template", None),
                "template_options": self.prompts.template_options,
                "prompt": self.prompts.prompt.settings,
                "max_length": self.prompts.max_length,
                "temperature": self.temperature,
            }
            self._identity = f"llm-{settings_hash(settings)}"
        return self._identity

    def grade(self, pairs: PairTable, show_progress: bool = False) -> Annotations:
        """Grade every pair; equal texts are read once, and batches hold prompts of similar length.

        Raises:
            MrStError: an output that is not finite, or a prompt that is too long without its item; the pair is named.
        """
        logits = self.logits(pairs, show_progress)
        probabilities = softmax(logits / self.temperature)
        return Annotations(logits.argmax(axis=1).astype(np.int8), probabilities.astype(np.float32))

    def logits(self, pairs: PairTable, show_progress: bool = False) -> np.ndarray:
        """The labels' logits before temperature and softmax: float64 (n, G)."""
        return self._read(pairs, show_progress)[0]

    def answers_parse(self, pairs: PairTable, show_progress: bool = False) -> np.ndarray:
        """Whether the model's own first choice, over its whole vocabulary, is a label: bool (n,).

        Where it is, it is the grade; elsewhere the grade is the label that comes next, and a server that generates
        would answer something else.
        """
        return self._read(pairs, show_progress)[1]

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _read(self, pairs: PairTable, show_progress: bool) -> tuple[np.ndarray, np.ndarray]:
        """Labels' logits (n, G), and whether the highest logit of all is a label's (n,)."""
        from tqdm import tqdm

        texts = list(zip(pairs.query_texts, pairs.item_texts, strict=True))
        # longest first: what does not fit into memory fails at once
        distinct = sorted(set(texts), key=lambda pair: (-len(pair[0]) - len(pair[1]), pair))
        logits, chosen = np.empty((len(distinct), self.n_grades)), np.empty(len(distinct), dtype=np.int64)
        prefix = self._prefix(len(distinct))
        with tqdm(total=len(distinct), desc="labels", unit="pair", disable=not show_progress) as bar:
            for start in range(0, len(distinct), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                prompts = [self.prompts.ids(query, item) for query, item in distinct[part]]
                logits[part], chosen[part] = self._forward(prompts, prefix, bar)
        row_of = {pair: row for row, pair in enumerate(distinct)}
        rows = [row_of[pair] for pair in texts]
        logits, chosen = logits[rows], chosen[rows]
        bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(bad):
            raise MrStError(
                f"pair {bad[0] + 1:,} (query {pairs.query_ids[bad[0]]!r}, item {pairs.item_ids[bad[0]]!r}): the "
                "language model's output is not finite; load it with dtype='float32', or fit it again with a lower "
                "learning rate"
            )
        return logits, np.isin(chosen, [token for ids in self.prompts.label_ids for token in ids])

    def _forward(
        self, prompts: list[list[int]], prefix: SharedPrefix | None, bar: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels' logits (m, G) and the most probable token (m,) of m prompts."""
        logits, chosen = self._batches(prompts, prefix, bar.update)
        rows = np.arange(len(prompts))
        for _ in range(_MOST_BLANKS):  # white space first: what the model says is what it says next
            rows = np.array([row for row in rows.tolist() if self._goes_on(prompts[row], int(chosen[row]))], dtype=int)
            if not len(rows):
                break
            prompts = list(prompts)
            for row in rows.tolist():
                prompts[row] = [*prompts[row], int(chosen[row])]
            logits[rows], chosen[rows] = self._batches([prompts[row] for row in rows], prefix, lambda _: None)
        return logits, chosen

    def _batches(
        self, prompts: list[list[int]], prefix: SharedPrefix | None, done: Callable[[int], Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        logits, chosen = np.empty((len(prompts), self.n_grades)), np.empty(len(prompts), dtype=np.int64)
        shares = [prefix is not None and prefix.begins(ids) for ids in prompts]
        order = sorted(range(len(prompts)), key=lambda row: (shares[row], -len(prompts[row])))
        while order:
            batch = [row for row in order[: self.batch_size] if shares[row] == shares[order[0]]]
            order = order[len(batch) :]
            ids = [prompts[row] for row in batch]
            if prefix is not None and shares[batch[0]]:
                given = prefix.next_token_logits(ids)
            else:
                given = next_token_logits(self.model, ids)
            columns = [given[:, tokens].amax(dim=1).double().cpu().numpy() for tokens in self.prompts.label_ids]
            logits[batch] = np.stack(columns, axis=1)
            chosen[batch] = given.argmax(dim=1).cpu().numpy()
            done(len(batch))
        return logits, chosen

    def _prefix(self, n: int) -> SharedPrefix | None:
        """The shared beginning, computed for this call; None where it is not worth it or the model cannot share."""
        shared = self.prompts.shared_ids
        if not self.share_prefix or n < 2 or len(shared) < _LEAST_PREFIX:
            return None
        try:
            return SharedPrefix(self.model, shared)
        except ValueError as error:
            if self.prefix_note is None:
                self.prefix_note = str(error)
                logger.info("the prompts' common beginning is computed for each pair: %s", error)
            return None

    def _goes_on(self, prompt: list[int], token: int) -> bool:
        """Whether the answer that begins with ``token`` has said nothing yet, and has room to go on."""
        eos = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ends = {*(eos if isinstance(eos, list) else [eos]), self.tokenizer.eos_token_id}
        is_full = self.prompts.max_length is not None and len(prompt) >= self.prompts.max_length
        return token not in ends and not is_full and not self.prompts.says(token)

    def _most_tokens(self, max_length: int | None) -> int | None:
        config = self.model.config.get_text_config(decoder=True)
        positions = getattr(config, "max_position_embeddings", None)
        limits = [limit for limit in (positions, max_length) if limit is not None]
        return min(limits, default=None)


def _tokenizer_settings(tokenizer: Any) -> Any:
    """What a tokenizer does to a text, without the padding and truncation that a call leaves behind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [tokenizer.get_vocab(), sorted(map(str, tokenizer.added_tokens_decoder.values()))]
    settings = json.loads(backend.to_str())
    return settings_hash({k: v for k, v in settings.items() if k not in ("padding", "truncation")})
