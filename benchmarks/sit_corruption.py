"""SiT's corruption, images per second and core: mmrel's form against one crop at a time in the loader.

The plain form is the usual one: in the transform, each crop is copied and overwritten rectangle by rectangle, with
a three-channel mask that is summed after every rectangle; in the collate function, half of the crops are corrupted
anew with another image's pixels; corrupted crops and masks are stacked. mmrel draws packed masks in the loader
and writes the pixels of the whole batch on the device. On a CPU all of it is counted; on a GPU, the loader's part,
which is what keeps cores busy, and the device's time is printed beside it. Both start from the same normalised
crops, so that decoding, cropping and colours do not blur the ratio. The process keeps the memory that it frees, as
a GPU's allocator does: otherwise both forms spend up to half of their time on new pages from the system.

Command: ``python benchmarks/sit_corruption.py`` (one process, one thread).
Expected: at least 5 times the plain form's images per second and core, with the same distribution.
"""

import argparse
import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from measure import save_results
from torch import Tensor
from torch.utils.data import default_collate

from mmrel.datasets import DrawCorruption
from mmrel.models.data_preprocessors import CorruptingViewPreprocessor
from mmrel.structures import SampleKey, ViewBatch

SIDE, VIEWS = 224, 2
DROP_AREA, REPLACE_AREA = 0.5, 0.3
Crop = tuple[Tensor, Tensor]
TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Names of glibc's ``mallopt``."""


def keep_memory() -> None:
    """Let this process keep what it frees, where the C library can."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def plain_blocks(image: Tensor, area: float, donor: Tensor | None) -> Crop:
    """Overwrite rectangles of one crop ``(3, H, W)`` until ``area`` of it is covered: the crop and its mask."""
    height, width = image.shape[1:]
    corrupted, mask = image.clone(), torch.zeros_like(image)
    while mask[0].sum() < area * height * width:
        top, left = np.random.randint(0, height - 1), np.random.randint(0, width - 1)
        bottom = top + min(np.random.randint(1, int(0.3 * height)), height - top)
        right = left + min(np.random.randint(1, int(0.3 * width)), width - left)
        window = slice(None), slice(top, bottom), slice(left, right)
        corrupted[window] = 0 if donor is None else donor[window]
        mask[window] = 1
    return corrupted, mask


def plain_collate(samples: Sequence[tuple[Tensor, list[Crop]]]) -> list[Crop]:
    """Replace half of the crops, view by view, and stack: corrupted crops and masks ``(B, 3, H, W)`` per view."""
    views = []
    for view in range(VIEWS):
        parts = []
        for clean, corrupted in samples:
            donor = samples[np.random.randint(len(samples))][0][view]
            replaced = np.random.rand() < 0.5
            parts.append(
                plain_blocks(clean[view], REPLACE_AREA, donor) if replaced else corrupted[view]
            )
        views.append(
            (torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts]))
        )
    return views


def run_plain(crops: Tensor) -> tuple[float, Tensor]:
    """CPU seconds for one batch of crops ``(V, B, 3, H, W)``, and the masked shares ``(V*B,)``."""
    start = time.process_time()
    samples = [
        (image, [plain_blocks(crop, DROP_AREA, None) for crop in image])
        for image in crops.unbind(1)
    ]
    views = plain_collate(samples)
    seconds = time.process_time() - start
    return seconds, torch.cat([mask[:, 0].mean(dim=(1, 2)) for _, mask in views])


class Mmrel:
    """The loader's and the device's part.

    Args:
        crops: ``(V, B, 3, H, W)``.
        device: where the pixels are written.
    """

    def __init__(self, crops: Tensor, device: str) -> None:
        self.device = device
        self.preprocessor = CorruptingViewPreprocessor().to(device)
        self.views = ViewBatch(crops.flatten(0, 1).to(device), None, None, None, VIEWS, 0)

    def run(self, epoch: int) -> tuple[float, float, Tensor]:
        """Seconds of the loader, seconds of the device, and the masked shares ``(V*B,)``."""
        start = time.process_time()
        draw = DrawCorruption(drop_area=DROP_AREA, replace_area=REPLACE_AREA).draw
        keys = [SampleKey(0, epoch, index) for index in range(self.views.batch_size)]
        batch = default_collate(
            [
                {k: torch.from_numpy(v) for k, v in draw(key, VIEWS, SIDE, SIDE).items()}
                for key in keys
            ]
        )
        loader = time.process_time() - start
        clock = time.process_time if self.device == "cpu" else time.perf_counter
        start = clock()
        views = self.preprocessor.corrupt(self.views, batch)
        if self.device != "cpu":
            torch.cuda.synchronize()
        return loader, clock() - start, views.corruption.float().mean(dim=(1, 2)).cpu()


def measure(batch: int, rounds: int, device: str) -> dict[str, Any]:
    """Both forms in turns: the quickest round of each in seconds, and all masked shares."""
    crops = torch.randn(VIEWS, batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    np.random.seed(0)
    ours = Mmrel(crops, device)
    times: dict[str, list[float]] = {"plain": [], "loader": [], "device": []}
    shares: dict[str, list[Tensor]] = {"plain": [], "mmrel": []}
    for turn in range(rounds):
        seconds, masked = run_plain(crops)
        times["plain"].append(seconds)
        shares["plain"].append(masked)
        loader, on_device, masked = ours.run(turn)
        times["loader"].append(loader)
        times["device"].append(on_device)
        shares["mmrel"].append(masked)
    return {
        **{name: min(values) for name, values in times.items()},
        "shares": {name: torch.cat(values) for name, values in shares.items()},
    }


def compare(shares: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Masked share of both forms, separately for zeros (more than 0.43 masked) and for another image's pixels.

    Raises:
        RuntimeError: they differ by more than 4 standard errors, so that the timings mean nothing.
    """
    rows: dict[str, dict[str, float]] = {}
    for name, values in shares.items():
        dropped = values > 0.43
        rows[name] = {
            "masked_share": float(values.mean()),
            "replaced_share": float(1 - dropped.float().mean()),
            "masked_if_dropped": float(values[dropped].mean()),
            "masked_if_replaced": float(values[~dropped].mean()),
        }
    spread = {"masked_share": 0.1, "replaced_share": 0.5}
    spread |= {"masked_if_dropped": 0.014, "masked_if_replaced": 0.017}
    allowed = 4 * (2 / len(shares["plain"])) ** 0.5
    for key, deviation in spread.items():
        if abs(rows["plain"][key] - rows["mmrel"][key]) > allowed * deviation:
            raise RuntimeError(f"the two forms have another {key}: {rows}")
    return rows


