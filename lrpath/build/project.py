"""What a configuration describes, built without torch: model shape, data source, plan and study."""

from functools import cached_property
from pathlib import Path as File
from typing import TYPE_CHECKING

from lrpath.config import Config, paradigms_of, source_of, typed
from lrpath.data.sources import Source
from lrpath.errors import PlanError
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.planning.lineage import content_id
from lrpath.planning.paradigms import Setting
from lrpath.planning.paths import Recipe, unite
from lrpath.planning.plan import Plan
from lrpath.planning.shape import ModelShape, build_shape
from lrpath.planning.streams import Increment
from lrpath.planning.units import parse_updates
from lrpath.records import Study

if TYPE_CHECKING:
    from lrpath.data.prepare import Progress
    from lrpath.data.store import TokenStore


class Project:
    """Model shape, data source, plan and study of one configuration, each made when it is first asked for."""

    def __init__(self, config: Config) -> None:
        """Take a typed configuration."""
        self.config = config

    @cached_property
    def shape(self) -> ModelShape:
        """The model's sizes."""
        given = {name: value for name, value in self.config.model.items() if value is not None}
        return build_shape(given) if given.get("family") == "file" else typed(ModelShape, given, place="model")

    @cached_property
    def source(self) -> Source:
        """Where the text comes from."""
        return source_of(self.config.data)

    @cached_property
    def recipe(self) -> Recipe:
        """What all updates share."""
        config, tokenizer = self.config, self.config.data.tokenizer
        data = {
            "source": self.source.spec(),
            "first_increment": self.source.increment_spec(0),
            "tokenizer": None if tokenizer is None else tokenizer.spec(),
            "repeat": config.data.repeat,
        }
        return Recipe(
            model=self.shape.as_record(),
            data=data,
            optimizer=config.optimizer,
            precision=config.precision,
            seed=config.seed,
            sequences_per_update=config.batch.sequences_per_update,
            tokens_per_sequence=config.batch.tokens_per_sequence,
        )

    @cached_property
    def increments(self) -> tuple[Increment, ...]:
        """The data of each version, in order of arrival."""
        given = self.config.increment
        count = self.config.versions
        lengths = given if isinstance(given, tuple) else (given,) * count
        if len(lengths) != count:
            raise PlanError(f"increment lists {len(lengths)} lengths for versions={count}; give one length or {count}")
        return tuple(
            Increment(version=f"v{number}", updates=self.parse(length, "increment"))
            for number, length in enumerate(lengths, start=1)
        )

    def parse(self, text: int | str, field: str) -> int:
        """Return a length in updates."""
        return parse_updates(text, tokens_per_update=self.recipe.tokens_per_update, field=field)

    @cached_property
    def plan(self) -> Plan:
        """The tree of all paradigms."""
        trees = []
        for label, paradigm in paradigms_of(self.config).items():
            setting = Setting(label=label, recipe=self.recipe, increments=self.increments, parse=self.parse)
            trees.append(paradigm.plan(setting))
        known = self.shape.parameters is not None
        length = self.config.batch.tokens_per_sequence
        return Plan(
            increments=self.increments,
            paradigms=self.config.paradigms,
            tree=unite(trees),
            model_name=self.shape.family,
            parameters=self.shape.parameters,
            flops_per_token=flops_per_token(self.shape, sequence_length=length) if known else None,
            state_bytes=state_bytes(self.shape) if known else None,
        )

    @cached_property
    def study(self) -> Study:
        """The study's folder."""
        return Study(File(self.config.outputs) / self.config.study)

    @property
    def store_folder(self) -> File:
        """The token store of this source and tokenizer."""
        name = content_id(self.recipe.data)
        return File(self.config.data.folder) / f"{self.config.data.source['kind']}-{name}"

    def prepare(self, progress: "Progress | None" = None) -> "TokenStore":
        """Return the token store, prepared if it is not there."""
        from lrpath.data.prepare import prepare

        return prepare(
            self.source,
            tokenizer=self.config.data.tokenizer,
            versions=[increment.version for increment in self.increments],
            folder=self.store_folder,
            progress=progress,
        )
