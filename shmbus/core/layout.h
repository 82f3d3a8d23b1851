/* What stands where in shared memory. The pictures and the compiler agree (see the assertions).
 *
 * ring segment
 *
 *   0x0000  magic u64 (stored last, release) · layout version · meta bytes · geometry · names · boot id
 *   0x0200  limits (changed by the coordinator while the ring is in use) · successor
 *   0x0280  tail            {sequence : 40, position in units : 24}          each on a pair of
 *   0x0300  head            the same                                         cache lines of its own
 *   0x0380  gate            slowest reliable cursor as last scanned
 *   0x0400  hint            a full 64-bit sequence, behind head by less than 2^39
 *   0x0480  counters        bytes published, claims aborted
 *   0x0600  producer[]      64 bytes each, written by the coordinator
 *           numbers[]       64 bytes each, written by that producer, see leaps.c
 *           gate[]          16 bytes each, written by the coordinator
 *   page    slot[]          16 bytes each
 *   page    arena           frames of 64-byte units; mapped twice, back to back
 *
 * slot word  {lap : 32, state : 2, producer : 12, length in units : 18}
 *
 * lap = sequence / slots (32 bits of it). The lap and the slot's number together name a sequence, so a compare-and-swap
 * that was prepared for one lap cannot succeed in another.
 *
 * session segment
 *
 *   0x0000  magic u64 · layout version · session id · capacity · identity · boot id · bell · rows with memory
 *   0x0080  heartbeat u64 · health u32: what the client says of itself, 0 (UNKNOWN): nothing
 *   0x0100  cursor[]        64 bytes each, written by the client
 *           first[]         u32 for each cursor: its first row + 1
 *           row[]           64 bytes each: what one cursor got and missed of one producer, see ledger.c
 *           before[]        u64 for each row: messages of that producer before its first. Of both, all but the first have no
 *                           memory before the client needs it
 *
 * group segment
 *
 *   0x0000  a session page whose cursors are the group's lanes
 *   page    magic u64 · layout version · lanes · window · producers · rows
 *   0x0080  member[64]      64 bytes each, written by the coordinator
 *           record          length u32, then what the coordinator remembers of the group
 *   page    log[65]         what one of those who write here is going to change: its members, and the coordinator
 *   page    lane[]          next · verdict · ticket · returned · blocked · counters, then word[window] · time[window] ·
 *                           judged[producers] · row[rows], by producer id · before[rows] · whose[window], 32 bits each
 *
 *           word    {lap : 48, state : 2, tries : 8, member : 6}, or, settled, {lap : 48, ending : 4 of 2 + 2, producer : 12}
 *           time    {milliseconds : 44, tries : 8, lap : 12}
 *           row     ten words {which owner of the id : 16, number : 48}, see group_ledger.c
 *           before  one such word
 *           whose   {lap : 18, let go : 1, was held : 1, producer : 12}
 *           ticket  {how many changes : 56, under way : 1, whose log : 7}, or, of a change that needs no log,
 *                   {the same, of which 16 the floor's lowest : 56, 0 : 1, 127 : 7}
 *           run     {where it began : 52, producer : 12}
 *           judged  {number : 48, forgotten : 16}
 *           verdict {sequence : 63, duplicate : 1}
 *
 * bells segment
 *
 *   0x0000  magic u64 · layout version · capacity · boot id
 *   0x1000  bell[]          128 bytes each: data word at 0, space word at 64
 *           word = {epoch : 31, waiting : 1}
 */
#ifndef SHMBUS_LAYOUT_H
#define SHMBUS_LAYOUT_H

#include "shmbus.h"

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer knows no fences; what it checks are the acquire and release operations around them. */
#define FENCE(order) atomic_signal_fence(order)
#else
#define FENCE(order) atomic_thread_fence(order)
#endif

#ifdef __SANITIZE_THREAD__
/* Some readers copy bytes that may be overwritten under them, and find out afterwards: a race by design, which must not
 * hide the ones that are not. */
__attribute__((no_sanitize("thread"), noinline, unused, optimize("no-tree-loop-distribute-patterns"))) static void
copy_unprotected(void *to, const void *from, size_t length) {
    const unsigned char *source = from;
    unsigned char *bytes = to;
    for (size_t i = 0; i < length; i++)
        bytes[i] = source[i];
}
#else
#define copy_unprotected memcpy
#endif

#define RING_MAGIC 0x31676e6972736873ull    /* "shsring1" */
#define SESSION_MAGIC 0x31737365736d6873ull /* "shmsess1" */
#define BELLS_MAGIC 0x316c6c65626d6873ull   /* "shmbell1" */
#define GROUP_MAGIC 0x31707267736d6873ull   /* "shmsgrp1" */

