"""What is compared: checkpoints, random weights of the same networks, and thumbnails without any network."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmrel.apis.backbone import CONFIG_SUFFIXES, get_backbone
from mmrel.apis.evaluation.labels import choose_labels
from mmrel.checkpoints import read_backbone_file
from mmrel.models.backbones import ViT
from mmrel.utils.errors import UsageError
from mmrel.utils.weights_folder import is_weights_folder

CHECKPOINT, RANDOM, THUMBNAILS = "checkpoint", "random", "thumbnails"
THUMBNAIL_SIDE = 16
SEED = 0
"""Of random weights."""


@dataclass(frozen=True)
class Subject:
    """One line of the comparison.

    Attributes:
        label: what it is called, different from all others.
        kind: ``'checkpoint'``, ``'random'`` or ``'thumbnails'``.
        digest: short hash of everything that its features depend on.
        facts: what was loaded, as rows of a table.
        build: makes the backbone, on the CPU; ``None`` for thumbnails.
    """

    label: str
    kind: str
    digest: str
    facts: dict[str, str] = field(default_factory=dict)
    build: Callable[[], ViT | None] = lambda: None


@dataclass(frozen=True)
class Subjects:
    """All that is compared.

    Attributes:
        checkpoints: in the order given.
        baselines: random weights, each network once, and thumbnails.
        random_of: label of the random weights of each checkpoint's network.
    """

    checkpoints: tuple[Subject, ...]
    baselines: tuple[Subject, ...] = ()
    random_of: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Subject, ...]:
        """Checkpoints first."""
        return self.checkpoints + self.baselines

    @property
    def thumbnails(self) -> Subject | None:
        """The one without a network, if it is asked for."""
        found = [subject for subject in self.baselines if subject.kind == THUMBNAILS]
        return found[0] if found else None


def find_subjects(
    checkpoints: Sequence[str | Path],
    labels: Sequence[str] | None = None,
    random: bool = True,
    thumbnails: bool = True,
    **weights: Any,
) -> Subjects:
    """Read what each checkpoint holds, give it a label, and add what stands beside it.

    Args:
        checkpoints: what ``get_backbone`` takes as a file.
        labels: one each; ``None``: the method's name, or what tells the paths apart.
        random: whether random weights of each network are wanted.
        thumbnails: whether thumbnails are.
        **weights: ``network``, ``num_heads``, ``mean`` and ``std``, as for ``get_backbone``, of all checkpoints.

    Raises:
        UsageError: there is none, one is given twice or cannot be read, or the labels do not fit.
    """
    files = _check_files(checkpoints)
    weights = {"network": "teacher", **{k: v for k, v in weights.items() if v is not None}}
    described = [_describe(path, weights) for path in files]
    names = choose_labels(files, [facts.get("method", "") for facts, _ in described], labels)
    found = tuple(
        _checkpoint(path, label, weights, facts)
        for path, label, (facts, _) in zip(files, names, described, strict=True)
    )
    baselines: list[Subject] = []
    random_of: dict[str, str] = {}
    if random:
        networks = [identity for _, identity in described]
        random_of, baselines = _random_weights(found, networks)
    if thumbnails:
        baselines.append(thumbnail_subject())
    if taken := {b.label for b in baselines} & set(names):
        raise UsageError(f"the label {taken.pop()!r} is taken by a baseline; give another one")
    return Subjects(found, tuple(baselines), random_of)


def thumbnail_subject() -> Subject:
    """Images shrunk to 16 x 16 pixels: what colour and layout alone give."""
    side = f"{THUMBNAIL_SIDE}\N{MULTIPLICATION SIGN}{THUMBNAIL_SIDE}"
    return Subject(f"{side} thumbnails", THUMBNAILS, f"thumbnails-{THUMBNAIL_SIDE}")


def short_hash(content: Any) -> str:
    """Of JSON content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_files(checkpoints: Sequence[str | Path]) -> list[Path]:
    if not checkpoints:
        raise UsageError(
            "no checkpoint; give one or more: of mmrel, DINO, DINOv2, iBOT, timm, ..., or a pretraining's config for "
            "random weights"
        )
    files = [Path(checkpoint).expanduser() for checkpoint in checkpoints]
    for path in files:
        if not path.is_file() and not is_weights_folder(path):
            what = "is a folder" if path.is_dir() else "does not exist"
            raise UsageError(
                f"the checkpoint {path} {what} (looked for {path.absolute()}); give a file"
            )
    twice = [str(path) for path, count in Counter(p.resolve() for p in files).items() if count > 1]
    if twice:
        raise UsageError(f"the checkpoint {', '.join(twice)} is given twice; give each file once")
    return files


