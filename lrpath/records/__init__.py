"""What a study leaves on disk, and the rules by which it is read and written; no torch.

    outputs/<study>/
        plans/
            <plan id>.json              every plan that was run here; the states that they need are never removed
        .lock                           held while held_out.json or commands.jsonl is written
        held_out.json                   on which held-out tokens each path is evaluated, and how much text these are
        commands.jsonl                  what was typed, where, and with which code
        ledger.jsonl                    what ran, one line a run, repeated updates counted apart
        paths/
            .lock                       held while the folder of a path is made
            <name>-<path id>/
                path.json               identity of the path
                lock                    who owns the path: one process group at a time
                running.json            the run that is going on, or was killed; in the ledger when it has ended
                reached                 position that the run has counted to
                metrics.csv             one row an update: position, loss, rate, gradient norm, tokens
                evaluation.csv          one row a position and held-out set: negative log-likelihood [nats] and tokens
                later_evaluation.csv    the same of sets that were evaluated after the path's runs
                documents/
                    <position>.csv      losses of a fork or release on every held-out document, both sets
                guard.csv               one row an update at fault, and which positions were skipped for it
                speed.csv               wall time and tokens per second, which no rerun repeats and no state depends on
                repairs.csv             which rows of the tables above were altered on disk once, and mended
                damaged/                copies of tables from before they were mended
                states/
                    <position>/
                        <shard>.safetensors
                        state.json      identity, data consumed, digests of the shards and of the tables' rows so far
                backbone/               the model's configuration and tokenizer, without weights, for exports
                profile/
                    <position>.json.gz  where profiled updates spent their time (profile=true), for ui.perfetto.dev
                    <position>.txt      their costliest operations
                tb/                     the same rows as TensorBoard events, made from the tables above
        releases/
            <release>-<digest>/         a release that is a mean of states
                lock
                evaluation.csv          its losses
                evaluation.sha256       the digest of that file
        report/                         tables, figures, a page; in tb/ what TensorBoard shows besides the curves
        predict/                        what `lrpath.predict` writes
        advise/                         what `lrpath.advise` writes

Every file is whole or absent: written under a temporary name (`.tmp-…`), flushed, renamed. Rows are appended, and cut
back to the position that a run resumes from, so that no row is there twice. Where the file system has no locks, folders
stand in for them (`.…-held`).
"""
