"""A small student-teacher, keyed data and a runner, for the tests of the engine."""

import copy
import itertools
import time
from pathlib import Path
from typing import Any

import tiny
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import DATA_SAMPLERS, DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

import mmrel.engine  # noqa: F401
from mmrel.models.selfsup.dino import DINO
from mmrel.structures import SampleKey

WIDTH = 6
_COUNT = itertools.count()


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Vectors that depend on (seed, epoch, index) only; ``poison`` indices give NaN in epoch 0."""

    metainfo: dict[str, Any] = {}

    def __init__(self, length: int = 24, poison: tuple[int, ...] = ()) -> None:
        self.length = length
        self.poison = poison

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(
            key.seed % 1000 * 10007 + key.epoch * 101 + key.index
        )
        inputs = torch.randn(WIDTH, generator=generator)
        if key.index in self.poison:
            inputs[0] = float("nan")
        return {"inputs": inputs, "data_samples": torch.tensor(key.index)}


@DATA_SAMPLERS.register_module()
class ToyKeyedSampler(DefaultSampler):
    """A sampler with the contract of ``mmrel.KeyedSampler``."""

    _skip = 0

    def __iter__(self) -> Any:
        keys = [SampleKey(self.seed, self.epoch, index) for index in super().__iter__()]
        start, self._skip = self._skip, 0
        return iter(keys[start:])

    def skip(self, num_samples: int) -> None:
        self._skip = num_samples


@MODELS.register_module()
class ToyStudentTeacher(BaseModel):
    """Linear, dropout, linear; a teacher; a centre. The interface of ``mmrel.StudentTeacher``."""

    def __init__(self, dropout: float = 0.3, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor or BaseDataPreprocessor())
        self.backbone = nn.Sequential(nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.Dropout(dropout))
        self.last_layer = nn.Linear(8, 5)
        self.teacher = nn.ModuleDict(
            {
                "backbone": copy.deepcopy(self.backbone),
                "last_layer": copy.deepcopy(self.last_layer),
            }
        ).requires_grad_(False)
        self.register_buffer("center", torch.zeros(5))
        self.last_losses: dict[str, Tensor] = {}
        self.last_samples: tuple[int, ...] = ()
        self.epochs: list[int] = []
        self.momenta: list[float] = []

    def init_weights(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for parameter in (*self.backbone.parameters(), *self.last_layer.parameters()):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        for teacher, student in self._pairs():
            teacher.data.copy_(student)

    def forward(self, inputs: Tensor, data_samples: Tensor, mode: str = "loss") -> Any:
        self.last_samples = tuple(data_samples.tolist())
        student = self.last_layer(self.backbone(inputs))
        with torch.no_grad():
            teacher = self.teacher["last_layer"](self.teacher["backbone"](inputs))
        self._mean = teacher.float().mean(0)
        target = ((teacher - self.center) / 0.5).softmax(-1)
        loss = -(target * student.log_softmax(-1)).sum(-1).mean()
        return {"loss_view": loss, "loss_size": 0.1 * student.square().mean(), "stat/x": loss * 2}

    def parse_losses(self, losses: dict[str, Tensor]) -> Any:
        loss, log_vars = super().parse_losses(losses)
        self.last_losses = {k: v.detach() for k, v in losses.items() if "loss" in k}
        return loss, log_vars

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def commit(self, momentum: float, ok: Tensor) -> None:
        self.momenta.append(momentum)
        for teacher, student in self._pairs():
            moved = momentum * teacher.data + (1 - momentum) * student.data
            teacher.data.copy_(torch.where(ok, moved, teacher.data))
        self.center.copy_(torch.where(ok, 0.9 * self.center + 0.1 * self._mean, self.center))

    def _pairs(self) -> Any:
        student = (*self.backbone.parameters(), *self.last_layer.parameters())
        return zip(self.teacher.parameters(), student, strict=True)


@MODELS.register_module()
class ToyScored(ToyStudentTeacher):
    """The toy with a prediction, which may take its time."""

    def __init__(self, seconds: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def forward(self, inputs: Any, data_samples: Any, mode: str = "loss") -> Any:
        if mode != "predict":
            return super().forward(inputs, data_samples, mode)
        time.sleep(self.seconds)
        return [{"score": float(self.last_layer(self.backbone(inputs)).square().mean())}]


@METRICS.register_module()
class ToyScore(BaseMetric):
    """A score that goes up and down."""

    default_prefix = "toy"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [sample["score"] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {"score": sum(results) / len(results)}


def validation() -> dict[str, Any]:
    """Settings of a validation of ``ToyScored`` after each epoch; it reports ``toy/score``."""
    loader = dict(
        dataset=dict(type="ToyDataset", length=12),
        sampler=dict(type="ToyKeyedSampler", shuffle=False),
        collate_fn=dict(type="default_collate"),
        batch_size=4,
        num_workers=0,
    )
    return dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type="ToyScore"))


@HOOKS.register_module()
class LossTrace(Hook):
    """Keeps every iteration's loss, step flag, batch position and, optionally, stops or breaks."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.losses: list[float] = []
        self.positions: list[tuple[int, int]] = []
        self.samples: list[tuple[int, ...]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(float(outputs["loss"].detach()))
        self.positions.append((runner.epoch, batch_idx))
        model = getattr(runner.model, "module", runner.model)
        self.samples.append(model.last_samples)
        if self.stop_after is not None and runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


def config(work_dir: Path, **changes: Any) -> dict[str, Any]:
    """Arguments of a toy runner: 3 epochs of 6 iterations."""
    settings: dict[str, Any] = dict(
        model=dict(type="ToyStudentTeacher"),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dict(type="ToyDataset"),
            sampler=dict(type="ToyKeyedSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
            batch_size=4,
            num_workers=0,
        ),
        train_cfg=dict(type="mmrel.ResumableEpochLoop", max_epochs=3),
        optim_wrapper=dict(
            type="mmrel.SelfSupOptimWrapper",
            optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.04),
            clip_grad=dict(max_norm=0.3),
            constructor="mmrel.SelfSupOptimWrapperConstructor",
        ),
        param_scheduler=[
            dict(
                type="mmrel.CosineSchedule",
                param_name="lr",
                end=1e-6,
                warmup=1,
                convert_to_iter_based=True,
            ),
            dict(
                type="mmrel.CosineSchedule",
                param_name="weight_decay",
                end=0.4,
                convert_to_iter_based=True,
            ),
        ],
        custom_hooks=[
            dict(type="mmrel.StepSeedHook"),
            dict(type="mmrel.TeacherUpdateHook"),
            dict(type="LossTrace"),
        ],
        default_hooks=dict(
            runtime_info=dict(type="mmrel.DeferredRuntimeInfoHook"),
            logger=dict(type="LoggerHook", interval=4),
            checkpoint=dict(type="mmrel.AtomicCheckpointHook", interval=1, by_epoch=False),
        ),
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        randomness=dict(seed=5),
        log_level="WARNING",
    )
    settings.update(changes)
    return settings


