"""A training step of the recipes as a user runs them: through the Runner, its hooks, precision and optimizer wrapper.

    make benchmark                                     # SERE, SelfPatch, SiT and RelViT; on a CPU their tiny forms
    python benchmarks/step.py --recipes sere-base --batch 64 --cfg-options optim_wrapper.precision=fp16
    python benchmarks/step.py --gpus 1 2 4 8           # how images per second grow on one machine

Reported for eager and compiled code: milliseconds per step (median, quartiles), images per second, MFU, peak memory,
host waits, seconds until the first steps are done (compiling), with one batch again and again and fed by the loader
from JPEG files of 500 x 375 pixels. MFU is the share of the device's peak for dense bf16 that the matrix products,
convolutions and attention of the step make, as counted in eager code (a multiply-add is two operations); of a device
whose peak is not known it is left out. The figures go to ``benchmarks/results/step_<device>.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measure import save_results
from step_recipes import DEFAULT, Recipe, choose, write_images
from step_table import print_rows

from mmrel.utils import UsageError, reports_usage_errors

WORKER = Path(__file__).with_name("step_worker.py")
LOADED_BATCHES = 8
"""Batches that the image folder is made for; the loader goes round."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time a training step of the recipes.")
    parser.add_argument("--recipes", nargs="+", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--batch", type=int, help="images per GPU; default: the recipe's")
    parser.add_argument("--compile", choices=["on", "off", "both"], default="both")
    parser.add_argument("--no-loader", action="store_true", help="leave the loader-fed part out")
    parser.add_argument(
        "--gpus",
        nargs="+",
        type=int,
        default=[1],
        help="numbers of GPUs (without one: of processes)",
    )
    parser.add_argument("--warmup", type=int, help="steps before the measurement")
    parser.add_argument("--steps", type=int, help="steps that are timed")
    parser.add_argument(
        "--tiny", action="store_true", help="the quickstart's networks; the default on a CPU"
    )
    parser.add_argument("--cfg-options", nargs="+", default=[], help="as of tools/train.py")
    parser.add_argument("--no-save", action="store_true", help="print the table only")
    return parser.parse_args()


def run_worker(
    recipe: str, settings: dict[str, Any], gpus: int, flags: list[str], out: Path
) -> dict[str, Any]:
    """Measure one setting in a process of its own, or in one per GPU."""
    launcher = [sys.executable]
    if gpus > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={gpus}"]
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = [*launcher, str(WORKER), "--recipe", recipe, *options, "--out", str(out), *flags]
    out.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not out.exists():
        return {"gpus": gpus, "error": _last_line(done.stderr) or f"exit code {done.returncode}"}
    return json.loads(out.read_text())


def measure_recipe(
    name: str, recipe: Recipe, args: argparse.Namespace, folder: Path, images: Path
) -> list[dict[str, Any]]:
    """All settings of one recipe; a compiled step has the operations that its eager form was counted at."""
    flags = ["--tiny"] * args.tiny + ["--loader"] * (not args.no_loader)
    flags += ["--cfg-options", *args.cfg_options] * bool(args.cfg_options)
    rows = []
    for gpus in args.gpus:
        tflop = None
        for mode in ("off", "on") if args.compile == "both" else (args.compile,):
            settings = dict(
                batch=args.batch or recipe.batch,
                images=images,
                compile=mode,
                warmup=args.warmup,
                steps=args.steps,
            )
            start = time.perf_counter()
            row = run_worker(name, settings, gpus, flags, folder / "figures.json")
            tflop = row.setdefault("tflop", tflop)
            rows.append({"recipe": name, "config": recipe.config, "compiled": mode == "on", **row})
            print(
                f"{name}, {gpus} x, compile {mode}: {time.perf_counter() - start:.0f} s", flush=True
            )
    return rows


@reports_usage_errors
def main() -> None:
    """Measure, print and save."""
    args = parse_args()
    cuda = torch.cuda.is_available()
    args.tiny = args.tiny or not cuda
    args.warmup = args.warmup or (10 if cuda else 2)
    args.steps = args.steps or (40 if cuda else 3)
    if cuda and max(args.gpus) > torch.cuda.device_count():
        raise UsageError(
            f"--gpus {max(args.gpus)} was given, but this machine has {torch.cuda.device_count()}; give fewer."
        )
    recipes = choose(args.recipes, args.tiny)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mmrel_step_") as temporary:
        folder = Path(temporary)
        largest = max(args.batch or recipe.batch for recipe in recipes.values())
        images = write_images(folder, LOADED_BATCHES * largest * max(args.gpus))
        for name, recipe in recipes.items():
            rows += measure_recipe(name, recipe, args, folder, images)
    print_rows(rows, torch.cuda.get_device_name() if cuda else None)
    if not args.no_save:
        results = {"tiny": args.tiny, "options": args.cfg_options, "rows": rows}
        save_results("step", "cuda" if cuda else "cpu", results)
    if failed := [row for row in rows if "error" in row]:
        sys.exit(f"{len(failed)} of {len(rows)} settings could not be measured")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or [""])[-1].strip()[:500]


if __name__ == "__main__":
    main()
