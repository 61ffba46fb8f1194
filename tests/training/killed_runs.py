"""Train, be killed by SIGKILL before the n-th call of a function, train again; run as a program by
test_resume.

One process imports torch and TRL and then only forks, so that each training costs its steps and not the
imports. Its argument is a JSON list of jobs ``{"method", "model", "teacher", "out", "kills": [[function, n], …]}``: a
training per kill and one last training that is left to finish. It prints a JSON list with the exit signal
of each.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from conftest import prompts, records


def die_before(function: str, call: int) -> None:
    """Replace ``module:attribute`` by a version that kills the process before its ``call``-th call."""
    module, path = function.split(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, counted)


def mentions(prompts: list[Any], completions: list[Any], answer: list[str], **columns: Any) -> list[float]:
    """1 where the answer's digit is somewhere in the completion."""
    return [float(gold in text[0]["content"].split()) for gold, text in zip(answer, completions, strict=True)]


def train(job: dict[str, Any]) -> None:
    """7 steps, 3 an epoch, saved at 0, 2, 4, 6 and 7: saves fall inside epochs and on their ends."""
    from headscope.training import DistillConfig, GrpoConfig, SftConfig, run_distill, run_grpo, run_sft

    common: dict[str, Any] = {"learning_rate": 1e-2, "max_steps": 7, "save_every": 2, "schedule": "cosine"}
    if job["method"] in ("sft", "lora", "muon"):
        rank = 2 if job["method"] == "lora" else None
        optimizer = "muon" if job["method"] == "muon" else "adamw"
        config = SftConfig(batch_size=8, micro_batch=4, lora_rank=rank, optimizer=optimizer, **common)
        run_sft(job["model"], records(20), config, job["out"])
    elif job["method"] == "distill":
        taught = DistillConfig(batch_size=4, max_completion_length=6, micro_batch=2, **common)
        run_distill(job["model"], prompts(12), job["teacher"], taught, job["out"])
    else:
        sampled = GrpoConfig(prompts_per_step=4, samples=4, max_completion_length=6, micro_batch=8, **common)
        run_grpo(job["model"], prompts(12), [mentions], sampled, job["out"])


def in_child(action: Callable[[], None]) -> int:
    """Run ``action`` in a fork; 0 where it returned, the signal's number where it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def perform(job: dict[str, Any]) -> list[int]:
    """All trainings of a job, killed ones first."""

    def killed(function: str, call: int) -> None:
        die_before(function, call)
        train(job)

    ends = [in_child(lambda kill=kill: killed(*kill)) for kill in job["kills"]]  # type: ignore[misc]
    return [*ends, in_child(lambda: train(job))]


if __name__ == "__main__":
    import headscope.models
    import headscope.training.reporter
    import headscope.training.trainers  # noqa: F401  imported here, before the forks

    print(json.dumps([perform(job) for job in json.loads(sys.argv[1])]))
