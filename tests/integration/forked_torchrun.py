"""Is torchrun's agent of one node, whose ranks are forks of it: torch is imported once, not by the agent and each rank.

    python forked_torchrun.py <ranks> -m module …
    python forked_torchrun.py <ranks> script.py …

The ranks run the command as torchrun's would, over gloo. A test of torchrun itself takes `Lab.torchrun`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from tests.integration.forks import be_command
from tests.integration.ranked import forget_handlers, launch


def be_rank(words: list[str]) -> None:
    """Run the command as one rank."""
    forget_handlers()
    be_command(words)


if __name__ == "__main__":
    try:
        launch(be_rank, sys.argv[2:], ranks=int(sys.argv[1]))
    except ChildFailedError:
        sys.exit(1)
