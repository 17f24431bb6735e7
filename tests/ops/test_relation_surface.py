"""The fixed names and arguments of overlap, relation, distillation, contrast, corruption and schedules."""

import inspect

import pytest

from mmrel.ops import contrastive, corruption, distillation, overlap, relation, schedules

SURFACE = {
    overlap.overlap_lattice: "query_boxes, key_boxes, side",
    overlap.sample_tokens: "tokens, lattice, grid",
    relation.spatial_relation: "tokens, num_heads",
    relation.channel_relation: "tokens",
    relation.spatial_relation_loss: (
        "student, teacher, student_lattice, teacher_lattice, num_heads, student_grid, teacher_grid, "
        "teacher_temperature=0.5, student_temperature=1.0"
    ),
    relation.channel_relation_loss: (
        "student, teacher, teacher_temperature=0.1, student_temperature=1.0"
    ),
    distillation.soft_cross_entropy: (
        "student_logits, teacher_logits, student_temperature, teacher_temperature, center"
    ),
    contrastive.info_nce: "query, key, temperature, offset=0",
    corruption.group_mask: "height, width, area, align, rng, block=0.3",
    schedules.cosine_schedule: ("step, total_steps, start, end, warmup_steps=0, warmup_start=0.0"),
}


@pytest.mark.parametrize("function", SURFACE, ids=lambda f: f.__name__)
def test_signature__is_the_designed_one(function: object) -> None:
    parameters = inspect.signature(function).parameters.values()
    written = ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)
    assert written == SURFACE[function]
