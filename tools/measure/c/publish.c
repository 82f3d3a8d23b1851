/* What publishing costs in C: links the core, needs nothing of Python. One line a round: nanoseconds of a bare
 * shmbus_publish(), then of what a whole collector does for a message (clock, publish, bells).
 *
 *     publish BYTES MESSAGES ROUNDS
 *
 * Nobody reads: the ring is full most of the time, so retiring the oldest is part of the price.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shmbus.h"

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct shmbus_ring make_ring(void) {
    struct shmbus_ring_setup setup = {
        .geometry = {.slots = 8192, .producers = 8, .gates = 8, .arena_bytes = 4 << 20},
        .limits = {.max_messages = 8191, .max_message_bytes = 1 << 20, .max_bytes = 4 << 20},
        .topic = "bench.c", .type_name = "", .first_sequence = 1,
    };
    size_t size = shmbus_ring_bytes(&setup.geometry);
    int descriptor = memfd_create("bench.c", MFD_CLOEXEC);
    if (descriptor < 0 || ftruncate(descriptor, (off_t)size) < 0)
        fail("memfd_create");
    void *memory = shmbus_map(descriptor, size, setup.geometry.arena_bytes, true);
    if (!memory)
        fail("mmap");
    close(descriptor);
    shmbus_ring_init(memory, &setup);
    struct shmbus_ring ring;
    shmbus_ring_view(&ring, memory, &setup.geometry);
    return ring;
}

static double round_ns(struct shmbus_writer *writer, const void *data, size_t bytes, long messages, _Atomic uint32_t *bells) {
    struct shmbus_part part = {data, bytes};
    struct shmbus_message message = {.parts = &part, .count = 1, .time_ns = shmbus_now_ns(), .kind = SHMBUS_KIND_RAW};
    uint64_t sequence, started = shmbus_now_ns();
    for (long i = 0; i < messages; i++) {
        if (bells)
            message.time_ns = shmbus_now_ns();
        if (shmbus_publish(writer, &message, &sequence) != SHMBUS_OK) {
            fprintf(stderr, "message %ld was not published\n", i);
            exit(1);
        }
        for (int bell = 0; bells && bell < 3; bell++)
            shmbus_bell_ring(&bells[16 * bell]);
    }
    return (double)(shmbus_now_ns() - started) / (double)messages;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: publish BYTES MESSAGES ROUNDS\n");
        return 2;
    }
    size_t bytes = strtoul(arguments[1], NULL, 10);
    long messages = strtol(arguments[2], NULL, 10), rounds = strtol(arguments[3], NULL, 10);
    struct shmbus_ring ring = make_ring();
    struct shmbus_writer writer;
    static _Alignas(64) _Atomic uint32_t bells[48];
    unsigned char *data = calloc(1, bytes + 1);
    if (!data)
        fail("calloc");
    shmbus_writer_init(&writer, &ring, 1);
    round_ns(&writer, data, bytes, messages, bells); /* every page touched */
    for (long i = 0; i < rounds; i++) {
        double bare = round_ns(&writer, data, bytes, messages, NULL);
        printf("%.2f %.2f\n", bare, round_ns(&writer, data, bytes, messages, bells));
    }
    free(data);
    return 0;
}
