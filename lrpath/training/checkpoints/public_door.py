"""Loads an exported folder as everyone does, AutoTokenizer, AutoModelForCausalLM and generate, and compares it.

Shapes: B = 1 text, T ids, V vocabulary.
"""

import pathlib
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lrpath.errors import DataError
from lrpath.models import CausalLM, model_of, quiet_transformers
from lrpath.training.checkpoints.backbone import Backbone

if TYPE_CHECKING:
    from lrpath.training.checkpoints.export import ReleaseWeights

_PROBES = (
    "The year 2024 and 3.14, 1,000,000",
    "cafe\u0301 café ﬁ Ａ",
    "def f(x):\n    return x\n\n\n\tif x:  # two  spaces   and three\r\n",
    "don't I'll we've CAN'T",
    "中文 и кириллица 🙂 \u200b",
    " leading and trailing ",
    "<s> [INST] </s> <unk>",
)
"""Texts in which tokenizers differ: digits, Unicode's forms, spaces, line ends, contractions, scripts, marks."""

_PROMPT_IDS, _FORCED_AT, _MOST_NEW = 8, 3, 8


def ids_differ(folder: pathlib.Path, backbone: Backbone) -> bool:
    """Say whether AutoTokenizer makes other ids of a text than the store's tokenizer."""
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return _difference(tokenizer, backbone) is not None


def check_tokenizer(folder: pathlib.Path, backbone: Backbone) -> list[str]:
    """Compare the ids of some texts with those of training, and the marks and lengths of the tokenizer.

    Raises:
        DataError: If AutoTokenizer reads a text otherwise, or has another end mark.
    """
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if (found := _difference(tokenizer, backbone)) is not None:
        text, released, trained = found
        raise DataError(
            f"AutoTokenizer makes a {type(tokenizer).__name__} of this release, which reads {text[:40]!r} as ids "
            f"{released[:8]}, and it was trained on {trained[:8]}; train with a tokenizer of the kind that "
            f"transformers expects of a {backbone.config.model_type}, or export another family"
        )
    if tokenizer.eos_token_id != backbone.end_id:
        raise DataError(
            f"AutoTokenizer ends a text with id {tokenizer.eos_token_id}, and training did with {backbone.end_id}"
        )
    texts = _texts(backbone)
    return [f"ids of {len(texts)} texts, {sum(map(len, texts)):,} characters, by AutoTokenizer: those of training"]


def _texts(backbone: Backbone) -> list[str]:
    assert backbone.tokenizer is not None
    sample = backbone.tokenizer.decode(list(backbone.sample)) if backbone.sample else ""
    return [text for text in (sample, *_PROBES) if text]


def _difference(tokenizer: Any, backbone: Backbone) -> tuple[str, list[int], list[int]] | None:
    """Return the first text that is read otherwise than in training, with both readings."""
    assert backbone.tokenizer is not None
    backbone.tokenizer.encode_special_tokens = False  # a mark in a text is the mark to users of a release
    for text in _texts(backbone):
        with quiet_transformers():  # a text may be longer than a window
            released = tokenizer(text)["input_ids"]
        trained = backbone.tokenizer.encode(text, add_special_tokens=False).ids
        if released != trained:
            return text, released, trained
    return None


def check_logits(folder: pathlib.Path, weights: "ReleaseWeights", *, dtype: torch.dtype) -> list[str]:
    """Compare every weight and the logits of a sample with the model of the states, one of them in memory at a time.

    Raises:
        DataError: If a weight is missing or differs, or logits differ.
    """
    ids_BT = _sample(weights.backbone)
    expected_BTV = _logits(_model_of_states(weights, dtype), ids_BT)
    model = _loaded(folder)
    _check_weights(model, weights, dtype)
    found_BTV = _logits(model, ids_BT)
    # Released as another class, an addition of zeros more may choose another kernel.
    same_class = model.config.model_type == weights.backbone.config.model_type
    difference = (found_BTV - expected_BTV).abs().max().item()
    if not (difference == 0 if same_class else difference <= 1e-3 * expected_BTV.abs().max().item()):
        raise DataError(
            f"the logits of the exported model differ by {difference:.3g} from those of its states; its configuration "
            "does not say all that determines them: export it with another version of transformers, and report this"
        )
    how = "equal bit for bit" if difference == 0 else f"at most {difference:.2g} apart"
    return [f"logits of {ids_BT.numel()} ids by AutoModelForCausalLM and by the states: {how}"]


