"""Reward: the training curve above the head counts, and whether the two move together."""

from headscope.report.blocks import Block, Notice, Page
from headscope.report.figures import reward as figure
from headscope.report.run_results import RunResults
from headscope.report.tables.dynamics import coupling, reward_coupling
from headscope.results.reward_coupling import RewardCoupling


def reward(results: RunResults) -> Page:
    """Build the page from training logs; a variant trained elsewhere has its reward at the checkpoints alone."""
    logs = results.training_logs
    unlogged = [variant for variant in results.variants if variant not in logs]
    blocks: list[Block] = []
    if unlogged:
        blocks.append(Notice(f"No training log in this run for: {', '.join(unlogged)}."))
    if logs:
        blocks.append(figure.reward(logs, results.comparisons))
    if results.in_order(RewardCoupling):
        blocks.append(reward_coupling(results))
    if any(comparison.coupling for comparison in results.comparisons):
        blocks.append(coupling(results.comparisons))
    return Page("reward", "Reward", "What was training doing while heads came and went?", tuple(blocks))
