"""Evaluation: how well a model answers, with everything an accuracy must carry.

Importing this loads neither torch nor math-verify; both come with the first call that needs them.
"""

from headscope.evaluation.chat import Chat, prompt_ids, render
from headscope.evaluation.checking import Verdict, check_answers
from headscope.evaluation.completions import Completion, Sampling
from headscope.evaluation.evaluate import evaluate, join_samples, rescore, score_responses, votes
from headscope.evaluation.gold_answers import check_golds, unreadable_golds
from headscope.evaluation.majority import majority_at_k
from headscope.evaluation.passk import pass_at_1, pass_at_k, success_at_k
from headscope.evaluation.sampling import sample
from headscope.evaluation.tasks import Problem, Task, TaskFile, load_task

__all__ = [
    "Chat",
    "Completion",
    "Problem",
    "Sampling",
    "Task",
    "TaskFile",
    "Verdict",
    "check_answers",
    "check_golds",
    "evaluate",
    "join_samples",
    "load_task",
    "majority_at_k",
    "pass_at_1",
    "pass_at_k",
    "prompt_ids",
    "render",
    "rescore",
    "sample",
    "score_responses",
    "success_at_k",
    "unreadable_golds",
    "votes",
]
