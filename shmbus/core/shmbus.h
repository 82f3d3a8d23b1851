/* shmbus: the public face of the core.
 *
 * One ring holds the messages of one topic and lane: a header, an index of fixed slots, an arena of bytes. Many writers
 * claim and commit slots with compare-and-swap; any number of readers follow with cursors of their own and never write
 * to the ring. The core knows memory only: descriptors are mapped by mapping.c, everything else works on the ranges.
 *
 * Full, empty, overrun and corrupt are results, not errors. All times are CLOCK_MONOTONIC nanoseconds. A process may die
 * or be stopped at any instruction; what the others then do is written at each function.
 */
#ifndef SHMBUS_H
#define SHMBUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each kind of segment has a layout of its own, with a number. It is raised by whoever changes what stands where, or what it
 * means; what is older than OLDEST is then not understood any more. What each number was stands in
 * shmbus/coordinator/layouts.py. */
#define SHMBUS_RING_LAYOUT 4u
#define SHMBUS_RING_OLDEST 2u
#define SHMBUS_SESSION_LAYOUT 4u
#define SHMBUS_SESSION_OLDEST 1u
#define SHMBUS_BELLS_LAYOUT 2u
#define SHMBUS_BELLS_OLDEST 1u
#define SHMBUS_GROUP_LAYOUT 5u
#define SHMBUS_GROUP_OLDEST 2u
#define SHMBUS_UNIT 64u                        /* bytes; positions and lengths in the arena count these */
#define SHMBUS_MAX_UNITS ((1u << 18) - 1u)     /* of one frame: 18 bits in the slot word */
#define SHMBUS_MAX_ARENA_BYTES (1ull << 29)    /* half of what 24 bits of units can name, so full and empty differ */
#define SHMBUS_MAX_SLOTS (1u << 24)
#define SHMBUS_MAX_PRODUCERS 4094u             /* ids 1..4094; 0 is the coordinator */
#define SHMBUS_SEALER 4095u
#define SHMBUS_PRODUCER_BITS 12u
#define SHMBUS_MAX_PRODUCER_ID 0xfffu
#define SHMBUS_NAME_BYTES 32u

enum shmbus_result {
    SHMBUS_OK = 0,
    SHMBUS_EMPTY,           /* nothing at this cursor yet */
    SHMBUS_BUSY,            /* the next message is claimed and not committed yet */
    SHMBUS_STEPPED,         /* the sequence at this cursor was given up by or taken from its owner: no message */
    SHMBUS_OVERRUN,         /* the cursor's message has been retired: go on at `head` */
    SHMBUS_EXPIRED,         /* complete, but past its time: not handed out */
    SHMBUS_CORRUPT,         /* bounds, sequence or checksum are wrong: not handed out */
    SHMBUS_SEALED,          /* the topic goes on in the successor generation */
    SHMBUS_FULL,            /* no room, and nothing may be retired: see struct shmbus_blocked */
    SHMBUS_TOO_LARGE,       /* above the message limit, or the arena could never hold it */
    SHMBUS_REVOKED,         /* the claim was taken away before it was committed: nothing was published */
    SHMBUS_UNKNOWN_SESSION, /* a gate names a session that the writer has not been given yet */
    SHMBUS_FOREIGN,         /* attach: no shmbus segment of this kind */
    SHMBUS_EARLY,           /* attach: still being created */
    SHMBUS_OTHER_LAYOUT,    /* attach: a layout that this library does not work with */
    SHMBUS_OTHER_BOOT,      /* attach: left over from before a reboot */
    SHMBUS_BAD_SIZE,        /* attach: geometry and real size disagree */
    SHMBUS_PASSED,          /* group: somebody else's, or settled already */
    SHMBUS_WINDOW,          /* group: too many messages wait to be settled before this one may be given out */
};

/* ---- segments (opaque here; laid out and checked in layout.h) ---------------------------------------------------- */

struct shmbus_ring_header;
struct shmbus_numbers;
struct shmbus_slot;
struct shmbus_session_page;
struct shmbus_bell;

/* Every segment begins with its magic number, 64 bits, and the number of its layout, 32 bits. */
struct shmbus_layout {
    const char *kind;
    uint64_t magic;
    uint32_t newest, oldest; /* what is made, and what can still be attached */
};
extern const struct shmbus_layout shmbus_ring_layout, shmbus_session_layout, shmbus_bells_layout, shmbus_group_layout;
bool shmbus_layout_known(const struct shmbus_layout *layout, uint32_t number);

struct shmbus_geometry {
    uint32_t slots;       /* power of two, 2..2^24; one is kept free, so at most slots-1 messages are retained */
    uint32_t producers;   /* capacity of the producer table, 1..4094 */
    uint32_t gates;       /* how many reliable cursors may hold the ring, 1..4096 */
    uint64_t arena_bytes; /* power of two, 4096..2^29 */
};

struct shmbus_limits {
    uint32_t max_messages;
    uint32_t max_message_bytes;
    uint64_t max_bytes;
    uint64_t retention_ns;     /* 0: no limit by time */
    uint64_t claim_timeout_ns;
};

