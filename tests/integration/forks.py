"""Forks of a process that has imported torch already, which end as a process of their own would."""

import os
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def start_fork(act: Callable[[], object]) -> int:
    """Do something in a fork, and return its process number; the fork ends with the exit code of a SystemExit."""
    process = os.fork()
    if not process:
        code: Any = 1
        try:
            act()
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)
    return process


def wait_for(process: int) -> int:
    """Return the exit code of a fork, −9 for a killed one."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def be_command(arguments: Sequence[str]) -> None:
    """Do in this process what `python` does with some arguments, `-m` and a module or a script first."""
    first, *rest = arguments
    try:
        if first == "-m":
            sys.path[0] = str(Path.cwd())
            sys.argv = ["-m", *rest[1:]]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(first).parent)
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        raise
    except BaseException:
        traceback.print_exc()
        raise
