"""The pretext loss on held-out images: its mean, its names, and the checkpoint that it selects."""

import json
from pathlib import Path

import engine_toys
import pytest
import tiny
import torch
from mmengine.evaluator import Evaluator
from test_knn_hook import make_images
from test_resume_relvit import settings

from mmrel.evaluation import HeldOutLoss
from mmrel.structures import ViewBatch


def view_batch(images: torch.Tensor) -> ViewBatch:
    return ViewBatch(images, None, None, None, num_global=1, num_local=0)


def test_held_out_loss__mean_over_images_of_unequal_batches() -> None:
    model = tiny.build(tiny.relvit()).eval()
    images = torch.randn(5, 3, tiny.GLOBAL, tiny.GLOBAL)
    evaluator = Evaluator(HeldOutLoss())
    with torch.no_grad():
        for part in (images[:4], images[4:]):
            evaluator.process(model(view_batch(part), mode="predict"))
        single = [model.loss(view_batch(image[None])) for image in images]
    found = evaluator.evaluate(size=5)
    for name, key in (
        ("rel", "loss_rel"),
        ("abs_pos", "loss_abs_pos"),
        ("acc_rel", "stat/acc_rel"),
    ):
        expected = sum(float(losses[key]) for losses in single) / 5
        assert found[f"held_out/{name}"] == pytest.approx(expected, rel=1e-5)
    total = found["held_out/rel"] + found["held_out/abs_pos"]
    assert found["held_out/total"] == pytest.approx(total, rel=1e-6)
    assert not any("loss" in name for name in found), "MMEngine would average them over evaluations"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


def test_held_out_loss__run_logs_it_and_keeps_the_best(images: Path, tmp_path: Path) -> None:
    config = settings(images, tmp_path, workers=0)
    loader = config["train_dataloader"]
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.PaddedCrop", size=16, padding=0, flip_prob=0.0),
        dict(type="mmrel.PackViews", patch_size=4),
    ]
    config |= dict(
        val_dataloader=dict(
            loader,
            drop_last=False,
            sampler=dict(type="mmrel.KeyedSampler", shuffle=False),
            dataset=dict(loader["dataset"], pipeline=pipeline),
        ),
        val_evaluator=dict(type="mmrel.HeldOutLoss"),
        val_cfg=dict(),
    )
    config["train_cfg"] |= dict(max_epochs=3, val_interval=1)
    # The loss is ascended, so that the first epoch is the best.
    config["optim_wrapper"]["optimizer"] = dict(type="SGD", lr=0.2, maximize=True)
    config["default_hooks"]["checkpoint"] |= dict(save_best="held_out/total", rule="less")
    runner = engine_toys.build(config)
    try:
        runner.train()
    finally:
        engine_toys.close(runner)
    lines = (Path(runner.log_dir) / "vis_data" / "scalars.json").read_text().splitlines()
    curve = [line for line in map(json.loads, lines) if "held_out/total" in line]
    totals = [line["held_out/total"] for line in curve]
    assert len(totals) == 3
    best = 1 + totals.index(min(totals))
    assert best < 3, "the test must tell the best checkpoint from the last"
    name = f"best_held_out_total_iter_{best * len(runner.train_dataloader)}.pth"
    assert [path.name for path in tmp_path.glob("best_*")] == [name]
