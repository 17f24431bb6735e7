"""What a fine-tuning chooses from the data, the network and the computer."""

import ast
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmrel.apis.choices import Choice, choice_table
from mmrel.apis.finetuning.config_text import (
    Expression,
    Section,
    config_text,
    format_value,
    runtime_sections,
)
from mmrel.apis.finetuning.data import bright_colors
from mmrel.apis.finetuning.machine import Machine
from mmrel.apis.finetuning.network import Network
from mmrel.apis.finetuning.schedule import (
    CPU_STEPS,
    DETECTION,
    SEGMENTATION,
    Wishes,
    choose_schedule,
)
from mmrel.apis.finetuning.sizes import detection_size, segmentation_size
from mmrel.apis.finetuning.split import draw_split
from mmrel.apis.finetuning.timing import steps_in
from mmrel.utils import UsageError

GPU, CPU = Machine("H100", 80.0, 16), Machine("", 0.0, 2)
COCO_PIXELS = 800 * 1333


@pytest.mark.parametrize(("images", "epochs"), [(100_000, 12), (1000, 120), (160, 300), (10, 300)])
def test_schedule__more_epochs_for_fewer_images(images: int, epochs: int) -> None:
    found = choose_schedule(DETECTION, images, COCO_PIXELS, 384, GPU, Wishes())
    assert found.batch == min(16, images)
    assert found.iters == max(300, round(epochs * images / found.batch))
    assert found.warmup == min(500, found.iters // 10)
    assert found.val_interval * 10 >= found.iters and found.layer_decay == 0.75


def test_schedule__a_gpu_with_little_memory_and_a_cpu_take_smaller_batches() -> None:
    small = choose_schedule(DETECTION, 1000, COCO_PIXELS, 384, Machine("T4", 16.0, 4), Wishes())
    assert small.batch == 2 and small.rate == pytest.approx(1.4e-4)
    assert choose_schedule(DETECTION, 1000, 384 * 512, 384, CPU, Wishes()).batch == 2
    assert choose_schedule(SEGMENTATION, 1000, 64 * 64, 384, CPU, Wishes()).batch == 8
    assert choose_schedule(SEGMENTATION, 10_000, 64 * 64, 384, CPU, Wishes()).iters == CPU_STEPS


def test_schedule__what_is_given_is_taken() -> None:
    found = choose_schedule(SEGMENTATION, 100, 65_536, 384, CPU, Wishes(None, 7, 3, False))
    assert (found.iters, found.batch, found.layer_decay, found.warmup) == (7, 3, 1.0, 2)
    assert choose_schedule(SEGMENTATION, 100, 65_536, 384, CPU, Wishes(5, None, 4)).iters == 125
    assert found.norm(384) == dict(type="GN", num_groups=16, requires_grad=True)
    assert replace(found, batch=8).norm(384)["type"] == "SyncBN"
    assert steps_in(0.5, 2.0) == 765


@pytest.mark.parametrize("iters", [7, 20, 300])
def test_schedule__reaches_the_full_rate_and_falls_to_zero(iters: int) -> None:
    schedule = choose_schedule(SEGMENTATION, 100, 65_536, 384, CPU, Wishes(None, iters, 3))
    text = config_text("", [], runtime_sections(schedule, False, "mIoU"))
    config = Config.fromstring(text.replace("dict(_base_.exempt, ", "dict("), ".py")
    optimizer = torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], config.optim_wrapper.optimizer.lr
    )
    schedulers = [
        PARAM_SCHEDULERS.build({**kind, "optimizer": optimizer}) for kind in config.param_scheduler
    ]
    rates = []
    for _ in range(iters):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0.01 * schedule.rate)
    assert max(rates) == pytest.approx(schedule.rate) and rates[-1] < 0.8 * schedule.rate


