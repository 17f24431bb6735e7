"""Plans for folders of 30 to 3 million photos: the numbers, and the words."""

from pathlib import Path
from typing import Any

import plan_toys
import pytest
import torch
from mmengine.config import Config

from mmrel.apis.pretraining.choices import (
    allowed_bad,
    check_memory,
    choose_batch,
    choose_crop_size,
    choose_network,
    choose_precision,
    choose_workers,
    images_that_fit,
)
from mmrel.apis.pretraining.intervals import choose_intervals
from mmrel.apis.pretraining.length import choose_length, warnings_for
from mmrel.apis.pretraining.machine import GIB, Machine
from mmrel.apis.pretraining.planning import Plan
from mmrel.apis.pretraining.settings import merged
from mmrel.apis.pretraining.survey import Survey
from mmrel.apis.pretraining.wishes import METHODS, Wishes
from mmrel.engine.run_length import RunLength
from mmrel.utils import UsageError

CPU, GPU, GIB20 = plan_toys.CPU, plan_toys.GPU, 20 * GIB


def plan(count: int, **changes: Any) -> Plan:
    machine = changes.pop("machine", GPU)
    return plan_toys.planner(count, machine, **changes).plan(plan_toys.ToyTrial)


def row(made: Plan, name: str) -> str:
    return next(choice.value for choice in made.choices if choice.name == name)


@pytest.mark.parametrize(
    ("count", "batch", "length", "teacher", "warnings"),
    [
        (30, "8", "800 epochs = 2,400 steps", "0.99616", ["30 photos are too few to learn from"]),
        (
            300,
            "16",
            "556 epochs = 10,008 steps",
            "0.99908",
            ["300 photos show little of the world"],
        ),
        (3_000, "128", "435 epochs = 10,005 steps", "0.99907", []),
        (
            3_000_000,
            "256",
            "42 epochs = 492,156 steps",
            "0.99899",
            ["It would take 15 days on this"],
        ),
    ],
)
def test_plan__from_30_photos_to_3_million(
    count: int, batch: str, length: str, teacher: str, warnings: list[str]
) -> None:
    made = plan(count)
    assert (row(made, "batch"), row(made, "length")) == (batch, length)
    assert row(made, "teacher") == f"momentum {teacher} to 1"
    assert len(made.warnings) == len(warnings)
    assert all(words in text for words, text in zip(warnings, made.warnings, strict=True))


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("method", METHODS)
def test_plan__every_method_forgets_its_random_start(method: str, machine: Machine) -> None:
    """Left in the exported teacher: under 5 %, or the plan says so."""
    made = plan(300, method=method, machine=machine)
    if method == "relvit":
        assert row(made, "teacher") == "none"
    else:
        reason = next(choice.reason for choice in made.choices if choice.name == "teacher")
        assert float(reason.partition("%")[0]) <= 1
    assert [text for text in made.warnings if "random start" in text] == []


def test_plan__too_short_for_a_teacher_is_said() -> None:
    made = plan(300, epochs=1)
    assert row(made, "length") == "1 epoch = 18 steps"
    short, share, few = made.warnings
    assert short.startswith(
        "18 steps are too few to learn anything: what comes out will be little better than random weights. It takes "
        "some 1,000 at least, which are 56 epochs of these photos (2:40) or 16,000 photos in 1 epoch; 10,000 (556 "
        "epochs, 26:40) are a good start."
    )
    assert share.startswith("37% of the random start will be left in the exported teacher")
    assert few.startswith("300 photos show little")


def test_plan__is_an_ordinary_configuration(tmp_path: Path) -> None:
    made = plan(300, machine=CPU, hours=1.0)
    path = tmp_path / "pretrain.py"
    path.write_text(made.config)
    config = Config.fromfile(path)
    assert config.network == "vit-tiny" and config.crop_size == 96 and config.precision == "fp32"
    assert config.train_dataloader.batch_size == 16 and config.train_dataloader.num_workers == 1
    assert config.train_dataloader.dataset.data_root == "photos"
    assert config.train_dataloader.dataset.pipeline[1].num_local == 4
    assert config.train_cfg.max_epochs == 1131
    assert config.pretrain_command == dict(data="photos", method="sere", hours=1.0, preset="auto")
    assert config.pretrain_steps == 1131 * 18
    assert "# batch: 16 (on a CPU: more steps in the same time)" in made.config


