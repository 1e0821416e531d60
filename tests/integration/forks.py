"""Forks of a process that has imported torch already, which end as a process of their own would."""

import os
import sys
from collections.abc import Callable
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
