/* What a disk and a clock do on a bad day: loaded before the C library (LD_PRELOAD), see layer.py for the settings.
 * All processes of a trial count in one shared page, so that "the 17th call" is one call, whoever makes it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 4096

/* Beside the counts: files, by their numbers, and whether they hold anything that was not flushed. */
struct page {
    atomic_long calls, bytes, syncs, looks, reads;
    struct { atomic_long file, is_dirty; } files[SLOTS];
};

static struct page *page;
static const char *under, *fault;
static long at;

__attribute__((constructor)) static void begin(void) {
    const char *shared = getenv("FAULTS_PAGE"), *number = getenv("FAULTS_AT");
    under = getenv("FAULTS_UNDER");
    fault = getenv("FAULTS_KIND");
    if (!shared || !under || !fault || !number) return;
    at = atol(number);
    int file = (int)syscall(SYS_openat, AT_FDCWD, shared, O_RDWR | O_CLOEXEC, 0);
    void *found = (void *)syscall(SYS_mmap, NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0 && found != MAP_FAILED) page = found;
    if (file >= 0) syscall(SYS_close, file);
}

static int is(const char *kind) { return strcmp(fault, kind) == 0; }

static int lies_under(const char *path) { return strncmp(path, under, strlen(under)) == 0; }

static int named(const char *path) {
    char whole[2 * PATH_MAX];
    if (!page || !path) return 0;
    if (path[0] == '/') return lies_under(path);
    if (!getcwd(whole, PATH_MAX)) return 0;
    strcat(whole, "/");
    return lies_under(strncat(whole, path, PATH_MAX - 2));
}

static int opened(int file) {
    char link[40], path[PATH_MAX];
    if (!page || file < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return lies_under(path);
}

static void note(int file, long is_dirty) {
    struct stat about;
    if (!is("power") || syscall(SYS_fstat, file, &about)) return;
    for (long slot = about.st_ino % SLOTS, tries = 0; tries < SLOTS; slot = (slot + 1) % SLOTS, tries++) {
        long nobody = 0;
        if (!atomic_compare_exchange_strong(&page->files[slot].file, &nobody, (long)about.st_ino) &&
            nobody != (long)about.st_ino)
            continue;
        atomic_store(&page->files[slot].is_dirty, is_dirty);
        return;
    }
}

/* What is in a file when it is flushed stays on the disk, whatever is written there later: a copy, by its number. */
static void keep(int file) {
    struct stat about;
    char path[PATH_MAX], block[1 << 16];
    if (!is("power") || syscall(SYS_fstat, file, &about)) return;
    snprintf(path, sizeof path, "%s.flushed/%ld", getenv("FAULTS_PAGE"), (long)about.st_ino);
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int in = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    int out = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (ssize_t got; in >= 0 && out >= 0 && (got = syscall(SYS_read, in, block, sizeof block)) > 0;)
        if (syscall(SYS_write, out, block, got) < got) break;
    if (in >= 0) syscall(SYS_close, in);
    if (out >= 0) syscall(SYS_close, out);
}

/* Counts a call that changes the disk; 1 when it is to fail. */
static int strikes(int error) {
    long number = atomic_fetch_add(&page->calls, 1) + 1;
    if ((is("kill") && number == at) || (is("power") && number >= at)) kill(getpid(), SIGKILL);
    errno = error;
    return (is("fail") && number == at) || (is("dead") && number >= at);
}

/* How many of `wanted` bytes may be written; -1 for none. */
static ssize_t room_for(int file, size_t wanted) {
    if (strikes(EIO)) return -1;
    note(file, 1);
    long before = atomic_fetch_add(&page->bytes, (long)wanted);
    if (is("short") && wanted > 1) return (ssize_t)(wanted + 1) / 2;
    if (!is("full") || before + (long)wanted <= at) return (ssize_t)wanted;
    errno = ENOSPC;
    return before < at ? at - before : wanted ? -1 : 0;
}

static int sync_strikes(int file) {
    long number = atomic_fetch_add(&page->syncs, 1) + 1;
    if (strikes(EIO)) return 1;
    errno = EIO;
    if (is("fsync") && number == at) return 1;
    note(file, 0);
    keep(file);
    return 0;
}

/* Reading. */

static int read_strikes(int file) {
    if (!opened(file)) return 0;
    long number = atomic_fetch_add(&page->reads, 1) + 1;
    errno = EIO;
    return is("read") && number == at;
}

ssize_t read(int file, void *data, size_t size) {
    return read_strikes(file) ? -1 : syscall(SYS_read, file, data, size);
}

ssize_t pread64(int file, void *data, size_t size, off64_t place) {
    return read_strikes(file) ? -1 : syscall(SYS_pread64, file, data, size, place);
}

ssize_t pread(int file, void *data, size_t size, off_t place) { return pread64(file, data, size, place); }

ssize_t readv(int file, const struct iovec *parts, int count) {
    return read_strikes(file) ? -1 : syscall(SYS_readv, file, parts, count);
}

/* Writing. */

ssize_t write(int file, const void *data, size_t size) {
    ssize_t room = opened(file) ? room_for(file, size) : (ssize_t)size;
    return room < 0 ? -1 : syscall(SYS_write, file, data, room);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    ssize_t room = opened(file) ? room_for(file, size) : (ssize_t)size;
    return room < 0 ? -1 : syscall(SYS_pwrite64, file, data, room, place);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t place) { return pwrite64(file, data, size, place); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    if (!opened(file) || count < 1) return syscall(SYS_writev, file, parts, count);
    /* One part is as many as a file may take of several. */
    for (; count > 1 && !parts->iov_len; count--) parts++;
    return write(file, parts->iov_base, parts->iov_len);
}

ssize_t sendfile64(int out, int in, off64_t *place, size_t size) {
    size_t wanted = size > 1 << 20 ? 1 << 20 : size;
    ssize_t room = opened(out) ? room_for(out, wanted) : (ssize_t)size;
    return room < 0 ? -1 : syscall(SYS_sendfile, out, in, place, room);
}

ssize_t sendfile(int out, int in, off_t *place, size_t size) { return sendfile64(out, in, place, size); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    size_t wanted = size > 1 << 20 ? 1 << 20 : size;
    ssize_t room = opened(out) ? room_for(out, wanted) : (ssize_t)size;
    return room < 0 ? -1 : syscall(SYS_copy_file_range, in, from, out, to, room, flags);
}

int ftruncate64(int file, off64_t size) {
    return opened(file) && strikes(EIO) ? -1 : (int)syscall(SYS_ftruncate, file, size);
}

int ftruncate(int file, off_t size) { return ftruncate64(file, size); }

int fsync(int file) { return opened(file) && sync_strikes(file) ? -1 : (int)syscall(SYS_fsync, file); }

int fdatasync(int file) { return opened(file) && sync_strikes(file) ? -1 : (int)syscall(SYS_fdatasync, file); }

void *mmap64(void *where, size_t size, int rights, int flags, int file, off64_t place) {
    if (opened(file) && strikes(ENOMEM)) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, where, size, rights, flags, file, place);
}

