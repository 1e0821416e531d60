"""What a place that a configuration names may be: the folder of studies, a study, a file of this machine."""

from lrpath.data.manifest import is_name
from lrpath.errors import ConfigError
from lrpath.records.remote.folder import check_address


def check_local(place: str | None, *, field: str) -> None:
    """Refuse a URL for what is written on this machine alone: `s3://…` would become a folder named `s3:`.

    Raises:
        ConfigError: If there is `://` in the place.
    """
    if place is not None and "://" in place:
        raise ConfigError(
            f"{field}={place} is a URL, and {field} is written on this machine; give a path, and copy the file there",
            field=field,
            value=place,
        )


def check_place(outputs: str, study: str) -> None:
    """Refuse a folder of studies or the name of one that cannot be one.

    Raises:
        ConfigError: If it is empty, or not a plain name.
    """
    check_address(outputs, field="outputs")
    if not outputs:
        text = "outputs is empty; name the folder of studies: outputs=outputs"
        raise ConfigError(text, field="outputs", value=outputs)
    if not is_name(study):
        text = (
            f"study={study!r} must be a plain folder name of at most 64 letters, digits, `.`, `_` and `-`; choose one"
        )
        raise ConfigError(text, field="study", value=study)
