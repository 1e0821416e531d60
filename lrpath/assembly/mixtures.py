"""The mixture of each version, compared with the domains that its text has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lrpath.config.schema import DataConfig
from lrpath.errors import ConfigError, DataError
from lrpath.planning.mixture import MIXTURE_PARTS, parse_mixture

if TYPE_CHECKING:
    from lrpath.data.manifest import Manifest

_FIELD = "data.mixture"


def mixture_of(data: DataConfig, number: int, *, versions: int, named: bool) -> tuple[tuple[str, int], ...]:
    """Return the mixture of a version, in parts; empty where it is read as it is stored.

    Args:
        data: The configuration.
        number: Of the version, from 0.
        versions: How many there are.
        named: Whether its source can say which text is of which domain.

    Raises:
        ConfigError: If there is not one entry for each version, a weight is refused, or a source of ids does not say
            which files are of which domain.
    """
    given = data.mixture
    field = f"{_FIELD}[{number}]" if isinstance(given, tuple) else _FIELD
    if isinstance(given, tuple) and len(given) != versions:
        text = f"{_FIELD} lists {len(given)} mixtures for versions={versions}; give one mixture, or {versions}"
        raise ConfigError(text, field=_FIELD, value=given)
    weights = given[number] if isinstance(given, tuple) else given
    if weights is None:
        return ()
    if not named:
        raise ConfigError(
            f"{field} is given, and data.source.files does not say which ids of version {number + 1} are of which "
            f"domain; name the files of each: {{{', '.join(f'{name}: …' for name in weights)}}}",
            field="data.source.files",
        )
    return parse_mixture(weights, field=field)


def check_domains(data: DataConfig, manifests: Mapping[str, "Manifest"]) -> None:
    """Check that the mixtures name all domains of their versions, and no other.

    Args:
        data: The configuration.
        manifests: Of the versions, in the order of arrival, as far as they are prepared.

    Raises:
        DataError: Naming the version and the domain.
    """
    for number, (version, manifest) in enumerate(manifests.items()):
        weights = data.mixture[number] if isinstance(data.mixture, tuple) else data.mixture
        if weights is None or not manifest.trained:
            continue
        there = ", ".join(f"{name} ({tokens:,} tokens)" for name, tokens in manifest.trained.items())
        for name in sorted(weights.keys() - manifest.trained.keys()):
            if weights[name]:
                text = f"{_FIELD} gives domain {name} {weights[name]:g}, and {version} has no training text of it"
                raise DataError(f"{text} (there: {there}); correct it", field=f"{_FIELD}.{name}", value=weights[name])
        for name in sorted(manifest.trained.keys() - weights.keys()):
            text = f"{version} has text of domain {name}, of which {_FIELD} says nothing (there: {there})"
            raise DataError(f"{text}; give it a weight, or 0 to leave it out", field=f"{_FIELD}.{name}", value=None)


def windows_once(manifest: "Manifest", mixture: tuple[tuple[str, int], ...], *, length: int) -> int:
    """Return how many windows of a version can be read before any is read again.

    With a mixture, it is as many as there are until the first of its domains has none left.
    """
    if not mixture or not manifest.trained:
        return manifest.windows(length)
    held = {name: max(manifest.trained.get(name, 0) - 1, 0) // length for name, _ in mixture}
    return min(held[name] * MIXTURE_PARTS // parts for name, parts in mixture)
