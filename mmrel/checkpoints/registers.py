"""Positions of class and register tokens in timm's networks with register tokens, as mmrel's ViT has them, and back.

DINOv2's code adds a position to the class token and none to the registers (arXiv 2309.16588), and so does mmrel's ViT.
timm adds none to either where it says ``no_embed_class``, as in its copy of DINOv2's weights, where the class token
already holds its position; otherwise it adds one to both. What is added to a token that never changes can be part of
it, so that all three are the same network.
"""

from math import isqrt

import torch

from mmrel.checkpoints.rules import State

REGISTERS, POSITIONS, CLASS = "register_tokens", "pos_embed", "cls_token"


def positions_with_class(state: State) -> State:
    """timm's tensors under mmrel's names: a position of the class token, if there is one, and none of registers."""
    position, registers = state.get(POSITIONS), state.get(REGISTERS)
    if position is None or registers is None or position.ndim != 3 or registers.ndim != 3:
        return state
    extra, count = int(CLASS in state), registers.shape[1]
    length = position.shape[1]
    if _is_square(length):
        zero = torch.zeros_like(position[:, :extra])
        return {**state, POSITIONS: torch.cat([zero, position], dim=1)}
    if _is_square(length - extra - count):
        first, own, rest = position.split((extra, count, length - extra - count), dim=1)
        return {**state, REGISTERS: registers + own, POSITIONS: torch.cat([first, rest], dim=1)}
    return state  # no square grid: the check of the positions asks for the size of the image


def positions_without_class(state: State) -> State:
    """The reverse for timm's copy of DINOv2 with registers: the class token's position becomes part of the token."""
    if REGISTERS not in state or CLASS not in state:
        return state
    first, rest = state[POSITIONS][:, :1], state[POSITIONS][:, 1:]
    return {**state, CLASS: state[CLASS] + first, POSITIONS: rest.contiguous()}


def _is_square(number: int) -> bool:
    return number > 0 and isqrt(number) ** 2 == number
