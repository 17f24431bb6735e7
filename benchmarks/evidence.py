"""Evidence for the four methods: runs any arm, keeps its figures, and writes the tables and plots.

    python benchmarks/evidence.py list
    python benchmarks/evidence.py run ibot-sere ibot --seeds 0 1 2       # resumes; does nothing that is done
    python benchmarks/evidence.py run --jobs 2 --hours 2                 # all arms and seeds, what two hours allow
    python benchmarks/evidence.py run ibot --seeds 0 1 2 --tasks mask-rcnn upernet labels-10    # and fine-tunes
    python benchmarks/evidence.py run mocov3 --dataset elpv              # on photos of solar cells
    python benchmarks/evidence.py run --dataset scenes-vit-small --jobs 6    # as ViT-S, longer, on a GPU
    python benchmarks/evidence.py run ibot --seeds 0 --results work_dirs/again --work-dir work_dirs/again   # again
    python benchmarks/evidence.py page                                   # tables and plots from the files

Data, settings and judges: docs/evidence.md, section 1. A run takes one core; its figures go to
``benchmarks/results/evidence/<data set>/<arm>-seed<seed>.json``, with the commit and the machine.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from evidence_arms import ARMS, CLAIMS, find_arm
from evidence_data import DATA_SETS, SCENES

from mmrel.utils import UsageError, reports_usage_errors

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Evidence for the methods, with error bars.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the arms, the claims that they decide, and the data sets")
    run = commands.add_parser("run", help="run arms")
    run.add_argument("arms", nargs="*", metavar="ARM", help="default: all")
    run.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    run.add_argument("--jobs", type=int, default=1, help="runs side by side, a core each")
    run.add_argument("--hours", type=float, help="start no further run after so many")
    run.add_argument("--tasks", nargs="+", default=[], help="fine-tunings of each run, too")
    page = commands.add_parser("page", help="tables and plots from what was run")
    run.add_argument("--dataset", choices=list(DATA_SETS), default=SCENES.name)
    run.add_argument("--data", type=Path, help="folder of the data, which are made there")
    run.add_argument("--work-dir", type=Path, default=Path("work_dirs/evidence"))
    for command in (run, page):
        command.add_argument("--results", type=Path, help="folder of the JSON files")
    return parser.parse_args()


def listing() -> str:
    """Names and titles of all arms, the claims, and the data sets."""
    width = max(map(len, ARMS))
    lines = [f"{name:{width}}  {arm.title}" for name, arm in ARMS.items()]
    for claim in CLAIMS.values():
        lines += ["", claim.title, *(f"  {own} against {other}" for own, other in claim.pairs)]
    lines += [
        "",
        "Data sets",
        *(f"  {one.name:{width}}  {one.title}" for one in DATA_SETS.values()),
    ]
    return "\n".join(lines)


def folder_of_data(args: argparse.Namespace) -> Path:
    """Where the data set is, or is made."""
    data: Path = args.data or args.work_dir / "data" / args.dataset
    return data


def run_one(args: argparse.Namespace, name: str, seed: int) -> None:
    """A single run, in this process."""
    import torch
    from evidence_finetune import find_task, finetune
    from evidence_run import RESULTS, Run, execute

    from mmrel.launch.safe_loading import load_safely

    load_safely()
    torch.set_num_threads(1)
    dataset, data = DATA_SETS[args.dataset], folder_of_data(args)
    for task in args.tasks:
        find_task(task, find_arm(name), dataset)
    dataset.make(data)
    run = Run(
        find_arm(name), seed, data, dataset, args.work_dir.absolute(), args.results or RESULTS
    )
    start = time.monotonic()
    files = [execute(run)] if run.arm.judged else []
    files += [finetune(run, task) for task in args.tasks]
    names = ", ".join(map(str, files)) or "nothing; give --tasks, this arm has no features to judge"
    print(f"{run.name}: {names} ({time.monotonic() - start:.0f} s)", flush=True)


def run_many(args: argparse.Namespace, runs: list[tuple[str, int]]) -> int:
    """Runs in processes of their own, seed by seed, some side by side; returns how many failed."""
    deadline = None if args.hours is None else time.monotonic() + 3600 * args.hours
    shared = ["--dataset", args.dataset, "--work-dir", str(args.work_dir)]
    shared += ["--data", str(args.data)] * (args.data is not None)
    shared += ["--results", str(args.results)] * (args.results is not None)
    shared += ["--tasks", *args.tasks] * bool(args.tasks)
    DATA_SETS[args.dataset].make(folder_of_data(args))  # before runs side by side make it twice
    waiting, failed = list(runs), 0
    active: list[subprocess.Popen[bytes]] = []
    while waiting or active:
        late = deadline is not None and time.monotonic() > deadline
        while waiting and not late and len(active) < args.jobs:
            name, seed = waiting.pop(0)
            command = [sys.executable, __file__, "run", name, "--seeds", str(seed), *shared]
            active.append(subprocess.Popen(command, cwd=ROOT))
        if late and waiting:
            print(f"{len(waiting)} runs are left; the same command goes on with them", flush=True)
            waiting = []
        time.sleep(0.5)
        failed += sum(process.poll() not in (None, 0) for process in active)
        active = [process for process in active if process.poll() is None]
    return failed


@reports_usage_errors
def main() -> None:
    """Run, or write the page; exit code 1 if a run failed."""
    args = parse_args()
    if args.command == "list":
        print(listing())
    elif args.command == "page":
        from evidence_page import write_page
        from evidence_run import RESULTS

        print(write_page(args.results or RESULTS))
    else:
        names = [find_arm(name).name for name in args.arms] or list(ARMS)
        if args.jobs < 1:
            raise UsageError(f"--jobs is {args.jobs}; give 1 or more")
        runs = [(name, seed) for seed in args.seeds for name in names]
        if len(runs) == 1:
            run_one(args, *runs[0])
        elif failed := run_many(args, runs):
            sys.exit(f"{failed} of {len(runs)} runs failed")


if __name__ == "__main__":
    main()
