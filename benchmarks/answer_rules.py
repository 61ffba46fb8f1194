"""Other tools' rules for mathematical answers, run by an interpreter that has them (``answers.py --others``).

Standard input: one JSON list of {"response", "gold"}. Standard output: {"name of the rule": [correct, …]} for each tool
that this interpreter can import. Imports nothing of headscope.
"""

import json
import logging
import re
import sys
from collections.abc import Callable

Rule = Callable[[str, str], bool]


def plain_math_verify() -> Rule:
    """Return math-verify as its README has it: both sides parsed, the gold one in dollars."""
    from math_verify import parse, verify

    return lambda response, gold: bool(verify(parse(f"${gold}$"), parse(response)))


def lighteval_match() -> Rule:
    """Return lighteval's extractive match, LaTeX and plain expressions on both sides."""
    from lighteval.metrics.utils.extractive_match_utils import (
        ExprExtractionConfig,
        LatexExtractionConfig,
        extract_target_from_pred,
        get_extraction_regexes,
    )
    from lighteval.metrics.utils.math_comparison import compare_gold_target
    from lighteval.tasks.requests import Doc
    from lighteval.utils.language import Language

    doc = Doc(query="", choices=[""], gold_index=0)
    targets = (LatexExtractionConfig(), ExprExtractionConfig())
    patterns = get_extraction_regexes(doc, targets, Language.ENGLISH)

    def is_right(response: str, gold: str) -> bool:
        golds = extract_target_from_pred(f"${gold}$", patterns)
        answers = extract_target_from_pred(response, patterns)
        return bool(golds and answers and compare_gold_target(golds, answers, 6))

    return is_right


def lm_eval_minerva() -> Rule:
    """Return lm-eval's exact match of minerva_math: its extraction, its normalisation, SymPy's own LaTeX parser."""
    from lm_eval.tasks.minerva_math import utils

    def is_right(response: str, gold: str) -> bool:
        answer = utils.normalize_final_answer(utils.get_unnormalized_answer(response))
        return bool(utils.is_equiv(answer, utils.normalize_final_answer(gold)))

    return is_right


def lm_eval_hendrycks() -> Rule:
    """Return lm-eval's hendrycks_math: the last box against the gold as strings."""
    from lm_eval.tasks.hendrycks_math import utils

    def is_right(response: str, gold: str) -> bool:
        box = utils.last_boxed_only_string(response)
        return box is not None and bool(utils.is_equiv(utils.remove_boxed(box), gold))

    return is_right


def lm_eval_flexible() -> Rule:
    """Return lm-eval's "flexible-extract" of gsm8k: the last number, without commas and dollars."""
    number = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")

    def is_right(response: str, gold: str) -> bool:
        found = number.findall(response)
        last = next(filter(None, found[-1])) if found else ""
        return re.sub(r"[,$]|\.$", "", last).lower() == re.sub(r"[,$]|\.$", "", gold).lower()

    return is_right


RULES: dict[str, Callable[[], Rule]] = {
    "math-verify": plain_math_verify,
    "lighteval, extractive match": lighteval_match,
    "lm-eval, minerva_math": lm_eval_minerva,
    "lm-eval, hendrycks_math": lm_eval_hendrycks,
    "lm-eval, gsm8k flexible": lm_eval_flexible,
}


def main() -> int:
    """Judge every row by every rule that can be had."""
    logging.disable(logging.CRITICAL)
    rows = json.load(sys.stdin)
    verdicts: dict[str, list[bool]] = {}
    for name in sys.argv[1:] or RULES:
        try:
            rule = RULES[name]()
        except Exception as error:  # a tool that is not there, or not whole
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        verdicts[name] = [_judge(rule, row) for row in rows]
    print(json.dumps(verdicts))
    return 0


def _judge(rule: Rule, row: dict[str, str]) -> bool:
    try:
        return rule(row["response"], row["gold"])
    except Exception:  # a rule that stumbles over an answer counts it as wrong
        return False


if __name__ == "__main__":
    sys.exit(main())