struct shmbus_ring_setup {
    struct shmbus_geometry geometry;
    struct shmbus_limits limits;
    const char *topic;         /* at most 200 bytes */
    const char *type_name;     /* at most 127 bytes */
    uint8_t fingerprint[32];
    uint8_t boot_id[16];
    uint32_t topic_id, lane, generation, bell;
    uint64_t first_sequence;   /* >= 1 */
    uint32_t first_position;   /* units; other than 0 only to start near a wrap */
};

/* A ring as this process sees it. Geometry is copied here once it has been checked and never read again from memory
 * that others can write. */
struct shmbus_ring {
    struct shmbus_ring_header *header;
    struct shmbus_slot *slots;
    unsigned char *arena;      /* mapped twice, back to back */
    uint32_t slot_mask, lap_shift;
    uint32_t arena_units;
    uint32_t producers, gates;
    size_t meta_bytes;
};

size_t shmbus_ring_bytes(const struct shmbus_geometry *geometry);      /* 0: no such geometry can be */
size_t shmbus_ring_meta_bytes(const struct shmbus_geometry *geometry); /* what precedes the arena */
/* Initialise zeroed memory; the magic number is stored last, with release. */
void shmbus_ring_init(void *memory, const struct shmbus_ring_setup *setup);
/* Check a header of a segment of `size` bytes, the segment's own or a copy, aligned to 8 bytes; and tell its geometry. */
enum shmbus_result shmbus_ring_check(const void *header, size_t size, const uint8_t boot_id[16],
                                     struct shmbus_geometry *geometry);
/* `memory` holds meta bytes, then the arena twice. */
void shmbus_ring_view(struct shmbus_ring *ring, void *memory, const struct shmbus_geometry *geometry);
#define SHMBUS_HEADER_BYTES 0x600u

/* ---- publishing ---------------------------------------------------------------------------------------------------- */

struct shmbus_frame {
    uint64_t sequence;
    uint64_t time_ns;
    uint64_t expires_ns;        /* 0: never */
    uint64_t producer_sequence; /* counts this producer's messages, from 1 */
    uint32_t length;            /* of the payload */
    uint32_t crc32c;            /* over the header with this field zero, then the payload */
    uint16_t producer;
    uint8_t priority, kind;
    uint32_t flags;
};
_Static_assert(sizeof(struct shmbus_frame) == 48, "a frame header is 48 bytes");

/* A topic has two rings: messages of this priority and above have one of their own, which readers empty first. */
enum shmbus_lane { SHMBUS_LANE_NORMAL = 0, SHMBUS_LANE_URGENT = 1 };
#define SHMBUS_URGENT 192u

enum shmbus_kind { SHMBUS_KIND_RAW = 0, SHMBUS_KIND_EVENT = 1, SHMBUS_KIND_TYPED = 2 };

struct shmbus_part {
    const void *data;
    size_t length;
};

struct shmbus_message {
    const struct shmbus_part *parts;
    uint32_t count;
    uint32_t flags;
    uint64_t time_ns, expires_ns;
    uint8_t priority, kind;
};

/* Who stands in the way when a publish finds no room. */
struct shmbus_blocked {
    enum { SHMBUS_BY_NOBODY, SHMBUS_BY_GATE, SHMBUS_BY_CLAIM, SHMBUS_BY_SKIPPED } by;
    uint64_t sequence;  /* where the head stands */
    uint64_t behind;    /* messages between head and tail */
    uint32_t producer;  /* owner of the unfinished claim */
    uint32_t session;   /* of the gating cursor, or the session that is not known */
    uint32_t cursor;
    uint64_t word;      /* of the claim, to tell whether it is still the same one */
};

struct shmbus_session_ref {
    uint32_t session;
    uint32_t capacity;
    const struct shmbus_session_page *page;
};

/* One writer is one producer id; it may be used by one thread at a time. */
struct shmbus_writer {
    struct shmbus_ring ring;
    uint32_t producer;
    uint64_t producer_sequence;          /* of the last message published */
    struct shmbus_numbers *numbers;      /* where the others can see that */
    uint64_t next;                       /* the number that comes after it, if nothing is to be noted for that; 0: look */
    uint64_t head;                       /* last packed head seen: spares a cache miss while there is room */
    uint64_t seen;                       /* sequence for which that head showed room */
    const struct shmbus_session_ref *sessions;
    uint32_t session_count;
    struct shmbus_blocked blocked;
};

void shmbus_writer_init(struct shmbus_writer *writer, const struct shmbus_ring *ring, uint32_t producer);
/* Claim, copy, commit. On SHMBUS_FULL, SHMBUS_UNKNOWN_SESSION `writer->blocked` tells why; nothing was published then. */
enum shmbus_result shmbus_publish(struct shmbus_writer *writer, const struct shmbus_message *message, uint64_t *sequence);
/* Retire up to `count` final messages that no gate holds; how many were, and what stopped it in `blocked`. */
uint32_t shmbus_retire(const struct shmbus_ring *ring, uint32_t count, const struct shmbus_session_ref *sessions,
                       uint32_t session_count, struct shmbus_blocked *blocked);
