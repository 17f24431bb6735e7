"""The OpenMMLab packages that mmrel plugs into: which versions, and how their configs are found.

The packages are looked up by import name, never by distribution name, because two families provide
them: the maintained ``onedl-*`` distributions and OpenMMLab's own. A version outside the known
range is warned about, not refused. Nothing here imports a host package before it is known to exist.
"""

import os
import re
import warnings
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.version import InvalidVersion, Version

IGNORE_VERSIONS = "MMREL_IGNORE_HOST_VERSIONS"
STOCK_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
"""The names of MMEngine's own default hooks, which every runner has."""


@dataclass(frozen=True)
class Host:
    """One host package: ``minimum <= version < below`` is the range that mmrel knows.

    ``minimum`` is the oldest version that is tested, OpenMMLab's own. ``onedl`` and ``openmmlab`` are the names of its
    distributions in the two families, the one to install first; ``extra`` brings onedl's.
    """

    module: str
    minimum: str
    below: str
    onedl: str
    openmmlab: tuple[str, ...]
    extra: str = "onedl"
    required: bool = True

    @property
    def distributions(self) -> tuple[str, ...]:
        """All names under which pip may know the package."""
        return (self.onedl, *self.openmmlab)


HOSTS = (
    Host("mmengine", "0.10.7", "1.0.0", "onedl-mmengine", ("mmengine",)),
    Host("mmcv", "2.1.0", "2.4.0", "onedl-mmcv", ("mmcv-lite", "mmcv")),
    Host("mmpretrain", "1.2.0", "2.0.0", "onedl-mmpretrain", ("mmpretrain",)),
    Host(
        "mmdet",
        "3.3.0",
        "4.0.0",
        "onedl-mmdetection",
        ("mmdet",),
        extra="onedl-detection",
        required=False,
    ),
    Host(
        "mmseg",
        "1.2.2",
        "2.0.0",
        "onedl-mmsegmentation",
        ("mmsegmentation",),
        extra="onedl-segmentation",
        required=False,
    ),
)


def check_hosts() -> None:
    """Fail readably where a required package is missing; warn about unknown versions and mixed families.

    Raises:
        ImportError: If mmengine, mmcv or mmpretrain cannot be imported.
    """
    for host in HOSTS:
        if host.required:
            require_host(host.module)
    if os.environ.get(IGNORE_VERSIONS, "0") not in ("", "0"):
        return
    for host in HOSTS:
        _warn_about_version(host)
        _warn_about_two_families(host)


def require_host(module: str) -> None:
    """Raise one readable error if a host package is not installed.

    Args:
        module (str): Import name: mmengine, mmcv, mmpretrain, mmdet or mmseg.

    Raises:
        ModuleNotFoundError: With the line for pip that brings the package, in the family that is installed.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(missing_host(module), name=module)


def missing_host(module: str) -> str:
    """Return the paragraph that tells how to install a missing host package."""
    host = next(host for host in HOSTS if host.module == module)
    needed = "by mmrel" if host.required else "by this configuration"
    own = f"`pip install '{host.openmmlab[0]}>={host.minimum},<{host.below}'`"
    told = f"The package {module!r} is needed {needed} and is not installed. "
    if installed_family() == "openmmlab":
        return (
            f"{told}You have OpenMMLab's own packages, so install it with {own}. Leave out "
            f"{host.onedl}: the two families share their import names and overwrite each other."
        )
    return (
        f"{told}Install it with `pip install 'mmrel[{host.extra}]'` (in a checkout: `make install` for "
        f"everything), which brings {host.onedl}. If you use OpenMMLab's own packages, {own} instead; "
        "the two families share their import names, so never install both."
    )


def installed_family() -> str | None:
    """Which family's packages are installed: 'onedl', 'openmmlab', or None if there are none.

    The first host that is found decides, so mmengine where it is there.
    """
    for host in HOSTS:
        if _distribution_version(host.onedl) is not None:
            return "onedl"
        if any(_distribution_version(name) is not None for name in host.openmmlab):
            return "openmmlab"
    return None


def register_config_prefixes() -> None:
    """Make ``mmrel::``, ``mmpretrain::``, ``mmdet::`` and ``mmseg::`` resolve in ``_base_``.

    MMEngine accepts only the prefixes of its table and takes the table's value for the name of an
    installed distribution. The value is replaced by the import name, which MMEngine accepts too,
    where no distribution of that name exists: so for mmseg, which the maintained stack calls
    ``onedl-mmsegmentation`` and MMEngine expects as ``mmsegmentation``. mmrel itself goes by the name of one of its
    modules: no distribution has it, so that MMEngine takes the folder of that module. For a distribution,
    OpenMMLab's MMEngine would look in site-packages, where an editable installation has no folder.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE["mmrel"] = "mmrel.version"
    for module in ("mmpretrain", "mmdet", "mmseg"):
        if _distribution_version(MODULE2PACKAGE.get(module, module)) is None:
            MODULE2PACKAGE[module] = module


def host_version(host: Host) -> Version | None:
    """Return a host's version without importing it; None if absent or unreadable."""
    spec = find_spec(host.module)
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin).parent / "version.py"
    stated = re.search(r"^__version__ *= *['\"]([^'\"]+)", _text(source), re.MULTILINE)
    candidates = [stated.group(1)] if stated else [*map(_distribution_version, host.distributions)]
    for candidate in filter(None, candidates):
        try:
            return Version(candidate)
        except InvalidVersion:
            continue
    return None


def _warn_about_version(host: Host) -> None:
    version = host_version(host)
    if version is None or Version(host.minimum) <= version < Version(host.below):
        return
    warnings.warn(
        f"{host.module} {version} is outside the range that mmrel knows, "
        f">={host.minimum},<{host.below}. It may work; if it does not, install a version inside "
        f"the range. Set {IGNORE_VERSIONS}=1 to silence this warning.",
        stacklevel=4,
    )


def _warn_about_two_families(host: Host) -> None:
    found = [name for name in host.distributions if _distribution_version(name) is not None]
    if len(found) < 2:
        return
    warnings.warn(
        f"{' and '.join(found)} are both installed and write the same folder {host.module}, so what is imported "
        f"may be a mixture. Remove them, `pip uninstall {' '.join(found)}`, and install the one that you want.",
        stacklevel=4,
    )


def _distribution_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
