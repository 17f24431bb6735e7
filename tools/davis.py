"""Follows objects through videos by a frozen backbone: DAVIS-2017 with its figures, or a folder of frames.

Examples::

    python tools/davis.py backbone.pth --data-root data/DAVIS --out work_dirs/davis --json davis.json
    python tools/davis.py backbone.pth --data-root data/DAVIS --random --copy-first
    python tools/davis.py backbone.pth --frames clip/ --first-mask clip_00000.png --out masks/ --video
    python tools/davis.py --masks work_dirs/davis --data-root data/DAVIS

The checkpoint is what ``mmrel.apis.get_backbone`` takes. The mask of each first frame is propagated along the
similarities of patch tokens, as in DINO, iBOT and SelfPatch. Masks are written as indexed PNG files in the layout of
the official toolkit, ``OUT/<sequence>/00000.png``. ``--video`` adds, beside these folders, a strip of pictures and a
clip. ``--masks`` scores masks that are there already. Nothing stored in the checkpoint is executed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrel.launch.arguments import add_weights, positive, weights_of
from mmrel.utils import UsageError

if TYPE_CHECKING:
    from mmrel.apis.video import VideoProtocol
    from mmrel.evaluation.davis import DavisResult, VideoSequence
    from mmrel.models.backbones import ViT

COLUMNS = {
    "J&F": "jf_mean",
    "J mean": "j_mean",
    "J recall": "j_recall",
    "J decay": "j_decay",
    "F mean": "f_mean",
    "F recall": "f_recall",
    "F decay": "f_decay",
}
CHECKPOINT = "checkpoint"
CLIPS = ("webp", "gif", "png", "mp4")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Video object segmentation by label propagation: DAVIS-2017, or a folder of frames."
    )
    parser.add_argument("checkpoint", nargs="?", help="a checkpoint (or a pretraining's config)")
    data = parser.add_argument_group("DAVIS")
    data.add_argument("--data-root", type=Path, help="with ImageSets, JPEGImages, Annotations")
    data.add_argument("--split", default="val", help="name of the list of sequences")
    data.add_argument("--year", type=int, default=2017, help="folder of that list")
    data.add_argument("--resolution", default="480p", help="folder of frames and of masks")
    data.add_argument("--json", type=Path, help="file for all figures")
    data.add_argument("--random", action="store_true", help="also the same network, random weights")
    data.add_argument("--copy-first", action="store_true", help="also copies of the first mask")
    data.add_argument(
        "--masks", type=Path, help="score the masks in this folder, as OUT is written"
    )
    folder = parser.add_argument_group("a folder of frames")
    folder.add_argument("--frames", type=Path, help="folder of images, in the order of their names")
    folder.add_argument(
        "--first-mask", type=Path, help="indexed or grey PNG: objects are 1, 2, ..."
    )
    parser.add_argument("--out", type=Path, help="folder for the masks")
    parser.add_argument(
        "--video",
        nargs="?",
        const=CLIPS[0],
        choices=CLIPS,
        help=f"write a strip of pictures and a clip beside the masks (default: {CLIPS[0]})",
    )
    protocol = parser.add_argument_group("protocol (defaults: DINO's)")
    protocol.add_argument("--size", type=positive, default=480, help="short side in pixels")
    protocol.add_argument("--block", type=int, default=-1, help="whose tokens are compared")
    protocol.add_argument("--num-last-frames", type=int, default=7, help="besides the first frame")
    protocol.add_argument(
        "--neighbourhood", type=int, default=12, help="in tokens; 0: any distance"
    )
    protocol.add_argument("--topk", type=positive, default=5, help="tokens that count")
    protocol.add_argument("--temperature", type=float, default=0.1)
    add_weights(parser.add_argument_group("the checkpoint"))
    args = parser.parse_args(arguments)
    _check(parser, args)
    return args


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What goes together."""
    if (args.data_root is None) == (args.frames is None):
        parser.error("give either --data-root (DAVIS) or --frames with --first-mask")
    if args.frames is not None:
        if args.first_mask is None or args.out is None:
            parser.error("--frames needs --first-mask and --out")
        if args.random or args.copy_first or args.masks or args.json:
            parser.error("--random, --copy-first, --masks and --json are for --data-root")
    if args.checkpoint is None and (args.frames or args.random or args.out):
        parser.error("give a checkpoint")
    if not (args.checkpoint or args.copy_first or args.masks):
        parser.error("give a checkpoint, --copy-first or --masks")
    if args.video and args.out is None:
        parser.error("--video needs --out")


def run(args: argparse.Namespace) -> str:
    """Follow the objects, write, and return a summary."""
    from mmrel.launch.safe_loading import load_safely

    load_safely()
    return follow_folder(args) if args.frames is not None else evaluate(args)


