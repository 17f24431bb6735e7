"""For the runs of the engine's tests."""

from collections.abc import Iterator

import pytest
from mmengine.config import config
from yapf.yapflib import yapf_api


def unformatted(text: str, **options: object) -> tuple[str, bool]:
    """In place of yapf's ``FormatCode``."""
    return text, True


@pytest.fixture(scope="module", autouse=True)
def _plain_config_text() -> Iterator[None]:
    """Leave a configuration's text unformatted: MMEngine formats it at every start and save, for up to a second."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (config, yapf_api):  # where the one family of MMEngine has it, and the other
            patch.setattr(module, "FormatCode", unformatted, raising=False)
        yield
