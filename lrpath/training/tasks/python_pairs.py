"""Minimal pairs of Python for EleutherAI's harness: of two texts that differ in one place, one can be parsed.

As BLiMP asks it of English sentences (https://arxiv.org/abs/1912.00582): a model is right where it gives the valid text
the higher probability. The pairs are made here and are the same everywhere, so the task works without a network.
"""

import random
from typing import Any

_NAMES = ("path", "name", "value", "items", "line", "key", "index", "data", "text", "node", "size", "result")
_CALLS = ("get", "load", "find", "read", "build", "check", "parse", "open")
_ERRORS = ("ValueError", "TypeError", "KeyError", "OSError")
_PAIRS_OF_A_KIND = 25

PAIRS = (
    ("for {a} in {b}:\n    {f}({a})\n", "for {a} of {b}:\n    {f}({a})\n"),
    ("if {a} is not None:\n    return {a}\n", "if {a} not is None:\n    return {a}\n"),
    ("{a} = {f}({b}, {c})\n", "{a} = {f}({b}, {c}]\n"),
    ("{a} = [{b}, {c}]\n", "{a} = [{b}, {c})\n"),
    ("if {a}:\n    return {b}\nreturn {c}\n", "if {a}:\nreturn {b}\nreturn {c}\n"),
    ("raise {e}({a})\n", "raise {e} {a}\n"),
    ("with {f}({a}) as {b}:\n    pass\n", "with {f}({a}) {b} as:\n    pass\n"),
    ("try:\n    {f}({a})\nexcept {e}:\n    pass\n", "try:\n    {f}({a})\nelse {e}:\n    pass\n"),
    ("def {f}(self, {a}):\n    pass\n", "def {f}(self {a}):\n    pass\n"),
    ("import {a}\n", "import {a} as\n"),
    ("{a} = {b} if {c} else None\n", "{a} = {b} if {c} else\n"),
    ("{a}[{b}] = {c}.{f}()\n", "{a}[{b} = {c}.{f}()\n"),
)
"""Kinds of pairs: what can be parsed, and beside it what cannot."""


def documents(**_: Any) -> dict[str, Any]:
    """Return the pairs as the harness takes a data set: by split, each document with its two texts."""
    from datasets import Dataset

    return {"test": Dataset.from_list(pairs())}


def pairs() -> list[dict[str, str]]:
    """Return the pairs: `valid` and `invalid`.

    >>> pairs()[0]["valid"], len(pairs())
    ('for index in result:\\n    build(index)\\n', 300)
    """
    chance = random.Random(0)
    made = []
    for valid, invalid in PAIRS:
        for _ in range(_PAIRS_OF_A_KIND):
            a, b, c = chance.sample(_NAMES, 3)
            words = {"a": a, "b": b, "c": c, "f": chance.choice(_CALLS), "e": chance.choice(_ERRORS)}
            made.append({"valid": valid.format(**words), "invalid": invalid.format(**words)})
    return made