def report(found: dict[str, Any], batch: int, device: str) -> dict[str, Any]:
    """Print the table; return it."""
    ours = found["loader"] + (found["device"] if device == "cpu" else 0.0)
    rows = {}
    print(f"{'form':<34}{'ms/image':>10}{'images/s/core':>15}{'ratio':>8}")
    for name, seconds in (("plain, in the loader", found["plain"]), ("mmrel", ours)):
        ratio = found["plain"] / seconds
        rows[name] = {
            "ms_per_image": 1e3 * seconds / batch,
            "images_per_second_and_core": batch / seconds,
            "ratio": ratio,
        }
        print(f"{name:<34}{1e3 * seconds / batch:>10.2f}{batch / seconds:>15.0f}{ratio:>7.1f}x")
    for part in ("loader", "device"):
        print(f"mmrel's part {'in the' if part == 'loader' else 'on the'} {part}: ", end="")
        print(f"{1e3 * found[part] / batch:.2f} ms/image")
    return {
        "rows": rows,
        "loader_ms_per_image": 1e3 * found["loader"] / batch,
        "device_ms_per_image": 1e3 * found["device"] / batch,
        "distribution": compare(found["shares"]),
        "crops": f"{VIEWS}x{SIDE}",
        "batch": batch,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=64, help="images per batch")
    parser.add_argument("--rounds", type=int, default=7, help="times that each form runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = measure(args.batch, args.rounds, device)
    result = report(found, args.batch, device)
    save_results("sit_corruption", device, {**result, "rounds": args.rounds})


if __name__ == "__main__":
    main()
