"""The mutants still fit the sources; ``mutants.py`` runs the tests on them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant__changes_one_place_and_names_tests(mutant: Mutant) -> None:
    text = (ROOT / "mmrel" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert all((ROOT / "tests" / name).exists() for name in mutant.tests)
