"""What a configuration describes, built without torch: model shape, data source, plan and study."""

import os
import pathlib
from functools import cached_property
from typing import TYPE_CHECKING

from lrpath.config.schema import Config
from lrpath.data.sources import Source, TokensSource
from lrpath.errors import ConfigError, LrpathError, MismatchError, PlanError
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.planning.lineage import content_id, differences
from lrpath.planning.paradigms import Setting
from lrpath.planning.paths import Path, Recipe, unite
from lrpath.planning.plan import Plan, from_record
from lrpath.planning.shape import ModelShape
from lrpath.planning.streams import Increment
from lrpath.planning.units import parse_updates
from lrpath.records.study import Study

if TYPE_CHECKING:
    from lrpath.data.prepare import Notice, PreparationProgress
    from lrpath.data.store import TokenStore
    from lrpath.data.stream import TokenBatches


MOST_DIFFERENCES = 3
"""A message names so many fields that differ."""


class Project:
    """Model shape, data source, plan and study of one configuration, each made when it is first asked for."""

    def __init__(self, config: Config) -> None:
        """Take a typed configuration."""
        self.config = config

    @cached_property
    def shape(self) -> ModelShape:
        """The model's sizes.

        Raises:
            ConfigError: If a size is refused, or the model is too small for the window or the token ids.
        """
        model = self.config.model
        shape = model if isinstance(model, ModelShape) else model.shape()
        window = self.config.batch.tokens_per_sequence
        if shape.context < window:
            raise ConfigError(
                f"model.context={shape.context} must be at least batch.tokens_per_sequence={window}; enlarge it",
                field="model.context",
                value=shape.context,
            )
        source, tokenizer = self.source, self.config.data.tokenizer
        ids = source.vocab_size if isinstance(source, TokensSource) else tokenizer and tokenizer.vocab_size
        self._check_vocabulary(shape, ids or 0)
        return shape

    def _check_vocabulary(self, shape: ModelShape, ids: int) -> None:
        if shape.vocab_size < ids:
            raise ConfigError(
                f"model.vocab_size={shape.vocab_size} must be at least the {ids} token ids of the data; enlarge it",
                field="model.vocab_size",
                value=shape.vocab_size,
            )

    @cached_property
    def source(self) -> Source:
        """Where the text comes from."""
        return self.config.data.source

    @cached_property
    def recipe(self) -> Recipe:
        """What all updates share."""
        config, tokenizer = self.config, self.config.data.tokenizer
        first = {name: value for name, value in self.source.increment_spec(0).items() if name != "heldout"}
        data = {
            "source": self.source.spec(),
            "first_increment": first,
            "tokenizer": None if tokenizer is None else tokenizer.spec(),
        }
        return Recipe(
            model=self.shape.as_record(),
            data=data,
            optimizer=config.optimizer,
            precision=config.precision,
            seed=config.seed,
            sequences_per_update=config.batch.sequences_per_update,
            tokens_per_sequence=config.batch.tokens_per_sequence,
            guard=config.guard,
        )

    @cached_property
    def increments(self) -> tuple[Increment, ...]:
        """The data of each version, in order of arrival."""
        given = self.config.increment
        count = self.config.versions
        lengths = given if isinstance(given, tuple) else (given,) * count
        if len(lengths) != count:
            text = f"increment lists {len(lengths)} lengths for versions={count}; give one length or {count}"
            raise PlanError(text, field="increment", value=given)
        return tuple(
            Increment(version=f"v{number}", updates=self.parse(length, "increment"))
            for number, length in enumerate(lengths, start=1)
        )

    def parse(self, text: int | str, field: str) -> int:
        """Return a length in updates."""
        return parse_updates(text, tokens_per_update=self.recipe.tokens_per_update, field=field)

    @cached_property
    def plan(self) -> Plan:
        """The tree of all paradigms.

        Raises:
            LrpathError: If a paradigm cannot be planned; the message names it.
        """
        trees, recipe, increments = [], self.recipe, self.increments
        for label, paradigm in self.config.paradigms.items():
            setting = Setting(label=label, recipe=recipe, increments=increments, parse=self.parse)
            try:
                trees.append(paradigm.plan(setting))
            except LrpathError as error:
                raise _of_paradigm(error, label) from None
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
    def selected(self) -> frozenset[str] | None:
        """Ids of the paths to run; None for all.

        Raises:
            PlanError: If a name matches no path of the plan.
        """
        names = self.config.paths
        return None if names is None else self.plan.tree.named((names,) if isinstance(names, str) else names)

    @cached_property
    def study(self) -> Study:
        """The study's folder.

        Raises:
            ConfigError: If it cannot be a folder, or cannot be written to.
        """
        return Study(_writable(self.config.study, field="outputs", value=self.config.outputs))

    def check_extends(self) -> None:
        """Check, if `extend` asks for it, that the plan goes on from one that its study keeps, or repeats it.

        Raises:
            MismatchError: If it does not; the message has what differs from the newest.
        """
        kept = [from_record(record) for record in self.study.plans().values()] if self.config.extend else []
        if kept and not any(self.plan.extends(old) or old.extends(self.plan) for old in kept):
            raise MismatchError(
                f"extend=true: this plan does not go on from the newest of study {self.study.name}: "
                f"{_first_difference(kept[-1], self.plan)}; correct that, or give extend=false to train both",
                field="extend",
                value=True,
            )

    def keep_plan(self) -> None:
        """Keep the plan in its study, which from then on never removes a state that it needs.

        Raises:
            PlanError: If a plan kept earlier reads other increments on a path of the same id.
        """
        kept = [from_record(record).tree for record in self.study.plans().values()]
        unite([self.plan.tree, *kept])
        self.study.save_plan(self.plan.as_record())

    @property
    def store_folder(self) -> pathlib.Path:
        """The token store of this source and tokenizer.

        Raises:
            ConfigError: If it cannot be a folder, or cannot be written to.
        """
        name = content_id(self.recipe.data | {"first_increment": self.source.increment_spec(0)})
        return _writable(f"{self.source.kind}-{name}", field="data.folder", value=self.config.data.folder)

    def prepare(self, progress: "PreparationProgress | None" = None, *, notice: "Notice | None" = None) -> "TokenStore":
        """Return the token store, prepared if it is not there.

        Raises:
            ConfigError: If its vocabulary is larger than the model's.
            DataError: As `lrpath.data.prepare`, or if an increment is too small for the plan.
        """
        from lrpath.data.prepare import prepare

        _ = self.study  # a place that cannot be written to is refused before hours are spent on text
        store = prepare(
            self.source,
            tokenizer=self.config.data.tokenizer,
            versions=[increment.version for increment in self.increments],
            folder=self.store_folder,
            progress=progress,
            notice=notice,
            needs_heldout=True,
        )
        self._check_vocabulary(self.shape, store.vocab_size)
        for path in self.plan.tree.paths:  # a last version that is too small is refused before the first is trained
            self.batches(path, store=store)
        return store

    def batches(self, path: Path, *, store: "TokenStore") -> "TokenBatches":
        """Return a path's data as a function of position.

        Raises:
            DataError: If the store holds too little of an increment.
        """
        from lrpath.data.stream import TokenBatches

        return TokenBatches.of(
            store,
            stream=path.stream,
            sequences=path.recipe.sequences_per_update,
            length=path.recipe.tokens_per_sequence,
            seed=path.recipe.order_seed,
            repeat=self.config.data.repeat,
        )


