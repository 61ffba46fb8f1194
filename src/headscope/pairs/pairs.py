"""Clean/corrupt pairs of token sequences: equal in length within a pair, ragged across pairs.

The clean text elicits a behaviour, the corrupt one does not; both share a beginning and differ in their last
tokens (method section 3, "Pairs"). Everything is NumPy: a pair can be saved and compared without torch.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, overload

import numpy as np
from jaxtyping import Int

from headscope import storage
from headscope.errors import InputError
from headscope.pairs import positions as evaluated
from headscope.pairs import text
from headscope.pairs.candidates import Candidate, usable
from headscope.pairs.positions import Positions
from headscope.pairs.tokens import Tokens, check_lengths, rows, shared_length


class Pair(NamedTuple):
    """One pair: ids of equal length, evaluated positions, and (right, wrong) next tokens where labelled."""

    clean: np.ndarray
    corrupt: np.ndarray
    positions: np.ndarray
    label: tuple[int, int] | None

    @property
    def shared(self) -> int:
        """Number of leading tokens that are equal in both texts."""
        return shared_length(self.clean, self.corrupt)

    @property
    def ending(self) -> int:
        """How many last positions must be run anew: from the first difference or evaluated position on."""
        return len(self.clean) - min(self.shared, int(self.positions.min()))


@dataclass(frozen=True, eq=False)
class Pairs(storage.Result):
    """Pairs of one discovery set.

    clean, corrupt: per pair int64 [token] ids; the two of a pair have equal length.
    positions: per pair int64 [evaluated] sorted positions whose next-token distribution the metric reads.
    labels: int64 [pair, 2], the right and the wrong next token after the evaluated positions, or None.
    dropped: how many candidates were left out when the pairs were made, by reason.
    vocabulary: next-token distributions are read over so many first entries, renormalised; None for a model's all.

    Raises InputError where lengths differ within a pair, a text is empty, or a position lies outside its
    text.
    """

    kind: ClassVar[str] = "pairs"
    schema: ClassVar[int] = 1

    clean: tuple[Tokens, ...]
    corrupt: tuple[Tokens, ...]
    positions: tuple[Tokens, ...]
    labels: Int[np.ndarray, "pair 2"] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        if not self.clean or not (len(self.clean) == len(self.corrupt) == len(self.positions)):
            found = f"{len(self.clean)} clean, {len(self.corrupt)} corrupt texts, {len(self.positions)} positions"
            raise InputError(f"pairs need one corrupt text and one list of positions per clean text, found {found}")
        if self.labels is not None and len(self.labels) != len(self.clean):
            raise InputError(f"labels hold {len(self.labels)} rows for {len(self.clean)} pairs; give one row each")
        for index, pair in enumerate(self):
            check_lengths(index, pair.clean, pair.corrupt)
            evaluated.check(index, pair.positions, len(pair.clean))

    def __repr__(self) -> str:
        lengths = [len(text) for text in self.clean]
        spread = str(lengths[0]) if len(set(lengths)) == 1 else f"{min(lengths)}–{max(lengths)}"
        shared = [pair.shared for pair in self]
        dropped = "".join(f"; dropped: {count} {reason}" for reason, count in self.dropped.items())
        return f"Pairs: {len(self)} of {spread} tokens, the first {min(shared)}–{max(shared)} of them shared{dropped}"

    @classmethod
    def from_tokens(cls, clean: Any, corrupt: Any, positions: Positions = None, labels: Any = None) -> "Pairs":
        """Pairs from token ids: arrays [pair, token] (NumPy or torch) or lists of rows of differing lengths.

        positions: ``"last"`` (default), ``"answer"`` (from the first differing token on), one list for all
            pairs (negative numbers count from the end), or one list per pair.
        labels: [pair, 2] ids of the right and the wrong next token, for ``logit_diff`` and ``nll``.
        Raises InputError where lengths differ within a pair or a position is out of range.
        """
        rows_clean, rows_corrupt = rows(clean), rows(corrupt)
        if len(rows_clean) != len(rows_corrupt):
            raise InputError(f"found {len(rows_clean)} clean and {len(rows_corrupt)} corrupt texts; give one of each")
        chosen = []
        for index, (one, other) in enumerate(zip(rows_clean, rows_corrupt, strict=True)):
            check_lengths(index, one, other)
            chosen.append(evaluated.choose(positions, index, one, other))
        evaluated.check_count(positions, len(rows_clean))
        table = None if labels is None else np.array(rows(labels), dtype=np.int64)
        if table is not None and table.shape != (len(rows_clean), 2):
            raise InputError(f"labels have shape {table.shape}; {len(rows_clean)} pairs need ({len(rows_clean)}, 2)")
        return cls(tuple(rows_clean), tuple(rows_corrupt), tuple(chosen), table)

    @classmethod
    def from_text(
        cls,
        tokenizer: Any,
        clean: Sequence[str],
        corrupt: Sequence[str],
        *,
        prompts: Sequence[text.Prompt] | None = None,
        k: int | None = None,
        positions: Positions = None,
        labels: Sequence[tuple[str, str]] | None = None,
    ) -> "Pairs":
        """Pairs from texts: whole ones, or two answers to the same prompt.

        tokenizer: a Hugging Face tokenizer. Its BOS stands once: not before a rendered prompt, which brings its own,
            and not a second time before a whole text that begins with it.
        prompts: per pair the chat messages both texts answer, rendered once with the chat template, or text already
            rendered. Answers are tokenised on their own, as generation would have them.
        k: answers are cut to their first so many tokens; None keeps them whole.
        positions: as in ``from_tokens``, one list per candidate where it is lists; ``"answer"`` means all tokens of
            the answer where there are prompts.
        labels: per candidate the right and the wrong next token, each a text of one token.
        Candidates whose texts differ in length (after the cut: are too short for it), or are equal, are dropped and
        counted in ``dropped``; nothing is ever padded.
        Raises InputError where no pair is left, the numbers of texts differ, ``k`` is given without prompts, or
        the tokenizer refuses a text.
        """
        if k is not None and prompts is None:
            raise InputError(f"found k={k} without prompts; only an answer to a prompt is cut, a whole text is not")
        if labels is not None and len(labels) != len(clean):
            raise InputError(f"labels hold {len(labels)} rows for {len(clean)} pairs; give one row each")
        found = text.candidates(tokenizer, clean, corrupt, prompts)
        ids = None if labels is None else [[text.single_token(tokenizer, each) for each in row] for row in labels]
        return cls._from_candidates(found, k, positions, ids)

    @classmethod
    def from_openings(
        cls,
        prompts: Sequence[Sequence[int]],
        clean_openings: Sequence[Sequence[int]],
        corrupt_openings: Sequence[Sequence[int]],
        k: int = 16,
        positions: Positions = "last",
        bos: int | None = None,
    ) -> "Pairs":
        """Pairs from rendered prompts and sampled answers of two styles, cut to their first ``k`` tokens.

        Candidates with an answer shorter than ``k`` tokens, or equal after the cut, are dropped and counted
        in ``dropped``.
        positions: as in ``from_tokens``; ``"answer"`` means all tokens of the cut answer.
        bos: id of the beginning-of-sequence token; a prompt that starts with two of them was rendered twice.
        Raises InputError where the numbers of prompts and openings differ, a prompt has two BOS, or no pair
        is left.
        """
        if not (len(prompts) == len(clean_openings) == len(corrupt_openings)):
            counts = f"{len(prompts)} prompts, {len(clean_openings)} and {len(corrupt_openings)} openings"
            raise InputError(f"found {counts}; give one prompt, clean and corrupt opening per pair")
        for index, prompt in enumerate(prompts):
            if bos is not None and list(prompt[:2]) == [bos, bos]:
                raise InputError(f"prompt {index} starts with two BOS tokens (id {bos}); render the chat template once")
        found = [Candidate(*each) for each in zip(prompts, clean_openings, corrupt_openings, strict=True)]
        return cls._from_candidates(found, k, positions)

    @classmethod
    def _from_candidates(
        cls, candidates: Sequence[Candidate], k: int | None, wanted: Positions, labels: Any = None
    ) -> "Pairs":
        kept, dropped = usable(candidates, k)
        clean, corrupt, chosen = [], [], []
        for index in kept:
            one, other = candidates[index].cut(k).rows()
            # Whole texts have no prompt to end: their answer begins where they part.
            answer = len(candidates[index].prompt) or None
            clean.append(one)
            corrupt.append(other)
            chosen.append(evaluated.choose(wanted, index, one, other, answer))
        table = None if labels is None else np.array(labels, dtype=np.int64)[kept]
        return cls(tuple(clean), tuple(corrupt), tuple(chosen), table, dropped)

    def __len__(self) -> int:
        return len(self.clean)

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: "slice | Sequence[int] | np.ndarray") -> "Pairs": ...
    def __getitem__(self, index: Any) -> "Pair | Pairs":
        """One ``Pair``, or the ``Pairs`` of a slice, a list of indices or a boolean mask."""
        if isinstance(index, int | np.integer):
            label = None if self.labels is None else (int(self.labels[index, 0]), int(self.labels[index, 1]))
            return Pair(self.clean[index], self.corrupt[index], self.positions[index], label)
        chosen = range(*index.indices(len(self))) if isinstance(index, slice) else self._listed(index)
        return replace(
            self,
            clean=tuple(self.clean[i] for i in chosen),
            corrupt=tuple(self.corrupt[i] for i in chosen),
            positions=tuple(self.positions[i] for i in chosen),
            labels=None if self.labels is None else self.labels[list(chosen)],
        )

    def _listed(self, index: "Sequence[int] | np.ndarray") -> list[int]:
        wanted = np.asarray(index)
        if wanted.dtype == bool and wanted.shape != (len(self),):
            raise InputError(f"a mask of shape {wanted.shape} was given for {len(self)} pairs; give one value for each")
        listed: list[int] = np.flatnonzero(wanted).tolist() if wanted.dtype == bool else wanted.astype(int).tolist()
        return listed

    def groups(self) -> list[list[int]]:
        """Indices of pairs that one run of a prefix serves, groups of short endings and short texts first.

        Two pairs are together when they are equally long, their endings are alike (within a factor of two), and
        all their texts agree before the longest ending of that class, 1, 2, 4, 8, … tokens: so several answers to
        one problem stand side by side, and no pair runs twice the ending it needs.
        """
        found: dict[tuple[int, int, bytes], list[int]] = {}
        for index, pair in enumerate(self):
            length = len(pair.clean)
            ending = min(length, 1 << (pair.ending - 1).bit_length())
            found.setdefault((ending, length, pair.clean[: length - ending].tobytes()), []).append(index)
        return [found[key] for key in sorted(found)]

    def split(self, seed: int) -> "tuple[Pairs, Pairs]":
        """Two disjoint random halves (of an odd number the first is smaller), for the test-retest null.

        Raises InputError where there are fewer than two pairs.
        """
        if len(self) < 2:
            raise InputError("found 1 pair; splitting into halves needs at least 2")
        order = np.random.default_rng(seed).permutation(len(self))
        half = len(self) // 2
        return self[np.sort(order[:half])], self[np.sort(order[half:])]

    def within(self, vocabulary: int, spell: Callable[[int], object] = str) -> "Pairs":
        """Return the pairs that two models of different vocabularies can both read, compared over the common part.

        vocabulary: entries that both have, the first ones of each. spell: gives the token of an id, for the message.
        Pairs with another token are left out and counted in ``dropped``. Raises InputError where none is left.
        """
        highest = [max(pair.clean.max(), pair.corrupt.max(), *(pair.label or ())) for pair in self]
        readable = [index for index, token in enumerate(highest) if token < vocabulary]
        if not readable:
            first = int(min(highest))
            raise InputError(
                f"all {len(self)} pairs hold a token that only one of the two models has, such as {spell(first)!r} "
                f"(id {first}); take prompts, openings or texts without it, or a base that was given the token"
            )
        unread = len(self) - len(readable)
        counts = self.dropped | ({"token that one model lacks": unread} if unread else {})
        return replace(self[readable], dropped=counts, vocabulary=vocabulary)

    def exchanged(self) -> "Pairs":
        """Clean and corrupt texts in each other's place, right and wrong labels with them."""
        labels = None if self.labels is None else self.labels[:, ::-1].copy()
        return replace(self, clean=self.corrupt, corrupt=self.clean, labels=labels)

    def digest(self) -> str:
        """sha256 over token ids, positions and labels in order, and the vocabulary; what was dropped plays no part."""
        digest = hashlib.sha256()
        for pair in self:
            for array in (
                pair.clean,
                pair.corrupt,
                pair.positions,
                np.array(pair.label or (), dtype=np.int64),
            ):
                digest.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
        if self.vocabulary is not None:
            digest.update(f"vocabulary {self.vocabulary}".encode())
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
        kept = arrays if self.labels is None else {**arrays, "labels": self.labels}
        about = {"pairs": len(self), "digest": self.digest(), "dropped": self.dropped}
        about |= {} if self.vocabulary is None else {"vocabulary": self.vocabulary}
        storage.save(folder, "pairs", self.schema, kept, about)

    @classmethod
    def load(cls, folder: str | Path) -> "Pairs":
        """Read what ``save`` wrote. Raises InputError where it is absent, damaged (the digest tells) or made by a
        newer schema.
        """
        names = ("clean", "corrupt", "lengths", "positions", "evaluated")
        about, arrays = storage.load(folder, "pairs", cls.schema, keys=("digest", "dropped"), arrays=names)
        cuts, picked = np.cumsum(arrays["lengths"])[:-1], np.cumsum(arrays["evaluated"])[:-1]
        pairs = cls(
            tuple(np.split(arrays["clean"], cuts)),
            tuple(np.split(arrays["corrupt"], cuts)),
            tuple(np.split(arrays["positions"], picked)),
            arrays.get("labels"),
            about["dropped"],
            about.get("vocabulary"),
        )
        if pairs.digest() != about["digest"]:
            raise InputError(f"pairs.safetensors in {folder} does not hold the pairs that pairs.json was written for")
        return pairs
