"""A training step of SERE on iBOT at ViT-S/16 on a CPU, compiled and eager, measured in turns in one process.

Run: ``python benchmarks/compile_cpu.py`` (``--help`` lists the options). A step is forward, backward, optimiser and
teacher update in float32 on random crops, 2 of 224 and 10 of 96 pixels per image; both forms start from the same
weights. Compiling needs g++ and takes minutes; it is not part of a step and told apart. Results:
``benchmarks/results/compile_cpu.json``.
"""

import argparse
import logging
import statistics
from typing import Any

import torch
from measure import save_results
from sere_step import Step, algorithms, random_views

from mmrel.engine.compilation import compile_model, read_options
from mmrel.structures import ViewBatch

TOLERANCE = 1e-5


def main() -> None:
    """Measure, print and write."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    results = measure(arguments)
    print_table(results)
    save_results(arguments.name, "cpu", results)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--local", type=int, default=10, help="local crops per image")
    parser.add_argument("--repeats", type=int, default=5, help="measured steps of each form")
    parser.add_argument("--threads", type=int, help="of torch; by default as torch decides")
    parser.add_argument("--scope", default="parts", help="compile.scope: parts or whole")
    parser.add_argument("--name", default="compile", help="of the file in benchmarks/results")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of all steps, after the first of each form, which is told apart."""
    views = random_views(arguments.batch, arguments.local, "cpu")
    config = algorithms(arguments.local)["SERE"]
    # Without stochastic depth both forms compute the same: inductor draws its own random numbers.
    config["base"]["backbone"]["drop_path_rate"] = 0.0
    forms = {name: Step(config, "cpu") for name in ("eager", "compiled")}
    options = read_options(dict(scope=arguments.scope))
    compile_model(forms["compiled"].model, options, logging.getLogger("compile"))
    first = {name: step(views) for name, step in forms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(arguments.repeats):
        for name, step in forms.items():
            seconds[name].append(step(views))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "clock": "processor time" if torch.get_num_threads() == 1 else "wall time",
        "batch": arguments.batch,
        "scope": arguments.scope,
        "eager_seconds": seconds["eager"],
        "compiled_seconds": seconds["compiled"],
        "speedup": medians["eager"] / medians["compiled"],
        "first_step_seconds": first["compiled"],
        "largest_loss_difference": check_losses(forms, views),
    }


@torch.no_grad()
def check_losses(forms: dict[str, Step], views: ViewBatch) -> float:
    """Largest relative difference of the losses after all steps; raises if the forms have gone apart."""
    losses = [form.model.loss(views) for form in forms.values()]
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
    for name in ("eager", "compiled"):
        values = results[f"{name}_seconds"]
        low, middle, high = statistics.quantiles(values, n=4)
        print(
            f"{name:9} {middle:7.2f} s, quartiles {low:.2f} and {high:.2f} s ({len(values)} steps)"
        )
    print(
        f"speed-up {results['speedup']:.2f}x in {results['clock']}; the first compiled step took "
        f"{results['first_step_seconds']:.0f} s; losses differ by {results['largest_loss_difference']:.1e}"
    )


if __name__ == "__main__":
    main()