/* The same, but only messages that are past their expiry or the ring's retention time. */
uint32_t shmbus_retire_expired(const struct shmbus_ring *ring, uint64_t now_ns, const struct shmbus_session_ref *sessions,
                               uint32_t session_count);

/* What a writer may publish, on average. A second's worth of it may go at once, and a message that is larger than that when
 * nothing is owed. Times are the caller's. */
#define SHMBUS_BURST_NS 1000000000u

struct shmbus_rate {
    uint64_t per_second; /* 0: no limit */
    uint64_t full_ns;    /* when all that was spent has been made good */
    uint64_t rest;       /* of a division */
};

struct shmbus_budget {
    struct shmbus_rate messages, bytes; /* of payloads */
};

/* How long until a message of so many bytes may go; 0: now. */
uint64_t shmbus_budget_wait(const struct shmbus_budget *budget, uint64_t now_ns, uint64_t bytes);
void shmbus_budget_spend(struct shmbus_budget *budget, uint64_t now_ns, uint64_t bytes);

/* What a producer has committed, as far as its slots are still there. */
struct shmbus_share {
    uint64_t messages, bytes, largest;
};

/* Add up what has been committed from `from` on, into one share for each producer id from 0 to `producers` of the geometry.
 * Looks at no more than the slots that the ring has. Where it stopped: to begin there the next time. */
uint64_t shmbus_tally(const struct shmbus_ring *ring, uint64_t from, struct shmbus_share *shares);

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct shmbus_view {
    uint64_t sequence;
    const unsigned char *frame; /* in the ring; untrusted until shmbus_take() has copied and checked it */
    uint32_t length;            /* payload bytes */
    bool gated;                 /* for the caller to set: a gate holds this message, so nobody overwrites it meanwhile */
};

/* What is at `cursor`? On SHMBUS_OK the view says how much room shmbus_take() needs. */
enum shmbus_result shmbus_peek(const struct shmbus_ring *ring, uint64_t cursor, struct shmbus_view *view);
/* Copy and check what was peeked. Anything but SHMBUS_OK voids both buffers. */
enum shmbus_result shmbus_take(const struct shmbus_ring *ring, const struct shmbus_view *view, struct shmbus_frame *frame,
                               void *payload);
/* Check what was peeked where it stands, without a copy of the payload. It is what was checked only as long as nobody may
 * overwrite it: see shmbus_stands(). */
enum shmbus_result shmbus_look(const struct shmbus_ring *ring, const struct shmbus_view *view, struct shmbus_frame *frame);
/* Was it there, unchanged, up to now? */
bool shmbus_stands(const struct shmbus_ring *ring, uint64_t sequence);
bool shmbus_expired(const struct shmbus_ring *ring, const struct shmbus_frame *frame, uint64_t now_ns);

/* The first retained sequence with a message of that time or later, or one that is still being written; the tail if there
 * is none. Publishers take the time before they claim, so a few that are a little older may come after it; none of that
 * time or later stands before it. Looks at every frame's header: about as long as a memcpy of 64 bytes for each. */
uint64_t shmbus_find_time(const struct shmbus_ring *ring, uint64_t time_ns);
/* The sequence from which on `*count` messages are retained, those being written included, those expired not. Takes from
 * `*count` what was found: more than 0 is left when there are fewer. */
uint64_t shmbus_find_last(const struct shmbus_ring *ring, uint64_t *count);

uint64_t shmbus_head(const struct shmbus_ring *ring); /* sequence of the oldest retained message */
uint64_t shmbus_tail(const struct shmbus_ring *ring); /* sequence that the next message gets */
uint64_t shmbus_used_bytes(const struct shmbus_ring *ring);

/* ---- repair ------------------------------------------------------------------------------------------------------ */

struct shmbus_claim {
    uint64_t sequence;
    uint32_t producer;
    bool skipped;
};

/* Unfinished slots from head to tail, and one whose owner died before it moved the tail. */
uint32_t shmbus_claims(const struct shmbus_ring *ring, struct shmbus_claim *claims, uint32_t capacity);
/* The producer is dead: abort whatever it had claimed. How many were aborted. */
uint32_t shmbus_repair(const struct shmbus_ring *ring, uint32_t producer);
/* Revoke one claim of a live owner: readers step over it, its space stays until the owner wakes or dies. */
bool shmbus_skip(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer);
/* End this generation at the returned sequence. 0: the ring is corrupt. */
uint64_t shmbus_seal(const struct shmbus_ring *ring, uint32_t successor);

/* ---- tables that the coordinator writes ---------------------------------------------------------------------------- */

struct shmbus_identity {
    char name[SHMBUS_NAME_BYTES];
    int32_t pid;
    uint32_t session, uid;
    uint64_t start_time, pid_namespace;
};

/* False: no such producer. A NULL identity frees the entry. */
bool shmbus_producer_set(const struct shmbus_ring *ring, uint32_t producer, const struct shmbus_identity *identity);
bool shmbus_producer_get(const struct shmbus_ring *ring, uint32_t producer, struct shmbus_identity *identity);
/* Its owner has left, and all that it published stands before that sequence. Name and numbers stay what they are until the id
 * is somebody else's, for readers that have not come that far. Nothing is said of a durable one, whose id waits for its next
 * process. */
