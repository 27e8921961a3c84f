"""Read JSON that comes from outside: within bounds, into dataclasses. Standard library only."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

T = TypeVar("T")

LARGEST_BYTES = 256 * 1024 * 1024
LARGEST_NUMBER = 1e50
"""Far above every figure that is measured; its square still is a float."""


class BrokenResultError(ValueError):
    """Data from outside is absent, damaged, out of bounds, or lacks a figure."""


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest number that a field can have."""

    low: float
    high: float


Count = Annotated[int, Bounds(0, 1e12)]
WholeFromOne = Annotated[int, Bounds(1, 1e12)]
Seconds = Annotated[float, Bounds(0, 1e9)]
SecondsSpent = Annotated[float, Bounds(1e-9, 1e9)]
"""Of work that was done: never zero, so that it can divide."""
Ratio = Annotated[float, Bounds(1e-9, 1e9)]
UnixTime = Annotated[float, Bounds(0, 32_503_680_000)]
"""Up to the year 3000; what comes after it, a calendar may not know."""


def parse_json(text: str) -> Any:
    """Parse JSON whose numbers and texts can be used and written again. Raises BrokenResultError."""
    if len(text) > LARGEST_BYTES:
        raise BrokenResultError(f"{len(text):,} characters of JSON, expected at most {LARGEST_BYTES:,}")
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_number(float), parse_int=_number(int))
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair cannot be written
    except json.JSONDecodeError as error:
        raise BrokenResultError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise BrokenResultError("not JSON that can be read: nested too deeply") from error
    except UnicodeEncodeError as error:
        raise BrokenResultError(f"not JSON that can be read: {error.reason}") from error
    return value


def read_json(file: Path) -> Any:
    """Parse a JSON file. Raises BrokenResultError, also where the file cannot be read or is too large."""
    try:
        if (size := file.stat().st_size) > LARGEST_BYTES:
            raise BrokenResultError(f"{size:,} bytes, expected at most {LARGEST_BYTES:,}")
        return parse_json(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BrokenResultError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise BrokenResultError(error.strerror or type(error).__name__) from error


def _refuse(constant: str) -> NoReturn:
    raise BrokenResultError(f"{constant} is not a figure")


def _number(kind: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser of numbers up to LARGEST_NUMBER; Python's own makes infinity of 1e999."""

    def parse(text: str) -> T:
        if not math.fabs(float(text)) <= LARGEST_NUMBER:
            _refuse(text if len(text) <= 40 else f"{text[:40]}...")
        return kind(text)

    return parse


def from_dict(kind: type[T], value: object, at: str = "") -> T:
    """Build a dataclass from parsed JSON. Raises BrokenResultError that names a missing or mistyped figure."""
    return typing.cast("T", _build(kind, value, at or kind.__name__))


def _build(kind: Any, value: Any, at: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        if isinstance(value, kind):  # type: ignore[arg-type]
            return value  # read already
        return _build_dataclass(kind, _require(dict, value, at, "an object"), at)
    if origin is Annotated:
        return _require_within(arguments[1], _build(arguments[0], value, at), at)
    if origin is tuple:
        items = _require(list, value, at, "a list")
        return tuple(_build(arguments[0], item, f"{at}[{number}]") for number, item in enumerate(items))
    if origin is dict:
        entries = _require(dict, value, at, "an object")
        return {key: _build(arguments[1], item, f"{at}.{key}") for key, item in entries.items()}
    if origin is typing.Literal:
        if value not in arguments:
            raise BrokenResultError(f"{at}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _build(inner, value, at)
    if kind is not bool and isinstance(value, bool):
        raise BrokenResultError(f"{at}: expected {kind.__name__}, got {value!r}")
    if kind is float and isinstance(value, int):
        return float(value)
    return _require(kind, value, at, kind.__name__)


def _build_dataclass(kind: Any, value: dict[str, Any], at: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    # What has a default may be absent: data written before the field was there.
    names = [field.name for field in fields(kind) if field.name in value or field.default is MISSING]
    for name in names:
        if name not in value:
            raise BrokenResultError(f"{at}.{name} is missing from the result")
    return kind(**{name: _build(hints[name], value[name], f"{at}.{name}") for name in names})


def _require(kind: Any, value: Any, at: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise BrokenResultError(f"{at}: expected {expected}, got {value!r}")
    return value


def _require_within(bounds: Bounds, value: float, at: str) -> float:
    if not bounds.low <= value <= bounds.high:
        raise BrokenResultError(f"{at}: expected {bounds.low:g} to {bounds.high:g}, got {value!r}")
    return value
