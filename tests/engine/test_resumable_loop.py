"""The epoch loop tells the sampler which epoch it is."""

from pathlib import Path

import engine_toys
import pytest
import torch


@pytest.mark.parametrize("sampler", ["ToyKeyedSampler", "mmrel.KeyedSampler"])
def test_loop__every_epoch_has_its_own_order_of_all_samples(tmp_path: Path, sampler: str) -> None:
    config = engine_toys.config(tmp_path)
    config["default_hooks"]["sampler_seed"] = None  # MMEngine's hook would tell the sampler as well
    config["train_dataloader"]["sampler"]["type"] = sampler
    runner = engine_toys.build(config)
    runner.train()
    batches = engine_toys.trace(runner).samples
    epochs = [sum(batches[start : start + 6], ()) for start in (0, 6, 12)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len(set(epochs)) == 3


@pytest.mark.parametrize("fault", ["shape", "missing", "unexpected"])
def test_resume__a_checkpoint_of_another_model_is_refused(tmp_path: Path, fault: str) -> None:
    """MMEngine alone would log the difference and train on with fresh weights."""
    engine_toys.runner(tmp_path).train()
    path = tmp_path / "iter_18.pth"
    checkpoint = torch.load(path, weights_only=True)
    weights = checkpoint["state_dict"]
    if fault == "unexpected":
        weights["more"] = torch.zeros(1)
    else:
        bias = weights.pop("last_layer.bias")
        weights |= {"last_layer.bias": bias[:-1]} if fault == "shape" else {}
    torch.save(checkpoint, path)
    named = "more" if fault == "unexpected" else "last_layer.bias"
    counts = {"shape": "1 of another shape", "missing": "1 keys missing"}
    with pytest.raises(ValueError, match=counts.get(fault, "1 unexpected")) as error:
        engine_toys.runner(tmp_path, resume=True).train()
    assert named in str(error.value)
