"""Turns the log lines of MMEngine's runs into a few short ones for a terminal."""

import re
import time

TRAIN = re.compile(r"(?:Epoch|Iter)\(train\) +\[ *([^\]]+)\](?:\[ *([^\]]+)\])?(.*)")
KNN = re.compile(r"Epoch\(knn\) \[(\d+)\].*?knn/top1_k(\d+): ([\d.]+)")
VALUES = {
    "box AP": re.compile(r"coco/bbox_mAP: (-?[\d.]+)"),
    "mask AP": re.compile(r"coco/segm_mAP: (-?[\d.]+)"),
    "mIoU": re.compile(r"mIoU: ([\d.]+)"),
}
PER_CENT = {"box AP": 100.0, "mask AP": 100.0, "mIoU": 1.0}
PLAIN = ("scenes in ", "already done", "drawing ", "python ")
"""Starts of the lines that are shown as they are."""


def compact(line: str) -> str | None:
    """What a reader wants of one log line, or ``None`` if it is nothing.

    Args:
        line: of the log of MMEngine, or of one of our own tools.
    """
    if line.startswith(PLAIN):
        return line
    if match := KNN.search(line):
        epoch, k, accuracy = match.groups()
        when = f"after epoch {epoch}" if int(epoch) else "of random weights"
        return f"k-NN (k={k}) {when}: {float(accuracy):.1f} %"
    if match := TRAIN.search(line):
        return _training(*match.groups())
    if "(val)" in line or "(test)" in line:
        return _evaluation(line)
    return None


def _training(first: str, second: str | None, rest: str) -> str:
    where = f"epoch {first}, iteration {second}" if second else f"iteration {first.strip()}"
    parts = [where.replace("/", " of ")]
    found = (re.search(rf"(?<![\w/]){name}: \S+", rest) for name in ("loss", "eta"))
    parts.extend(match.group().replace(":", "", 1) for match in found if match)
    return ", ".join(parts)


def _evaluation(line: str) -> str | None:
    found = {name: pattern.search(line) for name, pattern in VALUES.items()}
    texts = [
        f"{name} {PER_CENT[name] * float(match.group(1)):.1f}"
        for name, match in found.items()
        if match
    ]
    return ", ".join(texts) or None


class Terminal:
    """Prints the compact lines of one or more stages, with the time since the start.

    Args:
        interval: least time in seconds between two training lines of a stage.
    """

    def __init__(self, interval: float = 5.0) -> None:
        self.interval = interval
        self.begun = time.monotonic()
        self.last: dict[str, float] = {}

    def __call__(self, stage: str, line: str) -> None:
        """Print the line if it says something."""
        text = compact(line)
        now = time.monotonic()
        if text is None:
            return
        if TRAIN.search(line):
            if now - self.last.get(stage, -self.interval) < self.interval:
                return
            self.last[stage] = now
        minutes, seconds = divmod(int(now - self.begun), 60)
        print(f"[{minutes:02d}:{seconds:02d}] {stage}: {text}", flush=True)
