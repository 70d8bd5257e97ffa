"""See spawn.pyi; the part that runs in the child is spawn.h."""

import fcntl
import os

from libc.stdlib cimport calloc, free

cdef extern from "spawn.h":
    enum:
        SPAWN_FORK
        SPAWN_PARENT
        SPAWN_CWD
        SPAWN_FDS
        SPAWN_EXEC
    int spawn_child(const char *path, char **argv, char **envp, const char *cwd, const int *fds, int count, int *error, int *step)

cdef enum:
    MOST_FDS = 16

STEPS = {
    SPAWN_FORK: "no process could be made",
    SPAWN_PARENT: "it could not be tied to this process",
    SPAWN_CWD: "its working directory cannot be entered",
    SPAWN_FDS: "its descriptors could not be set up",
    SPAWN_EXEC: "its program cannot be run",
}


cdef char **strings(list items) except NULL:
    """A NULL-terminated array that borrows the bytes of `items`: it lives no longer than they do."""
    cdef char **found = <char **>calloc(len(items) + 1, sizeof(char *))
    cdef Py_ssize_t i
    if found is NULL:
        raise MemoryError
    for i in range(len(items)):
        found[i] = items[i]
    return found


cdef list texts(items, str what):
    cdef list found = [os.fsencode(item) for item in items]
    for item in found:
        if b"\0" in item:
            raise ValueError(f"{what}: a NUL byte cannot be passed to a process")
    return found


def spawn(path, argv, env, cwd, fds) -> int:
    cdef list arguments = texts(argv, "argv")
    cdef list environment = texts((f"{key}={value}" for key, value in env.items()), "env")
    cdef bytes program = texts([path], "path")[0]
    cdef bytes folder = texts([cwd or ""], "cwd")[0]
    cdef int[MOST_FDS] wanted
    cdef int count = len(fds), error = 0, step = 0, pid = -1, i
    cdef char **argp = NULL
    cdef char **envp = NULL
    cdef list high = []
    if not 3 <= count <= MOST_FDS:
        raise ValueError(f"fds: 3 to {MOST_FDS} descriptors, got {count}")
    try:
        for fd in fds:      # above `count`, so that no dup2 in the child hits one that is still needed
            high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, count))
        for i in range(count):
            wanted[i] = high[i]
        argp = strings(arguments)
        envp = strings(environment)
        pid = spawn_child(program, argp, envp, <const char *>folder if folder else NULL, wanted, count, &error, &step)
    finally:
        free(argp)
        free(envp)
        for fd in high:
            os.close(fd)
    if error and pid > 0:
        os.waitpid(pid, 0)
        pid = -1
    if pid < 0:
        raise OSError(error, f"{STEPS.get(step, '')}: {os.strerror(error)}", cwd if step == SPAWN_CWD else path)
    return pid
