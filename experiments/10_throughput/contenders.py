"""One contender's updates in a process of its own: `python contenders.py NAME JOB.json`, called by speed.py and gpu.py.

All get the same sizes, initial weights (a Llama's, by transformers' names) and windows of every update, and write what
they counted: parameters, threads, the first loss, and the clock after every update. What differs is what each trainer
does around a forward pass, a backward pass and AdamW. "As it comes" leaves every choice of speed to the trainer; "best"
is what its documentation offers: bf16 over fp32 weights, `torch.compile`, fused AdamW.
"""

import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RATE, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
"""Constant rate, and settings of AdamW that all contenders get."""


@dataclass
class Job:
    """What is to be run, as speed.py wrote it."""

    size: dict  # of the model, and `context`, `tied`
    updates: int
    skipped: int  # updates before the clock starts: they compile, allocate and warm up
    sequences: int  # of an update
    micro_batch: int
    device: str  # cpu or cuda
    threads: int
    is_best: bool
    ids: str  # folder of what all contenders read
    folder: str  # of this contender alone
    same_weights: bool = True  # else each draws its own: five gigabytes need not be written and read
    increments: int = 1  # of `updates` each; more than one only for the tree of lrpath's paths

    @property
    def windows(self) -> np.ndarray:
        return np.load(Path(self.ids, "windows.npy"), mmap_mode="r")

    @property
    def accumulate(self) -> int:
        return self.sequences // self.micro_batch

    @property
    def weights(self) -> dict[str, Tensor]:
        return torch.load(Path(self.ids, "weights.pt"), mmap=True)

    def micro_batches(self) -> torch.utils.data.Dataset:
        return MicroBatches(self)

    def llama_config(self):
        from transformers import LlamaConfig

        size = self.size
        return LlamaConfig(
            vocab_size=size["vocab_size"],
            hidden_size=size["hidden_size"],
            intermediate_size=size["ffn_size"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["heads"],
            max_position_embeddings=size["context"],
            rms_norm_eps=1e-5,
            tie_word_embeddings=size["tied"],
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )

    def llama(self) -> torch.nn.Module:
        """Return transformers' model with the weights of all contenders, on the CPU, or on the device with its own."""
        from transformers import LlamaForCausalLM

        if not self.same_weights:
            with torch.device(self.device):
                return LlamaForCausalLM(self.llama_config()).train()
        model = LlamaForCausalLM(self.llama_config())
        model.load_state_dict(self.weights, strict=False)  # a tied head stands there once
        model.tie_weights()
        return model.train()


class MicroBatches(torch.utils.data.Dataset):
    """Micro-batch `i` of all updates, [M, L + 1]."""

    def __init__(self, job: Job) -> None:
        windows = job.windows
        self.rows = windows.reshape(-1, job.micro_batch, windows.shape[2])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Tensor:
        return torch.from_numpy(self.rows[number].astype(np.int64))


class Clock:
    """Wall and CPU time of this process, all its threads together, after every update."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ends: list[tuple[float, float]] = []
        self.first_loss: float | Tensor = float("nan")
        self.parameters = 0

    def see(self, loss: Tensor) -> None:
        """Take the loss of a micro-batch; that of the first update is the mean over its micro-batches."""
        if not self.ends:
            loss = loss.detach() / self.job.accumulate
            self.first_loss = loss if isinstance(self.first_loss, float) else self.first_loss + loss

    def note(self) -> None:
        if self.job.device == "cuda" and len(self.ends) in (self.job.skipped - 1, self.job.updates - 2):
            torch.cuda.synchronize()  # at the two ends of what is timed, and nowhere in between
        self.ends.append((time.perf_counter(), time.process_time()))

    def report(self, **more: object) -> None:
        facts = {
            "ends": self.ends,
            "first_loss": float(self.first_loss),
            "parameters": self.parameters,
            "threads": torch.get_num_threads(),
            "memory": torch.cuda.max_memory_allocated()
            if self.job.device == "cuda"
            else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        Path(self.job.folder, "report.json").write_text(json.dumps(facts | more))


def adamw(model: torch.nn.Module, **choices: bool) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, eps=EPS, weight_decay=DECAY, **choices)


def cross_entropy(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), targets_BT.flatten())


def bare(job: Job, *, own_parts: bool = False) -> None:
    """A plain PyTorch loop; with `own_parts`, around lrpath's model, loss and optimizer.

    The second shows what lrpath does around an update, and nothing of what its parts gain.
    """
    if own_parts:
        from lrpath.models import CausalLM

        model = CausalLM(job.llama()).to(job.device)
        run = model
    else:
        model = job.llama().to(job.device)
        run = torch.compile(model) if job.is_best else model
    optimizer = adamw(model, **({"fused": True} if job.is_best or own_parts else {}))
    clock = Clock(job)
    clock.parameters = sum(one.numel() for one in model.parameters())
    for number, ids in enumerate(job.micro_batches()):
        ids_BL = ids.to(job.device, non_blocking=True)
        with torch.autocast(job.device, torch.bfloat16, enabled=job.is_best):
            inputs_BT, targets_BT = ids_BL[:, :-1], ids_BL[:, 1:]
            loss = run(ids_BL) if own_parts else cross_entropy(run(input_ids=inputs_BT).logits, targets_BT)
        (loss / job.accumulate).backward()
        clock.see(loss)
        if (number + 1) % job.accumulate:
            continue
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        clock.note()
    clock.report()


def own(job: Job) -> None:
    bare(job, own_parts=True)


def lightning_trainer(job: Job) -> None:
    """Lightning's Trainer around the same module, logging its loss."""
    import lightning

    clock = Clock(job)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = job.llama()
            self.run = torch.compile(self.model) if job.is_best else self.model

        def training_step(self, ids_BL: Tensor, _number: int) -> Tensor:
            loss = cross_entropy(self.run(input_ids=ids_BL[:, :-1]).logits, ids_BL[:, 1:])
            clock.see(loss)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return adamw(self.model, **({"fused": True} if job.is_best else {}))

        def configure_gradient_clipping(self, *_args, **_settings) -> None:
            # Lightning's own clipping refuses fused AdamW under bf16.
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)

        def on_train_batch_end(self, *_) -> None:
            if self.trainer.global_step > len(clock.ends):
                clock.note()

    module = Module()
    clock.parameters = sum(one.numel() for one in module.model.parameters())
    trainer = lightning.Trainer(
        accelerator="gpu" if job.device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if job.is_best else "32-true",
        max_epochs=1,
        accumulate_grad_batches=job.accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(job.micro_batches(), batch_size=None))
    clock.report()