def follow_folder(args: argparse.Namespace) -> str:
    """Propagate a first mask through a folder of frames."""
    from mmrel.apis.video import propagate_folder
    from mmrel.evaluation.davis import list_frames
    from mmrel.launch.progress import progress_bar

    masks = propagate_folder(
        load(args), args.frames, args.first_mask, args.out, protocol_of(args), progress_bar()
    )
    written = [f"{len(masks)} masks: {masks[0].parent}"]
    if args.video:
        frames = list_frames(args.frames)
        written += draw(args, masks[0].parent.name, frames, {"propagated": masks})
    return "\n".join(written)


def evaluate(args: argparse.Namespace) -> str:
    """Figures of DAVIS, of everything that was asked for."""
    from mmrel.apis.video import evaluate_sequences
    from mmrel.evaluation.davis import read_split
    from mmrel.launch.progress import progress_bar

    def draw_sequence(sequence: "VideoSequence", masks: Any) -> None:
        draw(
            args, sequence.name, sequence.frames, {"annotated": sequence.masks, "propagated": masks}
        )

    sequences = read_split(args.data_root, args.split, args.year, args.resolution)
    results = {}
    for name, masks_of in contenders(args).items():
        print(f"{name}: {len(sequences)} sequences", file=sys.stderr)
        own = name == CHECKPOINT
        results[name] = evaluate_sequences(
            sequences,
            masks_of,
            args.out if own else None,
            progress_bar(),
            draw_sequence if own and args.video else None,
        )
    if args.json is not None:
        write_report(args, results)
    return table(results)


def contenders(args: argparse.Namespace) -> dict[str, Any]:
    """What is asked to give masks, by its name in the table."""
    from mmrel.apis.baselines import random_like
    from mmrel.apis.video import copies_of_first, masks_by, masks_in

    found: dict[str, Any] = {}
    if args.checkpoint is not None:
        backbone, protocol = load(args), protocol_of(args)
        found[CHECKPOINT] = masks_by(backbone, protocol)
        if args.random:
            found["random weights"] = masks_by(random_like(backbone), protocol)
    if args.copy_first:
        found["first mask copied"] = copies_of_first
    if args.masks is not None:
        found[str(args.masks)] = masks_in(args.masks)
    return found


def write_report(args: argparse.Namespace, results: "dict[str, DavisResult]") -> None:
    """Write the settings and all figures as JSON."""
    from mmrel.utils.files import write_text_atomically

    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    report = {"settings": settings, "results": {n: r.as_dict() for n, r in results.items()}}
    write_text_atomically(args.json, json.dumps(report, indent=2) + "\n")


def load(args: argparse.Namespace) -> "ViT":
    """The checkpoint's backbone, where it computes."""
    from mmrel.apis.backbone import get_backbone
    from mmrel.launch.devices import usable_device

    return get_backbone(args.checkpoint, **weights_of(args)).to(usable_device(args.device))


def protocol_of(args: argparse.Namespace) -> "VideoProtocol":
    """The protocol as the command line sets it."""
    from mmrel.apis.video import VideoProtocol

    names = ("size", "block", "num_last_frames", "neighbourhood", "topk", "temperature")
    return VideoProtocol(**{name: getattr(args, name) for name in names})


def draw(args: argparse.Namespace, name: str, frames: Any, rows: dict[str, Any]) -> list[str]:
    """Write a strip with all rows, and a clip with the last; returns a line for each."""
    from mmrel.visualization.video import draw_strip, write_clip

    strip, clip = args.out / f"{name}.strip.png", args.out / f"{name}.{args.video}"
    draw_strip(frames, rows, strip)
    write_clip(frames, [*rows.values()][-1], clip)
    return [f"strip: {strip}", f"clip: {clip}"]


def table(results: "dict[str, DavisResult]") -> str:
    """J&F of each sequence, and all figures over all objects, in per cent."""
    width = max(map(len, ("sequence (J&F)", *results)))
    by_sequence = {name: result.per_sequence() for name, result in results.items()}
    names = [*next(iter(by_sequence.values()))]
    left = max(map(len, ("sequence (J&F)", *names)))
    lines = [f"{'sequence (J&F)':{left}}  objects" + "".join(f"  {name}" for name in results)]
    for name in names:
        own = [found[name] for found in by_sequence.values()]
        cells = "".join(
            f"  {100 * r.jf_mean:{len(c)}.1f}" for c, r in zip(results, own, strict=True)
        )
        lines.append(f"{name:{left}}  {len(own[0].per_object):7}{cells}")
    lines += ["", f"{'all objects':{width}}" + "".join(f"  {title:>8}" for title in COLUMNS)]
    for name, result in results.items():
        figures = "".join(f"  {100 * getattr(result, key):8.1f}" for key in COLUMNS.values())
        lines.append(f"{name:{width}}{figures}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    args = parse_args(arguments)
    from mmrel.datasets.bad_samples import UnreadableImageError

    try:
        print(run(args))
    except (OSError, ValueError, UsageError, UnreadableImageError) as error:
        print(f"\ndavis: {error}", file=sys.stderr)  # the bar may not have ended
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
