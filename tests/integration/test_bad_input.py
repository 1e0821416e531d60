"""Bad input, as users give it: every entry answers with one line that says what is wrong, and writes nothing.

The rows of `REFUSED` are command lines, run in this process through `lrpath.entry`. `prepare` is the part of training
that reads the text; it may leave a store without increments behind.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lrpath import entry, export, plan, report, train
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.errors import ConfigError, DataError, LrpathError, MismatchError, PlanError, StateError
from tests.composing import project_of
from tests.integration.lab import call
from tests.refusals import ended
from tests.test_advice import advised


def prepare(cfg: DictConfig) -> None:
    Project(schema.load(cfg)).prepare()


ENTRIES = {
    "train": (train.train, "config"),
    "plan": (plan.plan, "config"),
    "prepare": (prepare, "config"),
    "report": (report.report, "report"),
    "export": (export.export, "export"),
}

TEXT = "data=text data.tokenizer.vocab_size=300 data.source.paths="
IDS = "data=tokens data.tokenizer.vocab_size=260 data.tokenizer.file=tok.json data.source.vocab_size=300 "
IDS += "model.vocab_size=300 versions=2 increment=2 warmup=1 alpha=0.5 data.source.files="

REFUSED = [
    # names
    ("train alhpa=0.5", ConfigError, "alhpa", "0.5"),
    ("train +alhpa=.5", ConfigError, "alhpa", 0.5),
    ("train optimizer.lr=3", ConfigError, "optimizer.lr", "3"),
    ("train lr=3e-4", ConfigError, "lr", "3e-4"),
    ("train batch_size=8", ConfigError, "batch_size", "8"),
    ("train max_steps=100", ConfigError, "max_steps", "100"),
    ("train paradigms.continual.cycle=2", ConfigError, "paradigms.continual.cycle", "2"),
    ("train +model.dropout=0.1", ConfigError, "model.dropout", 0.1),
    ("train data.source.stdlib_shaer=1", ConfigError, "data.source.stdlib_shaer", "1"),
    ("train paradigms.path_switching.decay.floor=0.3", ConfigError, "paradigms.path_switching.decay.floor", "0.3"),
    ("train model=minni", ConfigError, "model", "minni"),
    ("train +exp=quikstart", ConfigError, "exp", "quikstart"),
    ("train +exp=paper/man", ConfigError, "exp", "paper/man"),
    ("train exp=quickstart", ConfigError, "exp", "quickstart"),
    ("train +exp=quickstart scale=tiny", ConfigError, "scale", "tiny"),
    ("train scale=mini", ConfigError, "scale", "mini"),
    (
        "plan +exp=rewarm/max_lr increment=300",
        ConfigError,
        "paradigms.peak_half.rewarm",
        "${times:0.01,${increment.1}}",
    ),
    ("train paths=[main,v9]", PlanError, "paths", "v9"),
    ("train paths=[]", ConfigError, "paths", ()),
    ("train wait=maybe", ConfigError, "wait", "maybe"),
    ("train workers=0", ConfigError, "workers", 0),
    ("train workers=9999", ConfigError, "workers", 9999),
    ("train workers=two", ConfigError, "workers", "two"),
    ("train paradigm=[path_swithcing]", ConfigError, "paradigm", "path_swithcing"),
    ("train schedule@branch=cosin", ConfigError, "schedule", "cosin"),
    ("train schedule@brnch=cosine", ConfigError, "schedule@brnch", "cosine"),
    ("train schedule.shape=cosin", ConfigError, "schedule.shape", "cosin"),
    ("train data.source.kind=foo", ConfigError, "data.source.kind", "foo"),
    ("train paradigms.continual.kind=foo", ConfigError, "paradigms.continual.kind", "foo"),
    ("train strategy=many", ConfigError, "strategy", "many"),
    ("train +paradigms.x=5", ConfigError, "paradigms.x", 5),
    ("train paradigm=[]", ConfigError, "paradigm", None),
    ("train model=null", ConfigError, None, None),
    ("train alpha=[0.5", ConfigError, "alpha", "[0.5"),
    ("train study=é", ConfigError, "study", "é"),
    ("train data=text data.source.paths=[/données/a,b]", ConfigError, "data.source.paths", "[/données/a,b]"),
    ("train seed", ConfigError, "seed", ""),
    ("train --config-dir=nowhere", ConfigError, None, None),
    # guard
    ("train guard.policy=ignore", ConfigError, "guard.policy", "ignore"),
    ("train guard.spike=0", PlanError, "guard.spike", 0.0),
    ("train guard.spike=often", ConfigError, "guard.spike", "often"),
    ("train guard.spike=inf", ConfigError, "guard.spike", float("inf")),
    ("train guard.window=3", PlanError, "guard.window", 3),
    ("train guard.policy=rewind guard.back=0", PlanError, "guard.back", 0),
    ("train guard.back=1.5", ConfigError, "guard.back", 1.5),
    ("train guard.limit=0", PlanError, "guard.limit", 0),
    ("train guard=skip", ConfigError, "guard", "skip"),
    ("train guard.patience=3", ConfigError, "guard.patience", "3"),
    # interpolation, and values that are not given
    ("train study=${nope}", ConfigError, "study", "${nope}"),
    ("train study=${oc.env:LRPATH_NOPE}", ConfigError, "study", "${oc.env:LRPATH_NOPE}"),
    ("train alpha=${alpha}", ConfigError, "paradigms.path_switching.alpha", "${alpha}"),
    ("train seed=null", ConfigError, "seed", None),
    ("train peak=null", ConfigError, "peak", None),
    ("train model.layers=null", ConfigError, "model.layers", None),
    ("train data.source=null", ConfigError, "data.source", None),
    ("train data=text", ConfigError, "data.source.paths", None),
    ("train data=tokens", ConfigError, "data.source.files", None),
    ("report", ConfigError, "study", None),
    ("export study=s", ConfigError, "release", None),
    # rates and lengths
    ("train peak=nan", ConfigError, "peak", float("nan")),
    ("train peak=1e400", ConfigError, "peak", float("inf")),
    ("train peak=-1", ConfigError, "peak", -1.0),
    ("train peak=0", ConfigError, "peak", 0.0),
    ("train peak=abc", ConfigError, "peak", "abc"),
    ("train floor=1", ConfigError, "schedule.floor", 1.0),
    ("train floor=-0.1", ConfigError, "schedule.floor", -0.1),
    ("train schedule=exponential floor=0", ConfigError, "schedule.floor", 0.0),
    ("train alpha=0", ConfigError, "alpha", 0.0),
    ("train alpha=1.5", PlanError, "paradigms.path_switching.alpha", 1.5),
    ("train alpha=[0.5,0.6]", PlanError, "paradigms.path_switching.alpha", (0.5, 0.6)),
    ("train warmup=300", PlanError, "paradigms.path_switching.alpha", 0.6),
    ("train warmup=300 paradigm=[from_scratch]", PlanError, "paradigms.from_scratch.warmup", 300),
    ("train warmup=0.1", ConfigError, "warmup", 0.1),
    ("train warmup=-3", ConfigError, "paradigms.path_switching.warmup", -3),
    ("train increment=0", PlanError, "increment", 0),
    ("train increment=1e9", ConfigError, "increment", 1000000000.0),
    ("train increment=abc", ConfigError, "increment", "abc"),
    ("train 'increment=5 tokens'", ConfigError, "increment", "5 tokens"),
    ("train increment=[300,300]", PlanError, "increment", (300, 300)),
    ("train versions=0", ConfigError, "versions", 0),
    ("train versions=100000", ConfigError, "versions", 100000),
    ("train versions=two", ConfigError, "versions", "two"),
    ("train versions=2.0", ConfigError, "versions", 2.0),
    ("train paradigms.continual.replay=1", PlanError, "paradigms.continual.replay", 1.0),
    ("train paradigms.continual.restart=rewarm", ConfigError, "paradigms.continual.rewarm", None),
    ("train paradigms.path_switching.anchor=middle", ConfigError, "paradigms.path_switching.anchor", "middle"),
    # batch, model, optimizer, precision, seed
    ("train batch.sequences_per_update=0", ConfigError, "batch.sequences_per_update", 0),
    ("train batch.tokens_per_sequence=-4", ConfigError, "model.context", -4),
    ("train model.context=64", ConfigError, "model.context", 64),
    ("train model.vocab_size=100", ConfigError, "model.vocab_size", 100),
    ("train model.heads=3", ConfigError, "model.heads", 3),
    ("train model.layers=2.5", ConfigError, "model.layers", 2.5),
    ("train model.norm_eps=inf", ConfigError, "model.norm_eps", float("inf")),
    ("train model.family=gpt9", ConfigError, "model.family", "gpt9"),
    ("train model=hf_file model.file=absent.json", ConfigError, "model.file", "absent.json"),
    ("train model=hf_file model.file=remote_code.json", ConfigError, "model.file", "remote_code.json"),
    ("train model=hf_file model.file=text_sizes.json", ConfigError, "model.file", "text_sizes.json"),
    ("train model=hf_file model.file=deep.json", ConfigError, "model.file", "deep.json"),
    ("train optimizer.beta1=1", ConfigError, "optimizer.beta1", 1.0),
    ("train optimizer.clip_norm=true", ConfigError, "optimizer.clip_norm", True),
    ("train precision=fp8", PlanError, "precision", "fp8"),
    ("train seed=-1", PlanError, "seed", -1),
    # what changes no number
    ("train strategy.micro_batch=7", ConfigError, "strategy.micro_batch", 7),
    ("train strategy.micro_batch=0", ConfigError, "strategy.micro_batch", 0),
    ("train strategy.threads=9999", ConfigError, None, None),
    ("train strategy.threads=0", ConfigError, "strategy.threads", 0),
    ("train strategy.accelerator=tpu", ConfigError, "strategy.accelerator", "tpu"),
    ("train strategy.name=many", ConfigError, "strategy.name", "many"),
    ("train strategy=ddp", ConfigError, None, None),
    ("train strategy=fsdp strategy.shard_ranks=0", ConfigError, None, None),
    ("train logger.name=wanbd", ConfigError, "logger.name", "wanbd"),
    ("train cadence.log_every=0", ConfigError, "cadence.log_every", 0),
    ("train cadence.save_every=null", ConfigError, "cadence.save_every", None),
    ("train cluster.device=H300", ConfigError, "cluster.device", "H300"),
    ("train cluster.mfu=0", ConfigError, "cluster.mfu", 0.0),
    ("train cluster.count=0", ConfigError, "cluster.count", 0),
    ("train format=xml", ConfigError, "format", "xml"),
    # places
    ("train study=../x", ConfigError, "study", "../x"),
    ("train study=''", ConfigError, "study", ""),
    ("train study=data", ConfigError, "study", "data"),
    ("train outputs=''", ConfigError, "outputs", ""),
    ("train data.folder=''", ConfigError, "data.folder", ""),
    ("train outputs=afile", ConfigError, "outputs", "afile"),
    ("prepare data.folder=afile/x", ConfigError, "data.folder", "afile/x"),
    ("plan figure=x.bogus", ConfigError, None, None),
    ("plan figure=afile/x.png", ConfigError, None, "afile"),
    ("report study=nope", StateError, None, None),
    ("report study=../x", ConfigError, "study", "../x"),
    ("export study=nope release=v1", StateError, None, None),
    ("export study=planned release=v9", PlanError, None, None),
    ("export study=planned release=no/v1", PlanError, None, None),
    ("export study=halves release=v1", PlanError, None, None),
    ("export study=planned release=4", ConfigError, "release", 4),
    ("export study=planned release=v1 folder=good", DataError, None, None),
    ("export study=planned release=v1", StateError, None, None),
    # text
    (f"train {TEXT}good", ConfigError, "data.source.paths", "good"),
    (f"train {TEXT}[]", ConfigError, "data.source.paths", ()),
    (f"train {TEXT}[absent]", DataError, None, None),
    (f"train {TEXT}[empty]", DataError, None, None),
    (f"train {TEXT}[good] data.source.versions.by=date", ConfigError, "data.source.versions.boundaries", ()),
    (f"train {TEXT}[good] +data.source.versions.shares=[1]", ConfigError, "data.source.versions.shares", (1.0,)),
    (f"train {TEXT}[good] data.source.heldout.share=1", ConfigError, "data.source.heldout.share", 1.0),
    (f"train {TEXT}[good] data.tokenizer.vocab_size=100", ConfigError, "data.tokenizer.vocab_size", 100),
    (f"train {TEXT}[good] data.tokenizer=null", ConfigError, "model.vocab_size", "${data.tokenizer.vocab_size}"),
    (f"train {TEXT}[good] data.tokenizer.file=absent.json", DataError, "data.tokenizer.file", "absent.json"),
    (f"prepare {TEXT}[good] data.tokenizer.file=hostile.json", DataError, None, None),
    (f"prepare {TEXT}[good] data.tokenizer.file=tok.json", DataError, "data.tokenizer.vocab_size", 300),
    (f"prepare {TEXT}[good] data.tokenizer.vocab_size=4096", DataError, "data.tokenizer.vocab_size", 4096),
    (f"prepare {TEXT}[good] versions=9", DataError, None, None),
    (f"prepare {TEXT}[not_utf8] versions=1", DataError, None, None),
    (f"prepare {TEXT}[torn] versions=1", DataError, None, None),
    (f"prepare {TEXT}[no_text] versions=1", DataError, None, None),
    ("prepare data.source.bytes_per_version=[100,200]", ConfigError, "data.source.bytes_per_version", (100, 200)),
    ("train data.source.bytes_per_version=0", ConfigError, "data.source.bytes_per_version", 0),
    # token ids
    (f"prepare {IDS}[odd.bin,ids.bin]", DataError, None, None),
    (f"prepare {IDS}[zero.bin,ids.bin]", DataError, None, None),
    (f"prepare {IDS}[large.bin,ids.bin]", DataError, None, None),
    (f"prepare {IDS}[ids.bin]", ConfigError, None, None),
    (f"train {IDS}[]", ConfigError, "data.source.files", ()),
    (f"train {IDS}[ids.bin] data.source.bits=8", ConfigError, "data.source.bits", 8),
    (f"train {IDS}[ids.bin] data.source.vocab_size=70000", ConfigError, None, None),
    (f"prepare {IDS}[ids.bin,ids.bin] data.source.vocab_size=250", ConfigError, "data.source.vocab_size", 250),
]


"""A command line, the kind of error, and the field and value that it names, if it is about a field."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with good and bad files to point the entries at."""
    folder = tmp_path_factory.mktemp("desk")
    words = random.Random(1)
    for number in range(1, 5):
        lines = [json.dumps({"text": f"update {words.random()} of a path"}) for _ in range(50)]
        _write(folder / f"good/V{number}.jsonl", "\n".join(lines).encode())
    _write(folder / "not_utf8/V1.txt", b"good\n\xff\xfe")
    _write(folder / "torn/V1.jsonl", b'{"text": "good"}\n{"text": "ba')
    _write(folder / "no_text/V1.jsonl", b'{"body": "bad"}\n')
    _write(folder / "afile", b"")
    (folder / "empty").mkdir()
    _write(folder / "odd.bin", bytes(1001))
    _write(folder / "zero.bin", b"")
    _write(folder / "ids.bin", np.full(5_000, 7, dtype="<u2").tobytes())
    _write(folder / "large.bin", np.array([5, 299, 300, 7] * 100, dtype="<u2").tobytes())
    _write(folder / "hostile.json", b'{"model": {"__reduce__": "os.system"}}')
    sizes = {"model_type": "gpt2", "vocab_size": "512", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
    _write(folder / "text_sizes.json", json.dumps(sizes).encode())
    _write(folder / "remote_code.json", b'{"auto_map": {"AutoModel": "evil.py"}, "model_type": "internlm2"}')
    _write(folder / "deep.json", b"[" * 100_000)
    tokenizer = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=260, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["hello world " * 50], trainer=trainer)
    tokenizer.save(str(folder / "tok.json"))
    for study, alpha in (("planned", 0.6), ("halves", 0.6), ("halves", 0.5)):
        outputs = f"outputs={folder / 'outputs'}"
        project = project_of(outputs, f"study={study}", f"alpha={alpha}", "paradigm=[path_switching]")
        project.study.save_plan(project.plan.as_record())
    return folder


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)


