"""The table that ``benchmarks/step.py`` prints, in Markdown; and what a step makes of its device's peak."""

from typing import Any

PEAK_TFLOPS = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "RTX 4090": 165,
    "V100": 125,
}
"""Dense bf16 (V100: fp16) with float32 accumulation, from NVIDIA's data sheets; the first name that fits counts."""
COLUMNS = (
    "recipe",
    "GPUs x batch",
    "ms per step",
    "quartiles",
    "images/s",
    "MFU",
    "peak GiB",
    "waits",
    "loader-fed ms",
    "start s",
)


def peak_of(device: str | None) -> int | None:
    """TFLOP/s of a device by its name; ``None``: not known."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in (device or "")), None)


def mfu(row: dict[str, Any], peak: int | None) -> float | None:
    """Model FLOP utilisation, a share; ``None``: the peak or the operations are not known."""
    if not peak or not row.get("tflop"):
        return None
    return row["tflop"] / (row["synthetic"]["ms"] * 1e-3) / peak


def scaling(row: dict[str, Any], rows: list[dict[str, Any]]) -> float | None:
    """Images per second as a share of N times those of one GPU; ``None``: of one, or not measured."""
    for other in rows:
        alike = all(other.get(key) == row.get(key) for key in ("recipe", "compiled", "batch"))
        if alike and other["gpus"] == 1 < row["gpus"] and "synthetic" in other:
            return other["synthetic"]["ms"] / row["synthetic"]["ms"]
    return None


def print_rows(rows: list[dict[str, Any]], device: str | None) -> None:
    """Complete the rows with images per second and MFU, and print them."""
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        name = f"{row['recipe']}{', compiled' if row['compiled'] else ''}"
        if "error" in row:
            print(f"| {name} | {row.get('gpus', 1)} | {row['error']} |")
            continue
        step = row["synthetic"]
        row["images_per_second"] = row["gpus"] * row["batch"] / step["ms"] * 1e3
        row["mfu"] = mfu(row, peak_of(device))
        row["scaling"] = scaling(row, rows)
        print(f"| {name} | {' | '.join(_cells(row, step))} |")


def _cells(row: dict[str, Any], step: dict[str, Any]) -> list[str]:
    low, high = step["quartiles_ms"]
    return [
        f"{row['gpus']} x {row['batch']}",
        f"{step['ms']:.1f}",
        f"{low:.1f} - {high:.1f}",
        f"{row['images_per_second']:.0f}"
        + ("" if row["scaling"] is None else f" ({row['scaling']:.0%} of {row['gpus']} x one)"),
        "-" if row["mfu"] is None else f"{row['mfu']:.1%}",
        _or_dash(row.get("peak_gib"), ".1f"),
        _or_dash(row.get("host_waits"), "g"),
        _or_dash(row.get("loader_fed", {}).get("ms"), ".1f"),
        f"{row['warmup_s']:.0f}",
    ]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
