"""Clean/corrupt pairs of token sequences: equal in length within a pair, ragged across pairs.

The clean text elicits a behaviour, the corrupt one does not; both share a beginning and differ in their last
tokens (method section 3, "Pairs"). Everything is NumPy: pairs can be saved and compared without torch.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, overload

import numpy as np
from jaxtyping import Int

from headscope import display, storage
from headscope.errors import InputError
from headscope.pairs.candidates import Candidate, usable_candidates
from headscope.pairs.positions import Positions, check_position_lists, check_positions, resolve_positions
from headscope.pairs.problems import Labels, ProblemGroups, ProblemNames, check_labels, problem_labels
from headscope.pairs.tokenising import Prompt, Tokenizer, encode_candidates, encode_labels
from headscope.pairs.tokens import TokenRows, Tokens, check_lengths, shared_length, token_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pair(NamedTuple):
    """One pair: ids of equal length, evaluated positions, and (right, wrong) next tokens if labelled."""

    clean: Tokens
    corrupt: Tokens
    positions: Tokens
    label: tuple[int, int] | None

    @property
    def shared(self) -> int:
        """Return the number of leading tokens that are equal in both texts."""
        return shared_length(self.clean, self.corrupt)

    @property
    def ending(self) -> int:
        """Return the number of positions from the first difference or evaluated position to the end."""
        return len(self.clean) - min(self.shared, int(self.positions.min()))


@dataclass(frozen=True, eq=False)
class Pairs(storage.Result):
    """Clean/corrupt pairs of one discovery set.

    clean, corrupt: per pair int64 [token] ids; the two of a pair have equal length.
    positions: per pair int64 [evaluated] sorted positions whose next-token distribution the metric reads.
    labels: int64 [pair, 2], the right and the wrong next token after the evaluated positions, or None.
    dropped: number of candidates that were left out when the pairs were made, by reason.
    vocabulary: number of first vocabulary entries over which next-token distributions are read, renormalised; None for
        all of a model's.
    problems: name of each pair's problem; None if every pair is its own problem. Pairs of one problem are not
        independent: they are resampled, halved and counted by problem.

    Raises InputError if lengths differ within a pair, a text is empty, a position lies outside its text, or there are
    more or fewer labels or problems than pairs.
    """

    kind: ClassVar[str] = "pairs"
    schema: ClassVar[int] = 1
    rows: ClassVar[Mapping[str, str]] = {
        "clean": "clean",
        "corrupt": "corrupt",
        "positions": "positions",
        "problem": "problems",
    }

    clean: tuple[Tokens, ...]
    corrupt: tuple[Tokens, ...]
    positions: tuple[Tokens, ...]
    labels: Int[np.ndarray, "pair 2"] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    vocabulary: int | None = None
    problems: Labels = None

    def __post_init__(self) -> None:
        if not self.clean or not (len(self.clean) == len(self.corrupt) == len(self.positions)):
            counts = f"{len(self.clean)} clean, {len(self.corrupt)} corrupt texts, {len(self.positions)} positions"
            raise InputError(f"pairs need one corrupt text and one list of positions per clean text, found {counts}")
        if self.labels is not None and len(self.labels) != len(self.clean):
            raise InputError(f"labels hold {len(self.labels)} rows for {len(self.clean)} pairs; give one row each")
        check_labels(self.problems, len(self.clean))
        for index, pair in enumerate(self):
            check_lengths(index, pair.clean, pair.corrupt)
            check_positions(index, pair.positions, len(pair.clean))

    def __repr__(self) -> str:
        lengths = [len(text) for text in self.clean]
        spread = str(lengths[0]) if len(set(lengths)) == 1 else f"{min(lengths)}–{max(lengths)}"
        shared = [pair.shared for pair in self]
        dropped = "".join(f"; dropped: {count} {reason}" for reason, count in self.dropped.items())
        size = self.problem_groups.size
        problems = "" if size.unit == "pair" else f"; {size}"
        begin = f"the first {min(shared)}–{max(shared)} of them shared"
        return f"Pairs: {len(self)} of {spread} tokens, {begin}{problems}{dropped}"

    def _repr_html_(self) -> str:
        rows = [
            {"problem": problem, "tokens": len(pair.clean), "shared": pair.shared, "evaluated": pair.positions.tolist()}
            for problem, pair in zip(self.problems or range(len(self)), self, strict=True)
        ]
        return display.table(repr(self), rows)

    def plot(self) -> "Figure":
        """Return the lengths of the texts, and how many first tokens the two of a pair share."""
        figure, axes = display.empty_figure(f"{len(self)} pairs", width=5.5, height=2.6)
        lengths = {"tokens": [len(pair.clean) for pair in self], "first tokens shared": [pair.shared for pair in self]}
        axes.hist(list(lengths.values()), bins=20, label=list(lengths))
        axes.set_xlabel("tokens")
        axes.set_ylabel("pairs")
        axes.legend(frameon=False)
        return figure

    @property
    def problem_groups(self) -> ProblemGroups:
        """Return the pairs grouped by problem."""
        return ProblemGroups.of((self.problems, len(self)))

    @classmethod
    def from_tokens(
        cls,
        clean: TokenRows,
        corrupt: TokenRows,
        positions: Positions = None,
        labels: TokenRows | None = None,
        problems: ProblemNames | None = None,
    ) -> "Pairs":
        """Return pairs from token ids.

        Args:
            clean: ids of the clean texts, an array [pair, token] (NumPy or torch) or a list of rows.
            corrupt: ids of the corrupt texts, each as long as its clean text.
            positions: ``"last"`` (default), ``"answer"`` (from the first differing token on), one list for all pairs
                (negative numbers count from the end), or one list per pair.
            labels: [pair, 2] ids of the right and the wrong next token, for ``logit_diff`` and ``nll``.
            problems: name or number of each pair's problem; None counts every pair as its own problem.

        Raises:
            InputError: if lengths differ within a pair, a position is out of range, or there are more or fewer problems
                than pairs.
        """
        clean_rows = token_rows(clean)
        corrupt_rows = token_rows(corrupt)
        if len(clean_rows) != len(corrupt_rows):
            raise InputError(f"found {len(clean_rows)} clean and {len(corrupt_rows)} corrupt texts; give one of each")
        evaluated = []
        for index, (clean_row, corrupt_row) in enumerate(zip(clean_rows, corrupt_rows, strict=True)):
            check_lengths(index, clean_row, corrupt_row)
            evaluated.append(resolve_positions(positions, index, clean_row, corrupt_row))
        check_position_lists(positions, len(clean_rows))
        table = None if labels is None else np.array(token_rows(labels), dtype=np.int64)
        if table is not None and table.shape != (len(clean_rows), 2):
            raise InputError(f"labels have shape {table.shape}; {len(clean_rows)} pairs need ({len(clean_rows)}, 2)")
        names = problem_labels(problems)
        return cls(tuple(clean_rows), tuple(corrupt_rows), tuple(evaluated), table, problems=names)

    @classmethod
    def from_text(
        cls,
        tokenizer: Tokenizer | None,
        clean: Sequence[str],
        corrupt: Sequence[str],
        *,
        prompts: Sequence[Prompt] | None = None,
        k: int | None = None,
        positions: Positions = None,
        labels: Sequence[Sequence[str]] | None = None,
        problems: ProblemNames | None = None,
    ) -> "Pairs":
        """Return pairs from texts: whole ones, or two answers to the same prompt.

        Candidates whose texts differ in length, are shorter than ``k`` or equal are dropped and counted in ``dropped``;
        texts are never padded.

        Args:
            tokenizer: a Hugging Face tokenizer. BOS is added once: not to a rendered prompt, which has its own, nor to
                a text that begins with it. EOS is never added.
            clean: clean texts, or clean answers if there are prompts.
            corrupt: corrupt texts or answers.
            prompts: per pair the chat messages that both texts answer, rendered once with the chat template, or text
                that is already rendered. Answers are tokenised on their own, as in generation.
            k: answers are cut to their first k tokens; None keeps them whole.
            positions: as in ``from_tokens``, one list per candidate if it is lists; ``"answer"`` means all tokens of
                the answer if there are prompts.
            labels: per candidate the right and the wrong next token, each a text of one token.
            problems: per candidate the name or number of its problem, as in ``from_tokens``.

        Raises:
            InputError: if no pair is left, the numbers of texts differ, ``k`` is given without prompts, or the
                tokenizer refuses a text.
        """
        if k is not None and prompts is None:
            raise InputError(f"found k={k} without prompts; only an answer to a prompt is cut, a whole text is not")
        if labels is not None and len(labels) != len(clean):
            raise InputError(f"labels hold {len(labels)} rows for {len(clean)} pairs; give one row each")
        candidates = encode_candidates(tokenizer, clean, corrupt, prompts)
        label_ids = None
        if tokenizer is not None and labels is not None:
            label_ids = encode_labels(tokenizer, labels)
        return cls._from_candidates(candidates, k, positions, label_ids, problem_labels(problems))

    @classmethod
    def from_openings(
        cls,
        prompts: TokenRows,
        clean_openings: TokenRows,
        corrupt_openings: TokenRows,
        k: int = 16,
        positions: Positions = "last",
        bos: int | None = None,
        problems: ProblemNames | None = None,
    ) -> "Pairs":
        """Return pairs from rendered prompts and sampled answers of two styles, cut to their first ``k`` tokens.

        Candidates with an answer shorter than ``k`` tokens, or equal after the cut, are dropped and counted in
        ``dropped``.

        Args:
            prompts: token ids of the rendered prompts.
            clean_openings: per prompt the token ids of an answer of the clean style.
            corrupt_openings: per prompt the token ids of an answer of the corrupt style.
            k: number of tokens kept of both answers.
            positions: as in ``from_tokens``; ``"answer"`` means all tokens of the cut answer.
            bos: id of the beginning-of-sequence token; a prompt that starts with two of them was rendered twice.
            problems: per prompt the name or number of its problem, as in ``from_tokens``.

        Raises:
            InputError: if the numbers of prompts and openings differ, one is no token ids, a prompt has two BOS, or no
                pair is left.
        """
        prompt_rows = [row.tolist() for row in token_rows(prompts)]
        clean_rows = [row.tolist() for row in token_rows(clean_openings)]
        corrupt_rows = [row.tolist() for row in token_rows(corrupt_openings)]
        if not (len(prompt_rows) == len(clean_rows) == len(corrupt_rows)):
            counts = f"{len(prompt_rows)} prompts, {len(clean_rows)} and {len(corrupt_rows)} openings"
            raise InputError(f"found {counts}; give one prompt, clean and corrupt opening per pair")
        for index, prompt in enumerate(prompt_rows):
            if bos is not None and prompt[:2] == [bos, bos]:
                raise InputError(f"prompt {index} starts with two BOS tokens (id {bos}); render the chat template once")
        openings = zip(prompt_rows, clean_rows, corrupt_rows, strict=True)
        candidates = [Candidate(prompt, clean, corrupt) for prompt, clean, corrupt in openings]
        return cls._from_candidates(candidates, k, positions, problems=problem_labels(problems))

    @classmethod
    def _from_candidates(
        cls,
        candidates: Sequence[Candidate],
        k: int | None,
        positions: Positions,
        labels: Sequence[tuple[int, int]] | None = None,
        problems: Labels = None,
    ) -> "Pairs":
        check_labels(problems, len(candidates), "candidates")
        usable, dropped = usable_candidates(candidates, k)
        clean, corrupt, evaluated = [], [], []
        for index in usable:
            candidate = candidates[index].cut(k)
            clean.append(candidate.clean_text())
            corrupt.append(candidate.corrupt_text())
            # Whole texts have no prompt to end: their answer begins at the first difference.
            answer_start = len(candidate.prompt) or None
            evaluated.append(resolve_positions(positions, index, clean[-1], corrupt[-1], answer_start))
        table = None if labels is None else np.array(labels, dtype=np.int64)[usable]
        labels_left = None if problems is None else tuple(problems[index] for index in usable)
        return cls(tuple(clean), tuple(corrupt), tuple(evaluated), table, dropped, problems=labels_left)

    def __len__(self) -> int:
        return len(self.clean)

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> "Pairs": ...
    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray) -> "Pair | Pairs":
        """Return one ``Pair``, or the ``Pairs`` of a slice, a list of indices or a boolean mask."""
        if isinstance(index, int | np.integer):
            label = None if self.labels is None else (int(self.labels[index, 0]), int(self.labels[index, 1]))
            return Pair(self.clean[index], self.corrupt[index], self.positions[index], label)
        rows = list(range(*index.indices(len(self)))) if isinstance(index, slice) else self._list_indices(index)
        return replace(
            self,
            clean=tuple(self.clean[row] for row in rows),
            corrupt=tuple(self.corrupt[row] for row in rows),
            positions=tuple(self.positions[row] for row in rows),
            labels=None if self.labels is None else self.labels[rows],
            problems=None if self.problems is None else tuple(self.problems[row] for row in rows),
        )

    def _list_indices(self, index: Sequence[int] | np.ndarray) -> list[int]:
        array = np.asarray(index)
        if array.dtype == bool and array.shape != (len(self),):
            raise InputError(f"a mask of shape {array.shape} was given for {len(self)} pairs; give one value for each")
        indices: list[int] = (np.flatnonzero(array) if array.dtype == bool else array.astype(int)).tolist()
        return indices

    def groups(self) -> list[list[int]]:
        """Return groups of pairs that can share one run of a prefix, those of short endings and texts first.

        Pairs are in one group if they are equally long, their endings are of similar length (up to the same power of
        two), and all their texts agree before that many last tokens. So several answers to one problem are run side by
        side, and no pair runs twice the ending it needs.
        """
        groups: dict[tuple[int, int, bytes], list[int]] = {}
        for index, pair in enumerate(self):
            length = len(pair.clean)
            ending = min(length, 1 << (pair.ending - 1).bit_length())  # the next power of two
            groups.setdefault((ending, length, pair.clean[: length - ending].tobytes()), []).append(index)
        return [groups[key] for key in sorted(groups)]

    def split(self, seed: int) -> "tuple[Pairs, Pairs]":
        """Return two disjoint random halves of the problems with all their pairs, for the test-retest null.

        With an odd number of problems the first half is smaller by one. Raises InputError if there are fewer than two.
        """
        groups = self.problem_groups
        groups.require("splitting into halves")
        order = np.random.default_rng(seed).permutation(len(groups))
        is_first = np.isin(groups.numbers, order[: len(groups) // 2])
        return self[is_first], self[~is_first]

    def within(self, vocabulary: int, spell: Callable[[int], object] = str) -> "Pairs":
        """Return the pairs that two models with different vocabularies can both read, evaluated over the common part.

        Pairs with other tokens are left out and counted in ``dropped``. Raises InputError if none is left.

        vocabulary: number of first entries that both have. spell: returns the token of an id, for the message.
        """
        highest = [max(pair.clean.max(), pair.corrupt.max(), *(pair.label or ())) for pair in self]
        readable = [index for index, token in enumerate(highest) if token < vocabulary]
        if not readable:
            first = int(min(highest))
            raise InputError(
                f"all {len(self)} pairs hold a token that only one of the two models has, such as {spell(first)!r} "
                f"(id {first}); take prompts, openings or texts without it, or a base that was given the token"
            )
        dropped = dict(self.dropped)
        if len(readable) < len(self):
            dropped["token that one model lacks"] = len(self) - len(readable)
        return replace(self[readable], dropped=dropped, vocabulary=vocabulary)

    def exchange(self) -> "Pairs":
        """Return the pairs with clean and corrupt texts exchanged, and right and wrong labels with them."""
        labels = None if self.labels is None else self.labels[:, ::-1].copy()
        return replace(self, clean=self.corrupt, corrupt=self.clean, labels=labels)

    def digest(self) -> str:
        """Return the sha256 of ids, positions and labels in order, and of vocabulary and problems if there are any.

        ``dropped`` is not included.
        """
        digest = hashlib.sha256()
        for pair in self:
            label = np.array(pair.label or (), dtype=np.int64)
            for array in (pair.clean, pair.corrupt, pair.positions, label):
                # Each with its length and in one byte order, so that no two sets of pairs give the same bytes.
                digest.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
        if self.vocabulary is not None:
            digest.update(f"vocabulary {self.vocabulary}".encode())
        if self.problems is not None:
            digest.update(f"problems {json.dumps(self.problems)}".encode())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write ``pairs.safetensors`` and ``pairs.json`` into ``folder``, which is made if absent."""
        arrays = {
            "clean": np.concatenate(self.clean),
            "corrupt": np.concatenate(self.corrupt),
            "lengths": np.array([len(row) for row in self.clean]),
            "positions": np.concatenate(self.positions),
            "evaluated": np.array([len(row) for row in self.positions]),
        }
        if self.labels is not None:
            arrays["labels"] = self.labels
        metadata = {"pairs": len(self), "digest": self.digest(), "dropped": self.dropped}
        if self.vocabulary is not None:
            metadata["vocabulary"] = self.vocabulary
        if self.problems is not None:
            metadata["problems"] = list(self.problems)
        storage.save(folder, "pairs", self.schema, arrays, metadata)

    @classmethod
    def load(cls, folder: str | Path) -> "Pairs":
        """Read what ``save`` wrote.

        Raises InputError if it is absent, damaged (the digest tells) or made by a newer schema.
        """
        names = ("clean", "corrupt", "lengths", "positions", "evaluated")
        metadata, arrays = storage.load(folder, "pairs", cls.schema, keys=("digest", "dropped"), arrays=names)
        text_ends = np.cumsum(arrays["lengths"])[:-1]
        position_ends = np.cumsum(arrays["evaluated"])[:-1]
        pairs = cls(
            tuple(np.split(arrays["clean"], text_ends)),
            tuple(np.split(arrays["corrupt"], text_ends)),
            tuple(np.split(arrays["positions"], position_ends)),
            arrays.get("labels"),
            metadata["dropped"],
            metadata.get("vocabulary"),
            problem_labels(metadata.get("problems")),  # None in files of earlier versions
        )
        if pairs.digest() != metadata["digest"]:
            raise InputError(f"pairs.safetensors in {folder} does not hold the pairs that pairs.json was written for")
        return pairs
