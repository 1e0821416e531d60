"""A source of text of your own: a function, or a class with a method `texts`, that gives the texts of a version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lrpath.data.manifest import is_name
from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, checked_text, split_of, text_digest
from lrpath.errors import ConfigError, DataError, LrpathError
from lrpath.planning.lineage import canonical
from lrpath.planning.own_code import OWN, call, find_code, is_own, own_settings
from lrpath.planning.plain import convert


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSource:
    """Text that code of yours gives.

    What counts is the text, as of every source: ids follow from its tokens. Name, source and settings only say which
    stored tokens are those of a version, so that its text is not asked for again. Where the same code may give other
    texts later, because it reads a file or a table, a method `fingerprint(number)` says which.

    Args:
        name: Qualified name of the function or class inside its module.
        code: Digest of its source; see `lrpath.planning.own_source`.
        settings: Its arguments besides the version's number.
        heldout: How large the held-out sets are; a record's own `split` goes first.
        reference: `module:Name`.
    """

    kind: ClassVar[str] = OWN
    name: str
    code: str
    settings: Mapping[str, Any]
    heldout: HeldOutSettings
    reference: str | None = field(default=None, compare=False)

    @classmethod
    def is_meant(cls, value: Mapping[str, Any]) -> bool:
        """Say whether plain data describe one."""
        return is_own(value.get("kind"), group="sources")

    @classmethod
    def of_own_code(cls, value: Mapping[str, Any], *, place: str) -> "OwnSource":
        """Return the source that a configuration describes: `kind`, `heldout`, and its settings.

        Raises:
            ConfigError: If it is not found, is a class without `texts`, or refuses a setting.
        """
        code = find_code(value["kind"], group="sources", field=f"{place}.kind")
        if isinstance(code.value, type):
            code.check_has("texts", what="a source", field=f"{place}.kind")
        if "heldout" not in value:
            raise ConfigError(f"{place}.heldout is missing; choose data=own, which has it", field=f"{place}.heldout")
        heldout = convert(HeldOutSettings, value["heldout"], place=f"{place}.heldout")
        given = {name: entry for name, entry in value.items() if name not in ("kind", "heldout")}
        settings = own_settings(code, given, given=("self", "number"), field=place)
        return cls(
            reference=code.name, name=code.value.__qualname__, code=code.digest, settings=settings, heldout=heldout
        )

    def spec(self) -> dict[str, Any]:
        """Return what identifies the text of every increment, as plain data."""
        # As text: the catalog leaves out fields by names such as `paths`, which here may say anything.
        settings = canonical(dict(self.settings))
        return {"kind": OWN, "name": self.name, "code": self.code, "settings": settings, "heldout": self.heldout.spec()}

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return what your code says of the text of one increment: its fingerprint, if it has one."""
        made = self._made()
        known = made.fingerprint(number) if hasattr(made, "fingerprint") else None
        return {"own_fingerprint": None if known is None else canonical(known)}

    def documents(self, arrival: Arrival) -> Iterator[Document]:
        """Yield the documents of an increment, in the order in which your code gives them.

        Raises:
            DataError: If it raises something, or gives something that is neither a text nor a record with `text`.
        """
        made = self._made()
        place = f"data.source.kind={self.reference}, {arrival.version}"
        try:
            is_class = hasattr(made, "texts")
            texts = made.texts(arrival.number) if is_class else made(arrival.number, **self.settings)
            for number, text in enumerate(texts):
                yield _document(text, arrival, place=f"{place}, text {number}")
        except LrpathError:
            raise
        except Exception as error:  # whatever your code raises
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise DataError(f"{place} raised {said}; correct its code", field="data.source.kind") from error

    def _made(self) -> Any:
        if self.reference is None:
            raise ConfigError(f"source {self.name} has no module; give data.source.kind=module:{self.name}")
        code = find_code(self.reference, group="sources", field="data.source.kind")
        return call(code, field="data.source", **self.settings) if isinstance(code.value, type) else code.value


def _document(text: Any, arrival: Arrival, *, place: str) -> Document:
    record = text if isinstance(text, Mapping) else {"text": text}
    if odd := sorted(set(record) - {"text", "domain", "split"}):
        raise DataError(f"{place} has fields {odd}; a record has `text`, and may have `domain` and `split`")
    domain = record.get("domain", "text")
    if not isinstance(domain, str) or not is_name(domain):
        raise DataError(f"{place}: domain must be a short name of letters, digits, `.`, `_`, `-`, not {domain!r}")
    words = checked_text(record.get("text"), place=place)
    return Document(
        text=words,
        version=arrival.version,
        domain=domain,
        declared=split_of(record["split"], place=place) if "split" in record else None,
        fingerprints=(text_digest(words),),
    )
