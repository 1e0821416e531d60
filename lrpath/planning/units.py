"""Lengths of training, written in updates or tokens and counted in updates.

An update is one optimizer step. A length is a whole number (updates), or text such as `300 updates` or `10.5B tokens`;
`300 steps`, as other frameworks say, is read too.
A bare fraction is refused: it would be a share of a horizon that grows with every version.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from lrpath.errors import ConfigError

_MULTIPLES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_LENGTH = re.compile(
    r"(?P<number>[0-9]+([_,][0-9]{3})*(\.[0-9]+)?)\s*(?P<multiple>[KMBT]?)\s*(?P<unit>updates?|steps?|tokens?)?"
)


def parse_updates(text: int | str, *, tokens_per_update: int, field: str) -> int:
    """Return a length in updates, rounded to the nearest whole update when it was given in tokens.

    Args:
        text: `300`, `"300 updates"`, `"2K steps"`, `"10.5B tokens"`.
        tokens_per_update: Global batch [tokens].
        field: Name of the configuration field, for the message.

    Raises:
        ConfigError: If the text is not a length, is negative, rounds to zero updates, or is a number of updates that is
            not whole.

    >>> parse_updates("2_097_152 tokens", tokens_per_update=1_048_576, field="warmup")
    2
    """
    return parse_length(
        text,
        updates_of=lambda tokens: tokens / tokens_per_update,
        tokens_per_update=tokens_per_update,
        field=field,
    )


def parse_length(
    text: int | str, *, updates_of: Callable[[Fraction], Fraction], tokens_per_update: int, field: str
) -> int:
    """Return a length as `parse_updates` does, where updates need not read equally many tokens.

    Args:
        text: The length.
        updates_of: Returns how many updates read a number of tokens, as an exact fraction.
        tokens_per_update: Tokens of the first of these updates, for the message.
        field: Name of the configuration field, for the message.

    Raises:
        ConfigError: As `parse_updates`.
    """
    match = None if isinstance(text, bool | float) else _LENGTH.fullmatch(str(text).strip())
    if match is None:
        message = f'{field}={text!r} is not a length; write whole updates ("300 updates") or tokens ("10.5B tokens")'
        raise ConfigError(message, field=field, value=text)
    amount = Fraction(match["number"].replace("_", "").replace(",", "")) * _MULTIPLES[match["multiple"]]
    if (match["unit"] or "update").startswith("token"):
        updates = round(updates_of(amount))
        if amount and not updates:
            message = f"{field}={text!r} is less than half an update of {tokens_per_update:,} tokens; lengthen it"
            raise ConfigError(message, field=field, value=text)
        return updates
    if amount.denominator != 1:
        message = f"{field}={text!r} is not a whole number of updates; shares of a horizon are not lengths"
        raise ConfigError(message, field=field, value=text)
    return int(amount)


def times(factor: str | float, quantity: str | float) -> str | float:
    """Multiply a rate or a length, so that a configuration can say "half the peak" or "1 % of the new data".

    Args:
        factor: A number, or a fraction such as `10/143`; not negative.
        quantity: A rate, or a length as `parse_updates` reads it; the product of a length is rounded to whole updates
            or tokens.

    Raises:
        ConfigError: If the factor is not a number, or the quantity neither a number nor a length.

    >>> times("1/2", 3.0e-4), times("10/143", "143_000 updates"), times(0.01, "1B tokens")
    (0.00015, '10000 updates', '10000000 tokens')
    """
    try:
        share = Fraction(str(factor))
    except (ValueError, ZeroDivisionError):
        raise ConfigError(
            f"times: {factor!r} is not a factor; write a number or a fraction such as 1/2", value=factor
        ) from None
    if share < 0:
        raise ConfigError(f"times: factor {factor} must not be negative", value=factor)
    if isinstance(quantity, float):
        return float(share * Fraction(str(quantity)))
    match = _LENGTH.fullmatch(str(quantity).strip())
    if match is None:
        raise ConfigError(f"times: {quantity!r} is neither a rate nor a length of one version", value=quantity)
    amount = Fraction(match["number"].replace("_", "").replace(",", "")) * _MULTIPLES[match["multiple"]]
    unit = "tokens" if (match["unit"] or "").startswith("token") else "updates"
    return f"{round(share * amount)} {unit}"


def write_count(count: float) -> str:
    """Write a large count with three digits and a multiple, `10.5B` for 10,485,760,000.

    >>> write_count(1_048_576), write_count(950), write_count(10_485_760_000)
    ('1.05M', '950', '10.5B')
    """
    for multiple in ("T", "B", "M", "K"):
        if count >= _MULTIPLES[multiple] * 0.9995:
            return f"{count / _MULTIPLES[multiple]:.3g}{multiple}"
    return f"{count:.3g}"


def write_time(seconds: float) -> str:
    """Write a duration, `1:02:03` or `2:03`.

    >>> write_time(3723), write_time(59.6)
    ('1:02:03', '1:00')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def write_bytes(size: float) -> str:
    """Write a size in decimal units, `14.6 GB`.

    >>> write_bytes(14_568_123_456), write_bytes(512)
    ('14.6 GB', '512 B')
    """
    for unit, multiple in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= multiple * 0.9995:
            return f"{size / multiple:.3g} {unit}"
    return f"{size:.3g} B"


def write_span(names: Sequence[str]) -> str:
    """Write neighbours in a list of names; a lone one as it is.

    >>> write_span(["v1", "v2", "v3"]), write_span(["v1"])
    ('v1–v3', 'v1')
    """
    return names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"
