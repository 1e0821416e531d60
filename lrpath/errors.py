"""Every error that lrpath raises on purpose: one family, so that an entry can print it as one line and exit.

A message names the field or file, the rule, the value found, and what to do about it.
"""


class LrpathError(Exception):
    """Root of the family. Entries print it without a traceback and exit with `exit_code`."""

    exit_code = 2


class ConfigError(LrpathError):
    """A configuration field has a value that is refused."""


class PlanError(LrpathError):
    """The configuration is well formed, but the tree of paths it asks for is impossible."""


class DataError(LrpathError):
    """A source, token file, tokenizer or store is missing, torn, altered or too small."""


class StateError(LrpathError):
    """A state on disk is missing, torn or altered."""


class MismatchError(LrpathError):
    """Something on disk was made under another configuration; the message lists the fields that differ."""


class LawError(LrpathError):
    """A law cannot be fitted to the curves given, or is asked for a curve it was not fitted for."""


class BusyError(LrpathError):
    """Another process is running the path that this one was asked to run."""

    exit_code = 3


class TrainingError(LrpathError):
    """Training cannot go on (a loss that is not finite, a disk that is full); saved states are untouched."""

    exit_code = 4
