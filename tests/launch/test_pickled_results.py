"""What ranks exchange pickled is read by a process that loads checkpoints safely: tensors, and nothing that runs."""

import os
import pickle

import pytest
import torch

from mmrel.launch.safe_loading import load_safely, restore_loading


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_results__hold_tensors(dtype: torch.dtype) -> None:
    """As mmpretrain's ``Accuracy`` gives them to MMEngine, which collects them in pickle files."""
    values = torch.arange(12).reshape(3, 4).to(dtype)
    results = [dict(pred_score=values, part=values[1:, ::2]), dict(pred_score=values[0].clone())]
    load_safely()
    found = pickle.loads(pickle.dumps(results, protocol=2))
    assert torch.equal(found[0]["pred_score"], values) and found[0]["pred_score"].dtype == dtype
    assert torch.equal(found[0]["part"], values[1:, ::2])
    assert torch.equal(found[1]["pred_score"], values[0])
    restore_loading()
    assert torch.equal(pickle.loads(pickle.dumps(values)), values)


def test_storage__bytes_that_hold_something_else_are_refused() -> None:
    import io

    load_safely()
    for content in (dict(x=1), torch.ones(2, 2), os.getcwd):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=False)
        with pytest.raises(pickle.UnpicklingError):
            torch.storage._load_from_bytes(buffer.getvalue())
