"""One door to the backbones: a `ModelShape` and a seed go in, a causal language model with a loss comes out."""

from lrpath.models.build import assert_parameter_count, build_model, count_parameters, hf_config, model_of
from lrpath.models.causal_lm import NAME_PREFIX, CausalLM, backbone_and_head, document_positions, seed_generators
from lrpath.models.checks import check_documents_are_apart
from lrpath.models.loss import causal_loss, token_nll
from lrpath.models.own_model import OwnCausalLM, build_own_model
from lrpath.models.pretrained import load_pretrained
from lrpath.models.quiet import quiet_transformers

__all__ = [
    "NAME_PREFIX",
    "CausalLM",
    "OwnCausalLM",
    "assert_parameter_count",
    "backbone_and_head",
    "build_model",
    "build_own_model",
    "causal_loss",
    "check_documents_are_apart",
    "count_parameters",
    "document_positions",
    "hf_config",
    "load_pretrained",
    "model_of",
    "quiet_transformers",
    "seed_generators",
    "token_nll",
]