def _sample(backbone: Backbone) -> torch.Tensor:
    ids = backbone.sample or tuple(range(min(backbone.window, backbone.config.get_text_config().vocab_size)))
    return torch.tensor([ids[: backbone.window]])


@torch.no_grad()
def _logits(model: PreTrainedModel, ids_BT: torch.Tensor) -> torch.Tensor:
    logits_BTV: torch.Tensor = model.eval()(input_ids=ids_BT, use_cache=False).logits.float()
    return logits_BTV


def _model_of_states(weights: "ReleaseWeights", dtype: torch.dtype) -> PreTrainedModel:
    """Return the model that was trained, its weights rounded to a type."""
    model = model_of(weights.backbone.config, dtype=dtype)
    parameters = dict(CausalLM(model).named_parameters())
    with torch.no_grad():
        for name, tensor in weights.tensors():
            parameters[f"lm.{name}"].copy_(tensor)
    return model


def _loaded(folder: pathlib.Path) -> PreTrainedModel:
    with quiet_transformers():
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, attn_implementation="sdpa"
        )
    odd = {name: found for name, found in report.items() if found and name != "error_msgs"}
    if odd:
        raise DataError(f"transformers does not find the weights of {folder} complete: {str(odd)[:300]}")
    loaded: PreTrainedModel = model
    return loaded


def _check_weights(model: PreTrainedModel, weights: "ReleaseWeights", dtype: torch.dtype) -> None:
    parameters = dict(model.named_parameters())
    for name, tensor in weights.tensors():
        found = parameters.get(name)
        if found is None or found.dtype != dtype or not torch.equal(found, tensor.to(dtype)):
            raise DataError(f"the exported weight {name} is not that of the states; report this")


class _EndMark(LogitsProcessor):
    """Makes the end mark certain from a length on, so that generation must stop there."""

    def __init__(self, end_id: int, *, at: int) -> None:
        self._end_id = end_id
        self._at = at

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] < self._at:
            scores[:, self._end_id] = -torch.inf
        else:
            scores = torch.full_like(scores, -torch.inf)
            scores[:, self._end_id] = 0.0
        return scores


def check_generation_ends(folder: pathlib.Path, backbone: Backbone) -> list[str]:
    """Generate with the exported settings, and check that generation stops where the end mark comes.

    Raises:
        DataError: If it goes on behind the mark.
    """
    if backbone.end_id is None:
        return ["generation has no end mark: only ids were given"]
    model = _loaded(folder).eval()
    prompt_BT = _sample(backbone)[:, :_PROMPT_IDS]
    wanted = prompt_BT.shape[1] + _FORCED_AT
    with quiet_transformers(), torch.no_grad():
        made_BT = model.generate(
            prompt_BT,
            attention_mask=torch.ones_like(prompt_BT),
            max_new_tokens=_MOST_NEW,
            do_sample=False,
            logits_processor=LogitsProcessorList([_EndMark(backbone.end_id, at=wanted - 1)]),
        )
    if made_BT.shape[1] != wanted or made_BT[0, -1] != backbone.end_id:
        raise DataError(
            f"generation makes {made_BT.shape[1] - prompt_BT.shape[1]} ids where the end mark is the {_FORCED_AT}th; "
            "generation_config.json does not name it"
        )
    return [f"generate stops at the end mark, id {backbone.end_id}, with the key-value cache"]
