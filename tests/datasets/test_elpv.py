"""ELPV: a tiny set in its layouts, bad lists, and, where the package is installed, what is known of all its cells."""

import re
import runpy
import sys
from collections import Counter
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import archives
import numpy as np
import pytest
from PIL import Image

from mmrel.apis.knn import evaluate_thumbnails
from mmrel.datasets import DecodeImage, ImageFolder
from mmrel.datasets.converters import WrongLayoutError, convert_dataset

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "convert_dataset.py"))["main"]
PROBABILITIES = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")
NAMES = [f"cell{number:04d}.png" for number in range(1, 17)]
LABELS = {
    name: ((PROBABILITIES * 4)[i], "mono" if i < 8 else "poly") for i, name in enumerate(NAMES)
}
needs_package = pytest.mark.skipif(
    find_spec("elpv_dataset") is None, reason="needs elpv-dataset: pip install 'mmrel[evidence]'"
)


def lines() -> list[str]:
    return [f"images/{name}  {chance:20}{kind}" for name, (chance, kind) in LABELS.items()]


def cells(place: str, listed: list[str]) -> dict[str, bytes]:
    """A list and its sixteen images below a folder."""
    files = {f"{place}images/{name}": name.encode() for name in NAMES}
    return {**files, f"{place}labels.csv": "\n".join(listed).encode() + b"\n"}


def label_of(name: str) -> str:
    chance, kind = LABELS[name]
    return f"{kind}_{'defective' if chance[:3] in ('0.6', '1.0') else 'functional'}"


def found(root: Path) -> dict[str, tuple[str, str]]:
    """Split and class of every image."""
    paths = [path.relative_to(root).parts for path in root.rglob("*.png")]
    return {name: (split, label) for split, label, name in paths}


@pytest.mark.parametrize(
    ("write", "place"),
    [
        (archives.write_zip, "elpv_dataset/data/"),  # the wheel
        (archives.write_tar, "elpv-dataset-1.0.0/src/elpv_dataset/data/"),
        (archives.write_files, "src/elpv_dataset/data/"),
        (archives.write_files, ""),
    ],
)
def test_elpv__four_classes_and_a_quarter_held_out(tmp_path: Path, write, place: str) -> None:
    source = write(tmp_path / "source", cells(place, lines()))
    assert convert_dataset("elpv", source, tmp_path / "out") == {"train": 12, "val": 4}
    result = found(tmp_path / "out")
    assert {name: label for name, (_, label) in result.items()} == {n: label_of(n) for n in NAMES}
    order = np.random.default_rng(0).permutation(16)[:4]
    assert {n for n, (split, _) in result.items() if split == "val"} == {NAMES[i] for i in order}
    for path in (tmp_path / "out").rglob("*.png"):
        assert path.read_bytes() == path.name.encode()