def _files(folder: Path) -> dict[str, bytes]:
    """Return all files by name; of token stores, which a preparation may begin, only whole increments."""
    found = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    stores = {name for name in found if name.startswith("outputs/data/") and not name.endswith("increment.json")}
    return {name: file.read_bytes() for name, file in found.items() if name not in stores}


def _arguments(line: str) -> list[str]:
    """Split a command line at spaces outside of quotes; no shell expands `${…}` here."""
    return [word.strip("'") if word.startswith("'") else word for word in _words(line)]


def _words(line: str) -> list[str]:
    head, quote, tail = line.partition(" '")
    if not quote:
        return line.split()
    quoted, _, rest = tail.partition("'")
    return [*head.split(), quoted, *_words(rest)]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "kind", "field", "value"), REFUSED, ids=[row[0] for row in REFUSED])
def test_bad_input_is_refused_with_one_helpful_line_and_nothing_is_written(
    line: str,
    kind: type[LrpathError],
    field: str | None,
    value: object,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *arguments = _arguments(line)
    task, config_name = ENTRIES[name]
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "argv", [f"lrpath.{name}", *arguments])
    before = _files(desk)

    about = {} if field is None and value is None else {"field": field, "value": value}
    with ended(kind, capsys=capsys, **about) as end:
        entry.run(task, config_name=config_name)

    assert _files(desk) == before
    cured = _cured(arguments, str(end.value.__cause__), field)
    if cured is not None and name in ("train", "plan"):
        assert _refusal(cured, monkeypatch) != str(end.value.__cause__)


