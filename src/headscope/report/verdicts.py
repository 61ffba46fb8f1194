"""The strongest verdict of a variant in one phrase, for tables."""

from headscope.report.findings import Ablation, Findings
from headscope.report.numbers import UNKNOWN, rounded, with_interval
from headscope.report.palette import READINGS
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict

_ORDER = (SUPPORTED, UNDECIDED, NOT_SUPPORTED)


def ablation_phrase(findings: Findings, variant: str) -> str:
    """``emergent zero T1: −0.14 [−0.17, −0.11] (random −0.02, rank 1 of 21) ● supported``.

    Of several: the verdict that decides most, then the lowest p, then the largest effect. ``no heads to remove`` where
    every set asked about was empty; ``–`` where nothing was asked.
    """
    ours = [each for each in findings.ablations if each.variant == variant]
    run = [(each, each.verdict) for each in ours if each.verdict is not None]
    if not run:
        return "no heads to remove" if ours else UNKNOWN
    ablation, verdict = min(run, key=lambda pair: _strength(pair[1]))
    return _phrase(ablation, verdict)


def _strength(verdict: AblationVerdict) -> tuple[int, float, float]:
    return _ORDER.index(verdict.reading), verdict.p_value, -abs(verdict.effect.value)


def _phrase(ablation: Ablation, verdict: AblationVerdict) -> str:
    what = f"{ablation.heads} {ablation.operator} {ablation.task}"
    effect = with_interval(verdict.effect, sign=True)
    rank = f"rank {verdict.rank} of {verdict.controls + 1}"
    control = f"random {rounded(verdict.control_mean, sign=True)}, {rank}"
    return f"{what}: {effect} ({control}) {READINGS[verdict.reading]} {verdict.reading}"