#define SEQUENCE_BITS 40
#define POSITION_BITS 24
#define SEQUENCE_MASK ((1ull << SEQUENCE_BITS) - 1)
#define POSITION_MASK ((1u << POSITION_BITS) - 1)

struct shmbus_producer {
    _Atomic uint32_t version; /* odd while the coordinator rewrites the entry */
    int32_t pid;
    uint64_t start_time, pid_namespace;
    uint32_t session, uid;
    char name[SHMBUS_NAME_BYTES];
};
_Static_assert(sizeof(struct shmbus_producer) == 64, "a producer entry is one cache line");

struct shmbus_numbers {
    _Alignas(64) _Atomic uint64_t published; /* number of its last message, stored after the commit */
    _Atomic uint64_t claiming;               /* of the one it is at, stored before the claim */
    _Atomic uint32_t durable;                /* by the coordinator: the numbers outlive the process */
    _Atomic uint32_t begun;                  /* by the coordinator: how often the id was given to somebody new */
    union { /* see stands_for() */
        _Atomic uint64_t left;    /* by the coordinator, of one that is not durable: see shmbus_producer_leave() */
        _Atomic uint64_t skipped; /* of a durable one: numbers that were left out in the rings before this one */
    };
    struct {
        _Atomic uint64_t first, skipped; /* from number `first` on, so many were left out: see leaps.c */
    } leaps[2];
};
_Static_assert(sizeof(struct shmbus_numbers) == 64, "a producer's numbers have a cache line of their own");

struct shmbus_gate {
    _Atomic uint64_t owner; /* session << 32 | cursor; 0: free */
    _Atomic uint64_t floor; /* counts until the cursor is placed */
};
_Static_assert(sizeof(struct shmbus_gate) == 16, "a gate is 16 bytes");

struct shmbus_slot {
    _Atomic uint64_t word;
    _Atomic uint32_t position; /* units, modulo 2^24 */
    _Atomic uint32_t length;   /* bytes of the payload */
};
_Static_assert(sizeof(struct shmbus_slot) == 16, "a slot is 16 bytes");

struct shmbus_ring_header {
    _Atomic uint64_t magic;
    uint32_t layout_version, slots, producers, gates;
    uint64_t arena_bytes, total_bytes;
    uint64_t first_sequence, created_ns;
    uint32_t topic_id, lane, generation, bell;
    uint8_t boot_id[16];
    uint8_t fingerprint[32];
    char topic[208];
    char type_name[128];
    _Alignas(128) _Atomic uint32_t max_messages;
    _Atomic uint32_t max_message_bytes;
    _Atomic uint64_t max_bytes, retention_ns, claim_timeout_ns;
    _Atomic uint32_t successor;
    _Atomic uint32_t gates_in_use; /* one past the highest gate entry ever taken: bounds the scan */
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) _Atomic uint64_t gate;
    _Alignas(128) _Atomic uint64_t hint;
    _Alignas(128) _Atomic uint64_t bytes;
    _Atomic uint64_t aborted;
    _Alignas(256) unsigned char rest[256];
};
_Static_assert(offsetof(struct shmbus_ring_header, max_messages) == 0x200, "limits stand at 0x200");
_Static_assert(offsetof(struct shmbus_ring_header, tail) == 0x280, "tail stands at 0x280");
_Static_assert(offsetof(struct shmbus_ring_header, head) == 0x300, "head stands at 0x300");
_Static_assert(offsetof(struct shmbus_ring_header, gate) == 0x380, "gate stands at 0x380");
_Static_assert(offsetof(struct shmbus_ring_header, hint) == 0x400, "hint stands at 0x400");
_Static_assert(offsetof(struct shmbus_ring_header, bytes) == 0x480, "counters stand at 0x480");
_Static_assert(sizeof(struct shmbus_ring_header) == SHMBUS_HEADER_BYTES, "the header is 0x600 bytes");

#define SHMBUS_LEFT UINT64_MAX /* as a heartbeat: the client has closed its connection, perhaps while nobody coordinated */

