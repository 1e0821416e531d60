"""Writes the model card of an exported release."""

import math
from collections import Counter
from collections.abc import Iterator

from lrpath import __version__
from lrpath.analysis.compare import Series, read_outcomes
from lrpath.analysis.scores import Score, StudyScores
from lrpath.planning.lineage import content_id
from lrpath.planning.optimizers import write_optimizer
from lrpath.planning.paths import Path, Release, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.readings import Readings, domain_tokens
from lrpath.planning.recipe import Recipe, write_seed
from lrpath.planning.units import write_bytes, write_count, write_time
from lrpath.records.document_losses import DocumentLoss, read_document_losses
from lrpath.records.read_segments import digests_read
from lrpath.records.released import SUMS_FILE, ExportedRelease
from lrpath.records.study import Study


def _is_state(plan: Plan, release: Release) -> bool:
    """Say whether a release is none of its plan's, but a state that was chosen by its path and position."""
    return release.paradigm not in plan.paradigms


def card_text(study: Study, made: ExportedRelease, *, series: Series, release: Release, command: str) -> str:
    """Return the model card of a release in Markdown.

    It says how to use the model, what it was made of and at what cost, how good it is, and what was compared.

    Args:
        study: The study.
        made: What the export has written.
        series: The series that the release belongs to.
        release: The release.
        command: The command that exported it.
    """
    plan = series.plan
    size = "an unknown number of" if plan.parameters is None else f"{plan.parameters:,}"
    title = f"# {study.name}: {series.label}, {release.version}"
    summary = (
        f"A causal language model of {size} parameters, {_begun(plan)} on data of kind {plan.source} and "
        f"{_released_as(series, release)}. Base model: not tuned to follow instructions."
    )
    parts = [
        ("Use", _use(made)),
        ("Data", _data(study, plan, release, made)),
        ("Training", _training(plan.tree, release)),
        ("Cost", _cost(study, series, release)),
        ("Held-out loss", _losses(study, series, release)),
        ("Lineage", _lineage(plan, release)),
        ("How this folder was made", _making(series, made, command)),
    ]
    front = ["---", "library_name: transformers", "pipeline_tag: text-generation", "---", "", title, "", summary, ""]
    return "\n".join([*front, *(line for name, lines in parts for line in (f"## {name}", "", *lines, ""))])


def _released_as(series: Series, release: Release) -> str:
    study = f"a {series.kind.replace('_', ' ')} study"
    if _is_state(series.plan, release):
        return f"taken from path {release.paradigm} of {study} at {release.last.position:,}; it is no release"
    return f"released as version {release.version} of {study}"


def _begun(plan: Plan) -> str:
    return "pre-trained" if plan.weights is None else f"trained on from the weights of {plan.weights.given}"


def _use(made: ExportedRelease) -> list[str]:
    precision = {"fp32": "float32", "bf16": "bfloat16"}[made.dtype]
    files = "one file" if made.files == 1 else f"{made.files} files"
    loads = (
        f"`{made.architecture}` of transformers (written and compared with {made.transformers}); {precision} weights "
        f"in {files}, {write_bytes(made.bytes)}. lrpath is not needed, and no code of this folder is run."
    )
    if made.end_mark is None:
        return [loads, "", "The model was trained on ids without a tokenizer; bring the one that made them."]
    return [
        loads,
        "",
        "```python",
        "import torch",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'folder = "."  # this folder',
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = AutoModelForCausalLM.from_pretrained(folder).eval()",
        'inputs = tokenizer(["The beginning of a text"], return_tensors="pt")',
        "with torch.no_grad():",
        "    ids = model.generate(**inputs, max_new_tokens=100, do_sample=True, temperature=0.8)",
        "print(tokenizer.decode(ids[0], skip_special_tokens=True))",
        "```",
        "",
        f"Every document of the training text ends with `{made.end_mark}` (id {made.end_id}), so generation stops "
        f"there; it is the padding token too. Nothing stands before a text. The model was trained on windows of "
        f"{made.window:,} tokens and has not seen later positions.",
        "",
        "```sh",
        "lm_eval --model hf --model_args pretrained=. --tasks lambada_openai",
        "```",
    ]


