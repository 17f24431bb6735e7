"""Pictures of photographs from one call: what a backbone sees in them, beside random weights if wanted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmrel.apis.backbone import get_backbone
from mmrel.apis.baselines import random_like
from mmrel.datasets.folder_listing import list_files
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.models.backbones import ViT
from mmrel.visualization import attention, correspondence, pca, relations, similarity
from mmrel.visualization.photos import SIZE, Point
from mmrel.visualization.style import FORMATS, figure_format

Networks = Mapping[str, ViT]
RANDOM = "random weights"


@dataclass(frozen=True)
class PictureOptions:
    """What may be chosen; each kind of picture reads what concerns it.

    Attributes:
        size: short side of the photographs in pixels, as the backbone sees them; ``None``: their own.
        block: whose tokens or attention; negative ones count from the end.
        theme: ``'light'`` or ``'dark'``.
        heads: attention heads, or the groups of channels of a relation; ``None``: all.
        threshold: share of the attention that stays visible; ``None``: no masks.
        query: ``'cls'`` or ``'mean'``, see :func:`mmrel.evaluation.attention.query_attention`.
        points: places ``(x, y)``: whole numbers are pixels, floats in [0, 1] shares of the sides.
        temperature: of a spatial relation.
        foreground: ``'otsu'`` or ``'sign'``, see :func:`mmrel.visualization.pca.patch_colors`.
        crops: correspondences between two random crops of one photograph instead of two photographs.
        seed: of these crops.
        radius: patches between a match and the truth that count as right.
        count: matches that are drawn.
        by: ``'attention'`` or ``'similarity'``: which matches are drawn.
    """

    size: int | None = SIZE
    block: int = -1
    theme: str = "light"
    heads: Sequence[int] | None = None
    threshold: float | None = 0.6
    query: str = "cls"
    points: Sequence[Point] = similarity.MIDDLE
    temperature: float = 1.0
    foreground: str = "otsu"
    crops: bool = False
    seed: int = 0
    radius: int = 1
    count: int = correspondence.COUNT
    by: str = "attention"


def load_networks(
    checkpoint: str | Path, random: bool = False, seed: int = 0, **options: Any
) -> dict[str, ViT]:
    """The backbone of a checkpoint, and the same one with random weights beside it.

    Args:
        checkpoint: see :func:`mmrel.apis.get_backbone`.
        random: whether to add one with freshly drawn weights.
        seed: of these.
        **options: other arguments of :func:`mmrel.apis.get_backbone`, such as ``network``.

    Returns:
        The networks by the titles that pictures give them.
    """
    backbone = get_backbone(checkpoint, **options)
    networks = {Path(checkpoint).name: backbone}
    return {**networks, RANDOM: random_like(backbone, seed)} if random else networks


def draw_picture(
    kind: str,
    networks: Networks,
    images: Sequence[Path],
    out: Path | None = None,
    options: PictureOptions | None = None,
) -> list[str]:
    """Draw photographs as backbones see them.

    Args:
        kind: a key of ``KINDS``.
        networks: of :func:`load_networks`, or any backbones by their titles.
        images: files; for ``'pca'`` also folders.
        out: file to write, PNG, PDF or SVG by its ending; or a folder, for several figures. ``None``:
            ``KIND_NAME.png`` in the current folder, by the photograph's name.
        options: what else may be chosen.

    Returns:
        A line about each figure that was written.

    Raises:
        ValueError: an unknown kind, another number of images than it needs, or what its functions refuse.
        FileNotFoundError: there is no such image.
        UnreadableImageError: a file that holds no image, with its path.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no picture {kind!r}; choose from {', '.join(KINDS)}")
    for image in images:
        if not image.exists():
            raise FileNotFoundError(f"There is no image '{image}' (looked for {image.absolute()}).")
        if kind != "pca" and image.is_dir():
            raise ValueError(f"'{image}' is a folder; {kind} takes files, and only pca folders")
    return KINDS[kind](networks, list(images), out, options or PictureOptions())


