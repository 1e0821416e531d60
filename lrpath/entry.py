"""How every entry begins: Hydra composes the configuration, and an error is one message and an exit code.

What is refused on purpose, by lrpath, by Hydra or by the file system, is one line on standard error and an exit code of
`lrpath.errors`. Anything else is a fault of ours and keeps its traceback. `HYDRA_FULL_ERROR=1` shows every traceback.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lrpath.config.checked_hydra import check_composed_configurations
from lrpath.config.schema import conf_folder
from lrpath.config.typed import suggestion
from lrpath.errors import ConfigError, LrpathError, StoppedError, is_reported
from lrpath.training.distributed import signals

_FULL_ERROR = "HYDRA_FULL_ERROR"
_PLUGINS = str(Path(__file__).parent / "sweep" / "plugin")
_given: dict[str, str] = {}


def run(task: Callable[[DictConfig], None], *, config_name: str) -> None:
    """Compose `config_name` with the command line's overrides and run the task with it.

    An error that was foreseen is printed to standard error without a traceback; the process then exits with its code.
    """
    wants_traceback = os.environ.get(_FULL_ERROR) == "1"
    _given.clear()
    _given.update(os.environ)
    if _PLUGINS not in sys.path:
        sys.path.append(_PLUGINS)  # where Hydra finds the launcher of `lrpath.sweep`
    composing = True

    def guarded(cfg: DictConfig) -> None:
        nonlocal composing
        composing = False
        with _full_error("1" if wants_traceback else None):
            try:
                with signals.raised():
                    task(cfg)
            except BrokenPipeError:
                _end_quietly()
            except (LrpathError, OSError) as error:
                if wants_traceback:
                    raise
                sys.stdout.flush()
                refuse(error)
        composing = True  # the next job of a sweep

    guarded.__module__ = task.__module__
    try:
        folder = str(conf_folder())
        check_composed_configurations()
        with _full_error("1"):  # so that Hydra raises what it would print, over several lines
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


def refuse(error: Exception) -> NoReturn:
    """Print an error as one line on standard error, once for all ranks if they share it, and exit with its code."""
    if not is_reported(error):
        rank = os.environ.get("RANK", "0")
        place = "" if rank == "0" else f"[rank {rank}] "
        print(f"{place}error: {_message(error)}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(error.exit_code if isinstance(error, LrpathError) else ConfigError.exit_code)


def _message(error: Exception) -> str:
    if isinstance(error, LrpathError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error.missing_cfg_file, error.options or ())
    if isinstance(error, OverrideParseException):
        reason = error.message.removeprefix(f"Error parsing override '{error.override}'\n").splitlines()[0]
        return f"{error.override} on the command line cannot be read ({reason}); write 'field=value', quoted as here"
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror}; choose another place or correct it"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig) and cause.full_key:
        return _no_field(cause.full_key, cause.parent_node)
    lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line) + f"; correct the command line: {' '.join(sys.argv[1:])}"


def _no_option(file: str, found: Sequence[str]) -> str:
    """Return the message about a group's option that does not exist; Hydra's own leaves out those in subfolders."""
    group, _, rest = file.partition("/")
    ours = conf_folder() / group
    nested = [path.relative_to(ours).with_suffix("").as_posix() for path in ours.rglob("*.yaml")]
    options = sorted({*nested, *(found if "/" not in rest else ())})
    if not options:
        return f"{file} is no file of {conf_folder()}; correct its name, or give its folder with --config-dir"
    return f"{group}={rest} is no option{suggestion(rest, options)}; choose one of {', '.join(options)}"


def _no_field(name: str, parent: DictConfig) -> str:
    known = sorted(str(key) for key in parent if key != "hydra")
    if not known:
        place = name.rpartition(".")[0]
        return (
            f"{name} is no field here: {place} is empty or filled from another field; set that one, or add to an empty "
            f"one with a plus: +{name}=…"
        )
    last = name.rsplit(".", 1)[-1]
    return (
        f"{name} is no field here{suggestion(last, known)}; there are {', '.join(known)}. "
        f"A field that has a default and is not listed is added with a plus: +{name}=…"
    )