def runner(work_dir: Path, **changes: Any) -> Runner:
    """A toy runner with a name of its own (MMEngine keeps message hubs by name)."""
    return build(config(work_dir, **changes))


def build(settings: dict[str, Any]) -> Runner:
    """A runner from settings that a test has changed."""
    settings = copy.deepcopy(settings)
    name = settings["work_dir"].replace("/", "_") + str(next(_COUNT))
    return Runner.from_cfg(Config(dict(settings, experiment_name=name)))


def log_of(of: Runner) -> str:
    """What the runner has logged."""
    return next(Path(of.log_dir).glob("*.log")).read_text()


def close(of: Runner) -> None:
    """End the loader's workers now; left to the garbage collector, they make another test wait."""
    iterator = of.train_dataloader._iterator
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()


def trace(of: Runner) -> LossTrace:
    """The runner's trace hook."""
    return next(hook for hook in of.hooks if isinstance(hook, LossTrace))


@MODELS.register_module()
class ToyPlain(BaseModel):
    """A model without a teacher."""

    def __init__(self, data_preprocessor: Any = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.layer = nn.Linear(WIDTH, 2)
        self.norm = nn.LayerNorm(2)

    def forward(self, inputs: Tensor, data_samples: Tensor, mode: str = "loss") -> Any:
        return {"loss": self.norm(self.layer(inputs)).square().mean()}


@MODELS.register_module()
class ToyDINO(DINO):
    """A real DINO on the toy data: every vector becomes a small multi-crop batch."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_preprocessor = ToyViews(self.data_preprocessor)


class ToyViews(BaseDataPreprocessor):
    """Toy vectors to random crops, images to what the real preprocessor makes of them."""

    def __init__(self, images: nn.Module) -> None:
        super().__init__()
        self.images = images

    def forward(self, data: Any, training: bool = False) -> Any:
        if not training:
            return self.images(data, training)
        seed = int(data["inputs"].double().sum() * 1e6) % 2**31
        return {"inputs": tiny.view_batch(len(data["inputs"]), seed=seed)}
