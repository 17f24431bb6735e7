"""Randomness of a training step as a function of (seed, rank, iteration).

Stochastic depth is the one draw that is not keyed by the sample. Seeding torch's generators before each
iteration makes a resumed run draw what the uninterrupted one would have, without saving any generator
state, for any number of loader workers.
"""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrel.registry import HOOKS


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Seed Python's, NumPy's and torch's generators (CPU and CUDA, without a transfer)."""
    words = np.random.SeedSequence([seed, rank, iteration]).generate_state(2, np.uint64)
    # SeedSequence mixes, so that neighbouring iterations and ranks get unrelated streams; seed +
    # rank + iteration would give rank 1 at step 0 what rank 0 has at step 1. The shift: torch wants
    # less than 2**63.
    torch.manual_seed(int(words[0]) >> 1)
    random.seed(int(words[1]))
    np.random.seed(int(words[1]) & 0xFFFFFFFF)


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Calls ``seed_step`` before every training iteration; the seed is the runner's."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed this iteration."""
        seed_step(runner.seed, get_rank(), runner.iter)
