"""The folder of a model on the Hugging Face hub: weights in safetensors, configuration and tokenizer, never code."""

import pathlib
import re

from lrpath.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")


def is_hub_name(given: str) -> bool:
    """Say whether a name could be one of the hub.

    >>> is_hub_name("EleutherAI/pythia-410m"), is_hub_name("EleutherAI/pythia-410m@step1000"), is_hub_name("./folder")
    (True, True, False)
    """
    return _NAME.fullmatch(given) is not None


def snapshot_of(given: str) -> pathlib.Path:
    """Return the local folder of a model on the hub, downloaded if it is not there; without the hub, what is cached.

    Args:
        given: `owner/name`, or `owner/name@revision`.

    Raises:
        ConfigError: If it is neither on the hub nor cached, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download  # takes half a second, and a plan from a folder does without

    repository, _, revision = given.partition("@")
    try:
        return pathlib.Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=["*.safetensors", "*.json"],
                ignore_patterns=["*/*"],  # weights in other formats lie in folders, such as original/
            )
        )
    except Exception as error:  # requests', the hub's and the file system's own kinds
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise ConfigError(
            f"model.weights={given} is no folder here, and the hub does not give it ({reason}); "
            "correct the name, or download it elsewhere and give the folder",
            field="model.weights",
            value=given,
        ) from error
