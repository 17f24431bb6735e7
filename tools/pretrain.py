"""Pretrains on a folder of photos: looks at the photos and the machine, says what it chooses and why, and trains.

    python tools/pretrain.py /my/photos
    python tools/pretrain.py /my/photos --method dino --hours 8
    python tools/pretrain.py /my/photos --from dinov2_vits14.pth --dry-run

No labels are needed. The plan becomes an ordinary configuration, ``plan/pretrain.py`` in the work dir, which
``tools/train.py`` trains; the backbone is written beside it as ``backbone.pth``. The same command again goes on with an
interrupted run.
"""

import argparse
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmrel.launch.arguments import above_zero, positive
from mmrel.launch.tool import call_tool
from mmrel.utils import UsageError, reports_usage_errors

if TYPE_CHECKING:
    from mmrel.apis.pretraining.planning import Plan
    from mmrel.apis.pretraining.run_state import RunState
    from mmrel.apis.pretraining.wishes import Wishes

METHODS = ("sere", "ibot", "dino", "mocov3", "selfpatch", "sit", "relvit")
NETWORKS = ("vit-tiny", "vit-small", "vit-base")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Pretrain on a folder of photos, without labels")
    parser.add_argument("data", help="the folder of photos, nested as you like")
    parser.add_argument("--method", choices=METHODS, default="sere", help="(default: sere)")
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="(default: that of --from; else vit-small on a GPU and vit-tiny on a CPU)",
    )
    parser.add_argument(
        "--from",
        dest="weights",
        metavar="WEIGHTS",
        help="go on from released weights: DINO's, iBOT's, DINOv2's, MAE's, timm's, or a backbone of mmrel's",
    )
    parser.add_argument(
        "--list",
        dest="list_file",
        metavar="FILE",
        help="take the images of this list, one path below DATA in a line",
    )
    parser.add_argument(
        "--work-dir", type=Path, help="for all files (default: work_dirs/METHOD_FOLDER)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=above_zero, help="how long it may take, such as 8 or 0.5")
    length.add_argument("--epochs", type=positive, help="passes over the photos")
    parser.add_argument("--batch", type=positive, help="images per step")
    parser.add_argument(
        "--preset",
        choices=["auto", "cpu", "gpu"],
        default="auto",
        help="device (default: a GPU if any)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan and write the configuration only"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the work dir, which must be there",
    )
    return parser.parse_args(arguments)


def wishes_of(args: argparse.Namespace) -> "Wishes":
    """The command line as the library takes it."""
    from mmrel.apis.pretraining.wishes import Wishes

    return Wishes(**{field.name: getattr(args, field.name) for field in fields(Wishes)})


def make_plan(wishes: "Wishes", state: "RunState") -> "Plan":
    """Look at the photos and the machine, and decide."""
    from mmrel.apis.pretraining.machine import look_at_machine
    from mmrel.apis.pretraining.planning import Planner
    from mmrel.apis.pretraining.survey import survey_folder
    from mmrel.apis.pretraining.weights import look_at_weights

    say(f"Looking at {wishes.data} ...")
    survey = survey_folder(wishes.data, wishes.list_file, lambda n: say(f"  {n:,} files so far"))
    machine = look_at_machine(wishes.preset)
    weights = look_at_weights(wishes)
    say("Trying a few steps ...")
    return Planner(
        wishes, survey, machine, state.work_dir, configs_folder(), command_line(), weights
    ).plan()


def configs_folder() -> Path:
    """The shipped configurations."""
    from mmrel.compat.model_index import index_folder

    root = index_folder()
    if root is None:
        raise UsageError(
            "The configurations of mmrel are not installed; install it again with pip."
        )
    return root / "configs"


def write_plan(plan: "Plan", state: "RunState") -> None:
    """Print the table; write the configuration, and the list of a run that takes only some photos."""
    from mmrel.apis.pretraining.written_config import PHOTOS, write_config

    say(f"\n{plan}")
    if plan.photos:
        write_config(state.work_dir / PHOTOS, "".join(f"{name}\n" for name in plan.photos))
    write_config(state.config, plan.config)
    say(f"The configuration: {state.config}")


def train(config: Path, work_dir: Path, resume: bool) -> None:
    """Call ``tools/train.py`` with a configuration.

    Raises:
        UsageError: what train.py says.
    """
    arguments = [str(config), "--work-dir", str(work_dir), *(["--resume"] if resume else [])]
    say(f"\npython tools/train.py {shlex.join(arguments)}\n")
    call_tool(Path(__file__).with_name("train.py"), arguments)


def finish(state: "RunState", wishes: "Wishes") -> None:
    """Export the backbone, and name what comes next."""
    backbone = shlex.quote(str(state.export()))
    photos = shlex.quote(wishes.data)
    say(
        f"\nThe {state.network}'s backbone of the last checkpoint is in {backbone}. With it, for instance:\n"
        f"  python tools/extract_features.py {backbone} {photos} features.npz\n"
        f"  python tools/visualize.py pca {backbone} {photos} --out pca.png\n"
        f"  python tools/finetune.py detect BOXES.json --backbone {backbone}\n"
        f"  python tools/finetune.py segment MASKS --backbone {backbone}"
    )


def command_line() -> str:
    """What the user typed."""
    return shlex.join(["python", "tools/pretrain.py", *sys.argv[1:]])


def say(text: str) -> None:
    """For the user, at once."""
    print(text, flush=True)


@reports_usage_errors
def main() -> None:
    """Plan, write the configuration, train, export; or go on with what an earlier start left."""
    args = parse_args()
    from mmrel.apis.pretraining.machine import hide_gpus

    hide_gpus(args.preset)  # before torch is imported
    from mmrel.apis.pretraining.out_of_memory import memory_for
    from mmrel.apis.pretraining.run_state import RunState, default_work_dir

    wishes = wishes_of(args)
    state = RunState(args.work_dir or default_work_dir(wishes), wishes)
    resume = state.can_resume(args.resume)
    if resume:
        latest = state.checkpoints()[0].name
        say(f"Going on with the run in {state.work_dir}: {state.config}, latest {latest}")
    else:
        write_plan(make_plan(wishes, state), state)
    if args.dry_run:
        say(f"Dry run: nothing was trained. python tools/train.py {state.config} trains it.")
        return
    if resume and state.is_done():
        say("That run is complete.")
    else:
        with memory_for(state.fresh_batch()):
            train(state.config, state.work_dir, resume)
    finish(state, wishes)


if __name__ == "__main__":
    main()
