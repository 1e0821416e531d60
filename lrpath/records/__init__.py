"""What a study leaves on disk, and the rules by which it is read and written; no torch.

    outputs/<study>/
        plans/<plan id>.json            every plan that was run here; the states they need are never removed
        held_out.json                   on which held-out tokens each path is evaluated, and how much text these are
        commands.jsonl                 what was typed, where, and with which code
        ledger.jsonl                    what ran, one line a run, repeated updates apart
        paths/<name>-<path id>/
            path.json                   identity of the path
            metrics.csv                 one row an update: position, loss, rate, gradient norm, tokens
            evaluation.csv              one row a position and held-out set: negative log-likelihood [nats] and tokens
            guard.csv                   one row an update at fault: what it was, and which positions were skipped for it
            speed.csv                   wall time and tokens per second, which no rerun repeats
            states/<position>/          safetensors shards and, written last, state.json with their digests
            tb/                         the same rows as TensorBoard events, made from the tables above
        report/                         tables, figures, a page; in tb/ what TensorBoard shows besides the curves

Every file is whole or absent: written beside, flushed, renamed. Rows are appended and cut back to the position that a
run resumes from, so that no row is there twice.
"""
