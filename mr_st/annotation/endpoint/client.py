"""One request to an OpenAI-compatible chat-completions endpoint, and what went wrong with it in a few words."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from mr_st.annotation.endpoint.answers import ChatAnswer, read_chat_answer
from mr_st.annotation.endpoint.limits import retry_after
from mr_st.errors import MrStError, UsageError, require_extra

__all__ = ["ChatClient", "ChatServer", "FatalError", "RequestFault"]

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRANSIENT = {408, 409, 425, 429}
_ABOUT_THE_ACCOUNT = {401, 402, 403, 404, 405}
_TOP_LOGPROBS = 20


@dataclass(frozen=True)
class ChatServer:
    """Which model is asked where, and by whose key; the key itself is read when it is needed and kept nowhere.

    Args:
        model: The model's name at the server.
        base_url: The address that ``/chat/completions`` is appended to, e.g. ``https://host/v1``; a query in it
            (``?api-version=...``) is sent with each request.
        api_key_env: Name of the environment variable that holds the key; None sends no real key.

    Raises:
        UsageError: no http(s) address, one with a password in it, or a key in place of the variable's name.
    """

    model: str
    base_url: str
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UsageError("model is empty; give the name by which the server knows the model")
        try:
            parts = urlsplit(self.base_url)
            host, has_user = parts.hostname, parts.username is not None or parts.password is not None
            _ = parts.port
        except ValueError:
            host, has_user = None, False
        if has_user:
            raise UsageError(
                "base_url holds a user name or a password; leave them out and name the key's environment variable "
                "with api_key_env"
            )
        if not host or parts.scheme not in ("http", "https"):
            raise UsageError("base_url is no http or https address; expected one like https://host/v1")
        if self.api_key_env is not None and not _ENVIRONMENT_NAME.fullmatch(self.api_key_env):
            raise UsageError(
                "api_key_env is no name of an environment variable (letters, digits, _); give the variable's name, "
                "never the key itself"
            )

    @property
    def shown_url(self) -> str:
        """The address without query and fragment: what messages show and the identity covers."""
        scheme, host, path, _, _ = urlsplit(self.base_url)
        return urlunsplit((scheme.lower(), host.lower(), path.rstrip("/"), "", ""))

    @property
    def query(self) -> dict[str, str]:
        """The address's query."""
        return dict(parse_qsl(urlsplit(self.base_url).query, keep_blank_values=True))

    def key(self) -> str | None:
        """The key, from the environment; None where no variable is named.

        Raises:
            UsageError: the variable is not set, or holds what no header can hold.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise UsageError(
                f"the environment variable {self.api_key_env} is not set; it must hold the key for {self.shown_url}"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(f"what the environment variable {self.api_key_env} holds is no key: white space is in it")
        return key


class RequestFault(Exception):
    """A request that brought no usable answer.

    Args:
        reason: In a few words, for counting: ``status 429``, ``timeout``, ``connection``, ``broken answer``.
        detail: For a message.
        wait: Seconds that the server asks to wait; None where it does not say.
        is_billed: Whether it may have been paid for.
        is_transient: Whether the same request may work later.
        is_counted: False where the request was refused for a setting that can be left out.
        try_plain: Whether to ask the same without log-probabilities, to see whether they are what it refuses.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        wait: float | None = None,
        is_billed: bool = False,
        is_transient: bool = True,
        is_counted: bool = True,
        try_plain: bool = False,
    ):
        super().__init__(detail)
        self.reason, self.detail, self.wait = reason, detail, wait
        self.is_billed, self.is_transient = is_billed, is_transient
        self.is_counted, self.try_plain = is_counted, try_plain


class FatalError(MrStError):
    """No request can succeed: wrong address, model or key."""


@dataclass
class _Manners:
    """What the server turned out to accept; found out once, shared by all requests."""

    wants_logprobs: bool
    insists_on_logprobs: bool
    takes_logprobs: bool = False
    sends_seed: bool = True
    limit_name: str = "max_tokens"

    def learn(self, asked: Mapping[str, Any], complaint: str) -> bool:
        """Whether the complaint names a setting that can be left out or renamed, which is done from now on."""
        text = complaint.casefold()
        if "max_completion_tokens" in text and "max_tokens" in asked:
            self.limit_name = "max_completion_tokens"
        elif "seed" in text and "seed" in asked:
            self.sends_seed = False
        elif "logprob" in text and "logprobs" in asked and not self.insists_on_logprobs:
            self.wants_logprobs = False
        else:
            return False
        return True


