"""What a model or its vectors can be shrunk to: the settings, their names, and the bytes that a vector takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mr_st.errors import UsageError

__all__ = ["ENCODERS", "FULL", "Setting", "default_settings", "parse_setting", "settings_of"]

_KINDS: dict[str, tuple[str, str | None]] = {
    "float32": ("float32", None),
    "float16": ("float16", None),
    "int8": ("int8", None),
    "int8+rescore": ("int8", "own codes"),
    "int8+float32": ("int8", "float32"),
    "binary": ("binary", None),
    "binary+rescore": ("binary", "own codes"),
    "binary+int8": ("binary", "int8"),
    "binary+float32": ("binary", "float32"),
}
ENCODERS = ("float16-weights", "onnx", "onnx-int8")
"""Settings that change the model and not its vectors: each encodes the texts anew."""

_NAME = re.compile(r"(?P<kind>[a-z0-9+]+)(?:-(?P<dims>[0-9]{1,6}))?")


@dataclass(frozen=True)
class Setting:
    """One way to store and search vectors, or to run the model.

    Args:
        name: E.g. ``int8+rescore-192``.
        dims: Components of a vector that are kept, rescaled to length 1.
        dtype: What is searched: ``float32``, ``float16``, ``int8`` or ``binary``.
        rescored_with: What the best candidates are scored with again, by the float32 query: ``own codes`` (the codes
            that were searched, read as numbers), ``int8``, ``float32``; None for no second score.
        encoder: What computes the vectors: ``float32``, or one of :data:`ENCODERS`.
    """

    name: str
    dims: int
    dtype: str = "float32"
    rescored_with: str | None = None
    encoder: str = "float32"

    @property
    def bytes_searched(self) -> int:
        """Bytes of a vector in what is searched.

        Example:
            >>> Setting("binary+int8", 384, "binary", "int8").bytes_searched
            48
        """
        return _bytes(self.dtype, self.dims)

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of a vector in all, with what the candidates are scored with again.

        Example:
            >>> Setting("binary+int8", 384, "binary", "int8").bytes_per_vector
            432
        """
        again = 0 if self.rescored_with in (None, "own codes") else _bytes(str(self.rescored_with), self.dims)
        return self.bytes_searched + again


FULL = "float32"
"""The setting that all others are compared with: every component, float32."""


def _bytes(dtype: str, dims: int) -> int:
    return {"float32": 4 * dims, "float16": 2 * dims, "int8": dims, "binary": -(-dims // 8)}[dtype]


def parse_setting(name: str, width: int) -> Setting:
    """The setting that a name means.

    Args:
        name: A kind (``float32``, ``float16``, ``int8``, ``int8+rescore``, ``int8+float32``, ``binary``,
            ``binary+rescore``, ``binary+int8``, ``binary+float32``), with ``-192`` behind it for 192 components; or
            one of :data:`ENCODERS`.
        width: Components of the model's vectors.

    Raises:
        UsageError: no such kind, or more components than the model has.

    Example:
        >>> parse_setting("int8+rescore-96", 384)
        Setting(name='int8+rescore-96', dims=96, dtype='int8', rescored_with='own codes', encoder='float32')
    """
    if name in ENCODERS:
        return Setting(name, width, encoder=name)
    match = _NAME.fullmatch(name)
    if match is None or match["kind"] not in _KINDS:
        known = ", ".join([*_KINDS, *ENCODERS])
        raise UsageError(f"no setting {name!r:.60}; there are {known}; add -192 for 192 dimensions")
    dims = width if match["dims"] is None else int(match["dims"])
    _check_dims(dims, width)
    dtype, rescored_with = _KINDS[match["kind"]]
    setting = Setting(name, dims, dtype, rescored_with)
    return replace(setting, name=match["kind"]) if dims == width else setting


def default_settings(width: int, dims: Sequence[int] | None = None) -> list[Setting]:
    """What is measured unless settings are named: every kind at all dimensions, and the common ones at fewer.

    Args:
        width: Components of the model's vectors.
        dims: Numbers of components to cut to; None for a half, a quarter and an eighth.

    Raises:
        UsageError: a number below 1 or above the width.

    Example:
        >>> [setting.name for setting in default_settings(2)][-3:]
        ['int8+rescore-1', 'float16-1', 'binary+int8-1']
    """
    if dims is None:
        dims = sorted({width // part for part in (2, 4, 8)} - {0, width}, reverse=True)
    for dim in dims:
        _check_dims(dim, width)
    shorter = [dim for dim in dict.fromkeys(dims) if dim != width]
    names = [*_KINDS, *(f"{kind}-{dim}" for kind in ("float32", "int8+rescore") for dim in shorter)]
    names += [f"{kind}-{dim}" for kind in ("float16", "binary+int8") for dim in shorter[:1]]
    return [parse_setting(name, width) for name in names]


def settings_of(names: Iterable[str], width: int) -> list[Setting]:
    """Settings by their names, each once, the full one first.

    Raises:
        UsageError: as :func:`parse_setting`.
    """
    found = {setting.name: setting for setting in (parse_setting(name, width) for name in [FULL, *names])}
    return list(found.values())


def _check_dims(dims: int, width: int) -> None:
    if isinstance(dims, bool) or not isinstance(dims, int) or not 1 <= dims <= width:
        raise UsageError(f"{dims!r} dimensions: the model's vectors have {width}; expected 1 to {width}")
