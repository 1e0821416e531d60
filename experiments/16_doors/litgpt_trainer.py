"""One stretch of a path by litgpt's pre-training: `python litgpt_trainer.py STRETCH`.

`litgpt.pretrain.main` is run as it is but for three functions that it calls: the rate of an iteration is the plan's;
the model is not compiled, which would take longer than these updates; and litgpt's own command line, which was not
used, is not kept beside the weights. Rates and losses are what litgpt logs.
"""

from pathlib import Path

import lightning
import litgpt.pretrain
import torch
from lightning.fabric.loggers import Logger
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from stretch import given


class Loader(torch.utils.data.DataLoader):
    """A loader whose state is nothing: litgpt saves it, and the next stretch has rows of its own."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None: ...


class Windows(DataModule):
    """The rows of a stretch in their order."""

    def __init__(self, stretch) -> None:
        super().__init__()
        self.stretch = stretch

    def connect(self, tokenizer=None, batch_size: int = 1, max_seq_length: int | None = None) -> None:
        self.batch_size = batch_size

    def train_dataloader(self) -> Loader:
        return Loader(self.stretch.rows(), batch_size=self.batch_size)

    def val_dataloader(self) -> Loader:
        return self.train_dataloader()  # litgpt asks for one; what counts is evaluated below


class Record(Logger):
    """Keeps what litgpt logs at every update, and notes the position for the ledger."""

    name = version = "record"

    def __init__(self, stretch) -> None:
        self.stretch = stretch
        self.rows: list[dict] = []

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        if "learning_rate" in metrics:
            self.rows.append(metrics)
            self.stretch.note(metrics["step"])

    def log_hyperparams(self, *_, **__) -> None: ...


def main() -> None:
    torch.set_num_threads(1)
    stretch = given()
    size, settings = stretch.model, stretch.recipe["optimizer"]
    litgpt.pretrain.get_lr = lambda _peak, iteration, *_: stretch.rates[iteration - stretch.begin]
    litgpt.pretrain.save_hyperparameters = lambda *_: None
    torch.compile = lambda model: model
    sequences, length = stretch.recipe["sequences_per_update"], stretch.recipe["tokens_per_sequence"]
    config = Config(
        name="quickstart",
        block_size=size["context"],
        vocab_size=size["vocab_size"],
        padded_vocab_size=size["vocab_size"],
        n_layer=size["layers"],
        n_head=size["heads"],
        n_query_groups=size["kv_heads"],
        n_embd=size["hidden_size"],
        intermediate_size=size["ffn_size"],
        norm_class_name="RMSNorm",
        norm_eps=size["norm_eps"],
        mlp_class_name="LLaMAMLP",
        parallel_residual=False,
        bias=False,
        rotary_percentage=1.0,
        rope_base=int(size["rope_theta"]),
    )
    optimizer = {
        "class_path": "torch.optim.AdamW",
        "init_args": {
            "lr": 1.0,  # set at every iteration
            "betas": [settings["beta1"], settings["beta2"]],
            "eps": settings["eps"],
            "weight_decay": settings["weight_decay"],
        },
    }
    record = Record(stretch)
    fabric = lightning.Fabric(accelerator="cpu", devices=1, loggers=[record])
    load, save = stretch.job["load"], Path(stretch.job["save"])
    litgpt.pretrain.main(
        fabric=fabric,
        devices=1,
        seed=stretch.seed,
        initial_checkpoint_dir=None,
        resume=Path(load) / "final" / "lit_model.pth" if load else False,
        config=config,
        data=Windows(stretch),
        out_dir=save,
        tokenizer_dir=None,
        tokenizer=None,
        train=TrainArgs(
            save_interval=None,
            log_interval=1,
            global_batch_size=sequences,
            micro_batch_size=sequences,
            max_tokens=stretch.end * sequences * length,
            max_norm=settings["clip_norm"],
            tie_embeddings=size["tie_embeddings"],
        ),
        eval=EvalArgs(interval=1 << 40, max_iters=1, final_validation=False),
        optimizer=optimizer,
    )
    model = litgpt.GPT(config).eval()
    model.load_state_dict(torch.load(save / "final" / "lit_model.pth", weights_only=False)["model"])
    stretch.report(
        rates=[row["learning_rate"] for row in record.rows],
        losses=[row["loss"] for row in record.rows],
        evaluation=stretch.evaluate(model),
    )


main()