def _cured(arguments: list[str], sentence: str, field: str | None) -> list[str] | None:
    """Return the command line with what the message advises in place of what it refuses; None if it advises nothing."""
    advice = [override for override in advised(sentence) if "…" not in override]
    names = {override.lstrip("+").partition("=")[0] for override in advice}
    kept = [text for text in arguments if text.lstrip("+").partition("=")[0] not in {*names, field}]
    return [*kept, *advice] if advice and advice != ["field=value"] else None


def _refusal(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return why a configuration is refused when it is planned."""
    monkeypatch.setattr(sys, "argv", ["lrpath.plan", *arguments])
    try:
        entry.run(plan.plan, config_name="config")
    except SystemExit as end:
        return str(end.__cause__)
    return None


def test_there_are_at_least_a_hundred_bad_inputs_and_none_twice() -> None:
    lines = [row[0] for row in REFUSED]

    assert len(set(lines)) == len(lines) >= 100


def test_a_text_that_changed_after_its_preparation_is_refused_with_the_difference(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    for number in (1, 2):
        _write(texts / f"V{number}.jsonl", (desk / f"good/V{number}.jsonl").read_bytes())
    small = "versions=2 increment=2 warmup=1 alpha=0.5 batch.sequences_per_update=2 batch.tokens_per_sequence=16"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lrpath.prepare", *f"{TEXT}[texts] {small}".split()])
    entry.run(prepare, config_name="config")
    _write(texts / "V2.jsonl", b'{"text": "another"}\n')

    with ended(DataError, MismatchError, capsys=capsys):
        entry.run(prepare, config_name="config")


def test_a_last_version_that_is_too_small_is_refused_before_the_first_is_trained(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    _write(texts / "V1.jsonl", (desk / "good/V1.jsonl").read_bytes())
    _write(texts / "V2.jsonl", b'{"text": "far too little"}\n')
    small = "versions=2 increment=2 warmup=1 alpha=0.5 batch.sequences_per_update=2 batch.tokens_per_sequence=16"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lrpath.prepare", *f"{TEXT}[texts] {small}".split()])

    with ended(DataError, capsys=capsys):
        entry.run(prepare, config_name="config")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["model=minni", "alhpa=0.5", "alpha=0", "study=${nope}", "model=null"])
def test_the_command_line_prints_one_line_and_no_traceback(arguments: str, tmp_path: Path) -> None:
    done = call("-m", "lrpath.train", arguments, folder=tmp_path)

    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["model=minni", "alpha=0"])
def test_a_full_error_has_its_traceback_when_it_is_asked_for(arguments: str, tmp_path: Path) -> None:
    done = call("-m", "lrpath.plan", arguments, folder=tmp_path, env={"HYDRA_FULL_ERROR": "1"})

    assert done.code == 1
    assert "Traceback (most recent call last)" in done.err


@pytest.mark.slow
def test_a_fault_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "faulty.py"
    script.write_text(
        "from lrpath import entry\ndef task(cfg): raise KeyError('ours')\nentry.run(task, config_name='config')"
    )

    done = call(str(script), folder=tmp_path)

    assert done.code == 1
    assert "KeyError: 'ours'" in done.err
    assert "Traceback (most recent call last)" in done.err


@pytest.mark.slow
def test_an_impossible_plan_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['lrpath.train', 'alpha=0']\nfrom lrpath import entry, train\n"
        "try: entry.run(train.train, config_name='config')\n"
        "except SystemExit as ended: print(ended.code, 'torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout == "2 False\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_with_a_bad_study_name_makes_no_folder_of_that_name(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()

    done = call("-m", "lrpath.train", "-m", "study=../../escaped", "alpha=0.2,0.4", folder=inside)

    assert done.code == 2
    assert done.err.startswith("error: study=")
    assert {file.name for file in tmp_path.rglob("*")} <= {"inside", "outputs", "multirun.yaml"}
