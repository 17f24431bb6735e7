"""What a folder of photos holds, told from names and from the headers of a sample."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from mmrel.apis.pretraining.headers import Header, look_at
from mmrel.datasets.folder_listing import Listing, list_files
from mmrel.datasets.transforms.image_file import IMAGE_SUFFIXES
from mmrel.utils.errors import UsageError
from mmrel.utils.names import leads_down
from mmrel.utils.text import counted, listed

MIN_IMAGES = 8
"""Fewer give no batch to compare photos in."""

VIDEOS = frozenset(
    ".mp4 .mov .avi .mkv .webm .m4v .wmv .flv .mpg .mpeg .mts .m2ts .3gp .ogv".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Survey:
    """A folder of photos.

    Attributes:
        root: the folder.
        num_images: files whose names end as images do.
        headers: of a sample of at most ``SAMPLE`` of them, spread evenly.
        unreadable: the files of the sample that cannot be read, with the reason.
        others: number of other files by ending, in lower case.
        dead: links that lead nowhere.
        list_file: a file that names the images, if one was given.
        images: their paths below the folder.
    """

    root: str
    num_images: int
    headers: tuple[Header, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    dead: tuple[str, ...] = ()
    list_file: str | None = None
    images: tuple[str, ...] = field(default=(), repr=False)

    @property
    def sampled(self) -> int:
        """Files that were looked at."""
        return len(self.headers) + len(self.unreadable)

    @property
    def short_side(self) -> int:
        """Median of the short sides, in pixels."""
        return round(median(min(header.height, header.width) for header in self.headers))

    @property
    def unreadable_share(self) -> float:
        """Share of the sample that cannot be read."""
        return len(self.unreadable) / self.sampled

    @property
    def num_readable(self) -> int:
        """Images that can be read, as far as the sample tells."""
        return self.num_images - round(self.num_images * self.unreadable_share)


def survey_folder(
    root: str,
    list_file: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """List a folder and look at the headers of a sample of its images.

    Args:
        root: the folder; nested as the user likes.
        list_file: a text file with one path below ``root`` in each line; ``None``: every image counts.
        progress: called with the number of files listed so far, now and then.

    Raises:
        UsageError: it is missing, no folder, not readable, or has fewer than ``MIN_IMAGES`` readable images.
    """
    folder = Path(root).expanduser()
    _check_folder(folder, root)
    listing = _listing(folder, root, progress or (lambda count: None))
    images = _read_list(list_file, folder) if list_file else listing.images
    _check_enough(root, len(images), listing, images)
    headers, unreadable = look_at(folder, images)
    survey = Survey(
        root=str(folder.absolute()),
        num_images=len(images),
        headers=tuple(headers),
        unreadable=unreadable,
        others=listing.skipped,
        dead=tuple(listing.dead),
        list_file=list_file,
        images=tuple(images),
    )
    if survey.num_readable < MIN_IMAGES:
        shown = [f"{name} ({reason})" for name, reason in unreadable.items()]
        raise UsageError(
            f"{root} has {len(images)} files with endings of images, but {len(unreadable)} of {survey.sampled} that "
            f"were looked at cannot be read: {listed(shown, 3)}. Pretraining needs at least {MIN_IMAGES} readable "
            "images."
        )
    return survey


def _check_folder(folder: Path, root: str) -> None:
    if folder.is_file():
        raise UsageError(
            f"{root} is a file; give the folder that holds the images, nested as you like. A list of some of them goes "
            f"with it: tools/pretrain.py {folder.parent} --list {root}. Archives and tables go with a recipe: "
            "tools/train.py configs/sere/ibot-sere_vit-small-p16_custom.py --cfg-options "
            f"data_root={root}."
        )
    if not folder.is_dir():
        raise UsageError(
            f"{root} does not exist (looked for {folder.absolute()}). Give the folder that holds the images, nested as "
            "you like."
        )


def _listing(folder: Path, root: str, progress: Callable[[int], None]) -> Listing:
    """The folder's files; the number so far is told from time to time."""
    seen = 0

    def is_image(name: str) -> bool:
        nonlocal seen
        seen += 1
        if seen % 100_000 == 0:
            progress(seen)
        return name.lower().endswith(IMAGE_SUFFIXES)

    try:
        return list_files(str(folder), is_image)
    except OSError as error:
        raise UsageError(
            f"{error.filename or root} cannot be read: {error.strerror or error}. Give a folder whose subfolders you "
            "may all read."
        ) from error


def _read_list(path: str, folder: Path) -> list[str]:
    """The paths that a list names."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--list {path} cannot be read ({error}). Give a text file with one path below {folder} in each line."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    wrong = next((name for name in names if not leads_down(name)), None)
    if wrong is not None:
        raise UsageError(f"--list {path} names {wrong[:80]!r}; wanted paths below {folder}.")
    return names


def by_ending(endings: Counter[str]) -> list[str]:
    """``2 .txt``, the most first and then by the alphabet."""
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return [f"{number} {ending}" for ending, number in ordered]


def _check_enough(root: str, count: int, listing: Listing, images: Sequence[str]) -> None:
    """Refuse a folder without images, or with a handful, and say what it holds instead."""
    if count >= MIN_IMAGES:
        return
    advice = f"Pretraining needs at least {MIN_IMAGES} images, and learns something from a few hundred on"
    if count:
        raise UsageError(
            f"{root} holds {counted(count, 'image')} ({listed(images, 3)}). {advice}. For features of a "
            "few images take released weights: tools/extract_features.py."
        )
    others = sum(listing.skipped.values())
    if not others:
        raise UsageError(f"{root} is empty: there are no images in it or below it. {advice}.")
    held = by_ending(listing.skipped)
    films = sum(listing.skipped[ending] for ending in VIDEOS)
    frames = (
        "These are videos: write their frames as images first, for instance with ffmpeg -i FILM -vf fps=1 "
        "FOLDER/%06d.jpg. "
        if films
        else ""
    )
    raise UsageError(
        f"{root} holds no images: its {counted(others, 'file')} {'are' if others > 1 else 'is'} "
        f"{listed(held, 5)}. {frames}"
        f"{advice}; their names end in {listed([s for s in IMAGE_SUFFIXES][:6], 6)} or the like."
    )
