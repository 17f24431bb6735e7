"""The console of a run: what is being done, not 400 lines of environment, configuration and hooks."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel

from mmrel.launch.quiet_start import quieten
from mmrel.launch.runner import LaunchedRunner


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def test_runner__long_preliminaries_go_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = dict(experiment_name="quiet", work_dir=str(tmp_path))
    LaunchedRunner(Toy(), cfg=dict(some_key="some value"), **options)
    shown = "".join(capsys.readouterr())
    (file,) = tmp_path.glob("*/*.log")
    assert str(file) in shown
    for part in ("System environment", "some_key = 'some value'", "Hooks will be executed"):
        assert part in file.read_text() and part not in shown


def test_quieten__keeps_what_is_no_preliminary() -> None:
    logger = logging.Logger("quiet")
    shown: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign]
    file = logging.FileHandler("/dev/null")
    logger.addHandler(handler)
    logger.addHandler(file)
    quieten(logger)
    for text in (
        "\n-----\nSystem environment: x",
        "Config:\nx",
        "Epoch(train) [1]",
        "Config is odd",
    ):
        logger.info(text)
    file.close()
    assert shown == ["Epoch(train) [1]", "Config is odd"]


def test_quieten__without_a_file_nothing_is_left_out() -> None:
    logger = logging.Logger("console")
    shown: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    quieten(logger)
    logger.info("Config:\nx")
    assert shown == ["Config:\nx"]
