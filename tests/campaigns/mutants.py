"""Deliberate faults of the training path, each of which the tests must notice.

    python tests/campaigns/mutants.py                 # all of them, some ten minutes on one core
    python tests/campaigns/mutants.py --only "clip"   # those whose name contains the word

Every mutant replaces one piece of text in a copy of the sources and runs the test files that are responsible for it. A
mutant is killed if a test fails. One that survives marks a test that is missing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("mmrel", "tests", "tools", "configs", "benchmarks", "pyproject.toml", "setup.py")
HEAVY = ("mmpretrain", "torchvision")
"""Imported once, before the process forks for each mutant."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: what is wrong now.
        file: that is changed, below ``mmrel/``.
        old: text that stands in it exactly once.
        new: what takes its place.
        tests: files or folders below ``tests/`` that should notice.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """Change the file below ``root``; returns what it held before."""
        path = root / "mmrel" / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise LookupError(
                f"{self.name}: {self.old!r} stands {text.count(self.old)} times in mmrel/{self.file}, wanted once"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        return text


MUTANTS = (
    # Randomness and the order of the data.
    Mutant(
        "the step's seed is the same at every iteration",
        "engine/hooks/step_seed.py",
        "[seed, rank, iteration]",
        "[seed, rank, 0]",
        ("engine/test_hooks.py", "engine/test_resume.py"),
    ),
    Mutant(
        "all ranks draw the same stochastic depth",
        "engine/hooks/step_seed.py",
        "[seed, rank, iteration]",
        "[seed, 0, iteration]",
        ("engine/test_hooks.py",),
    ),
    Mutant(
        "every epoch shows the same crops",
        "datasets/samplers.py",
        "SampleKey(seed, epoch, index)",
        "SampleKey(seed, 0, index)",
        ("datasets/test_keyed_sampler.py",),
    ),
    Mutant(
        "a resumed epoch begins at its first sample",
        "datasets/samplers.py",
        "islice(super().__iter__(), skipped, None)",
        "islice(super().__iter__(), 0, None)",
        ("datasets/test_keyed_sampler.py",),
    ),
    Mutant(
        "masks and crops share one random stream",
        "datasets/transforms/random_keys.py",
        "[0, 0, 0, int(purpose)]",
        "[0, 0, 0, 1]",
        ("datasets/test_view_transforms.py", "datasets/test_multi_crop.py"),
    ),
    Mutant(
        "exact crops round half down",
        "datasets/transforms/resample.py",
        "low.floor_().numpy(), LOW_UNIT, LOW_UNIT / 2",
        "low.floor_().numpy(), LOW_UNIT, -LOW_UNIT / 2",
        ("datasets/test_resample.py",),
    ),
    Mutant(
        "a decoder counts as Pillow's equal unseen",
        "datasets/transforms/jpeg_decoder.py",
        "if not _same_pixels(decode, stream):",
        "if decode is None:",
        ("datasets/test_jpeg_decoder.py",),
    ),
    Mutant(
        "the replacement of an unreadable file depends on nothing but its index",
        "datasets/image_folder.py",
        "sample_generator(key, Purpose.REPLACEMENT)",
        "sample_generator(SampleKey(0, 0, key.index), Purpose.REPLACEMENT)",
        ("datasets/test_image_folder.py",),
    ),
    Mutant(
        "every epoch shows the same part of a root",
        "datasets/sources/joined.py",
        "_turn(epoch * places + place, count, places)",
        "_turn(place, count, places)",
        ("datasets/test_source_choices.py",),
    ),
    Mutant(
        "damage inside a zip archive goes unnoticed",
        "datasets/sources/archive.py",
        'if zlib.crc32(data) != int(record["crc"]):',
        "if data is None:",
        ("datasets/test_archive_sources.py",),
    ),
    Mutant(
        "the epoch's number does not reach the sampler",
        "engine/loops/resumable_epoch_loop.py",
        "sampler.set_epoch(self._epoch)",
        "sampler.set_epoch(0)",
        ("engine/test_resumable_loop.py",),
    ),
    # Crops, masks, colours.
    Mutant(
        "flips are drawn but not carried out",
        "models/data_preprocessors/view_preprocessor.py",
        "rows[:, -1] > 0",
        "rows[:, -1] > 1",
        ("models/test_view_preprocessor.py",),
    ),
    Mutant(
        "crops are image-major instead of view-major",
        "models/data_preprocessors/view_preprocessor.py",
        "tensor.transpose(0, 1).flatten(0, 1)",
        "tensor.flatten(0, 1)",
        ("models/test_view_preprocessor.py",),
    ),
    Mutant(
        "hidden patches of a crop weigh 1 each",
        "models/data_preprocessors/view_preprocessor.py",
        "(1.0 / hidden.float())",
        "(hidden.float() / hidden.float())",
        ("models/test_view_preprocessor.py",),
    ),
    Mutant(
        "a block may exceed the mask ratio",
        "ops/masking.py",
        "if 0 < new <= room:",
        "if 0 < new:",
        ("ops/test_masking.py",),
    ),
    Mutant(
        "contrast pulls towards black instead of the mean grey",
        "models/data_preprocessors/augment.py",
        "blend(images, factor, 1 - factor, torch.zeros_like(factor))",
        "blend(images, factor, torch.zeros_like(factor), torch.zeros_like(factor))",
        ("models/test_augment.py",),
    ),
    Mutant(
        "the kernels limit images to [0, 1] that the jitter does not concern",
        "ops/color_kernels.py",
        "active = active & (factor != 1)",
        "active = active & (factor != 2)",
        ("ops/test_colors.py",),
    ),
    Mutant(
        "the kernels take the contrast's mean from before the jitter",
        "ops/color_kernels.py",
        "seen = tl.where(active & (step == 1), gray, seen)",
        "seen = _luminance(red, green, blue) if half == 0 and place == 0 else seen",
        ("ops/test_colors.py",),
    ),
    Mutant(
        "the kernel scales gradients only where that makes them larger",
        "ops/scaling_kernels.py",
        "if factor != 1:",
        "if factor > 1:",
        ("ops/test_scaling.py",),
    ),
    # Losses.
    Mutant(
        "the centre is not subtracted",
        "ops/distillation.py",
        "((logits - center) / teacher_temperature)",
        "(logits / teacher_temperature)",
        ("ops/test_distillation_ops.py", "models/test_distillation.py"),
    ),
    Mutant(
        "the student's temperature is left out",
        "ops/distillation.py",
        "(upcast(student_logits) / student_temperature)",
        "upcast(student_logits)",
        ("ops/test_distillation_ops.py",),
    ),
    Mutant(
        "a view is compared with itself",
        "models/heads/distillation.py",
        "[merged - per_view, merged.expand(num_local, -1, -1)]",
        "[merged.expand_as(per_view), merged.expand(num_local, -1, -1)]",
        ("models/test_distillation.py",),
    ),
    Mutant(
        "the number of pairs counts a view with itself",
        "models/heads/distillation.py",
        "(num_global * (num_global + num_local - 1) * views.batch_size)",
        "(num_global * (num_global + num_local) * views.batch_size)",
        ("models/test_distillation.py",),
    ),
    Mutant(
        "hidden patches are averaged over the batch",
        "models/heads/masked_distillation.py",
        "views.mask_weights.to(losses.dtype)",
        "views.mask_weights.mean().to(losses.dtype)",
        ("models/test_distillation.py",),
    ),
    Mutant(
        "flipped views share no lattice",
        "ops/overlap.py",
        "torch.where(boxes[..., 4:] > 0.5, 1 - x, x)",
        "torch.where(boxes[..., 4:] > 1.5, 1 - x, x)",
        ("ops/test_overlap.py",),
    ),
    Mutant(
        "boxes that touch overlap",
        "ops/overlap.py",
        "(low < high).all(dim=-1)",
        "(low <= high).all(dim=-1)",
        ("ops/test_overlap.py",),
    ),
    Mutant(
        "tokens outside the grid are repeated instead of 0",
        "ops/overlap.py",
        "torch.where(inside, weight, 0.0)",
        "weight",
        ("ops/test_overlap.py",),
    ),
    Mutant(
        "the spatial relation is scaled by the whole width",
        "ops/relation.py",
        "scale = (student.shape[-1] // num_heads) ** -0.5",
        "scale = student.shape[-1] ** -0.5",
        ("ops/test_relation.py",),
    ),
    Mutant(
        "student and teacher temperature of the spatial relation are swapped",
        "ops/relation.py",
        "return scale / student_temperature, scale / teacher_temperature",
        "return scale / teacher_temperature, scale / student_temperature",
        ("ops/test_relation.py",),
    ),
    Mutant(
        "the channel relation is not divided by the number of tokens",
        "ops/relation.py",
        "full.transpose(1, 2) / full.shape[1]",
        "full.transpose(1, 2)",
        ("ops/test_relation.py",),
    ),
    Mutant(
        "the transposed relation map is rounded to half precision",
        "ops/relation_attention.py",
        "key[..., width + 1] = shift - leading",
        "key[..., width + 1] = 0",
        ("ops/test_relation_attention.py",),
    ),
    Mutant(
        "the attention kernels count the student's own map once for several teachers",
        "ops/relation_attention.py",
        "alpha=num_teachers, ",
        "",
        ("ops/test_relation_attention.py",),
    ),
    Mutant(
        "the matrices of bilinear sampling are half a token off",
        "ops/sampling_matrices.py",
        "half = (size - 1) / 2",
        "half = size / 2",
        ("ops/test_sampling_matrices.py",),
    ),
    Mutant(
        "SERE leaves its base's weights as they are",
        "models/selfsup/sere.py",
        "(num_terms + 2 - alpha - beta) / num_terms",
        "(num_terms + 2) / (num_terms + 2)",
        ("models/test_student_teacher.py", "models/test_relation_head.py"),
    ),
    Mutant(
        "the least similar neighbours are selected",
        "ops/neighbours.py",
        "similarities.topk(k, dim=2)",
        "similarities.topk(k, dim=2, largest=False)",
        ("ops/test_neighbours.py",),
    ),
    Mutant(
        "similarities are inner products instead of cosines",
        "ops/neighbours.py",
        "F.normalize(upcast(tokens), dim=-1)",
        "upcast(tokens)",
        ("ops/test_neighbours.py",),
    ),
    Mutant(
        "InfoNCE lacks the factor 2 tau",
        "ops/contrastive.py",
        "2 * temperature * F.cross_entropy",
        "F.cross_entropy",
        ("ops/test_contrastive_ops.py",),
    ),
    Mutant(
        "gradients reach the contrastive keys",
        "ops/contrastive.py",
        "key.detach()",
        "key",
        ("ops/test_contrastive_ops.py",),
    ),
    Mutant(
        "a rank's queries look for another rank's keys",
        "models/heads/contrastive.py",
        "get_rank() * views.batch_size",
        "0 * views.batch_size",
        ("models/test_contrastive.py", "models/test_mocov3.py", "engine/test_distributed.py"),
    ),
    Mutant(
        "SiT reconstructs the clean pixels too",
        "models/heads/reconstruction.py",
        "views.global_crops, views.corruption)",
        "views.global_crops, views.corruption | True)",
        ("models/test_sit.py",),
    ),
    Mutant(
        "RelViT's relations are transposed",
        "ops/position.py",
        "values[:, None] - values",
        "values - values[:, None]",
        ("ops/test_patch_relations.py",),
    ),
    Mutant(
        "RelViT's shuffled patches are not put back",
        "ops/position.py",
        "order.argsort(dim=1)[..., None]",
        "order[..., None]",
        ("ops/test_position.py", "ops/test_patch_relations.py", "models/test_relvit.py"),
    ),
    # Teacher, centre, schedules.
    Mutant(
        "the teacher's momentum and its complement are swapped",
        "ops/moving_average.py",
        "((momentum, 1.0), (1.0 - momentum, 0.0))",
        "((1.0 - momentum, 1.0), (momentum, 0.0))",
        ("ops/test_moving_average.py", "models/test_student_teacher.py"),
    ),
    Mutant(
        "the teacher moves after a skipped step",
        "engine/hooks/teacher_update.py",
        "ok=runner.optim_wrapper.step_ok",
        "ok=runner.optim_wrapper.step_ok | True",
        ("engine/test_hooks.py", "engine/test_optim_wrapper.py", "engine/test_nonfinite.py"),
    ),
    Mutant(
        "the teacher moves at every micro-step",
        "engine/hooks/teacher_update.py",
        "if not runner.optim_wrapper.stepped:",
        "if False:",
        ("engine/test_hooks.py",),
    ),
    Mutant(
        "the centre is not averaged over the processes",
        "models/heads/center.py",
        "all_reduce(mean, op=",
        "(lambda *a, **k: None)(mean, op=",
        ("engine/test_distributed.py", "models/test_distillation.py"),
    ),
    Mutant(
        "the centre follows at once",
        "models/heads/center.py",
        "self.momentum * self.value + (1 - self.momentum) * mean",
        "mean",
        ("models/test_distillation.py",),
    ),
    Mutant(
        "the teacher's temperature stays that of epoch 0",
        "models/heads/prototype.py",
        "self.teacher_temperature.set_epoch(epoch)",
        "self.teacher_temperature.set_epoch(0)",
        ("models/test_distillation.py", "engine/test_hooks.py"),
    ),
    Mutant(
        "the last layer thaws one epoch late",
        "engine/hooks/last_layer_freeze.py",
        "runner.epoch < self.epochs",
        "runner.epoch <= self.epochs",
        ("engine/test_hooks.py",),
    ),
    Mutant(
        "the cosine's phase includes the warm-up",
        "ops/schedules.py",
        "(step - warmup_steps) / (total_steps - warmup_steps)",
        "step / total_steps",
        ("ops/test_schedules.py",),
    ),
    Mutant(
        "the warm-up never reaches its top",
        "ops/schedules.py",
        "index / max(count - 1, 1)",
        "index / count",
        ("ops/test_schedules.py",),
    ),
    Mutant(
        "DINO's offset of 0.1 is left out where positions are resized",
        "ops/position.py",
        "DINO_OFFSET = 0.1",
        "DINO_OFFSET = 0.0",
        ("ops/test_position.py",),
    ),
    # The optimizer's step.
    Mutant(
        "gradients are clipped by the global norm",
        "engine/optimizers/clipping.py",
        "(max_norm / (norms + 1e-6))",
        "(max_norm / (norms.norm() + 1e-6)).expand_as(norms)",
        ("engine/test_optim_wrapper.py",),
    ),
    Mutant(
        "frozen gradients take part in the step",
        "engine/optimizers/selfsup_optim_wrapper.py",
        "for parameter in (*self.frozen_parameters, *self.idle_parameters):",
        "for parameter in ():",
        ("engine/test_optim_wrapper.py", "engine/test_hooks.py"),
    ),
    Mutant(
        "biases are decayed by DINO's rule",
        "engine/optimizers/selfsup_constructor.py",
        'return rule == "sere"',
        "return True",
        ("engine/test_constructor.py",),
    ),
    Mutant(
        "an infinite loss passes the guard",
        "engine/optimizers/nonfinite.py",
        "self._combine(values.isfinite().all(), reduce=True)",
        "self._combine(~values.isnan().any(), reduce=True)",
        ("engine/test_nonfinite.py", "engine/test_optim_wrapper.py"),
    ),
    Mutant(
        "a rank with a finite loss goes on alone",
        "engine/optimizers/nonfinite.py",
        'all_reduce(both, op="min")',
        'all_reduce(both, op="max")',
        ("engine/test_nonfinite.py", "engine/test_distributed.py"),
    ),
    Mutant(
        "the loss scale is forgotten at resume",
        "engine/optimizers/selfsup_optim_wrapper.py",
        "if scale and self.loss_scaler is not None:",
        "if False:",
        ("engine/test_optim_wrapper.py",),
    ),
    # Checkpoints and evaluation.
    Mutant(
        "a resumed model may lack keys or have other shapes",
        "engine/hooks/atomic_checkpoint.py",
        "if missing or unexpected or shapes:",
        "if missing or unexpected:",
        ("engine/test_resumable_loop.py",),
    ),
    Mutant(
        "a moment that is not finite is saved",
        "engine/checkpointing/finite.py",
        "named += _moments(model, optim_wrapper)",
        "named += ()",
        ("engine/test_checkpoint_state.py",),
    ),
    Mutant(
        "the checkpoint does not learn of a new best one",
        "engine/checkpointing/best.py",
        "if improved and self.last_ckpt is not None:",
        "if False:",
        ("engine/test_best_checkpoint.py",),
    ),
    Mutant(
        "epochs and iterations are compared by their bare numbers",
        "engine/checkpointing/choice.py",
        "(epoch_length if in_epochs else 1)",
        "1",
        ("engine/test_resume_choice.py",),
    ),
    Mutant(
        "the pointer's folder counts, not the work dir",
        "engine/checkpointing/choice.py",
        "return folder / name if",
        "return Path((work_dir / POINTER).read_text()) if",
        ("engine/test_resume_choice.py",),
    ),
    Mutant(
        "a preempted run leaves in the middle of an accumulation",
        "engine/hooks/preemption.py",
        "if self._is_agreed(runner) and _update_is_whole(runner.optim_wrapper):",
        "if self._is_agreed(runner):",
        ("engine/test_preemption.py",),
    ),
    Mutant(
        "an interrupted validation is not made up for",
        "engine/loops/resumable_epoch_loop.py",
        "if self._iter and self._iter == self._epoch * len(self.dataloader):",
        "if False:",
        ("engine/test_best_checkpoint.py",),
    ),
    Mutant(
        "the folder's entry is not brought to the disk",
        "utils/files.py",
        "    sync_path(final.parent)\n",
        "",
        ("utils/test_files.py", "engine/test_atomic_checkpoint.py"),
    ),
    Mutant(
        "k-NN's votes are not weighted",
        "evaluation/knn.py",
        "((similarity - similarity[:, :1]) / temperature).exp()",
        "torch.ones_like(similarity)",
        ("evaluation/test_knn.py",),
    ),
    Mutant(
        "k-NN's default temperature is 0.1",
        "engine/hooks/knn.py",
        "temperature: float = 0.07",
        "temperature: float = 0.1",
        ("evaluation/test_knn_defaults.py",),
    ),
)


def check(mutant: Mutant, root: Path) -> tuple[bool, float]:
    """Whether the tests notice the mutant, and the seconds that they took."""
    begun = time.monotonic()
    before = mutant.apply(root)
    try:
        child = os.fork()
        if child == 0:
            os._exit(_run_tests(mutant, root))
        _, status = os.waitpid(child, 0)
    finally:
        (root / "mmrel" / mutant.file).write_text(before, encoding="utf-8")
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1, 2):
        raise RuntimeError(f"{mutant.name}: pytest ended with {code}; are {mutant.tests} there?")
    return code != 0, time.monotonic() - begun


def _run_tests(mutant: Mutant, root: Path) -> int:
    import pytest

    os.chdir(root)
    sys.path[:0] = [str(root)]
    os.environ["PYTHONPATH"] = str(root)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        files = [f"tests/{name}" for name in mutant.tests]
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))


def copy_sources(target: Path) -> None:
    """The files that git knows, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PARTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\n")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def main() -> int:
    """Run the chosen mutants; the exit code is 1 if one survives."""
    parser = argparse.ArgumentParser(description="Do the tests notice faults of the training path?")
    parser.add_argument("--only", default="", help="part of the names of the mutants to run")
    chosen = [m for m in MUTANTS if parser.parse_args().only in m.name]
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in HEAVY:
        __import__(name)
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy_sources(Path(folder))
        for number, mutant in enumerate(chosen, start=1):
            killed, seconds = check(mutant, Path(folder))
            verdict = "killed  " if killed else "SURVIVED"
            print(f"{number:3d} {verdict} {seconds:5.1f} s  {mutant.name}", flush=True)
            if not killed:
                survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
