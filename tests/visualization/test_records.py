"""Reading a run's scalars."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmrel.visualization.records import last_value, names_with, read_records, series, smooth


def write_scalars(run_dir: Path, name: str, records: list[dict]) -> None:
    path = run_dir / name / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")


def test_read_records__resumed_run_follows_its_first_part(tmp_path: Path) -> None:
    write_scalars(tmp_path, "20300102_000000", [{"loss": 2.0, "step": 20}])
    write_scalars(
        tmp_path, "20300101_000000", [{"loss": 4.0, "step": 10}, {"loss": 9.0, "step": 20}]
    )
    records = read_records(tmp_path)
    assert [record["loss"] for record in records] == [4.0, 9.0, 2.0]
    assert series(records, "loss").tolist() == [[10, 4], [20, 2]]


def test_read_records__nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no scalars in .*vis_data/scalars\.json"):
        read_records(tmp_path)


def test_series__over_epochs() -> None:
    records = [
        {"knn": 30.0, "epoch": 0, "step": 0},
        {"loss": 1.0, "step": 5},
        {"knn": 40.0, "epoch": 1},
    ]
    assert series(records, "knn", over="epoch").tolist() == [[0, 30], [1, 40]]
    assert series(records, "absent").shape == (0, 2)


def test_last_value__newest_or_an_error_that_lists_the_names() -> None:
    records = [{"mIoU": 1.0}, {"mIoU": 2.0}, {"loss": 0.0}]
    assert last_value(records, "mIoU") == 2.0
    with pytest.raises(KeyError, match="loss, mIoU"):
        last_value(records, "coco/bbox_mAP")


def test_names_with__in_order_of_appearance() -> None:
    assert names_with([{"loss_b": 1, "x": 1}, {"loss_a": 1, "loss_b": 1}], "loss_") == [
        "loss_b",
        "loss_a",
    ]


def test_smooth__mean_of_the_last_values() -> None:
    assert smooth(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist() == [1.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize("line", ["[1]", "x", "[" * 100_000, "\xff", '{"a": 1'])
def test_read_records__a_line_that_is_none(line: str, tmp_path: Path) -> None:
    """In the middle it is an error that names it; at the end, a killed run's incomplete one is passed over."""
    write_scalars(tmp_path, "a", [{"loss": 2.0, "step": 20}])
    path = tmp_path / "a" / "vis_data" / "scalars.json"
    whole = path.read_text()
    path.write_text(whole + line + "\n" + whole, encoding="latin-1")
    with pytest.raises(ValueError, match=r"Line 2 of .*scalars.json' is no record"):
        read_records(tmp_path)
    path.write_text(whole + '{"loss": 3.', encoding="latin-1")
    assert read_records(tmp_path) == [{"loss": 2.0, "step": 20}]


def test_series__refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match=r"loss is '\[1\]' in a record; wanted a number"):
        series([{"loss": [1], "step": 2}], "loss")
