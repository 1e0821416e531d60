"""Every error that lrpath raises on purpose: one family, so that an entry can print it as one line and exit.

A message names the field or file, the rule, the value found, and what to do about it.
"""

from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


class LrpathError(Exception):
    """Root of the family. Entries print it without a traceback and exit with `exit_code`.

    Args:
        message: One line for people.
        field: The configuration field that is refused, as written on a command line; None if it is about no field.
        value: The value that was given for it.
    """

    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


class ConfigError(LrpathError):
    """A configuration field has a value that is refused."""


class PlanError(LrpathError):
    """The configuration is well formed, but the tree of paths it asks for is impossible."""


class DataError(LrpathError):
    """A source, token file, tokenizer or store is missing, incomplete, altered or too small."""


class StateError(LrpathError):
    """A state on disk is missing, incomplete or altered."""


class MismatchError(LrpathError):
    """Something on disk was made under another configuration; the message lists the fields that differ."""


class LawError(LrpathError):
    """A law cannot be fitted to the curves given, or is asked for a curve it was not fitted for."""


class BusyError(LrpathError):
    """Another process is running a path that this one was asked to run, or has yet to make the state it leaves from."""

    exit_code = 3


class TrainingError(LrpathError):
    """Training cannot go on (a loss that is not finite, a disk that is full); saved states are untouched."""

    exit_code = 4


class StorageError(LrpathError):
    """A file system at a URL cannot be read or written; what is on this machine and what is there are whole."""

    exit_code = 4


class VerificationError(LrpathError):
    """A study on disk is not what it claims to be; the findings have been printed."""

    exit_code = 5


class StoppedError(LrpathError):
    """The run was asked to stop and did: the exit code, EX_TEMPFAIL, says that the same command goes on.

    Args:
        message: One line for people.
        signal_number: The signal that asked; 0 if another process was asked.
    """

    exit_code = 75

    def __init__(self, message: str, *, signal_number: int = 0) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def reported(error: Error) -> Error:
    """Mark an error as one that another rank prints, and return it."""
    error.reported = True  # type: ignore[attr-defined]
    return error


def is_reported(error: BaseException | None) -> bool:
    """Say whether an error, or what it came from, is one that another rank prints."""
    return error is not None and (getattr(error, "reported", False) or is_reported(error.__cause__))
