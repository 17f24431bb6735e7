"""Lists, several roots with weights, and storage that a backend reaches."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from containers import files_of, write_zip
from image_files import encoded, photo_folder, pixels
from log_lines import log_lines
from mmengine.config import Config
from mmengine.fileio import BaseStorageBackend, register_backend
from torch.utils.data import DataLoader

from mmrel.datasets import ImageFolder, KeyedSampler
from mmrel.datasets.sources.joined import Shares
from mmrel.structures import SampleKey
from mmrel.utils import UsageError
from mmrel.utils.config import load_config, merge_options

DECODE = [dict(type="mmrel.DecodeImage")]


def listed(folder: Path, text: str, name: str = "photos.txt") -> ImageFolder:
    (folder / name).write_text(text, encoding="utf-8")
    return ImageFolder(str(folder / name), with_label=True, pipeline=DECODE)


def paths_of(dataset: ImageFolder) -> list[str]:
    return [dataset.get_data_info(i)["img_path"] for i in range(len(dataset.positions))]


def names_of(dataset: ImageFolder) -> list[str]:
    return [Path(path).name for path in paths_of(dataset)]


def images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(pixels()))


def test_list__blanks_comments_classes(tmp_path: Path) -> None:
    images(tmp_path, "a b.jpg", "x.png 3.jpg", "c.jpg", "no ending", "Ü.png")
    text = f"\ufeff# a comment\n\na b.jpg cat\r\n./x.png 3.jpg\tred fox\n{tmp_path}/c.jpg cat\n"
    dataset = listed(tmp_path, text + "no ending\tred fox\nÜ.png")
    assert dataset.CLASSES == ("cat", "red fox")
    assert names_of(dataset) == ["a b.jpg", "c.jpg", "x.png 3.jpg", "no ending"]
    assert dataset.get_gt_labels().tolist() == [0, 0, 1, 1]
    assert dataset[3]["img"].shape == (30, 40, 3)
    everything = ImageFolder(str(tmp_path / "photos.txt"), pipeline=DECODE)
    names = ["a b.jpg", "x.png 3.jpg", "c.jpg", "no ending", "Ü.png"]
    assert names_of(everything) == names


def test_list__numbers_are_positions_in_given_classes(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "x.csv").write_text("a.jpg,10\nb.jpg,2\n")
    names = [f"class {i}" for i in range(11)]
    given = ImageFolder(str(tmp_path / "x.csv"), with_label=True, classes=names)
    assert sorted(given.get_gt_labels()) == [2, 10] and given.used_classes == {
        "class 2",
        "class 10",
    }
    assert ImageFolder(str(tmp_path / "x.csv"), with_label=True).CLASSES == ("2", "10")


def test_list__missing_files_with_their_lines(tmp_path: Path) -> None:
    images(tmp_path, *(f"{i}.jpg" for i in range(5)))
    text = "# c\n0.jpg\n\ngone.jpg\n1.jpg\n\n2.jpg\nlost.jpg\n"
    message = r"2 of 5 files .*photos.txt.*line 4: gone.jpg, line 8: lost.jpg.*relative to"
    with pytest.raises(UsageError, match=message):
        listed(tmp_path, text)
    with log_lines() as lines:
        dataset = ImageFolder(str(tmp_path / "photos.txt"), min_bad_allowed=2, pipeline=DECODE)
    assert "line 4: gone.jpg" in lines[0] and "take their places" in lines[0]
    assert [dataset[i]["sample_idx"] == i for i in range(5)] == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n\n", "names no image: write a path in each line"),
        ("a.jpg\n\tcat\n", "line 2 of .*photos.txt has no path"),
        ("a.jpg\nfolder\n", r"line 2 of .*photos.txt names the folder"),
        ("a.jpg\na\0.jpg\n", r"line 2 of .*photos.txt has no path of an image"),
    ],
)
def test_list__bad_lines(text: str, message: str, tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "folder/b.jpg")
    with pytest.raises(UsageError, match=message):
        listed(tmp_path, text)


def test_list__no_text(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"a.jpg\n\xff\xfe\n")
    with pytest.raises(UsageError, match=r"x.txt is no text in UTF-8 \(.* at byte 6\)"):
        ImageFolder(str(tmp_path / "x.txt"))


def two_roots(tmp_path: Path, **kwargs: Any) -> ImageFolder:
    photo_folder(tmp_path / "photos", 7)
    files = files_of(photo_folder(tmp_path / "more", 5))
    archive = write_zip(tmp_path / "more.zip", {f"c/{name}": data for name, data in files.items()})
    roots = [str(tmp_path / "photos"), str(archive)]
    return ImageFolder(roots, pipeline=DECODE, **kwargs)


def test_roots__one_after_the_other_and_classes_by_name(tmp_path: Path) -> None:
    dataset = two_roots(tmp_path)
    alone = [ImageFolder(root, pipeline=DECODE) for root in dataset.roots]
    assert paths_of(dataset) == [path for part in alone for path in paths_of(part)]
    assert np.array_equal(dataset[8]["img"], alone[1][1]["img"])
    labelled = two_roots(tmp_path, with_label=True)
    assert labelled.CLASSES == ("a", "b", "c")
    assert labelled.get_gt_labels().tolist() == [0] * 4 + [1] * 3 + [2] * 5


def shown(dataset: ImageFolder, epoch: int) -> list[int]:
    """Positions of the images that an epoch shows, in the order of its samples."""
    keys = (SampleKey(0, epoch, i) for i in range(len(dataset)))
    return [next(iter(dataset._candidates(key))) for key in keys]


@pytest.mark.parametrize("weights", [[1, 2], [0.5, 1.3], [0, 0.1], {"second": 0.7}, [1 / 3, 1]])
def test_weights__every_image_its_share(weights: Any, tmp_path: Path) -> None:
    plain = two_roots(tmp_path)
    if isinstance(weights, dict):
        weights = {plain.roots[1]: weights["second"]}
    dataset = two_roots(tmp_path, weights=weights)
    given = list(weights) if isinstance(weights, list) else [1.0, 0.7]
    places = [0 if w == 0 else max(1, round(w * n)) for w, n in zip(given, (7, 5), strict=True)]
    assert len(dataset) == sum(places)
    counts: Counter[int] = Counter()
    for epoch in range(30):
        epoch_images = shown(dataset, epoch)
        assert epoch_images == shown(dataset, epoch)
        assert [sum(i < 7 for i in epoch_images), sum(i >= 7 for i in epoch_images)] == places
        counts.update(epoch_images)
        for first, number, share in ((0, 7, places[0]), (7, 5, places[1])):
            seen = [counts[i] for i in range(first, first + number)]
            exact = (epoch + 1) * share / number
            assert min(seen) >= math.floor(exact) and max(seen) <= math.ceil(exact)
    assert paths_of(dataset) == paths_of(plain)


def test_weights__spread_over_a_root() -> None:
    """A tenth of 1,000 images comes from everywhere, so that sorted classes have equal shares."""
    shares = Shares.of([1000], [0.1])
    parts = Counter(shares.image(3, place) // 100 for place in range(100))
    assert set(parts.values()) <= {9, 10, 11}


def test_weights__same_for_any_workers_and_ranks(tmp_path: Path) -> None:
    dataset = two_roots(tmp_path, weights=[0.5, 2])
    sampler = KeyedSampler(dataset, seed=3)
    sampler.set_epoch(2)
    wanted = [(s["sample_idx"], s["key"]) for s in map(dataset.__getitem__, sampler)]
    assert Counter(i for i, _ in wanted) == Counter(shown(dataset, 2))
    for workers in (0, 2):
        loader = DataLoader(dataset, 3, sampler=sampler, num_workers=workers, collate_fn=list)
        assert [(s["sample_idx"], s["key"]) for batch in loader for s in batch] == wanted
    sampler.skip(5)
    assert [(s["sample_idx"], s["key"]) for s in map(dataset.__getitem__, sampler)] == wanted[5:]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], "one number for each of the 2 data_root"),
        ([0, 0], "not all 0"),
        ([1, -1], "0 or more"),
        ([1, float("inf")], "give one number"),
        ({"/elsewhere": 2}, "weights name '/elsewhere', which is none of the data_root"),
    ],
)
def test_weights__bad(weights: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        two_roots(tmp_path, weights=weights)


def test_roots__one_alone_has_a_prefix_or_a_list(tmp_path: Path) -> None:
    for options in (dict(data_prefix="a"), dict(ann_file="x.txt")):
        with pytest.raises(UsageError, match="are for one data_root, and there are 2"):
            two_roots(tmp_path, **options)


def test_ann_file__without_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("a/deep/02.jpeg\n")
    assert ImageFolder(ann_file="x.txt", pipeline=DECODE)[0]["img"].shape[2] == 3


def test_weights__no_subsets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave `indices` or `weights` away"):
        two_roots(tmp_path, weights=[1, 2]).get_subset_(3)


def test_subsets__positions(tmp_path: Path) -> None:
    dataset = two_roots(tmp_path)
    paths = paths_of(dataset)
    assert paths_of(dataset.get_subset(3)) == paths[:3]
    assert paths_of(dataset.get_subset(-2)) == paths[-2:]
    assert paths_of(two_roots(tmp_path, indices=[8, 0])) == [paths[8], paths[0]]
    assert len(dataset) == 12 and dataset.get_subset(3).source is dataset.source


STORE: dict[str, bytes] = {}


@register_backend("fake", prefixes="fake", force=True)
class FakeBackend(BaseStorageBackend):
    """Keeps files in a dict."""

    def __init__(self, key: str = "") -> None:
        self.key = key

    def get(self, filepath: str) -> bytes:
        return STORE[str(filepath)]

    def get_text(self, filepath: str) -> str:
        return self.get(filepath).decode()

    def list_dir_or_file(self, root: str, **options: Any) -> Iterator[str]:
        assert options == dict(list_dir=False, list_file=True, recursive=True)
        yield from (name[len(root) + 1 :] for name in STORE if name.startswith(f"{root}/"))


@register_backend("keys", force=True)
class KeysOnly(BaseStorageBackend):
    """Cannot list, as LMDB and HTTP."""

    def get(self, filepath: str) -> bytes | None:
        return STORE.get(filepath)

    def get_text(self, filepath: str) -> str:
        raise NotImplementedError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageFolder]:
    folder = photo_folder(tmp_path / "photos")
    STORE.update({f"fake://b/photos/{name}": data for name, data in files_of(folder).items()})
    STORE["fake://b/photos/a/.hidden.png"] = STORE["fake://b/photos/a/read.me"] = b""
    STORE["fake://b/x.txt"] = "\n".join(f"photos/{name}" for name in files_of(folder)).encode()
    yield ImageFolder(str(folder), with_label=True, pipeline=DECODE)
    STORE.clear()


@pytest.mark.parametrize("backend_args", [None, dict(backend="fake", key="secret")])
def test_backend__folder_and_list(store: ImageFolder, backend_args: Any) -> None:
    for root in ("fake://b/photos", "fake://b/x.txt"):
        dataset = ImageFolder(root, pipeline=DECODE, backend_args=backend_args)
        assert len(dataset) == 12
        assert all(np.array_equal(dataset[i]["img"], store[i]["img"]) for i in range(12))
        assert dataset.fingerprint().startswith("12-")
    labelled = ImageFolder("fake://b/photos", True, pipeline=DECODE, backend_args=backend_args)
    assert labelled.get_gt_labels().tolist() == store.get_gt_labels().tolist()


def test_backend__that_cannot_list(store: ImageFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="KeysOnly reads files but cannot list them. Write their"):
        ImageFolder("some/keys", backend_args=dict(backend="keys"))
    STORE["list.txt"] = b"fake://b/photos/a/deep/00.png\nnowhere.png\n"
    dataset = ImageFolder("list.txt", backend_args=dict(backend="keys"), pipeline=DECODE)
    assert np.array_equal(dataset[0]["img"], store[0]["img"])
    assert dataset[1]["sample_idx"] == 0


def test_backend__unknown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leads to no storage.*registered MMEngine backend"):
        ImageFolder("x/y", backend_args=dict(backend="nosuch"))
    with pytest.raises(UsageError, match="archives and tables are read from local files"):
        ImageFolder("fake://b/x.zip")


def test_cfg_options__data_root_of_any_kind(tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos")
    archive = write_zip(tmp_path / "x.zip", {"train/a.png": b""})
    (tmp_path / "config.py").write_text(
        "data_root = 'data/x'\nset = dict(data_root=data_root + '/train')\ntop = data_root\n"
    )
    roots = [str(tmp_path / "photos"), str(archive)]
    for root in (roots[1], roots):
        config: Config = load_config(str(tmp_path / "config.py"), {"data_root": root})
        merge_options(config, {"data_root": root})
        train = f"{root}/train" if isinstance(root, str) else [f"{part}/train" for part in root]
        assert config.set.data_root == train and config.top == root
    with pytest.raises(UsageError, match="/no/where is not a folder .*, nor a file"):
        load_config(str(tmp_path / "config.py"), {"data_root": [roots[0], "/no/where"]})
