"""What an installation promises: a light import, config prefixes, readable errors, a full wheel."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from packaging.version import Version

import mmrel
from mmrel.utils import hosts

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_import__is_light_and_works_without_mmdet_and_mmseg() -> None:
    heavy = ["torch", "torchvision", "mmcv", "mmpretrain", "mmdet", "mmseg", "mmrel.models"]
    code = (
        "import sys, json; sys.modules['mmdet'] = sys.modules['mmseg'] = None; import mmrel; "
        f"print(json.dumps([name for name in {heavy} if sys.modules.get(name)]))"
    )
    result = python(code)
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    assert not set(loaded) - {"torch"}


def test_tools__find_mistakes_before_torch_is_imported() -> None:
    code = "import sys, mmrel.utils.config, mmrel.launch.options; assert 'torch' not in sys.modules"
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["mmengine", "mmcv", "mmpretrain"])
def test_import__without_required_host__one_readable_error(module: str) -> None:
    result = python(f"import sys; sys.modules[{module!r}] = None; import mmrel")
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: The package")
    assert repr(module) in last
    line = "mmrel[onedl]'" if hosts.installed_family() == "onedl" else f"{module}"
    assert f"pip install '{line}" in last


@pytest.mark.parametrize(
    ("version", "warns"), [("0.10.6", True), ("0.10.7", False), ("0.99", False), ("1.0.0", True)]
)
def test_check_hosts__warns_outside_the_known_range(
    version: str, warns: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(hosts, "HOSTS", hosts.HOSTS[:1])
    monkeypatch.setattr(hosts, "host_version", lambda host: Version(version))
    hosts.check_hosts()
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == int(warns)
    assert all(f"mmengine {version} is outside" in message for message in messages)
    monkeypatch.setenv(hosts.IGNORE_VERSIONS, "1")
    recwarn.clear()
    hosts.check_hosts()
    assert not list(recwarn)


def test_host_version__read_without_import() -> None:
    for host in hosts.HOSTS[:3]:
        assert hosts.host_version(host) == Version(__import__(host.module).__version__)


@pytest.mark.parametrize(
    ("base", "key"),
    [
        ("mmpretrain::_base_/schedules/imagenet_bs256.py", "optim_wrapper"),
        ("mmdet::_base_/schedules/schedule_1x.py", "optim_wrapper"),
        ("mmseg::_base_/schedules/schedule_160k.py", "optim_wrapper"),
        ("mmrel::_base_/default_runtime.py", "custom_imports"),
    ],
)
def test_config_prefix__resolves(base: str, key: str) -> None:
    prefix = base.partition("::")[0]
    pytest.importorskip(prefix)
    if prefix == "mmrel" and not (Path(mmrel.__file__).parent / ".mim" / "configs").exists():
        pytest.skip("mmrel is not installed, so it has no .mim folder")
    assert key in Config.fromstring(f"_base_ = {base!r}", ".py")


def test_config_prefix__distribution_name_kept_where_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODULE2PACKAGE, "mmseg", "mmsegmentation")
    monkeypatch.setattr(hosts, "_distribution_version", lambda name: "1.2.2")
    hosts.register_config_prefixes()
    assert MODULE2PACKAGE["mmseg"] == "mmsegmentation"


def test_plugin_base__makes_prefixes_resolve_before_mmrel_is_imported(tmp_path: Path) -> None:
    pytest.importorskip("mmseg")
    config = tmp_path / "config.py"
    plugin = ROOT / "configs" / "_base_" / "plugin.py"
    relative = os.path.relpath(plugin, tmp_path)
    bases = [relative, "mmseg::_base_/schedules/schedule_160k.py"]
    config.write_text(f"_base_ = {bases!r}\n")
    code = (
        "import sys; from mmengine.config import Config; assert 'mmrel' not in sys.modules; "
        f"cfg = Config.fromfile({str(config)!r}); assert 'optim_wrapper' in cfg; "
        "assert '__import__' not in cfg.pretty_text"
    )
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_docs__a_config_on_top_of_a_recipe_reads_before_mmrel_is_imported(tmp_path: Path) -> None:
    """The two files in docs/downstream.md, word for word, as another library's tool reads them."""
    pytest.importorskip("mmdet")
    text = (ROOT / "docs" / "downstream.md").read_text()
    for name, block in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(block)
    code = (
        "import sys; from mmengine.config import Config; assert 'mmrel' not in sys.modules; "
        f"cfg = Config.fromfile({str(tmp_path / 'my_config.py')!r}); "
        "print(cfg.model.backbone.type, cfg.train_dataloader.batch_size)"
    )
    result = python(code)
    assert result.stdout == "mmrel.DenseViT 4\n", result.stderr