def _describe(path: Path, weights: dict[str, Any]) -> tuple[dict[str, str], str]:
    """What a file holds, as a table's rows, and a hash of the network without its weights."""
    if path.suffix in CONFIG_SUFFIXES:
        facts, size = (
            {"file": str(path), "layout": "a config: random weights"},
            {"config": path.read_text()},
        )
        return facts, short_hash(size)
    try:
        read = read_backbone_file(path, **weights)
    except (OSError, ValueError) as error:
        raise UsageError(f"the checkpoint {path} cannot be used: {error}") from error
    meta = read.meta
    shapes = {name: tuple(tensor.shape) for name, tensor in read.state.items()}
    numbers = sum(tensor.numel() for tensor in read.state.values())
    left_out = [f"{len(names)} of {group}" for group, names in read.left_out.items() if names]
    facts = {
        "method": meta.get("method") or "",
        "file": str(path),
        "layout": f"{read.layout} ({read.container})",
        "network": meta.get("network") or "its only network",
        "architecture": _architecture(meta),
        "epoch": str(meta.get("epoch") or ""),
        "tensors": f"{len(shapes)} tensors, {numbers / 1e6:.2f} million numbers; none missing",
        "left in the file": ", ".join(left_out),
        "notes": "; ".join(read.notes),
    }
    built = {
        k: meta.get(k)
        for k in ("num_heads", "img_size", "use_pos_embed", "pos_interpolation", "mean", "std")
    }
    return {name: text for name, text in facts.items() if text}, short_hash([shapes, built])


def _architecture(meta: dict[str, Any]) -> str:
    parts = [
        f"ViT, {meta['num_layers']} blocks, width {meta['embed_dims']}, {meta['num_heads']} heads, "
        f"patch {meta['patch_size']}, trained at {meta['img_size']} pixels"
    ]
    lacks = {
        "with_cls_token": "no class token",
        "final_norm": "no final norm",
        "use_pos_embed": "no positions",
    }
    return ", ".join(parts + [text for name, text in lacks.items() if not meta[name]])


def _checkpoint(path: Path, label: str, weights: dict[str, Any], facts: dict[str, str]) -> Subject:
    content = _sha256(path)
    shown = {**facts, "SHA-256": content}
    digest = short_hash([content, weights])
    return Subject(label, CHECKPOINT, digest, shown, lambda: get_backbone(path, **weights))


def _sha256(path: Path) -> str:
    """Of a file, or of the files of a Hugging Face folder one after the other."""
    total = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
    return total.hexdigest()


def _random_weights(
    checkpoints: Sequence[Subject], networks: Sequence[str]
) -> tuple[dict[str, str], list[Subject]]:
    """Random weights of each different network, once, and whose they are."""
    owners = {
        network: subject
        for subject, network in reversed(list(zip(checkpoints, networks, strict=True)))
    }
    alone = len(owners) == 1
    labels = {n: "random" if alone else f"random ({owner.label})" for n, owner in owners.items()}
    found = {
        network: Subject(
            labels[network], RANDOM, f"random-{SEED}-{network}", {}, _random_build(owners[network])
        )
        for network in dict.fromkeys(networks)
    }
    pairs = zip(checkpoints, networks, strict=True)
    return {subject.label: labels[network] for subject, network in pairs}, list(found.values())


def _random_build(owner: Subject) -> Callable[[], ViT | None]:
    def build() -> ViT | None:
        from mmrel.apis.baselines import random_like

        trained = owner.build()
        return None if trained is None else random_like(trained, seed=SEED)

    return build