struct shmbus_session_page {
    _Atomic uint64_t magic;
    uint32_t layout_version, session, capacity, bell;
    int32_t pid;
    uint32_t rows;
    uint64_t start_time, pid_namespace;
    uint8_t boot_id[16];
    _Atomic uint32_t backed; /* so many rows have memory; 0: all, as in the layouts before this one */
    uint32_t counted;        /* there is before[] */
    _Alignas(128) _Atomic uint64_t heartbeat;
    _Atomic uint32_t health;
    _Atomic uint32_t reason_state; /* {changes : 24, bytes : 8}; an odd number of changes: it is being written */
    _Atomic uint64_t reason[SHMBUS_REASON_BYTES / 8];
    _Alignas(128) struct shmbus_cursor cursors[];
};
_Static_assert(offsetof(struct shmbus_session_page, heartbeat) == 0x80, "heartbeat stands at 0x80");
_Static_assert(offsetof(struct shmbus_session_page, health) == 0x88, "health stands at 0x88");
/* The rest of a line that was there before: in a page of an older version nobody says why. */
_Static_assert(offsetof(struct shmbus_session_page, reason) == 0x90, "the reason stands at 0x90");
_Static_assert(offsetof(struct shmbus_session_page, cursors) == 0x100, "cursors stand at 0x100");

/* Where the rows begin. */
static inline size_t shmbus_ledger_offset(uint32_t cursors) {
    size_t bytes = sizeof(struct shmbus_session_page) + (size_t)cursors * (sizeof(struct shmbus_cursor) + sizeof(uint32_t));
    return (bytes + 63) & ~(size_t)63;
}

struct shmbus_group_page {
    _Atomic uint64_t magic;
    uint32_t layout_version, lanes, window, producers, rows;
    uint32_t counted; /* there is before[] */
    _Alignas(128) struct shmbus_producer members[SHMBUS_MEMBERS];
    _Atomic uint32_t record_bytes;
    unsigned char record[SHMBUS_GROUP_RECORD - 4];
};
_Static_assert(offsetof(struct shmbus_group_page, members) == 0x80, "members stand at 0x80");

#define GROUP_ROW_WORDS 10u
#define GROUP_RUNS_LAYOUT 4u /* the first that has runs */

/* What is going to be written where, by one commit: see group_ledger.c. */
enum { GROUP_LOG_ENTRIES = 84 };
struct shmbus_group_log {
    _Alignas(128) _Atomic uint64_t count;
    struct {
        _Atomic uint64_t where, value;
    } entries[GROUP_LOG_ENTRIES];
};
_Static_assert(sizeof(struct shmbus_group_log) == 1408, "a log takes eleven pairs of cache lines");

struct shmbus_group_lane {
    _Alignas(128) _Atomic uint64_t next;     /* where to look for what nobody was given; exact where duplicates are removed */
    _Atomic uint64_t verdict;                /* of the message that is being judged */
    _Atomic uint64_t ticket;                 /* of the ledger: whose log is being carried out */
    _Atomic uint64_t unread, explained;      /* sequences the ring dropped; so many of them are somebody's loss by now, or nobody's */
    _Atomic uint64_t run;                    /* all that the floor passed from there on was delivered, of one producer */
    _Atomic uint32_t lately;                 /* whose was what was booked last, perhaps */
    _Alignas(128) _Atomic uint64_t returned; /* grows with every message that is given back */
    _Atomic uint64_t untold;                 /* messages lost while nobody was there to be told */
    _Atomic uint64_t redelivered, duplicates, dead;
    _Atomic uint32_t blocked;                /* a member waits for the window */
    _Atomic uint64_t owed, seen;             /* losses that are told by producer; so many there were at the last look */
    _Alignas(128) _Atomic uint64_t words[];
};
_Static_assert(sizeof(struct shmbus_group_lane) == 256, "a lane's own words take two pairs of cache lines");

struct shmbus_bell {
    _Alignas(128) _Atomic uint32_t data;
    _Alignas(64) _Atomic uint32_t space;
};
_Static_assert(sizeof(struct shmbus_bell) == 128, "a bell is a pair of cache lines");
_Static_assert(offsetof(struct shmbus_bell, space) == 64, "the space word has a line of its own");

struct shmbus_bells_page {
    _Atomic uint64_t magic;
    uint32_t layout_version, capacity;
    uint8_t boot_id[16];
    _Alignas(4096) struct shmbus_bell bells[];
};
_Static_assert(offsetof(struct shmbus_bells_page, bells) == 0x1000, "bells start on the second page");

/* ---- packed words ------------------------------------------------------------------------------------------------ */

enum slot_state { CLAIMED = 0, COMMITTED = 1, SKIPPED = 2, ABORTED = 3 };