def _data(study: Study, plan: Plan, release: Release, made: ExportedRelease) -> list[str]:
    recipe = plan.tree.line(release.last.path_id)[0].recipe
    mark = "the mark that ends a document" if made.end_mark is None else f"`{made.end_mark}`"
    return [
        f"- Source: {plan.source}.",
        f"- Read: {_reading(plan.tree, release)}.",
        *_domains(plan.tree, release),
        *(f"- {version}: tokens with SHA-256 `{digest}`." for version, digest in _digests(study, release)),
        f"- Documents are joined with {mark} behind each and cut into windows of {recipe.tokens_per_sequence:,} "
        "tokens, which overlap by one; windows, not documents, are shuffled within an increment. A window may hold the "
        f"end of one document and the beginning of the next; {_attention(recipe)}.",
    ]


def _attention(recipe: Recipe) -> str:
    if recipe.masks_documents:
        return "a token attended to its own document alone, whose positions begin at 0, so give one document a sequence"
    return "a token attended to all of its window before it, also to the documents before its own"


def _domains(tree: Tree, release: Release) -> list[str]:
    """Return how many tokens of each domain were read from the initial weights on, where that was chosen."""
    line = tree.line(release.last.path_id)
    if not any(increment.mixture for segment, _ in tree.reads(release.last) for increment in segment.increments):
        return []
    total: Counter[str] = Counter()
    for path, end in zip(line, _ends(line, release), strict=True):
        total.update(domain_tokens(path, path.start, end))
    texts = (f"{name or 'as stored'} {write_count(tokens)}" for name, tokens in sorted(total.items()))
    return [f"- Tokens by domain: {', '.join(texts)}."]


def _digests(study: Study, release: Release) -> Iterator[tuple[str, str]]:
    """Yield the versions that the last path of a release has read, with the digests of their tokens."""
    folder = study.find(release.last.path_id)
    yield from sorted({} if folder is None else digests_read(folder, until=release.last.position).items())


def _training(tree: Tree, release: Release) -> list[str]:
    recipe = tree.line(release.last.path_id)[0].recipe
    optimizer, tokens = recipe.optimizer, recipe.tokens_before(release.last.position)
    assert optimizer is not None, "what has no optimizer of ours is not exported"
    clipping = (
        "gradients not clipped" if optimizer.clip_norm is None else f"gradient norm clipped at {optimizer.clip_norm:g}"
    )
    return [
        f"- {release.last.position:,} updates of {_sequences(recipe, release.last.position)} of "
        f"{recipe.tokens_per_sequence:,} tokens: {write_count(tokens)} tokens.",
        f"- {write_optimizer(optimizer)}; {clipping}.",
        f"- Precision {recipe.precision}; {write_seed(recipe)}.",
    ]


def _sequences(recipe: Recipe, end: int) -> str:
    """Write the sequences of an update, and how many there were later, `8 sequences (16 from position 100 on)`."""
    first, *grown = recipe.batch.stretches(0, end)
    later = ", ".join(f"{sequences:,} from position {begin:,} on" for begin, _, sequences in grown)
    return f"{first[2]:,} sequences" + (f" ({later})" if later else "")


def _cost(study: Study, series: Series, release: Release) -> list[str]:
    tree, plan = series.plan.tree, series.plan
    line = tree.line(release.last.path_id)
    tokens = line[0].recipe.tokens_before(release.last.position)
    lines = [
        f"- From the initial weights to this release: {release.last.position:,} updates, {write_count(tokens)} tokens."
    ]
    if plan.flops_per_token is not None:
        lines.append(
            f"- {tokens * plan.flops_per_token:.3g} floating-point operations of the model, forward and backward."
        )
    ends = {path.id: end for path, end in zip(line, _ends(line, release), strict=True)}
    seconds, devices, counted = 0.0, set(), 0
    for run in study.ledger.runs():
        there = max(0, min(run.end, ends.get(run.path_id, 0)) - run.begin)
        if run.seconds is not None and there and run.end > run.begin:
            seconds += run.seconds * there / (run.end - run.begin)
            counted += there
            devices.add(f"{run.ranks} × {run.device}" if run.ranks > 1 else run.device)
    if counted:
        lines.append(f"- Measured: {write_time(seconds)} for {counted:,} updates on {', '.join(sorted(devices))}.")
    if _is_state(plan, release):
        return lines
    number = plan.versions.index(release.version) + 1
    cost = plan.costs(series.paradigm)[number - 1]
    relative = plan.relative_cost(series.paradigm, versions=number)
    lines.append(
        f"- All versions up to {release.version}: {cost.updates:,} updates, {relative:.2f} of training "
        "each from scratch."
    )
    return lines


