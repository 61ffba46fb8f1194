"""Answers that another program drew: checked, and read for how they fail. No model is needed."""

from headscope.evaluation import Problem, Task, pass_at_k, score_responses
from headscope.studies.answers.traces import trace_samples
from headscope.traces.summary import summarise

problems = (Problem("tables", "What is 6 times 7, minus 2?", "40"), Problem("sum", "What is 17 + 26?", "43"))
task = Task("two sums", problems)  # or load_task("gsm8k"), or a TaskFile
responses = [
    [
        "<think>6 * 7 = 42. 42 - 2 = 40. So the answer is 40. Wait, let me check: the answer is 42.</think>\\boxed{42}",
        "<think>6 * 7 = 42. 42 - 2 = 40.</think>\\boxed{40}",
    ],
    ["<think>17 + 26 = 33.</think>\\boxed{33}", "<think>17 + 26 = 43.</think>\\boxed{43}"],
]
samples = score_responses(task, responses, name="mine")  # tokenizer=… for tokens, finished=… for answers cut off
print(samples)
print("pass@1:", pass_at_k(samples.correct, 1))

traces = trace_samples(samples)  # a row per answer and per step, as DataFrames
print(traces.answers[["problem", "sample", "verdict", "failure", "rechecks", "slips", "lost"]].to_string(index=False))
print(summarise(traces))
