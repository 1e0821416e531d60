"""Writes and reads what lies beside the weights of a path: `lrpath.records.backbone` says which files."""

import pathlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, PreTrainedConfig

from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import StateError
from lrpath.models import CausalLM
from lrpath.planning.config_file import without_kernels
from lrpath.records.backbone import (
    BACKBONE,
    CONFIG,
    OWN_MODEL,
    TOKENIZER,
    TRAINING,
    check_backbone,
    record_backbone,
    recorded_backbone,
)
from lrpath.records.files import atomic_folder, read_json, write_json
from lrpath.records.path_folder import PathFolder

if TYPE_CHECKING:
    from lrpath.data.store import TokenStore

_SAMPLE_IDS = 256
_OLD_TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """What lies beside the weights of a path.

    Args:
        config: The model's configuration.
        tokenizer: The tokenizer of its store; None when only ids were given.
        end_id: Id of the mark that ends every document; None without a tokenizer.
        window: Tokens of a training window.
        sample: Ids of the training text; empty for a path of an earlier version.
        is_verified: Whether the files were compared with digests in the path's record, which earlier versions lack.
        document_end: Id of the mark behind which attention ends; None where a window is attended to as a whole.
    """

    config: PreTrainedConfig
    tokenizer: Tokenizer | None
    end_id: int | None
    window: int
    sample: tuple[int, ...]
    is_verified: bool
    document_end: int | None = None

    @property
    def end_mark(self) -> str | None:
        """The mark that ends every document."""
        return None if self.tokenizer is None or self.end_id is None else self.tokenizer.id_to_token(self.end_id)


def keep_backbone(folder: PathFolder, *, model: CausalLM, store: "TokenStore", window: int) -> None:
    """Write what makes a model of a path's weights into its folder, unless it is there; digests go into its record.

    A folder that an earlier version made, whose record has no digests, is made anew.

    Args:
        folder: The path's folder, which has a `path.json`.
        model: The model that is trained.
        store: The tokens that it is trained on.
        window: Tokens of a window.
    """
    place = folder.folder / BACKBONE
    if place.exists() and recorded_backbone(folder) is not None:
        return
    shutil.rmtree(place, ignore_errors=True)  # first: a kill must not leave old files beside new digests
    with atomic_folder(place) as files:
        model.save_config(files)
        if store.tokenizer_file is not None:
            shutil.copyfile(store.tokenizer_file, files / TOKENIZER)
        write_json(
            files / TRAINING,
            {"end_id": store.end_id, "window": window, "sample": _sample(store, min(window, _SAMPLE_IDS))},
        )
        record_backbone(folder, files)


def _sample(store: "TokenStore", length: int) -> list[int]:
    """Return the first ids of the first version, some hundred where it has as many."""
    version = store.versions[0]
    there = min(-(-_SAMPLE_IDS // length), store.windows(version, length))
    rows = store.gather(version, range(there), length)
    return [int(number) for row in rows for number in row[:-1]]


def read_backbone(folder: PathFolder) -> Backbone:
    """Return what lies beside the weights of a path, compared with the path's record.

    Raises:
        StateError: If a file is missing, altered or malformed.
    """
    place = folder.folder / BACKBONE
    if not (place / CONFIG).exists():
        raise StateError(f"{place / CONFIG} is missing; restore it from a copy, or run the plan again")
    is_verified = check_backbone(folder)
    config = read_config(place / CONFIG)
    tokenizer = read_tokenizer(place / TOKENIZER) if (place / TOKENIZER).exists() else None
    facts = read_json(place / TRAINING) if is_verified else _facts_of_earlier_versions(place, tokenizer, folder)
    return Backbone(
        config=config,
        tokenizer=tokenizer,
        end_id=facts["end_id"],
        window=facts["window"],
        sample=tuple(facts["sample"]),
        document_end=facts["end_id"] if folder.recipe()["data"].get("mask") == "document" else None,
        is_verified=is_verified,
    )


def _facts_of_earlier_versions(place: pathlib.Path, tokenizer: Tokenizer | None, folder: PathFolder) -> dict[str, Any]:
    end_id = None
    if tokenizer is not None and (place / _OLD_TOKENIZER_CONFIG).exists():
        end_id = tokenizer.token_to_id(str(read_json(place / _OLD_TOKENIZER_CONFIG).get("eos_token")))
    return {"end_id": end_id, "window": folder.recipe()["tokens_per_sequence"], "sample": ()}


def read_config(file: pathlib.Path) -> PreTrainedConfig:
    """Return a configuration that was written beside a path's weights; it chooses neither code nor kernels.

    Raises:
        StateError: If it is not one that the installed transformers knows.
    """
    content = read_json(file)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind == OWN_MODEL:
        raise StateError(
            f"{file} is of a model of your own, {content.get('name')}, and no study ever imports code; load its "
            'weights into your module in Python: lrpath.Study(…).load("v4", into=module)'
        )
    if kind not in CONFIG_MAPPING:
        raise StateError(f"{file} has model_type {kind!r}, unknown to the installed transformers; restore the file")
    config: PreTrainedConfig = CONFIG_MAPPING[kind].from_dict(without_kernels(content))
    return config