def test_plan__hours_that_hold_no_epoch_take_some_photos(tmp_path: Path) -> None:
    planner = plan_toys.planner(1000, CPU, tmp_path, hours=0.01, batch=10)
    planner.survey = plan_toys.survey(1000, images=tuple(f"{i}.jpg" for i in range(1000)))
    made = planner.plan(plan_toys.ToyTrial)
    # 36 s less 15 of start, 0.11 s a step: 190 steps of 10 images would be enough for all.
    assert row(made, "length") == "1 epoch = 100 steps" and made.photos == ()
    planner = plan_toys.planner(9000, CPU, tmp_path, hours=0.01, batch=10)
    planner.survey = plan_toys.survey(9000, images=tuple(f"{i}.jpg" for i in range(9000)))
    made = planner.plan(plan_toys.ToyTrial)
    assert row(made, "length") == "1 epoch = 180 steps"
    assert len(made.photos) == 1800 and made.photos[:3] == ("0.jpg", "5.jpg", "10.jpg")
    assert f"ann_file='{tmp_path / 'plan/photos.txt'}'" in made.config


def test_table__has_a_reason_in_each_row_and_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = plan(3_000)
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, str(made).splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "200")
    text = str(made)
    assert max(map(len, text.splitlines())) <= 118
    assert "\nbatch          128" in text and "23 steps from 3000 photos in each epoch" in text
    assert all(choice.reason for choice in plan(300).choices if choice.name != "device")


@pytest.mark.parametrize(
    ("wish", "machine", "weights", "wanted"),
    [
        ({}, GPU, None, "vit-small"),
        ({}, CPU, None, "vit-tiny"),
        ({}, CPU, "vit-base", "vit-base"),
        ({"network": "vit-small"}, CPU, None, "vit-small"),
    ],
)
def test_network(wish: dict[str, str], machine: Machine, weights: str | None, wanted: str) -> None:
    assert choose_network(Wishes("d", **wish), machine, weights).value == wanted


@pytest.mark.parametrize(
    ("side", "machine", "patch", "wanted"),
    [
        (640, GPU, 16, 224),
        (640, CPU, 16, 96),
        (640, CPU, 14, 84),
        (640, GPU, 14, 224),
        (100, GPU, 16, 96),
        (32, GPU, 16, 64),
    ],
)
def test_crop_size(side: int, machine: Machine, patch: int, wanted: int) -> None:
    assert choose_crop_size(224, plan_toys.survey(9, side), machine, patch)[0] == wanted


@pytest.mark.parametrize(
    ("photos", "machine", "asked", "fits", "wanted"),
    [
        (8, CPU, None, 999, 8),
        (12, GPU, None, 999, 8),
        (300, GPU, None, 999, 16),
        (10_000, GPU, None, 999, 256),
        (10_000, CPU, None, 999, 16),
        (10_000, GPU, None, 100, 64),
        (10_000, GPU, None, 1, 1),
        (10_000, GPU, 50, 999, 50),
        (30, GPU, 64, 999, 30),
    ],
)
def test_batch(photos: int, machine: Machine, asked: int | None, fits: int, wanted: int) -> None:
    choice = choose_batch(Wishes("d", batch=asked), plan_toys.survey(photos), machine, fits)
    assert choice.value == str(wanted)


def test_batch__of_one_image_is_refused() -> None:
    with pytest.raises(UsageError, match="--batch is 1; a step compares at least 2 images"):
        choose_batch(Wishes("d", batch=1), plan_toys.survey(30), GPU, 99)


def test_memory__what_does_not_fit_is_refused_with_advice() -> None:
    small = Machine("Toy GPU", 1, 2 * GIB, True, 4, GIB20)
    fits = images_that_fit(GIB, 100 * 2**20, small)
    assert fits == 7  # 0.85 of 2 GiB less 1 GiB
    with pytest.raises(
        UsageError, match=r"64 images needs some 7\.2 GiB .* has 2\.0 GiB free\. Give --batch 4, or"
    ):
        check_memory(int(7.2 * GIB), 64, Wishes("d"), small, fits)
    with pytest.raises(UsageError, match=r"Give a smaller --network \(vit-tiny\), or --preset cpu"):
        check_memory(3 * GIB, 2, Wishes("d"), small, 0)
    with pytest.raises(UsageError, match=r"A step of 1 image needs"):
        check_memory(GIB, 1, Wishes("d"), small, 1)
    check_memory(GIB, 4, Wishes("d"), small, 7)


