"""What looks at a model leaves it as it was: parameters, buffers, modes, pending centres and random generators.

The k-NN hook has its own such test.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from mmengine.evaluator import Evaluator
from test_reconstruction_figure import views as corrupted_views
from test_relation_maps import MEAN, STD
from test_relation_maps import images as pictures

from mmrel.evaluation import HeldOutLoss
from mmrel.structures import ViewBatch
from mmrel.visualization.attention import attention_maps
from mmrel.visualization.correspondence import crop_matches
from mmrel.visualization.patch_similarity import patch_similarity
from mmrel.visualization.pca import patch_colors
from mmrel.visualization.reconstruction import reconstruct
from mmrel.visualization.relation_maps import cut_views, relation_maps

DROP = dict(drop_path_rate=0.5)


def snapshot(model: Any) -> dict[str, Any]:
    """Everything that the next training step depends on."""
    centers = [m for m in model.modules() if hasattr(m, "_pending")]
    return {
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "trained": [p.requires_grad for p in model.parameters()],
        "pending": [len(center._pending) for center in centers],
        "torch": torch.get_rng_state(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
    }


def held_out_loss(model: Any) -> None:
    """The loss of a batch that is not trained on, as an evaluation asks for it."""
    model.eval()
    views = tiny.view_batch(num_local=3 if model.local_crops else 0)
    with torch.no_grad():
        model(views, mode="loss")
    model.train()


def loss_without_gradients(model: Any) -> None:
    with torch.no_grad():
        model(tiny.view_batch(), mode="loss")


def predict(model: Any) -> None:
    model.eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = ViewBatch(images, None, None, None, num_global=1, num_local=0)
    with torch.no_grad():
        Evaluator(HeldOutLoss()).process(model(batch, mode="predict"))
    model.train()


def similarity(model: Any) -> None:
    images = torch.zeros(2, 3, 16, 16)
    patch_similarity(model, images, [(0.1, 0.1), (0.6, 0.6)])


def similarity_of_backbone(model: Any) -> None:
    patch_similarity(model.backbone, torch.zeros(2, 3, 16, 16), [(0.1, 0.1), (0.6, 0.6)])


def pictures_of_backbone(model: Any) -> None:
    image = pictures()[0]
    attention_maps(model.backbone, image, size=16)
    patch_colors(model.backbone, [image], size=16)
    crop_matches(model.backbone, image, size=16)


def maps(model: Any) -> None:
    relation_maps(model, cut_views(pictures(), tiny.GLOBAL), MEAN, STD)


def restored(model: Any) -> None:
    reconstruct(model, corrupted_views())


@pytest.mark.parametrize(
    ("config", "look"),
    [
        (tiny.dino(**DROP), held_out_loss),
        (tiny.ibot(**DROP), held_out_loss),
        (tiny.selfpatch(), held_out_loss),
        (tiny.mocov3(**DROP), held_out_loss),
        (tiny.sere(), held_out_loss),
        (tiny.dino(), loss_without_gradients),
        (tiny.relvit(**DROP), predict),
        (tiny.dino(**DROP), similarity),
        (tiny.selfpatch(), similarity),
        (tiny.dino(**DROP), similarity_of_backbone),
        (tiny.dino(**DROP), pictures_of_backbone),
        (tiny.sere(), maps),
        (tiny.sit(**DROP), restored),
    ],
    ids=lambda value: value.__name__ if callable(value) else value["type"],
)
def test_looking__changes_nothing(config: dict[str, Any], look: Callable[[Any], None]) -> None:
    model: Any = tiny.build(config)
    model.backbone.layers[0].eval()  # a mode of its own
    if look in (held_out_loss, predict):
        model.train()
    before = snapshot(model)
    look(model)
    after = snapshot(model)
    for name, value in before.pop("state").items():
        assert torch.equal(after["state"][name], value), name
    assert torch.equal(before.pop("torch"), after["torch"])
    assert before == {name: after[name] for name in before}
