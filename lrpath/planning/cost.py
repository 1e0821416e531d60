"""What training costs: updates, tokens, FLOPs, states, memory and device-hours, known before anything runs.

Training FLOPs per token are three forward passes of the matrix products (one forward, two backward):

    3 · (2 · matrix_parameters + 4 · T · query_size · layers)

with T the sequence length. This is the count of PaLM (Chowdhery et al. 2022, arXiv 2204.02311, appendix B), with the
output head among the matrices and the embedding look-up not, and attention counted in full as PaLM does. Left out:
the halving by the causal mask, the score product that a flash backward pass computes again (2 · T · query_size · layers
per token), recomputation under activation checkpointing, and everything that is not a matrix product (norms, rotary
positions, softmax, the optimizer). Measured with `torch.utils.flop_counter` in `tests/models/test_flops.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from lrpath.errors import ConfigError
from lrpath.planning.optimizers import AdamW, Optimizer
from lrpath.planning.own_model import OwnModel
from lrpath.planning.shape import ModelShape

Strategy = Literal["single", "ddp", "fsdp"]
Compute = Literal["fp32", "bf16"]

_ELEMENT_BYTES = {"fp32": 4, "bf16": 2}

HEADER_BYTES_PER_LAYER = 8 * 1024
"""Names, sizes and step counts of one layer in a state: about 12 tensors × (weight, 2 moments, count) × 170 bytes."""

CPU_CHUNK_TOKENS = 512
"""Tokens of a chunk of the loss on the CPU, whose logits then fit into its caches; sums of paths depend on it."""

ACCELERATOR_CHUNK_BYTES = 512 * 1024**2
"""fp32 logits of a chunk of the loss on an accelerator [bytes]. 512 tokens would leave most of it idle: one chunk of
4,096 tokens at a vocabulary of 32,768 makes products as large as those of a layer, for a hundredth of its memory."""


def loss_chunk_tokens(vocab_size: int, *, on_cpu: bool) -> int:
    """Return the number of tokens whose logits exist at one time in `lrpath.models.loss`.

    On an accelerator a multiple of 128, the rows of a tile of its matrix products.

    >>> loss_chunk_tokens(32_768, on_cpu=False), loss_chunk_tokens(131_072, on_cpu=False)
    (4096, 1024)
    >>> loss_chunk_tokens(32_768, on_cpu=True)
    512

    Args:
        vocab_size: Logits of a token.
        on_cpu: Whether the model is on the CPU.
    """
    if on_cpu:
        return CPU_CHUNK_TOKENS
    return max(128, ACCELERATOR_CHUNK_BYTES // (4 * vocab_size) // 128 * 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a path, a plan or a study costs; as `Plan.cost` counts it.

    Args:
        updates: Optimizer updates.
        tokens: Tokens read.
        tokens_first: Tokens read for the first time; `tokens − tokens_first` are read again.
        flops: Floating-point operations, or None when the model's count of parameters is not known.
        states: Number of states kept.
        state_bytes: Size of these states on disk [bytes], or None as above.
    """

    updates: int
    tokens: int
    tokens_first: int
    flops: int | None
    states: int
    state_bytes: int | None


def flops_per_token(shape: ModelShape | OwnModel, *, sequence_length: int) -> int:
    """Return the FLOPs of training on one token, forward and backward, by the formula at the top of this file.

    Args:
        shape: The model. Of one of your own, whose layers are not known, every parameter is taken for one of a matrix,
            and attention is left out: 6 N.
        sequence_length: Length of a window [tokens].

    Raises:
        ConfigError: If the model is a file whose count of parameters is not stated, or the length is not positive.

    References:
        Chowdhery et al. 2022, arXiv 2204.02311, appendix B: `6N + 12·L·H·Q·T`. Here N is `matrix_parameters`.
    """
    if sequence_length < 1:
        raise ConfigError(
            f"sequence_length={sequence_length} must be at least 1 token",
            field="sequence_length",
            value=sequence_length,
        )
    parameters = _known_parameters(shape)
    if isinstance(shape, OwnModel):
        return 6 * parameters
    assert shape.matrix_parameters is not None
    # Scores and their product with the values: two products of T × head_size per head and token, 2 FLOPs each.
    attention = 4 * sequence_length * shape.query_size * shape.layers
    return 3 * (2 * shape.matrix_parameters + attention)


