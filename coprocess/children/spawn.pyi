"""Start one process that cannot outlive its parent."""

from collections.abc import Mapping, Sequence

def spawn(path: str, argv: Sequence[str], env: Mapping[str, str], cwd: str, fds: Sequence[int]) -> int:
    """Run `path` and return its process id; the caller reaps it.

    path: the program, not searched for; relative to `cwd` if it has no leading slash. env: the whole environment.
    cwd: "" for this process's. fds: what becomes descriptor 0, 1, 2, ...; 3 to 16 of them, all others are closed.

    The child leads a process group of its own (its id is the child's), has no signal blocked or ignored, and gets SIGKILL
    when the thread that called dies (PR_SET_PDEATHSIG; a set-user-ID program loses that). It is made by vfork, so no
    at-fork handler of any library runs and nothing of this process's memory is copied.

    Raises OSError (errno; the text says what could not be done) and ValueError (NUL bytes, number of descriptors).
    """
