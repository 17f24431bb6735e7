"""The evaluation suite's engine, by protocols that count their runs."""

import io
import json
import shutil
from pathlib import Path

import evaluation_toys as toys
import pytest
import torch

from mmrel.apis.evaluation import Evaluation, Measure, evaluate, find_data
from mmrel.apis.evaluation.progress import DONE, FAILED, KEPT, START, Estimate, Event
from mmrel.apis.evaluation.terminal import Terminal
from mmrel.utils.errors import UsageError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toys.save_classes(tmp_path / "data" / "classification").parent


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [
        toys.save_checkpoint(tmp_path / run / "epoch_1.pth", scale)
        for run, scale in (("first", 1.0), ("second", 2.0))
    ]


class Suite:
    """Two fake protocols and the events of the last call."""

    def __init__(self, root: Path, out: Path) -> None:
        self.fakes = {"one": toys.Fake(), "two": toys.Fake()}
        self.table = {name: toys.protocol(fake) for name, fake in self.fakes.items()}
        self.root, self.out = root, out
        self.events: list[Event] = []

    def __call__(self, checkpoints, **options) -> Evaluation:
        self.events = []
        given = dict(out=self.out, table=self.table, progress=self.events.append, random=False)
        return evaluate(checkpoints, self.root, **{**given, **options}, device="cpu")

    @property
    def runs(self) -> list[int]:
        return [sum(fake.runs.values()) for fake in self.fakes.values()]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if event.kind != "advance"]


@pytest.fixture
def suite(root: Path, tmp_path: Path) -> Suite:
    return Suite(root, tmp_path / "out")


def figures(found: Evaluation) -> dict:
    rows = json.loads(found.json.read_text())["results"]
    return {(row["network"], row["protocol"]): row["figures"]["score"] for row in rows}


def test_evaluate__every_protocol_for_every_network_once(suite: Suite, pair: list[Path]) -> None:
    found = suite(pair)
    thumbnails = "16\N{MULTIPLICATION SIGN}16 thumbnails"
    values = {"DINO first/epoch_1": 12.0, "DINO second/epoch_1": 24.0, thumbnails: 10.0}
    names = [(label, name) for label in values for name in suite.table]
    assert figures(found) == {(label, name): values[label] for label, name in names}
    assert suite.runs == [3, 3] and suite.kinds() == [START, DONE] * 6
    assert suite(pair).failures == {} and suite.runs == [3, 3] and suite.kinds() == [KEPT] * 6


def test_evaluate__json_says_what_was_loaded_and_run(suite: Suite, pair: list[Path]) -> None:
    content = json.loads(suite(pair).json.read_text())
    first = content["networks"][0]
    assert first["file"] == str(pair[0]) and first["network"] == "teacher"
    assert first["tensors"].startswith("30 tensors") and first["layout"] == "mmrel (state_dict)"
    assert content["protocols"]["one"] == {"title": "A fake", "settings": {"count": 3}}
    row = content["results"][0]
    assert row["counts"] == {"images": 3} and row["figures"]["lacking"] is None
    assert row["seconds"] >= 0 and row["versions"]["torch"] == torch.__version__.split("+")[0]
    assert content["data"]["classification"]["digest"] and "processor" in content["machine"]


def test_evaluate__killed_run_continues(suite: Suite, pair: list[Path]) -> None:
    """The third stage is killed; what was done stays, the rest follows."""
    suite.fakes["one"].error, suite.fakes["one"].fails_at = KeyboardInterrupt(), 1
    with pytest.raises(KeyboardInterrupt):
        suite(pair)
    assert suite.runs == [2, 1]
    suite.fakes["one"].error = None
    assert len(figures(suite(pair))) == 6
    assert suite.runs == [4, 3] and suite.kinds() == [KEPT] * 2 + [START, DONE] * 4


