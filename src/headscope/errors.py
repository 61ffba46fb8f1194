"""Errors that are not the code's: what a user can mend, and what a machine did.

The command line prints an ``InputError`` as one sentence and exits with 2; every other exception keeps its traceback.
"""

import difflib
import errno
from collections.abc import Iterable, Sequence

_PASSING_NAMES = (
    "EIO",
    "ESTALE",
    "EREMOTEIO",
    "ETIMEDOUT",
    "ENOLCK",
    "EMFILE",
    "ENFILE",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENETRESET",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENOTCONN",
    "ESHUTDOWN",
    "EADDRINUSE",
)
PASSING_ERRNOS = frozenset(getattr(errno, name) for name in _PASSING_NAMES if hasattr(errno, name))
"""Numbers of errors of a disk, a file server, the network, and a system without free file handles or ports.

Not every system has all of them.
"""
PASSING_WORDS = ("Input/output error", "Stale file handle", "Too many open files", "EADDRINUSE")
"""What libraries that are not written in Python say of some of them: the system's words, or the name."""
PEER_WORDS = ("Connection closed by peer", "Connection reset by peer", "remote process exited")
"""Of gloo and NCCL, in a process that trains with one that ended."""


class InputError(ValueError):
    """A user's input that cannot be used; the message is one sentence to act on."""


class ManyInputsError(InputError):
    """Several things to correct, a sentence each."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = tuple(sentences)


class MachineError(RuntimeError):
    """Something that a machine did, such as killing a worker process; the same call may succeed next time."""


class OutOfMemoryError(MachineError):
    """Memory ran out although the work was already cut as small as it can be."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether ``error`` says that no space, or none of the user's quota, was left on a disk."""
    if error.__cause__ is not None and is_disk_full(error.__cause__):  # a library's own error about it
        return True
    # safetensors and other libraries not written in Python raise an error of their own, with the system's words.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that a device, or this machine, had no memory left; torch is not needed for it."""
    refusals = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
    is_named_so = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named_so or any(words in str(error) for words in refusals)


def is_machine_trouble(error: BaseException) -> bool:
    """Return whether ``error`` says that a disk, a file server, the network or a GPU failed, which may pass.

    A GPU's errors are all counted: after one, whatever the process asks of it fails, other units too.
    """
    cause = error.__cause__
    if cause is not None and is_machine_trouble(cause) and not (isinstance(error, InputError) and is_gpu_lost(cause)):
        return True  # as of an InputError about a file that cannot be read now
    if isinstance(error, OSError) and error.errno in PASSING_ERRNOS:
        return True
    return is_gpu_lost(error) or is_peer_lost(error) or any(words in str(error) for words in PASSING_WORDS)


def is_peer_lost(error: BaseException) -> bool:
    """Return whether ``error`` says that another process, which this one works with, does not answer any more."""
    return any(words in str(error) for words in PEER_WORDS)


def is_gpu_lost(error: BaseException) -> bool:
    """Return whether ``error`` is one of a GPU after which this process can use it no more."""
    # An InputError is about what the GPU cannot do, as with a kernel that was not built for it, and a MachineError is
    # about another process, which takes its error with it.
    if isinstance(error, InputError | MachineError):
        return False
    if error.__cause__ is not None and is_gpu_lost(error.__cause__):
        return True
    return type(error).__name__ == "AcceleratorError" or "CUDA error:" in str(error)


def suggestion(name: object, allowed: Iterable[str]) -> str:
    """Return the tail of a sentence about a misspelt ``name``: `` (did you mean 'x'?)``, or the allowed names.

    >>> suggestion("learning_rat", ["learning_rate", "epochs"])
    " (did you mean 'learning_rate'?)"
    >>> suggestion("zzz", ["a", "b"])
    ' (allowed: a, b)'
    """
    choices = sorted(allowed)
    nearest = difflib.get_close_matches(str(name), choices, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else f" (allowed: {', '.join(choices)})"


def count_noun(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one.

    >>> count_noun(1, "weight")
    '1 weight'
    >>> count_noun(2, "weight")
    '2 weights'
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
