"""One stretch of a path by the Trainer of Hugging Face transformers: `python hf_trainer.py STRETCH`.

The Trainer saves and restores its own checkpoint. Its scheduler is not used: restored, it would run the first update
after a fork at the parent's rate. A callback sets the rate before every update and reads it back when the optimizer has
stepped.
"""

import torch
from stretch import given
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed


class Path(TrainerCallback):
    """The rate of every update from the plan, read back; the position, for the ledger."""

    def __init__(self, stretch) -> None:
        self.stretch = stretch
        self.rates: list[float] = []

    def on_step_begin(self, args, state, control, optimizer=None, **_) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.stretch.rates[state.global_step - self.stretch.begin]

    def on_optimizer_step(self, args, state, control, optimizer=None, **_) -> None:
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        self.rates.append(rate)

    def on_step_end(self, args, state, control, **_) -> None:
        self.stretch.note(state.global_step)
        control.should_save = state.global_step == self.stretch.end  # `save_steps` would be that of the checkpoint


def collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    ids_BT = torch.stack(rows)
    # Trainer shifts labels by itself; the last id of a window is the target of the one before.
    return {"input_ids": ids_BT, "labels": ids_BT}


def main() -> None:
    torch.set_num_threads(1)
    stretch = given()
    size, optimizer = stretch.model, stretch.recipe["optimizer"]
    set_seed(stretch.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size["vocab_size"],
            hidden_size=size["hidden_size"],
            intermediate_size=size["ffn_size"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["kv_heads"],
            max_position_embeddings=size["context"] + 1,
            rope_parameters={"rope_type": "default", "rope_theta": size["rope_theta"]},
            rms_norm_eps=size["norm_eps"],
            initializer_range=size["init_std"],
            tie_word_embeddings=size["tie_embeddings"],
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    path = Path(stretch)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=stretch.job["save"],
            max_steps=stretch.end,
            save_strategy="no",  # `Path` saves
            logging_steps=1,
            per_device_train_batch_size=stretch.recipe["sequences_per_update"],
            learning_rate=1.0,  # set by `Path`
            lr_scheduler_type="constant",
            adam_beta1=optimizer["beta1"],
            adam_beta2=optimizer["beta2"],
            adam_epsilon=optimizer["eps"],
            weight_decay=optimizer["weight_decay"],
            max_grad_norm=optimizer["clip_norm"] or 0.0,
            train_sampling_strategy="sequential",
            ignore_data_skip=True,  # the rows begin at `begin`
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            seed=stretch.seed,
        ),
        train_dataset=stretch.rows(),
        data_collator=collate,
        callbacks=[path],
    )
    load = stretch.job["load"]
    trainer.train(resume_from_checkpoint=f"{load}/checkpoint-{stretch.begin}" if load else None)
    rows = [row for row in trainer.state.log_history if "loss" in row and row["step"] > stretch.begin]
    model.eval()
    stretch.report(
        rates=path.rates,
        losses=[row["loss"] for row in rows],
        grad_norms=[row["grad_norm"] for row in rows],
        evaluation=stretch.evaluate(lambda ids: model(input_ids=ids).logits),
    )


main()
