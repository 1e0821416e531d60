"""EleutherAI's language-model evaluation harness: digests of its tasks, and the figures of an exported model on them.

A task file may name Python functions, which the harness imports and calls: a folder of tasks is code, unlike anything
else that lrpath reads.

References:
    https://github.com/EleutherAI/lm-evaluation-harness
"""

import contextlib
import dataclasses
import hashlib
import inspect
import io
import json
import logging
import math
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TextIO

import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from lrpath.errors import ConfigError
from lrpath.planning.field_names import nearest
from lrpath.records.files import digest_file
from lrpath.records.task_scores import TaskScore
from lrpath.training.settings import HarnessSettings

_NO_PART_OF_A_TASK = frozenset(
    {"task", "task_alias", "tag", "custom_dataset", "dataset_path", "dataset_name", "dataset_kwargs"}
)
"""Fields that say what a task is called and where its documents, which are in the digest, come from."""
_WITHOUT_NETWORK = (
    "its documents come from the hub: without a network, give the task once where there is one, and then "
    "HF_HUB_OFFLINE=1 and the same HF_HOME"
)
_LOGGER = logging.getLogger("lm_eval")
_BAR = re.compile(r"\d%\||\d+it \[|(it/s|s/it|\?it/s)\]")
"""What tqdm writes and nothing else."""
_OUR_TASKS = pathlib.Path(__file__).with_name("tasks")
"""Folder of lrpath's own tasks, which need no network."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskFigures:
    """What the harness found of a model on a task.

    Args:
        scores: The figures that are finite.
        not_finite: Names of those that are not.
        is_cut: Whether requests were longer than the model's window, so that their beginnings were left out.
    """

    scores: tuple[TaskScore, ...]
    not_finite: tuple[str, ...]
    is_cut: bool


class Harness:
    """The harness with the tasks that it knows.

    Args:
        settings: Where tasks are, and how they are asked.

    Raises:
        ConfigError: If a folder of tasks is not there.
    """

    def __init__(self, settings: HarnessSettings) -> None:
        for folder in settings.folders:
            if not pathlib.Path(folder).is_dir():
                text = f"harness.folders names {folder}, which is not a folder; give the folders of task files (.yaml)"
                raise ConfigError(text, field="harness.folders", value=folder)
        _LOGGER.setLevel(logging.ERROR)  # it would tell of every default that it fills in
        self.settings = settings
        self.version = f"lm-eval {lm_eval.__version__}"
        self._near = TaskManager(include_path=[_OUR_TASKS, *settings.folders], include_defaults=False)
        self._leaves: dict[str, dict[str, str]] = {}
        self._rules: dict[str, list[Any]] = {}

    @cached_property
    def _all(self) -> TaskManager:
        """The harness's own tasks too: more than ten thousand files, whose names take it five seconds to read."""
        return TaskManager(include_path=[_OUR_TASKS, *self.settings.folders])

    def _manager(self, name: str) -> TaskManager:
        """Return what loads a task; a group may have members anywhere, and of a tag nobody knows where they are.

        Raises:
            ConfigError: If there is no task of that name.
        """
        if self._is_near(name):
            return self._near
        if name not in self._all.all_tasks:
            text = f"tasks has {name!r}, which the harness does not know{nearest(name, self._all.all_tasks)}"
            more = "Give the folder of your own task files with harness.folders=[FOLDER]"
            raise ConfigError(f"{text if text.endswith('?') else f'{text}.'} {more}", field="tasks", value=name)
        return self._all

    def _is_near(self, name: str, *, of: tuple[str, ...] = ()) -> bool:
        """Say whether a task, or every member of a group, is in the folders that were given, or is one of lrpath's."""
        if name in self._near.all_subtasks:
            return True
        if name not in self._near.all_groups or name in of:
            return False
        members = (self._near.task_index[name].cfg or {}).get("task")
        names = members if isinstance(members, list) else [members]
        return all(isinstance(one, str) and self._is_near(one, of=(*of, name)) for one in names)

    def check_known(self, names: Sequence[str]) -> None:
        """Raise if there is no task, group or tag of one of the names; none is loaded.

        Raises:
            ConfigError: With the nearest name.
        """
        for name in names:
            self._manager(name)

    def digest(self, name: str) -> str:
        """Return the digest of a task, group or tag: of everything that determines its figures besides the model.

        Raises:
            ConfigError: If there is no task of that name, or its documents cannot be read.
        """
        leaves, rules = sorted(self.leaf_digests(name).items()), self._rules[name]
        return _digest_of([leaves, rules] if rules else leaves)

    def leaf_digests(self, name: str) -> dict[str, str]:
        """Return the digest of every single task of a task, group or tag; raises as `digest`."""
        if name not in self._leaves:
            manager = self._manager(name)
            try:
                with _bars_on_terminals_alone():
                    loaded = manager.load([name])
                    self._rules[name] = _rules_of(loaded["groups"])
                    self._leaves[name] = {leaf: self._leaf_digest(task) for leaf, task in loaded["tasks"].items()}
            except Exception as error:  # whatever a task's loader raises: it reads files and the network
                reason = " ".join(str(error).split())[:300]
                fetched = isinstance(error, ConnectionError) or manager is not self._near
                advice = _WITHOUT_NETWORK if fetched else "correct its task file"
                text = f"task {name} cannot be loaded ({type(error).__name__}: {reason}); {advice}"
                raise ConfigError(text, field="tasks", value=name) from error
        return self._leaves[name]

    def _leaf_digest(self, task: Any) -> str:
        sources: set[str] = set()
        config = {
            entry.name: _plain(getattr(task.config, entry.name), sources)
            for entry in dataclasses.fields(task.config)
            if entry.name not in _NO_PART_OF_A_TASK
        }
        if not isinstance(task, ConfigurableTask):
            _plain(type(task), sources)
        asked = [self.version, self.settings.examples, self.settings.limit]
        documents = hashlib.sha256()
        for text in _documents(task, with_examples=bool(self.settings.examples or task.config.num_fewshot)):
            documents.update(text.encode())
        return _digest_of([asked, config, sorted(sources), documents.hexdigest()])

    def evaluate(self, model: pathlib.Path, name: str, *, device: str) -> TaskFigures:
        """Return the figures of an exported model on a task.

        They are those of `lm_eval --model hf --model_args pretrained=MODEL --tasks NAME`.

        Args:
            model: Folder of the model.
            name: The task, group or tag.
            device: Where it runs, as torch names it.

        Raises:
            ConfigError: If the harness cannot give the task to this model.
        """
        try:
            with _bars_on_terminals_alone(), _noted_cuts() as cuts:
                found = lm_eval.simple_evaluate(
                    model="hf",
                    model_args={"pretrained": str(model)},
                    tasks=[name],
                    task_manager=self._manager(name),
                    num_fewshot=self.settings.examples,
                    limit=self.settings.limit,
                    batch_size=self.settings.batch_size,
                    device=device,
                    log_samples=False,
                )
        except AssertionError as error:  # without a text, such as that of an answer that is longer than the window
            line = traceback.extract_tb(error.__traceback__)[-1].line
            text = f"task {name} cannot be given to this model: the harness stops where {line!r} does not hold"
            more = "Answers must fit into the window that the model was trained with. Choose another task"
            raise ConfigError(f"{text}. {more}", field="tasks", value=name) from error
        scores = list(_scores(found, self.leaf_digests(name), whole=self.digest(name)))
        finite = tuple(score for score in scores if math.isfinite(score.value))
        odd = tuple(score.tag for score in scores if score not in finite)
        return TaskFigures(scores=finite, not_finite=odd, is_cut=bool(cuts))


