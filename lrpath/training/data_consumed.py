"""Compares what a state has read, by its manifest, with what the plan says."""

import pathlib
from typing import Any

from lrpath.data.stream import compare_readings
from lrpath.errors import MismatchError
from lrpath.records.manifest import read_manifest


def check_data_consumed(state_folder: pathlib.Path, *, expected: dict[str, Any]) -> None:
    """Raise unless a state has consumed, since its path began, the data that the plan says.

    Raises:
        MismatchError: With the fields that differ, an increment's digest for example.
    """
    read = read_manifest(state_folder).get("read")
    lines = compare_readings(expected, read) if isinstance(read, dict) else []
    if lines or not isinstance(read, dict):
        difference = "; ".join(lines) or "its manifest does not say what"
        raise MismatchError(
            f"{state_folder} has read other data than the plan says: {difference}. "
            "Restore the data or the configuration it was made with, or use another study"
        )
