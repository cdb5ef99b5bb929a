"""The prompt of a pair as a model's own tokens: its chat template, the room it has, and the tokens of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mr_st.annotation.prompt import GradePrompt
from mr_st.errors import MrStError, UsageError

__all__ = ["ChatPrompts"]

_PROBES = (("a", "Z"), ("7", "0"), ("鞋", "靴"), ("(b", "!"), ("é", "ß"))
"""Pairs that differ from their first character on: what their prompts share, all prompts share."""


class ChatPrompts:
    """Renders and tokenises the prompts of one guideline for one tokenizer, as a server that hosts the model does.

    With a chat template, the messages go through ``apply_chat_template(..., add_generation_prompt=True)``; a template
    that refuses or drops the system message gets one user message that begins with it. Without a template, system and
    user message stand one after the other and the answer follows.

    Args:
        tokenizer: A transformers tokenizer.
        prompt: What is asked. A defended prompt is given the tokenizer's special tokens, which no data may spell.
        max_length: Most tokens of a prompt; the item's text is cut to fit. No limit when None.
        template_options: More variables of the chat template, e.g. ``{"enable_thinking": False}``.

    Raises:
        UsageError: two labels that begin with the same token.
        MrStError: a chat template that cannot render the messages.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt: GradePrompt,
        max_length: int | None = None,
        template_options: Mapping[str, Any] | None = None,
    ):
        self.tokenizer = tokenizer
        tokens = control_tokens(tokenizer) if prompt.defended else ()
        self.prompt = GradePrompt(prompt.guideline, prompt.defended, tokens)
        self.max_length = max_length
        self.template_options = dict(template_options or {})
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        self._merged = self.has_template and not self._takes_system_role()
        self.answer_prefix, self.label_ids = self._find_labels()

    # ---- prompts ---------------------------------------------------------------------------------------------------

    def messages(self, query: str, item: str) -> list[dict[str, str]]:
        """The chat messages of a pair, in the roles that the template knows."""
        return self.prompt.messages(query, item, merged=self._merged)

    def render(self, query: str, item: str) -> str:
        """The prompt as text, up to where the answer begins."""
        if self.has_template:
            return self._apply(self.messages(query, item), add_generation_prompt=True)
        return f"{self.prompt.system_message()}\n{self.prompt.user_message(query, item)}"

    def ids(self, query: str, item: str) -> list[int]:
        """The prompt's tokens, up to the label; where they are more than ``max_length``, the item is cut at a token.

        Raises:
            MrStError: the prompt is too long even with an empty item.
        """
        ids = self._tokens(self.render(query, item)) + self.answer_prefix
        return ids if self._fits(ids) else self._shortened(query, item)

    @cached_property
    def shared_ids(self) -> list[int]:
        """The tokens that the prompts of all pairs begin with: found on whole prompts, never by cutting text."""
        return _common([self._tokens(self.render(query, item)) for query, item in _PROBES])

    def _tokens(self, text: str) -> list[int]:
        """The tokens of a rendered prompt; its beginning is looked up where that is sure to give the same."""
        head, ids = self._head
        return ids + self._encode(text[len(head) :]) if head and text.startswith(head) else self._encode(text)

    def _encode(self, text: str) -> list[int]:
        """The tokens of a text; a tokenizer's own first token (bos) only where no template wrote it."""
        ids = list(self.tokenizer(text, add_special_tokens=not self.has_template, verbose=False)["input_ids"])
        if not self.has_template and len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id:
            ids.pop()  # a tokenizer that ends every text: here the answer comes first
        return ids

    @cached_property
    def _head(self) -> tuple[str, list[int]]:
        """The text before the special token that begins the pair's own message, and its tokens; ("", []) for none.

        A tokenizer cuts at special tokens first, so what stands before one never changes what comes after it.
        """
        texts = [self.render(query, item) for query, item in _PROBES]
        common = "".join(_common(texts))
        at = max((common.rfind(token) for token in control_tokens(self.tokenizer)), default=0)
        head = common[: max(at, 0)]
        ids = self._encode(head) if head and self.has_template else []
        same = all(self._encode(text) == ids + self._encode(text[len(head) :]) for text in texts)
        return (head, ids) if ids and same else ("", [])

    def _fits(self, ids: Sequence[int]) -> bool:
        return self.max_length is None or len(ids) <= self.max_length

    def _shortened(self, query: str, item: str) -> list[int]:
        ids = self._tokens(self.render(query, "")) + self.answer_prefix
        if not self._fits(ids):
            raise MrStError(
                f"query {query[:40]!r}: the prompt without its item has {len(ids):,} tokens and {self.max_length:,} "
                "are allowed (max_length or the model's positions); take a shorter guideline or another model"
            )
        ends = self._token_ends(item)
        low, high = 0, len(ends) - 1
        while low < high:  # the largest cut that fits
            middle = (low + high + 1) // 2
            longer = self._tokens(self.render(query, item[: ends[middle]])) + self.answer_prefix
            if self._fits(longer):
                low, ids = middle, longer
            else:
                high = middle - 1
        return ids

    def _token_ends(self, text: str) -> list[int]:
        """0 and where each token of ``text`` ends; every character where the tokenizer cannot tell."""
        if not getattr(self.tokenizer, "is_fast", False):
            return list(range(len(text) + 1))
        given = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return sorted({0, *(end for _, end in given["offset_mapping"])})

    # ---- the template ----------------------------------------------------------------------------------------------

    def _apply(self, messages: list[dict[str, str]], **options: Any) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages, tokenize=False, **{**self.template_options, **options}
            )
        except Exception as error:  # jinja2's own, and whatever a template raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise MrStError(f"the tokenizer's chat template cannot render the prompt ({reason}); mend it") from error
        return str(rendered)

    def _takes_system_role(self) -> bool:
        system = self.prompt.system_message().strip()
        try:
            return system in self._apply(self.prompt.messages("a", "b"), add_generation_prompt=True)
        except MrStError:
            return False

    # ---- the labels ------------------------------------------------------------------------------------------------

    def _continuation(self, answer: str) -> list[int]:
        """The tokens that follow the prompt where the assistant says ``answer``, up to the answer's end."""
        query, item = _PROBES[0]
        before, gap = self.render(query, item), ""
        if self.has_template:
            whole = self._apply([*self.messages(query, item), {"role": "assistant", "content": answer}])
            after = whole[len(before) :] if whole.startswith(before) else ""
            if after.lstrip().startswith(answer):
                gap = after[: len(after) - len(after.lstrip())]
        else:
            gap = " "
        prompt, ids = self._tokens(before), self._tokens(before + gap + answer)
        if ids[: len(prompt)] == prompt:
            return ids[len(prompt) :]
        # a token across the border would be one that the model never sees after the prompt
        return list(self.tokenizer(gap + answer, add_special_tokens=False)["input_ids"])

    def _find_labels(self) -> tuple[list[int], list[list[int]]]:
        """What all answers begin with, and for each label the single tokens that say it."""
        labels = self.prompt.labels
        several = [self._continuation(label) for label in labels]
        prefix = _common(several)
        first = [ids[len(prefix)] if len(ids) > len(prefix) else None for ids in several]
        if None in first or len(set(first)) < len(labels):
            listed = ", ".join(f"{label}: {ids}" for label, ids in zip(labels, several, strict=True))
            raise UsageError(
                f"the labels {', '.join(labels)} do not begin with tokens of their own in this tokenizer ({listed}); "
                "take a model whose tokenizer has them, or a guideline with fewer grades"
            )
        wanted: list[list[int]] = [[int(token)] for token in first if token is not None]
        for token, at in sorted(self.tokenizer.get_vocab().items(), key=lambda entry: entry[1]):
            for label, ids in zip(labels, wanted, strict=True):
                if label in token and at not in first and self.says(at) == label:
                    ids.append(at)
        return prefix, wanted

    def says(self, token: int) -> str:
        """A token as a reader of the answer sees it: decoded, without special tokens and white space around it."""
        return str(self.tokenizer.decode([token], skip_special_tokens=True)).strip()


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """The texts that a tokenizer does not read as text: its special tokens and those that look like markup."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    found = {
        str(token) for token in added if token.special or not any(c.isalnum() or c.isspace() for c in str(token)[:1])
    }
    return tuple(sorted({token for token in found | set(tokenizer.all_special_tokens) if token.strip()}))


def _common(several: Sequence[Sequence[Any]]) -> list[Any]:
    """The longest beginning that all of them have."""
    n = 0
    for tokens in zip(*several, strict=False):
        if len(set(tokens)) > 1:
            break
        n += 1
    return list(several[0][:n])
