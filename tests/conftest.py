"""Fixtures for all tests: few threads, fixed seeds, no traces of one test in the next."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.utils import ManagerMixin

import mmrel  # noqa: F401  # its bridges stand before a test imports a host

ROOT = Path(__file__).parent


def pytest_configure() -> None:
    """Give one thread to this process and to those that tests start."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    torch.set_num_threads(1)


NEUTRAL = (
    "apis/test_exported_graphs.py",
    "apis/test_pretraining_survey.py",
    "benchmarks/",
    "campaigns/test_mutants.py",
    "checkpoints/",
    "datasets/test_annotations_",
    "datasets/test_scenes",
    "datasets/test_splits.py",
    "docs/test_documented_commands.py",
    "engine/test_run_length.py",
    "evaluation/test_davis_",
    "evaluation/test_knn_leave_one_out.py",
    "evaluation/test_probes.py",
    "evaluation/test_token_statistics.py",
    "models/test_augment.py",
    "models/test_contracts.py",
    "models/test_contrastive.py",
    "models/test_corrupting_preprocessor.py",
    "models/test_distillation.py",
    "models/test_method_files.py",
    "models/test_patch_augmenting.py",
    "models/test_relation_head.py",
    "models/test_view_preprocessor.py",
    "ops/",
    "quickstart/",
    "test_architecture.py",
    "tools/test_convert_checkpoint.py",
    "tools/test_export_onnx.py",
    "tools/test_extract_features.py",
    "tools/test_wheelhouse.py",
    "utils/test_bombs.py",
    "utils/test_weights_folder.py",
    "visualization/test_curves.py",
    "visualization/test_pca.py",
    "visualization/test_re",
)
"""Tests that are the same with either family of OpenMMLab's packages; `make test-openmmlab` leaves them out."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what depends on the family of the host packages; skip what needs a GPU where there is none.

    What is imported by now lives as long as the tests: every data set that is built collects garbage, half a second
    each if it looks at all of torch.
    """
    gc.freeze()
    for item in items:
        if not item.path.relative_to(ROOT).as_posix().startswith(NEUTRAL):
            item.add_marker(pytest.mark.family)
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@contextmanager
def hosts_forget() -> Iterator[None]:
    """Let MMEngine forget what a runner in here has made known to all: scopes, loggers, histories, visualizers.

    A logger writes to the console of the test that made it, which is closed after it; a visualizer of the same name, or
    a history of the same name and second, goes on where it was.
    """
    kept = {kind: kind._instance_dict.copy() for kind in managed()}
    yield
    for kind in managed():
        kind._instance_dict.clear()
        kind._instance_dict.update(kept.get(kind, {}))


def managed(kind: type = ManagerMixin) -> Iterator[Any]:
    """All classes whose instances MMEngine knows by name."""
    for child in kind.__subclasses__():
        yield child
        yield from managed(child)


@pytest.fixture(scope="module", autouse=True)
def _isolated_module() -> Iterator[None]:
    """Nothing of the fixtures of one file reaches the next."""
    with hosts_forget():
        yield


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    """Seed torch; forget what a test has made known to all, and the readers of checkpoints that it may have set."""
    torch.manual_seed(0)
    with hosts_forget():
        yield
    if "mmrel.launch.safe_loading" in sys.modules:
        sys.modules["mmrel.launch.safe_loading"].restore_loading()
