"""Starts Python commands as forks of a process that has imported torch and lrpath's floors: 0.1 s each, not 3 or 4 s.

    python fork_server.py /a/folder/socket

`start` is `subprocess.Popen` for `python -m module …` and `python script.py …`: same folder, environment, arguments,
pipes, signals and exit codes. What a new process would do otherwise is to import; a test whose point that is (no torch
is imported, nothing is unpickled, torchrun starts ranks) takes `subprocess`.

A request is a connection: one line of JSON with the three standard streams, answered by the number of the process, and
its exit code when it has ended. It is served by a fork of the server, and the command is a fork of that.
"""

import array
import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parents[2]


class ForkedProcess:
    """A command that was started as a fork, with the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], session: bool
    ) -> None:
        ours, theirs = [], []
        for writes in (True, False, False):
            read, write = os.pipe()
            ours.append(write if writes else read)
            theirs.append(read if writes else write)
        asked = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "session": session,
            "umask": _umask(),
        }
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(_server())
        line = f"{json.dumps(asked)}\n".encode()
        sent = connection.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", theirs))])
        connection.sendall(line[sent:])
        for handle in theirs:
            os.close(handle)
        self.args = list(arguments)
        self.stdin, self.stdout, self.stderr = (os.fdopen(one, mode) for one, mode in zip(ours, "wrr", strict=True))
        self._answers = connection.makefile()
        connection.close()  # the file holds it open
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def wait(self) -> int:
        """Return the exit code when the process has ended, −9 for a killed one."""
        if self.returncode is None:
            with self._answers:
                self.returncode = int(self._answers.readline())
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Close standard input, and return what is still written to standard output and error until the end."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reader.start()
        with self.stdout, self.stderr:
            text = self.stdout.read()
            reader.join()
        self.wait()
        return text, errors[0]

    def kill(self) -> None:
        """Kill the process unless its end was waited for."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal unless the process's end was waited for."""
        if self.returncode is None:
            os.kill(self.pid, number)


def start(
    arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], session: bool = False
) -> ForkedProcess:
    """Start `python` with some arguments, `-m` and a module or a script first, as a fork.

    Args:
        arguments: What follows `python` on the command line.
        folder: Current folder of the process.
        environment: All its variables.
        session: Whether it gets a session, and so a group of processes, of its own.
    """
    return ForkedProcess(arguments, folder=folder, environment=environment, session=session)


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


@cache
def _server() -> str:
    """Start the server of this process, which ends with it, and return its address."""
    folder = Path(tempfile.mkdtemp(prefix="lrpath-forks-"))
    address = folder / "socket"
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    def end(pipes: tuple[IO[bytes], ...] = (process.stdin, process.stdout)) -> None:
        for pipe in pipes:
            pipe.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder)

    atexit.register(end)
    return str(address)


def _serve(address: str) -> None:
    """Fork for every connection, until the process that started this one is gone."""
    from lrpath.entry import lasting

    with lasting():
        import tests.integration.preloaded  # noqa: F401

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who serve a connection leave nothing to wait for
    os.write(1, b"ready\n")
    # Without a thread, whose locks would be held in the forks for ever.
    while listening in select.select([listening, 0], [], [])[0]:
        connection, _ = listening.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            _answer(connection)
            os._exit(0)
        connection.close()


def _answer(connection: socket.socket) -> None:
    from tests.integration.forks import start_fork, wait_for

    content, handles, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not content.endswith(b"\n"):
        content += connection.recv(1 << 16)
    asked = json.loads(content)

    def act() -> None:
        connection.close()
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
            os.close(handle)
        _be(asked)

    process = start_fork(act)
    for handle in handles:
        os.close(handle)
    with contextlib.suppress(BrokenPipeError):  # whoever asked has gone
        connection.sendall(f"{process}\n".encode())
        connection.sendall(f"{wait_for(process)}\n".encode())


def _be(asked: dict[str, Any]) -> None:
    """Be the command of a request."""
    from tests.integration.forks import be_command

    if asked["session"]:
        os.setsid()
    os.umask(asked["umask"])
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    be_command(asked["arguments"])


if __name__ == "__main__":
    sys.path[0] = str(REPOSITORY)  # not the folder of this file, whose modules are no top-level modules
    _serve(sys.argv[1])
