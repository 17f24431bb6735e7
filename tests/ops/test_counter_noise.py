"""Normal numbers from seeds and counters."""

import torch

from mmrel.ops.counter_noise import counter_normal


def test_bits__are_splitmix64s() -> None:
    """The first outputs for seed 1234567, as computed with plain integers."""
    from mmrel.ops.counter_noise import GOLDEN, _mix, _signed

    def plain(state: int) -> int:
        mask = (1 << 64) - 1
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        return state ^ (state >> 31)

    states = [(1234567 + i * GOLDEN) % (1 << 64) for i in range(1, 6)]
    found = _mix(torch.tensor([_signed(state) for state in states]))
    assert [number % (1 << 64) for number in found.tolist()] == [plain(s) for s in states]
    assert plain(states[0]) == 6457827717110365317


def test_normal__distribution() -> None:
    numbers = counter_normal(torch.arange(20), 5000)
    assert numbers.dtype == torch.float32 and numbers.isfinite().all()
    count = numbers.numel()
    assert abs(float(numbers.mean())) < 4 / count**0.5
    assert abs(float(numbers.var()) - 1) < 4 * (2 / count) ** 0.5
    assert abs(float(numbers.pow(4).mean()) - 3) < 4 * (96 / count) ** 0.5
    ordered = numbers.flatten().double().sort().values
    share = torch.special.ndtr(ordered)
    distance = (share - torch.arange(1, count + 1) / count).abs().max()
    assert float(distance) * count**0.5 < 1.95
    neighbours = (numbers[:, 1:] * numbers[:, :-1]).mean(), (numbers[1:] * numbers[:-1]).mean()
    assert all(abs(float(c)) < 5 / count**0.5 for c in neighbours)


def test_normal__a_row_is_a_function_of_its_seed() -> None:
    seeds = torch.tensor([5, 1 << 61, 9])
    both = counter_normal(seeds, 40)
    assert torch.equal(both[1], counter_normal(seeds[1:2], 50)[0, :40])
    assert not torch.equal(both[0], both[2])
