/* An ailing disk below a process that preloads this: slow to sync, or full.
 *
 * The environment names a file of doubles (DISK_SHIM_FILE), which is mapped, so that whoever writes it is heeded at
 * once; see tests/processes/ailing_disk.py for what each is. Of a slow disk writes go to the page cache as ever, and
 * a sync takes a time of its own and one for each byte written since the last. On a full one no regular file grows.
 * Standard output and standard error are left alone. No allocation: safe wherever the calls are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile double *told; /* sync seconds, bytes a second (0: any), full, bytes written, syncs */
static _Atomic long long written, unsynced, syncs;

__attribute__((constructor)) static void map_told(void)
{
    const char *path = getenv("DISK_SHIM_FILE");
    int file = path ? open(path, O_RDWR) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 5 * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (mapped != MAP_FAILED)
        told = mapped;
}

/* Whether a write of `size` bytes is of interest; -1 with ENOSPC when there is no room for it. `at` < 0: at the end. */
static int look(int fd, size_t size, off_t at)
{
    struct stat facts;
    if (!told || fd <= 2 || fstat(fd, &facts) || !S_ISREG(facts.st_mode))
        return 0;
    if (told[2] != 0.0 && (at < 0 || at + (off_t)size > facts.st_size)) {
        errno = ENOSPC;
        return -1;
    }
    return 1;
}

static ssize_t counted(ssize_t result, int of_interest)
{
    if (result > 0 && of_interest) {
        atomic_fetch_add(&unsynced, result);
        told[3] = (double)(atomic_fetch_add(&written, result) + result);
    }
    return result;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    int of_interest = look(fd, size, -1);
    return of_interest < 0 ? -1 : counted(syscall(SYS_write, fd, bytes, size), of_interest);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
    int of_interest = look(fd, size, at);
    return of_interest < 0 ? -1 : counted(syscall(SYS_pwrite64, fd, bytes, size, at), of_interest);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return pwrite64(fd, bytes, size, at);
}

static void wait_for_disk(void)
{
    if (!told)
        return;
    double bytes = (double)atomic_exchange(&unsynced, 0);
    told[4] = (double)(atomic_fetch_add(&syncs, 1) + 1);
    double seconds = told[0] + (told[1] > 0.0 ? bytes / told[1] : 0.0);
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (seconds > 0.0 && nanosleep(&left, &left) && errno == EINTR)
        ;
}

int fsync(int fd)
{
    wait_for_disk();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    wait_for_disk();
    return (int)syscall(SYS_fdatasync, fd);
}
