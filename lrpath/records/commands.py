"""The commands that made a study: what was typed, where, and with which code; `commands.jsonl`."""

import json
import pathlib
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import lrpath
from lrpath.errors import StateError
from lrpath.records.files import complete_lines, locked, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command that ran a plan of the study.

    Args:
        time: When it was begun, in ISO 8601.
        host: Machine it was begun on.
        lrpath: Version of lrpath.
        commit: Commit of a checkout of lrpath, with `-dirty` where files differ from it; None for an installed package.
        text: What was typed, quoted for a shell.
        description: What its configuration says that it asks, for people.
    """

    time: str
    host: str
    lrpath: str
    commit: str | None
    text: str
    description: str = ""

    @classmethod
    def of_this_process(
        cls, module: str, arguments: Sequence[str] | None = None, *, description: str = ""
    ) -> "Command":
        """Return the command that this process is.

        Args:
            module: The entry, for example `lrpath.train`.
            arguments: What it was given; None for what Python was.
            description: What its configuration says that it asks.
        """
        given = sys.argv[1:] if arguments is None else arguments
        return cls(
            time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            host=socket.gethostname(),
            lrpath=lrpath.__version__,
            commit=_commit(),
            text=shlex.join(["python", "-m", module, *given]),
            description=description,
        )


def _commit() -> str | None:
    package = pathlib.Path(lrpath.__file__).parent
    if not (package.parent / ".git").exists():  # an installed package may lie inside somebody else's repository
        return None
    words = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class CommandLog:
    """The commands of a study, oldest first.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._file = folder / "commands.jsonl"

    def read(self) -> list[Command]:
        """Return the commands; a study of an older lrpath has none.

        Raises:
            StateError: If the file was altered.
        """
        try:
            return [Command(**json.loads(line)) for line in complete_lines(self._file)]
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(f"{self._file} has a line that cannot be read ({error}); restore or remove it") from None

    def add(self, command: Command) -> None:
        """Append a command; the jobs of one sweep, which are one command, are noted once.

        Raises:
            StateError: As `read`.
        """
        with locked(self._file.parent):
            known = self.read()
            same = [asdict(one) | {"time": ""} for one in known]
            if asdict(command) | {"time": ""} in same:
                return
            lines = [json.dumps(asdict(one), ensure_ascii=False) for one in [*known, command]]
            write_whole(self._file, "\n".join(lines) + "\n")
