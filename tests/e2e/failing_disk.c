/* A disk that fails when it is told to: loaded before the C library (LD_PRELOAD), for a program that runs on.
 * The file that FAILING_DISK names holds one word, and may change at any time:
 *   full      every write to a file fails with ENOSPC, as on a full disk
 *   readonly  every write, and every opening for writing, fails with EROFS, as after an error of the disk
 *   unsynced  every sync of a file fails with EIO
 * Sockets and pipes are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int stands_at(const char *word) {
    char text[16] = {0};
    const char *path = getenv("FAILING_DISK");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return 0;
    ssize_t count = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    return count > 0 && strcmp(text, word) == 0;
}

static int is_file(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
}

/* What a write to `fd` fails with, or 0. */
static int write_error(int fd) {
    if (!is_file(fd)) return 0;
    if (stands_at("full")) return ENOSPC;
    return stands_at("readonly") ? EROFS : 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES(fd) do { int error = write_error(fd); if (error) { errno = error; return -1; } } while (0)
#define SYNCS(fd) do { if (is_file(fd) && stands_at("unsynced")) { errno = EIO; return -1; } } while (0)

ssize_t write(int fd, const void *from, size_t count) { WRITES(fd); return NEXT(write)(fd, from, count); }
ssize_t writev(int fd, const struct iovec *from, int count) { WRITES(fd); return NEXT(writev)(fd, from, count); }
ssize_t pwrite(int fd, const void *from, size_t count, off_t at) { WRITES(fd); return NEXT(pwrite)(fd, from, count, at); }
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) { WRITES(fd); return NEXT(pwrite64)(fd, from, count, at); }
int posix_fallocate(int fd, off_t at, off_t count) { int error = write_error(fd); return error ? error : NEXT(posix_fallocate)(fd, at, count); }
int posix_fallocate64(int fd, off64_t at, off64_t count) { int error = write_error(fd); return error ? error : NEXT(posix_fallocate64)(fd, at, count); }
int fsync(int fd) { SYNCS(fd); return NEXT(fsync)(fd); }
int fdatasync(int fd) { SYNCS(fd); return NEXT(fdatasync)(fd); }

static int opens(const char *path, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY && stands_at("readonly")) {
        errno = EROFS;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define OPENS mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } return opens(path, flags, mode)
int open(const char *path, int flags, ...) { OPENS; }
int open64(const char *path, int flags, ...) { OPENS; }
