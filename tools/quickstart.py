"""Shows in some minutes, on two CPU cores, what self-relation pretraining does.

    python tools/quickstart.py                 # or: make quickstart
    python tools/quickstart.py --epochs 200    # or: make quickstart EPOCHS=200

Makes annotated scenes, pretrains a small ViT with SERE on MoCo v3, exports the teacher's backbone, freezes it, trains
Mask R-CNN and a linear segmentation layer on it, repeats both on random weights with the same budget, and writes
``report.html``. Stages that are done are not repeated; an interrupted training continues. Two stages run side by side
where neither needs the other: what needs no pretraining takes what it leaves of the cores.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from mmrel.launch.arguments import positive
from mmrel.quickstart.stages import StageError, StageRunner
from mmrel.quickstart.terminal import Terminal
from mmrel.utils import UsageError

ROOT = Path(__file__).resolve().parents[1]
METHOD = "mocov3-sere"


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Pretrain a small ViT on made-up scenes, judge it by two tasks, and write a report."
    )
    parser.add_argument(
        "--method", default=METHOD, help=f"what to pretrain with (default: {METHOD})"
    )
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "quickstart")
    parser.add_argument("--data-root", type=Path, default=ROOT / "data" / "scenes")
    parser.add_argument("--epochs", type=positive, help="of the pretraining")
    parser.add_argument("--seed", type=int, default=0, help="of all trainings")
    parser.add_argument("--num-train", type=positive, default=2000, help="training scenes")
    parser.add_argument("--num-val", type=positive, default=500, help="validation scenes")
    parser.add_argument(
        "--task-iters", type=positive, help="iterations of each of the four trainings for a task"
    )
    return parser.parse_args(arguments)


def find_method(name: str) -> Path:
    """The config of a method, below the repository.

    Raises:
        ValueError: there is none; the message lists the methods that have one.
    """
    files = sorted((ROOT / "configs" / "quickstart").glob("*.py"))
    known = {file.stem.split("_")[0]: file.relative_to(ROOT) for file in files}
    if name not in known:
        raise ValueError(
            f"There is no quickstart for the method {name!r}; there is one for: {', '.join(sorted(known))}. "
            "Choose one of these, or add a config to configs/quickstart/."
        )
    return known[name]


def run(args: argparse.Namespace) -> str:
    """Run what is not done yet, write the report, and return its summary."""
    config, work_dir = find_method(args.method), args.work_dir.absolute()
    terminal = Terminal()
    with quiet(work_dir / "logs" / "quickstart.log"):
        from mmrel.launch.safe_loading import load_safely
        from mmrel.quickstart.plan import Options, Plan
        from mmrel.quickstart.report import write_report

        load_safely()
        options = Options(
            root=ROOT,
            work_dir=work_dir,
            data_root=args.data_root.absolute(),
            config=config,
            epochs=args.epochs,
            seed=args.seed,
            num_train=args.num_train,
            num_val=args.num_val,
            task_iters=args.task_iters,
        )
        plan = Plan(options)
        stages = plan.stages()
    runner = StageRunner(work_dir, ROOT, terminal, plan.at_once)
    runner.run(*stages)
    terminal("report", "drawing the figures")
    with quiet(work_dir / "logs" / "report.log"):
        return write_report(plan, runner)


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send what the host libraries print, some of them on import, into a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run what is not done yet and write the report; returns the exit code."""
    try:
        print(run(parse_args(arguments)))
    except (ValueError, OSError, StageError, UsageError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quickstart: interrupted; the same command continues from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