void shmbus_producer_leave(const struct shmbus_ring *ring, uint32_t producer, uint64_t sequence);
/* That sequence; 0: its owner is there, or nobody ever was. */
uint64_t shmbus_producer_left(const struct shmbus_ring *ring, uint32_t producer);
/* Its id and, above that, which one it is of those who had the id one after the other, modulo 2^20. Stays what it is in a successor of the ring, and for the next process of a durable publisher. */
uint32_t shmbus_producer_tag(const struct shmbus_ring *ring, uint32_t producer);
/* Was the id ever given out, or published under? */
bool shmbus_numbers_used(const struct shmbus_ring *ring, uint32_t producer);
/* The number of a producer's last message, for as long as its id is given to somebody. `durable` ids keep it when their
 * process ends, for the next one of that name. */
void shmbus_numbers_begin(const struct shmbus_ring *ring, uint32_t producer, bool durable);
/* A successor's ids are those of the ring before it; whoever begins anew is another than whoever had the id there. */
void shmbus_numbers_carry(const struct shmbus_ring *ring, const struct shmbus_ring *before);
/* Of a producer that is gone: find out whether its last claim became a message, and remember; that number. */
uint64_t shmbus_numbers_settle(const struct shmbus_ring *ring, uint32_t producer);
/* At least that many. */
void shmbus_numbers_raise(const struct shmbus_ring *ring, uint32_t producer, uint64_t number);
/* They go on in the successor of the ring before, where nobody publishes under that id any more: by its producer before it
 * publishes there, and by the coordinator after shmbus_numbers_settle(). */
void shmbus_numbers_follow(const struct shmbus_ring *ring, const struct shmbus_ring *before, uint32_t producer);
/* Is it durable? Its last number, and that of the message it is (or was) at. */
bool shmbus_numbers_get(const struct shmbus_ring *ring, uint32_t producer, uint64_t *published, uint64_t *claiming);
/* A durable publisher gives its messages what numbers it likes, as long as they grow. In a ring of a layout before 4 nobody counts
 * what it leaves out. There, where numbers tell whose losses unread sequences are, those who may skip some come last: they have
 * lost at most what is left by the others. */
bool shmbus_may_skip_numbers(const struct shmbus_ring *ring, uint32_t producer);
/* How many messages the producer has published; SHMBUS_UNCOUNTED: nobody knows. */
#define SHMBUS_UNCOUNTED UINT64_MAX
uint64_t shmbus_numbers_count(const struct shmbus_ring *ring, uint32_t producer);
/* What each producer had published before `from`. For every id up to `producers`, `numbers` holds a number that it had surely
 * reached, or SHMBUS_UNASKED; now it holds that of its last message before that, or one that it left out after that, and `counts`
 * how many messages it had published (SHMBUS_UNCOUNTED: nobody knows). SHMBUS_OVERRUN: the ring's head has passed `from`, and
 * what was found is void. Looks at no more slots than it has to: those up to the first message of the last producer that was
 * asked for and has published anything since; all of them if one has left out numbers since then. A message that was committed
 * this instant may not be counted yet, nor one of a publisher that died this instant. */
#define SHMBUS_UNASKED UINT64_MAX
enum shmbus_result shmbus_numbers_before(const struct shmbus_ring *ring, uint64_t from, uint64_t *numbers, uint64_t *counts,
                                         uint32_t producers);
/* Who begins to read at `before` waits for the claims before that to become messages or nothing, which takes less than a
 * microsecond of a publisher that runs; `most_ns` for one that does not. What is claimed still is counted as what comes, until its
 * producer's next message tells. */
#define SHMBUS_CLAIM_NS 50000u
void shmbus_await_claims(const struct shmbus_ring *ring, uint64_t before, uint64_t most_ns);
/* Is its last try not known to be a message? It may be in the middle of it, or have been refused. */
bool shmbus_numbers_unfinished(const struct shmbus_ring *ring, uint32_t producer);
/* Of one producer, which has a message at that sequence: how many it had published before that. SHMBUS_UNCOUNTED: nobody knows,
 * or the ring has dropped it. */
uint64_t shmbus_count_before(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer);
/* The number of the producer's message at that sequence, as its frame says. False: it stands there no more. */
bool shmbus_number_at(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer, uint64_t *number);
/* Who claimed what stands at that sequence; 0: nobody, or it stands there no more. */
uint32_t shmbus_owner(const struct shmbus_ring *ring, uint64_t sequence);
/* Let a cursor hold retirement back; `floor` counts until the cursor is placed. Session 0 frees the entry. */
bool shmbus_gate_set(const struct shmbus_ring *ring, uint32_t index, uint32_t session, uint32_t cursor, uint64_t floor);
bool shmbus_gate_get(const struct shmbus_ring *ring, uint32_t index, uint32_t *session, uint32_t *cursor, uint64_t *floor);

/* ---- sessions and bells -------------------------------------------------------------------------------------------- */

/* A bit of a cursor's active_ns: that is when it was bound, and it has made no progress since. */
#define SHMBUS_JOINED 1u

