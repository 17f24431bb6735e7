"""What the configurations of both tasks are made of, and the loaders that they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrel.apis.finetuning.config_text import Expression
from mmrel.apis.finetuning.data import PreparedData
from mmrel.apis.finetuning.network import Network
from mmrel.apis.finetuning.schedule import Schedule


@dataclass(frozen=True)
class Setting:
    """Everything that was chosen before the model.

    Attributes:
        data: converted.
        network: the backbone.
        schedule: batch and length.
        size: of the images, in pixels.
        on_gpu: whether there is a GPU.
        checkpoint: the backbone's weights; ``None`` starts from random ones.
    """

    data: PreparedData
    network: Network
    schedule: Schedule
    size: int
    on_gpu: bool
    checkpoint: str | None

    def loaders(
        self,
        kind: str,
        prefix: Mapping[str, str],
        train: Mapping[str, Any],
        evaluator: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Loaders and evaluators; images are read below ``data_root`` by the pipelines of the file.

        Args:
            kind: type of the data sets.
            prefix: their ``data_prefix``.
            train: further settings of the one to train on.
            evaluator: of validation and test.
        """
        workers = self.data.workers
        common = dict(num_workers=workers, persistent_workers=workers > 0)

        def dataset(ann_file: Path, pipeline: str, more: Mapping[str, Any]) -> dict[str, Any]:
            return dict(
                type=kind,
                data_root=Expression("data_root"),
                ann_file=str(ann_file),
                data_prefix=prefix,
                metainfo=Expression("metainfo"),
                pipeline=Expression(pipeline),
                **more,
            )

        return dict(
            train_dataloader=dict(
                batch_size=self.schedule.batch,
                **common,
                sampler=dict(type="InfiniteSampler", shuffle=True),
                dataset=dataset(self.data.train_file, "train_pipeline", train),
            ),
            val_dataloader=dict(
                batch_size=1,
                **common,
                drop_last=False,
                sampler=dict(type="DefaultSampler", shuffle=False),
                dataset=dataset(self.data.val_file, "test_pipeline", dict(test_mode=True)),
            ),
            test_dataloader=Expression("val_dataloader"),
            val_evaluator=evaluator,
            test_evaluator=Expression("val_evaluator"),
        )
