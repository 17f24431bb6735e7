"""The quickstart's figures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint
from PIL import Image

from mmrel.datasets.scenes import CLASSES, PALETTE, SEGMENTATION_CLASSES, THING_PALETTE
from mmrel.quickstart.plan import TASKS, Plan
from mmrel.quickstart.results import KNN, Result, class_files
from mmrel.utils.data_roots import set_data_root
from mmrel.visualization import curves, predictions
from mmrel.visualization.patch_similarity import draw_patch_similarity, patch_similarity
from mmrel.visualization.predictions import Panel
from mmrel.visualization.records import Records
from mmrel.visualization.relation_figure import central_query, draw_relation_maps
from mmrel.visualization.relation_maps import cut_views, relation_maps

SHOWN_IMAGES = 4
SIMILARITY_IMAGES = 6
RELATION_IMAGES = 64
MIN_SCORE = 0.3
TITLES = {
    "mask-rcnn": "Mask R-CNN on a frozen backbone: training loss",
    "linear": "linear layer on frozen patches: training loss",
}


def draw_curves(plan: Plan, runs: dict[str, Records], knn: Result) -> tuple[Path, Path]:
    """Losses and k-NN of the pretraining, losses of the tasks."""
    paths = plan.options.work_dir / "pretraining.png", plan.options.work_dir / "tasks.png"
    levels = {"16x16 thumbnails": knn.thumbnail or 0.0, "random weights": knn.random}
    curves.draw_pretraining(runs["pretrain"], KNN, levels, paths[0])
    names = plan.initialisations
    pairs = {
        title: (runs[f"{task}-{names[0]}"], runs[f"{task}-{names[1]}"])
        for task, title in TITLES.items()
    }
    curves.draw_finetuning(pairs, (plan.title, "random init"), paths[1])
    return paths


def draw_relations(plan: Plan) -> tuple[Path, int]:
    """Relation maps with pretrained and with random weights; returns the lattice's side too."""
    config = plan.configs["pretrain"]
    images = relation_images(plan.options.data_root / "classification" / "val")
    views = cut_views(images, plan.backbone_config.img_size)
    normalisation = config.data_preprocessor.mean, config.data_preprocessor.std
    random = build_algorithm(config, plan.options.seed)
    untrained = relation_maps(random, views, *normalisation)
    load_checkpoint(random, str(plan.pretrained), map_location="cpu", strict=True, logger="silent")
    trained = relation_maps(random, views, *normalisation)
    path = plan.options.work_dir / "relations.png"
    side = trained.lattices.shape[1]
    draw_relation_maps(views, trained, untrained, central_query(side), path)
    return path, side


def draw_similarities(plan: Plan) -> Path:
    """How similar the middle of an image is to the rest, with pretrained and with random weights."""
    config = plan.configs["pretrain"]
    images = relation_images(plan.options.data_root / "classification" / "val")[:SIMILARITY_IMAGES]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    places = [(0.5, 0.5)] * len(images)
    model = build_algorithm(config, plan.options.seed).eval()
    batch = model.data_preprocessor({"inputs": pixels}, False)["inputs"]
    untrained = patch_similarity(model, batch, places)
    load_checkpoint(model, str(plan.pretrained), map_location="cpu", strict=True, logger="silent")
    maps = {plan.title: patch_similarity(model, batch, places), "random init": untrained}
    path = plan.options.work_dir / "similarities.png"
    draw_patch_similarity(images, places, maps, path)
    return path


def relation_images(folder: Path) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """The first images of all classes in turn."""
    columns = [class_files(folder.parent, folder.name, name) for name in CLASSES]
    files = [file for row in zip(*columns, strict=False) for file in row][:RELATION_IMAGES]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def build_algorithm(config: Any, seed: int) -> Any:
    """The pretraining's algorithm with freshly drawn weights."""
    settings = {"data_preprocessor": config.data_preprocessor, **config.model}
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        torch.manual_seed(seed)
        model = MODELS.build(settings)
        model.init_weights()
    return model


def draw_predictions(plan: Plan) -> tuple[Path, Path]:
    """The first validation images with annotation and both predictions, for both tasks."""
    folder = plan.options.work_dir
    samples = {task: [_predict(plan, task, i) for i in plan.initialisations] for task in TASKS}
    columns = ["image", "annotation", plan.title, "random init"]
    paths = folder / "detections.png", folder / "segmentations.png"
    rows = [_detection_row(*pair) for pair in zip(*samples["mask-rcnn"], strict=True)]
    predictions.draw_rows(columns, rows, CLASSES, THING_PALETTE, paths[0])
    rows = [_segmentation_row(*pair) for pair in zip(*samples["linear"], strict=True)]
    predictions.draw_rows(columns, rows, SEGMENTATION_CLASSES, PALETTE, paths[1])
    return paths


def _predict(plan: Plan, task: str, initialisation: str) -> list[Any]:
    run = plan.folder(f"{task}-{initialisation}")
    name, layout = TASKS[task]
    config = predictions.run_config(run, Path(name).name)
    # The run's paths may be relative to the repository, which need not be the current folder.
    set_data_root(config, str(plan.options.data_root / layout))
    count = min(SHOWN_IMAGES, plan.options.num_val)
    return predictions.predict(config, plan.task_checkpoint(task, initialisation), range(count))


def _detection_row(pretrained: Any, random: Any) -> list[Panel]:
    image = np.asarray(Image.open(pretrained.img_path).convert("RGB"))
    return [
        Panel(image),
        Panel(image, predictions.annotated_instances(pretrained)),
        *(
            Panel(image, predictions.predicted_instances(sample, MIN_SCORE))
            for sample in (pretrained, random)
        ),
    ]


def _segmentation_row(pretrained: Any, random: Any) -> list[Panel]:
    image = np.asarray(Image.open(pretrained.img_path).convert("RGB"))
    truth = predictions.class_map(pretrained.gt_sem_seg)
    maps = [predictions.class_map(sample.pred_sem_seg) for sample in (pretrained, random)]
    return [Panel(image), Panel(image, labels=truth), *(Panel(image, labels=m) for m in maps)]
