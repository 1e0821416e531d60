"""The interval of a held-out loss in the model card, over documents."""

import numpy as np
import pytest

from lrpath.records.document_losses import DocumentLoss
from lrpath.reporting import model_card


def losses_of(nll_D: list[float], tokens_D: list[int]) -> list[DocumentLoss]:
    return [
        DocumentLoss(split="test", version="v1", domain="text", document=number, nll=nll, tokens=tokens)
        for number, (nll, tokens) in enumerate(zip(nll_D, tokens_D, strict=True))
    ]


def test_documents_of_one_length_have_the_interval_of_a_mean() -> None:
    nll_D = [20.0, 30.0, 25.0, 45.0]

    mean, half = map(float, model_card._interval(losses_of(nll_D, [10] * 4)).split(" ± "))

    assert mean == 3.0
    assert half == pytest.approx(1.96 * float(np.std(nll_D, ddof=1)) / 2 / 10, abs=1e-4)


def test_a_single_document_has_no_interval() -> None:
    assert model_card._interval(losses_of([12.0], [10])) == "1.2000"