static inline uint64_t word_make(uint32_t lap, enum slot_state state, uint32_t producer, uint32_t units) {
    return (uint64_t)lap << 32 | (uint64_t)state << 30 | (uint64_t)producer << 18 | units;
}
static inline uint32_t word_lap(uint64_t word) { return (uint32_t)(word >> 32); }
static inline enum slot_state word_state(uint64_t word) { return (enum slot_state)(word >> 30 & 3); }
static inline uint32_t word_producer(uint64_t word) { return (uint32_t)(word >> 18 & 0xfff); }
static inline uint32_t word_units(uint64_t word) { return (uint32_t)(word & SHMBUS_MAX_UNITS); }
static inline bool word_final(uint64_t word) { return (word >> 30 & 1) != 0; } /* COMMITTED or ABORTED */
static inline uint64_t word_with(uint64_t word, enum slot_state state) {
    return (word & ~(3ull << 30)) | (uint64_t)state << 30;
}
static inline bool word_seals(uint64_t word) { return word_producer(word) == SHMBUS_SEALER && word_units(word) == 0; }

static inline uint64_t pack(uint64_t sequence, uint32_t position) {
    return (sequence & SEQUENCE_MASK) << POSITION_BITS | (position & POSITION_MASK);
}
static inline uint64_t packed_sequence(uint64_t packed) { return packed >> POSITION_BITS; } /* 40 bits */
static inline uint32_t packed_position(uint64_t packed) { return (uint32_t)packed & POSITION_MASK; }
/* How far a's sequence is ahead of b's; right while they are less than 2^39 apart. */
static inline int64_t sequence_distance(uint64_t a, uint64_t b) {
    return (int64_t)((packed_sequence(a) - packed_sequence(b)) << (64 - SEQUENCE_BITS)) >> (64 - SEQUENCE_BITS);
}
static inline uint32_t position_distance(uint64_t a, uint64_t b) {
    return (packed_position(a) - packed_position(b)) & POSITION_MASK;
}

/* Who claimed what stands at that sequence of a ring; 0: nobody, or it stands there no more. */
static inline uint32_t owner_of(const struct shmbus_ring *ring, uint64_t sequence) {
    uint64_t word = atomic_load_explicit(&ring->slots[sequence & ring->slot_mask].word, memory_order_relaxed);
    return word_lap(word) == (uint32_t)(sequence >> ring->lap_shift) ? word_producer(word) : 0;
}

struct shmbus_producer *shmbus_producer_entry(const struct shmbus_ring *ring, uint32_t producer);
/* How far a producer has come, as of one moment. */
struct shmbus_progress {
    uint64_t published, skipped; /* the number of its last message, and how many up to there were left out */
    uint64_t since;              /* the number from which on so many were; 0: from before this ring */
};
static inline bool is_durable(const struct shmbus_numbers *numbers) {
    return atomic_load_explicit(&numbers->durable, memory_order_acquire) != 0;
}
/* The word that is `left` of an ordinary producer and `skipped` of a durable one; 0: it is the other kind's, or says nothing.
 *
 * shmbus_numbers_begin() clears it before it says which kind has the id now (release), and only then is it written, by release:
 * `left` when its owner has left; `skipped` in a successor, whose ids are begun before anybody is told of it. (One that has left
 * before is not begun there: of a new ring all words are zero, `durable`, too.) So if `durable` says before that it is this
 * kind's, nothing is seen that the owner before wrote; and if it says so after that, too, nothing of the next owner's. That an id
 * has begun twice in between is left to the reader: as with all other words here, whose they are it looks up, too
 * (shmbus_producer_tag()). */
static inline uint64_t stands_for(const struct shmbus_numbers *numbers, bool durable) {
    bool before = is_durable(numbers) == durable;
    uint64_t word = atomic_load_explicit(&numbers->left, memory_order_acquire);
    return before && is_durable(numbers) == durable ? word : 0;
}
/* Do its producers count what they leave out? */
static inline bool counts_leaps(const struct shmbus_ring *ring) { return ring->header->layout_version >= 4; }
/* False: it leaps faster than we look, or somebody scribbled over it. */
bool shmbus_leaps_read(const struct shmbus_numbers *numbers, struct shmbus_progress *progress);
/* The next message gets that number, which is not known to follow from the one before. */
void shmbus_leap(struct shmbus_writer *writer, uint64_t number);
void shmbus_identity_store(struct shmbus_producer *entry, const struct shmbus_identity *identity); /* NULL: nobody */
bool shmbus_identity_load(struct shmbus_producer *entry, struct shmbus_identity *identity);
struct shmbus_numbers *shmbus_numbers_entry(const struct shmbus_ring *ring, uint32_t producer);
struct shmbus_gate *shmbus_gate_entry(const struct shmbus_ring *ring, uint32_t index);

#endif
