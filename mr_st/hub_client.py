"""What every use of the Hub shares: which texts are ids, licence metadata, the client's errors as one clear line."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from mr_st.errors import MrStError

__all__ = ["hub_endpoint", "is_hub_id", "license_terms", "one_line", "raise_hub_error"]

_LICENSES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cdla-permissive-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0",
    "mpl-2.0", "odc-by", "odbl", "openrail", "unlicense", "gemma", "llama3.1", "llama3.2",
}  # fmt: skip
_MESSAGE_LENGTH = 240  # how much of the Hub's own words an error repeats


def hub_endpoint() -> str:
    """The address of the Hub in use."""
    from huggingface_hub import constants

    return constants.ENDPOINT.rstrip("/")


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


def raise_hub_error(error: Exception, repo_id: str, step: str, token: str | None, unset: str) -> NoReturn:
    """Raise one clear line for whatever the Hub's client raised; no token, no chained traceback.

    Args:
        error: What the client raised; anything that is no fault of the Hub, the network or the user is raised again.
        repo_id: The repository.
        step: What was being done, e.g. ``committing``.
        token: An explicit token, which must stand in no message.
        unset: What to do where HF_HUB_OFFLINE is set, e.g. ``unset it to publish``.

    Raises:
        MrStError: always, but for an ``error`` that is a defect.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    at = f"{repo_id} on {hub_endpoint()}, {step}"
    if isinstance(error, OfflineModeIsEnabled):
        what = f"HF_HUB_OFFLINE is set; {unset}"
    elif isinstance(error, LocalTokenNotFoundError):
        what = "no Hub token found; run `hf auth login` or set HF_TOKEN"
    elif isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        mend = _MENDS.get(status, "try again later" if status >= 500 else "see what the Hub says")
        said = getattr(error, "server_message", None) or ""
        what = f"the Hub answered {status}{f' ({one_line(said, token)})' if said else ''}; {mend}"
    elif isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        what = f"no connection ({type(error).__name__}); check the network and HF_ENDPOINT, then run again"
    elif isinstance(error, (ValueError, OSError)):
        what = f"{one_line(str(error), token)}; mend that and run again"
    else:
        raise error
    raise MrStError(f"{at}: {what}") from None


_MENDS = {
    400: "the Hub does not accept the card or a file; see what it says",
    401: "the token is missing or not valid; run `hf auth login` or set HF_TOKEN",
    403: "the token may not write there, or not read it; use one with access to that namespace",
    404: "no such repository or revision, or the token may not see it; check the id, the revision and the token",
    409: "the repository is being changed by someone else; run again",
    412: "the branch has moved on meanwhile; run again",
    429: "too many requests; wait and run again",
}


def one_line(text: str, token: str | None = None) -> str:
    """Text from elsewhere made fit for one line of an error: no tokens, no control characters, not long."""
    from huggingface_hub import get_token

    for secret in (token, get_token()):
        if secret:
            text = text.replace(secret, "[token]")
    text = re.sub(r"(hf_[A-Za-z0-9]{6,}|Bearer\s+\S+)", "[token]", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"
