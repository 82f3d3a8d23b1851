/* Mapping descriptors: with bell.c and clock.c all that the core asks of the operating system. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "killpoint.h"
#include "shmbus.h"

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
