"""Turns what the quickstart's runs wrote into one HTML page."""

from pathlib import Path

from markupsafe import Markup

from mmrel.quickstart.figures import (
    MIN_SCORE,
    draw_curves,
    draw_predictions,
    draw_relations,
    draw_similarities,
)
from mmrel.quickstart.plan import Plan
from mmrel.quickstart.results import (
    NEIGHBOURS,
    THUMBNAIL_SIZE,
    Result,
    read_results,
    read_runs,
    verdict,
)
from mmrel.quickstart.stages import StageRunner
from mmrel.utils.machine import machine
from mmrel.utils.text import format_seconds
from mmrel.visualization import report

TITLE = "Pretraining from relations inside images, on made-up scenes"
LEARNED = "What is learned: the relations inside an image"
RELATION_METHODS = ("mmrel.SERE",)
DASH = "\N{EN DASH}"


def write_report(plan: Plan, runner: StageRunner) -> str:
    """Draw all figures, write ``report.html``, and return a summary for the terminal.

    Args:
        plan: whose stages are all done.
        runner: that ran them.
    """
    runs = read_runs(plan)
    results = read_results(plan, runs)
    parts = [
        *_result_part(plan, results),
        *_curve_part(plan, *draw_curves(plan, runs, results[0])),
        *_method_part(plan),
        *_prediction_part(*draw_predictions(plan)),
        *_run_part(plan, runner),
    ]
    path = plan.options.work_dir / "report.html"
    report.write_page(path, TITLE, _introduction(plan), parts)
    return summary(results, plan.title, path)


def summary(results: list[Result], method: str, path: Path) -> str:
    """The table and the verdict as plain text."""
    width = max(len(result.name) for result in results)
    lines = [f"{'':{width}}{method:>10}{'random':>10}{'gain':>8}"]
    for result in results:
        row = f"{result.name:{width}}{result.pretrained:10.1f}{result.random:10.1f}{result.gain:+8.1f}"
        if result.thumbnail is not None:
            row += f"   ({THUMBNAIL_SIZE}x{THUMBNAIL_SIZE} thumbnails: {result.thumbnail:.1f})"
        lines.append(row)
    return "\n".join([*lines, verdict(results, method)[0], f"report: {path}"])


def _introduction(plan: Plan) -> str:
    own, backbone = plan.options, plan.backbone_config
    return (
        f"A vision transformer of {backbone.arch.num_layers} blocks, {backbone.arch.embed_dims} wide, was pretrained "
        f"without labels for {plan.epochs} epochs on {own.num_train} images with {plan.title}. The {plan.network}'s "
        "backbone was then frozen: Mask R-CNN learned to detect from it, and a linear layer to segment from its "
        "patches. Both were repeated on random weights, with the same data, iterations, learning rates and seed."
    )


def _result_part(plan: Plan, results: list[Result]) -> list[Markup]:
    method = plan.title
    thumbnail = f"{THUMBNAIL_SIZE}\N{MULTIPLICATION SIGN}{THUMBNAIL_SIZE} thumbnail"
    rows = [
        (
            result.name,
            f"{result.pretrained:.1f}",
            f"{result.random:.1f}",
            _signed(result.gain),
            DASH if result.thumbnail is None else f"{result.thumbnail:.1f}",
        )
        for result in results
    ]
    best = [
        None if r.gain == 0 else 1 + [r.pretrained, r.random].index(max(r.pretrained, r.random))
        for r in results
    ]
    share = results[0].pretrained / 100
    error = 100 * (share * (1 - share) / plan.options.num_val) ** 0.5
    return [
        report.verdict(*verdict(results, method)),
        report.table(("per cent", method, "random init", "difference", thumbnail), rows, best),
        report.paragraph(
            f"k-NN: the {NEIGHBOURS} nearest of {plan.options.num_train} training images vote for the class "
            f"of each of the {plan.options.num_val} validation images, by the {plan.network}'s {_feature(plan)} "
            f"(standard error {error:.1f} points). Thumbnails show what colour and layout alone give. "
            "AP is COCO's, averaged over IoU 0.5 to 0.95."
        ),
    ]


def _feature(plan: Plan) -> str:
    feature = plan.configs["pretrain"].default_hooks.knn.get("feature", "cls")
    return {"cls": "class token", "avg": "mean patch token"}.get(feature, feature)


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")


