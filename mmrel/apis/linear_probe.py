"""A linear probe, or logistic regression, of any backbone on folders of images: features once, then the classifiers.

Without augmentation of the training images; with it: the recipes ``configs/*/benchmarks/*linear*``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmrel.apis.baselines import thumbnail_features
from mmrel.apis.class_folders import Reading, shared_list
from mmrel.apis.features import CROP, Side, evaluation_transforms
from mmrel.apis.probe_images import ChosenImages, chosen_loaders
from mmrel.datasets.bad_samples import read_bad_samples
from mmrel.evaluation.images import device_of, normalised
from mmrel.evaluation.labelled_features import extract_features
from mmrel.evaluation.loading import evaluation_mode
from mmrel.evaluation.probes import (
    LEARNING_RATES,
    STRENGTHS,
    ProbeResult,
    fit_linear_heads,
    fit_logistic,
)
from mmrel.models.backbones import ViT
from mmrel.models.backbones.intermediate import intermediate_tokens
from mmrel.models.classifiers.linear_probe import ProbeFeature
from mmrel.utils.text import listed

METHODS = ("linear", "logistic")
SMALL_WIDTH = 384
THUMBNAIL_SIZE = 16
Parts = tuple[ChosenImages, ChosenImages]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fit:
    """How classifiers are trained on features.

    Attributes:
        method: ``'linear'``: SGD at many rates, :func:`mmrel.evaluation.probes.fit_linear_heads`; ``'logistic'``:
            :func:`mmrel.evaluation.probes.fit_logistic`.
        settings: learning rates per 256 images, or strengths of the penalty; ``None``: those of the papers.
        epochs: of SGD.
        batch: of SGD.
        seed: of SGD.
    """

    method: str = "linear"
    settings: tuple[float, ...] | None = None
    epochs: int = 100
    batch: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the method."""
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; choose from {', '.join(METHODS)}")

    def __call__(
        self, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], progress: Progress | None
    ) -> ProbeResult:
        """Train on features and labels, and judge on others."""
        if self.method == "logistic":
            strengths = self.settings or STRENGTHS
            return fit_logistic(*train, *val, strengths, progress=progress)
        rates = self.settings or LEARNING_RATES
        return fit_linear_heads(
            *train,
            *val,
            rates,
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            progress=progress,
        )


@dataclass(frozen=True)
class ProbeRow:
    """One line of the table.

    Attributes:
        name: of the checkpoint's file, or of the baseline.
        feature: what stands for an image.
        width: of the feature.
        result: accuracies in per cent by rate or strength.
        num_train: images that were trained on.
        num_val: images that judged.
        num_classes: classes that were trained on.
        unreadable: files that were left out.
    """

    name: str
    feature: str
    width: int
    result: ProbeResult
    num_train: int
    num_val: int
    num_classes: int
    unreadable: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        result = self.result
        own = {key: value for key, value in vars(self).items() if key != "result"}
        tables = {"top1": result.accuracy, "top5": result.top5}
        return {
            **own,
            "best_top1": result.best,
            "best_top5": result.top5.get(result.best_setting),
            "best_setting": result.best_setting,
            "best_was_chosen_on": "the validation images",
            **{key: {f"{s:g}": v for s, v in table.items()} for key, table in tables.items()},
        }


def probe_backbone(
    name: str,
    backbone: ViT,
    images: Parts,
    fit: Fit,
    n_last_blocks: int | None = None,
    avgpool: int | None = None,
    resize: int | None = None,
    crop: Side = CROP,
    **reading: Any,
) -> ProbeRow:
    """Extract a frozen backbone's features once, and train the classifiers on them.

    Args:
        name: of the row.
        backbone: as ``get_backbone`` gives it, on the device that shall compute.
        images: as :func:`mmrel.apis.probe_images.choose_images` gives them.
        fit: how the classifiers are trained.
        n_last_blocks: see :class:`mmrel.models.classifiers.linear_probe.ProbeFeature`. ``None``: see
            :func:`choose_feature`.
        avgpool: likewise.
        resize: as for ``extract_features``.
        crop: likewise.
        **reading: attributes of :class:`mmrel.apis.class_folders.Reading`; ``progress`` is told the images, then the
            epochs or strengths.

    Raises:
        ValueError: options that do not fit the backbone or the data.
        TooManyBadSamplesError: more unreadable files than tolerated.
    """
    kind = choose_feature(backbone, fit.method, n_last_blocks, avgpool)
    how = Reading(**reading)

    def prepare(batch: Any, training: bool) -> dict[str, Any]:
        return {**batch, "inputs": normalised(batch["inputs"], backbone)}

    def extract(inputs: Tensor) -> Tensor:
        inputs = inputs.to(device_of(backbone), backbone.pos_embed.dtype)
        return kind.of(intermediate_tokens(backbone, inputs, range(-kind.n_last_blocks, 0)))

    transforms = evaluation_transforms(resize, crop, backbone.patch_size)
    with (
        evaluation_mode(backbone),
        chosen_loaders(images, transforms, how) as loaders,
        shared_list(loaders) as listing,
    ):
        parts = [extract_features(extract, prepare, x, how.progress) for x in loaders]
        bad = tuple(sorted(str(entry["path"]) for entry in read_bad_samples(listing)))
    return _row(name, kind.title, parts, fit, how.progress, bad)


