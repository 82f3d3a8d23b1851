/* A ring on a descriptor of its own, and messages whose content tells who wrote them and how many came before.
 *
 * A rig can be looked at again: rig_look() maps the same segment at another address, as another process would.
 */
#ifndef RIG_H
#define RIG_H

#include <stdlib.h>

#include "check.h"
#include "layout.h"

#ifdef __SANITIZE_THREAD__
#define UNDER_THREAD_SANITIZER 1
#else
#define UNDER_THREAD_SANITIZER 0
#endif

extern const uint8_t rig_boot[16];

struct rig {
    int descriptor;
    bool owner;
    void *memory;
    struct shmbus_geometry geometry;
    struct shmbus_ring ring;
};

/* 64 slots, 64 KiB, two producers more than anybody needs, no limit below the geometry. */
struct shmbus_ring_setup rig_setup(void);
struct rig rig_open(const struct shmbus_ring_setup *setup);
struct rig rig_small(uint32_t slots, uint64_t arena_bytes);
struct rig rig_look(const struct rig *rig, bool writable);
void rig_close(struct rig *rig);

/* Message `number` of `producer`, of `length` >= RIG_LEAST bytes: both numbers, then bytes that follow from them. */
#define RIG_LEAST 12u
#define RIG_MOST (1u << 20)
void rig_fill(void *payload, uint32_t producer, uint64_t number, uint32_t length);
bool rig_genuine(const void *payload, uint32_t length, uint32_t *producer, uint64_t *number);

enum shmbus_result rig_publish(struct shmbus_writer *writer, uint64_t number, uint32_t length, uint64_t *sequence);
/* Publish, and insist on success; the sequence. */
uint64_t rig_must_publish(struct shmbus_writer *writer, uint64_t number, uint32_t length);

/* 20 bytes with a time, and an expiry (0: never), of the caller's choice. */
void rig_publish_timed(struct shmbus_writer *writer, uint64_t number, uint64_t time_ns, uint64_t expires_ns);

struct rig_message {
    struct shmbus_frame frame;
    uint32_t producer;
    uint64_t number;
};
/* Peek and take; on SHMBUS_OK the content has been checked against what rig_fill() makes. */
enum shmbus_result rig_read(const struct shmbus_ring *ring, uint64_t cursor, bool gated, struct rig_message *message);

struct rig_session {
    struct shmbus_session_page *page;
    struct shmbus_session_ref ref;
};
struct rig_session rig_session(uint32_t session, uint32_t cursors);
void rig_session_close(struct rig_session *session);

struct rig_group {
    void *memory;
    size_t size;
    struct shmbus_group_setup setup;
    struct shmbus_session_ref ref; /* for gates: its cursors are the lanes */
};
/* `rows` of its ledger, 0: it has none. */
struct rig_group rig_group(uint32_t session, uint32_t lanes, uint32_t window, uint32_t producers, uint32_t rows);
/* The same of the layout before. */
struct rig_group rig_uncounted_group(uint32_t session, uint32_t lanes, uint32_t window, uint32_t producers, uint32_t rows);
struct shmbus_group rig_member(const struct rig_group *group, uint32_t lane, uint32_t member);
struct shmbus_group rig_coordinator(const struct rig_group *group, uint32_t lane); /* nobody's member */
void rig_group_close(struct rig_group *group);

/* Claim the next slot as a process does that is stopped before it writes, by copying the ring's own word. Returns the
 * sequence; *word is what the claim looks like. */
uint64_t rig_claim(const struct shmbus_ring *ring, uint32_t producer, uint32_t units, bool help, uint64_t *word);
bool rig_commit(const struct shmbus_ring *ring, uint64_t sequence, uint64_t word);
struct shmbus_slot *rig_slot(const struct shmbus_ring *ring, uint64_t sequence);

#endif
