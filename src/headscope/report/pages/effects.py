"""Effects: what each head does, and what training changed in that, head by head."""

from headscope.report.blocks import Block, Notice, Page, Prose
from headscope.report.effect_sentences import effect_sentences
from headscope.report.figures.head_effects import ablation_changes, revert_changes, scaling_slopes, training_changes
from headscope.report.figures.relative_changes import relative_changes
from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.effects import head_revert, head_scaling, training_effects
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.training_effects import TrainingEffects


def effects(results: RunResults) -> Page:
    """Build the page from training effects, scaled and reverted heads and relative changes of importance."""
    blocks: list[Block] = []
    scaled = results.in_order(HeadScaling)
    if sentences := effect_sentences(results):
        blocks.append(Prose("In short", sentences))
    if with_result(results.in_order(TrainingEffects)):
        blocks += [training_changes(results), training_effects(results)]
    if with_result(scaled):
        blocks += [ablation_changes(with_result(scaled)), scaling_slopes(with_result(scaled))]
    if scaled:
        blocks.append(head_scaling(results))
    reverted = results.in_order(HeadRevert)
    if with_result(reverted):
        blocks.append(revert_changes(with_result(reverted)))
    if reverted:
        blocks.append(head_revert(results))
    if results.relative_changes is not None:
        blocks.append(relative_changes(results.relative_changes))
    if not blocks:
        blocks.append(Notice("No effect of a head is measured yet."))
    return Page("effects", "Effects", "What does each head do, and what did training change in it?", tuple(blocks))