def test_require_host__names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmdet", None)
    monkeypatch.setattr(hosts, "installed_family", lambda: "onedl")
    with pytest.raises(
        ModuleNotFoundError, match=r"'mmdet'.*mmrel\[onedl-detection\].*onedl-mmdetection"
    ):
        hosts.require_host("mmdet")


def test_version__is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {mmrel.__version__}\n" in citation
    assert f"## {mmrel.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_model_index__lists_every_metafile_and_their_configs_exist() -> None:
    lines = (ROOT / "model-index.yml").read_text().splitlines()
    listed = {line.split("- ")[1] for line in lines if line.strip().startswith("- ")}
    present = {str(path.relative_to(ROOT)) for path in ROOT.glob("configs/*/metafile.yml")}
    assert listed == present
    for metafile in present:
        for config in re.findall(r"Config: (\S+)", (ROOT / metafile).read_text()):
            assert (ROOT / config).is_file(), f"{metafile} names {config}"


def test_constraints__pin_torch_and_torchvision_together() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==\d", text, re.MULTILINE)
    assert re.search(r"^torchvision==\d", text, re.MULTILINE)


def test_build_py__puts_configs_and_tools_into_mim(tmp_path: Path) -> None:
    """The fast twin of the wheel test: setuptools' build step alone."""
    code = "import sys; sys.argv = ['setup.py', '-q', 'build_py', '-d', sys.argv[1]]; exec(open('setup.py').read())"
    command = [sys.executable, "-c", "__file__ = 'setup.py'; " + code, str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120, capture_output=True)
    assert (tmp_path / "mmrel" / ".mim" / "tools" / "train.py").is_file()
    assert (tmp_path / "mmrel" / ".mim" / "configs" / "_base_" / "default_runtime.py").is_file()
    assert (tmp_path / "mmrel" / ".mim" / "model-index.yml").is_file()
    assert (tmp_path / "mmrel" / "py.typed").is_file()


def test_sdist__holds_docs_tests_and_what_builds_them(tmp_path: Path) -> None:
    """What a packager needs, and nothing that was built."""
    code = "import sys; sys.argv = ['setup.py', '-q', 'egg_info', '-e', sys.argv[1], 'sdist', '-d', sys.argv[1]]; "
    command = [sys.executable, "-c", code + "__file__ = 'setup.py'; exec(open(__file__).read())"]
    subprocess.run([*command, str(tmp_path)], check=True, cwd=ROOT, timeout=120)
    (file,) = tmp_path.glob("mmrel-*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "constraints-openmmlab.txt", "CONTRIBUTING.md"} <= names
    assert {"docs/conf.py", "docs/index.md", "docs/images/attention.png"} <= names
    assert {"tests/conftest.py", "tests/reference/relation.py", "benchmarks/step.py"} <= names
    assert {"configs/_base_/default_runtime.py", "tools/dist_train.sh", "mmrel/py.typed"} <= names
    built = ("docs/_build", "docs/generated")
    assert not [name for name in names if name.startswith(built) or name.endswith(".pyc")]


def test_packages__have_an_init_file_each() -> None:
    """A folder without one would be left out of the wheel."""
    folders = {path.parent for path in (ROOT / "mmrel").rglob("*.py") if ".mim" not in path.parts}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.slow
def test_wheel__holds_configs_and_tools_and_resolves_its_prefix(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("mmrel-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert "mmrel/.mim/configs/_base_/default_runtime.py" in names
    assert "mmrel/.mim/tools/dist_train.sh" in names
    assert not [name for name in names if name.startswith(("tests/", "configs/", "tools/"))]
    code = (
        "import mmrel, mmengine; assert 'site' in mmrel.__file__; "
        "text = '_base_ = \"mmrel::_base_/default_runtime.py\"'; "
        "assert mmengine.Config.fromstring(text, '.py').default_scope == 'mmpretrain'"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run(command, check=True, timeout=120, cwd=tmp_path, env=environment)