def photos_below(images: Sequence[Path], limit: int) -> list[Path]:
    """Files as they are, and of each folder at most ``limit`` images, spread evenly over their sorted paths.

    Raises:
        ValueError: a folder without images, or a limit below 1.
    """
    found: list[Path] = []
    for image in images:
        if not image.is_dir():
            found.append(image)
            continue
        paths = list_files(str(image), lambda name: name.lower().endswith(tuple(IMAGE_SUFFIXES)))
        if not paths.images or limit < 1:
            raise ValueError(
                f"{limit} images of the folder '{image}' are asked for, and it holds {len(paths.images)}; give 1 or "
                f"more, of a folder with files that end with {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        count = min(limit, len(paths.images))
        spread = np.linspace(0, len(paths.images) - 1, count).round().astype(int)
        found += [image / paths.images[index] for index in spread]
    return found


def _attention(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    lines = []
    for image, path in zip(images, _paths("attention", images, out), strict=True):
        maps = {
            name: attention.attention_maps(
                network, image, options.block, options.query, options.size
            )
            for name, network in networks.items()
        }
        attention.draw_attention(image, maps, path, options.heads, options.threshold, options.theme)
        lines.append(str(path))
    return lines


def _similarity(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    _check_count("similarity", images, (1, 2), "the photograph, and perhaps one to compare")
    image, other = images[0], images[1] if len(images) == 2 else None
    [path] = _paths("similarity", images[:1], out)
    maps = {
        name: similarity.similarity_maps(
            network, image, options.points, other, options.block, options.size
        )
        for name, network in networks.items()
    }
    similarity.draw_similarity(image, options.points, maps, path, other, options.theme)
    return [str(path)]


def _relations(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    lines = []
    block, size = options.block, options.size
    for image, path in zip(images, _paths("relations", images, out), strict=True):
        spatial = {
            name: relations.spatial_relations(
                network, image, options.points, options.heads, options.temperature, block, size
            )
            for name, network in networks.items()
        }
        channel = {
            name: relations.channel_relations(network, image, block, size)
            for name, network in networks.items()
        }
        relations.draw_relations(image, options.points, spatial, channel, path, options.theme)
        lines.append(str(path))
    return lines


def _pca(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    images = photos_below(images, options.count)
    [path] = _paths("pca", images[:1], out)
    found = {
        name: pca.patch_colors(network, images, options.foreground, options.block, options.size)
        for name, network in networks.items()
    }
    pca.draw_pca(images, found, path, options.theme)
    return [f"{path}: {len(images)} photograph{'' if len(images) == 1 else 's'}"]


def _correspondence(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    if options.crops:
        return _crops(networks, images, out, options)
    need = "two photographs, or one with crops=True (--crops) for two crops of it"
    _check_count("correspondence", images, (2,), need)
    [path] = _paths("correspondence", images[:1], out)
    first, second = images
    found = {
        name: correspondence.photo_matches(
            network, first, second, options.count, options.by, options.block, options.size
        )
        for name, network in networks.items()
    }
    correspondence.draw_photo_matches(first, second, found, path, options.theme)
    return [str(path)]


def _crops(
    networks: Networks, images: list[Path], out: Path | None, options: PictureOptions
) -> list[str]:
    _check_count("correspondence of crops", images, (1,), "one photograph")
    [path] = _paths("correspondence", images, out)
    found = {
        name: correspondence.crop_matches(
            network,
            images[0],
            options.seed,
            options.radius,
            options.count,
            options.by,
            options.block,
            options.size,
        )
        for name, network in networks.items()
    }
    correspondence.draw_crop_matches(images[0], found, path, options.theme)
    scores = (f"{name} {one.accuracy:.1f} %" for name, one in found.items())
    return [f"{path}: accuracy {', '.join(scores)}"]


Draw = Callable[[Networks, list[Path], Path | None, PictureOptions], list[str]]
KINDS: dict[str, Draw] = {
    "attention": _attention,
    "similarity": _similarity,
    "relations": _relations,
    "pca": _pca,
    "correspondence": _correspondence,
}
"""The kinds of pictures."""


def _check_count(kind: str, images: Sequence[Path], allowed: tuple[int, ...], need: str) -> None:
    if len(images) not in allowed:
        raise ValueError(f"{len(images)} image(s) are given for {kind}; it needs {need}")


def _paths(kind: str, images: Sequence[Path], out: Path | None) -> list[Path]:
    """A file for each figure.

    Raises:
        ValueError: one file for several figures, an ending that is no format, or two photographs of one name.
    """
    if out is not None and out.suffix.lower().lstrip(".") in FORMATS and len(images) == 1:
        return [out]
    if out is not None and out.suffix and not out.is_dir():
        figure_format(out)
        raise ValueError(
            f"{len(images)} figures cannot all be written to '{out}'; give a folder, or one image"
        )
    folder = Path() if out is None else out
    paths = [folder / f"{kind}_{image.stem}.png" for image in images]
    if len(set(paths)) < len(paths):
        raise ValueError(
            f"two of the images have one name, so that '{max(paths, key=paths.count)}' would be written twice; draw "
            "them in two calls"
        )
    return paths
