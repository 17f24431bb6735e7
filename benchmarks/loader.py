"""Images per second and core: mmrel's loader against a plain torchvision / Pillow pipeline.

The plain pipeline is what the multi-crop recipes do per sample: decode, 2 + 10 random resized
crops, flip, colour jitter, grey, blur, solarisation, tensor and normalisation for every crop, and
SERE's 4 + 4 L overlap lattices. mmrel's loader decodes and crops; colours and lattices are work of
the device, whose cost is printed beside it.

Command: ``python benchmarks/loader.py`` (one process, one thread).
Expected: exact at least 4.5 times, fast at least 11 times the plain pipeline.
"""

import argparse
import io
import json
import os
import platform
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import default_collate
from torchvision import transforms

from mmrel.datasets import DecodeImage, DrawColorAugmentation, MultiCrop, PackViews
from mmrel.datasets.transforms.jpeg_decoder import jpeg_decoder
from mmrel.models.data_preprocessors import ViewPreprocessor
from mmrel.structures import SampleKey

Box = tuple[int, int, int, int, int]
Pipeline = Callable[[str, int], Any]
GLOBAL_SCALE, LOCAL_SCALE = (0.4, 1.0), (0.05, 0.4)
GLOBAL_SIDE, LOCAL_SIDE = 13, 6


class RandomBlur:
    """PIL's Gaussian blur with a random radius."""

    def __init__(self, chance: float) -> None:
        self.chance = chance

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blur, or not."""
        if random.random() > self.chance:
            return image
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


class PlainCrop:
    """One crop with its box and all colour operations, by torchvision on PIL images."""

    def __init__(self, size: int, scale: tuple[float, float], blur: float, solarize: float) -> None:
        self.size = size
        self.scale = scale
        jitter = transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)
        steps: list[Any] = [
            transforms.RandomApply([jitter], p=0.8),
            transforms.RandomGrayscale(p=0.2),
        ]
        if blur:
            steps.append(RandomBlur(blur))
        if solarize:
            steps.append(transforms.RandomSolarize(128, p=solarize))
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        steps += [transforms.ToTensor(), transforms.Normalize(mean, std)]
        self.colors = transforms.Compose(steps)

    def __call__(self, image: Image.Image) -> tuple[Tensor, Box]:
        """The crop ``(3, size, size)`` and its box."""
        y, x, h, w = transforms.RandomResizedCrop.get_params(image, self.scale, (3 / 4, 4 / 3))
        bicubic = transforms.InterpolationMode.BICUBIC
        crop = transforms.functional.resized_crop(image, y, x, h, w, (self.size,) * 2, bicubic)
        flip = int(random.random() < 0.5)
        if flip:
            crop = transforms.functional.hflip(crop)
        return self.colors(crop), (x, y, w, h, flip)


def lattice(box: Box, overlap: tuple[int, int, int, int], side: int) -> Tensor:
    """One view's lattice ``(side, side, 2)`` over the overlap (left, top, right, bottom)."""
    x, y, w, h, flip = box
    left, top, right, bottom = overlap
    if not (left < right and top < bottom):
        return torch.full((side, side, 2), -2.0)
    columns = (torch.linspace(left, right, side) - x) / w
    rows = (torch.linspace(top, bottom, side) - y) / h
    if flip:
        columns = 1 - columns
    grid_y, grid_x = torch.meshgrid(2 * rows - 1, 2 * columns - 1, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1)


def lattice_pair(query: Box, key: Box, side: int) -> tuple[Tensor, Tensor]:
    """The lattices of two views over what both show."""
    overlap = (
        max(query[0], key[0]),
        max(query[1], key[1]),
        min(query[0] + query[2], key[0] + key[2]),
        min(query[1] + query[3], key[1] + key[3]),
    )
    return lattice(query, overlap, side), lattice(key, overlap, side)


class PlainPipeline:
    """All crops and lattices of one file, in the ordinary way."""

    def __init__(self, num_local: int) -> None:
        self.crops = [
            PlainCrop(224, GLOBAL_SCALE, blur=1.0, solarize=0.0),
            PlainCrop(224, GLOBAL_SCALE, blur=0.1, solarize=0.2),
            *[PlainCrop(96, LOCAL_SCALE, blur=0.5, solarize=0.0)] * num_local,
        ]

    def __call__(self, path: str, index: int) -> Any:
        """Crops and lattices."""
        with Image.open(path) as image:
            image = image.convert("RGB")
        views, boxes = zip(*(crop(image) for crop in self.crops), strict=True)
        lattices = [lattice_pair(boxes[0], boxes[1], GLOBAL_SIDE) for _axis in range(2)]
        lattices += [
            lattice_pair(boxes[q], local, LOCAL_SIDE) for q in range(2) for local in boxes[2:]
        ]
        return views, lattices


