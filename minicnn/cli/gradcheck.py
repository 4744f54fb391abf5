"""`minicnn gradcheck`: every gradient of a model against finite differences."""

from __future__ import annotations

import click

from minicnn.cli.common import model_from, print_table

__all__ = ["command"]


@click.command(short_help="Check every gradient of a model against finite differences.")
@click.argument("model")
@click.option("--batch-size", type=click.IntRange(min=1), default=2, show_default=True, help="Random images per check.")
@click.option("--directions", type=click.IntRange(min=1), default=2, show_default=True, help="Random directions per gradient.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=1e-6, show_default=True, help="Largest relative error that passes."
)
@click.option(
    "--fit-tolerance", type=click.FloatRange(min=0), default=1e-3, show_default=True, help="The same for what `fit` computes."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
def command(model: str, batch_size: int, directions: int, tolerance: float, fit_tolerance: float, seed: int) -> int:
    """Compare every layer's gradients, and those of a whole training step, with central finite differences.

    MODEL is a .keras file, a run folder, or the name of a reference model. Computed in float64 on the
    reference backend; then the step that `fit` runs is compared with that. Ends with status 1 if a gradient fails.
    """
    from minicnn.study.gradcheck import gradcheck

    checks = gradcheck(
        model_from(model, reference=True),
        batch_size=batch_size,
        directions=directions,
        tolerance=tolerance,
        fit_tolerance=fit_tolerance,
        seed=seed,
    )
    rows = [
        [
            check.layer,
            check.kind,
            check.gradient,
            "×".join(map(str, check.shape)),
            f"{check.error:.1e}",
            "ok" if check.passed else "FAIL",
        ]
        for check in checks
    ]
    print_table(["layer", "kind", "gradient", "shape", "relative error", ""], rows, numbers=["relative error"])
    failed = sum(not check.passed for check in checks)
    click.echo(f"{len(checks) - failed} of {len(checks)} gradients agree within {tolerance:g} (`fit`: {fit_tolerance:g})")
    return int(failed > 0)