def test_sizes() -> None:
    photos = ((500, 375), (500, 338), (375, 500))
    assert detection_size(photos, 150.0, False)[0] == 384
    assert detection_size(photos, 8.0, True)[0] == 800  # four times the size, and 800 at most
    assert detection_size(photos, 16.0, True)[0] == 736
    assert detection_size(((4000, 3000),), 500.0, False)[0] == 384
    assert segmentation_size(photos, False)[0] == 256
    assert segmentation_size(((60, 40),), True)[0] == 64
    assert "limited to 384 on a CPU" in detection_size(((4000, 3000),), 500.0, False)[1].reason


def test_split__keeps_the_last_image_of_a_class_in_training(tmp_path) -> None:
    classes = [frozenset("ab")] * 9 + [frozenset("c")]
    train, val, choice = draw_split(classes, tmp_path)
    assert len(val) == 2 and 9 in train and sorted(train + val) == list(range(10))
    assert choice.value == "8 + 2" and "seed 0" in choice.reason
    assert draw_split(classes, tmp_path)[:2] == (train, val)


def test_split__where_each_image_has_a_class_of_its_own(tmp_path) -> None:
    train, val, _ = draw_split([frozenset("a"), frozenset("b"), frozenset()], tmp_path)
    assert len(val) == 1 and val[0] in (0, 1) and len(train) == 2
    with pytest.raises(UsageError, match=r"has 1 annotated image\(s\), so that none is left"):
        draw_split([frozenset("a")], tmp_path)


def network(depth: int = 12, patch: int = 16, **meta: object) -> Network:
    known = dict(embed_dims=384, num_layers=depth, num_heads=6, feedforward_channels=1536)
    known |= dict(patch_size=patch, final_norm=True, with_cls_token=True, layer_scale=False)
    return Network({**known, "pos_interpolation": None, "mean": None, "std": None, **meta}, None)


def test_network__blocks_and_pyramid() -> None:
    assert network().out_indices() == [2, 5, 8, 11]
    assert network(4, 8).pyramid_config({})["scales"] == (2, 1, 0.5, 0.25)
    assert network(2).out_indices() == [1] and network(2).pyramid_config({})["mode"] == "last"
    plain = network().backbone_config(224, None)
    assert plain["out_norm"] == "all" and "layer_scale_init_value" not in plain
    other = network(final_norm=False, layer_scale=True, num_registers=4).backbone_config(224, "a")
    assert (other["out_norm"], other["layer_scale_init_value"]) == ("none", 1.0)
    assert other["num_registers"] == 4
    assert network(mean=[1, 2, 3], std=[4, 5, 6]).normalization()["mean"] == [1, 2, 3]
    assert network().normalization()["std"] == [58.395, 57.12, 57.375]


def test_config_text__says_what_it_was_given(tmp_path) -> None:
    values = dict(
        a=[1, 2.5, None], b={"x y": (1,), "z": True}, c='it\'s "q"', d="\n\\", e=dict(f=())
    )
    long = dict(
        type="T", names=[f"name {n}" for n in range(30)], inner=[dict(k=n) for n in range(9)]
    )
    section = Section("Two\nlines.", dict(values=values, long=long, again=Expression("long")))
    path = tmp_path / "c.py"
    path.write_text(config_text('A """quoted\\ header', [], [section]))
    assert max(map(len, path.read_text().splitlines())) <= 100
    config = Config.fromfile(path)
    assert config["values"].to_dict() == values and config.again.to_dict() == long
    assert ast.literal_eval(format_value([1, "a", (2,)])) == [1, "a", (2,)]


def test_table__columns_and_whole_paths() -> None:
    path = "/a/" + "long-name/" * 9
    table = choice_table(
        [Choice("a", "1", "short"), Choice("bcd", "22", f"of {path} " + "w " * 40)]
    )
    first, second, *more = table.splitlines()
    assert first == "a    1   short" and second.startswith("bcd  22  of") and path in table
    assert all(line.startswith(" " * 9) for line in more)


def test_colours__differ() -> None:
    assert len(set(bright_colors(40))) == 40
