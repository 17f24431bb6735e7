"""What a result was made on: processor, accelerator, and the versions of the packages."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmpretrain": ("onedl-mmpretrain", "mmpretrain"),
    "mmdetection": ("onedl-mmdetection", "mmdet"),
    "mmsegmentation": ("onedl-mmsegmentation", "mmsegmentation"),
}
"""Packages, and the distributions that may bring them."""


def machine() -> list[tuple[str, str]]:
    """Processor, accelerator and versions, as rows of a table."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return [
        ("processor", f"{processor()}, {os.cpu_count()} cores"),
        ("GPU", device),
        ("system", platform.platform()),
        *versions().items(),
    ]


def versions() -> dict[str, str]:
    """Versions of Python, mmrel and the installed packages that it stands on, by distribution."""
    from mmrel.version import __version__

    found = {"Python": platform.python_version(), "mmrel": __version__}
    for package, distributions in PACKAGES.items():
        installed = {name: text for name in distributions if (text := _version(name))}
        found |= installed or {package: "not installed as a package"}
    return found


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
