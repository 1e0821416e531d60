"""Names the settings in which series differ, as a person would: `alpha=0.6`, `vocab 320`, `30M parameters`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lrpath.planning.lineage import content_id
from lrpath.planning.plain import as_plain
from lrpath.planning.plan import Plan
from lrpath.planning.units import write_count

SEEDS = ("seed", "seed.weights", "seed.order")
"""Settings that tell runs of one setting apart."""
Settings = dict[str, Any]
"""What a paradigm and its recipe were given, flat, by dotted field name."""

LONGEST_VALUE = 24
"""A value that takes more letters than this is named by a digest."""

Chain = TypeVar("Chain", bound=tuple[object, ...])
Text = tuple[tuple[str | None, Any], ...]
"""Of each increment in turn, the digest of its tokens, and the weights of its domains."""


def settings_of(rivals: Sequence[tuple[Plan, str]]) -> list[Settings]:
    """Return what each paradigm of a plan and its recipe were given.

    The text is equal where one of two plans goes on with what the other has read.
    """
    texts = [tuple((one.content, one.mixture) for one in plan.increments) for plan, _ in rivals]
    longest = longest_by_chain(texts)
    names = _text_names(set(longest.values()))
    return [_settings(*rival) | {"text": names[longest[text]]} for rival, text in zip(rivals, texts, strict=True)]


def _text_names(texts: Collection[Text]) -> dict[Text, str]:
    """Name each text by the digests of the increments in which texts differ, which the report's setup has too."""
    names: dict[Text, list[str]] = {text: [] for text in texts}
    for place in range(max(map(len, texts), default=0)):
        found = {text: text[place] for text in texts if len(text) > place}
        if len(set(found.values())) > 1:
            is_content = len({content for content, _ in found.values()}) > 1
            for text, (content, mixture) in found.items():
                digest = content if is_content else content_id(mixture)
                names[text].append("unknown" if digest is None else digest[:6])
    return {text: "/".join(parts) for text, parts in names.items()}


def longest_by_chain(chains: Iterable[Chain]) -> dict[Chain, Chain]:
    """Return, by chain, the longest that begins with it."""
    longest = sorted(set(chains), key=len, reverse=True)
    return {chain: next(other for other in longest if other[: len(chain)] == chain) for chain in longest}


def _settings(plan: Plan, paradigm: str) -> Settings:
    recipe = plan.part(paradigm).paths[0].recipe.as_record()
    sizes = [increment.updates for increment in plan.increments]
    updates = sizes[0] if len(set(sizes)) == 1 else sizes
    own = {"model": plan.model_name, "increment_updates": updates, "parameters": plan.parameters}
    return _flat(as_plain(plan.paradigms[paradigm])) | _flat(recipe) | own


def _flat(record: Mapping[str, Any], at: str = "") -> Settings:
    flat: Settings = {}
    for key, value in record.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": _as_one(value)}
    return flat


def _as_one(value: Any) -> Any:
    """Return the number that a list repeats, one for each version, for it is the setting of all; else the value.

    >>> _as_one([0.2, 0.2, 0.2]), _as_one([0.2, 0.4]), _as_one("own")
    (0.2, [0.2, 0.4], 'own')
    """
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(one, int | float) for one in value):
        return value
    return value[0] if value.count(value[0]) == len(value) else value


def differing_fields(rivals: Sequence[Settings]) -> list[str]:
    """Return the fields that differ between rivals; sizes of the model only where they are needed to tell them apart.

    The number of parameters says most about a size, so widths and depths come after it.
    """
    known = dict.fromkeys(key for settings in rivals for key in settings)
    differing = [key for key in known if any(other.get(key) != rivals[0].get(key) for other in rivals)]
    if "model.vocab_size" in differing:  # another size is another tokenizer, and other tokens, and says it better
        differing = [key for key in differing if key not in ("data.tokenizer", "text")]
    sizes = [key for key in differing if key.startswith("model.") and key != "model.vocab_size"]
    fields = [key for key in differing if key not in sizes and key != "parameters"]
    for more in (["parameters"], sizes):
        if _kinds(rivals, fields) < _kinds(rivals, differing):
            fields += [key for key in more if key in differing]
    return fields


def _kinds(rivals: Sequence[Settings], fields: Sequence[str]) -> int:
    """Return how many rivals some fields tell apart; runs that differ in their seed are one."""
    return len({str([settings.get(key) for key in fields if key not in SEEDS]) for settings in rivals})


def sort_key(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts numbers by size and before anything else."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def labelled(name: str, settings: Settings) -> str:
    """Return a name extended by some settings.

    >>> labelled("path_switching", {"alpha": 0.6, "data.tokenizer.vocab_size": 320})
    'path_switching (alpha=0.6, vocab 320)'
    >>> labelled("main", {"growth": [[2000, 64]]})
    'main (batch 64 from 2000)'
    """
    last = [_last(key) for key in settings]
    short = {key: _last(key) if last.count(_last(key)) == 1 else key for key in settings}
    texts = dict.fromkeys(_phrase(key, value, short=short[key]) for key, value in settings.items())
    return f"{name} ({', '.join(texts)})" if texts else name


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _phrase(key: str, value: Any, *, short: str) -> str:
    """Write one setting: fields that people type as `name=value` so, others in a person's words."""
    if key == "parameters":
        return "unknown size" if value is None else f"{write_count(value)} parameters"
    if key == "increment_updates":
        return f"{_text(value)} updates an increment"
    if _last(key) == "vocab_size":
        return f"vocab {_text(value)}"
    if key == "growth" and isinstance(value, list) and all(isinstance(one, list) for one in value):  # of a recipe
        steps = ", ".join(f"{sequences} from {position}" for position, sequences in value)
        return f"batch {_text(steps)}"
    if key == "text":  # digests already, as the report's setup has them
        return f"text {value}"
    if key.startswith(("data.source.", "data.first_increment.")) and _last(key) != "kind":
        return f"text {_text(value)}"
    return f"{short}={_text(value)}"


def _text(value: Any) -> str:
    """Write a value in a few letters; what would take more is named by a digest, so that two stay apart."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        names = [one.get("name") if isinstance(one, dict) else one for one in value]
        whole = " ".join("?" if one is None else _text(one) for one in names)
        return whole if 0 < len(whole) <= LONGEST_VALUE and None not in names else content_id(value)[:6]
    return str(value) if len(str(value)) <= LONGEST_VALUE else content_id(value)[:6]
