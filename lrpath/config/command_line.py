"""What Hydra, OmegaConf and the file system refuse, as an error of ours: one line with the field and what to type."""

import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.config import schema
from lrpath.errors import ConfigError, LrpathError, StoppedError
from lrpath.planning.field_names import nearest, unknown_field
from lrpath.planning.plain import field_names_at


def extra_of(error: ModuleNotFoundError) -> str | None:
    """Return the extra of this package that brings the module that is missing, or None if none does.

    The package's own metadata say which, so that pyproject.toml is the only place that does.

    >>> extra_of(ModuleNotFoundError(name="torch.nn")), extra_of(ModuleNotFoundError(name="lrpath.typo"))
    ('train', None)
    >>> extra_of(ModuleNotFoundError(name="mlflow"))
    'mlflow'
    """
    missing = (error.name or "").partition(".")[0]
    brings = _extras()
    # A package may be named by its module and more, as mlflow-skinny is. Some extras bring all of another one; the
    # smallest is meant.
    having = [
        extra for extra in brings if any(one == missing or one.startswith(f"{missing}_") for one in brings[extra])
    ]
    return min(having, key=lambda extra: len(brings[extra]), default=None)


def _extras() -> dict[str, set[str]]:
    """Return the extras of this package and the packages that each brings, named as modules are, with underscores."""
    try:
        requirements = requires("lrpath") or []
    except PackageNotFoundError:  # run from a checkout that was never installed
        return {}
    brings: dict[str, set[str]] = defaultdict(set)
    for requirement in requirements:
        found = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", requirement)
        if found is not None:
            brings[found[2]].add(found[1].replace("-", "_"))
    return brings


def as_lrpath_error(error: Exception) -> LrpathError:
    """Return an error that was foreseen as one of the family; one of another origin is a `ConfigError`."""
    if isinstance(error, LrpathError):
        return error
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error)) is not None:
        return ConfigError(f"this needs {error.name}; install it: pip install 'lrpath[{extra}]'", value=error.name)
    if type(error).__module__.startswith("submitit.") and type(error).__name__ == "UncompletedJobError":
        return _job_without_result(str(error))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(error.missing_cfg_file, error.options or ())
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{error.filename}: "
        return ConfigError(f"{place}{error.strerror}; choose another place or correct it", value=error.filename)
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig) and cause.full_key:
        return _unknown_field(cause.full_key, cause.parent_node)
    if (group := re.match(r"Could not override '([^']+)'", str(error))) is not None:
        return _unknown_group(group[1])
    lines = [line.strip().rstrip(".") for line in str(error).splitlines()]
    said = "; ".join(line for line in lines if line) or f"{type(error).__name__}, see HYDRA_FULL_ERROR=1"
    return ConfigError(f"{said}; correct the command line: {shlex.join(sys.argv[1:])}")


def _job_without_result(text: str) -> StoppedError:
    """Return the error about a job of submitit that was stopped, or killed: others leave their error as a result.

    Args:
        text: What submitit says: the file in which it looked for the result, the job's state, and its standard error.
    """
    found = re.search(r"^Job (\S+).* with path (\S+)/[^/\n]*\n.*\(state: (.*)\)", text)
    job, folder, state = found.groups() if found else ("of this sweep", "the folder of submitit", "unknown")
    reasons = re.findall(r"^error: (.*)$", text, flags=re.MULTILINE)
    reason = reasons[-1] if reasons else "what was saved is whole; run the same command again to go on"
    return StoppedError(f"job {job} has ended without a result (state {state}; its output is in {folder}): {reason}")


def _unreadable(error: OverrideParseException) -> ConfigError:
    """Return the error about an override that Hydra cannot parse, for example a path with letters outside of ASCII."""
    given = str(error.override)
    field, equals, value = given.partition("=")
    reason = error.message.removeprefix(f"Error parsing override '{given}'\n").splitlines()[0]
    parts = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else None
    inside = ",".join(_quoted(part) for part in parts) if parts is not None else _quoted(value)
    quoted = f"{field}=[{inside}]" if parts is not None else f"{field}={inside}"
    try:
        OverridesParser.create().parse_override(quoted)
    except HydraException:
        quoted = ""
    if equals and value and quoted and not set(inside) & set("[]{}"):  # a bracket that is not closed is a slip
        text = f"{given} on the command line cannot be read ({reason}); write {shlex.quote(quoted)}"
    else:
        text = f"{given} on the command line cannot be read ({reason}); write it as 'field=value'"
    return ConfigError(text, field=field, value=value)


