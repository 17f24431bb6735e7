"""What one environment lends to another: links to files, in folders of its own."""

import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import link_distributions


def test_pinned__names_of_constraints(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("# numpy==1\nOpenCV_python==4.11\nsetuptools<81\n\n")
    assert link_distributions.pinned(path) == ["opencv-python", "setuptools"]


def test_link__files_in_real_folders_and_no_scripts(tmp_path: Path) -> None:
    lender = tmp_path / "lib" / "site-packages"
    package, metadata = lender / "thing", lender / "thing-1.0.dist-info"
    for folder in (package, metadata, tmp_path / "bin"):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("value = 1\n")
    (tmp_path / "bin" / "thing").write_text("#!/usr/bin/python\n")
    (metadata / "RECORD").write_text(
        "thing/__init__.py,,\nthing/gone.py,,\nthing-1.0.dist-info/RECORD,,\n../../bin/thing,,\n"
    )
    borrower = tmp_path / "other"
    assert link_distributions.link(PathDistribution(metadata), borrower) == 2
    assert not (borrower / "thing").is_symlink()
    assert (borrower / "thing" / "__init__.py").resolve() == package / "__init__.py"
    assert not (tmp_path / "bin" / "thing").is_symlink()
    (borrower / "thing" / "__init__.py").unlink()
    (borrower / "thing" / "__init__.py").write_text("own = 2\n")
    assert link_distributions.link(PathDistribution(metadata), borrower) == 0
    assert (package / "__init__.py").read_text() == "value = 1\n"


def test_site_packages__of_this_python(tmp_path: Path) -> None:
    expected = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    assert link_distributions.site_packages(Path(sys.prefix)) == expected
    assert expected.is_dir()
