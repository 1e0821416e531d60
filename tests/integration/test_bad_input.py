"""Bad input, as users give it: every entry answers with one line that says what is wrong, and writes nothing.

The rows of `REFUSED` are command lines, run in this process through `lrpath.entry`. `prepare` is the part of training
that reads the text; it may leave a store without increments behind.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from lrpath import entry, export, plan, report, train
from lrpath.assembly.project import Project
from lrpath.config import schema


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
    ("train alhpa=0.5", "alhpa is no field here (did you mean alpha?)"),
    ("train +alhpa=.5", "alhpa is no field (did you mean alpha?)"),
    ("train optimizer.lr=3", "optimizer.lr is no field here; there are beta1"),
    ("train +model.dropout=0.1", "model.dropout is no field; known here: context"),
    ("train data.source.stdlib_shaer=1", "did you mean stdlib_share?"),
    (
        "train paradigms.path_switching.decay.floor=0.3",
        "paradigms.path_switching.decay is empty or filled from another",
    ),
    ("train model=minni", "model=minni is no option (did you mean mini?); choose one of 1.2b, 106m"),
    ("train +exp=quikstart", "exp=quikstart is no option (did you mean quickstart?); choose one of cpt_dynamics/"),
    ("train +exp=paper/man", "did you mean paper/main?"),
    ("train exp=quickstart", "use +exp=quickstart"),
    ("train +exp=quickstart scale=tiny", "scale=tiny is no option; choose one of full, mini"),
    ("train scale=mini", "append to your default list use +scale=mini"),
    ("plan +exp=rewarm/max_lr increment=300", "increment.1: node `increment` is not a container"),
    ("train paths=[main,v9]", "paths=v9 means no path of this plan; it has path_switching.main, path_switching.v1"),
    ("train paths=[]", "paths is empty, so nothing would be run; name some"),
    ("train wait=maybe", "wait='maybe' must be true or false"),
    ("train paradigm=[path_swithcing]", "paradigm=path_swithcing is no option (did you mean path_switching?)"),
    ("train schedule@branch=cosin", "schedule=cosin is no option (did you mean cosine?)"),
    ("train schedule@brnch=cosine", "Did you mean to override one of schedule, schedule@branch?"),
    ("train schedule.shape=cosin", "decay.shape='cosin' must be one of linear, cosine"),
    ("train data.source.kind=foo", "data.source.kind='foo' must be one of python_source, text, tokens, hf"),
    ("train paradigms.continual.kind=foo", "paradigms.continual.kind='foo' must be one of from_scratch"),
    ("train strategy=many", "strategy=many is no option; choose one of ddp, fsdp, hsdp, single"),
    ("train +paradigms.x=5", "paradigms.x=5 must be a mapping"),
    ("train paradigm=[]", "paradigm is empty; choose some"),
    ("train model=null", "Config group override must be a string or a list"),
    ("train alpha=[0.5", "alpha=[0.5 on the command line cannot be read"),
    ("train seed", "seed on the command line cannot be read"),
    ("train --config-dir=nowhere", "nowhere' not found"),
    # guard
    ("train guard.policy=ignore", "guard.policy='ignore' must be one of stop, skip, rewind"),
    ("train guard.spike=0", "guard.spike=0.0 must be positive, or null for no rule about spikes"),
    ("train guard.spike=often", "guard.spike='often' must be a number"),
    ("train guard.spike=inf", "guard.spike=inf must be a finite number"),
    ("train guard.window=3", "guard.window=3 must be at least 4"),
    ("train guard.policy=rewind guard.back=0", "guard.back=0 must be at least 1; policy=skip leaves out"),
    ("train guard.back=1.5", "guard.back=1.5 must be a whole number"),
    ("train guard.limit=0", "guard.limit=0 must be at least 1; policy=stop ends at the first"),
    ("train guard=skip", "guard='skip' must be a mapping"),
    ("train guard.patience=3", "guard.patience is no field here; there are"),
    # interpolation, and values that are not given
    (
        "train study=${nope}",
        "study=${nope} cannot be resolved (Interpolation key 'nope' not found); give study a value",
    ),
    ("train study=${oc.env:LRPATH_NOPE}", "cannot be resolved (Environment variable 'LRPATH_NOPE' not found)"),
    ("train alpha=${alpha}", "Recursive interpolation detected"),
    ("train seed=null", "seed=null must be a whole number"),
    ("train peak=null", "peak=null must be a number"),
    ("train model.layers=null", "model lacks layers"),
    ("train data.source=null", "data.source=null must be a mapping"),
    ("train data=text", "data.source.paths must be given: data.source.paths=…"),
    ("train data=tokens", "data.source.files, data.tokenizer.vocab_size, data.tokenizer.file must be given"),
    ("report", "study must be given: study=…"),
    ("export study=s", "release must be given: release=…"),
    # rates and lengths
    ("train peak=nan", "peak=nan must be a finite number"),
    ("train peak=1e400", "peak=inf must be a finite number"),
    ("train peak=-1", "peak=-1.0 must be a positive rate"),
    ("train peak=0", "peak=0.0 must be a positive rate"),
    ("train peak=abc", "peak='abc' must be a number"),
    ("train floor=1", "floor=1.0 must lie in [0, 1)"),
    ("train floor=-0.1", "floor=-0.1 must lie in [0, 1)"),
    ("train schedule=exponential floor=0", "floor=0 is out of reach for shape=exponential"),
    ("train alpha=0", "alpha=0.0 gives v1 no branch; it must be positive"),
    ("train alpha=1.5", "branch of 450 updates would leave the main path at -150"),
    ("train alpha=[0.5,0.6]", "alpha has 2 values for 4 versions; give one or 4"),
    ("train warmup=300", "shorten warmup or enlarge the increment"),
    ("train warmup=300 paradigm=[from_scratch]", "warmup of 300 updates leaves no update of 300 for the decay"),
    ("train warmup=0.1", 'warmup=0.1 must be a length: whole updates ("300 updates") or tokens'),
    ("train warmup=-3", "warmup=-3 is not a length"),
    ("train increment=0", "increment v1 has 0 updates; it needs at least 1"),
    ("train increment=1e9", "increment=1000000000.0 must be a length"),
    ("train increment=abc", "increment='abc' is not a length"),
    ("train 'increment=5 tokens'", "rounds to no update of 4,096 tokens; lengthen it"),
    ("train increment=[300,300]", "increment lists 2 lengths for versions=4; give one length or 4"),
    ("train versions=0", "versions=0 must lie in [1, 1_000]"),
    ("train versions=100000", "versions=100000 must lie in [1, 1_000]"),
    ("train versions=two", "versions='two' must be a whole number"),
    ("train versions=2.0", "versions=2.0 must be a whole number; write 2"),
    ("train paradigms.continual.replay=1", "continual: replay must lie in [0, 1)"),
    ("train paradigms.continual.restart=rewarm", "restart=rewarm needs rewarm"),
    ("train paradigms.path_switching.anchor=middle", "anchor='middle' must be one of end, start"),
    # batch, model, optimizer, precision, seed
    ("train batch.sequences_per_update=0", "batch.sequences_per_update=0 must be at least 1"),
    ("train batch.tokens_per_sequence=-4", "batch.tokens_per_sequence=-4 must be at least 1"),
    ("train model.context=64", "model.context=64 must be at least batch.tokens_per_sequence=128"),
    ("train model.vocab_size=100", "model.vocab_size=100 must be at least the 512 token ids of the data"),
    ("train model.heads=3", "model.hidden_size 64 is not divisible by model.heads 3"),
    ("train model.layers=2.5", "model.layers=2.5 must be a whole number"),
    ("train model.norm_eps=inf", "model.norm_eps=inf must be a finite number"),
    ("train model.family=gpt9", "model.family must be one of llama"),
    ("train model=hf_file model.file=absent.json", "model.file absent.json cannot be read"),
    ("train model=hf_file model.file=remote_code.json", "has auto_map, which runs code"),
    ("train model=hf_file model.file=text_sizes.json", "has vocab_size = '512', which must be a whole number"),
    ("train model=hf_file model.file=deep.json", "model.file deep.json is not JSON"),
    ("train optimizer.beta1=1", "optimizer.beta1=1.0 must be in [0, 1)"),
    ("train optimizer.clip_norm=true", "optimizer.clip_norm=true must be a number"),
    ("train precision=fp8", "precision=fp8 must be fp32 or bf16"),
    ("train seed=-1", "seed=-1 must lie in [0, 2^63)"),
    # what changes no number
    (
        "train strategy.micro_batch=7",
        "strategy.micro_batch=7 must divide batch.sequences_per_update=32; use one of 1, 2",
    ),
    ("train strategy.micro_batch=0", "strategy.micro_batch=0 must be at least 1"),
    ("train strategy.threads=9999", "strategy.threads=9999 must lie in [1, "),
    ("train strategy.threads=0", "strategy.threads=0 must be at least 1"),
    ("train strategy.accelerator=tpu", "strategy.accelerator='tpu' must be one of auto, cpu, gpu"),
    ("train strategy.name=many", "strategy.name='many' must be one of single, ddp, fsdp"),
    ("train strategy=ddp", "torchrun --nproc-per-node 2 -m lrpath.train … strategy=ddp, or on SLURM srun"),
    ("train strategy=fsdp strategy.shard_ranks=0", "strategy.shard_ranks=0 must be at least 1"),
    ("train logger.name=wandb", "logger.name='wandb' must be one of tensorboard, none"),
    ("train cadence.log_every=0", "cadence.log_every=0 must be at least 1"),
    ("train cadence.save_every=null", "cadence.save_every=null must be a whole number"),
    ("train cluster.device=H300", "cluster: device must be one of H200"),
    ("train cluster.mfu=0", "cluster: mfu must lie in (0, 1], not 0.0"),
    ("train cluster.count=0", "count of devices must be at least 1"),
    ("train format=xml", "format='xml' must be one of text, json"),
    # places
    ("train study=../x", "study='../x' must be a plain folder name"),
    ("train study=''", "study='' must be a plain folder name"),
    ("train study=data", "study=data is where data.folder keeps token stores"),
    ("train outputs=''", "outputs is empty"),
    ("train data.folder=''", "data.folder is empty"),
    ("train outputs=afile", "outputs: afile is no folder, so afile/default cannot be made"),
    ("prepare data.folder=afile/x", "data.folder: afile is no folder"),
    ("plan figure=x.bogus", "figure=x.bogus must end in one of .png, .svg, .pdf"),
    ("plan figure=afile/x.png", "afile"),
    ("report study=nope", "outputs has no study 'nope'"),
    ("report study=../x", "study='../x' must be a plain folder name"),
    ("export study=nope release=v1", "outputs has no study 'nope'"),
    ("export study=planned release=v9", "no release 'v9'; choose one of 'release="),
    ("export study=planned release=no/v1", "no release 'no/v1'; choose one of 'release="),
    ("export study=halves release=v1", "several releases 'v1'; choose one of 'release="),
    ("export study=planned release=4", "release=4 must be text"),
    ("export study=planned release=v1 folder=good", "good holds files already"),
    ("export study=planned release=v1", "planned is not made yet"),
    # text
    (f"train {TEXT}good", "data.source.paths='good' must be a list; write [good]"),
    (f"train {TEXT}[]", "data.source: give paths or domains, and not both"),
    (f"train {TEXT}[absent]", "absent does not exist; correct data.source.paths"),
    (f"train {TEXT}[empty]", "empty holds no .txt, .jsonl, .parquet file"),
    (f"train {TEXT}[good] data.source.versions.by=date", "data.source.versions.by=date needs boundaries"),
    (f"train {TEXT}[good] +data.source.versions.shares=[1]", "shares belongs to by=share, not to by=file"),
    (f"train {TEXT}[good] data.source.heldout.share=1", "data.source.heldout.share must lie in [0, 1)"),
    (f"train {TEXT}[good] data.tokenizer.vocab_size=100", "data.tokenizer.vocab_size must lie in [257, 4_194_304]"),
    (f"train {TEXT}[good] data.tokenizer=null", "model.vocab_size=${data.tokenizer.vocab_size} cannot be resolved"),
    (f"train {TEXT}[good] data.tokenizer.file=absent.json", "absent.json does not exist; correct data.tokenizer.file"),
    (f"prepare {TEXT}[good] data.tokenizer.file=hostile.json", "hostile.json is not a tokenizer.json"),
    (
        f"prepare {TEXT}[good] data.tokenizer.file=tok.json",
        "has a vocabulary of 260, and data.tokenizer.vocab_size is 300",
    ),
    (f"prepare {TEXT}[good] data.tokenizer.vocab_size=4096", "data.tokenizer.vocab_size is 4_096; lower it"),
    (f"prepare {TEXT}[good] versions=9", "good has 4 files or folders to be versions, but version number 5"),
    (f"prepare {TEXT}[not_utf8] versions=1", "not_utf8/V1.txt:2 is not UTF-8"),
    (f"prepare {TEXT}[torn] versions=1", "torn/V1.jsonl:2 is not JSON"),
    (f"prepare {TEXT}[no_text] versions=1", "no_text/V1.jsonl:1 must be a JSON object with a field `text`"),
    (
        "prepare data.source.bytes_per_version=[100,200]",
        "lists 2 values, but version number 3 was asked for; add one",
    ),
    ("train data.source.bytes_per_version=0", "data.source.bytes_per_version must be at least 1 byte"),
    # token ids
    (f"prepare {IDS}[odd.bin,ids.bin]", "odd.bin has 1_001 bytes, which is no whole number of 16-bit ids"),
    (f"prepare {IDS}[zero.bin,ids.bin]", "zero.bin has 0 bytes"),
    (f"prepare {IDS}[large.bin,ids.bin]", "token ids [5, 300] must lie in [0, 300)"),
    (f"prepare {IDS}[ids.bin]", "data.source.files names 1 files, but version number 2 was asked for"),
    (f"train {IDS}[]", "data.source.files is empty"),
    (f"train {IDS}[ids.bin] data.source.bits=8", "data.source.bits=8 must be one of 16, 32"),
    (f"train {IDS}[ids.bin] data.source.vocab_size=70000", "data.source.vocab_size must lie in [1, 65536]"),
    (f"prepare {IDS}[ids.bin,ids.bin] data.source.vocab_size=250", "the tokenizer has 260 tokens; raise it"),
]


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
    _write(folder / "remote_code.json", b'{"auto_map": {"AutoModel": "evil.py"}, "model_type": "llama"}')
    _write(folder / "deep.json", b"[" * 100_000)
    tokenizer = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=260, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["hello world " * 50], trainer=trainer)
    tokenizer.save(str(folder / "tok.json"))
    with initialize_config_dir(version_base="1.3", config_dir=str(schema.conf_folder())):
        for study, alpha in (("planned", 0.6), ("halves", 0.6), ("halves", 0.5)):
            overrides = [
                f"outputs={folder / 'outputs'}",
                f"study={study}",
                f"alpha={alpha}",
                "paradigm=[path_switching]",
            ]
            project = Project(schema.load(compose("config", overrides=overrides)))
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
@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_bad_input_is_refused_with_one_helpful_line_and_nothing_is_written(
    line: str, words: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = _arguments(line)
    task, config_name = ENTRIES[name]
    monkeypatch.chdir(desk)
    monkeypatch.setattr(sys, "argv", [f"lrpath.{name}", *arguments])
    before = _files(desk)

    with pytest.raises(SystemExit) as ended:
        entry.run(task, config_name=config_name)

    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert words in printed
    assert printed.count("\n") == 1
    assert ended.value.code == 2
    assert _files(desk) == before


def test_there_are_at_least_a_hundred_bad_inputs_and_none_twice() -> None:
    lines = [line for line, _ in REFUSED]

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

    with pytest.raises(SystemExit) as ended:
        entry.run(prepare, config_name="config")

    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert "v2/increment.json was prepared under other settings (there → asked): source.files[0].bytes:" in printed
    assert "→ 20; " in printed
    assert "restore the settings or the text, or choose another data.folder" in printed


def test_a_last_version_that_is_too_small_is_refused_before_the_first_is_trained(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    _write(texts / "V1.jsonl", (desk / "good/V1.jsonl").read_bytes())
    _write(texts / "V2.jsonl", b'{"text": "far too little"}\n')
    small = "versions=2 increment=2 warmup=1 alpha=0.5 batch.sequences_per_update=2 batch.tokens_per_sequence=16"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lrpath.prepare", *f"{TEXT}[texts] {small}".split()])

    with pytest.raises(SystemExit):
        entry.run(prepare, config_name="config")

    printed = capsys.readouterr().err
    assert (
        "increment v2 is too small: 2 updates × 2 sequences × 16 tokens need 65 tokens, and the store holds" in printed
    )
    assert "plan at most" in printed


def _run(arguments: list[str], *, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["model=minni", "alhpa=0.5", "alpha=0", "study=${nope}", "model=null"])
def test_the_command_line_prints_one_line_and_no_traceback(arguments: str, tmp_path: Path) -> None:
    done = _run(["-m", "lrpath.train", arguments], folder=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["model=minni", "alpha=0"])
def test_a_full_error_has_its_traceback_when_it_is_asked_for(arguments: str, tmp_path: Path) -> None:
    done = _run(["-m", "lrpath.plan", arguments], folder=tmp_path, HYDRA_FULL_ERROR="1")

    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.slow
def test_a_fault_of_ours_keeps_its_traceback(tmp_path: Path) -> None:
    code = "from lrpath import entry\ndef task(cfg): raise KeyError('ours')\nentry.run(task, config_name='config')"

    done = _run(["-c", code], folder=tmp_path)

    assert done.returncode == 1
    assert "KeyError: 'ours'" in done.stderr
    assert "Traceback (most recent call last)" in done.stderr


@pytest.mark.slow
def test_an_impossible_plan_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['lrpath.train', 'alpha=0']\nfrom lrpath import entry, train\n"
        "try: entry.run(train.train, config_name='config')\n"
        "except SystemExit as ended: print(ended.code, 'torch' in sys.modules)"
    )

    done = _run(["-c", code], folder=tmp_path)

    assert done.stdout == "2 False\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_with_a_bad_study_name_makes_no_folder_of_that_name(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()

    done = _run(["-m", "lrpath.train", "-m", "study=../../escaped", "alpha=0.2,0.4"], folder=inside)

    assert done.returncode == 2
    assert "study='../../escaped' must be a plain folder name" in done.stderr
    assert {file.name for file in tmp_path.rglob("*")} <= {"inside", "outputs", "multirun.yaml"}
