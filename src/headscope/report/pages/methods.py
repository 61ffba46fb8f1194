"""Methods: definitions, settings, versions, limits, citation."""

from headscope.report.blocks import Page, Prose
from headscope.report.run_results import RunResults
from headscope.report.tables.settings import pairs, provenance, settings

_DEFINITIONS = Prose(
    "Definitions",
    (
        "Edge score: what one component's output contributes, through one later component's input, to the divergence "
        "between the model's next-token distributions on the clean and the corrupt prompt of a pair (edge attribution "
        "with integrated gradients, EAP-IG).",
        "Net score of a head: the size of the sum of its outgoing edges' scores, mean over pairs; to first order what "
        "replacing its output would do. Importance: its share of all heads' net score.",
        "Circuit: the top edges by mean |score| over pairs, pruned until every head in it reads from and writes to the "
        "circuit; as few of them as are faithful in base and final checkpoint, unless the study says how many.",
        "Core head: in the pruned circuit in at least 90 % of bootstrap resamples of the problems, each drawn with "
        "all its pairs; contingent: in 10 to 90 %. Where several pairs come from one problem, problems are what is "
        "resampled, halved and counted.",
        "Kept: core in base and variant. New (emergent): core in the variant and not even contingent in the base. "
        "Lost: the reverse.",
        "Null: the same counts for the base model against itself, the mean over random halves of all its problems. "
        "Above null: observed minus null, with an interval; p: the share of the halves with at least as many new "
        "heads.",
        "Exact effect of a head: the rise of the loss if its output on the clean text is replaced by that on the "
        "corrupt text and everything after it is computed again, nats per evaluated position. Training effect: that in "
        "the last checkpoint less that in the base, on pairs of other problems than heads were counted on; above a "
        "twin: less that in the same training without its signal.",
        "pass@k: the chance that k answers to a problem hold a correct one, unbiased estimate (Chen et al. 2021), "
        "averaged over problems.",
        "Steps of an answer: a lab answer's statements, or the sentences of running text, judged by rule from the "
        "saved text. Slip: a statement that does not follow from what was written before it, or a calculation that is "
        "wrong. Lost: a wrong answer that had stated the right one. Loop: the last tokens repeat with one period three "
        "times or more, or steps that come three times or more fill a quarter of the answer. Efficiency: of right "
        "answers, the share of their tokens up to the first right statement (Chen et al. 2024, outcome efficiency).",
        "Failure of a wrong answer: the first that applies of loop, unfinished, over-thinking (the right answer was "
        "stated before), the kind of its first slip that nothing puts right, no answer, other.",
        "Newly right and newly wrong: problems that a variant answers right more or less often than the base. p of the "
        "first answers: exact McNemar test; q of a problem: Fisher's exact test, adjusted over problems "
        "(Benjamini-Hochberg).",
        "Role of a head: what it reads while the model reads a variant's own answers. It plays a role if at least a "
        "tenth of its attention, in the rows that ask for it, goes to the role's targets (retrieval: if its most "
        "attended token is one in a tenth of the rows), at least twice as much as and surely more than in each "
        "control: targets at other rows' distances, the same distances in other rows, and the same targets from rows "
        "that do not ask for them (t over texts, Benjamini-Hochberg over the heads of a role, 1 %).",
        "Ablation verdict: supported if the effect on pass@1 and its excess over matched random head sets both exclude "
        "0 and at most 5 % of the random sets do as much; not supported if an effect of the margin's size is excluded "
        "or random sets do as much; else undecided.",
    ),
)
_LIMITS = Prose(
    "Limits",
    (
        "Head sets come from pairs of prompts: another choice of pairs, openings or positions can give other heads. "
        "Intervals cover the draw of problems, not the draw of training seeds.",
        "Attribution is a linear estimate along a path. It finds heads; the ablation is what shows that they matter.",
        "What goes with a re-check, or with words that are signs of a strategy, is an association within tiers, no "
        "effect: harder problems may be re-checked more. A calculation that cannot be read is not counted as right.",
        "Changes of heads are corrected over heads and checkpoints (q, Benjamini-Hochberg), claims C6 and C7 over "
        "tasks and scales (Holm). All other intervals stand side by side uncorrected: read one alone with care.",
    ),
)
_CITATION = Prose(
    "Citation",
    (
        "Yein Park, Minbyul Jeong, Jaewoo Kang: “Thinking Sparks!: Emergent Attention Heads in Reasoning Models During "
        "Post Training”, "
        "arXiv 2509.25758 v2.",
        "Hanna, Pezzelle, Belinkov: “Have Faith in Faithfulness: Going Beyond Circuit Overlap When Finding Model "
        "Mechanisms” (EAP-IG), arXiv 2403.17806.",
        "Chen et al.: “Evaluating Large Language Models Trained on Code” (pass@k), arXiv 2107.03374.",
        "Chen et al.: “Do NOT Think That Much for 2+3=? On the Overthinking of o1-Like LLMs” (efficiency), arXiv "
        "2412.21187.",
    ),
)


def methods(results: RunResults) -> Page:
    """Build the page that says how the numbers were made."""
    blocks = (_DEFINITIONS, _LIMITS, settings(results), pairs(results), provenance(results), _CITATION)
    return Page("methods", "Methods", "How was this measured?", blocks)
