"""`python -m lrpath.sweep.torchrun …`: torchrun, with its arguments, but ending with the exit code of its ranks.

torchrun itself ends with 1 whatever its ranks ended with, and with a traceback after a signal, so that nobody can tell
a job that asks to be run again from one that cannot go on.
"""

import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from lrpath.sweep.launcher import RUN_AGAIN
from lrpath.training.distributed.signals import shell_code


def main() -> int:
    """Run torchrun and return the exit code of the rank of this node that failed first; `RUN_AGAIN` after a signal."""
    try:
        run.main(sys.argv[1:])
    except ChildFailedError as error:
        return shell_code(error.get_first_failure()[1].exitcode)
    except SignalException:  # by now every rank has saved and ended, or has been killed
        return RUN_AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
