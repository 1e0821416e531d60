"""`python -m lrpath.evaluate …`: evaluate kept states again, on held-out sets of a configuration, or on tasks."""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.release_choice import choose_release
from lrpath.assembly.project import Project
from lrpath.config.commands import EvaluateConfig, load_evaluate
from lrpath.config.schema import Config
from lrpath.errors import ConfigError, StateError
from lrpath.planning.paths import Release
from lrpath.records.study import Study
from lrpath.reporting.task_table import STATE_CSV, TASK_CSV, task_tables
from lrpath.reporting.version_matrix import matrix_tables


def evaluate(cfg: DictConfig) -> None:
    """Evaluate the states that lack a loss, and print what every release knows of every version's text."""
    settings, asked = load_evaluate(cfg)
    study = Study.existing(settings.outputs, settings.study)
    if settings.strategy.name != "single":
        text = f"strategy={settings.strategy.name}: states are evaluated in one process; leave strategy out"
        raise ConfigError(text, field="strategy", value=settings.strategy.name)
    if asked.tasks:
        _evaluate_on_tasks(study, settings, asked)
        return
    project = Project(settings)
    project.check_engine("lrpath.evaluate")
    _ = project.plan  # an impossible plan is refused before torch is imported
    with entry.lasting():
        from lrpath.assembly.training_factory import build_hardware, open_training_factory
        from lrpath.training.later_evaluation import evaluate_later, lacking_evaluations

    hardware = build_hardware(project)
    with hardware.initialized():
        hardware.prepare_process()
        factory = open_training_factory(project, hardware.process_group)
        held_out, documents, described = factory.held_out(), factory.document_sets(), factory.describe_held_out()
        wanted = lacking_evaluations(
            study,
            recipe=project.recipe,
            sets=described,
            documents=documents.keys(),
            every_state=asked.states == "all",
        )
        evaluate_later(
            study,
            wanted,
            held_out=held_out,
            documents=documents,
            described=described,
            device=hardware.device,
            show=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
            own_models=factory.own_model,
        )
    sys.stdout.write(f"{len(wanted):,} {'state was' if len(wanted) == 1 else 'states were'} evaluated\n")
    for table in matrix_tables(StudyComparison.read(study)):
        sys.stdout.write(f"\n{table.text()}\n")


def _evaluate_on_tasks(study: Study, settings: Config, asked: EvaluateConfig) -> None:
    """Give releases the tasks that they have no scores on, and print all scores; the study says which there are."""
    only = [choose_release(study, name=name)[1] for name in asked.chosen]
    _check_made(study, only)
    with entry.lasting():
        from lrpath.training.distributed.hardware import Hardware
        from lrpath.training.task_evaluation import evaluate_on_tasks, states_to_evaluate
        from lrpath.training.task_harness import Harness

    hardware = Hardware(strategy=settings.strategy)
    hardware.prepare_process()
    states, not_made = states_to_evaluate(study, every_state=asked.states == "all", only=only)
    count = evaluate_on_tasks(
        study,
        states,
        asked.tasks,
        harness=Harness(settings.harness),
        device=hardware.device,
        show=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
    )
    from lrpath.reporting.report import write_report  # figures, which take a moment to import

    write_report(study)
    later = f"; {not_made:,} planned release{'s are' if not_made > 1 else ' is'} not trained yet" if not_made else ""
    of = "state was" if len(states) == 1 else "states were"
    sys.stdout.write(f"{count:,} of {len(states):,} {of} evaluated{later}\n")
    for table in task_tables(StudyComparison.read(study)):
        sys.stdout.write(f"\n{table.text()}\n")
    place = study.url_of(study.report)
    sys.stdout.write(f"\nscores of releases are in {place}/{TASK_CSV}, of every state in {STATE_CSV} beside it\n")
    study.upload()


def _check_made(study: Study, releases: Sequence[Release]) -> None:
    """Raise if a release that was asked for by its name is not on disk."""
    names = [
        f"{release.paradigm}/{release.version}"
        for release in releases
        if not all(study.has_state(key) for key, _ in release.parts)
    ]
    if names:
        text = f"study {study.name} plans {', '.join(names)}, and has not trained it yet; train first, or leave it out"
        raise StateError(text, field="release", value=names[0] if len(names) == 1 else tuple(names))


if __name__ == "__main__":
    entry.run(evaluate, config_name="evaluate")
