"""Who makes the updates: the configuration's section `engine`."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from lrpath.data.manifest import is_name
from lrpath.errors import ConfigError

PLACEHOLDERS = ("stretch", "begin", "end", "load", "save", "rates", "data", "report", "progress")
"""What may stand in braces in a command; docs/another_trainer.md says what each becomes."""

_BRACES = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LrpathEngine:
    """Updates are made by lrpath's own path trainer."""

    kind: ClassVar[str] = "lrpath"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEngine:
    """Updates are made by a command, once for each stretch of a path.

    Args:
        name: What the trainer is called; part of every path's id, since another trainer makes other numbers.
        run: The command, split as a shell would split it, and run without one. Placeholders in braces, `{stretch}` for
            example, are replaced in each of its words.
        data: How the data's positions are given: `windows`, numbers of windows of the token store; `ids`, the token ids
            themselves.
        stop_seconds: How long the command may take to end after a signal [s]; then it is killed.
    """

    kind: ClassVar[str] = "command"
    name: str
    run: str
    data: Literal["windows", "ids"]
    stop_seconds: float

    def __post_init__(self) -> None:
        if not is_name(self.name):
            text = f"engine.name={self.name!r} must be at most 64 letters, digits, `.`, `_` and `-`; choose a name"
            raise ConfigError(text, field="engine.name", value=self.name)
        if not self.stop_seconds > 0:
            text = f"engine.stop_seconds={self.stop_seconds} must be more than 0"
            raise ConfigError(text, field="engine.stop_seconds", value=self.stop_seconds)
        try:
            words = shlex.split(self.run)
        except ValueError as error:
            text = f"engine.run={self.run!r} cannot be split into words ({error}); correct its quotes"
            raise ConfigError(text, field="engine.run", value=self.run) from None
        used = {name for word in words for name in _BRACES.findall(word)}
        if unknown := sorted(used - set(PLACEHOLDERS)):
            raise ConfigError(
                f"engine.run has the unknown placeholder {{{unknown[0]}}}; known placeholders: "
                f"{', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}",
                field="engine.run",
                value=self.run,
            )
        if "stretch" not in used and not {"save", "report"} <= used:
            raise ConfigError(
                "engine.run must contain {stretch}, the file that says what to do, or {save} and {report}: without "
                "them the command cannot know where to write",
                field="engine.run",
                value=self.run,
            )

    def words(self, values: Mapping[str, object]) -> list[str]:
        """Return the words of the command with their placeholders replaced.

        >>> engine = CommandEngine(name="mine", run="python 'my train.py' --to={end} {stretch}", data="ids",
        ...                        stop_seconds=1)
        >>> engine.words({"end": 120, "stretch": "/tmp/a b.json"})
        ['python', 'my train.py', '--to=120', '/tmp/a b.json']
        """
        return [_BRACES.sub(lambda found: str(values[found[1]]), word) for word in shlex.split(self.run)]


Engine = CommandEngine | LrpathEngine
