"""A model of your own behind the same door as the others: any `nn.Module` that gives logits, or losses, on token ids.

`model.kind=module:Name` names a class or function that returns a module, made on the CPU in fp32. It is either of

    forward(ids)      ids [B, T], int64 → logits [B, T, V], or something with an attribute `logits`
    token_nll(ids)    ids [B, T + 1], int64 → negative log-likelihood [nats] of ids[:, 1:], [B, T]

and may have `blocks`, a ModuleList whose parts FSDP shards, and strategy.recompute and strategy.compile take, one by
one, and whose matrices Muon takes. What of it changes an update lies in its parameters: a state holds nothing else.

Shapes: B sequences, T positions, V vocabulary, L = T + 1 ids.
"""

import pathlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lrpath.errors import ConfigError
from lrpath.models.causal_lm import CausalLM
from lrpath.planning.own_code import call, find_code
from lrpath.planning.own_model import OwnModel
from lrpath.records.backbone import CONFIG, OWN_MODEL
from lrpath.records.files import write_json

_SEQUENCES, _LENGTH = 2, 17
_TOLERANCE = 1e-4
"""[nats] By how much a loss may change when what follows changes: kernels may sum in another order."""


class OwnCausalLM(CausalLM):
    """A module of your own with next-token loss.

    Args:
        lm: The module.
        model: What it was made of; None for a module that weights are loaded into.
    """

    lm: nn.Module

    def __init__(self, lm: nn.Module, *, model: OwnModel | None = None) -> None:
        nn.Module.__init__(self)
        self.lm = lm
        self.document_end = None
        self._model = model
        self.draws_random_numbers = False

    @property
    def blocks(self) -> nn.ModuleList:
        """Its `blocks`; nothing if it has none."""
        blocks = getattr(self.lm, "blocks", None)
        return blocks if isinstance(blocks, nn.ModuleList) else nn.ModuleList()

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers, by trial."""
        return self.draws_random_numbers

    def save_config(self, folder: pathlib.Path) -> None:
        """Write what the module was made of, for people; nothing is ever imported because of it."""
        assert self._model is not None, "only a module that is trained is recorded"
        write_json(folder / CONFIG, {"model_type": OWN_MODEL} | self._model.as_record())

    def _loss(self, ids: Tensor, *, per_sequence: bool = False, per_token: bool = False) -> Tensor:
        nll_BT = self.nll_of_tokens(ids)
        if per_token:
            return nll_BT
        return nll_BT.sum(dim=-1, dtype=torch.float64) if per_sequence else nll_BT.mean()

    def nll_of_tokens(self, ids: Tensor) -> Tensor:
        """Return the negative log-likelihood [nats] of `ids[:, 1:]`, `[B, T]` in fp32, with gradient."""
        if hasattr(self.lm, "token_nll"):
            nll: Callable[[Tensor], Tensor] = self.lm.token_nll  # type: ignore[assignment]
            return nll(ids).float()
        logits_BTV = self.logits(ids[:, :-1])
        return functional.cross_entropy(logits_BTV.float().mT, ids[:, 1:], reduction="none")

    def logits(self, ids: Tensor) -> Tensor:
        """Return the logits, `[B, T, V]`."""
        found = self.lm(ids)
        logits: Tensor = getattr(found, "logits", found)
        return logits


def build_own_model(model: OwnModel, *, seed: int) -> OwnCausalLM:
    """Build a module whose weights are a function of the model's settings, its source, and the seed.

    The generators of torch (CPU), NumPy and Python are seeded for it and put back afterwards.

    Raises:
        ConfigError: If it is not the code that was planned with, cannot be made, or is not what the protocol says.
    """
    if model.reference is None:
        raise ConfigError(f"model {model.name} has no module; give model.kind=module:{model.name}", field="model.kind")
    code = find_code(model.reference, group="models", field="model.kind")
    if code.digest != model.code:
        raise ConfigError(
            f"model.kind={code.name} is not the code that was planned with (its source has digest {code.digest}, the "
            f"plan {model.code}); plan again",
            field="model.kind",
            value=code.name,
        )
    with _seeded(seed):
        module = call(code, field="model", **model.settings)
    if not isinstance(module, nn.Module):
        raise _refusal(model, f"returned an object of type {type(module).__name__}, which must be a torch.nn.Module")
    built = OwnCausalLM(module, model=model)
    with _seeded(seed):
        _check(built, model)
    return built


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  what your code may draw from
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _check(built: OwnCausalLM, model: OwnModel) -> None:
    """Run a module on a few ids, and check what training relies on and could not notice later."""
    odd = next((name for name, one in built.lm.named_parameters() if one.dtype != torch.float32), None)
    if odd is not None:
        raise _refusal(model, f"has a parameter {odd} that is not float32; lrpath keeps weights in fp32, see precision")
    if not any(one.requires_grad for one in built.lm.parameters()):
        raise _refusal(model, "has no parameter that is trained")
    length = min(_LENGTH, model.context + 1)
    generator = torch.Generator().manual_seed(0)
    ids_BL = torch.randint(model.vocab_size, (_SEQUENCES, length), generator=generator)
    ids_BL[0, -1] = model.vocab_size - 1
    buffers = {name: one.clone() for name, one in built.lm.named_buffers()}
    try:
        with torch.no_grad():
            built.eval()
            _check_losses(built, model, ids_BL)
            built.train()
            before = torch.default_generator.get_state()
            first_BT = built.nll_of_tokens(ids_BL)
            built.draws_random_numbers = not torch.equal(before, torch.default_generator.get_state())
            torch.default_generator.set_state(before)
            changes = float((built.nll_of_tokens(ids_BL) - first_BT).abs().max())
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError, AssertionError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise _refusal(model, f"cannot be run on ids of shape {tuple(ids_BL.shape)} ({said})") from error
    changed = [name for name, one in built.lm.named_buffers() if not torch.equal(one, buffers.get(name, one))]
    if changed:
        raise _refusal(
            model,
            f"changes its buffer {changed[0]} in a forward pass, which no state would hold; make it a function of the "
            "input, or a parameter",
        )
    if changes > _TOLERANCE:
        raise _refusal(
            model,
            f"has another loss on the same ids from one call to the next, by {changes:.2g} nats, with equal weights "
            "and random numbers of torch: it keeps something besides parameters, or draws from another generator, so "
            "that no update could be repeated",
        )


def _check_losses(built: OwnCausalLM, model: OwnModel, ids_BL: Tensor) -> None:
    if not hasattr(built.lm, "token_nll"):
        logits = built.logits(ids_BL[:, :-1])
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids_BL[:, :-1].shape:
            raise _refusal(
                model, f"returned {shape} for ids [B, T] = {tuple(ids_BL[:, :-1].shape)}, not logits [B, T, V]"
            )
        if logits.shape[-1] < model.vocab_size:
            raise _refusal(
                model, f"gives logits of {logits.shape[-1]} tokens, fewer than vocab_size={model.vocab_size}"
            )
    nll_BT = built.nll_of_tokens(ids_BL)
    if nll_BT.shape != ids_BL[:, 1:].shape:
        shape = tuple(nll_BT.shape)
        raise _refusal(
            model, f"has token_nll of shape {shape} for ids {tuple(ids_BL.shape)}, not of {tuple(ids_BL[:, 1:].shape)}"
        )
    if not torch.isfinite(nll_BT).all():
        raise _refusal(model, "has a loss that is not finite on its initial weights")
    other_BL = ids_BL.clone()
    other_BL[:, -1] = (other_BL[:, -1] + 1) % model.vocab_size
    other_BL[:, -2] = (other_BL[:, -2] + 1) % model.vocab_size
    moved = (built.nll_of_tokens(other_BL) - nll_BT)[:, :-2].abs().max() if ids_BL.shape[1] > 3 else torch.zeros(())
    if moved > _TOLERANCE:
        raise _refusal(
            model,
            f"sees what it predicts: the loss of a token changes by {float(moved):.2g} nats with what follows it; mask "
            "its attention",
        )


def _refusal(model: OwnModel, problem: str) -> ConfigError:
    return ConfigError(f"model.kind={model.reference} {problem}", field="model.kind", value=model.reference)
