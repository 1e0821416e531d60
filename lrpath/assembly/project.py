"""What a configuration describes, built without torch: model shape, data source, plan and study."""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lrpath.assembly.increments import ConfiguredIncrements, versions_of
from lrpath.assembly.model_shape import check_vocabulary, shape_of, weights_of
from lrpath.config.schema import Config
from lrpath.data.sources import Source, TokensSource
from lrpath.errors import ConfigError, LrpathError, PlanError
from lrpath.planning.continuation import keep_old_ids, leave_where_data_differ, unite_where_data_agree
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.planning.global_batch import GROWTH
from lrpath.planning.lineage import canonical, content_id
from lrpath.planning.mixture import windows_by_domain
from lrpath.planning.own_model import OwnModel
from lrpath.planning.paradigms import Setting
from lrpath.planning.paths import Path, Tree
from lrpath.planning.plain import given_fields, placed
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Recipe
from lrpath.planning.shape import ModelShape
from lrpath.planning.shared_paths import longer
from lrpath.planning.streams import PROVISIONAL, Increment
from lrpath.records.kept_plans import KeptPlan, united_paths
from lrpath.records.reuse import with_read_contents
from lrpath.records.study import Study
from lrpath.records.weight_folder import WeightFolder
from lrpath.training.command.settings import CommandEngine

if TYPE_CHECKING:
    from lrpath.data.catalog import StoredData
    from lrpath.data.facts import IncrementFacts
    from lrpath.data.prepare import Notice, PreparationProgress
    from lrpath.data.store import TokenStore
    from lrpath.data.stream import TokenBatches


FROM_ROOT = ("warmup", "inverse_sqrt_from")
"""Lengths of paradigms that begin at the root, so that tokens say how many updates they are also of a growing batch."""