def _quoted(value: str) -> str:
    """Return a value as Hydra reads any text: in double quotes."""
    inside = value.strip()
    inside = inside[1:-1] if inside[:1] == inside[-1:] == '"' and len(inside) > 1 else inside
    return '"' + inside.replace('"', '\\"') + '"'


def _unknown_group(name: str) -> ConfigError:
    """Return the error about a group that the defaults of the root do not list."""
    given = next((text for text in sys.argv[1:] if text.startswith(f"{name}=")), f"{name}=…")
    value = given.partition("=")[2]
    groups = sorted(folder.name for folder in schema.conf_folder().iterdir() if folder.is_dir())
    if name in groups:
        text = f"group {name} has no option yet, so one must be added, with a plus: {shlex.quote('+' + given)}"
        return ConfigError(text, field=name, value=value)
    known = [*groups, "schedule@branch"]
    return ConfigError(
        f"unknown group '{name}'{nearest(name, known) or '.'} Known groups: {', '.join(known)}", field=name, value=value
    )


def _unknown_option(file: str, found: Sequence[str]) -> ConfigError:
    """Return the error about a group's option that does not exist; Hydra's own leaves out those in subfolders."""
    group, _, name = file.partition("/")
    if group == "hydra" and "/" in name:  # a group within a group: hydra/launcher
        group, _, name = file.rpartition("/")
    conf = schema.conf_folder()
    nested = [path.relative_to(conf / group).with_suffix("").as_posix() for path in (conf / group).rglob("*.yaml")]
    options = sorted({*nested, *(found if "/" not in name else ())})
    if not options:
        return ConfigError(f"{file} is not a file of {conf}; correct its name, or give its folder with --config-dir")
    begin = name.partition("_")[0]  # of submitit_local and submitit_slurm
    extra = extra_of(ModuleNotFoundError(name=f"hydra_{begin}_{group.rpartition('/')[2]}"))
    if extra is not None and not any(option.startswith(begin) for option in options):
        text = f"{group}={name} needs a plugin of Hydra; install it: pip install 'lrpath[{extra}]'"
        return ConfigError(text, field=group, value=name)
    meant = nearest(name, options) or "."
    return ConfigError(f"unknown option {group}={name}{meant} Options: {', '.join(options)}", field=group, value=name)


def _unknown_field(name: str, parent: DictConfig) -> ConfigError:
    """Return the error about a field that the composed configuration does not have."""
    place, _, last = name.rpartition(".")
    given = next((text for text in sys.argv[1:] if text.startswith(f"{name}=")), f"{name}=…")
    value = given.partition("=")[2]
    if (source := _filled_from(place)) is not None:
        text = f"{name} cannot be set, since {place} is filled from {source}; set {source}.{last}={value}"
        return ConfigError(text, field=name, value=value)
    root = OmegaConf.to_container(parent._get_root(), resolve=False)
    optional = field_names_at((schema.Config, schema.SharedConfig), root, place)
    known = [str(key) for key in parent if key != "hydra"]
    if last in optional or (not known and not optional):
        text = f"{name} has no value yet, so it must be added, with a plus: {shlex.quote('+' + given)}"
        return ConfigError(text, field=name, value=value)
    return ConfigError(unknown_field(last, {*known, *optional}, place=place), field=name, value=value)


def _filled_from(place: str) -> str | None:
    """Return the field that a place is filled from, `branch` for `decay: ${branch}`, or None if values stand there.

    Hydra has replaced what stood there by the time it refuses a field, so the configuration is composed once more,
    without the values that were given.
    """
    groups = [text for text in sys.argv[1:] if not text.startswith("-") and "." not in text.partition("=")[0]]
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(schema.conf_folder())):
            value: Any = OmegaConf.to_container(compose("config", overrides=groups), resolve=False)
    except Exception:  # whatever else is wrong with the command line; this is only for advice
        return None
    for name in place.split(".") if place else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    filled = isinstance(value, str) and value.startswith("${") and value.endswith("}") and ":" not in value
    return value[2:-1] if isinstance(value, str) and filled else None
