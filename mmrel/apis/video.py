"""Objects followed through videos by a frozen backbone: DAVIS, or any folder of frames with a first mask."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from mmrel.evaluation.davis import (
    DavisResult,
    VideoSequence,
    list_frames,
    read_mask,
    read_split,
    score_sequence,
    summarise,
    write_mask,
)
from mmrel.evaluation.davis.masks import Mask, without_void
from mmrel.evaluation.davis.propagator import (
    MaskPropagator,
    VideoProtocol,
    by_pixels,
    propagate_masks,
)
from mmrel.models.backbones import ViT

__all__ = [
    "MaskPropagator",
    "VideoProtocol",
    "copies_of_first",
    "evaluate_davis",
    "evaluate_sequences",
    "masks_by",
    "masks_in",
    "propagate_folder",
    "propagate_masks",
]

Progress = Callable[[int, int], None]
MasksOf = Callable[[VideoSequence, Mask], Iterable[Mask]]
"""The masks of a sequence's frames, given that of the first."""


def propagate_folder(
    backbone: ViT,
    frames_folder: str | Path,
    first_mask: str | Path | Mask,
    out: str | Path,
    protocol: VideoProtocol | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Propagate a first mask through a folder of frames, and write a mask for each.

    Args:
        backbone: as for :class:`~mmrel.evaluation.davis.propagator.MaskPropagator`.
        frames_folder: images of one size, in the order of their names.
        first_mask: indexed or grey PNG, or an array: object numbers of the first frame; 255 is background, unless it
            is the only value of a grey mask besides 0.
        out: the masks are written to ``out/<name of the frames' folder>/<name of the frame>.png``, indexed, with
            DAVIS' colours.
        protocol: how.
        progress: is called with the number of frames done and of all, at the start and after each frame.

    Returns:
        The files, in the order of the frames.

    Raises:
        FileNotFoundError: no such folder, no frames, or no first mask.
        ValueError: sizes that do not fit, a mask without objects, or ``out`` would overwrite the frames.
    """
    folder = Path(frames_folder).expanduser()
    frames = list_frames(folder)
    mask = first_mask if isinstance(first_mask, np.ndarray) else _read_first_mask(Path(first_mask))
    sequence = VideoSequence(folder.resolve().name, frames, ())
    files = _mask_files(sequence, Path(out).expanduser())
    report = progress or (lambda done, count: None)
    report(0, len(frames))
    masks = propagate_masks(backbone, frames, without_void(mask), protocol)
    for index, (file, found) in enumerate(zip(files, masks, strict=True)):
        write_mask(file, found)
        report(index + 1, len(frames))
    return files


def evaluate_davis(
    backbone: ViT,
    root: str | Path,
    split: str = "val",
    year: int = 2017,
    resolution: str = "480p",
    out: str | Path | None = None,
    protocol: VideoProtocol | None = None,
    progress: Progress | None = None,
    on_sequence: Callable[[VideoSequence, Mask], None] | None = None,
) -> DavisResult:
    """Video object segmentation of a split of DAVIS by propagating each first mask.

    Args:
        backbone: as for :class:`~mmrel.evaluation.davis.propagator.MaskPropagator`.
        root: folder with ``ImageSets``, ``JPEGImages`` and ``Annotations``.
        split: name of the list of sequences.
        year: folder of that list.
        resolution: folder of frames and of masks.
        out: where the masks are written, ``<sequence>/00000.png``, as the official toolkit reads them; ``None``:
            nowhere.
        protocol: how.
        progress: is called with the number of frames done and of all, at the start and after each frame.
        on_sequence: is called after each sequence with it and its masks, uint8 ``(T, H, W)``.

    Returns:
        Figures in [0, 1]. The objects are those of the first annotation; first and last frame do not count.

    Raises:
        FileNotFoundError: the list, a sequence in it, or an annotation is missing.
        ValueError: an empty list, sizes that do not fit, a sequence without objects or of fewer than three frames, or
            ``out`` would overwrite the data set.
        UnreadableImageError: a file that holds no image.
    """
    return evaluate_sequences(
        read_split(Path(root).expanduser(), split, year, resolution),
        masks_by(backbone, protocol),
        None if out is None else Path(out).expanduser(),
        progress,
        on_sequence,
    )


def masks_by(backbone: ViT, protocol: VideoProtocol | None = None) -> MasksOf:
    """Masks propagated by a backbone, as :func:`propagate_masks`."""
    return lambda sequence, mask: propagate_masks(backbone, sequence.frames, mask, protocol)


def masks_in(folder: Path) -> MasksOf:
    """Masks that are there already, ``<sequence>/<frame>.png``, whoever made them.

    Raises:
        FileNotFoundError: when a mask is missing that counts. Those of the first and the last frame do not.
    """

    def read(sequence: VideoSequence, first_mask: Mask) -> Iterator[Mask]:
        files = [folder / sequence.name / path.name for path in sequence.masks]
        yield first_mask
        for file in files[1:-1]:
            if not file.is_file():
                raise FileNotFoundError(f"there is no mask {file}; every frame needs one")
            yield read_mask(file)
        yield first_mask

    return read


def copies_of_first(sequence: VideoSequence, first_mask: Mask) -> Iterator[Mask]:
    """The least that a propagation must beat: nothing ever moves."""
    return (first_mask for _ in sequence.frames)


def evaluate_sequences(
    sequences: list[VideoSequence],
    masks_of: MasksOf,
    out: Path | None = None,
    progress: Progress | None = None,
    on_sequence: Callable[[VideoSequence, Mask], None] | None = None,
) -> DavisResult:
    """Figures of any way to get masks, as of :func:`evaluate_davis`.

    Args:
        sequences: as :func:`mmrel.evaluation.davis.read_split` gives them.
        masks_of: the masks of a sequence's frames, given that of the first: :func:`masks_by`, :func:`masks_in` or
            :func:`copies_of_first`.
        out: as for :func:`evaluate_davis`, as are the others and the errors.
        progress: likewise.
        on_sequence: likewise.
    """
    files = {} if out is None else {s.name: _mask_files(s, out) for s in sequences}
    count, done, scores = sum(len(s.frames) for s in sequences), 0, []
    report = progress or (lambda done, count: None)
    report(done, count)
    for sequence in sequences:
        first = without_void(read_mask(sequence.masks[0]))
        masks = []
        for index, mask in enumerate(masks_of(sequence, first)):
            masks.append(mask)
            if out is not None:
                write_mask(files[sequence.name][index], mask)
            done += 1
            report(done, count)
        stacked = np.stack(masks)
        scores.extend(score_sequence(sequence.name, stacked, _read_truth(sequence)))
        if on_sequence is not None:
            on_sequence(sequence, stacked)
    return summarise(scores)


def _read_truth(sequence: VideoSequence) -> Mask:
    """Annotation of all frames, uint8 ``(T, H, W)``."""
    masks = [read_mask(path) for path in sequence.masks]
    for path, mask in zip(sequence.masks, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise ValueError(
                f"{path} is {by_pixels(mask.shape)} pixels and the first mask of its sequence "
                f"{by_pixels(masks[0].shape)}; all must have the frames' size"
            )
    return np.stack(masks)


def _read_first_mask(path: Path) -> Mask:
    """Object numbers; of a mask of black and white, white is object 1."""
    path = path.expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no first mask {path}; give an indexed or grey PNG")
    mask = read_mask(path)
    return (mask > 0).astype(np.uint8) if set(np.unique(mask)) == {0, 255} else mask


def _mask_files(sequence: VideoSequence, out: Path) -> tuple[Path, ...]:
    """Where a sequence's masks are written, which is nowhere near its own files."""
    folder = out / sequence.name
    if folder.resolve() in {path.parent.resolve() for path in (*sequence.frames, *sequence.masks)}:
        raise ValueError(
            f"the masks of {sequence.name} would be written into {folder}, where its own files are; give another folder"
        )
    return tuple(folder / f"{frame.stem}.png" for frame in sequence.frames)
