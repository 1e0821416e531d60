from pathlib import Path

import numpy as np
import pytest
import torch

from lrpath.errors import StateError
from lrpath.models import CausalLM, build_model
from lrpath.planning.shape import ModelShape
from lrpath.records.document_losses import DocumentLoss, mean_and_error, read_document_losses, write_document_losses
from lrpath.training.document_losses import DocumentSet, evaluate_documents
from lrpath.training.evaluation import evaluate
from tests.planning.strategies import SIZES
from tests.refusals import refused

CPU = torch.device("cpu")


@pytest.fixture
def found() -> tuple[list[DocumentLoss], dict[tuple[str, str], tuple[float, int]], list[float]]:
    """Return losses by document, those by set, and the mean of each token, of 40 windows of 16 tokens."""
    shape = ModelShape(
        family="llama", vocab_size=96, hidden_size=32, layers=1, heads=4, ffn_size=56, context=16, **SIZES
    )
    model = CausalLM(build_model(shape, seed=0))
    windows = np.random.default_rng(0).integers(96, size=(40, 17))
    documents = (np.arange(40 * 16) // 100).reshape(40, 16)
    sets = {("test", "v1", "web"): DocumentSet(windows_NL=windows, documents_NL=documents)}
    by_document = evaluate_documents(model, sets, device=CPU, precision="fp32")
    by_set = evaluate(model, {("v1", "web"): windows}, device=CPU, precision="fp32")
    return by_document, by_set, model.token_nll(torch.from_numpy(windows)).flatten().tolist()


def test_losses_by_document_are_the_sums_of_their_tokens_and_add_up_to_the_set(found: tuple) -> None:  # type: ignore[type-arg]
    by_document, by_set, tokens = found

    assert [loss.document for loss in by_document] == list(range(7))
    assert [loss.tokens for loss in by_document] == [100] * 6 + [40]
    # float32 losses of one batch size and of another agree to some 1e-6
    assert by_document[3].nll == pytest.approx(sum(tokens[300:400]), rel=1e-5)
    assert sum(loss.nll for loss in by_document) == pytest.approx(by_set["v1", "web"][0], rel=1e-9)


def test_a_file_of_losses_comes_back_digit_by_digit(found: tuple, tmp_path: Path) -> None:  # type: ignore[type-arg]
    write_document_losses(tmp_path / "documents/000000012.csv", found[0])

    assert read_document_losses(tmp_path / "documents/000000012.csv") == found[0]
    assert read_document_losses(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "split,version,domain,document,nll,tokens\ntest,v1,web,x,1.0,2\n"])
def test_an_altered_file_of_losses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)

    with refused(StateError):
        read_document_losses(tmp_path / "a.csv")


def test_the_standard_error_over_documents_is_that_of_many_draws() -> None:
    generator = np.random.default_rng(0)

    def draw() -> list[DocumentLoss]:
        tokens = generator.integers(50, 150, size=400)
        losses = tokens * generator.normal(3.0, 0.5, size=400)
        return [
            DocumentLoss(split="test", version="v1", domain="web", document=n, nll=float(nll), tokens=int(count))
            for n, (nll, count) in enumerate(zip(losses, tokens, strict=True))
        ]

    pairs = [mean_and_error(draw()) for _ in range(300)]

    spread = float(np.std([mean for mean, _ in pairs]))
    assert np.mean([error for _, error in pairs]) == pytest.approx(spread, rel=0.15)  # of 300 draws: ± 4 % a deviation
    assert np.isnan(mean_and_error(draw()[:1])[1])
