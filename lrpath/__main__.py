"""The command `lrpath`: `lrpath train +exp=quickstart` is `python -m lrpath.train +exp=quickstart`."""

import runpy
import sys

from lrpath import __version__
from lrpath.errors import ConfigError
from lrpath.planning.field_names import nearest

_ENTRIES = {
    "train": "train a plan, or what is missing of it",
    "plan": "print the tree of paths, their rates and their cost",
    "report": "write tables, figures and one page about studies",
    "show": "list a study's paths, states and disk space",
    "evaluate": "judge kept releases on held-out text that came later",
    "export": "write a release as a Hugging Face folder",
    "verify": "check a study on disk against what it claims",
    "prune": "remove states that no plan needs",
    "predict": "fit a law of the loss and predict other paths",
    "advise": "choose a branch's length and decay before it is run",
    "tune": "find every paradigm's best peak from runs that swept it",
}
"""Entries, and what each is for."""


def main() -> None:
    """Run the entry that the first argument names, with the arguments after it."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"lrpath {__version__}\n")
        return
    name = arguments[0]
    if name not in _ENTRIES:
        error = ConfigError(f"unknown command {name!r}{nearest(name, _ENTRIES) or '.'} Commands: {', '.join(_ENTRIES)}")
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    sys.argv = [f"lrpath {name}", *arguments[1:]]
    runpy.run_module(f"lrpath.{name}", run_name="__main__", alter_sys=True)


def _help() -> str:
    width = max(map(len, _ENTRIES))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in _ENTRIES.items()]
    return (
        "usage: lrpath COMMAND [FIELD=VALUE …]      lrpath COMMAND --help lists the fields\n\n"
        + "\n".join(lines)
        + '\n\nCompletion of fields and values in bash: eval "$(lrpath train -sc install=bash)"\n'
    )


if __name__ == "__main__":
    main()