class MmrelPipeline:
    """mmrel's transforms on one file."""

    def __init__(self, mode: str, num_local: int) -> None:
        self.steps: list[Any] = [
            DecodeImage(mode=mode),
            MultiCrop(
                global_scale=GLOBAL_SCALE, local_scale=LOCAL_SCALE, num_local=num_local, mode=mode
            ),
            DrawColorAugmentation(),
            PackViews(patch_size=16),
        ]

    def __call__(self, path: str, index: int) -> Any:
        """One packed sample."""
        results: dict[str, Any] = {"img_path": path, "key": SampleKey(0, 0, index)}
        for step in self.steps:
            results = step(results)
        return results


def write_images(folder: Path, count: int) -> list[str]:
    """Synthetic photographs of 500 x 375: smooth shapes, fine noise, JPEG quality 90, 75 kB."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        coarse = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(smooth + rng.normal(0, 10, smooth.shape), 0, 255).astype(np.uint8)
        path = folder / f"{i:04d}.jpg"
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        path.write_bytes(buffer.getvalue())
        paths.append(str(path))
    return paths


def seconds_per_image(
    pipelines: dict[str, Pipeline], paths: list[str], rounds: int
) -> dict[str, list[float]]:
    """CPU seconds of each image in each pipeline: the lowest of all rounds, which take turns.

    CPU time of this one thread is what "per core" means. The work on an image is the same in each
    round, so that its lowest time is that of an undisturbed core.
    """
    times = {name: [float("inf")] * len(paths) for name in pipelines}
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            for index, path in enumerate(paths):
                random.seed(index)
                torch.manual_seed(index)
                start = time.process_time()
                pipeline(path, index)
                times[name][index] = min(times[name][index], time.process_time() - start)
    return times


def device_seconds_per_image(pipeline: MmrelPipeline, paths: list[str], device: str) -> float:
    """Time per image of flips, colours and normalisation of a batch on the device."""
    preprocessor = ViewPreprocessor().to(device)
    batch = default_collate([pipeline(path, i) for i, path in enumerate(paths)])
    clock = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for _ in range(5):
        start = clock()
        preprocessor(batch, training=True)
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times) / len(paths)


def processor_name() -> str:
    """The CPU's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def decoder_name() -> str:
    """What decodes JPEG files in mmrel's pipelines."""
    found = jpeg_decoder()
    return "Pillow" if found is None else found.name


def commit_id() -> str:
    """Commit of the checkout, or ``unknown``."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def report(
    times: dict[str, list[float]], device: str, on_device: float, args: argparse.Namespace
) -> dict[str, Any]:
    """Print the table; return it with what identifies the run."""
    print(f"{'pipeline':<28}{'ms/image':>10}{'images/s':>10}{'ratio':>8}")
    plain = float(np.mean(times["plain"]))
    rows = {}
    for name, values in times.items():
        mean = float(np.mean(values))
        rows[name] = {
            "ms_per_image": 1e3 * mean,
            "quartiles_of_images_ms": [1e3 * float(q) for q in np.quantile(values, [0.25, 0.75])],
            "images_per_second": 1 / mean,
            "ratio": plain / mean,
        }
        print(f"{name:<28}{1e3 * mean:>10.2f}{1 / mean:>10.1f}{plain / mean:>7.1f}x")
    print(f"colours on {device}, in the main process: {1e3 * on_device:.2f} ms/image")
    print(f"JPEG files are decoded by {decoder_name()} in mmrel's pipelines")
    return {
        "rows": rows,
        "colors_ms_per_image": 1e3 * on_device,
        "device": torch.cuda.get_device_name() if device != "cpu" else processor_name(),
        "cpu": processor_name(),
        "decoder": decoder_name(),
        "pillow": PIL.__version__,
        "torch": torch.__version__,
        "commit": commit_id(),
        "crops": f"2x224 + {args.num_local}x96",
        "images": args.images,
        "rounds": args.rounds,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=24, help="number of synthetic images")
    parser.add_argument("--rounds", type=int, default=7, help="times that each pipeline runs")
    parser.add_argument("--num-local", type=int, default=10, help="local crops per image")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fast = MmrelPipeline("fast", args.num_local)
    pipelines: dict[str, Pipeline] = {
        "plain": PlainPipeline(args.num_local),
        "mmrel exact": MmrelPipeline("exact", args.num_local),
        "mmrel fast": fast,
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), args.images)
        times = seconds_per_image(pipelines, paths, args.rounds)
        on_device = device_seconds_per_image(fast, paths, device)
    result = report(times, device, on_device, args)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"loader_{device}.json"
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {os.path.relpath(file)}")


if __name__ == "__main__":
    main()