struct shmbus_cursor {
    _Atomic uint64_t position;  /* next sequence to read; 0: not placed yet, the gate's floor counts */
    _Atomic uint64_t delivered, lost, expired, corrupt, stepped;
    _Atomic uint32_t topic_id, subscription;
    _Atomic uint64_t active_ns; /* when a gating reader last made progress, to an eighth of the ring; SHMBUS_JOINED */
};
_Static_assert(sizeof(struct shmbus_cursor) == 64, "a cursor is one cache line");

struct shmbus_session_setup {
    uint32_t session, cursors, bell;
    uint32_t rows;   /* of the ledger */
    uint32_t backed; /* so many of them have memory already; 0: all */
    int32_t pid;
    uint64_t start_time, pid_namespace;
    uint8_t boot_id[16];
};

size_t shmbus_session_bytes(uint32_t cursors, uint32_t rows);
void shmbus_session_init(void *memory, const struct shmbus_session_setup *setup);
enum shmbus_result shmbus_session_check(const void *memory, size_t size, const uint8_t boot_id[16]);

/* What a collector says of itself: the numbers are those of HealthStatus. */
enum shmbus_health { SHMBUS_HEALTH_UNKNOWN, SHMBUS_HEALTHY, SHMBUS_DEGRADED, SHMBUS_UNHEALTHY };

/* The thread that does the work moves, and is so; for the client whose page it is. Whether that is another health than it
 * said before. */
bool shmbus_session_beat(struct shmbus_session_page *page, enum shmbus_health health);
enum { SHMBUS_REASON_BYTES = 112 };
/* Why it is not better, in UTF-8, as far as there is room; `length` 0: it does not say. Whether that is another reason than
 * before. By one thread at a time. Of one that is ill, say it before the beat. */
bool shmbus_session_explain(struct shmbus_session_page *page, const char *reason, size_t length);
/* The reason, and how long it is: any bytes. 0 also where it is being changed. */
size_t shmbus_session_reason(const struct shmbus_session_page *page, char reason[SHMBUS_REASON_BYTES]);
/* How often it moved, and what it said of itself by then: any number, for its client can write anything there. */
uint64_t shmbus_session_beats(const struct shmbus_session_page *page, uint32_t *health);
/* The reader is done with everything before `position`. Who rings the space bell after this puts a seq_cst fence between,
 * so that it either sees a waiting writer or is seen by it. */
void shmbus_cursor_place(struct shmbus_cursor *cursor, uint64_t position);

/* The ledger: one row for each producer that a cursor has to do with. At any moment, also after the client was killed,
 *
 *   last - base = delivered + overrun + expired + corrupt + filtered
 *
 * and what the producer has published since `last` is in flight, see shmbus_numbers_get(). See ledger.c. */
struct shmbus_row {
    _Atomic uint64_t last; /* number of the last message that was accounted for */
    _Atomic uint64_t base; /* number of the one before the first that is this cursor's business */
    _Atomic uint64_t overrun, expired, filtered;
    _Atomic uint32_t corrupt;
    _Atomic uint32_t repeated; /* delivered once more: published again under a number that had been there before */
    _Atomic uint32_t changing; /* odd while several of these are being changed */
    _Atomic uint32_t owner;    /* cursor + 1; 0: free */
    _Atomic uint32_t next;     /* row + 1 of the same cursor; 0: there is no other */
    _Atomic uint32_t producer; /* id and, above it, which of those who had that id: see shmbus_producer_tag() */
};
_Static_assert(sizeof(struct shmbus_row) == 64, "a row is one cache line");

struct shmbus_ledger {
    _Atomic uint32_t *first;
    struct shmbus_row *rows;
    _Atomic uint64_t *before; /* of each row, how many messages its producer had published up to `base`, as that was at first;
                                 NULL where the page has no room for that */
    _Atomic uint32_t *backed;
    bool (*back)(void *memory, size_t bytes); /* gives memory to rows, see shmbus_back(); NULL: nobody does */
    uint32_t cursors, capacity;
    uint32_t hint;      /* where to look for a free row */
    uint32_t fruitless; /* so many rows that are asked for now are not looked for, as there was none */
};

struct shmbus_entry { /* what a row says */
    uint32_t producer, version;
    uint64_t last, base, delivered, overrun, expired, corrupt, filtered, repeated, dead; /* dead: of a group's */
    uint64_t before; /* messages of the producer before all of these; SHMBUS_UNCOUNTED: nobody knows */
};

/* Of what was read. What was overrun is told by shmbus_row_lose(). */
enum shmbus_outcome { SHMBUS_DELIVERED, SHMBUS_LOST_EXPIRED, SHMBUS_LOST_CORRUPT, SHMBUS_LEFT_FILTERED };

/* Of a session's page that has been checked; bounded by what is mapped. */
void shmbus_ledger_view(struct shmbus_ledger *ledger, void *memory, size_t size);
/* A new row; its numbers begin after `base`, up to which the producer had published `before` messages. NULL: there is none left, or
 * no memory for one. One thread of the client at a time. */
