"""A paradigm of your own: a function from versions to a tree of paths, or a class with a method `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.own_code import OWN, OwnCode, find_code, is_own, own_settings
from lrpath.planning.paradigms.setting import Setting
from lrpath.planning.paths import Tree
from lrpath.planning.plain import as_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnParadigm:
    """A paradigm of your own, as plain data; its code is needed to plan with it, and for nothing else.

    What it does is in the paths that it gives: their rates, forks and data. So no digest of its source is part of an
    id, and a paradigm that was rewritten, or of another name, trains nothing again that has the same paths.

    Args:
        name: `module:Name` of a function that takes a `Setting` and the settings, or of a class that takes the settings
            and whose method `plan` takes a `Setting`; both return a `Tree`.
        settings: Its settings as plain data, defaults filled in.
    """

    kind: ClassVar[str] = OWN
    colour: ClassVar[str] = "#000000"
    rate_continues: ClassVar[bool] = False
    data_continues: ClassVar[bool] = False
    advisable: ClassVar[tuple[str, ...]] = ()
    name: str
    settings: Mapping[str, Any]

    @classmethod
    def is_meant(cls, value: Mapping[str, Any]) -> bool:
        """Say whether plain data describe one."""
        return is_own(value.get("kind"), group="paradigms")

    @classmethod
    def of_own_code(cls, value: Mapping[str, Any], *, place: str) -> "OwnParadigm":
        """Return the paradigm that a configuration describes: `kind`, and its settings.

        Raises:
            ConfigError: If it is not found, is a class without `plan`, or refuses a setting.
        """
        code = find_code(value["kind"], group="paradigms", field=f"{place}.kind")
        if isinstance(code.value, type):
            code.check_has("plan", what="a paradigm", field=f"{place}.kind")
        given = {name: entry for name, entry in value.items() if name != "kind"}
        return cls(name=code.name, settings=as_plain(_settings(code, given, place=place)))

    def plan(self, setting: Setting) -> Tree:
        """Return the tree that your code gives.

        Raises:
            ConfigError: If it raises something, or what it returns is no tree with one release of each version.
        """
        code = find_code(self.name, group="paradigms", field="kind")
        settings = _settings(code, self.settings, place="")
        try:
            is_class = isinstance(code.value, type)
            tree = code.value(**settings).plan(setting) if is_class else code.value(setting, **settings)
        except LrpathError:
            raise
        except Exception as error:  # whatever the first line of it that fails raises
            text = f"{self.name} raised {type(error).__name__}: {' '.join(str(error).split())[:200]}; correct its code"
            raise ConfigError(text, field="kind", value=self.name) from error
        if not isinstance(tree, Tree):
            found = f"{self.name} returned an object of type {type(tree).__name__}"
            text = f"{found}, which must be a Tree: Tree(paths=…, releases=…)"
            raise ConfigError(text, field="kind", value=self.name)
        wanted = [(setting.label, increment.version) for increment in setting.increments]
        there = [(release.paradigm, release.version) for release in tree.releases]
        if sorted(there) != sorted(wanted):
            text = f"{self.name} releases {_written(there)}, which must be {_written(wanted)}"
            raise ConfigError(f"{text}; make them by setting.release", field="kind", value=self.name)
        return tree


def _settings(code: OwnCode, given: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    return own_settings(code, given, given=("self", "setting"), field=place)


def _written(releases: list[tuple[str, str]]) -> str:
    return ", ".join(f"{paradigm}/{version}" for paradigm, version in releases) or "nothing"
