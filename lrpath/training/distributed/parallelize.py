"""Parallelizes a backbone: recomputes, compiles and shards its blocks in place, without renaming a weight."""

from functools import partial

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from lrpath.models import CausalLM


def recompute_blocks(backbone: CausalLM) -> None:
    """Keep only the inputs of blocks in the forward pass, and compute the rest again in the backward pass.

    Blocks that are compiled must be so already.
    """
    for block in backbone.blocks:
        # Not transformers' own switch, whose name changes with its version; the hooks of FSDP2 stay outside.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def compile_blocks(backbone: CausalLM) -> None:
    """Compile every block, and the loss; in place, before recomputing and sharding, which stay outside the graphs.

    Blocks are alike, so all of them, and those of later models in this process, share one graph: the first update of a
    process compiles, and no other. Shapes are constants of a graph. Compiled for any shape, it would be slower, and an
    evaluation with batches of another size would make torch do so.

    No CUDA graphs (`mode="reduce-overhead"`): they hold addresses, so each block would need a recording of its own,
    with its own memory, for each number of micro-batches; only models whose kernels take less than a launch would gain.
    """
    for block in backbone.blocks:
        # Not block.compile(): a block that is recomputed would then be run as it is, without a word, since torch's
        # compiler skips the function that recomputes.
        block.forward = torch.compile(block.forward, dynamic=False)
    backbone.is_compiled = True


def shard_blocks(backbone: CausalLM, *, mesh: DeviceMesh, precision: str) -> None:
    """Cut the weights of every block, and of what is around the blocks, into shards on a mesh (FSDP2).

    Under bf16 the blocks' weights are gathered in bf16 and their gradients summed in fp32. Autocast stays on and inputs
    are not cast, so the residual stream and the products are those of one process under autocast; only the norms'
    weights are rounded to bf16 beforehand. Embedding and head are gathered in fp32, as the chunked loss expects.

    Args:
        backbone: The model; sharded once, however often this is called.
        mesh: One dimension (shard), or two (replicate, shard).
        precision: `fp32` or `bf16`.
    """
    if isinstance(backbone, FSDPModule):
        return
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in backbone.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(backbone, mesh=mesh, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=False))