struct shmbus_row *shmbus_row_open(struct shmbus_ledger *ledger, uint32_t cursor, uint32_t tag, uint64_t base, uint64_t before);
/* Where that number of messages stands; NULL: nowhere. */
_Atomic uint64_t *shmbus_row_before(const struct shmbus_ledger *ledger, const struct shmbus_row *row);
/* The rows of a cursor, one after the other: NULL begins, and ends. */
struct shmbus_row *shmbus_row_next(const struct shmbus_ledger *ledger, uint32_t cursor, const struct shmbus_row *row);
/* All rows of a cursor are free again; nobody uses it. */
void shmbus_rows_close(const struct shmbus_ledger *ledger, uint32_t cursor);
/* From now on the row is another producer's; `*count`, unless it is NULL, becomes `before`. */
void shmbus_row_restart(struct shmbus_row *row, uint32_t tag, uint64_t base, _Atomic uint64_t *count, uint64_t before);
/* How many messages of the numbers up to `number` are not accounted for, of which the producer had published `count` messages
 * by then, and `before` at the row's beginning. Where one of the two is SHMBUS_UNCOUNTED: how many numbers. */
uint64_t shmbus_row_missing(const struct shmbus_row *row, uint64_t before, uint64_t number, uint64_t count);
/* The numbers up to `number` were never read: `lost` were messages. (There may be more of them than numbers, if numbers before
 * were taken for none.) */
void shmbus_row_lose(struct shmbus_row *row, uint64_t number, uint64_t lost);
/* This message comes after the last one, or had a number that was there before. */
void shmbus_row_account(struct shmbus_row *row, uint64_t number, enum shmbus_outcome outcome);
/* What it says, as of one moment. `before` is what stands there, or NULL. */
struct shmbus_entry shmbus_row_read(const struct shmbus_row *row, const _Atomic uint64_t *before);

size_t shmbus_bells_bytes(uint32_t bells);
void shmbus_bells_init(void *memory, uint32_t bells, const uint8_t boot_id[16]);
enum shmbus_result shmbus_bells_check(const void *memory, size_t size, const uint8_t boot_id[16]);

/* ---- groups: subscriptions with a name, which outlive their members ------------------------------------------------ */

/* A group's segment begins as a session page, so that gates can name its cursors; what follows is the members' own. Each
 * cursor is a lane of the group: one topic and lane, read by all members together. See group.c. */

#define SHMBUS_MEMBERS 64u             /* of a group; ids 0..63 */
#define SHMBUS_MAX_WINDOW (1u << 16)
#define SHMBUS_GROUP_RECORD 16384u     /* bytes for whatever the coordinator has to remember of a group */
#define SHMBUS_MAX_TRIES 255u
#define SHMBUS_MAX_NUMBER ((1ull << 48) - 1) /* of a producer's messages, where duplicates are removed by it */

struct shmbus_group_page;
struct shmbus_group_lane;
struct shmbus_group_log;

struct shmbus_group_setup {
    uint32_t lanes;
    uint32_t window;    /* power of two: so many messages at most are given out and not settled, in each lane */
    uint32_t producers; /* ids of producers whose duplicates are removed, 0: duplicates are not looked for */
    uint32_t rows;      /* of the ledger, by producer id from 0 on; 0: none, as in the oldest layout */
    bool uncounted;     /* they do not say what was published before the group began, as in the layouts before 5 */
};

/* One lane, as one member sees it. */
struct shmbus_group {
    struct shmbus_cursor *cursor; /* its position is the floor: everything before it is settled */
    struct shmbus_group_lane *lane;
    _Atomic uint64_t *words, *times, *judged, *account;
    _Atomic uint64_t *before; /* of each row, how many messages its producer had published before the lane began; or NULL */
    _Atomic uint32_t *whose;
    struct shmbus_group_log *logs;
    uint32_t member, mask, shift, producers, rows;
    bool runs; /* the layout has runs, see group_ledger.c; the first one with a ledger has none */
    uint32_t writer;                /* whose log is ours: the member's, or SHMBUS_MEMBERS for the coordinator, who sets it */
    const struct shmbus_ring *ring; /* for the caller to set: where it reads now; NULL: numbers and names of producers are not known */
};

/* How a message ended that is settled. Of one the ring has dropped, the producer is found out by numbers. */
enum shmbus_ending {
    SHMBUS_ENDED_DELIVERED,
    SHMBUS_ENDED_VOID, /* it was no message */
    SHMBUS_ENDED_FILTERED,
    SHMBUS_ENDED_REPEATED, /* a duplicate that was removed */
    SHMBUS_ENDED_OVERRUN,
    SHMBUS_ENDED_EXPIRED,
    SHMBUS_ENDED_CORRUPT,
    SHMBUS_ENDED_DEAD, /* it went to the dead letters */
};

struct shmbus_taken {
    uint64_t sequence;
    uint32_t tries; /* 1: given out for the first time */
};

size_t shmbus_group_bytes(const struct shmbus_group_setup *setup); /* 0: no such setup can be */
void shmbus_group_init(void *memory, const struct shmbus_session_setup *session, const struct shmbus_group_setup *setup);
enum shmbus_result shmbus_group_check(const void *memory, size_t size, const uint8_t boot_id[16],
                                      struct shmbus_group_setup *setup);