def hf(job: Job) -> None:
    """Hugging Face's Trainer, whose optimizer is fused AdamW by default."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    clock = Clock(job)

    class Note(TrainerCallback):
        def on_step_end(self, *_args, **_given) -> None:
            clock.note()

    class FirstLoss(Trainer):
        def compute_loss(self, *given, **settings):
            loss = super().compute_loss(*given, **settings)
            if not clock.ends and np.isnan(clock.first_loss):
                clock.first_loss = float(loss.detach())
            return loss

    class Rows(torch.utils.data.Dataset):
        rows = job.windows.reshape(-1, job.windows.shape[2])

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, number: int) -> dict[str, Tensor]:
            ids = torch.from_numpy(self.rows[number].astype(np.int64))
            return {"input_ids": ids[:-1], "shift_labels": ids[1:]}  # transformers' way to shift beforehand

    def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        together = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return together | {"labels": together["shift_labels"]}

    model = job.llama()
    clock.parameters = sum(one.numel() for one in model.parameters())
    arguments = TrainingArguments(
        output_dir=job.folder,
        num_train_epochs=1,
        per_device_train_batch_size=job.micro_batch,
        gradient_accumulation_steps=job.accumulate,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        remove_unused_columns=False,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPS,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        train_sampling_strategy="sequential",
        save_strategy="no",
        use_cpu=job.device == "cpu",
        report_to=[],
        disable_tqdm=True,
        bf16=job.is_best,
        torch_compile=job.is_best,
    )
    FirstLoss(model=model, args=arguments, train_dataset=Rows(), data_collator=collate, callbacks=[Note()]).train()
    clock.report(optimizer=arguments.optim)


def litgpt_config(size: dict):
    from litgpt.config import Config

    return Config(
        name="speed",
        block_size=size["context"],
        vocab_size=size["vocab_size"],
        padded_vocab_size=size["vocab_size"],
        n_layer=size["layers"],
        n_head=size["heads"],
        n_query_groups=size["heads"],
        n_embd=size["hidden_size"],
        intermediate_size=size["ffn_size"],
        norm_class_name="RMSNorm",
        norm_eps=1e-5,
        mlp_class_name="LLaMAMLP",
        parallel_residual=False,
        bias=False,
        rotary_percentage=1.0,
        rope_base=10_000,
    )


def litgpt_pretrain(job: Job) -> None:  # noqa: C901 (litgpt wants a class for each of its parts)
    """`litgpt.pretrain.main` as it is, which compiles the whole model; what it logs at every update is the clock."""
    import lightning
    import litgpt.pretrain
    from lightning.fabric.loggers import Logger
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import DataModule
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama

    clock, size = Clock(job), job.size

    class Windows(DataModule):
        def connect(self, tokenizer=None, batch_size: int = 1, max_seq_length: int | None = None) -> None: ...

        def train_dataloader(self) -> torch.utils.data.DataLoader:
            return torch.utils.data.DataLoader(job.micro_batches(), batch_size=None)

        def val_dataloader(self) -> torch.utils.data.DataLoader:
            return self.train_dataloader()

    class Record(Logger):
        name = version = "record"

        def log_metrics(self, metrics: dict, step: int | None = None) -> None:
            if np.isnan(clock.first_loss):
                clock.first_loss = metrics["loss"]
            if "learning_rate" in metrics:
                clock.note()

        def log_hyperparams(self, *_) -> None: ...

    config = litgpt_config(size)
    own_weights = litgpt.pretrain.initialize_weights

    def weights(fabric, model, **sizes) -> None:
        if job.same_weights:
            converted: dict[str, Tensor] = {}
            given = job.weights
            given.setdefault("lm_head.weight", given["model.embed_tokens.weight"])
            copy_weights_hf_llama(config, {}, converted, given)
            model.load_state_dict(converted)
        else:
            own_weights(fabric, model, **sizes)
        clock.parameters = sum(one.numel() for one in model.parameters())
        if size["tied"]:
            clock.parameters -= model.lm_head.weight.numel()  # tied by litgpt a line later

    litgpt.pretrain.initialize_weights = weights
    litgpt.pretrain.get_lr = lambda *_: RATE
    litgpt.pretrain.save_hyperparameters = litgpt.pretrain.save_checkpoint = lambda *_, **__: None
    litgpt.pretrain.main(
        fabric=lightning.Fabric(
            accelerator="gpu" if job.device == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if job.is_best else "32-true",
            loggers=[Record()],
        ),
        devices=1,
        seed=1,
        initial_checkpoint_dir=None,
        resume=False,
        config=config,
        data=Windows(),
        out_dir=Path(job.folder),
        tokenizer_dir=None,
        tokenizer=None,
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=job.sequences,
            micro_batch_size=job.micro_batch,
            max_tokens=job.updates * job.sequences * size["context"],
            max_norm=CLIP,
            tie_embeddings=size["tied"],
        ),
        eval=EvalArgs(interval=1 << 40, max_iters=1, final_validation=False),
        optimizer={
            "class_path": "torch.optim.AdamW",
            "init_args": {"lr": RATE, "betas": list(BETAS), "eps": EPS, "weight_decay": DECAY}
            | ({"fused": True} if job.is_best and job.device == "cpu" else {}),  # on a GPU litgpt says so itself
        },
    )
    clock.report()


def lrpath_project(job: Job, *changes: str):
    """Return the project of a plan of one path: the updates of all contenders, on ids in the job's folder.

    `changes` are overrides that make another plan of it.
    """
    from hydra import compose, initialize_config_dir

    from lrpath.assembly.project import Project
    from lrpath.config.schema import conf_folder, load

    size, vocabulary = job.size, job.size["vocab_size"]
    model = {name: size[name] for name in ("hidden_size", "ffn_size", "layers", "heads")}
    given = {f"model.{name}": value for name, value in model.items()} | {
        "model.tie_embeddings": str(size["tied"]).lower(),
        "model.vocab_size": vocabulary,
        "data.tokenizer": "null",
        "data.source.vocab_size": vocabulary,
        "data.source.files": f"[{','.join([f'{job.ids}/ids.bin'] * job.increments)}]",
        "+data.source.heldout.web": f"[{job.ids}/held_out.bin]",
        "data.folder": f"{job.ids}/data",
        "outputs": job.folder,
        "study": "speed",
        "versions": job.increments,
        "increment": f"{job.updates} updates",
        "warmup": "1 updates",
        "peak": RATE,
        "floor": 0.99,
        "precision": "bf16" if job.is_best else "fp32",
        "batch.sequences_per_update": job.sequences,
        "batch.tokens_per_sequence": size["context"],
        "strategy.micro_batch": job.micro_batch,
        "strategy.compile": str(job.is_best).lower(),
        "strategy.accelerator": "gpu" if job.device == "cuda" else "cpu",
        "cadence.evaluate_every": 1_000_000,
        "cadence.save_every": 1_000_000,
        "cadence.held_out_windows": 1,
    }
    fields = [f"{name}={value}" for name, value in given.items()]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        chosen = ["data=tokens", "paradigm=[from_scratch]", *fields, *changes]
        return Project(load(compose("config", overrides=chosen)))


def lrpath_train(job: Job) -> None:
    """A plan of one path, as lrpath.train runs it: rows, ledger, TensorBoard, a state at the end."""
    import dataclasses
    import io

    from rich.console import Console

    from lrpath.assembly.runner import build_runner
    from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
    from lrpath.training.callbacks.update_callback import FitCallback

    clock = Clock(job)

    class Note(FitCallback):  # Lightning calls no other hook of it
        def on_train_batch_end(self, trainer, *_) -> None:
            if trainer.global_step > len(clock.ends):
                clock.note()

        def on_train_end(self, _trainer, module) -> None:
            clock.parameters = sum(one.numel() for one in module.backbone.parameters())

    project = lrpath_project(job)
    factory = ProjectTrainingFactory(project=project, store=project.prepare())
    trainer = dataclasses.replace(factory.path_trainer(build_hardware(project)), extra_callbacks=(Note(),))
    build_runner(project, trainer, Console(file=io.StringIO())).run()
    (folder,) = project.study.folders()
    clock.first_loss = folder.metrics.rows()[0].loss
    clock.report()


def lrpath_tree(job: Job) -> None:
    """Two versions by path switching, profiled: what saving in the background and going to the next path cost.

    The main path runs to the fork of v1, the branch of v1 runs, the main path goes on to the fork of v2, and so on.
    """
    import dataclasses
    import io

    import lightning
    from rich.console import Console

    from lrpath.assembly.runner import build_runner
    from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
    from lrpath.training.checkpoints.saver import StateSaver

    clock, switches, stalls, updates, last = Clock(job), [], [], [], [0.0]

    def now() -> float:
        if job.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    class Note(lightning.Callback):
        def on_train_start(self, *_) -> None:
            begun = now()  # everything for the first update is there
            if last[0]:
                switches.append(begun - last[0])
            last[0] = begun

        def on_train_batch_end(self, trainer, *_) -> None:
            if trainer.fit_loop._should_accumulate():  # a micro-batch that does not end an update
                return
            updates.append(now() - last[0])
            last[0] = time.perf_counter()

    save = StateSaver.save

    def timed(self, *given, **fields):
        begun = now()
        found = save(self, *given, **fields)
        stalls.append(time.perf_counter() - begun)
        return found

    StateSaver.save = timed  # type: ignore[method-assign]
    every = job.updates // 3
    project = lrpath_project(
        job, "paradigm=[path_switching]", "alpha=0.5", "profile=true", f"cadence.save_every={every}", "study=tree"
    )
    factory = ProjectTrainingFactory(project=project, store=project.prepare())
    trainer = dataclasses.replace(factory.path_trainer(build_hardware(project)), extra_callbacks=(Note(),))
    build_runner(project, trainer, Console(file=io.StringIO())).run()
    profiles = [file.read_text() for folder in project.study.folders() for file in folder.profile.glob("*.txt")]
    clock.report(switches=switches, stalls=stalls, updates=updates, profiles=profiles)


CONTENDERS = {
    "lrpath": lrpath_train,
    "own parts": own,
    "bare loop": bare,
    "Lightning": lightning_trainer,
    "HF Trainer": hf,
    "litgpt": litgpt_pretrain,
}
PARTS = {"lrpath tree": lrpath_tree}

if __name__ == "__main__":
    given = Job(**json.loads(Path(sys.argv[2]).read_text()))
    torch.set_num_threads(given.threads)
    if given.device == "cuda":
        torch.set_float32_matmul_precision("high")
    (CONTENDERS | PARTS)[sys.argv[1]](given)
