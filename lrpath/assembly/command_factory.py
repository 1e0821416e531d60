"""What another trainer needs, built from a project without torch: the plan runner's engine of `engine=command`."""

import os

from lrpath.assembly.held_out import describe_held_out_sets, held_out_sets
from lrpath.assembly.project import Project
from lrpath.data.store import TokenStore
from lrpath.errors import ConfigError
from lrpath.planning.cost import flops_per_token, state_bytes
from lrpath.records.remote.folder import is_address
from lrpath.training.command.command_trainer import CommandTrainer
from lrpath.training.command.settings import CommandEngine


def build_command_trainer(project: Project, store: TokenStore) -> CommandTrainer:
    """Return the engine that runs the project's command.

    Args:
        project: The configuration, whose engine is a command.
        store: Its prepared tokens.

    Raises:
        ConfigError: If a release is a mean of states, this is one of several ranks, or windows of a mixture are to be
            given by their places.
    """
    config, shape = project.config, project.shape
    assert isinstance(config.engine, CommandEngine)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            "engine=command runs in one process, and the command starts its own ranks; start lrpath without torchrun, "
            "and put torchrun into engine.run",
            field="engine",
            value="command",
        )
    if is_address(config.outputs):
        raise ConfigError(
            f"engine=command keeps states as the command writes them, and only on a file system; "
            f"give a folder instead of outputs={config.outputs}",
            field="outputs",
            value=config.outputs,
        )
    if config.engine.data == "windows" and any(one.mixture for one in project.increments):
        raise ConfigError(
            "engine.data=windows: with data.mixture, windows are cut from one domain each and do not lie in one piece; "
            "give engine.data=ids",
            field="engine.data",
            value="windows",
        )
    for release in project.plan.tree.releases:
        if len(release.parts) > 1:
            raise ConfigError(
                f"release {release.paradigm}/{release.version} is a mean of {len(release.parts)} states, and lrpath "
                f"never opens those of {config.engine.name}; leave {release.paradigm} out",
                field="paradigm",
                value=release.paradigm,
            )
    known = shape.parameters is not None
    return CommandTrainer(
        study=project.study,
        settings=config.engine,
        store=store,
        batches=lambda path: project.batches(path, store=store),
        held_out=held_out_sets(project, store),
        described=describe_held_out_sets(project, store),
        cadence=config.cadence,
        open_sink=config.logger.opener(),
        flops_per_token=flops_per_token(shape, sequence_length=config.batch.tokens_per_sequence) if known else 0,
        state_bytes=state_bytes(shape, optimizer=project.recipe.optimizer) if known else 0,
    )
