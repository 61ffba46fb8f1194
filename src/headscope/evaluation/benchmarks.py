"""The benchmarks known by name: where each lives, what its columns are called, how its answers are written."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headscope.answers.numbers import without_groups
from headscope.errors import InputError
from headscope.evaluation.table_files import SUFFIXES, Row
from headscope.model_files import hub


def _identity(text: str) -> str:
    return text


def after_hashes(answer: str) -> str:
    """Return the answer of GSM8K, which writes its worked solution, then ``#### 1,234``: here ``1234``.

    Other commas stay: ``#### (1,2)`` is a point.
    """
    return without_groups(answer.rsplit("####", 1)[-1].strip())


def _before_hashes(row: Row) -> str:
    """Return GSM8K's worked solution without the calculator's ``<<48/2=24>>``, which no model should learn."""
    return re.sub(r"<<[^<>]*>>", "", str(row["answer"])).rsplit("####", 1)[0].strip()


def _verified_trace(row: Row) -> str:
    """Return the first of OpenR1's generations whose answer was verified; the source's own solution if none was."""
    for mark in ("correctness_math_verify", "correctness_llama"):
        for trace, right in zip(row.get("generations") or [], row.get(mark) or [], strict=False):
            if right:
                return str(trace)
    return str(row.get("solution") or "")


def _strip_prompt(question: str) -> str:
    """Return the bare question: some TriviaQA mirrors store ``Question: …\\nAnswer:``."""
    return re.sub(r"\nAnswer:$", "", re.sub(r"^Question: ", "", question.strip()))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    hub, config, split: its home on the Hugging Face hub.
    stems: names a local copy may have, without the suffix.
    question, answer, aliases: column names in the order they are tried; a dot reaches into a nested record.
    options: columns of wrong answers, which are shuffled with the right one.
    group: column of a problem's tier or level. kind: how answers are checked (``tasks.Kind``).
    clean_question, clean_answer: remove what is neither question nor answer from a cell.
    solution: returns a row's worked answer, "" for none; None for sets that no model should be trained on.
    """

    hub: str
    split: str
    stems: tuple[str, ...]
    config: str | None = None
    question: tuple[str, ...] = ("problem", "question")
    answer: tuple[str, ...] = ("answer",)
    aliases: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    group: str | None = None
    kind: str = "math"
    clean_question: Callable[[str], str] = _identity
    clean_answer: Callable[[str], str] = _identity
    solution: Callable[[Row], str] | None = None

    def local_file(self, data_dir: Path) -> Path | None:
        """Return the benchmark's file in ``data_dir``, or None if it has none. Raises InputError if it is no folder."""
        if not data_dir.is_dir():
            raise InputError(
                f"data_dir {data_dir} is no folder; give the one with the benchmarks' files, or none to ask the hub"
            )
        for stem in self.stems:
            for suffix in SUFFIXES:
                path = data_dir / f"{stem}{suffix}"
                if path.is_file():
                    return path
        return None

    def load_from_hub(self, name: str) -> list[Row]:
        """Load the rows through ``datasets``. Raises InputError, saying what to do, if the hub cannot serve them."""
        import datasets

        try:
            rows = hub.load_dataset(self.hub, self.config, split=self.split)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"task {name!r} could not be loaded from the hub ({self.hub}: {reason}); "
                f"offline, put {self.stems[0]}.json, .jsonl or .parquet into the data directory"
            ) from error
        return [dict(row) for row in rows]


BENCHMARKS = {
    "aime24": Benchmark("HuggingFaceH4/aime_2024", "train", ("aime24",)),
    "aime25": Benchmark("math-ai/aime25", "test", ("aime25",)),
    "amc": Benchmark("AI-MO/aimo-validation-amc", "train", ("amc",)),
    "math500": Benchmark("HuggingFaceH4/MATH-500", "test", ("math500",), group="level"),
    "gsm8k": Benchmark("openai/gsm8k", "test", ("gsm8k", "gsm8k_test"), config="main", clean_answer=after_hashes),
    # What models are trained on; never a test set.
    "gsm8k-train": Benchmark(
        "openai/gsm8k",
        "train",
        ("gsm8k-train", "gsm8k_train"),
        config="main",
        clean_answer=after_hashes,
        solution=_before_hashes,
    ),
    # The diamond set. Its authors ask not to republish it in plain text; the hub asks for their terms to be accepted.
    "gpqa": Benchmark(
        "Idavidrein/gpqa",
        "train",
        ("gpqa", "gpqa_diamond"),
        config="gpqa_diamond",
        question=("Question",),
        answer=("Correct Answer",),
        options=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
        group="High-level domain",
        kind="choice",
    ),
    "openr1-math": Benchmark("open-r1/OpenR1-Math-220k", "train", ("openr1-math",), solution=_verified_trace),
    "triviaqa": Benchmark(
        "mandarjoshi/trivia_qa",
        "validation",
        ("triviaqa", "triviaqa_3000"),
        config="rc.nocontext",
        question=("question", "context"),
        answer=("answer.value", "answer"),
        aliases=("answer.aliases", "aliases"),
        kind="alias",
        clean_question=_strip_prompt,
    ),
}
