"""What is made of a work dir that is there already."""

from pathlib import Path

import plan_toys
import pytest
import tiny
import torch

from mmrel.apis.pretraining.run_state import RunState, default_work_dir
from mmrel.apis.pretraining.wishes import Wishes
from mmrel.utils import UsageError


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Of a run of 2 epochs of 3 steps, interrupted in the second."""
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "pretrain.py").write_text(
        "train_cfg = dict(max_epochs=2)\npretrain_steps = 6\ntrain_dataloader = dict(batch_size=8)\n"
        "pretrain_command = dict(data='photos', method='dino', epochs=2, preset='auto')\n"
    )
    save(tmp_path / "epoch_1.pth")
    return tmp_path


def save(path: Path) -> None:
    state = tiny.build(tiny.dino()).state_dict()
    meta = dict(epoch=1, iter=3, num_heads=tiny.HEADS)
    torch.save(dict(meta=meta, state_dict=state, optimizer={}, message_hub={}), path)


def state(work_dir: Path, **changes: object) -> RunState:
    return RunState(
        work_dir, Wishes(**{"data": "photos", "method": "dino", "epochs": 2, **changes})
    )


def test_state__the_same_command_goes_on(work_dir: Path) -> None:
    found = state(work_dir)
    assert found.can_resume() and found.can_resume(required=True) and not found.is_done()
    assert state(work_dir, preset="cpu").can_resume()
    assert found.fresh_batch() == 8


@pytest.mark.parametrize("name", ["epoch_2.pth", "iter_6.pth"])
def test_state__knows_that_a_run_is_complete(name: str, work_dir: Path) -> None:
    save(work_dir / name)
    found = state(work_dir)
    assert found.is_done() and found.checkpoints()[0].name == name


def test_state__refuses_a_run_of_another_command(work_dir: Path) -> None:
    words = "--batch was not given and is 4; --epochs was 2 and is not given; --hours was not given and is 1"
    with pytest.raises(UsageError, match=words):
        state(work_dir, epochs=None, hours=1.0, batch=4).can_resume()
    (work_dir / "plan" / "pretrain.py").unlink()
    with pytest.raises(UsageError, match=r"tools/pretrain\.py did not begin"):
        state(work_dir).can_resume()


def test_state__begins_where_nothing_was_saved(work_dir: Path) -> None:
    (work_dir / "epoch_1.pth").unlink()
    assert not state(work_dir).can_resume()
    assert not state(work_dir / "none").can_resume()
    with pytest.raises(UsageError, match=r"--resume was given, but .* holds no run"):
        state(work_dir).can_resume(required=True)


def test_state__exports_the_teacher_and_of_relvit_the_network_itself(work_dir: Path) -> None:
    (work_dir / "epoch_2.pth").write_bytes(b"torn")
    written = state(work_dir).export()
    assert written == work_dir / "backbone.pth"
    meta = torch.load(written, weights_only=True)["meta"]
    assert (meta["network"], meta["source"]) == ("teacher", "epoch_1.pth")
    state(work_dir, method="relvit").export()
    assert torch.load(written, weights_only=True)["meta"]["network"] == "student"
    (work_dir / "epoch_1.pth").unlink()
    with pytest.raises(UsageError, match="no checkpoint that can be read"):
        state(work_dir).export()


def test_work_dir__is_named_after_method_and_folder() -> None:
    made = default_work_dir(Wishes("/data/My photos, 2024/", "sit"))
    assert made == Path("work_dirs/sit_My-photos-2024")


def test_trial__measures_and_models_a_step(tmp_path: Path) -> None:
    from mmengine.config import Config

    from mmrel.apis.pretraining.trial import Pace, Trial

    folder = plan_toys.write_photos(tmp_path, 4)
    pipeline = [
        dict(type="mmrel.DecodeImage"),
        dict(type="mmrel.MultiCrop", global_size=16, local_size=8, num_local=1),
        dict(type="mmrel.PackViews", patch_size=4),
    ]
    dataset = dict(type="mmrel.ImageFolder", data_root=str(folder), pipeline=pipeline)
    wrapper = dict(
        type="mmrel.SelfSupOptimWrapper",
        constructor="mmrel.SelfSupOptimWrapperConstructor",
        optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.04),
    )
    config = dict(model=tiny.dino(), train_dataloader=dict(dataset=dataset), optim_wrapper=wrapper)
    trial = Trial(Config(config), ["a/001.jpg", "b/c/002.jpg"])
    trained = sum(p.numel() for p in trial.model.parameters() if p.requires_grad)
    assert trial.parameters == trained
    fixed = trial.memory(0, [(2, 16), (1, 8)], "fp32")
    # 2 crops of 17 tokens and 1 of 5, 12 channels, 2 blocks, 64 bytes; 3 times 7 logits, twice.
    assert trial.memory(2, [(2, 16), (1, 8)], "fp32") - fixed == 2 * (39 * 12 * 2 * 64 + 3 * 7 * 8)
    assert fixed == trained * 20
    pace = trial.pace(6)
    trial.close()
    assert pace.batch_size == 6 and pace.step > 0 and pace.loading > 0
    assert Pace(1.0, 0.5, 8).seconds_per_step(2, shares_cores=False) == 2.0
    assert Pace(1.0, 0.01, 8).seconds_per_step(2, shares_cores=False) == 1.0
    assert Pace(1.0, 0.01, 8).seconds_per_step(2, shares_cores=True) == 1.08