def test_evaluate__changed_checkpoint_is_evaluated_anew(suite: Suite, pair: list[Path]) -> None:
    suite(pair)
    toys.save_checkpoint(pair[1], 3.0)
    found = suite(pair)
    assert suite.runs == [4, 4] and figures(found)["DINO second/epoch_1", "one"] == 36.0


def test_evaluate__changed_settings_and_data_are_evaluated_anew(
    suite: Suite, pair: list[Path], root: Path
) -> None:
    suite(pair[:1])
    suite.table["one"] = toys.protocol(suite.fakes["one"], settings={"quick": {"count": 4}})
    suite(pair[:1])
    assert suite.runs == [4, 2]
    shutil.copy(root / "classification/val/bark/0.png", root / "classification/val/bark/9.png")
    suite(pair[:1])
    assert suite.runs == [6, 4]


def test_evaluate__further_checkpoint_joins(suite: Suite, pair: list[Path]) -> None:
    """The same folder with one checkpoint more: the labels change, what is known stays."""
    suite(pair[:1])
    assert len(figures(suite(pair))) == 6 and suite.runs == [3, 3]


def test_evaluate__equal_files_share_their_stages(
    suite: Suite, pair: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.pth"
    shutil.copy(pair[0], copy)
    found = suite([pair[0], copy], labels=["a", "b"])
    assert suite.runs == [2, 2] and figures(found)["a", "one"] == figures(found)["b", "one"]


@pytest.mark.parametrize("damage", ["stage", "picture"])
def test_evaluate__damaged_stage_is_repeated(suite: Suite, pair: list[Path], damage: str) -> None:
    suite(pair[:1])
    path = next(suite.out.glob("stages/one-*" if damage == "stage" else "pictures/*"))
    if damage == "stage":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.unlink()
    suite(pair[:1])
    assert sum(suite.runs) == 5


def test_evaluate__failure_loses_nothing_else(suite: Suite, pair: list[Path]) -> None:
    """It is told, logged, on the page and in the JSON; and tried again by the next call."""
    suite.fakes["one"].error, suite.fakes["one"].fails_at = ValueError("no <luck>"), 0
    found = suite(pair)
    label = "DINO first/epoch_1"
    assert found.failures == {(label, "one"): "no <luck>"} and len(figures(found)) == 5
    assert suite.kinds()[:4] == [START, FAILED, START, DONE]
    failed = json.loads(found.json.read_text())["failed"]
    assert failed == [{"network": label, "protocol": "one", "reason": "no <luck>"}]
    page = found.report.read_text()
    assert "1 evaluation(s) failed" in page and "no &lt;luck&gt;" in page
    [log] = suite.out.glob("logs/one-*.log")
    assert "Traceback" in log.read_text()
    suite.fakes["one"].error = None
    assert suite(pair).failures == {} and suite.runs == [4, 3]


def test_evaluate__figure_that_is_no_number_fails(suite: Suite, pair: list[Path]) -> None:
    """NaN is no figure and no JSON."""
    weights = float("nan")
    path = toys.save_checkpoint(pair[0].with_name("nan.pth"), weights)
    found = suite([path], thumbnails=False)
    assert len(found.failures) == 2 and not list(suite.out.glob("stages/*"))


def test_evaluate__random_numbers_do_not_depend_on_what_ran_before(
    suite: Suite, pair: list[Path], tmp_path: Path
) -> None:
    drawn = []
    for name, checkpoints in (("a", pair), ("b", pair[1:])):
        rows = json.loads(suite(checkpoints, out=tmp_path / name).json.read_text())["results"]
        drawn += [row["figures"]["drawn"] for row in rows]
    assert len(set(drawn)) == 1


def test_evaluate__page_compares(suite: Suite, pair: list[Path]) -> None:
    """The best checkpoint is marked, titles are escaped, pictures are inside."""
    page = suite(pair).report.read_text()
    assert '<td class="number best">24.0</td><td class="number">10.0</td>' in page
    assert "It does &lt;nothing&gt;." in page and "A &lt;picture&gt;." in page
    assert page.count("data:image/png;base64,") == 6 and "http" not in page
    assert str(pair[0]) in page and "30 tensors" in page


def test_evaluate__no_column_without_figures(suite: Suite, pair: list[Path]) -> None:
    suite.table = {"one": toys.protocol(suite.fakes["one"], baselines=())}
    assert "thumbnails" not in suite(pair).report.read_text()


def test_evaluate__low_is_better_where_it_is_said(suite: Suite, pair: list[Path]) -> None:
    low = (Measure("score", "error", better="low"),)
    suite.table = {"one": toys.protocol(suite.fakes["one"], measures=low)}
    assert '<td class="number best">12.0</td>' in suite(pair).report.read_text()


def test_evaluate__protocol_without_data_is_left_out(suite: Suite, pair: list[Path]) -> None:
    suite.table["two"] = toys.protocol(suite.fakes["two"], needs=("davis",))
    found = suite(pair)
    assert found.results.skipped == {"two": "no data for it: give davis"}
    assert suite.runs == [3, 0] and "two: no data for it: give davis" in found.report.read_text()


def test_evaluate__random_weights_of_each_network_once(suite: Suite, pair: list[Path]) -> None:
    """They stand beside the figure of the checkpoint."""
    suite.table = {"one": toys.protocol(suite.fakes["one"], baselines=("random",))}
    found = suite(pair, random=True)
    assert figures(found)["random", "one"] == 12.0 and suite.runs == [3, 0]
    page = found.report.read_text()
    assert "24.0<small>random 12.0</small>" in page
    assert "Not ahead of random weights: DINO first/epoch_1 on fake score." in page


def test_evaluate__says_that_all_are_ahead(suite: Suite, pair: list[Path]) -> None:
    suite.table = {"one": toys.protocol(suite.fakes["one"], baselines=("random",))}
    page = suite(pair[1:], random=True).report.read_text()
    assert "Every checkpoint is ahead of random weights" in page


def test_evaluate__given_image_size_is_a_setting(suite: Suite, pair: list[Path]) -> None:
    sized = {"quick": {"image_size": None}}
    suite.table["two"] = toys.protocol(suite.fakes["two"], settings=sized)
    rows = json.loads(suite(pair, image_size=32).json.read_text())["protocols"]
    assert rows["one"]["settings"] == {"count": 3} and rows["two"]["settings"] == {"image_size": 32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(suite="slow"), "the suite is 'slow'; choose quick or full"),
        (dict(protocols=["one", "three"]), "no protocol three; choose from one, two"),
        (dict(labels=["a"]), r"labels are \['a'\] for 2 checkpoint"),
        (dict(labels=["a", "a"]), "no two alike"),
        (dict(labels=["a", "16\N{MULTIPLICATION SIGN}16 thumbnails"]), "taken by a baseline"),
    ],
)
def test_evaluate__refuses_wrong_options(
    suite: Suite, pair: list[Path], options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        suite(pair, **options)
    assert suite.runs == [0, 0] and not suite.out.exists()


def test_evaluate__refuses_wrong_checkpoints(
    suite: Suite, pair: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(pair[0].read_bytes()[:500])
    wrong = {
        "no checkpoint; give one": [],
        "does not exist": [tmp_path / "absent.pth"],
        "is a folder": [tmp_path],
        "given twice": [pair[0], pair[0]],
        f"{broken} cannot be used": [pair[0], broken],
    }
    for message, checkpoints in wrong.items():
        with pytest.raises(UsageError, match=message):
            suite(checkpoints)
    assert suite.runs == [0, 0]


def test_evaluate__refuses_a_folder_of_something_else(suite: Suite, pair: list[Path]) -> None:
    suite.out.mkdir()
    mine = suite.out / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="holds files but no evaluation"):
        suite(pair)
    with pytest.raises(UsageError, match="is a file"):
        suite(pair, out=mine)
    with pytest.raises(UsageError, match="cannot be written"):
        suite(pair, out=mine / "below")
    assert [path.name for path in suite.out.iterdir()] == ["mine.txt"]


def test_evaluate__refuses_a_folder_of_another_evaluation(
    suite: Suite, pair: list[Path], tmp_path: Path
) -> None:
    suite(pair)
    before = (suite.out / "results.json").read_bytes()
    with pytest.raises(UsageError, match='of another suite: {"suite": "quick"} instead of'):
        suite(pair, suite="full")
    suite.root = toys.save_classes(tmp_path / "other" / "classification").parent
    with pytest.raises(UsageError, match="of another data"):
        suite(pair)
    assert (suite.out / "results.json").read_bytes() == before


def test_find_data__parts_below_a_root_and_one_by_one(root: Path, tmp_path: Path) -> None:
    classes, image = root / "classification", root / "classification/val/bark/0.png"
    assert find_data(root).parts == find_data(classes).parts == {"classification": classes}
    assert find_data(classification=classes, images=[image]).parts["images"] == (image,)
    assert len(find_data(images=[classes / "val"]).images) == 6
    for folder in ("JPEGImages/480p", "Annotations/480p", "ImageSets/2017"):
        (root / "video" / folder).mkdir(parents=True)
    (root / "video/ImageSets/2017/val.txt").touch()
    assert find_data(root).parts == {"classification": classes, "davis": root / "video"}


def test_find_data__refuses(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    wrong = {
        "no usable data in .*empty: looked for": dict(root=tmp_path / "empty"),
        "no usable data: looked for": {},
        "--data .*absent does not exist": dict(root=tmp_path / "absent"),
        "--davis .* has no JPEGImages/480p": dict(root=root, davis=root),
        "--segmentation .* has no images/training": dict(segmentation=root),
        "--images .*absent.png does not exist": dict(images=[root / "absent.png"]),
        "holds no image": dict(images=[tmp_path / "empty"]),
    }
    for message, options in wrong.items():
        with pytest.raises(UsageError, match=message):
            find_data(**options)


def test_estimate__by_what_was_measured() -> None:
    """A protocol's mean where there is one, else its usual share of what the others took."""
    estimate = Estimate({"a": 1.0, "b": 3.0})
    assert estimate.left(["a", "b"]) is None and estimate.left([]) == 0
    estimate.note("a", 10.0)
    estimate.note("a", 14.0)
    assert estimate.left(["a", "b"]) == 12 + 36
    assert estimate.left(["a"], "b", share=0.5, running=10.0) == 12 + 10
    assert estimate.left([], "b", share=0.0, running=50.0) == 0


class Log(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, live: bool) -> None:
        super().__init__()
        self.live = live

    def isatty(self) -> bool:
        return self.live


@pytest.mark.parametrize("live", [False, True])
def test_terminal__a_line_per_stage(suite: Suite, pair: list[Path], live: bool) -> None:
    """A terminal sees what goes on; a log file the results alone."""
    log = Log(live)
    suite.fakes["two"].error, suite.fakes["two"].fails_at = ValueError("no luck"), 0
    suite(pair[:1], progress=Terminal(log))
    lines = [line.split("\r\033[K")[-1] for line in log.getvalue().split("\n")[:-1]]
    loaded = lines.pop(0)
    assert loaded == f"DINO: {pair[0]}, mmrel (state_dict), teacher, " + loaded.split(", ", 3)[-1]
    assert loaded.endswith("million numbers; none missing")
    assert len(lines) == 4 and lines[0].startswith("[0:0")
    assert "1/4 DINO, one: fake score 12.0, 1 picture (0:00, 0:00 left)" in lines[0]
    assert "2/4 DINO, two: FAILED: no luck (whole error: " in lines[1]
    assert ("\r" in log.getvalue()) == live
