"""What tells that a publication is ours: ``mr_st.json`` in the repository, and a note of what was sent by the model.

The mark lists the files that a publication put there, so that the next one deletes those that are gone, and no others.
The note, ``.mr_st-published.json``, is hidden: it is not published and enters no hash.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mr_st.files import write_json
from mr_st.identity import settings_hash

__all__ = ["MARK", "Mark", "Sent", "read_sent", "remember"]

MARK = "mr_st.json"
NOTE = ".mr_st-published.json"
_LONGEST = 4_000_000  # bytes of a mark that are read

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """What ``mr_st.json`` says.

    Args:
        content: Content hash of all files published with it.
        replaces: The commit that the publication came after.
        files: Their paths.
    """

    content: str
    replaces: str | None
    files: tuple[str, ...]

    @classmethod
    def of(cls, digests: Mapping[str, str], replaces: str | None) -> Mark:
        """The mark of files, given as path to SHA-256."""
        return cls(settings_hash(dict(digests)), replaces, tuple(sorted(digests)))

    @classmethod
    def parse(cls, text: bytes) -> Mark | None:
        """Read a mark; None for what is none."""
        try:
            value = json.loads(text[:_LONGEST])
        except ValueError:
            return None
        if not isinstance(value, dict) or value.get("made_by") != "mr_st":
            return None
        content, replaces, files = value.get("content"), value.get("replaces"), value.get("files")
        if not isinstance(content, str) or not isinstance(replaces, str | None) or not isinstance(files, list):
            return None
        return cls(content, replaces, tuple(path for path in files if isinstance(path, str)))

    def to_bytes(self) -> bytes:
        """The mark as a file."""
        value = {"made_by": "mr_st", **asdict(self), "files": list(self.files)}
        return (json.dumps(value, indent=1) + "\n").encode()


@dataclass(frozen=True)
class Sent:
    """What was last sent from a model folder to one branch.

    Args:
        content: Its content hash.
        replaces: The commit that it came after.
        commit: The commit that it became; None where the Hub's answer never came.
    """

    content: str
    replaces: str | None
    commit: str | None

    def stands_at(self, head: str | None, mark: Mark | None) -> bool:
        """Whether a branch still stands where this publication left it, or where it found it if it did not arrive."""
        if self.commit is not None:
            return head == self.commit
        return head == self.replaces or (
            mark is not None and (mark.content, mark.replaces) == (self.content, self.replaces)
        )


def read_sent(model_dir: Path, place: str) -> Sent | None:
    """What was last sent from a model folder to a place (address, repository and branch)."""
    value = _read_notes(model_dir).get(place)
    if not isinstance(value, dict):
        return None
    content, replaces, commit = value.get("content"), value.get("replaces"), value.get("commit")
    if not isinstance(content, str) or not isinstance(replaces, str | None) or not isinstance(commit, str | None):
        return None
    return Sent(content, replaces, commit)


def remember(model_dir: Path, place: str, sent: Sent) -> None:
    """Note what is sent to a place; where the folder cannot be written, only a warning is logged."""
    from mr_st.errors import MrStError

    try:
        write_json(model_dir / NOTE, {**_read_notes(model_dir), place: asdict(sent)})
    except (OSError, MrStError) as error:
        logger.warning(
            "%s: cannot be noted there what was published (%s); the next time needs --overwrite", model_dir, error
        )


def _read_notes(model_dir: Path) -> dict[str, Any]:
    try:
        value = json.loads((model_dir / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
