"""Trains a detector or a segmentor on your own boxes or masks, on top of a pretrained backbone.

Examples::

    python tools/finetune.py detect annotations.json --backbone backbone.pth
    python tools/finetune.py segment my_masks --backbone backbone.pth --work-dir work_dirs/masks --hours 2

DATA is a COCO JSON file, a folder of VOC's XML files or of LabelMe's JSON files, or, for ``segment``, a folder with
``images`` beside ``masks``. Classes, sizes, batch and schedule are chosen from the data and the computer, each choice
is printed with its reason, and all of them are written as an ordinary configuration of mmdet or mmseg, which
``tools/train.py`` then trains. Nothing is written into the folder of the data.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from mmrel.launch.arguments import ConfigOptions, above_zero, positive
from mmrel.launch.tool import call_tool
from mmrel.utils import UsageError, reports_usage_errors
from mmrel.utils.config import prepare_work_dir


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a detector or segmentor on your own boxes or masks."
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    _add_common(
        tasks.add_parser("detect", help="boxes, and masks of objects where outlines are there")
    )
    segment = tasks.add_parser("segment", help="a class for each pixel")
    _add_common(segment)
    segment.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="names of the values in masks, one per line, or with a colour: 'road 128 64 128' (default: "
        "class_names.txt, classes.txt or labels.txt beside the masks)",
    )
    args = parser.parse_args()
    if sum(value is not None for value in (args.epochs, args.iters, args.hours)) > 1:
        parser.error("give one of --epochs, --iters and --hours, or none")
    _parse_options(args.cfg_options)
    return args


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="COCO file, or folder of annotations"
    )
    parser.add_argument(
        "--backbone",
        type=Path,
        required=True,
        metavar="FILE",
        help="checkpoint of a vision transformer",
    )
    parser.add_argument(
        "--val", type=Path, metavar="DATA", help="to judge by (default: a fifth of DATA, drawn)"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="of a COCO file, the folder of its images"
    )
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/finetune_TASK_DATA")
    parser.add_argument("--epochs", type=above_zero, help="passes over the training images")
    parser.add_argument("--iters", type=positive, help="training steps")
    parser.add_argument(
        "--hours", type=above_zero, help="as many steps as fit, after measuring some"
    )
    parser.add_argument("--batch", type=positive, help="images per step")
    parser.add_argument(
        "--init",
        choices=["backbone", "random"],
        default="backbone",
        help="random: the same network without the weights, for comparison",
    )
    parser.add_argument(
        "--num-heads", type=positive, help="of the backbone, where its file does not tell"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="convert, print and write; do not train"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the work dir")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the configuration to override, as tools/train.py takes them",
    )


def _parse_options(texts: list[str]) -> dict[str, Any] | None:
    """The options as a dict; what cannot be parsed ends the tool."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=ConfigOptions)
    given = ["--cfg-options", *texts] if texts else []
    return parser.parse_args(given).cfg_options


def make_config(args: argparse.Namespace, work_dir: Path) -> Path:
    """Check and convert the data, choose, print, and write the configuration."""
    from mmrel.apis.finetuning.plan import Request, make_plan
    from mmrel.apis.finetuning.schedule import Wishes
    from mmrel.launch.progress import progress_bar

    _check_work_dir(work_dir, args.data)
    wishes = Wishes(args.epochs, args.iters, args.batch, args.init == "backbone")
    request = Request(
        args.task,
        args.data.absolute(),
        args.backbone.absolute(),
        work_dir,
        args.val and args.val.absolute(),
        args.images and args.images.absolute(),
        getattr(args, "classes", None),
        args.num_heads,
        wishes,
    )
    plan = make_plan(request, progress_bar())
    table = plan.write()
    if args.hours is not None:
        table = _fit_hours(plan, args)
    print(f"{table}\n")
    for warning in plan.data.warnings:
        print(f"note: {warning}")
    print(f"configuration: {request.config}")
    return request.config


def _fit_hours(plan: Any, args: argparse.Namespace) -> str:
    """Measure some steps and write the configuration again, for as many as fit."""
    from dataclasses import replace

    from mmrel.apis.finetuning.timing import seconds_per_step, steps_in

    print("measuring some training steps ...", file=sys.stderr)
    seconds = seconds_per_step(plan.request.config, _parse_options(args.cfg_options))
    wishes = replace(plan.request.wishes, iters=steps_in(args.hours, seconds))
    table = plan.write(wishes)
    return (
        f"{table}\n\n{seconds:.2f} seconds per step: {wishes.iters} steps in {args.hours:g} hours"
    )


def _check_work_dir(work_dir: Path, data: Path) -> None:
    """Refuse a work dir of another run, one inside the data, and one that cannot be written."""
    kept = {path.name for path in work_dir.glob("*.pth")} - {"backbone.pth"}
    if kept or (work_dir / "last_checkpoint").exists():
        raise UsageError(
            f"{work_dir} holds checkpoints of another run. Go on with it by --resume, or give another --work-dir."
        )
    if data.is_dir() and work_dir.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"The work dir {work_dir} lies inside the data, {data}, into which nothing is written. Give another "
            "--work-dir."
        )
    prepare_work_dir(argparse.Namespace(work_dir=work_dir))


def resumed_config(work_dir: Path, task: str) -> Path:
    """The configuration that a run was started with."""
    path = work_dir / "plan" / f"{task}.py"
    if not path.is_file():
        raise UsageError(
            f"There is nothing to resume in {work_dir}: {path} does not exist. Start the run without --resume."
        )
    return path


def train(config: Path, work_dir: Path, resume: bool, options: list[str]) -> None:
    """Run ``tools/train.py`` in this process."""
    tool = Path(__file__).with_name("train.py")
    arguments = [str(config), "--work-dir", str(work_dir), *(["--resume"] if resume else [])]
    arguments += ["--cfg-options", *options] if options else []
    print(f"training: python {' '.join([str(tool), *arguments])}")
    call_tool(tool, arguments)


@reports_usage_errors
def main() -> None:
    """Plan, train, judge, draw."""
    args = parse_args()
    default = Path("work_dirs") / f"finetune_{args.task}_{args.data.absolute().stem}"
    work_dir = (args.work_dir or default).absolute()
    config = resumed_config(work_dir, args.task) if args.resume else make_config(args, work_dir)
    if args.dry_run:
        return
    train(config, work_dir, args.resume, args.cfg_options)
    from mmrel.apis.finetuning.results import collect, next_steps

    result = collect(work_dir, args.task)
    print("\n" + "\n".join(result.lines))
    print(f"best checkpoint: {result.checkpoint}\npictures: {result.pictures}\n")
    print(next_steps(result, args.task))


if __name__ == "__main__":
    main()