uint32_t shmbus_group_number(const void *memory, size_t size); /* of the layout of a group's own part; 0: there is none */
struct shmbus_group_page *shmbus_group_page(void *memory, uint32_t lanes);
/* False: no such lane or member. `setup` is what shmbus_group_check() told. */
bool shmbus_group_view(struct shmbus_group *group, void *memory, const struct shmbus_group_setup *setup, uint32_t lane,
                       uint32_t member);
/* Begin at `sequence`; only while nobody uses the lane. */
void shmbus_group_place(const struct shmbus_group *group, uint64_t sequence);

uint64_t shmbus_group_floor(const struct shmbus_group *group);
/* From where to look for messages that nobody has been given. */
uint64_t shmbus_group_next(const struct shmbus_group *group);
/* The first sequence from `from` on that nobody has been given. */
uint64_t shmbus_group_seek(const struct shmbus_group *group, uint64_t from);
/* Is it within the window, or passed by the floor? If not, whoever moves the floor on will find that somebody waits for that. */
bool shmbus_group_open(const struct shmbus_group *group, uint64_t sequence);
/* Is everything before it settled? The same if not. `advanced` grows by how far the floor moved: whoever was killed between
 * settling and that has left it to us, and those who wait for it, too. */
bool shmbus_group_settled(const struct shmbus_group *group, uint64_t sequence, uint64_t *advanced);
/* After the floor has moved: does somebody wait for that, who has to be woken? */
bool shmbus_group_unblock(const struct shmbus_group *group);
/* Make the message at `sequence` ours: SHMBUS_OK, SHMBUS_PASSED, SHMBUS_WINDOW. */
enum shmbus_result shmbus_group_claim(const struct shmbus_group *group, uint64_t sequence, uint64_t now_ns);
/* The same for the first of `*count` in a row, and for those after it up to one that another was given, or the window's end.
 * `*count`: how many are ours now; one at most where duplicates are removed. */
enum shmbus_result shmbus_group_claim_run(const struct shmbus_group *group, uint64_t sequence, uint32_t *count,
                                          uint64_t now_ns);
/* The same where duplicates are removed, for the message that shmbus_group_next() names: also SHMBUS_STEPPED, a duplicate,
 * settled by us. `number` counts the messages of `producer`. */
enum shmbus_result shmbus_group_judge(const struct shmbus_group *group, uint64_t sequence, uint32_t producer, uint64_t number,
                                      uint64_t now_ns);
/* The producer's id will be another's, whose numbers begin anew; every message of the one before has been judged. If `ring` is
 * where the group reads, what it lost of the one before is told without a name from now on. */
void shmbus_group_forget(const struct shmbus_group *group, uint32_t producer);
/* Nothing is there to be given out: settle it in passing. */
enum shmbus_result shmbus_group_pass(const struct shmbus_group *group, uint64_t sequence);
/* Done with it, for good. False: it was not ours any more. `advanced` grows by how far the floor moved. */
bool shmbus_group_settle(const struct shmbus_group *group, struct shmbus_taken taken, uint64_t *advanced);
/* The same by who has read it: what `frame` says need not be looked up in the ring, whose lines publishers write. */
bool shmbus_group_settle_read(const struct shmbus_group *group, struct shmbus_taken taken, const struct shmbus_frame *frame,
                              uint64_t *advanced);
/* The same of one that ended otherwise. */
bool shmbus_group_settle_as(const struct shmbus_group *group, struct shmbus_taken taken, enum shmbus_ending ending,
                            uint64_t *advanced);
/* As shmbus_group_settle() without a look at the floor, for the first of many. */
bool shmbus_group_settle_quietly(const struct shmbus_group *group, struct shmbus_taken taken);
/* That for `count` in a row, all given out as often as the first. How many of them were still ours. */
uint32_t shmbus_group_settle_run(const struct shmbus_group *group, struct shmbus_taken first, uint32_t count);
uint64_t shmbus_group_advance(const struct shmbus_group *group);
/* Give it back, to be given out again: SHMBUS_OK, SHMBUS_PASSED (it was not ours), SHMBUS_OVERRUN (the ring has dropped it:
 * counted as untold). */
enum shmbus_result shmbus_group_return(const struct shmbus_group *group, struct shmbus_taken taken);
/* The oldest that was given back; false: none. */
bool shmbus_group_returned(const struct shmbus_group *group, uint64_t *sequence);
/* Take that one, if it is still there. */
bool shmbus_group_retake_at(const struct shmbus_group *group, uint64_t sequence, uint64_t now_ns, struct shmbus_taken *taken);
/* Take the oldest that was given back. */
bool shmbus_group_retake(const struct shmbus_group *group, uint64_t now_ns, struct shmbus_taken *taken);
/* The time for it begins anew. False: it was not ours any more. */
bool shmbus_group_extend(const struct shmbus_group *group, struct shmbus_taken taken, uint64_t now_ns);
/* A member is dead, or has left: give back all that it held. How many that were. */
uint32_t shmbus_group_reap(const struct shmbus_group *group, uint32_t member);
/* Give back what has been held for longer than `limit_ns`. How many that were. */
uint32_t shmbus_group_expire(const struct shmbus_group *group, uint64_t now_ns, uint64_t limit_ns);
/* The ring has dropped everything before `head`: go on there. How many messages nobody will be given for that. Moves the
 * floor, as settling does. */
