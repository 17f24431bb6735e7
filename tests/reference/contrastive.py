"""InfoNCE, one query and one key at a time."""

import torch
from torch import Tensor


def info_nce(query: Tensor, key: Tensor, temperature: float, offset: int = 0) -> Tensor:
    """One direction, times twice the temperature; query i belongs to key ``i + offset``."""
    total = query.new_zeros(())
    for i, q in enumerate(query):
        similarities = [(q / q.norm()) @ (k / k.norm()) / temperature for k in key]
        partition = sum(torch.exp(s) for s in similarities)
        total = total - torch.log(torch.exp(similarities[i + offset]) / partition)
    return 2 * temperature * total / len(query)


def contrastive_loss(
    student: Tensor, teacher: Tensor, num_views: int, temperature: float
) -> Tensor:
    """The sum over all ordered pairs of different views; features ``(V*B, D)`` are view-major."""
    batch = len(student) // num_views
    total = student.new_zeros(())
    for q in range(num_views):
        for v in range(num_views):
            if q != v:
                total = total + info_nce(
                    student[v * batch : (v + 1) * batch],
                    teacher[q * batch : (q + 1) * batch],
                    temperature,
                )
    return total
