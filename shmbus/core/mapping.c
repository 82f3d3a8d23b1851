/* Mapping descriptors: with bell.c and clock.c all that the core asks of the operating system. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "killpoint.h"
#include "shmbus.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14; missing in the headers of an older C library */
#define MADV_POPULATE_WRITE 23
#endif

void *shmbus_map(int descriptor, size_t size, size_t mirrored, bool writable) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    /* Address space first, so that nothing else can be mapped between the two views of the mirrored part. */
    unsigned char *base = mmap(NULL, size + mirrored, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mmap(base, size, protection, MAP_SHARED | MAP_FIXED, descriptor, 0) == MAP_FAILED ||
        (mirrored && mmap(base + size, mirrored, protection, MAP_SHARED | MAP_FIXED, descriptor,
                          (off_t)(size - mirrored)) == MAP_FAILED)) {
        int error = errno;
        munmap(base, size + mirrored);
        errno = error;
        return NULL;
    }
    KILLPOINT("attach.mapped");
    return base;
}

void shmbus_unmap(void *memory, size_t size, size_t mirrored) {
    munmap(memory, size + mirrored);
}

bool shmbus_back(void *memory, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)memory & ~(page - 1), end = (uintptr_t)memory + bytes;
    return madvise((void *)first, end - first, MADV_POPULATE_WRITE) == 0; /* where a store would be a SIGBUS, this is an error */
}
