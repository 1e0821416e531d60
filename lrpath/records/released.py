"""What an export has written, as plain facts for the model card."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRelease:
    """What an export has made and compared.

    Args:
        dtype: Type of the weights, `fp32` or `bf16`.
        files: Number of weight files.
        bytes: Their size together [bytes].
        architecture: Class of transformers that loads them.
        transformers: Version of transformers that was used.
        end_mark: The mark that ends every document; None when only ids were given.
        end_id: Its id.
        window: Tokens of a training window.
        compared: What was compared with the states and the store, a sentence each.
        notes: What a reader must know of the conversion, a paragraph each.
    """

    dtype: str
    files: int
    bytes: int
    architecture: str
    transformers: str
    end_mark: str | None
    end_id: int | None
    window: int
    compared: tuple[str, ...]
    notes: tuple[str, ...]