class _WithoutBars(io.TextIOBase):
    """Standard error without progress bars, which in a file are only lines; all else that is written is passed on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            shown = line.rpartition("\r")[2]  # what is left to be seen of a line that was drawn over
            if not _BAR.search(shown) and (shown.strip() or "\r" not in line):
                self._stream.write(f"{shown}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def end(self) -> None:
        """Write what was begun without an end of the line."""
        if self._begun:
            self.write("\n")


@contextlib.contextmanager
def _bars_on_terminals_alone() -> Iterator[None]:
    """Leave out the harness's progress bars where they are not drawn over each other; no setting turns all of them off.

    What else tasks and packages write to standard error, warnings for example, stays.
    """
    if sys.stderr.isatty():
        yield
        return
    stream = _WithoutBars(sys.stderr)
    with contextlib.redirect_stderr(stream):
        try:
            yield
        finally:
            stream.end()


class _Cuts(logging.Handler):
    """Notes what the harness says of requests that it cuts; prints its errors, and nothing else."""

    def __init__(self, cuts: list[str]) -> None:
        super().__init__()
        self._cuts = cuts

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR and logging.lastResort is not None:
            logging.lastResort.handle(record)
        elif "truncat" in (message := record.getMessage().lower()):
            self._cuts.append(message)


@contextlib.contextmanager
def _noted_cuts() -> Iterator[list[str]]:
    """Return what the harness warns of while the block runs: requests longer than the window, cut on their left."""
    cuts: list[str] = []
    handler, level, propagates = _Cuts(cuts), _LOGGER.level, _LOGGER.propagate
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.WARNING)
    _LOGGER.propagate = False
    try:
        yield cuts
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)
        _LOGGER.propagate = propagates


def _rules_of(groups: Mapping[str, Any]) -> list[Any]:
    """Return how groups make figures of those of their tasks, as plain data; nothing of groups that make none."""
    sources: set[str] = set()
    rules = [
        [name, sorted(group.child_names), _plain(group.aggregate_metric_list, sources)]
        for name, group in sorted(groups.items())
        if group.aggregate_metric_list
    ]
    return [*rules, sorted(sources)] if rules else []


def _plain(value: Any, sources: set[str]) -> Any:
    """Return a setting of a task as plain data; of the functions that it names, the whole files join the sources."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name), sources) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, sources) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, sources) for entry in value]
    if isinstance(value, Callable):  # type: ignore[arg-type]
        _add_source(value, sources)
        return getattr(value, "__qualname__", type(value).__qualname__)
    return value if value is None or isinstance(value, str | int | float | bool) else str(type(value))


