"""The weights that the root paths of a plan begin with, where they are not drawn from a seed."""

from dataclasses import dataclass

_EXACT = {"float32": "", "bfloat16": ", widened to float32 exactly", "float16": ", widened to float32 exactly"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingWeights:
    """What a plan says of a folder of weights.

    Args:
        given: The folder, or the name on the hub, as it was configured.
        digest: SHA-256 [hex] of names, types, shapes and bytes of all tensors. It alone is part of a recipe: the same
            tensors in another folder, or in other shards, begin the same paths.
        dtypes: Types of the numbers, as torch names them.
        tensors: Number of tensors.
    """

    given: str
    digest: str
    dtypes: tuple[str, ...]
    tensors: int

    def line(self) -> str:
        """Return what is to be known of them in a sentence.

        >>> print(StartingWeights(given="pythia", digest="0" * 64, dtypes=("bfloat16",), tensors=76).line())
        pythia, digest 000000000000, 76 tensors of bfloat16, widened to float32 exactly; moments start at zero
        """
        rounded = ", rounded to float32"
        conversions = {_EXACT.get(dtype, rounded) for dtype in self.dtypes} - {""}
        conversion = rounded if rounded in conversions else "".join(sorted(conversions)[:1])
        types = " and ".join(self.dtypes)
        return (
            f"{self.given}, digest {self.digest[:12]}, {self.tensors:,} tensors of {types}{conversion}; "
            "moments start at zero"
        )