def _losses(study: Study, series: Series, release: Release) -> list[str]:
    outcome = next(
        (
            outcome
            for outcome in read_outcomes(study)
            if outcome.series.label == series.label and outcome.version == release.version
        ),
        None,  # a state
    )
    scores = StudyScores(study).of(release) if outcome is None else outcome.scores
    rows = [
        f"| {version} | {domain} | {score.loss:.4f} | {score.tokens:,} |"
        for (version, domain), score in sorted((scores or {}).items())
    ]
    headline = None if outcome is None else outcome.headline
    lines = [*_headline(headline), "| set of version | domain | nats per token | tokens |", "|---|---|---|---|"]
    return [*(lines if rows else ["Not evaluated."]), *rows, *_by_document(study, release)]


def _by_document(study: Study, release: Release) -> list[str]:
    """Return a table of the losses by document with their intervals; nothing for a release without such losses."""
    folder = study.find(release.last.path_id)
    losses = [] if folder is None else read_document_losses(folder.document_losses(release.last.position))
    if len(release.parts) > 1 or not losses:
        return []
    sets = sorted({(loss.version, loss.domain, loss.split) for loss in losses})
    lines = [
        "",
        "Each document read by itself, with a 95 % interval over documents:",
        "",
        "| set of version | domain | split | documents | nats per token |",
        "|---|---|---|---|---|",
    ]
    for name in sets:
        found = [loss for loss in losses if (loss.version, loss.domain, loss.split) == name]
        lines.append(f"| {' | '.join(name)} | {len(found):,} | {_interval(found)} |")
    return lines


def _interval(losses: list[DocumentLoss]) -> str:
    """Return a set's loss and its normal interval, by the linearised variance of a ratio of two sums over documents."""
    tokens = sum(loss.tokens for loss in losses)
    mean = math.fsum(loss.nll for loss in losses) / tokens
    count = len(losses)
    if count == 1:
        return f"{mean:.4f}"
    squares = math.fsum((loss.nll - mean * loss.tokens) ** 2 for loss in losses)
    return f"{mean:.4f} ± {1.96 * math.sqrt(squares * count / (count - 1)) / tokens:.4f}"


def _headline(score: Score | None) -> list[str]:
    if score is None:
        return []
    return [f"On the sets of this and all earlier versions together: {score.loss:.4f} nats per token.", ""]


def _lineage(plan: Plan, release: Release) -> list[str]:
    line = plan.tree.line(release.last.path_id)
    begun = [] if plan.weights is None else [f"- initial weights: {plan.weights.line()}"]
    states = [f"- state {key.position:,} of path `{key.path_id}`, weight {weight:g}" for key, weight in release.parts]
    lineage = [_line_of(path, end) for path, end in zip(line, _ends(line, release), strict=True)]
    return [*begun, *lineage, "", "Weights: " + ("the mean of" if len(states) > 1 else "one state:"), "", *states]


def _ends(line: tuple[Path, ...] | list[Path], release: Release) -> list[int]:
    """Return the position at which the release leaves each path of its line."""
    return [*(path.start for path in line[1:]), release.last.position]


def _making(series: Series, made: ExportedRelease, command: str) -> list[str]:
    return [
        f"lrpath {__version__}, plan `{content_id(series.plan.as_record())}`:",
        "",
        "```sh",
        command,
        "```",
        "",
        "Compared before this folder took its place:",
        "",
        *(f"- {line}" for line in made.compared),
        *(line for note in made.notes for line in ("", note)),
        "",
        f"`sha256sum -c {SUMS_FILE}` compares a copy of this folder with what was written.",
    ]


def _line_of(path: Path, end: int) -> str:
    begin = path.schedule.rate(path.start)
    last = path.schedule.rate(end - 1)
    parent = "initial weights" if path.parent is None else f"`{path.parent.path_id}` at {path.parent.position:,}"
    return (
        f"- `{path.name}` (`{path.id}`): from {parent}, updates [{path.start:,}, {end:,}), "
        f"rate {begin:.3g} at the first and {last:.3g} at the last"
    )


def _reading(tree: Tree, release: Release) -> str:
    versions = dict.fromkeys(one.version for segment, _ in tree.reads(release.last) for one in segment.increments)
    readings = Readings(tree)
    shares = {version: readings.share(release.last, version) for version in versions}
    return ", ".join(version if share == 1 else f"{float(share):.0%} of {version}" for version, share in shares.items())
