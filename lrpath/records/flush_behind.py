"""Flushes a file to the disk in a thread, while whoever appends to it goes on: a flush takes as long as the disk likes.

What is appended is the system's at once, which keeps it though the process is killed. `wait` is for what must not be
there before the file is: a state, whose manifest holds digests of rows. Rows behind the last state are made anew after
a power cut, so they are flushed once a second at most, which leaves `wait` little to do.
"""

import pathlib
import threading
import time

from lrpath.records.files import flush_file, flush_folder

_PAUSE_SECONDS = 1.0


class FlushBehind:
    """Flushes one file; a thread runs only while there is something to flush.

    Args:
        file: The file.
    """

    def __init__(self, file: pathlib.Path) -> None:
        self._file = file
        self._begun_at = -_PAUSE_SECONDS
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._due = False
        self._is_new = False
        self._failure: OSError | None = None

    def begin(self, *, is_new: bool) -> None:
        """Let what was written so far be flushed, and of a new file the entry in its folder: soon, or by `wait`."""
        with self._lock:
            self._due = True
            self._is_new |= is_new
            if time.monotonic() - self._begun_at >= _PAUSE_SECONDS:
                self._start()

    def wait(self) -> None:
        """Wait until all that was written before is on the disk.

        Raises:
            OSError: If it could not be flushed, now or earlier: the system may have dropped what was not.
        """
        with self._lock:
            if self._due:
                self._start()
            thread = self._thread
        if thread is not None:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _start(self) -> None:
        """Start the thread, unless there is one; called with the lock held."""
        if self._thread is None:
            self._begun_at = time.monotonic()
            self._thread = threading.Thread(target=self._flush, name=f"flush {self._file}")
            self._thread.start()

    def _flush(self) -> None:
        while True:
            with self._lock:
                if not self._due:
                    self._thread = None
                    return
                is_new, self._due, self._is_new = self._is_new, False, False
            try:
                flush_file(self._file)
                if is_new:
                    flush_folder(self._file.parent)
            except OSError as error:
                self._failure = error