class Project:
    """Model shape, data source, plan and study of one configuration, each made when it is first asked for."""

    def __init__(self, config: Config) -> None:
        """Take a typed configuration."""
        self.config = config

    @cached_property
    def shape(self) -> ModelShape | OwnModel:
        """The model's sizes.

        Raises:
            ConfigError: If a size is refused, or the model is too small for the window or the token ids.
        """
        return shape_of(self.config, weights=self.weights)

    @cached_property
    def weights(self) -> WeightFolder | None:
        """The folder with whose weights root paths begin; None where they are drawn from the seed.

        Raises:
            ConfigError: If it is refused.
        """
        return weights_of(self.config)

    @cached_property
    def source(self) -> Source:
        """Where the text comes from."""
        return self.config.data.source

    @cached_property
    def kept_plans(self) -> tuple[KeptPlan, ...]:
        """The plans that the study keeps, oldest first."""
        return tuple(Study(self.study_folder).kept_plans())

    @property
    def _united_paths(self) -> Mapping[str, Path]:
        """Paths of the plans that the study keeps, by id."""
        return united_paths(self.study_folder, list(self.kept_plans))

    @cached_property
    def known_paths(self) -> Mapping[str, Path]:
        """Paths of the plans that the study keeps, by id; old ones with the contents that their states have read."""
        united = self._united_paths
        if not any(path.recipe.names_source for path in united.values()):
            return united
        return {path.id: path for path in with_read_contents(Study(self.study_folder), united.values())}

    @cached_property
    def data_folder(self) -> pathlib.Path:
        """Where prepared tokens are kept; of a URL the working copy, fetched when this is first asked for.

        Raises:
            StorageError: If the URL cannot be read.
        """
        from lrpath.data.remote import fetch_stores

        return fetch_stores(self.config.data.folder)

    @cached_property
    def stored(self) -> "StoredData":
        """What is stored of the data, by the catalog: nothing is read but manifests and samples of the files.

        Raises:
            DataError: If the first version's text is missing, or what is stored is torn.
        """
        from lrpath.data.catalog import Catalog

        catalog = Catalog(self.data_folder)
        tokenizer, count = self.config.data.tokenizer, self.config.versions
        return catalog.find(self.source, tokenizer=tokenizer, count=count, old=self._old_data)

    @property
    def _old_data(self) -> list[dict[str, Any]]:
        """What old plans of the study say of their data, newest first."""
        paths = [path for kept in reversed(self.kept_plans) for path in kept.plan.tree.paths]
        old = (path.recipe.data for path in paths if path.recipe.names_source)
        return list({canonical(data): data for data in old}.values())

    @cached_property
    def recipe(self) -> Recipe:
        """What all updates share."""
        config, tokenizer = self.config, self.stored.tokenizer
        if self.stored.store is None and config.data.tokenizer is not None:
            tokenizer = PROVISIONAL + content_id(config.data.tokenizer.spec())
        data = {"tokenizer": tokenizer} | self._mask
        return Recipe(
            model=self.shape.as_record(),
            data=data,
            optimizer=config.optimizer,
            precision=config.precision,
            seed=config.seed,
            sequences_per_update=config.batch.sequences_per_update,
            tokens_per_sequence=config.batch.tokens_per_sequence,
            guard=config.guard,
            engine=config.engine.name if isinstance(config.engine, CommandEngine) else None,
            growth=config.batch.sizes.growth,
        )

    @property
    def _mask(self) -> dict[str, str]:
        """What the recipe says of attention between documents: nothing where there is no mask, as before masks."""
        return {} if self.config.data.mask == "none" else {"mask": self.config.data.mask}

    @property
    def _configured(self) -> ConfiguredIncrements:
        return ConfiguredIncrements(config=self.config, stored=self.stored, data_folder=self.data_folder)

    @cached_property
    def increments(self) -> tuple[Increment, ...]:
        """The data of each version, in order of arrival."""
        return self._configured.build()

    @property
    def versions(self) -> tuple[str, ...]:
        """Names of the versions, in order of arrival."""
        return versions_of(self.config)

    @property
    def waits_for_tokens(self) -> bool:
        """Whether an increment is as long as its tokens, which are not prepared, so that there is no plan yet."""
        return self._configured.wait_for_tokens

    def parse(self, text: int | str, field: str) -> int:
        """Return a length in updates.

        Raises:
            ConfigError: If it is none, or is given in tokens where that depends on a position that the field has not:
                of a batch that grows.
        """
        recipe = self.recipe
        updates = recipe.batch.parse_updates(text, tokens_per_sequence=recipe.tokens_per_sequence, field=field)
        if recipe.growth and field not in FROM_ROOT and "token" in str(text):
            raise ConfigError(
                f"{field}={text!r}: with {GROWTH}, how many updates read so many tokens depends on where they lie; "
                f"write {field} in updates",
                field=field,
                value=text,
            )
        return updates

    @cached_property
    def plan(self) -> Plan:
        """The tree of all paradigms, as it grows in its study.

        Raises:
            LrpathError: If a paradigm cannot be planned; the message names it.
        """
        return self._plan_over(self.increments)

    def _plan_over(self, increments: tuple[Increment, ...]) -> Plan:
        trees, recipe = [], self.recipe
        for label, paradigm in self.config.paradigms.items():
            setting = Setting(label=label, recipe=recipe, increments=increments, parse=self.parse)
            try:
                trees.append(paradigm.plan(setting))
            except LrpathError as error:
                names = [entry.name for entry in given_fields(type(paradigm))]
                raise placed(error, f"paradigms.{label}", names=names, shown=label) from None
        known = self.shape.parameters is not None
        length = self.config.batch.tokens_per_sequence
        return Plan(
            increments=increments,
            paradigms=self.config.paradigms,
            tree=self.in_study(unite_where_data_agree(trees)),
            model_name=self.shape.family if self.shape.weights is None else self.config.model.family,
            parameters=self.shape.parameters,
            flops_per_token=flops_per_token(self.shape, sequence_length=length) if known else None,
            state_bytes=state_bytes(self.shape, optimizer=self.recipe.optimizer) if known else None,
            source=self.source.kind,
            weights=self.shape.weights,
        )

    def in_study(self, tree: Tree) -> Tree:
        """Return a tree as it grows in the study.

        Paths of before ids followed from content keep their ids, and the tree leaves a path of the study where the data
        differ.
        """
        if not self.known_paths:
            return tree
        return leave_where_data_differ(keep_old_ids(tree, self.known_paths.values()), self.known_paths)

    @cached_property
    def selected(self) -> Mapping[str, int] | None:
        """Up to which position paths are to be run, by id; None for all that the plan needs.

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
        _writable(self.study_folder, field="outputs", value=self.config.outputs)
        return Study(self.study_folder)

    def assuming(self, old: Plan) -> Plan:
        """Return the plan with what is not prepared taken for what a plan of the study has under the same version."""
        known = {increment.version: increment for increment in old.increments}
        increments = tuple(
            replace(one, content=known[one.version].content, held_out=known[one.version].held_out)
            if one.is_provisional and one.version in known
            else one
            for one in self.increments
        )
        if increments == self.increments and not self.recipe.is_provisional:
            return self.plan
        assumed = Project(self.config)
        data = {"tokenizer": old.tree.paths[0].recipe.data["tokenizer"]} | self._mask
        recipe = replace(self.recipe, data=data) if self.recipe.is_provisional else self.recipe
        known_here = {"recipe": recipe, "known_paths": self.known_paths, "shape": self.shape}
        assumed.__dict__ |= known_here  # in place of what they would find
        return assumed._plan_over(increments)

    @property
    def is_kept(self) -> bool:
        """Whether the study keeps the plan, perhaps in the format of an earlier version."""
        return self.plan.id in {kept.plan_id for kept in self.kept_plans}

    def keep_plan(self) -> None:
        """Keep the plan in its study, which from then on never removes a state that it needs.

        Raises:
            PlanError: If its data are not prepared, so that its ids are provisional.
        """
        if self.plan.not_prepared:
            raise PlanError(
                f"the tokens of {', '.join(self.plan.not_prepared)} are not prepared, so that the ids of the plan's "
                "paths are not known yet; prepare them first"
            )
        known = self._united_paths
        for path in self.plan.tree.paths:
            longer(path, known.get(path.id, path))
        same = next((kept.record for kept in self.kept_plans if kept.plan_id == self.plan.id), None)
        self.study.save_plan(same or self.plan.as_record())  # of an earlier format, it is the same plan

    def refresh(self) -> None:
        """Forget what was read of data and study: others may have prepared tokens and kept plans since."""
        for name in ("kept_plans", "known_paths", "stored", "recipe", "increments", "plan", "selected"):
            self.__dict__.pop(name, None)

    def check_engine(self, what: str) -> None:
        """Raise if a command makes the updates, for what lrpath's own trainer alone can do.

        Raises:
            ConfigError: Naming what was asked.
        """
        if isinstance(self.config.engine, CommandEngine):
            raise ConfigError(
                f"engine=command: {what} needs lrpath's own trainer, and lrpath never opens the states of "
                f"{self.config.engine.name}; do this with that trainer's own tools",
                field="engine",
                value="command",
            )

    @cached_property
    def study_folder(self) -> pathlib.Path:
        """Where the study is or will be; of one at a URL the working copy, fetched when this is first asked for.

        Raises:
            StorageError: If the URL cannot be read.
        """
        return Study.at(self.config.outputs, self.config.study).folder

    def prepare(self, progress: "PreparationProgress | None" = None, *, notice: "Notice | None" = None) -> "TokenStore":
        """Return the token store of the versions, prepared if it is not there; the plan's ids are final from then on.

        Raises:
            ConfigError: If its vocabulary is larger than the model's.
            DataError: As `lrpath.data.prepare`, or if an increment is too small for the plan.
        """
        from lrpath.data.prepare import prepare

        mixed = {number for number in range(self.config.versions) if self._configured.mixture(number)}
        _ = self.study  # a place that cannot be written to is refused before hours are spent on text
        store = prepare(
            self.source,
            tokenizer=self.config.data.tokenizer,
            versions=self.versions,
            folder=_writable(self.data_folder, field="data.folder", value=self.config.data.folder),
            progress=progress,
            old=self._old_data,
            notice=notice,
            needs_heldout=True,
            needs_domains=mixed,
        )
        check_vocabulary(self.config, self.shape, weights=self.weights, ids=store.vocab_size)
        self.refresh()
        for path in self.plan.tree.paths:  # a last version that is too small is refused before the first is trained
            self.batches(path, store=store)
        return store

    def increment_facts(self, store: "TokenStore | None" = None) -> list["IncrementFacts"]:
        """Return what each prepared version was made of, and how much of it the plan reads.

        Args:
            store: The prepared store; None for what is prepared so far.
        """
        if store is None and not self.stored.is_here():
            return []  # at a URL: what a line in a plan says is not worth fetching all tokens
        store = store or self.stored.open(self.versions)
        if store is None:
            return []
        from lrpath.data.facts import increment_facts  # it needs numpy, which a plan of what is not prepared does not

        sequences, length = self.recipe.sequences_per_update, self.recipe.tokens_per_sequence
        reads = {one.version: one.count_windows(sequences=sequences) * length for one in self.increments}
        source = self.source
        asked = 0 if isinstance(source, TokensSource) else source.heldout.documents
        mixed = {
            one.version: {name: count * length for name, count in windows_by_domain(one, sequences=sequences).items()}
            for one in self.increments
            if one.mixture
        }
        return increment_facts(store, reads=reads, asked=asked, mixed=mixed)

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
            growth=path.recipe.growth,
        )


def _writable(folder: pathlib.Path, *, field: str, value: str) -> pathlib.Path:
    """Return a folder that a field names; it, or the nearest parent that exists, is one to write to."""
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), pathlib.Path())
    if not there.is_dir():
        text = f"{field}: {there} is not a folder, so {folder} cannot be made; choose another {field}"
        raise ConfigError(text, field=field, value=value)
    if not os.access(there, os.W_OK | os.X_OK):
        text = f"{field}: {there} cannot be written to; allow it, or choose another {field}"
        raise ConfigError(text, field=field, value=value)
    return folder
