"""Settings for sources of a few documents."""

from lrpath.data.sources import HeldOutSettings


def held(**fields: float) -> HeldOutSettings:
    """Return settings of held-out sets: a tenth of the documents, whole up to some 3,000 characters."""
    return HeldOutSettings(**{"documents": 500, "share": 0.1, "passage_characters": 2048, "seed": 0, **fields})


NO_HELDOUT = held(share=0.0)
