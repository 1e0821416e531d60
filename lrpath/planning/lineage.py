"""Identity by content: digests of plain data, and what differs between two pieces of it, field by field."""

import hashlib
import json
from typing import Any

ID_DIGITS = 12
"""Hexadecimal digits of a path id: 48 bits, ample for the paths of a study."""

_ABSENT = object()


def canonical(record: Any) -> str:
    """Return JSON text that is equal for equal data: keys sorted, no spaces, NaN refused."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(record: Any) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(record).encode()).hexdigest()[:ID_DIGITS]


def differences(before: Any, after: Any, *, at: str = "") -> list[str]:
    """Return one line for every field that differs, `field: before → after`.

    >>> differences({"seed": 1, "model": {"layers": 2}}, {"seed": 1, "model": {"layers": 4}})
    ['model.layers: 2 → 4']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        lines = []
        for key in sorted({*before, *after}, key=str):
            field = f"{at}.{key}" if at else str(key)
            lines += differences(before.get(key, _ABSENT), after.get(key, _ABSENT), at=field)
        return lines
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [line for n, (old, new) in enumerate(pairs) for line in differences(old, new, at=f"{at}[{n}]")]
    return [] if before == after else [f"{at}: {_brief(before)} → {_brief(after)}"]


def _brief(value: Any) -> str:
    text = "absent" if value is _ABSENT else value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 60 else text[:57] + "…"
