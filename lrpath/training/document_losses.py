"""Losses on every document of the held-out sets, so that intervals can be taken over documents and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lrpath.models import CausalLM
from lrpath.records.document_losses import DocumentLoss
from lrpath.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from lrpath.training.evaluation import WINDOWS_PER_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSet:
    """Windows of a held-out set, and which document each of their predicted tokens belongs to.

    Args:
        windows_NL: Token ids, `[N, L + 1]`.
        documents_NL: Numbers of documents, `[N, L]`.
    """

    windows_NL: NDArray[np.int64]
    documents_NL: NDArray[np.int64]


DocumentSets = Mapping[tuple[str, str, str], DocumentSet]
"""By split (`valid` or `test`), version and domain."""


@torch.no_grad()
def evaluate_documents(
    backbone: CausalLM,
    sets: DocumentSets,
    *,
    device: torch.device,
    precision: str,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> list[DocumentLoss]:
    """Return the summed loss [nats] and the number of predicted tokens of every document, the same on all ranks.

    Args:
        backbone: The model, on `device`; it is put back into the mode that it is in.
        sets: The held-out sets.
        device: Where the model is.
        precision: `fp32` or `bf16`, the precision it was trained with.
        process_group: The ranks that hold the model, all of which call this; each takes every n-th batch.
    """
    batches = [
        (name, slice(first, first + WINDOWS_PER_BATCH))
        for name, found in sets.items()
        for first in range(0, len(found.windows_NL), WINDOWS_PER_BATCH)
    ]
    sums = {
        name: torch.zeros(int(found.documents_NL.max()) + 1, dtype=torch.float64, device=device)
        for name, found in sets.items()
    }
    rank, ranks = process_group.rank, process_group.world_size
    was_training = backbone.training
    backbone.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        # As in `evaluate`: all ranks make equally many forward passes, since a sharded model is gathered on all.
        for batch in range(rank, -(-len(batches) // ranks) * ranks, ranks):
            name, rows = batches[min(batch, len(batches) - 1)]
            nll_BL = backbone.token_nll(torch.from_numpy(sets[name].windows_NL[rows]).to(device))
            if batch < len(batches):
                documents = torch.from_numpy(sets[name].documents_NL[rows]).to(device)
                sums[name].index_add_(0, documents.flatten(), nll_BL.double().flatten())
            process_group.watchdog.note_progress()
    backbone.train(was_training)
    found: list[DocumentLoss] = []
    for name, sums_K in sums.items():
        tokens_K = np.bincount(sets[name].documents_NL.ravel(), minlength=len(sums_K))
        losses = process_group.all_reduce_sum(sums_K).tolist()
        found += [
            DocumentLoss(split=name[0], version=name[1], domain=name[2], document=number, nll=nll, tokens=int(tokens))
            for number, (nll, tokens) in enumerate(zip(losses, tokens_K, strict=True))
            if tokens  # documents between the windows that are evaluated
        ]
    return found
