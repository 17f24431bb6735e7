"""RelViT's patch augmentation, images per second and core: mmrel's form against one patch at a time in the loader.

The plain form is the usual one: the transform splits the normalised image, lets every patch pass torchvision's random
crop, resize, colour jitter and grey, and puts them together. mmrel draws one table of numbers per image in the loader
and works on all patches of the batch at once on the device. Both start from the same normalised images, so that
decoding and cropping do not blur the ratio. On a CPU there are two ratios: of the loader's work alone, which is what
keeps cores busy when a GPU is the device, and of all work, with this one core as the device.

Command: ``python benchmarks/relvit_patch_augmentation.py`` (one process, one thread).
Expected: at least 20 times the plain form's images per second and core, with the same distribution.
"""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import save_results, wait
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import transforms

from mmrel.datasets import DrawPatchAugmentation
from mmrel.models.data_preprocessors import PatchAugmentingPreprocessor
from mmrel.ops.patches import merge_patches, patch_window, split_patches
from mmrel.structures import SampleKey

Batch = dict[str, Tensor]
SIGNIFICANT = 1.95
"""Kolmogorov-Smirnov: a larger distance, times sqrt(n / 2), has a chance of 0.1 % under one distribution."""


class Setting(NamedTuple):
    """Images of one recipe: side and patch in pixels, images per batch."""

    side: int
    patch: int
    batch: int


SETTINGS = {
    "CIFAR, SVHN: 32/4": Setting(32, 4, 256),
    "Tiny-ImageNet: 64/8": Setting(64, 8, 128),
    "ImageNet-100: 224/32": Setting(224, 32, 32),
    "224/16": Setting(224, 16, 32),
}


class PlainForm:
    """One image, patch by patch."""

    def __init__(self, patch: int) -> None:
        jitter = transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)
        self.patch = patch
        self.augment = transforms.Compose(
            [
                transforms.RandomCrop(patch_window(patch, "random").side),
                transforms.Resize(patch, antialias=False),
                transforms.RandomApply([jitter], p=0.8),
                transforms.RandomGrayscale(p=0.2),
            ]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """The augmented image ``(3, H, W)``."""
        patches = [self.augment(patch) for patch in split_patches(image[None], self.patch)[0]]
        return merge_patches(torch.stack(patches)[None], image.shape[1] // self.patch)[0]


class BatchForm:
    """What the loader draws, and what the device does with it."""

    def __init__(self, setting: Setting, device: str) -> None:
        self.setting = setting
        self.device = device
        self.draw = DrawPatchAugmentation(setting.patch)
        self.view = np.zeros((3, setting.side, setting.side), np.uint8)
        self.preprocessor = PatchAugmentingPreprocessor().to(device)

    def load(self, epoch: int) -> Batch:
        """The numbers of one batch."""
        return default_collate([self._sample(epoch, i) for i in range(self.setting.batch)])

    def _sample(self, epoch: int, index: int) -> Batch:
        results = {"views": [self.view], "num_global": 1, "key": SampleKey(0, epoch, index)}
        results = self.draw(results)
        return {k: torch.from_numpy(v) for k, v in results.items() if k.startswith("patch")}

    def augment(self, images: Tensor, batch: Batch) -> Tensor:
        """The augmented images ``(B, 3, H, W)``."""
        return self.preprocessor.augment_patches(images, self.setting.patch, batch)


def measure(setting: Setting, rounds: int, plain_images: int, device: str) -> dict[str, Any]:
    """Both forms in turns: the quickest round's seconds per image, and statistics of all patches."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(setting.batch, 3, setting.side, setting.side, generator=rng)
    torch.manual_seed(0)
    plain, ours = PlainForm(setting.patch), BatchForm(setting, device)
    on_device = images.to(device)
    seconds: dict[str, list[float]] = {"plain": [], "loader": [], "device": []}
    seen: dict[str, list[Tensor]] = {"plain": [], "mmrel": []}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(rounds):
        start = time.process_time()
        direct = torch.stack([plain(image) for image in images[:plain_images]])
        seconds["plain"].append((time.process_time() - start) / plain_images)
        start = time.process_time()
        batch = ours.load(turn)
        seconds["loader"].append((time.process_time() - start) / setting.batch)
        wait(device)
        start = clock()
        result = ours.augment(on_device, batch)
        wait(device)
        seconds["device"].append((clock() - start) / setting.batch)
        seen["plain"].append(statistics(direct, setting.patch))
        seen["mmrel"].append(statistics(result[:plain_images].cpu(), setting.patch))
    return {
        **{name: min(values) for name, values in seconds.items()},
        "distances": compare({name: torch.cat(values) for name, values in seen.items()}),
    }


def statistics(images: Tensor, size: int) -> Tensor:
    """Of each patch, ``(patches, 5)``: mean, spread, colourfulness, share of values in [0, 1], upper left value."""
    patches = split_patches(images, size).flatten(0, 1)
    flat = patches.flatten(1)
    return torch.stack(
        [
            flat.mean(1),
            flat.std(1),
            patches.std(dim=1).mean(dim=(1, 2)),
            ((flat >= 0) & (flat <= 1)).float().mean(1),
            flat[:, 0],
        ],
        dim=1,
    )


def compare(seen: dict[str, Tensor]) -> list[float]:
    """Kolmogorov-Smirnov distances of both forms' statistics, times sqrt(n / 2).

    Raises:
        RuntimeError: one of them is significant, so that the timings mean nothing.
    """
    distances = []
    for plain, ours in zip(seen["plain"].unbind(1), seen["mmrel"].unbind(1), strict=True):
        points = torch.cat([plain, ours]).sort().values
        shares = [
            torch.searchsorted(values.sort().values, points, right=True) / len(values)
            for values in (plain, ours)
        ]
        distances.append(float((shares[0] - shares[1]).abs().max() * (len(plain) / 2) ** 0.5))
    if max(distances) > SIGNIFICANT:
        raise RuntimeError(f"the two forms have different distributions: {distances}")
    return distances


def report(name: str, found: dict[str, Any], device: str) -> dict[str, Any]:
    """Print one line; return it."""
    plain, loader, on_device = (found[key] for key in ("plain", "loader", "device"))
    total = loader + on_device
    row = {
        "plain_ms_per_image": 1e3 * plain,
        "loader_ms_per_image": 1e3 * loader,
        "device_ms_per_image": 1e3 * on_device,
        "plain_images_per_second_and_core": 1 / plain,
        "loader_images_per_second_and_core": 1 / loader,
        "ratio_of_loader": plain / loader,
        "ks_distances": found["distances"],
    }
    if device == "cpu":
        row["ratio_with_this_core_as_device"] = plain / total
    all_work = f"{plain / total:>8.1f}x" if device == "cpu" else f"{'-':>9}"
    print(
        f"{name:<22}{1e3 * plain:>9.2f}{1e3 * loader:>9.3f}{1e3 * on_device:>9.3f}"
        f"{plain / loader:>9.0f}x{all_work}"
    )
    return row


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="times that each form runs")
    parser.add_argument("--plain-images", type=int, default=8, help="images of the plain form")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{'ms/image':<22}{'plain':>9}{'loader':>9}{'device':>9}{'loader':>10}{'all work':>9}")
    rows = {
        name: report(name, measure(setting, args.rounds, args.plain_images, device), device)
        for name, setting in SETTINGS.items()
    }
    save_results("relvit_patch_augmentation", device, {"rows": rows, "rounds": args.rounds})


if __name__ == "__main__":
    main()
