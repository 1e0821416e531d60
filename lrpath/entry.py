"""How every entry begins: Hydra composes the configuration, and an error is one message and an exit code.

What is refused on purpose, by lrpath, by Hydra or by the file system, is one line on standard error and an exit code of
`lrpath.errors`. Anything else is a fault of ours and keeps its traceback. `HYDRA_FULL_ERROR=1` shows every traceback.
"""

import gc
import io
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lrpath.config.checked_hydra import check_composed_configurations
from lrpath.config.command_line import as_lrpath_error, extra_of
from lrpath.config.schema import conf_folder
from lrpath.errors import LrpathError, StoppedError, is_reported
from lrpath.training.distributed import signals

_FULL_ERROR = "HYDRA_FULL_ERROR"
_PLUGINS = str(pathlib.Path(__file__).parent / "sweep" / "plugin")
_given: dict[str, str] = {}


def run(task: Callable[[DictConfig], Any], *, config_name: str) -> None:
    """Compose `config_name` with the command line's overrides and run the task with it; a sweeper gets what it returns.

    An error that was foreseen is printed to standard error without a traceback; the process then exits with its code.
    """
    wants_traceback = os.environ.get(_FULL_ERROR) == "1"
    _print_to_any_terminal()
    _given.clear()
    _given.update(os.environ)
    if _PLUGINS not in sys.path:
        sys.path.append(_PLUGINS)  # where Hydra finds the launcher of `lrpath.sweep`
    composing = True

    def guarded(cfg: DictConfig) -> Any:
        nonlocal composing
        composing = False
        with _full_error("1" if wants_traceback else None):
            try:
                with signals.raise_on_signal():
                    result = task(cfg)
            except BrokenPipeError:  # an OSError, but `lrpath.plan … | head` is no reason for an error message
                _end_quietly()
            except (LrpathError, OSError, ModuleNotFoundError) as error:
                if wants_traceback or (isinstance(error, ModuleNotFoundError) and extra_of(error) is None):
                    raise
                _refuse_task(error)
        composing = True  # the next job of a sweep
        return result

    guarded.__module__ = task.__module__  # from which Hydra takes the name of the job and where conf/ is looked for
    try:
        folder = str(conf_folder())
        check_composed_configurations()
        with _full_error("1"), _composed_once():  # so that Hydra raises what it would print, over several lines
            hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(guarded)()
    except BrokenPipeError:
        _end_quietly()
    except KeyboardInterrupt:
        refuse(StoppedError("stopped; what was saved is whole: run the same command again to go on"))
    except Exception as error:
        if wants_traceback or not composing:
            raise
        refuse(error)


def given_environment() -> dict[str, str]:
    """Return the environment that this command was started in, for another that it starts in its place."""
    return dict(_given)


def runs_beside_others() -> bool:
    """Say whether this is a job of a sweep whose launcher may run others meanwhile, as joblib's and submitit's do."""
    if not HydraConfig.initialized():
        return False
    hydra_config = HydraConfig.get()
    return hydra_config.mode == RunMode.MULTIRUN and not hydra_config.launcher._target_.endswith(".BasicLauncher")


def _print_to_any_terminal() -> None:
    """Have `?` printed for a letter that the terminal's encoding lacks: it must not end a run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def lasting() -> Iterator[None]:
    """Import in the block what stays until the process ends, such as torch.

    The garbage collector waits meanwhile and afterwards leaves out what is there: going through all of torch at the end
    of every run takes longer than a short run. Only the first block in a process does that, so that what later jobs
    of a sweep leave behind is still found.
    """
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
        gc.enable()


@contextmanager
def _composed_once() -> Iterator[None]:
    """Keep Hydra from composing the configuration twice, the first time only to look up `hydra.mode`.

    That takes as long as all of a plan. It is needed if some argument is about Hydra, or other files than ours are
    read, which may set the mode; no file of conf/ does (a test reads them).
    """
    given = [text for text in sys.argv[1:] if "hydra" in text or text.startswith(("--config", "-c"))]
    if given:
        yield
        return
    original = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]  # then -m and its absence decide
    try:
        yield
    finally:
        Hydra.get_mode = original  # type: ignore[method-assign]


@contextmanager
def _full_error(value: str | None) -> Iterator[None]:
    """Set or unset Hydra's variable while the block runs; what the task starts must not inherit our own setting."""
    before = os.environ.pop(_FULL_ERROR, None)
    if value is not None:
        os.environ[_FULL_ERROR] = value
    try:
        yield
    finally:
        os.environ.pop(_FULL_ERROR, None)
        if before is not None:
            os.environ[_FULL_ERROR] = before


def _end_quietly() -> NoReturn:
    """Exit after the reader of our output has gone (`… | head`); what is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def _refuse_task(error: Exception) -> NoReturn:
    """End with an error of the task. For a job of submitit, it is the result that the command which waits prints too.

    A job that was stopped leaves no result, since it may be started again.
    """
    sys.stdout.flush()
    if "SUBMITIT_EXECUTOR" not in os.environ or not runs_beside_others() or isinstance(error, StoppedError):
        refuse(error)
    known = _printed(error)
    vars(known).pop("reported", None)  # by a rank of the job, which is not where the other command prints
    raise known from None


def refuse(error: Exception) -> NoReturn:
    """Print an error as one line on standard error, once for all ranks if they share it, and exit with its code."""
    known = _printed(error)
    raise SystemExit(known.exit_code) from known


def _printed(error: Exception) -> LrpathError:
    known = as_lrpath_error(error)
    if not is_reported(error):
        rank = os.environ.get("RANK", "0")
        place = "" if rank == "0" else f"[rank {rank}] "
        print(f"{place}error: {known}", file=sys.stderr, flush=True)  # noqa: T201
    return known
