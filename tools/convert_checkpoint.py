"""Convert a vision transformer that another project trained, for mmrel, mmpretrain, mmdet and mmseg; or back.

    python tools/convert_checkpoint.py dino_deitsmall16_pretrain.pth backbone.pth
    python tools/convert_checkpoint.py vit-s-300ep.pth.tar backbone.pth --network teacher
    python tools/convert_checkpoint.py work_dirs/sere/epoch_100.pth sere_timm.pth --to timm
    python tools/convert_checkpoint.py dinov2_vits14_pretrain.pth backbone.pth --patch-size 16
    python tools/convert_checkpoint.py checkpoint0100.pth pretraining.pth --full

The file holds ``{'state_dict': {'backbone.*': tensor}, 'meta': {...}}`` and loads everywhere with
``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``. With ``--to`` it holds the backbone alone,
under the names of DINO or timm. With ``--full`` it holds what pretraining goes on from, for ``load_from``: both
networks, heads and centres. The layout is told from the keys. A key that is unknown or missing is an error that names
it. Nothing stored in the file is executed. See docs/checkpoints.md.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.checkpoints.layouts import NETWORKS, OFFICIAL
from mmrel.launch.arguments import add_normalization, positive

if TYPE_CHECKING:
    from mmrel.checkpoints import Backbone

TARGETS = ("timm", "dino")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Convert the checkpoint of a vision transformer.")
    parser.add_argument("source", type=Path, metavar="IN", help="checkpoint to read")
    parser.add_argument("output", type=Path, metavar="OUT", help="file to write")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--from",
        dest="layout",
        choices=("auto", *OFFICIAL),
        default="auto",
        help="whose layout the file has (default: told from its keys)",
    )
    direction.add_argument(
        "--to", choices=TARGETS, help="write the backbone under the names of that project"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--full",
        action="store_true",
        help="write both networks, heads and centres of a full training checkpoint",
    )
    what.add_argument(
        "--network",
        choices=NETWORKS,
        help="which network, where the file holds two (default: the one that its authors evaluate)",
    )
    parser.add_argument(
        "--allow-extra",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATTERN",
        help="unknown keys to leave out, with * and ? ('adapter.*')",
    )
    parser.add_argument("--num-heads", type=int, help="attention heads, where nothing tells them")
    parser.add_argument(
        "--img-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="image size in pixels of the position embedding, where its grid is no square",
    )
    parser.add_argument(
        "--patch-size",
        type=positive,
        metavar="PIXELS",
        help="resize the patch kernel to this side (FlexiViT's pseudo-inverse resize; 16 for DINOv2 in recipes of 16)",
    )
    parser.add_argument(
        "--in-channels",
        type=positive,
        metavar="N",
        help="channels of the images: the patch kernel is summed for 1 and repeated and scaled for more",
    )
    parser.add_argument(
        "--teacher-momentum",
        type=float,
        metavar="M",
        help="with --full of MoCo v3: make the move of the teacher that its code makes before the next loss",
    )
    add_normalization(parser)
    return parser.parse_args(arguments)


def normalization_of(meta: dict[str, Any]) -> str:
    """Mean and deviation of the images, or that the file does not tell them."""
    if meta["mean"] is None:
        return "unknown, so ImageNet's unless --mean and --std say otherwise (127.5 each for many of timm's)"
    mean, std = (" ".join(f"{value:g}" for value in meta[name]) for name in ("mean", "std"))
    return f"mean {mean}, deviation {std}"


def report(backbone: "Backbone") -> str:
    """What was recognised, mapped and left out, in a few lines."""
    meta = backbone.meta
    size = meta["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    rows, cols = height // meta["patch_size"], width // meta["patch_size"]
    place = f"below '{backbone.prefix}'" if backbone.prefix else "without prefix"
    parts = {
        "class token": meta["with_cls_token"],
        "final norm": meta["final_norm"],
        "layer scale": meta["layer_scale"],
    }
    registers = meta["num_registers"]
    whole = "teacher and student" if backbone.full else "the only one"
    numbers = sum(value.numel() for value in backbone.state.values())
    lines = [
        f"layout {backbone.layout}, stored as {backbone.container}, {place}; network: "
        f"{meta['network'] or whole}",
        f"arch {meta['arch']}: {meta['embed_dims']} wide, {meta['num_layers']} blocks, "
        f"{meta['num_heads']} heads, MLP {meta['feedforward_channels']}",
        f"patch {meta['patch_size']}, grid {rows} x {cols} ({height} x {width} pixels), positions "
        f"resized by '{meta['pos_interpolation'] or 'unknown'}'",
        f"images normalised with: {normalization_of(meta)}",
        ", ".join(f"{'with' if there else 'without'} {part}" for part, there in parts.items())
        + (f", {registers} register tokens" if registers else ""),
        f"mapped: {len(backbone.state)} tensors, {numbers:,} numbers",
    ]
    lines += [f"left out: {group}: {len(keys)}" for group, keys in backbone.left_out.items()]
    return "\n".join(
        [
            "  " + line
            for line in [
                *lines,
                *(f"changed: {c}" for c in backbone.changes),
                *(f"note: {n}" for n in backbone.notes),
            ]
        ]
    )


def run(options: argparse.Namespace) -> "Backbone":
    """Convert in the way that the options ask for."""
    from mmrel.checkpoints import convert, convert_full, convert_to_official

    settings = {
        "layout": options.layout,
        "allow_extra": options.allow_extra,
        "num_heads": options.num_heads,
        "img_size": options.img_size,
    }
    if options.full and options.to:
        raise ValueError("--full writes mmrel's names, --to another project's. Give one of them.")
    if options.teacher_momentum is not None and not options.full:
        raise ValueError(
            "--teacher-momentum moves the teacher of a whole state. Give it with --full."
        )
    if options.full:
        settings["teacher_momentum"] = options.teacher_momentum
        if options.mean or options.std:
            raise ValueError("--mean and --std go with a backbone. Leave them out with --full.")
        if options.patch_size or options.in_channels:
            raise ValueError(
                "--patch-size and --in-channels go with a backbone. With --full, leave them out: load_from fits the "
                "patch kernel to the recipe."
            )
        return convert_full(options.source, options.output, **settings)
    names = ("network", "mean", "std", "patch_size", "in_channels")
    settings |= {name: getattr(options, name) for name in names}
    if options.to:
        return convert_to_official(options.source, options.output, options.to, **settings)
    return convert(options.source, options.output, **settings)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        backbone = run(options)
    except (OSError, ValueError) as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 1
    print(f"{options.source}:\n{report(backbone)}\nwrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
