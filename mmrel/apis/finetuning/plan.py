"""From a user's data, a backbone and the computer to a configuration: every choice stated with its reason."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmrel.apis.choices import Choice, choice_table
from mmrel.apis.finetuning.config_text import config_text
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
from mmrel.apis.finetuning.setting import Setting
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

    def schedule(self, wishes: Wishes) -> tuple[int, Choice, Schedule]:
        """Size of the images, its line in the table, and the schedule."""
        on_gpu, detects = bool(self.machine.gpu), self.request.task == "detect"
        if detects:
            size, choice = detection_size(self.data.sizes, self.data.object_side, on_gpu)
            pixels = round(size * size * self.data.aspect())
        else:
            size, choice = segmentation_size(self.data.sizes, on_gpu)
            pixels = size * size
        task = DETECTION if detects else SEGMENTATION
        number, width = self.data.num_train, self.network.width
        return size, choice, choose_schedule(task, number, pixels, width, self.machine, wishes)

    def write(self, wishes: Wishes | None = None) -> str:
        """Write the configuration; returns the table of choices.

        Args:
            wishes: instead of the request's.
        """
        wanted = wishes or self.request.wishes
        size, size_choice, schedule = self.schedule(wanted)
        weights = str(backbone_file(self.request)) if wanted.pretrained else None
        detects = self.request.task == "detect"
        on_gpu = bool(self.machine.gpu)
        setting = Setting(self.data, self.network, schedule, size, on_gpu, weights)
        sections, own = (detection_sections if detects else segmentation_sections)(setting)
        network = [self.network.choice(), _start(weights), *own, size_choice]
        table = choice_table(
            [*self.data.choices, *network, *schedule.choices, *self._machine_choices()]
        )
        title = f"{own[0].value} on own {'objects' if detects else 'masks'}"
        header = f"{title}; written by tools/finetune.py, which chose:\n\n{table}"
        bases = DETECTION_BASES if detects else SEGMENTATION_BASES
        write_text_atomically(self.request.config, config_text(header, bases, sections))
        return table

    def _machine_choices(self) -> list[Choice]:
        machine = self.machine
        precision = (
            Choice("precision", "mixed", "float16 with a loss scale, on a GPU")
            if machine.gpu
            else Choice("precision", "float32", "a CPU gains nothing from less")
        )
        loader = f"loader processes, for {machine.cores} cores"
        return [
            Choice("device", "GPU" if machine.gpu else "CPU", machine.device),
            precision,
            Choice("workers", str(self.data.workers), loader),
        ]


def _start(weights: str | None) -> Choice:
    if weights is None:
        return Choice("start", "random", "--init random: the file gives the sizes alone")
    return Choice("start", "backbone", f"weights in {weights}")


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