def test_plan__a_gpu_with_too_little_memory() -> None:
    tiny = Machine("Toy GPU", 1, GIB, True, 4, GIB20)
    with pytest.raises(UsageError, match=r"Toy GPU has 1\.0 GiB free\. Give a smaller --network"):
        plan(300, machine=tiny)


def test_plan__a_trial_that_runs_out_of_memory() -> None:
    class Full(plan_toys.ToyTrial):
        def pace(self, batch_size: int) -> Any:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    words = (
        r"does not hold a step of 16 images\. Start again with --batch 8 .*\(CUDA out of memory\)"
    )
    with pytest.raises(UsageError, match=words):
        plan_toys.planner(300, GPU).plan(Full)


def test_precision_and_workers() -> None:
    old = Machine("Old GPU", 1, GIB, False, 32, GIB20)
    assert [choose_precision(m).value for m in (CPU, GPU, old)] == ["fp32", "bf16", "fp16"]
    assert [choose_workers(m).value for m in (CPU, GPU, old)] == ["1", "7", "12"]


def test_unreadable_files__are_allowed_for_up_to_a_fifth() -> None:
    def of(bad: int) -> Survey:
        return plan_toys.survey(100, unreadable={f"{i}.jpg": "torn" for i in range(bad)})

    assert allowed_bad(of(0)) == (0.001, 1)
    assert allowed_bad(of(1)) == (0.2222, 2)
    with pytest.raises(
        UsageError, match=r"3 of 11 images of photos .* for instance 0\.jpg \(torn\)"
    ):
        allowed_bad(of(3))


@pytest.mark.parametrize(
    ("steps", "epochs", "seconds", "line", "checkpoint"),
    [
        (18, 500, 0.5, 6, dict(interval=50, max_keep_ckpts=2)),  # 450 s
        (18, 1, 3.0, 1, dict(interval=1, max_keep_ckpts=2)),
        (11_718, 42, 0.5, 6, dict(by_epoch=False, interval=1800, max_keep_ckpts=2)),
        (100, 100, 0.01, 50, dict(interval=20, max_keep_ckpts=2)),  # 20 s
    ],
)
def test_intervals(
    steps: int, epochs: int, seconds: float, line: int, checkpoint: dict[str, Any]
) -> None:
    made = choose_intervals(steps, epochs, seconds)
    assert made == dict(logger=dict(interval=line), checkpoint=checkpoint)


def test_length__hours_and_epochs() -> None:
    photos = plan_toys.survey(160)
    assert choose_length(Wishes("d", epochs=7), photos, 16, 1.0).run == RunLength(160, 16, 7)
    made = choose_length(Wishes("d", hours=0.1), photos, 16, 1.0)
    assert made.run == RunLength(160, 16, 34) and made.seconds == 340 + 15  # 360 s


def test_warnings__a_run_that_nobody_waits_for() -> None:
    photos = plan_toys.survey(3_000_000)
    made = choose_length(Wishes("d"), photos, 16, 3.3)
    assert made.run.steps == 7_875_000
    assert warnings_for(made, photos, 0.0, False, 3.3)[0].startswith("It would take 301 days")


def test_warnings__going_on_has_its_own_words() -> None:
    made = choose_length(Wishes("d", epochs=1), plan_toys.survey(300), 16, 1.0)
    short, few = warnings_for(made, plan_toys.survey(300), 0.5, True, 1.0)
    assert "the released weights will hardly change" in short
    assert few.endswith("Watch a task of your own, not the loss, for when to stop.")


def test_merged__nests() -> None:
    assert merged(dict(a=dict(b=1, c=2), d=3), dict(a=dict(b=4), e=5)) == dict(
        a=dict(b=4, c=2), d=3, e=5
    )