uint64_t shmbus_group_skip(const struct shmbus_group *group, uint64_t head);
/* The ring was sealed at `sealed` and everything before that is settled: go on at `first`, in its successor. */
bool shmbus_group_bridge(const struct shmbus_group *group, uint64_t sealed, uint64_t first);

/* The ledger of a lane, see group_ledger.c. Of each producer, at any moment, whoever was killed:
 *
 *   last - base = delivered + overrun + expired + corrupt + filtered + dead
 *
 * of what stands before the floor; what was published since `last` is in flight. */

/* Whose the message is that was claimed at that sequence, and has not been settled; 0: nobody knows, its loss has been booked, or
 * there is no ledger. */
uint32_t shmbus_group_whose(const struct shmbus_group *group, uint64_t sequence);
/* Carry out what somebody had begun: before its place as a writer is given to another. */
void shmbus_group_finish(const struct shmbus_group *group);
/* The same, and count and book what they had let go and not got to: when a coordinator begins, where another has died. What a
 * member leaves so is completed by shmbus_group_reap(). */
void shmbus_group_complete(const struct shmbus_group *group);
/* What each producer had published before the lane began, after shmbus_group_place(), with `ring` set. It begins further on, and
 * that is told as lost, where the ring has dropped what it was to begin with. */
void shmbus_group_begin(const struct shmbus_group *group);
/* Whose loss is what the ring has dropped? False: some of it is told with the next messages of its producers. */
bool shmbus_group_explain(const struct shmbus_group *group);
/* Something is to be told as lost? */
bool shmbus_group_owes(const struct shmbus_group *group);
/* How many messages. */
uint64_t shmbus_group_untold(const struct shmbus_group *group);
/* So many messages of that producer (0: nobody knows whose) are told as lost by the caller now. False: there is nothing to
 * be told any more. */
bool shmbus_group_tell(const struct shmbus_group *group, uint32_t *producer, uint64_t *count);
/* They could not be told after all: they are told later, but without a name. */
void shmbus_group_untell(const struct shmbus_group *group, uint64_t count);
/* Look at all rows for what is to be told: who booked it may have been killed before it said so. */
void shmbus_group_look(const struct shmbus_group *group);
/* What the lane's row of that producer says, as of one moment. False: nothing. Its version has 16 bits. */
bool shmbus_group_entry(const struct shmbus_group *group, uint32_t producer, struct shmbus_entry *entry);

/* ---- waking ------------------------------------------------------------------------------------------------------ */

#define SHMBUS_MAX_WAIT 128u /* words one futex_waitv takes */

/* Set the waiting bit and tell the value to wait on. The caller looks at its rings once more before it sleeps. */
uint32_t shmbus_bell_arm(_Atomic uint32_t *word);
/* Wake all who wait, if the bit says that somebody does. */
void shmbus_bell_ring(_Atomic uint32_t *word);
/* Wake all who wait, and let everyone who remembers the word see that it was rung, waiting or not. */
void shmbus_bell_signal(_Atomic uint32_t *word);
/* Sleep until one of the words is no longer what was expected, or until `deadline_ns`. 0, or an errno. */
int shmbus_bell_wait(_Atomic uint32_t *const words[], const uint32_t expected[], uint32_t count, uint64_t deadline_ns);

/* ---- spinning before that, see spin.c ---------------------------------------------------------------------------- */

#define SHMBUS_SPIN_LONG_NS 200000u /* about what a question and its answer take where both sides have to be woken */

struct shmbus_spin {
    uint64_t budget_ns;           /* how long to spin now */
    uint32_t doubt, short_sleeps; /* how many short sleeps it takes until a long spin is tried again; there were so many */
    bool eager;                   /* for the caller to set: what is waited for comes soon after something of one's own */
};

void shmbus_spin_init(struct shmbus_spin *spin);
/* It was spun for that long at most: was there something by then? */
void shmbus_spin_ended(struct shmbus_spin *spin, bool found);
/* Then it was slept for so long. */
void shmbus_spin_slept(struct shmbus_spin *spin, uint64_t ns);
bool shmbus_spin_is_long(const struct shmbus_spin *spin);

uint32_t shmbus_crc32c(uint32_t crc, const void *data, size_t length);
uint32_t shmbus_crc32c_portable(uint32_t crc, const void *data, size_t length);
const char *shmbus_crc32c_name(void);

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

/* Map `size` bytes; `mirrored` bytes at the end of them a second time right behind. NULL and errno on failure. */
void *shmbus_map(int descriptor, size_t size, size_t mirrored, bool writable);
void shmbus_unmap(void *memory, size_t size, size_t mirrored);
/* Give memory to a range of a writable mapping whose segment has none there yet, so that storing there cannot fail. False: there
 * is none (a full /dev/shm, a limit of the process's memory). */
bool shmbus_back(void *memory, size_t bytes);
uint64_t shmbus_now_ns(void);

#ifdef __cplusplus
}
#endif
#endif
