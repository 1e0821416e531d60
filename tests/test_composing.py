"""What tests compose is what Hydra composes."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf

from tests.composing import compose_anew, composed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "words",
    [
        ("config",),
        ("config", "+exp=paper/alpha", "scale=mini", "alpha=[0.2,0.4]", "study=other"),
        ("config", "data.source.paths=[here]", "data=text", "paradigm=[continual,path_switching]", "peak=1.0"),
        ("config", "paradigm=[path_switching]", "paradigms.path_switching.alpha=0.3", "schedule@branch=cosine"),
        ("config", "++model.layers=3", "model.layers=4", "~data.tokenizer.end_mark"),
        ("predict", "study=toy", "plan=given"),
    ],
    ids=" ".join,
)
def test_fields_change_what_options_gave_as_hydra_changes_it(words: tuple[str, ...]) -> None:
    name, *overrides = words

    for _ in range(2):  # from the files, and from memory
        ours, hydras = composed(*overrides, name=name), compose_anew(*overrides, name=name)

        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(hydras)
        assert OmegaConf.to_container(ours, resolve=True) == OmegaConf.to_container(hydras, resolve=True)
        assert OmegaConf.is_struct(ours)


@pytest.mark.parametrize("word", ["no_field=1", "model=no_option", "+alpha=0.5", "alpha=[", "model.layers@x=1"])
def test_what_hydra_refuses_is_refused_in_its_words(word: str) -> None:
    with pytest.raises(HydraException) as hydras:
        compose_anew(word)

    with pytest.raises(HydraException) as ours:
        composed(word)

    assert (type(ours.value), str(ours.value)) == (type(hydras.value), str(hydras.value))
