"""Imports, once and before any fork, what every run would otherwise import for itself; torch alone takes seconds."""

from lrpath.entry import lasting

with lasting():
    import matplotlib.backends.backend_agg  # noqa: F401
    import torch.distributed.fsdp
    import torch.distributed.launcher.api  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    import lrpath.assembly.training_factory
    import lrpath.reporting.report  # noqa: F401
