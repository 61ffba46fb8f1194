"""Check saved samples again and compare the verdicts with those they were saved with."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.evaluation import Task, pass_at_1, rescore
from headscope.progress import SILENT, Progress
from headscope.results.codec import to_json
from headscope.results.measures import Measures
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.answers.evaluate import measure


@dataclass(frozen=True, eq=False)
class Rescored:
    """One samples table before and after. name: of its model, step and task."""

    name: str
    before: Samples
    after: Samples
    measures: Measures

    @property
    def changes(self) -> dict[str, int]:
        """Return how many verdicts changed, by ``old → new``."""
        pairs = zip(self.before.table["verdict"], self.after.table["verdict"], strict=True)
        return dict(Counter(f"{old} → {new}" for old, new in pairs if old != new).most_common())

    def row(self) -> dict[str, str]:
        """Return the row of a table."""
        return {
            "samples": self.name,
            "problems × samples": self.measures.size,
            "pass@1 as saved": str(pass_at_1(self.before.correct)),
            "pass@1 now": str(self.measures.pass_at_k[1]),
            "unparsed": f"{self.measures.rates['unparsed']:.1%}",
            "unfinished": f"{self.measures.rates['unfinished']:.1%}",
            "timed out": f"{self.measures.rates['timeout']:.1%}",
            "changed": str(sum(self.changes.values())),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        saved = to_json(pass_at_1(self.before.correct))
        measures = self.measures.as_dict()
        return {"name": self.name, "saved_pass_at_1": saved, "changes": self.changes, "measures": measures}


def score(
    saved: Path,
    task: Task | None = None,
    *,
    ks: tuple[int, ...] = (),
    out: Path | None = None,
    progress: Progress = SILENT,
) -> list[Rescored]:
    """Check every samples table below ``saved``, a run directory or one folder of samples, again.

    task: whose gold answers count; None takes those saved with the samples. In a run directory only its samples of
        that task are taken.
    out: where the tables with new verdicts and their measures go, a folder each; None writes nothing.
    Raises InputError if there are no samples, or none of the task.
    """
    tables = _tables(saved, task)
    if not tables:
        raise InputError(f"{saved} holds no samples" + ("" if task is None else f" of task {task.name!r}"))
    results = []
    with progress.bar("scoring", len(tables)) as bar:
        for name, samples in tables.items():
            after = rescore(samples, task, progress)
            # pass@1 always: it is held against the saved one.
            sizes = tuple(sorted({1, *(ks or (after.correct.shape[1],))}))
            results.append(Rescored(name, samples, after, measure(after, sizes, seed=0)))
            bar.advance(note=name)
    if out is not None:
        for rescored in results:
            folder = out / rescored.name.replace(" ", "-").replace("/", "-")
            rescored.after.save(folder)
            rescored.measures.save(folder)
    return results


def _tables(saved: Path, task: Task | None) -> dict[str, Samples]:
    if (saved / "samples.parquet").exists():
        samples = Samples.load(saved)  # whatever its task is called: the user named the folder
        return {f"{samples.model} {samples.task}".strip(): samples}
    labels = {} if task is None else {"task": task.name}
    finished = RunDirectory.open(saved).results(Samples, **labels)
    return {" ".join(str(label) for label in samples.labels.values()): samples.whole for samples in finished}