void *mmap(void *where, size_t size, int rights, int flags, int file, off_t place) {
    return mmap64(where, size, rights, flags, file, place);
}

/* Names. */

static int open_at(int folder, const char *path, int flags, va_list more) {
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    int changes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    return changes && named(path) && strikes(EIO) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define OPENS(name, folder, ...)                    \
    int name(__VA_ARGS__ const char *path, int flags, ...) { \
        va_list more;                               \
        va_start(more, flags);                      \
        int file = open_at(folder, path, flags, more); \
        va_end(more);                               \
        return file;                                \
    }

OPENS(open, AT_FDCWD, )
OPENS(open64, AT_FDCWD, )
#define FOLDER int folder,
OPENS(openat, folder, FOLDER)
OPENS(openat64, folder, FOLDER)

int renameat(int in, const char *from, int out, const char *to) {
    return named(to) && strikes(EIO) ? -1 : (int)syscall(SYS_renameat2, in, from, out, to, 0);
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int link(const char *from, const char *to) {
    return named(to) && strikes(EIO) ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int symlink(const char *text, const char *path) {
    return named(path) && strikes(EIO) ? -1 : (int)syscall(SYS_symlinkat, text, AT_FDCWD, path);
}

int mkdir(const char *path, mode_t mode) {
    return named(path) && strikes(EIO) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path) {
    return named(path) && strikes(EIO) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* The clock on the wall: it stands elsewhere after every 20 looks. The one that only counts is left alone. */

static long shift(void) {
    static const long shifts[] = {0, 3600, -7200, 400 * 86400L, -30 * 86400L, -1, 86400, -20 * 365 * 86400L};
    if (!page || !is("clock")) return 0;
    return shifts[(atomic_fetch_add(&page->looks, 1) / 20 + at) % (long)(sizeof shifts / sizeof *shifts)];
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (now) *now = fine.tv_sec;
    return fine.tv_sec;
}
