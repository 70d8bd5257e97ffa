/* One child process: what happens between vfork and exec. Only async-signal-safe calls stand in the child's part.
 *
 * The child shares the parent's memory until exec, so it leaves its error in a variable of the caller. All signals are
 * blocked around it, and every disposition is the default before they are let through again: no handler of the parent
 * may ever run in the child. */

#ifndef PREFORGE_SPAWN_H
#define PREFORGE_SPAWN_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { SPAWN_FORK = 1, SPAWN_PARENT, SPAWN_CWD, SPAWN_FDS, SPAWN_EXEC };

static void spawn_close_from(int first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0U) == 0) return;
#endif
    long last = sysconf(_SC_OPEN_MAX);
    if (last < 0 || last > 1 << 20) last = 1 << 20;
    for (long fd = first; fd < last; fd++) close((int)fd);
}

static void spawn_default_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    for (int number = 1; number < _NSIG; number++) sigaction(number, &action, 0);
}

/* fds[i] becomes descriptor i; every one of them is >= count. Returns the child's id, or -1 with *error and *step. */
static pid_t __attribute__((noinline)) spawn_child(const char *path, char *const argv[], char *const envp[], const char *cwd,
                                                   const int *fds, int count, int *error, int *step) {
    volatile int failed = 0, where = 0;
    pid_t parent = getpid();
    sigset_t all, before, none;
    sigfillset(&all);
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &all, &before) != 0) {
        *error = errno;
        *step = SPAWN_FORK;
        return -1;
    }
    pid_t child = vfork();
    if (child == 0) {
        where = SPAWN_PARENT;
        if (setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0) {
            if (getppid() != parent) _exit(127); /* it died before it could be watched */
            where = SPAWN_CWD;
            if (cwd == 0 || chdir(cwd) == 0) {
                int i = 0;
                where = SPAWN_FDS;
                while (i < count && dup2(fds[i], i) >= 0) i++;
                if (i == count) {
                    spawn_close_from(count);
                    spawn_default_signals();
                    sigprocmask(SIG_SETMASK, &none, 0);
                    where = SPAWN_EXEC;
                    execve(path, argv, envp);
                }
            }
        }
        failed = errno;
        _exit(127);
    }
    if (child < 0) {
        failed = errno;
        where = SPAWN_FORK;
    }
    sigprocmask(SIG_SETMASK, &before, 0);
    *error = failed;
    *step = where;
    return child;
}

#endif
