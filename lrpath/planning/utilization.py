"""Model FLOPs utilization (MFU): which share of a GPU's peak the matrix products of a model reach.

    MFU = FLOPs per token · tokens per second ÷ (ranks · peak FLOP/s)

The definition of PaLM (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): FLOPs are those of `cost.flops_per_token`,
so that recomputed activations count for nothing, and the peak is that of dense bf16 products, also for a run in fp32.
The tokens per second leave out evaluations and the time in which updates wait for a state to be saved.
"""

import re

from lrpath.planning.cost import DEVICES, Device

_OTHER_KINDS = ("MIG", "NVL", "Laptop")
"""Slices and variants of a card, whose peaks are others than the card's."""


def device_named(name: str) -> Device | None:
    """Return the accelerator that a driver's name is of, or None for a CPU and for cards that are not in the table.

    >>> [device_named(f"NVIDIA {name}").peak_flops / 1e12 for name in ("H100 80GB HBM3", "H100 PCIe")]
    [989.0, 756.0]
    >>> device_named("NVIDIA GH200 480GB"), device_named("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), device_named("cpu")
    (None, None, None)
    """
    words = re.split(r"[\s-]+", name)
    if any(kind in words for kind in _OTHER_KINDS):
        return None
    found = [key for key in DEVICES if all(word in words for word in key.split("-"))]
    return DEVICES[max(found, key=len)] if found else None


def utilization(tokens_per_second: float, *, flops_per_token: float, device: str, ranks: int) -> float | None:
    """Return the MFU in (0, 1); None where the device's peak, or the FLOPs of a token, are not known.

    Args:
        tokens_per_second: Of all ranks together.
        flops_per_token: As `cost.flops_per_token`; 0 if they are not known.
        device: Name of the device, as its driver gives it.
        ranks: Number of devices.

    >>> round(utilization(60_000, flops_per_token=8.0e9, device="NVIDIA H100 80GB HBM3", ranks=1), 3)
    0.485
    """
    known = device_named(device)
    if known is None or not flops_per_token:
        return None
    return tokens_per_second * flops_per_token / (ranks * known.peak_flops)