def test_elpv__the_split_depends_on_seed_and_names_alone(tmp_path: Path) -> None:
    source = archives.write_files(tmp_path / "source", cells("", lines()))
    shuffled = archives.write_files(tmp_path / "shuffled", cells("", lines()[::-1]))
    convert_dataset("elpv", source, tmp_path / "four")
    convert_dataset("elpv", shuffled, tmp_path / "again")
    convert_dataset("elpv-defects", source, tmp_path / "two")
    TOOL(["elpv", str(source), str(tmp_path / "other"), "--seed", "1"])
    four, two, other = (found(tmp_path / name) for name in ("four", "two", "other"))
    assert found(tmp_path / "again") == four
    assert two == {n: (split, label.partition("_")[2]) for n, (split, label) in four.items()}
    assert set(other) == set(four) and other != four


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/cell0003.png 1.0", "line 3 of labels.csv in {} is 'images/cell0003.png 1.0'; wanted"),
        ("images/cell0003.png,1.0,mono", "line 3 .* wanted an image, a probability from 0 to 1"),
        ("images/cell0003.png 1.5 mono", "line 3 .* from 0 to 1 and a type, mono or poly"),
        ("images/cell0003.png nan mono", "line 3 .* such as 'images/cell0001.png  1.0  mono'"),
        ("images/cell0003.png 1.0 thin", "line 3 .*Download it again"),
        ("\nimages/x y.png 1.0 mono", "line 4 of labels.csv"),
        ("images/cell0002.png 1.0 mono", "line 3 of .* names cell0002.png for the second time"),
        ("images/lost.png 1.0 mono", "expected images/lost.png in {}, beside labels.csv; it is not there"),
        ("../outside.png 1.0 mono", "expected ../outside.png in {}, beside labels.csv; it is not there"),
    ],
)  # fmt: skip
def test_elpv__a_line_that_is_broken(tmp_path: Path, line: str, message: str) -> None:
    listed = [*lines()[:2], line, *lines()[3:]]
    source = archives.write_files(tmp_path / "source", cells("", listed))
    (tmp_path / "outside.png").write_bytes(b"x")
    with pytest.raises(WrongLayoutError, match=message.format(re.escape(str(source)))):
        convert_dataset("elpv", source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "outside.png"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n \n", "names no image"), (b"images/\xff.png 1.0 mono\n", "is no text: .*byte 0xff")],
)
def test_elpv__a_list_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    source = archives.write_files(tmp_path / "source", {"labels.csv": content})
    with pytest.raises(WrongLayoutError, match=rf"labels\.csv in .*source {message}"):
        convert_dataset("elpv", source, tmp_path / "out")


def test_elpv__the_installed_package_is_found_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = cells("elpv_dataset/data/", lines())
    archives.write_files(tmp_path / "site", {**files, "elpv_dataset/__init__.py": b"1 / 0"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    TOOL(["elpv", "installed", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: train 12, val 4\n"
    assert "elpv_dataset" not in sys.modules


def test_elpv__the_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a seed that is none."""
    monkeypatch.setattr("mmrel.datasets.converters.elpv.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        TOOL(["elpv", "installed", str(tmp_path / "out"), "--seed", "-1"])
    assert "--seed is -1; give a whole number from 0 on" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"error: the package elpv-dataset .*'mmrel\[evidence\]'"):
        TOOL(["elpv", "installed", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells, four classes, seed 0."""
    out = tmp_path_factory.mktemp("elpv") / "elpv"
    convert_dataset("elpv", Path("installed"), out)
    return out


@needs_package
def test_elpv__all_cells(converted: Path) -> None:
    """Counts by class, and the split that every figure of seed 0 is about."""
    cells = found(converted)
    assert Counter(label for _, label in cells.values()) == {
        "mono_functional": 705,
        "mono_defective": 369,
        "poly_functional": 1098,
        "poly_defective": 452,
    }
    held_out = sorted(name for name, (split, _) in cells.items() if split == "val")
    assert len(cells) == 2624 and len(held_out) == 656
    assert sha256("\n".join(held_out).encode()).hexdigest().startswith("9bdd935c951da8a9")
    counts = Counter(cells[name][1] for name in held_out)
    assert max(counts.values()) == counts["poly_functional"] == 264  # 40 %


@needs_package
def test_elpv__pictures_are_read_as_colours(converted: Path) -> None:
    data = ImageFolder(str(converted / "val"), with_label=True, pipeline=[])
    path = data.get_data_info(0)["img_path"]
    with Image.open(path) as image:
        assert image.mode == "L" and image.size == (300, 300)
        grey = np.asarray(image)
    pixels = DecodeImage()({"img_path": path})["img"]
    assert (pixels == grey[:, :, None]).all() and pixels.shape == (300, 300, 3)


@needs_package
@pytest.mark.slow
@pytest.mark.parametrize(("name", "accuracy"), [("elpv", 70.43), ("elpv-defects", 77.59)])
def test_elpv__what_thumbnails_tell(tmp_path: Path, name: str, accuracy: float) -> None:
    convert_dataset(name, Path("installed"), tmp_path / "elpv")
    result = evaluate_thumbnails(tmp_path / "elpv", k=(20,), workers=0)
    assert result.top1[20] == pytest.approx(accuracy, abs=0.5)  # three images
