"""Lists of some images of a folder of classes: SimCLR's, drawn ones; every data set class reads them."""

import runpy
from pathlib import Path

import pytest
from mmpretrain.datasets import CustomDataset, ImageNet
from PIL import Image

from mmrel.datasets import ImageFolder
from mmrel.datasets.splits import draw_images, images_by_class, read_image_list, write_split

NAMES = ("n01440764", "n01443537", "n02102040")
TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "convert_dataset.py"))["main"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ImageNet's layout: three classes of 20 images, and what is none."""
    root = tmp_path / "train"
    for name in NAMES:
        (root / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (4, 4)).save(root / name / f"{name}_{i}.JPEG", "JPEG")
    (root / "notes.txt").write_text("x")
    return root


def test_simclr_s_lists__bare_file_names(folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "1percent.txt", tmp_path / "splits" / "1percent.txt"
    source.write_text("n02102040_7.JPEG\nn01440764_18.JPEG\n\nn02102040_11.JPEG\n")
    assert write_split(folder, out, images=source) == {"images": 3, "classes": 2}
    assert out.read_text() == (
        "n01440764/n01440764_18.JPEG 0\nn02102040/n02102040_11.JPEG 2\nn02102040/n02102040_7.JPEG 2\n"
    )


@pytest.mark.parametrize("line", ["n01443537/n01443537_0.JPEG", "n01443537/n01443537_0.JPEG 1"])
def test_lists__of_paths_with_and_without_labels(folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(line)
    found = read_image_list(tmp_path / "list.txt", images_by_class(folder))
    assert found == ["n01443537/n01443537_0.JPEG"]


def test_lists__are_read_by_every_data_set_class(folder: Path, tmp_path: Path) -> None:
    write_split(folder, tmp_path / "splits" / "5shots.txt", shots=5)
    settings = dict(data_root=str(tmp_path), data_prefix="train", ann_file="splits/5shots.txt")
    found = []
    for kind in (CustomDataset, ImageNet, ImageFolder):
        extra = dict(with_label=True) if kind is ImageFolder else {}
        dataset = kind(**settings, **extra)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        found.append([(Path(info["img_path"]), int(info["gt_label"])) for info in infos])
    assert found[0] == found[1] == found[2] and len(found[0]) == 15
    for path, label in found[0]:
        assert path.is_file() and path.parent.name == NAMES[label]


def test_draw__depends_on_seed_and_class_alone(folder: Path) -> None:
    classes = images_by_class(folder)
    few, more = (draw_images(classes, shots=shots) for shots in (3, 8))
    assert len(few) == 9 and len(set(more)) == 24 and set(few) < set(more)
    assert few == draw_images(classes, shots=3) != draw_images(classes, shots=3, seed=1)
    alone = draw_images({NAMES[1]: classes[NAMES[1]]}, shots=3)
    assert alone == few[3:6]
    assert [path.split("_")[1] for path in few[:3]] != [path.split("_")[1] for path in few[3:6]]


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.1, 2), (0.25, 5), (1.0, 20)])
def test_draw__a_fraction_of_each_class(folder: Path, fraction: float, count: int) -> None:
    drawn = draw_images(images_by_class(folder), fraction=fraction)
    assert [sum(path.startswith(name) for path in drawn) for name in NAMES] == [count] * 3


def test_draw__empty_classes_keep_their_number(folder: Path, tmp_path: Path) -> None:
    (folder / "n01441000").mkdir()
    assert write_split(folder, tmp_path / "a.txt", shots=1) == {"images": 3, "classes": 3}
    assert [line.split()[1] for line in (tmp_path / "a.txt").read_text().splitlines()] == list(
        "023"
    )


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (
            "n01440764_99.JPEG",
            FileNotFoundError,
            "1 of the 1 images .* not there: n01440764_99.JPEG",
        ),
        ("n01440764_1.JPEG\nn01440764_1.JPEG", ValueError, "1 image.s. more than once"),
        ("../secret.JPEG", ValueError, "wanted paths below the folder"),
        ("\n", ValueError, "names no image"),
    ],
)
def test_lists__that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, lines: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(error, match=message):
        write_split(folder, tmp_path / "out.txt", images=tmp_path / "list.txt")
    assert not (tmp_path / "out.txt").exists()


def test_lists__a_bare_name_of_two_classes_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in NAMES[:2]:
        Image.new("RGB", (4, 4)).save(folder / name / "same.png")
    (tmp_path / "list.txt").write_text("same.png")
    with pytest.raises(ValueError, match="same.png, which is in 2 class folders"):
        read_image_list(tmp_path / "list.txt", images_by_class(folder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "shots=None, fraction=None; give one"),
        (dict(shots=1, fraction=0.1), "give one of them"),
        (dict(shots=0), "shots from 1 on"),
        (dict(fraction=1.5), "fraction is 1.5"),
        (dict(shots=21), r"3 class\(es\) have fewer: n01440764 \(20\), .* at most 20"),
    ],
)
def test_draw__settings_out_of_range_are_refused(
    folder: Path, settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_images(images_by_class(folder), **settings)


def test_tool__writes_lists(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.txt"
    TOOL(["split", str(folder), str(out), "--shots", "2", "--seed", "5"])
    assert capsys.readouterr().out == f"{out}: images 6, classes 3\n"
    expected = draw_images(images_by_class(folder), shots=2, seed=5)
    assert [line.split()[0] for line in out.read_text().splitlines()] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["split", "{folder}", "{out}"], "split needs one of --images"),
        (["cifar10", "{folder}", "{out}", "--shots", "1"], "split needs one of --images"),
        (["split", "{folder}", "{out}", "--shots", "1", "--fraction", "1"], "split needs one"),
        (["split", "{folder}/none", "{out}", "--shots", "1"], "none is no folder"),
        (["split", "{folder}/n01440764", "{out}", "--shots", "1"], "no image in a class folder"),
        (["split", "{folder}", "{folder}", "--shots", "1"], "exists; remove it"),
        (["split", "{folder}", "{out}", "--images", "none.txt"], "none.txt is no file"),
    ],
)
def test_tool__mistakes_are_told(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "out.txt"
    with pytest.raises(SystemExit) as end:
        TOOL([text.format(folder=folder, out=out) for text in arguments])
    assert message in f"{end.value}{capsys.readouterr().err}" and not out.exists()
