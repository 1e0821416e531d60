"""The data of each version as a configuration describes them: how long, mixed how, and known by which tokens."""

import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrpath.assembly.mixtures import check_domains, mixture_of, windows_once
from lrpath.config.schema import Config
from lrpath.data.sources import TokensSource
from lrpath.errors import PlanError
from lrpath.planning.streams import Increment

if TYPE_CHECKING:
    from lrpath.data.catalog import StoredData

ONE_EPOCH = "all"
"""The length of an increment whose windows are all read once."""


def versions_of(config: Config) -> tuple[str, ...]:
    """Return the names of the versions, in order of arrival."""
    return tuple(f"v{number}" for number in range(1, config.versions + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredIncrements:
    """The increments of a configuration, as far as its text is prepared.

    Args:
        config: The configuration.
        stored: What is stored of its data.
        data_folder: Where prepared tokens are kept.
    """

    config: Config
    stored: "StoredData"
    data_folder: pathlib.Path

    def build(self) -> tuple[Increment, ...]:
        """Return the increments in order of arrival.

        Raises:
            PlanError: If a length is refused, or follows from tokens that are not prepared.
            DataError: If a mixture does not fit the domains of a version's text.
        """
        versions = versions_of(self.config)
        mixtures = [self.mixture(number) for number in range(len(versions))]
        contents = [self._content(number) for number in range(len(versions))]
        manifests = [increment.manifest for increment in self.stored.increments]
        check_domains(self.config.data, dict(zip(versions, manifests, strict=False)))
        increments: list[Increment] = []
        start, batch = 0, self.config.batch.sizes
        for number, (version, length) in enumerate(zip(versions, self._lengths, strict=True)):
            updates = self._updates(number, length, start=start)
            end = start + max(updates, 0)
            increments.append(
                Increment(
                    version=version,
                    updates=updates,
                    mixture=mixtures[number],
                    windows=batch.between(start, end) if batch.grows_before(end) else None,
                    **contents[number],
                )
            )
            start = end
        return tuple(increments)

    def mixture(self, number: int) -> tuple[tuple[str, int], ...]:
        """Return the mixture of a version, counted from 0; empty where it is read as it is stored."""
        source = self.config.data.source
        named = not isinstance(source, TokensSource) or source.names_domains(number)
        return mixture_of(self.config.data, number, versions=self.config.versions, named=named)

    @property
    def wait_for_tokens(self) -> bool:
        """Whether one is as long as its tokens, which are not prepared, so that there is no plan yet."""
        return any(length == ONE_EPOCH for length in self._lengths[len(self.stored.increments) :])

    @property
    def _lengths(self) -> tuple[int | str, ...]:
        given, count = self.config.increment, self.config.versions
        lengths = given if isinstance(given, tuple) else (given,) * count
        if len(lengths) != count:
            text = f"increment lists {len(lengths)} lengths for versions={count}; give one length or {count}"
            raise PlanError(text, field="increment", value=given)
        return lengths

    def _updates(self, number: int, length: int | str, *, start: int) -> int:
        """Return how many updates a version's increment fills: as it was given, or all of its stored windows once.

        Args:
            number: The version's, from 0.
            length: As it was given.
            start: Position at which the increment begins on a main path.
        """
        window, batch = self.config.batch.tokens_per_sequence, self.config.batch.sizes
        if length != ONE_EPOCH:
            return batch.parse_updates(length, tokens_per_sequence=window, field="increment", start=start)
        if number >= len(self.stored.increments):
            raise PlanError(
                f"increment={ONE_EPOCH}: v{number + 1} is as long as its tokens, and they are not prepared, so that "
                "there is no plan yet; lrpath.train prepares them first, or give a length",
                field="increment",
                value=length,
            )
        manifest = self.stored.increments[number].manifest
        windows = windows_once(manifest, self.mixture(number), length=window)
        updates = int(batch.updates_of(windows, start=start))
        if not updates:
            raise PlanError(
                f"increment={ONE_EPOCH}: v{number + 1} has {manifest.tokens:,} training tokens, fewer than the "
                f"{batch.at(start) * window:,} of one update; give it more text, or make batch smaller",
                field="increment",
                value=length,
            )
        return updates

    def _content(self, number: int) -> dict[str, Any]:
        """Return the content of a version's tokens, or what stands for it while they are not prepared."""
        if number < len(self.stored.increments):
            manifest = self.stored.increments[number].manifest
            return {"content": manifest.content, "held_out": manifest.held_out}
        from lrpath.data.catalog import Catalog

        data = self.config.data
        content = Catalog(self.data_folder).provisional(data.source, tokenizer=data.tokenizer, number=number)
        return {"content": content}