def _curve_part(plan: Plan, pretraining: Path, tasks: Path) -> list[Markup]:
    figures = [
        report.picture(
            pretraining,
            "Pretraining. Left: every term of the loss as a share of its first logged value (the terms have "
            "different scales). Right: k-NN accuracy; epoch 0 is the random initialisation.",
        ),
        report.picture(
            tasks,
            "The tasks, with the same budget on both backbones; mean over three log entries.",
        ),
    ]
    return [report.section("Training", figures)]


def _method_part(plan: Plan) -> list[Markup]:
    """A look at what the method learns: the compared relations, or else the similarity of patches."""
    if plan.configs["pretrain"].model.type in RELATION_METHODS:
        return _relation_part(*draw_relations(plan))
    parts = [
        report.paragraph(
            "How similar the marked patch is to every other patch of its image, by the cosine of their tokens."
        ),
        report.picture(
            draw_similarities(plan),
            f"Top: images. Below: similarity with the backbone that {plan.title} pretrained, and with random "
            "weights (own colour scale each, range below).",
        ),
    ]
    return [report.section(LEARNED, parts)]


def _relation_part(path: Path, side: int) -> list[Markup]:
    parts = [
        report.paragraph(
            f"The overlap of two crops gets a lattice of {side}\N{MULTIPLICATION SIGN}{side} points, and "
            "tokens are sampled there in both views. How each point relates to all others in the student's "
            "view must match the teacher's view, though position, scale and orientation differ. The channel "
            "relation compares which feature channels go together, and needs no lattice."
        ),
        report.picture(
            path,
            "Top: the two crops and the same lattice in both; the marked point is one place in the image. Middle: "
            "how strongly it relates to each lattice point, laid out as in the shared region (mean over heads, "
            "after the softmax; own colour scale each, range below). Bottom: the whole relation matrices.",
        ),
    ]
    return [report.section(LEARNED, parts)]


def _prediction_part(detections: Path, segmentations: Path) -> list[Markup]:
    figures = [
        report.picture(
            detections,
            "Mask R-CNN on the frozen backbones, on the first validation scenes; detections with a score of "
            f"{MIN_SCORE} or more.",
        ),
        report.picture(
            segmentations,
            "A linear layer on frozen patches, on the same scenes; white in the annotation is the ignored border.",
        ),
    ]
    return [report.section("Predictions beside the annotation", figures)]


def _run_part(plan: Plan, runner: StageRunner) -> list[Markup]:
    stamps = [(stage, runner.stamp(stage) or {}) for stage in plan.stages()]
    rows = [(s.name, format_seconds(stamp["seconds"]), stamp["finished"]) for s, stamp in stamps]
    commands = [stamp["command"] for _, stamp in stamps]
    parts = [
        report.table(("setting", "value"), _settings(plan)),
        report.table(("stage", "time (m:ss)", "finished"), rows),
        report.paragraph("Stages ran side by side where they do not need each other, two at most."),
        report.paragraph("Commands, to be typed in the repository:"),
        report.commands(commands),
        report.table(("machine and versions", ""), machine()),
    ]
    return [report.section("How this was made", parts)]


def _settings(plan: Plan) -> list[tuple[str, str]]:
    config = plan.configs["pretrain"]
    optimizer = config.optim_wrapper.optimizer
    arch = plan.backbone_config.arch
    momentum = (
        f", teacher momentum {config.default_hooks.teacher_update.momentum:g}"
        if plan.network == "teacher"
        else ""
    )
    return [
        ("seed", str(plan.options.seed)),
        (
            "backbone",
            f"ViT, {arch.num_layers} blocks, width {arch.embed_dims}, {arch.num_heads} heads, "
            f"patch {plan.backbone_config.patch_size}",
        ),
        (
            "pretraining",
            f"{plan.epochs} epochs, batch {config.train_dataloader.batch_size}, {optimizer.type} with "
            f"learning rate {optimizer.lr:g}{momentum}",
        ),
        ("crops", crop_text(config.train_dataloader.dataset.pipeline)),
        (
            "tasks",
            "; ".join(
                f"{task}: {plan.iterations(task)} iterations of {plan.configs[task].train_dataloader.batch_size}"
                for task in plan.configs
                if task != "pretrain"
            ),
        ),
    ]


def crop_text(pipeline: list[dict]) -> str:
    """The crops that a pipeline cuts, in words."""
    for step in pipeline:
        if step["type"] == "mmrel.PaddedCrop":
            return f"1 of {step['size']} pixels"
        if step["type"] == "mmrel.MultiCrop":
            text = f"{step.get('num_global', 2)} of {step['global_size']} pixels"
            local = step.get("num_local", 10)
            return f"{text} and {local} of {step['local_size']} pixels" if local else text
    return "whole images"
