/* Atomic words, robust mutexes and the clock of accel/limits.pyx, between the processes of one node. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t lim_load(const uint64_t *w) { return __atomic_load_n(w, __ATOMIC_ACQUIRE); }
static inline void lim_store(uint64_t *w, uint64_t v) { __atomic_store_n(w, v, __ATOMIC_RELEASE); }
static inline uint64_t lim_add(uint64_t *w, int64_t v) {
    return __atomic_add_fetch(w, (uint64_t)v, __ATOMIC_ACQ_REL);
}
static inline int lim_swap(uint64_t *w, uint64_t old, uint64_t value) {
    return __atomic_compare_exchange_n(w, &old, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static int lim_mutex_init(void *at) {
    pthread_mutexattr_t attr;
    int failed = pthread_mutexattr_init(&attr) || pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED)
        || pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST)
        || pthread_mutex_init((pthread_mutex_t *)at, &attr);
    return failed;
}
/* 0: taken; 1: taken from a process that died with it; else not taken */
static int lim_mutex_lock(void *at) {
    int result = pthread_mutex_lock((pthread_mutex_t *)at);
    if (result != EOWNERDEAD)
        return result ? -1 : 0;
    return pthread_mutex_consistent((pthread_mutex_t *)at) ? -1 : 1;
}
static inline void lim_mutex_unlock(void *at) { pthread_mutex_unlock((pthread_mutex_t *)at); }
static inline int64_t lim_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
static const int LIM_MUTEX_BYTES = sizeof(pthread_mutex_t);