def state_bytes(shape: ModelShape | OwnModel, *, optimizer: Optimizer | None) -> int:
    """Return the size of one state on disk [bytes]: fp32 weights and what the optimizer keeps, with their headers.

    Args:
        shape: The model.
        optimizer: Its `kept` says how many fp32 tensors it keeps for each parameter; None, a module's own, is taken to
            keep two moments.

    Raises:
        ConfigError: If the model is a file whose count of parameters is not stated.
    """
    layers = 0 if isinstance(shape, OwnModel) else shape.layers
    return 4 * (1 + _kept(optimizer)) * _known_parameters(shape) + HEADER_BYTES_PER_LAYER * (layers + 1)


def _kept(optimizer: Optimizer | None) -> int:
    return AdamW.kept if optimizer is None else optimizer.kept


def _known_parameters(shape: ModelShape | OwnModel) -> int:
    if shape.parameters is None:
        what = f"model {shape.name}" if isinstance(shape, OwnModel) else f"model.file {shape.file}"
        raise ConfigError(
            f"the count of parameters of {what} is not known without torch; give "
            "model.stated_parameters (lrpath.models.count_parameters(shape) returns it)",
            field="model.stated_parameters",
        )
    return shape.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An accelerator.

    Args:
        peak_flops: Dense bf16 matrix products with fp32 sums [FLOP/s]. Data sheets often print the sparse figure, twice
            as much.
        memory_bytes: Memory [bytes], as sold (decimal gigabytes).
        source: Where the figures stand.
    """

    peak_flops: float
    memory_bytes: float
    source: str


_SHEETS = {  # peak [TFLOP/s], memory [GB]
    "H200": (989, 141, "NVIDIA H200 SXM: 1,979 with sparsity"),
    "H100": (989, 80, "NVIDIA H100 SXM: 1,979 with sparsity"),
    "H100-PCIe": (756, 80, "NVIDIA H100 PCIe: 1,513 with sparsity"),
    "A100": (312, 80, "NVIDIA A100 80GB: 312 dense"),
    "L40S": (362, 48, "NVIDIA L40S: 733 with sparsity"),
    "B200": (2250, 180, "NVIDIA HGX B200: 4,500 with sparsity"),
    "MI300X": (1307, 192, "AMD Instinct MI300X: 1,307 dense"),
}

DEVICES: Mapping[str, Device] = MappingProxyType(
    {
        name: Device(peak_flops=peak * 1e12, memory_bytes=memory * 1e9, source=f"data sheet of {source}")
        for name, (peak, memory, source) in _SHEETS.items()
    }
)
"""Accelerators by name, from their makers' data sheets; further ones are entered with their source."""


def device_hours(flops: int, *, device: str, mfu: float) -> float:
    """Return the hours that one device needs, which is also the sum over several.

    Args:
        flops: Floating-point operations by `flops_per_token`.
        device: A name in `DEVICES`.
        mfu: Model FLOPs utilization, the share of the peak that is reached, in (0, 1].

    Raises:
        ConfigError: If the device is not in the table, or `mfu` lies outside (0, 1].
    """
    if device not in DEVICES:
        text = f"device={device!r} must be one of {', '.join(DEVICES)}"
        raise ConfigError(text, field="device", value=device)
    if not 0 < mfu <= 1:
        raise ConfigError(f"mfu={mfu} must lie in (0, 1]", field="mfu", value=mfu)
    return flops / (DEVICES[device].peak_flops * mfu) / 3600


def wall_hours(flops: int, *, device: str, mfu: float, count: int) -> float:
    """Return the hours on the clock with `count` devices, each reaching `mfu` with all of them at work.

    Raises:
        ConfigError: As `device_hours`, or if `count` is below 1.
    """
    if count < 1:
        raise ConfigError(f"count={count} of devices must be at least 1", field="count", value=count)
    return device_hours(flops, device=device, mfu=mfu) / count


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Estimated memory of one rank, by use [bytes].

    Args:
        parameters: fp32 weights, or the rank's share.
        gradients: fp32 gradients, or the rank's share.
        optimizer: What the optimizer keeps in fp32, two moments for example, or the rank's share.
        buffers: Copies that a strategy or a precision makes: DDP buckets, bf16 weights, gathered layers.
        activations: Tensors kept for the backward pass, and the loss's chunk.
    """

    parameters: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all uses [bytes]. Allocator fragments, workspaces and the CUDA context (1 to 3 GB) are not in it."""
        return self.parameters + self.gradients + self.optimizer + self.buffers + self.activations


