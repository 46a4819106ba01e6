"""The model card of a run: what its weights are, how they came about, how they are used, what may be done with them.

Made of records alone: a number that nobody measured is not in them, and the same records make the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gim.assignments import flatten
from gim.datasets.manifest import DatasetManifest
from gim.records import CheckpointManifest, UsedWeights
from gim.training.config import TrainingConfig
from gim.training.looking.runs import recipe_settings
from gim.training.publishing.layouts import PublicLayout, fits, public_layout
from gim.training.publishing.markdown import code, facts, page, plain, table, value
from gim.training.recipe_files import training_recipe_names
from gim.training.run_record import RunRecord, settings_of, shaping
from gim.weights.files import UNKNOWN, is_permissive_licence

_ROLES = {
    "start": "training began with them",
    "backbone": "a part of the network began with them",
    "features": "the network saw the features that they find, and needs the same ones",
    "beside": "the matcher loads them besides",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What is known of a run that has ended."""

    record: RunRecord
    checkpoint: CheckpointManifest  # that `run:<id>` stands for
    dataset: DatasetManifest
    scores: Mapping[int, float] = field(default_factory=dict)  # of those checkpoints that are kept and have one
    measured: Mapping[str, float] = field(default_factory=dict)  # when that checkpoint was looked at, by curve

    @property
    def model(self) -> dict[str, Any]:
        """The recipe's `model.*`."""
        return dict(self.record.settings.get("model") or {})


def model_card(trained: Trained) -> str:
    """The card of a run, Markdown."""
    record, checkpoint = trained.record, trained.checkpoint
    name = f"run:{checkpoint.run_id}"
    return page(
        f"# Model card: {plain(name)}",
        f"Weights of the image matcher {code(checkpoint.matcher)}, trained on videos by GIM's pipeline (arXiv "
        f"2402.11095; recipe {code(_recipe_name(record))}). Given two images of one scene, the matcher says which "
        "pixels show the same point.",
        facts(_numbers(trained)),
        "## Licence",
        f"**{plain(checkpoint.licence or UNKNOWN)}**",
        _meaning(checkpoint.licence),
        table(("weights of others", "SHA-256", "licence", "their part"), _others(checkpoint.weights)),
        f"The videos and the matchers that labelled them, with their licences, are in the data card of "
        f"{code(trained.dataset.dataset_id)}, `DATA_CARD.md` beside this file.",
        "## Files",
        table(("file", "bytes", "SHA-256"), _files(checkpoint)),
        "## How to use it",
        _usage(trained, name),
        "## How it was trained",
        facts(_training(trained)),
        "Settings of the recipe that differ from the defaults of the trainer, all of those that shape the weights:",
        table(("setting", "value", "the recipe's, if another"), _settings(record)),
        "## What was measured",
        _scores(trained),
        "## Intended use",
        "Correspondences between photographs or video frames of one static scene: camera poses, reconstruction, "
        "localisation, and labels for further training. It tells nothing about people or things in an image, and was "
        "not made for uses in which a wrong match does harm.",
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(trained)),
    )


def _numbers(trained: Trained) -> dict[str, str]:
    checkpoint = trained.checkpoint
    layout = public_layout(checkpoint.matcher)
    return {
        "run": code(checkpoint.run_id),
        "checkpoint": f"step {checkpoint.step:,}, {_why(trained)}",
        "architecture": code(str(trained.record.settings.get("architecture", checkpoint.matcher))),
        "its sizes and losses": ", ".join(
            f"{code(f'model.{name}')} {_shown(item)}" for name, item in trained.model.items()
        ),
        "matcher": code(checkpoint.matcher),
        "settings of the matcher": ", ".join(
            f"{code(name)} {_shown(item)}" for name, item in checkpoint.settings.items()
        ),
        "layout of the weights": f"names of the tensors as in {code(Path(layout.file).name)}" if layout else "",
    }


def _why(trained: Trained) -> str:
    if trained.checkpoint.step in trained.scores:
        return "of highest score among those that were kept" if len(trained.scores) > 1 else "the only one with a score"
    return "the last"


def _meaning(licence: str) -> str:
    if is_permissive_licence(licence):
        return (
            "The most demanding of the licences of everything that the weights are made of: videos, labelling "
            "matchers, weights of others. All of these are permissive."
        )
    return (
        "These are the terms, of something that the weights are made of, that are not among the well-known permissive "
        "licences, with whose they are. Whether they reach as far as trained weights is not decided here; who needs "
        "to be sure asks their owners or leaves those parts out of the dataset."
    )


def _others(weights: tuple[UsedWeights, ...]) -> Iterator[tuple[str, ...]]:
    for item in weights:
        yield plain(item.name), code(item.sha256), plain(item.licence), _ROLES.get(item.role, plain(item.role))


def _files(checkpoint: CheckpointManifest) -> Iterator[tuple[str, ...]]:
    for file in checkpoint.files:
        yield code(file.key), f"{file.num_bytes:,}", code(file.sha256)


def _usage(trained: Trained, name: str) -> str:
    checkpoint = trained.checkpoint
    prefix = f"matcher.{checkpoint.matcher}"
    weights = checkpoint.files[0].setting or "weights"
    sets = [f"{prefix}.{weights}={Path(checkpoint.files[0].key).name}"]
    sets += [f"{prefix}.{key}={_bare(item)}" for key, item in checkpoint.settings.items()]
    layout = public_layout(checkpoint.matcher)
    return page(
        "With the store that holds the run:",
        _shell(
            f"gim match IMAGE0 IMAGE1 --store STORE --matcher {name}",
            f"gim run VIDEO --store STORE --matchers {name}",
            f"gim evaluate pairs PAIRS.TXT --store STORE --matcher {name}",
            f"gim train RECIPE --store STORE --dataset DATASET --start {name}",
        ),
        "With the file alone:",
        _shell(
            " \\\n    ".join(
                [f"gim match IMAGE0 IMAGE1 --matcher {checkpoint.matcher}", *(f"--set {each}" for each in sets)]
            )
        ),
        _elsewhere(layout, trained) if layout else "No other code is known that reads this layout.",
    ).rstrip()


