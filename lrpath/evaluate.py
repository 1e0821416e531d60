"""`python -m lrpath.evaluate +exp=…`: evaluate kept states again, on the held-out sets of a configuration."""

import sys

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.comparison import StudyComparison
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.errors import ConfigError
from lrpath.records.study import Study
from lrpath.reporting.version_matrix import matrix_tables


def evaluate(cfg: DictConfig) -> None:
    """Evaluate the states that lack a loss, and print what every release knows of every version's text."""
    settings, asked = schema.load_evaluate(cfg)
    study = Study.existing(settings.outputs, settings.study)
    if settings.strategy.name != "single":
        text = f"strategy={settings.strategy.name}: states are evaluated in one process; leave strategy out"
        raise ConfigError(text, field="strategy", value=settings.strategy.name)
    project = Project(settings)
    project.check_engine("lrpath.evaluate")
    _ = project.plan  # an impossible plan is refused before torch is imported
    with entry.lasting():
        from lrpath.assembly.training_factory import build_hardware, open_training_factory
        from lrpath.training.later_evaluation import evaluate_later, lacking_evaluations

    hardware = build_hardware(project)
    with hardware.initialized():
        hardware.set_threads()
        factory = open_training_factory(project, hardware.process_group)
        held_out, documents = factory.held_out(), factory.document_sets()
        wanted = lacking_evaluations(
            study,
            recipe=project.recipe,
            sets=held_out.keys(),
            documents=documents.keys(),
            every_state=asked.states == "all",
        )
        evaluate_later(
            study,
            wanted,
            held_out=held_out,
            documents=documents,
            described=factory.describe_held_out(),
            device=hardware.device,
            show=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
            own_models=factory.own_model,
        )
    sys.stdout.write(f"{len(wanted):,} states were evaluated\n")
    for table in matrix_tables(StudyComparison.read(study)):
        sys.stdout.write(f"\n{table.text()}\n")


if __name__ == "__main__":
    entry.run(evaluate, config_name="evaluate")
