"""Answers of one model on one task, whole and with heads replaced: one unit per head set, operator and control, so that
a killed sweep resumes where it was.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope import storage
from headscope.comparison import ablation_verdict
from headscope.evaluation import Task, evaluate, prompt_ids
from headscope.heads import HeadSet
from headscope.model_files.chat_templates import stop_tokens
from headscope.progress import Progress
from headscope.results.samples import Samples
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies import headsets, sources
from headscope.studies.evaluate import sampling
from headscope.studies.stages import Stage
from headscope.studies.study import Study, TaskRef

REFERENCE = 32
"""Texts behind a mean, a donor or a fitted constant."""

CONSTANTS_VERSION = 1


@dataclass(frozen=True)
class Ablations:
    """One model on one task."""

    study: Study
    run: RunDirectory
    stage: Stage
    ref: TaskRef

    @property
    def task(self) -> Task:
        """The problems asked."""
        return sources.task(self.ref, self.study.data_dir).first(self.study.ablate.problems)

    def whole(self) -> Unit:
        """Samples of the whole model."""

        def work(out: Path, progress: Progress) -> None:
            self._sample(HeadSet(()), "none", progress).save(out)

        return Unit("ablated", self._labels("none", "none", None), self._config("none"), work, inputs=self.stage.inputs)

    def removed(self, sets: Unit, operator: str, control: int | None = None) -> Unit:
        """Samples without the group's heads, or without its random set number ``control``; none where there is no such
        set. operator: one of ``interventions.OPERATORS``, or a factor such as ``x1.3``.
        """

        def work(out: Path, progress: Progress) -> None:
            heads = headsets.read(self.run.folder(sets)).numbered(control)
            if heads:
                self._sample(heads, operator, progress).save(out)

        labels = self._labels(sets.labels["heads"], operator, control)
        inputs = self.stage.inputs | {"sets": sets} | self.references(operator)
        return Unit("ablated", labels, self._config(operator) | {"control": control}, work, inputs=inputs)

    def references(self, operator: str) -> dict[str, Unit]:
        """What an operator's stand-in is made from."""
        if operator in ("mean", "resample"):
            return {"reference": self.whole()}
        return {"constants": self.constants()} if operator == "optimal" else {}

    def constants(self) -> Unit:
        """Optimal constants of every head, on the whole model's own answers."""

        def work(out: Path, progress: Progress) -> None:
            from headscope.interventions import fit_constants
            from headscope.studies.subjects import load

            subject = load(self.stage)
            layers, heads = subject.model.config.num_hidden_layers, subject.model.config.num_attention_heads
            every = [(layer, head) for layer in range(layers) for head in range(heads)]
            found = fit_constants(subject, every, self.texts(REFERENCE), seed=self.study.seed, progress=progress)
            storage.save(out, "constants", CONSTANTS_VERSION, {"constants": found}, {})

        labels = {"variant": self.stage.variant, "task": self.task.name}
        config = {"seed": self.study.seed, "texts": REFERENCE}
        return Unit("constants", labels, config, work, inputs={"whole": self.whole()} | self.stage.inputs, version=2)

    def texts(self, count: int, *, correct: bool = False) -> list[Any]:
        """Prompts with the whole model's own answers, the first (correct) one per problem, of ``count`` problems."""
        from headscope.interventions import Text
        from headscope.studies.subjects import load

        tokenizer = load(self.stage).tokenizer
        table = Samples.load(self.run.folder(self.whole())).table
        if correct:
            table = table[table["verdict"] == "correct"]
        questions = {problem.id: problem.prompt for problem in self.task.problems}
        found = []
        for row in table.drop_duplicates("problem").head(count).to_dict("records"):
            response = (*map(int, row["token_ids"]), *_ending(row, tokenizer))
            if response:
                found.append(Text(tuple(prompt_ids(tokenizer, questions[row["problem"]], self.stage.chat)), response))
        return found

    def stand_in(self, subject: Any, operator: str) -> Any:
        """What replaces the heads' writes in ``subject``, which need not be this stage's model."""
        from headscope.interventions import make_replacement

        if operator in ("mean", "resample"):
            return make_replacement(subject, operator, self.texts(REFERENCE), seed=self.study.seed)
        return make_replacement(subject, operator, [], constants=self._constants() if operator == "optimal" else None)

    def verdict(self, sets: Unit, operator: str) -> Unit:
        """The verdict on one group under one operator, or why there is none."""
        group = sets.labels["heads"]
        controls = [self.removed(sets, operator, index) for index in range(self.study.ablate.generated_with_controls)]
        sampled = [self.whole(), self.removed(sets, operator), *controls]

        def work(out: Path, progress: Progress) -> None:
            found = headsets.read(self.run.folder(sets))
            if not found.heads:
                reason = f"{self.stage.variant} has no {group} heads at its last checkpoint: nothing to ablate"
                write_json(out / "verdict.json", {"schema_version": 1, "empty": True, "reason": reason})
                return
            # Fewer matched sets may exist than were asked for.
            folders = [self.run.folder(each) for each in sampled[: 2 + len(found.controls)]]
            baseline, ablated, *others = (Samples.load(folder).correct for folder in folders)
            verdict = ablation_verdict(
                baseline,
                ablated,
                others,
                task=self.task.name,
                operator=operator,
                heads=found.heads,
                seed=self.study.seed,
            )
            write_json(out / "verdict.json", verdict.as_dict())

        labels = {"variant": self.stage.variant, "heads": group, "operator": operator, "task": self.task.name}
        roles = ["baseline", "ablated", *(f"control {index}" for index in range(len(controls)))]
        inputs = {"sets": sets} | dict(zip(roles, sampled, strict=True))
        return Unit("verdict", labels, {"seed": self.study.seed}, work, inputs=inputs, version=2)

    def _constants(self) -> Float[np.ndarray, "layer head d_head"]:
        folder = self.run.folder(self.constants())
        constants: np.ndarray = storage.load(folder, "constants", CONSTANTS_VERSION, keys=[], arrays=["constants"])[1][
            "constants"
        ]
        return constants

    def _sample(self, heads: HeadSet, operator: str, progress: Progress) -> Samples:
        from headscope.studies.subjects import load

        subject = load(self.stage)
        with self._without(subject, operator, heads):
            return evaluate(
                subject.model,
                subject.tokenizer,
                self.task,
                sampling(self.study.eval, self.study.ablate.samples, self.study.seed),
                chat=self.stage.chat,
                name=self.stage.variant,
                progress=progress,
            )

    @contextmanager
    def _without(self, subject: Any, operator: str, heads: HeadSet) -> Iterator[None]:
        from headscope.interventions import replace_heads, scale

        if not heads:
            yield
        elif operator.startswith("x"):
            with scale(subject, heads, float(operator[1:])):
                yield
        else:
            with replace_heads(subject, heads, self.stand_in(subject, operator)):
                yield

    def _config(self, operator: str) -> dict[str, Any]:
        drawn = self.study.eval.model_dump(mode="json", exclude={"samples", "k", "problems", "engine"})
        return {
            "sampling": drawn | {"samples": self.study.ablate.samples},
            "seed": self.study.seed,
            "problems": sources.task_digest(self.task.problems),
            "model": self.stage.identity | self.stage.config.chat.model_dump(),
            "operator": operator,
        }

    def _labels(self, heads: str, operator: str, control: int | None) -> dict[str, Any]:
        about = {"variant": self.stage.variant, "heads": heads, "operator": operator}
        return about | {"task": self.task.name, "control": control}


def _ending(row: Mapping[Any, Any], tokenizer: Any) -> tuple[int, ...]:
    """The token that ended a sampled response; samples of before schema version 3 did not keep it."""
    if row["finish"] != "stop":
        return ()
    return (int(row["end"]),) if row["end"] >= 0 else stop_tokens(tokenizer)[:1]
