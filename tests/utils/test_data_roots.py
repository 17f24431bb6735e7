"""``data_root`` is the folder of the images; ``val_root`` that of the labelled ones that are measured on."""

from pathlib import Path

import pytest

from mmrel.utils import UsageError
from mmrel.utils.config import load_config

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAINING = sorted(
    path
    for method in (
        "dino",
        "ibot",
        "mocov3",
        "relvit",
        "selfpatch",
        "sere",
        "sit",
        "quickstart",
        "evidence",
    )
    for path in (CONFIGS / method).glob("*.py")
    if "joint" not in path.name
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos/deep").mkdir(parents=True)
    (tmp_path / "photos/deep/a.jpg").write_bytes(b"x")
    return tmp_path / "photos"


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.stem)
def test_every_pretraining_trains_on_the_folder_itself(path: Path, folder: Path, capsys):
    """And it asks for no folder beside: nothing is measured without ``val_root``."""
    shipped = load_config(str(path))
    assert shipped.train_dataloader.dataset.data_root == shipped.data_root
    config = load_config(str(path), dict(data_root=str(folder)))
    assert config.train_dataloader.dataset.data_root == str(folder)
    assert config.get("val_dataloader") is None
    assert config.default_hooks.get("knn") is None
    assert config.default_hooks.checkpoint.get("save_best") is None
    said = capsys.readouterr().err
    assert ("val_root=FOLDER" in said) == bool(shipped.get("val_root"))


def test_val_root_keeps_the_measuring(folder: Path, capsys):
    path = CONFIGS / "relvit/relvit_vit-small-p4_1xb256-100e_svhn.py"
    config = load_config(str(path), dict(data_root=str(folder), val_root=str(folder / "deep")))
    assert config.val_dataloader.dataset.data_root == str(folder / "deep")
    knn = config.default_hooks.knn
    assert knn.bank_dataloader.dataset.data_root == str(folder)
    assert knn.val_dataloader.dataset.data_root == str(folder / "deep")
    assert capsys.readouterr().err == ""


def test_the_folder_above_is_refused_with_what_to_give(tmp_path: Path):
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    path = CONFIGS / "dino/dino_vit-small-p16_8xb64-amp-coslr-100e_in1k.py"
    with pytest.raises(UsageError, match=f"data_root={tmp_path}/train val_root={tmp_path}/val"):
        load_config(str(path), dict(data_root=str(tmp_path)))


def test_a_recipe_without_val_root_says_so(folder: Path):
    path = CONFIGS / "sere/ibot-sere_vit-small-p16_custom.py"
    with pytest.raises(UsageError, match="no top-level val_root"):
        load_config(str(path), dict(val_root=str(folder)))
