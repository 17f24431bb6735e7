"""From a user's data, a backbone and the computer to a configuration: every choice stated with its reason."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmrel.apis.finetuning.choices import Choice, choice_table
from mmrel.apis.finetuning.config_text import Section, config_text
from mmrel.apis.finetuning.data import PreparedData
from mmrel.apis.finetuning.detection import BASES as DETECTION_BASES
from mmrel.apis.finetuning.detection import detection_sections
from mmrel.apis.finetuning.machine import Machine, this_machine
from mmrel.apis.finetuning.network import Network, read_network
from mmrel.apis.finetuning.objects import prepare_objects
from mmrel.apis.finetuning.pixels import prepare_pixels
from mmrel.apis.finetuning.schedule import (
    DETECTION,
    SEGMENTATION,
    Schedule,
    Wishes,
    choose_schedule,
)
from mmrel.apis.finetuning.segmentation import BASES as SEGMENTATION_BASES
from mmrel.apis.finetuning.segmentation import segmentation_sections
from mmrel.apis.finetuning.sizes import detection_size, segmentation_size
from mmrel.apis.finetuning.sources import Source, open_source
from mmrel.datasets.annotations.instances import InstanceSet
from mmrel.utils.errors import UsageError
from mmrel.utils.files import write_text_atomically
from mmrel.utils.hosts import require_host

TASKS = ("detect", "segment")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """What the user gave.

    Attributes:
        task: ``'detect'`` or ``'segment'``.
        data: file or folder.
        backbone: checkpoint.
        work_dir: folder that everything is written to.
        val: further data to judge by.
        images: of COCO files, the folder of their images.
        classes: of masks, the list of names.
        num_heads: of the backbone, where its file does not tell.
        wishes: what is not to be chosen.
    """

    task: str
    data: Path
    backbone: Path
    work_dir: Path
    val: Path | None = None
    images: Path | None = None
    classes: Path | None = None
    num_heads: int | None = None
    wishes: Wishes = field(default_factory=Wishes)

    @property
    def config(self) -> Path:
        """The configuration to write. A run leaves its own, with nothing inherited, in the work dir itself."""
        return self.work_dir / "plan" / f"{self.task}.py"

    @property
    def data_dir(self) -> Path:
        """Folder of converted annotations."""
        return self.work_dir / "data"


@dataclass(frozen=True)
class Plan:
    """Everything that a configuration is made of.

    Attributes:
        request: of the user.
        data: converted.
        network: the backbone.
        machine: the computer.
    """

    request: Request
    data: PreparedData
    network: Network
    machine: Machine

    def schedule(self, wishes: Wishes | None = None) -> tuple[int, Choice, Schedule]:
        """Size of the images, its line in the table, and the schedule."""
        on_gpu, detects = bool(self.machine.gpu), self.request.task == "detect"
        if detects:
            size, choice = detection_size(self.data.sizes, self.data.object_side, on_gpu)
            pixels = round(size * size * self.data.aspect())
        else:
            size, choice = segmentation_size(self.data.sizes, on_gpu)
            pixels = size * size
        task = DETECTION if detects else SEGMENTATION
        wanted = wishes or self.request.wishes
        number, width = self.data.num_train, self.network.width
        return size, choice, choose_schedule(task, number, pixels, width, self.machine, wanted)

    def write(self, wishes: Wishes | None = None) -> str:
        """Write the configuration; returns the table of choices.

        Args:
            wishes: instead of the request's.
        """
        size, size_choice, schedule = self.schedule(wishes)
        weights = str(backbone_file(self.request)) if schedule.layer_decay < 1 else None
        detects = self.request.task == "detect"
        sections: list[Section]
        sections, own = (detection_sections if detects else segmentation_sections)(
            self.data, self.network, schedule, size, bool(self.machine.gpu), weights
        )
        start = Choice(
            "start",
            "backbone" if weights else "random",
            f"weights in {weights}" if weights else "--init random: the file gives the sizes alone",
        )
        precision = Choice(
            "precision",
            "mixed" if self.machine.gpu else "float32",
            "float16 with a loss scale on a GPU"
            if self.machine.gpu
            else "a CPU gains nothing from less",
        )
        loader = Choice(
            "workers", str(self.data.workers), f"loader processes, for {self.machine.cores} cores"
        )
        device = Choice("device", "GPU" if self.machine.gpu else "CPU", self.machine.device)
        table = choice_table(
            [
                Choice(
                    "data", self.data.source.partition(":")[0], self.data.source.partition(": ")[2]
                ),
                *self.data.choices,
                self.network.choice(),
                start,
                *own,
                size_choice,
                *schedule.choices,
                device,
                precision,
                loader,
            ]
        )
        title = f"{own[0].value} on own {'objects' if detects else 'masks'}"
        header = f"{title}; written by tools/finetune.py, which chose:\n\n{table}"
        bases = DETECTION_BASES if detects else SEGMENTATION_BASES
        write_text_atomically(self.request.config, config_text(header, bases, sections))
        return table


def backbone_file(request: Request) -> Path:
    """Where the backbone is kept in the layout that detectors and segmentors load."""
    return request.work_dir / "backbone.pth"


def make_plan(request: Request, progress: Progress) -> Plan:
    """Read, check and convert everything; nothing is trained.

    Args:
        request: what the user gave; its paths are absolute.
        progress: is called with the number of masks done and of all.

    Raises:
        UsageError: something is wrong with the data or the backbone.
    """
    if request.task not in TASKS:
        raise UsageError(f"The task is {request.task!r}; choose {' or '.join(TASKS)}.")
    try:
        require_host("mmdet" if request.task == "detect" else "mmseg")
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from error
    machine = this_machine()
    network = read_network(request.backbone, backbone_file(request), request.num_heads)
    source = _open(request)
    workers = min(8, machine.cores) if machine.gpu else (2 if machine.cores > 2 else 0)
    if request.task == "segment":
        data = prepare_pixels(source, request.data_dir, workers, progress, request.classes)
    elif isinstance(source.train, InstanceSet) and isinstance(source.val, InstanceSet | None):
        data = prepare_objects(source.train, source.val, request.data_dir, workers)
    else:
        raise UsageError(f"{request.data} holds masks, which do not tell one object from the next.")
    return Plan(request, data, network, machine)


def _open(request: Request) -> Source:
    masks, unpacked = request.task == "segment", request.data_dir / "images"
    source = open_source(request.data, masks, unpacked, request.images)
    if request.val is None:
        return source
    other = open_source(request.val, masks, unpacked, request.images)
    return replace(source, val=other.train)