def memory_per_rank(  # noqa: PLR0913 (what the memory of a rank depends on)
    shape: ModelShape,
    *,
    strategy: Strategy,
    ranks: int,
    micro_batch: int,
    sequence_length: int,
    optimizer: Optimizer | None,
    compute: Compute = "bf16",
    activation_checkpointing: bool = False,
) -> Memory:
    """Estimate the peak memory of one rank in training with fp32 weights.

    Args:
        shape: The model.
        strategy: `single`; `ddp`, everything on every rank; `fsdp`, weights, gradients and moments cut into `ranks`.
        ranks: Number of ranks.
        micro_batch: Sequences of one rank in one forward pass.
        sequence_length: Length of a window [tokens].
        optimizer: As in `state_bytes`.
        compute: `fp32`, or `bf16` for mixed precision over fp32 weights.
        activation_checkpointing: Whether a layer keeps its input only and is computed again in the backward pass.

    Raises:
        ConfigError: If the count of parameters is not known, a count is below 1, `strategy` or `compute` is unknown,
            or `single` has several ranks.

    References:
        Rajbhandari et al. 2020, arXiv 1910.02054, for the model's states; Korthikanti et al. 2022, arXiv 2205.05198,
        section 4, for the method of counting activations, here for norms without bias, a gated feed-forward block
        and fused attention.
    """
    _check_memory_arguments(strategy, ranks, micro_batch, sequence_length, compute)
    share = ranks if strategy == "fsdp" else 1
    local = -(-_known_parameters(shape) // share)
    tokens = micro_batch * sequence_length
    return Memory(
        parameters=4 * local,
        gradients=4 * local,
        optimizer=4 * _kept(optimizer) * local,
        buffers=_buffer_bytes(shape, strategy, compute),
        activations=_activation_bytes(shape, tokens, compute, checkpointing=activation_checkpointing),
    )


def _check_memory_arguments(strategy: str, ranks: int, micro_batch: int, sequence_length: int, compute: str) -> None:
    if strategy not in ("single", "ddp", "fsdp"):
        raise ConfigError(f"strategy={strategy!r} must be single, ddp or fsdp", field="strategy", value=strategy)
    if compute not in _ELEMENT_BYTES:
        raise ConfigError(f"compute={compute!r} must be fp32 or bf16", field="compute", value=compute)
    for name, value in (("ranks", ranks), ("micro_batch", micro_batch), ("sequence_length", sequence_length)):
        if value < 1:
            raise ConfigError(f"{name}={value} must be at least 1", field=name, value=value)
    if strategy == "single" and ranks > 1:
        raise ConfigError(
            f"strategy=single has one rank, not {ranks}; use ddp or fsdp", field="strategy", value=strategy
        )


def _buffer_bytes(shape: ModelShape, strategy: Strategy, compute: Compute) -> int:
    """Copies of weights and gradients beside the fp32 originals.

    Autocast keeps a bf16 copy of every matrix from its first use to the end of the forward pass. DDP holds the
    gradients a second time in its buckets (`gradient_as_bucket_view=False`, the default). FSDP2 gathers two layers,
    holds one layer's whole gradient, and keeps the root group (embedding, head) gathered, with its gradient.
    """
    assert shape.parameters is not None
    assert shape.matrix_parameters is not None
    element = _ELEMENT_BYTES[compute]
    if strategy == "fsdp":
        layer = (shape.parameters - shape.embedding_parameters) // shape.layers
        return element * (3 * layer + 2 * shape.embedding_parameters)
    copies = element * shape.matrix_parameters if compute == "bf16" else 0
    buckets = 4 * shape.parameters if strategy == "ddp" else 0
    return copies + buckets


def _activation_bytes(shape: ModelShape, tokens: int, compute: Compute, *, checkpointing: bool) -> int:
    """Tensors that one layer keeps for its backward pass, in elements per token.

        two norms, each its input and its normalized input, in fp32     4 · hidden
        outputs of the two norms, which q, k, v and gate, up read       2 · hidden
        q, k, v and the output of attention                             2 · query + 2 · kv
        gate, up, silu(gate) and their product                          4 · ffn

    Scores are not kept: attention is fused and its backward pass computes them again. The loss keeps the gradient of
    its input and of the head, and works on the fp32 logits of one chunk, twice.
    """
    element = _ELEMENT_BYTES[compute]
    wide = 2 * shape.hidden_size + 2 * shape.query_size + 2 * shape.kv_size + 4 * shape.ffn_size
    layer = tokens * (4 * 4 * shape.hidden_size + element * wide)
    kept = shape.layers * tokens * 4 * shape.hidden_size + layer if checkpointing else shape.layers * layer
    logits = 2 * 4 * min(tokens, loss_chunk_tokens(shape.vocab_size, on_cpu=False)) * shape.vocab_size
    head = tokens * shape.hidden_size * (4 * 2 + element) + 4 * shape.vocab_size * shape.hidden_size
    return kept + head + logits