def _add_source(value: Any, sources: set[str]) -> None:
    try:
        file = inspect.getsourcefile(value)
    except TypeError:  # made by C, or an object that can be called
        file = None
    if file is not None and pathlib.Path(file).is_file():
        sources.add(digest_file(pathlib.Path(file)))


def _documents(task: Any, *, with_examples: bool) -> Iterator[str]:
    """Yield the documents of a task as text; of what is no plain data, such as an image, its type alone."""
    parts = [task.eval_docs, *([task.fewshot_docs()] if with_examples else [])]
    for documents in parts:
        for document in documents:
            yield json.dumps(document, sort_keys=True, default=lambda other: type(other).__qualname__) + "\n"
        yield "\n"


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _scores(found: Mapping[str, Any], leaves: Mapping[str, str], *, whole: str) -> Iterator[TaskScore]:
    """Yield the figures in what the harness returns, `results[task]["acc,none"]` beside `"acc_stderr,none"`."""
    sizes = {task: int(size["effective"]) for task, size in found["n-samples"].items()}
    for task, figures in (found["results"] | found.get("groups", {})).items():
        better = found["higher_is_better"].get(task, {})
        for key, value in figures.items():
            metric, comma, done = key.partition(",")
            if not comma or metric.endswith("_stderr") or isinstance(value, str):
                continue
            error = figures.get(f"{metric}_stderr,{done}")
            known = isinstance(error, int | float) and math.isfinite(error)
            yield TaskScore(
                task=task,
                metric=metric,
                filter=done,
                value=float(value),
                standard_error=float(error) if known else None,
                documents=sizes.get(task, sum(sizes.values())),
                examples=int(found["n-shot"].get(task, 0)),
                higher_is_better=better.get(metric),
                digest=leaves.get(task, whole),
            )
