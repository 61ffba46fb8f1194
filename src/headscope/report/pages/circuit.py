"""Circuit: the edges that carry the behaviour in the base and in a variant, on one layer × head grid."""

from headscope.report.blocks import Block, CircuitGrid, Notice, Page
from headscope.report.circuit_pairs import circuit_pairs
from headscope.report.palette import EDGES
from headscope.report.run_results import RunResults
from headscope.report.tables.circuit_edges import circuit_edges, truncation


def circuit(results: RunResults) -> Page:
    """Build the page from edge scores and faithfulness; where no circuit is faithful, that comes first."""
    pairs = circuit_pairs(results)
    blocks: list[Block] = []
    unfaithful = tuple(f"{pair.variant}: {pair.caveat}." for pair in pairs if pair.caveat)
    if unfaithful:
        text = "Not all of these are circuits: the edges below do not carry the behaviour alone."
        blocks.append(Notice(text, unfaithful))
    without = [variant for variant in results.variants if variant not in {pair.variant for pair in pairs}]
    if without:
        blocks.append(Notice(f"No edges were scored yet, in base and last checkpoint, for: {', '.join(without)}."))
    if large := tuple(sentence for pair in pairs if (sentence := truncation(pair))):
        blocks.append(Notice("Circuits larger than a page can hold.", large))
    if pairs:
        packed = tuple(pair.packed() for pair in pairs)
        blocks.append(CircuitGrid(packed, EDGES, circuit_edges(pairs)))
    elif not results.variants:
        blocks.append(Notice("The study has no variant to compare circuits with."))
    question = "Which edges carry the behaviour, and which of them did training add or drop?"
    return Page("circuit", "Circuit", question, tuple(blocks))