def probe_thumbnails(
    images: Parts, fit: Fit, size: int = THUMBNAIL_SIZE, progress: Progress | None = None
) -> ProbeRow:
    """The same of the images' thumbnails, the mean of the training set's subtracted: what a figure is compared with.

    Args:
        images: as for :func:`probe_backbone`.
        fit: how the classifiers are trained.
        size: side of a thumbnail in pixels.
        progress: is told the epochs or strengths.
    """
    pixels = [thumbnail_features(part.files, size) for part in images]
    mean = pixels[0].mean(dim=0)
    parts = [(p - mean, torch.tensor(i.labels)) for p, i in zip(pixels, images, strict=True)]
    return _row(f"{size}x{size} thumbnails", "pixels", parts, fit, progress)


def choose_feature(
    backbone: ViT, method: str, n_last_blocks: int | None = None, avgpool: int | None = None
) -> ProbeFeature:
    """The feature to take; the papers' where nothing is given.

    That is, for logistic regression, the class token. For the linear probe, up to ViT-S's width, the class tokens of
    the last four blocks; above, the last class token and the mean patch token. Without a class token, the latter alone.

    Raises:
        ValueError: the backbone does not have it.
    """
    tokenless, small = backbone.cls_token is None, backbone.embed_dims <= SMALL_WIDTH
    if avgpool is None:
        # A number of blocks asks for class tokens, as in the papers.
        wide = not small and n_last_blocks is None and method == "linear"
        avgpool = 1 if tokenless else 2 if wide else 0
    if n_last_blocks is None:
        several = method == "linear" and avgpool == 0 and small
        n_last_blocks = min(4, len(backbone.layers)) if several else 1
    kind = ProbeFeature(n_last_blocks, avgpool)
    kind.check(backbone)
    return kind


def describe_probes(rows: Sequence[ProbeRow], fit: Fit) -> str:
    """A table of the best top-1 accuracies, with top-5 in brackets, as text."""
    first = rows[0]
    what, setting = "linear probe", "learning rate"
    if fit.method == "logistic":
        what, setting = "logistic regression", "penalty"
    lines = [
        f"{what}: {first.num_train} images to train on, {first.num_val} to judge by, {first.num_classes} classes",
        f"top-1 (top-5) in per cent at the best of {len(first.result.accuracy)} settings, which was chosen on the "
        "images that judge",
        "",
    ]
    width, features = (max(len(getattr(r, key)) for r in rows) for key in ("name", "feature"))
    lines.append(f"{'':{width}}  {'feature':{features}}{'best':>16}  {setting}")
    for row in rows:
        result = row.result
        five = result.top5.get(result.best_setting)
        figure = f"{result.best:.2f}" + ("" if five is None else f" ({five:.2f})")
        lines.append(
            f"{row.name:{width}}  {row.feature:{features}}{figure:>16}  {result.best_setting:g}"
        )
    if bad := sorted({path for row in rows for path in row.unreadable}):
        lines += ["", f"{len(bad)} unreadable file(s) left out: {listed(bad)}"]
    return "\n".join(lines)


def _row(
    name: str,
    feature: str,
    parts: Sequence[tuple[Tensor, Tensor]],
    fit: Fit,
    progress: Progress | None,
    unreadable: tuple[str, ...] = (),
) -> ProbeRow:
    train, val = parts
    return ProbeRow(
        name,
        feature,
        train[0].shape[1],
        fit(train, val, progress),
        num_train=len(train[1]),
        num_val=len(val[1]),
        num_classes=len(train[1].unique()),
        unreadable=unreadable,
    )
