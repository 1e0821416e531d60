"""A model of your own, as plain data: the name and settings of a function or class that makes a `torch.nn.Module`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from lrpath.errors import ConfigError
from lrpath.planning.own_code import OWN, find_code, is_own, own_settings, takes
from lrpath.planning.plain import convert

_OURS = {"vocab_size": int, "context": int, "stated_parameters": int | None}
"""What every model of a configuration has; the first two are given to your code if it has such a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """A model of your own; `lrpath.models.own_model` says what it must be.

    Args:
        name: Qualified name of the class or function inside its module.
        code: Digest of its source; see `lrpath.planning.own_source`.
        settings: Its arguments, defaults filled in.
        vocab_size: Token ids that it must know [tokens].
        context: Longest window that it is given [tokens].
        stated_parameters: Count of parameters, which a plan without torch cannot know; None leaves cost in FLOPs and
            states in bytes unknown until it is trained.
        reference: `module:Name`, for training; no part of an id, since code may move.
    """

    kind: ClassVar[str] = OWN
    name: str
    code: str
    settings: Mapping[str, Any]
    vocab_size: int
    context: int
    stated_parameters: int | None
    reference: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "stated_parameters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"model.{name}={value} must be at least 1", field=f"model.{name}", value=value)

    @classmethod
    def is_meant(cls, value: Mapping[str, Any]) -> bool:
        """Say whether plain data describe one."""
        return is_own(value.get("kind"), group="models")

    @classmethod
    def of_own_code(cls, value: Mapping[str, Any], *, place: str) -> "OwnModel":
        """Return the model that a configuration describes: `kind`, what every model has, and its settings.

        Raises:
            ConfigError: If it is not found, or refuses a setting.
        """
        code = find_code(value["kind"], group="models", field=f"{place}.kind")
        if missing := next((name for name in _OURS if name not in value), None):
            text = f"{place}.{missing} is missing; give it a value: {place}.{missing}=…"
            raise ConfigError(text, field=f"{place}.{missing}")
        ours = {name: convert(hint, value[name], place=f"{place}.{name}") for name, hint in _OURS.items()}
        passed = {name: ours[name] for name in ("vocab_size", "context") if takes(code, name)}
        given = {name: entry for name, entry in value.items() if name not in ("kind", *_OURS)}
        settings = own_settings(code, passed | given, given=("self",), field=place)
        return cls(reference=code.name, name=code.value.__qualname__, code=code.digest, settings=settings, **ours)

    @property
    def family(self) -> str:
        """What tables call it."""
        return self.name

    @property
    def weights(self) -> None:
        """No folder: its weights are drawn from the seed."""
        return

    @property
    def parameters(self) -> int | None:
        """What was stated, or None."""
        return self.stated_parameters

    def as_record(self) -> dict[str, Any]:
        """Return what determines the numbers of the model besides its seed, as plain data for path ids."""
        record = asdict(self) | {"family": OWN}
        return {name: record[name] for name in ("family", "name", "code", "settings", "vocab_size")}
