"""A training step of SERE on iBOT at ViT-S/16 on a CPU, compiled and eager, measured in turns in one process.

Run: ``python benchmarks/compile_cpu.py`` (``--help`` lists the options). A step is forward, backward, optimiser and
teacher update in float32 on random crops, 2 of 224 and 10 of 96 pixels per image; both forms start from the same
weights. ``--before CHECKOUT`` measures the eager step of another checkout of mmrel as well, in its turn, in a process
of its own. Compiling needs g++ and takes minutes; it is not part of a step and told apart. Results:
``benchmarks/results/compile_cpu.json``.
"""

import argparse
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import save_results
from sere_step import Step, algorithms, random_views

from mmrel.structures import ViewBatch

TOLERANCE = 1e-5


def main() -> None:
    """Measure, print and write; or run steps for another process that does."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.serve:
        serve(arguments)
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = measure(arguments)
    print_table(results)
    save_results(arguments.name, "cpu", results)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--local", type=int, default=10, help="local crops per image")
    parser.add_argument(
        "--repeats", type=int, default=5, help="measured steps of each form, from 2"
    )
    parser.add_argument("--threads", type=int, help="of torch; by default as torch decides")
    parser.add_argument("--scope", default="parts", help="compile.scope: parts or whole")
    parser.add_argument("--before", type=Path, help="another checkout of mmrel to measure, eager")
    parser.add_argument("--name", default="compile", help="of the file in benchmarks/results")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of all steps, after the first of each form, which is told apart."""
    views = random_views(arguments.batch, arguments.local, "cpu")
    steps = {name: build_step(arguments) for name in ("eager", "compiled")}
    compile_step(steps["compiled"], arguments.scope)
    forms: dict[str, Callable[[], float]] = {
        name: lambda step=step: step(views) for name, step in steps.items()
    }
    if arguments.before:
        forms["before"] = other_checkout(arguments)
    start = time.perf_counter()
    forms["compiled"]()
    first = time.perf_counter() - start
    for name in forms.keys() - {"compiled"}:
        forms[name]()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.repeats):
        for name, form in forms.items():
            seconds[name].append(form())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "clock": "processor time" if torch.get_num_threads() == 1 else "wall time",
        "batch": arguments.batch,
        "scope": arguments.scope,
        "seconds": seconds,
        "speedup": {name: medians[name] / medians["compiled"] for name in forms},
        "first_step_seconds": first,
        "largest_loss_difference": check_losses(steps, views),
    }


def build_step(arguments: argparse.Namespace) -> Step:
    """SERE without stochastic depth, so that all forms compute the same: inductor draws its own random numbers."""
    config = algorithms(arguments.local)["SERE"]
    config["base"]["backbone"]["drop_path_rate"] = 0.0
    return Step(config, "cpu")


def compile_step(step: Step, scope: str) -> None:
    """Compile the model of a step."""
    # Imported here: a checkout that serves may be older than these.
    from mmrel.engine.compilation import compile_model, read_options

    compile_model(step.model, read_options(dict(scope=scope)), logging.getLogger("compile"))


def serve(arguments: argparse.Namespace) -> None:
    """Answer each line on standard input with the seconds of an eager step."""
    step, views = build_step(arguments), random_views(arguments.batch, arguments.local, "cpu")
    for _ in sys.stdin:
        print(f"seconds {step(views)}", flush=True)


def other_checkout(arguments: argparse.Namespace) -> Callable[[], float]:
    """Steps of this script with another checkout's mmrel, one per call."""
    command = [sys.executable, __file__, "--serve", "--threads", str(torch.get_num_threads())]
    command += ["--batch", str(arguments.batch), "--local", str(arguments.local)]
    environment = {**os.environ, "PYTHONPATH": str(arguments.before.resolve(strict=True))}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process: subprocess.Popen[str] = subprocess.Popen(command, env=environment, **pipes)

    def step() -> float:
        assert process.stdin is not None and process.stdout is not None
        print(file=process.stdin, flush=True)
        for line in process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"the process of {arguments.before} has ended")

    return step


@torch.no_grad()
def check_losses(steps: dict[str, Step], views: ViewBatch) -> float:
    """Largest relative difference of the losses after all steps; raises if the forms have gone apart."""
    losses = [step.model.loss(views) for step in steps.values()]
    differences = [
        abs(float(losses[1][name]) / float(value) - 1)
        for name, value in losses[0].items()
        if "loss" in name
    ]
    if not max(differences) <= TOLERANCE:
        raise RuntimeError(f"after the steps, the losses differ by {differences}")
    return max(differences)


def print_table(results: dict[str, Any]) -> None:
    """One line per form."""
    for name, values in results["seconds"].items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(
            f"{name:9} {middle:7.2f} s, quartiles {low:.2f} and {high:.2f} s of {len(values)} steps; compiled is "
            f"{results['speedup'][name]:.2f}x as fast"
        )
    print(
        f"{results['clock']}; the first compiled step took {results['first_step_seconds']:.0f} s of wall time; losses "
        f"differ by {results['largest_loss_difference']:.1e}"
    )


if __name__ == "__main__":
    main()
