"""Which kernels an update at its best spends its time in, and whether attention as products would be faster.

    taskset -c 1 python experiments/10_throughput/best_update.py

The model is that of speed.py at 8.9M, in bf16, blocks and loss compiled. Attention is timed by itself, forward and
backward, causal: torch's fused kernel, and matrix products with a compiled softmax.
"""

import sys
import time
from collections.abc import Callable

import torch
from contenders import Job
from speed import FIELDS, SIZES
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import profile

from lrpath.models import CausalLM
from lrpath.training.distributed.parallelize import compile_blocks

SHAPES = ((8, 8, 256, 32), (8, 8, 256, 48), (4, 8, 512, 64), (1, 16, 2048, 64))  # sequences, heads, tokens, head
TIMES = 6


def update_by_kernel() -> str:
    size, sequences, *_ = SIZES["8.9M"]
    sizes = dict(zip(FIELDS, size, strict=True)) | {"tied": False}
    job = Job(
        size=sizes, updates=1, skipped=0, sequences=sequences, micro_batch=sequences, device="cpu", threads=1,
        is_best=True, ids="", folder="", same_weights=False,
    )  # fmt: skip
    model = CausalLM(job.llama())
    compile_blocks(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids_BL = torch.randint(sizes["vocab_size"], (sequences, sizes["context"] + 1))

    def update() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(ids_BL)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        update()
    with profile() as recorded:
        for _ in range(3):
            update()
    return recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=60)


def as_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    seen = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
    scores = ((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5).float().masked_fill(~seen, float("-inf"))
    return scores.softmax(-1).to(q.dtype) @ v


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, is_causal=True)


def milliseconds(attention: Callable[..., Tensor], shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the median CPU time of a forward and of a backward pass."""
    q, k, v = (torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    gradient, forward, backward = torch.randn(shape, dtype=torch.bfloat16), [], []
    for _ in range(3 + TIMES):
        begin = time.process_time()
        out = attention(q, k, v)
        middle = time.process_time()
        out.backward(gradient)
        forward.append(middle - begin)
        backward.append(time.process_time() - middle)
    return tuple(1e3 * sorted(one[3:])[TIMES // 2] for one in (forward, backward))


def main() -> None:
    torch.set_num_threads(1)
    sys.stdout.write(update_by_kernel() + "\n")
    for shape in SHAPES:
        torch.compiler.reset()
        ours = milliseconds(torch.compile(as_products, dynamic=False), shape)
        theirs = milliseconds(fused, shape)
        figures = [f"{name} {one[0]:.1f} + {one[1]:.1f} ms" for name, one in (("fused", theirs), ("products", ours))]
        sys.stdout.write(f"{shape}: {', '.join(figures)}\n")


if __name__ == "__main__":
    main()