def _of_paradigm(error: LrpathError, label: str) -> LrpathError:
    """Return an error in the plan of a paradigm, whose message and field say which one it is."""
    text = str(error) if label in str(error) else f"{label}: {error}"
    field = None if error.field is None else f"paradigms.{label}.{error.field}"
    return type(error)(text, field=field, value=error.value)


def _first_difference(old: Plan, new: Plan) -> str:
    """Return how the first release of the old plan that the new one lacks has changed."""
    lost = next(release for release in old.tree.releases if release not in new.tree.releases)
    label = f"{lost.paradigm}/{lost.version}"
    same = [release for release in new.tree.releases if f"{release.paradigm}/{release.version}" == label]
    if not same:
        return f"it has no {label}"
    lines = old.tree.line(lost.last.path_id), new.tree.line(same[0].last.path_id)
    for before, after in zip(*lines, strict=False):
        if found := differences(before.identity(), after.identity()):
            more = f" and {len(found) - MOST_DIFFERENCES} more" if len(found) > MOST_DIFFERENCES else ""
            return f"{after.name} of {label} would be trained anew ({'; '.join(found[:MOST_DIFFERENCES])}{more})"
    return f"{label} would be made of other states"


def _writable(name: str, *, field: str, value: str) -> pathlib.Path:
    """Return a folder in the one that a field names; it, or the nearest parent that exists, is one to write to."""
    folder = pathlib.Path(value) / name
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), pathlib.Path())
    if not there.is_dir():
        text = f"{field}: {there} is not a folder, so {folder} cannot be made; choose another {field}"
        raise ConfigError(text, field=field, value=value)
    if not os.access(there, os.W_OK | os.X_OK):
        text = f"{field}: {there} cannot be written to; allow it, or choose another {field}"
        raise ConfigError(text, field=field, value=value)
    return folder
