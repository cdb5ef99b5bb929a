"""What every use of the Hub shares: which texts are ids, licence metadata, the client's errors as one clear line."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mr_st.errors import MrStError, UsageError

__all__ = [
    "check_downloads",
    "file_digests",
    "hub_endpoint",
    "hub_session",
    "is_hub_id",
    "is_unreachable",
    "license_terms",
    "one_line",
    "raise_hub_error",
    "without_tokens",
]

_LICENSES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cdla-permissive-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0",
    "mpl-2.0", "odc-by", "odbl", "openrail", "unlicense", "gemma", "llama3.1", "llama3.2",
}  # fmt: skip
_MESSAGE_LENGTH = 240  # how much of the Hub's own words an error repeats


def hub_endpoint() -> str:
    """The address of the Hub in use.

    Raises:
        UsageError: HF_ENDPOINT holds a user name, password or token, which the client would write into its logs.
    """
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT.rstrip("/")
    parts = urlsplit(endpoint)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "HF_ENDPOINT holds more than an address (a user name, a token, a query); give only https://host there, "
            "and the token in HF_TOKEN"
        )
    return endpoint


@contextmanager
def hub_session(
    token: str | None,
    timeout: float = 120.0,
    announce: Callable[[str], None] | None = None,
    show_progress: bool = False,
) -> Iterator[None]:
    """Use the Hub's client so that it gives up on a Hub that says nothing, and that no token reaches a log.

    Args:
        token: An explicit token; the one that the client finds is hidden too.
        timeout: Seconds without a byte after which a request is given up; the client itself would wait for ever.
        announce: Told what the client warns of: that it waits and tries again, what the Hub remarks on a card.
        show_progress: Leave the client's progress bars as they are; else there are none.

    Raises:
        UsageError: HF_ENDPOINT holds more than an address.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, get_session

    hub_endpoint()
    made = logging.getLogRecordFactory()
    secrets = _secrets(token)

    def record_without_tokens(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return record
        clean = _without(text, secrets)
        if clean != text:
            record.msg, record.args = clean, ()
        if record.exc_info:
            record.exc_text = _without(logging.Formatter().formatException(record.exc_info), secrets)
        return record

    session = get_session()
    waits = session.timeout
    with ExitStack() as stack:
        if constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not show_progress:
            stack.enter_context(disable_progress_bars())
        if announce is not None:
            stack.enter_context(_announced_warnings(announce))
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("default")
        logging.setLogRecordFactory(record_without_tokens)
        stack.callback(logging.setLogRecordFactory, made)
        session.timeout = timeout
        stack.callback(setattr, session, "timeout", waits)
        yield
    for warning in caught:
        text = str(warning.message)
        is_advice = warning.category is not UserWarning or text.startswith("It seems that you are about to commit")
        if announce is not None and not is_advice:
            announce(one_line(text, token))


@contextmanager
def _announced_warnings(announce: Callable[[str], None]) -> Iterator[None]:
    """Whatever the client's own log warns of is announced; its log shows what it showed before."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    shown = logger.getEffectiveLevel()

    class Announcer(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            announce(one_line(record.getMessage()))

    def was_shown(record: logging.LogRecord) -> bool:
        return record.levelno >= shown

    announcer = Announcer(logging.WARNING)
    others = list(logger.handlers)
    for handler in others:
        handler.addFilter(was_shown)
    logger.addHandler(announcer)
    logger.setLevel(min(shown, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(announcer)
        for handler in others:
            handler.removeFilter(was_shown)


def is_hub_id(text: str) -> bool:
    """Whether a text can be a repository's id (``org/name``); one that means a path (``./x``, ``~/x``) cannot."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if text.count("/") != 1 or text.startswith(("/", ".", "~")):
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def license_terms(license: str | None) -> dict[str, Any]:
    """A licence as the Hub's card metadata wants it: an id that it knows, or ``other`` with a name.

    Example:
        >>> license_terms("Apache-2.0"), license_terms("My licence"), license_terms("unknown")
        ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'my-licence'}, {})
    """
    known = (license or "").strip().lower()
    if known in _LICENSES:
        return {"license": known}
    if not known or known == "unknown":
        return {}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", known).strip("-")[:60] or "other"}


def raise_hub_error(
    error: Exception, repo_id: str, step: str, token: str | None, unset: str, note: str = ""
) -> NoReturn:
    """Raise one clear line for whatever the Hub's client raised; no token, no chained traceback.

    Args:
        error: What the client raised; anything that is no fault of the Hub, the network or the user is raised again.
        repo_id: The repository.
        step: What was being done, e.g. ``committing``.
        token: An explicit token, which must stand in no message.
        unset: What to do where HF_HUB_OFFLINE is set, e.g. ``unset it to publish``.
        note: What now stands on the Hub, where the fault leaves something there.

    Raises:
        MrStError: always, but for an ``error`` that is a defect.
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, MrStError):
        raise error
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the client tells only that nothing is cached, not why it looked there
    what = _what(error, token, unset)
    if what is None and isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        cause = _what(error.__cause__, token, unset)  # the client wraps what happens while a file is sent
        what = cause and f"{one_line(str(error), token).rstrip('.')}: {cause}"
    if what is None and _is_raised_in_client(error):
        said = one_line(str(error), token)
        what = (
            f"the Hub's answer is not as expected ({type(error).__name__}: {said}); run again, then check HF_ENDPOINT"
        )
    if what is None:
        raise error
    raise MrStError(f"{repo_id} on {hub_endpoint()}, {step}: {what}{f'; {note}' if note else ''}") from None


def is_unreachable(error: Exception) -> bool:
    """Whether an ``error`` of the client says that the Hub cannot be asked: no network, no answer, HF_HUB_OFFLINE."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return False
    return isinstance(error, (OfflineModeIsEnabled, HTTPError, ConnectionError, TimeoutError))


def _what(error: Exception, token: str | None, unset: str) -> str | None:
    """What went wrong and the mend; None for what is no known fault."""
    from json import JSONDecodeError

    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set; {unset}"
    if isinstance(error, LocalTokenNotFoundError):
        return "no Hub token found; run `hf auth login` or set HF_TOKEN"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        mend = _MENDS.get(status, "try again later" if status >= 500 else "see what the Hub says")
        seconds = str(error.response.headers.get("Retry-After") or "")
        if status == 429 and seconds.isdigit() and len(seconds) < 7:
            mend = f"too many requests; wait {int(seconds)} s and run again"
        said = getattr(error, "server_message", None) or ""
        return f"the Hub answered {status}{f' ({one_line(said, token)})' if said else ''}; {mend}"
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        if "Timeout" in type(error).__name__:
            return f"no answer in time ({type(error).__name__}); check the network, then run again"
        return f"no connection ({type(error).__name__}); check the network and HF_ENDPOINT, then run again"
    if isinstance(error, JSONDecodeError):
        return "the Hub's answer is no whole JSON; run again, then check HF_ENDPOINT"
    if isinstance(error, (ValueError, OSError)):
        return f"{one_line(str(error), token)}; mend that and run again"
    return None


def _is_raised_in_client(error: Exception) -> bool:
    """Whether an error came up inside the Hub's client, which reads answers without checking their form."""
    if not isinstance(error, (KeyError, TypeError, AttributeError, IndexError, RuntimeError)):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return module.split(".")[0] in ("huggingface_hub", "hf_xet", "httpx2", "httpx")


_MENDS = {
    400: "the Hub does not accept the card or a file; see what it says",
    401: "the token is missing or not valid; run `hf auth login` or set HF_TOKEN",
    403: "the token may not write there, or not read it; use one with access to that namespace",
    404: "no such repository or revision, or the token may not see it; check the id, the revision and the token",
    409: "the repository is being changed by someone else; run again",
    412: "the branch has moved on meanwhile; run again",
    429: "too many requests; wait and run again",
}


def without_tokens(text: str, token: str | None = None) -> str:
    """A text without the token in use, without anything of a token's form, and without what signed addresses carry.

    Example:
        >>> without_tokens("PUT https://me:pw@host/x?Signature=abc with Bearer xyz", "pw")
        'PUT https://[token]@host/x?[...] with [token]'
    """
    return _without(text, _secrets(token))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    text = re.sub(r"(?i)(https?://)[^\s/@'\"]+@", r"\1[token]@", text)
    text = re.sub(r"(?i)(https?://[^\s?'\"<>]+\?)[^\s'\"<>]+", r"\1[...]", text)
    for secret in secrets:
        text = text.replace(secret, "[token]")
    return re.sub(r"(hf_[A-Za-z0-9]{6,}|Bearer\s+(?!\[)[^\s'\"]+)", "[token]", text)


def _secrets(token: str | None) -> tuple[str, ...]:
    """The token that was given and the one that the client finds."""
    from huggingface_hub import get_token

    try:
        found = get_token()
    except Exception:  # a token that cannot be had cannot be told either
        found = None
    return tuple(secret for secret in (token, found) if secret)


def one_line(text: str, token: str | None = None) -> str:
    """A ``text`` from elsewhere made fit for one line of an error: no ``token``, no control characters, not long."""
    text = without_tokens(text, token)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"


def file_digests(source: Path | bytes) -> tuple[str, str]:
    """The two names that the Hub has for what ``source`` holds: the SHA-256 of a large file, git's SHA-1 of a blob."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    large, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if isinstance(source, bytes):
        large.update(source)
        blob.update(source)
    else:
        with source.open("rb") as handle:
            while block := handle.read(1 << 20):
                large.update(block)
                blob.update(block)
    return large.hexdigest(), blob.hexdigest()


def check_downloads(folder: Path, repo_id: str) -> None:
    """Check a downloaded snapshot's files against the hashes that the Hub gave for them; the client checks sizes only.

    Args:
        folder: The snapshot's folder in the Hub's cache; its files are links to blobs that are named by their hash.
        repo_id: The repository, for the message.

    Raises:
        MrStError: a file is not what the Hub announced; it is removed from the cache, so the next run loads it anew.
    """
    wrong = []
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink() or not path.is_file():
            continue
        blob = path.resolve()
        if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", blob.name) and blob.name not in file_digests(blob):
            wrong.append(path.name)
            path.unlink()
            blob.unlink()
    if wrong:
        raise MrStError(
            f"{repo_id} on {hub_endpoint()}, downloading: {one_line(', '.join(wrong))} came with other bytes than the "
            "Hub announced; run again to load it anew"
        )
