"""The epoch loop tells the sampler which epoch it is."""

from pathlib import Path

import engine_toys
import pytest


@pytest.mark.parametrize("sampler", ["ToyKeyedSampler", "mmrel.KeyedSampler"])
def test_loop__every_epoch_has_its_own_order_of_all_samples(tmp_path: Path, sampler: str) -> None:
    config = engine_toys.config(tmp_path)
    config["train_dataloader"]["sampler"]["type"] = sampler
    runner = engine_toys.build(config)
    runner.train()
    batches = engine_toys.trace(runner).samples
    epochs = [sum(batches[start : start + 6], ()) for start in (0, 6, 12)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len(set(epochs)) == 3