@dataclass
class ChatClient:
    """Sends one request after another; use it as ``async with client:`` in one event loop.

    Args:
        server: Whom to ask.
        timeout: Seconds that one request may take in all.
        use_logprobs: True: always ask for log-probabilities; None: leave them out when the server refuses them.
        seed: Sent with each request until the server refuses it; None sends none.
        extra_body: Further members of the request's body; they override ours.

    Raises:
        MissingExtraError: openai is not installed.
    """

    server: ChatServer
    timeout: float
    use_logprobs: bool | None = None
    seed: int | None = 0
    extra_body: Mapping[str, Any] | None = None
    _manners: _Manners = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._manners = _Manners(self.use_logprobs is not False, bool(self.use_logprobs))

    async def __aenter__(self) -> ChatClient:
        openai = require_extra("openai", "llm")
        self._openai: Any = openai
        self._client: Any = openai.AsyncOpenAI(
            api_key=self.server.key() or "none",
            base_url=urlunsplit(urlsplit(self.server.base_url)._replace(query="", fragment="")),
            default_query=self.server.query,
            # a variable meant for one service must not reach another
            default_headers={"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()},
            timeout=self.timeout,
            max_retries=0,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], max_tokens: int, is_plain: bool = False) -> ChatAnswer:
        """Send one request and read its answer.

        Args:
            messages: The chat.
            max_tokens: Of the answer.
            is_plain: Ask for no log-probabilities this time.

        Raises:
            RequestFault: no usable answer.
            FatalError: no request to this server can succeed.
        """
        settings = self._settings(max_tokens, is_plain)
        messages = [{name: text.encode("utf-8", "replace").decode() for name, text in m.items()} for m in messages]
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=self.server.model, messages=messages, extra_body=dict(self.extra_body or {}), **settings
                )
        except (TimeoutError, self._openai.APITimeoutError) as error:
            what = f"{self.server.shown_url}: no answer within {self.timeout:g} s"
            raise RequestFault("timeout", what, is_billed=type(error.__cause__).__name__ != "ConnectTimeout") from None
        except self._openai.APIStatusError as error:
            raise self._status_fault(error, settings) from None
        except self._openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            what = f"{self.server.shown_url}: the connection failed ({cause})"
            raise RequestFault("connection", what, is_billed="Connect" not in cause) from None
        answer = read_chat_answer(response.http_response.content)
        if answer is None:
            raise RequestFault("broken answer", "the response is no chat completion", is_billed=True)
        self._manners.takes_logprobs |= "logprobs" in settings
        if is_plain and not self._manners.takes_logprobs:
            self._manners.wants_logprobs = False
        return answer

    def _settings(self, max_tokens: int, is_plain: bool) -> dict[str, Any]:
        settings: dict[str, Any] = {"temperature": 0.0, self._manners.limit_name: max_tokens}
        if self._manners.sends_seed and self.seed is not None:
            settings["seed"] = self.seed
        if self._manners.wants_logprobs and not is_plain:
            settings |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
        return {name: value for name, value in settings.items() if name not in (self.extra_body or {})}

    def _status_fault(self, error: Any, settings: Mapping[str, Any]) -> Exception:
        status, url = error.status_code, f"{self.server.shown_url}/chat/completions"
        reason = f"status {status}"
        if error.code == "insufficient_quota":
            return FatalError(f"{url}: the account's quota is used up ({reason}); raise it and run again")
        if status in _TRANSIENT or status >= 500:
            return RequestFault(reason, f"{url}: {reason}", wait=retry_after(error.response.headers))
        if status in (401, 403):
            return FatalError(f"{url}: the server refuses the key ({reason}); {self._key_mend()}")
        complaint = self._complaint(error)
        if status in _ABOUT_THE_ACCOUNT:
            return FatalError(f"{url}: {reason}{complaint}; check base_url and model ({self.server.model!r})")
        if self._manners.learn(settings, complaint):
            return RequestFault("setting refused", f"{url}: {reason}{complaint}", is_counted=False)
        if "logprobs" in settings and not (self._manners.insists_on_logprobs or self._manners.takes_logprobs):
            return RequestFault("setting refused", f"{url}: {reason}{complaint}", is_counted=False, try_plain=True)
        return RequestFault(reason, f"{url}: {reason}{complaint}", is_transient=False)

    def _key_mend(self) -> str:
        name = self.server.api_key_env
        if name is None:
            return "name the environment variable that holds one with api_key_env"
        return f"check what the environment variable {name} holds"

    def _complaint(self, error: Any) -> str:
        """What the server says about it, on one line, without the key; empty where it says nothing."""
        body = error.body
        text = body.get("message", body) if isinstance(body, dict) else body
        text = " ".join(str(text or "").split())
        key = self.server.key()
        if key:
            text = text.replace(key, "[key]")
        return f" ({text[:300]})" if text else ""