def _shell(*commands: str) -> str:
    return "\n".join(["```sh", *commands, "```"])


def _elsewhere(layout: PublicLayout, trained: Trained) -> str:
    if not fits(layout, trained.model):
        expected = ", ".join(f"{name} {size}" for name, size in layout.sizes.items())
        return (
            f"Other code: the tensors have the names of {code(layout.file)} of {plain(layout.code)}, but not its sizes "
            f"({expected}), so that code reads this file only once it is told the sizes above."
        )
    return (
        f"Other code: the tensors have the names and sizes of {code(layout.file)} of {plain(layout.code)}; in its "
        "place, and by its name, this file is read. The run itself has not tried that."
    )


def _training(trained: Trained) -> dict[str, str]:
    checkpoint, dataset, settings = trained.checkpoint, trained.dataset, trained.record.settings
    batch = int(settings["loop.canonical_batch"])
    start = next((item for item in checkpoint.weights if item.role == "start"), None)
    shares = ("video", "homography", "posed")
    return {
        "dataset": f"{code(dataset.dataset_id)}: {dataset.num_pairs:,} pairs of videos and "
        f"{dataset.num_posed_pairs('train'):,} posed ones for training",
        "mixture": ", ".join(f"{name} {settings[f'mix.{name}']:g}" for name in shares if settings[f"mix.{name}"]),
        "began with": f"{plain(start.name)} ({plain(start.licence)})" if start else "random weights",
        "steps": f"{checkpoint.step:,} of {int(settings['schedule.pairs']) // batch:,}",
        "pairs seen": f"{checkpoint.step * batch:,}, repetitions included",
        "pairs of a step": f"{batch} in micro-batches of {settings['loop.batch_size']}",
        "images": f"{settings['sample.width']} x {settings['sample.height']} pixels",
        "augmentation": plain(str(settings["sample.augment"])),
        "numbers": plain(str(settings["loop.precision"])),
        "published weights": f"average with a decay of {settings['loop.ema']:g} per step"
        if settings["loop.ema"]
        else "of the step itself",
        "seed": str(settings["loop.seed"]),
        "source of the recipe": plain(str(settings.get("source", ""))),
    }


def _settings(record: RunRecord) -> Iterator[tuple[str, ...]]:
    now = _flat(shaping(record.settings))
    usual = _flat(shaping(settings_of(TrainingConfig())))
    own = _recipes_own(record.recipe)
    for path, item in sorted(now.items()):
        if path != "architecture" and item != usual.get(path):
            yield code(path), _shown(item), "" if own is None or own.get(path) == item else _in_recipe(own, path)


def _in_recipe(own: Mapping[str, Any], path: str) -> str:
    return _shown(own[path]) if path in own else "not set"


def _recipes_own(recipe: str) -> dict[str, Any] | None:
    """What a recipe of the package says; None where it is a file of the user's, which others do not have."""
    written = recipe_settings(recipe) if recipe in training_recipe_names() else None
    return None if written is None else _flat(shaping(written))


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are mappings by the paths of what is in them."""
    anything: Any = Any
    return dict(flatten(settings, anything))


def _shown(item: Any) -> str:
    return value(_bare(item))


def _bare(item: Any) -> Any:
    """A setting as others may see it: of a file on the trainer's disk its name."""
    return Path(item).name if isinstance(item, str) and "/" in item else item


def _scores(trained: Trained) -> str:
    if not trained.scores and not trained.measured:
        return "Nothing: the run held nothing out and was given no benchmark."
    benchmarks = trained.record.settings.get("keep.benchmarks") or []
    what = (
        f"the mean AUC@5 on {', '.join(map(code, benchmarks))}"
        if benchmarks
        else "minus the mean loss on pairs of held-out videos, which compares checkpoints of this run and nothing else"
    )
    rows = [
        (f"{step:,}", f"{score:.5g}", "this one" if step == trained.checkpoint.step else "")
        for step, score in sorted(trained.scores.items())
    ]
    curves = [(code(name), f"{number:.5g}") for name, number in sorted(trained.measured.items())]
    return page(
        f"By the run itself, which chose among its checkpoints by it. The score is {what}." if rows else "",
        table(("step", "score", ""), rows),
        f"At step {trained.checkpoint.step:,}:" if curves else "",
        table(("curve", "value"), curves),
    ).rstrip()


def _limits(trained: Trained) -> Iterator[str]:
    settings, checkpoint = trained.record.settings, trained.checkpoint
    yield f"It saw images of {settings['sample.width']} x {settings['sample.height']} pixels and no larger ones."
    if any(item.role == "features" for item in checkpoint.weights):
        yield (
            f"It saw at most {settings['features.max_keypoints']} keypoints of an image, all of the extractor above; "
            "of another extractor it understands nothing."
        )
    if settings["mix.video"]:
        yield "What its labels lack (see the data card) it has not learned from them."
    if not settings.get("keep.benchmarks"):
        yield "It was compared with no other matcher by the run; `gim evaluate` does that."
    if trained.dataset.videos and not trained.dataset.clear_of:
        yield "Its videos were not compared with the images of benchmarks: a score may be of a place that it has seen."


def _recipe_name(record: RunRecord) -> str:
    return Path(record.recipe).name
