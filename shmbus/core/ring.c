/* The ring: claim, commit, retire, read, repair.
 *
 * The argument, once. Three words decide everything, and each moves by compare-and-swap only.
 *
 *   slot.word  previous lap, final  --claim-->  CLAIMED  --commit-->  COMMITTED
 *                                                 |  \--repair (owner dead)--> ABORTED
 *                                                 \--skip (owner overdue)--> SKIPPED --owner woke or died--> ABORTED
 *   tail       {P,S} -> {P + units of slot S, S + 1}, by the winner of slot S or by anyone who finds it claimed
 *   head       {P,S} -> past a run of final slots, by anyone who needs room
 *
 * A claim is won on the slot itself, so the winner's name and length are in the word in the same instant: nobody can
 * die between winning and being known. P belongs to S alone because tail moves from {P,S} to one value only, therefore
 * the winner, who took P and S from one load, owns bytes [P, P + units) and nobody else does.
 *
 * A slot is claimed for S only when head has passed S - slots, and head passes final slots only; a claim in progress,
 * or one whose owner is alive but revoked (SKIPPED), therefore keeps its bytes until the owner is through with them.
 *
 * Torn reads: a reader copies, then looks at head again. Whoever overwrites the bytes of C loaded a head past C (acquire)
 * before it claimed, and fences (release) between the claim and the first byte. A reader that saw one of those bytes and
 * fences (acquire) before it looks at head therefore sees that head, or a later one, and throws the copy away.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>

#include "killpoint.h"
#include "ring.h"

enum {
    RETIRE_BATCH = 64,            /* messages, so that a compare-and-swap on head and a scan of cursors serve many */
    RETIRE_SHARE = 16,            /* and never more than this part of what is retained */
};
#define SEAL_TRIES (1u << 20)
#define HINT_STEP (1ull << 20)    /* sequences between two updates of the hint */
/* Messages that others may publish before a writer looks at head again. Positions are compared in 24 bits: 32 of the
 * longest frames are 2^23 units, an arena holds 2^23 at most, and together they do not go round. */
#define HEAD_TRUST 32u

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* ---- geometry ------------------------------------------------------------------------------------------------------ */

static bool power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

static uint64_t page_up(uint64_t bytes) { return (bytes + 4095) & ~4095ull; }

static bool geometry_valid(const struct shmbus_geometry *g) {
    return power_of_two(g->slots) && g->slots >= 2 && g->slots <= SHMBUS_MAX_SLOTS && g->producers >= 1 &&
           g->producers <= SHMBUS_MAX_PRODUCERS && g->gates >= 1 && g->gates <= 4096 && power_of_two(g->arena_bytes) &&
           g->arena_bytes >= 4096 && g->arena_bytes <= SHMBUS_MAX_ARENA_BYTES;
}

static uint64_t gates_offset(const struct shmbus_geometry *g) {
    return SHMBUS_HEADER_BYTES + (uint64_t)(g->producers + 1) * (sizeof(struct shmbus_producer) + sizeof(struct shmbus_numbers));
}

static uint64_t slots_offset(const struct shmbus_geometry *g) {
    return page_up(gates_offset(g) + (uint64_t)g->gates * sizeof(struct shmbus_gate));
}

size_t shmbus_ring_meta_bytes(const struct shmbus_geometry *g) {
    return geometry_valid(g) ? page_up(slots_offset(g) + (uint64_t)g->slots * sizeof(struct shmbus_slot)) : 0;
}

size_t shmbus_ring_bytes(const struct shmbus_geometry *g) {
    return geometry_valid(g) ? shmbus_ring_meta_bytes(g) + g->arena_bytes : 0;
}

void shmbus_ring_view(struct shmbus_ring *ring, void *memory, const struct shmbus_geometry *g) {
    unsigned char *base = memory;
    ring->header = memory;
    ring->slots = (struct shmbus_slot *)(void *)(base + slots_offset(g));
    ring->meta_bytes = shmbus_ring_meta_bytes(g);
    ring->arena = base + ring->meta_bytes;
    ring->slot_mask = g->slots - 1;
    ring->lap_shift = (uint32_t)__builtin_ctz(g->slots);
    ring->arena_units = (uint32_t)(g->arena_bytes / SHMBUS_UNIT);
    ring->producers = g->producers;
    ring->gates = g->gates;
}

/* The 64-bit sequence behind 40 bits, given a hint that is less than 2^39 away. */
static uint64_t widen(uint64_t hint, uint64_t packed) {
    return hint + (uint64_t)((int64_t)((packed_sequence(packed) - hint) << (64 - SEQUENCE_BITS)) >> (64 - SEQUENCE_BITS));
}

static uint64_t full_sequence(const struct shmbus_ring *ring, uint64_t packed) {
    return widen(atomic_load_explicit(&ring->header->hint, memory_order_relaxed), packed);
}

/* The sequence in `word` (tail or head) with a hint that did not move meanwhile: a process that was stopped between the
 * two loads for longer than 40 bits last would take it for one of another age. */
static uint64_t load_sequence(const struct shmbus_ring *ring, _Atomic uint64_t *word) {
    uint64_t hint = 0, packed = 0;
    for (int tries = 0; tries < 4; tries++) { /* it moves once in 2^20 messages, unless somebody scribbles over it */
        hint = atomic_load_explicit(&ring->header->hint, memory_order_acquire);
        packed = atomic_load_explicit(word, memory_order_seq_cst);
        if (atomic_load_explicit(&ring->header->hint, memory_order_relaxed) == hint)
            break;
    }
    return widen(hint, packed);
}

void shmbus_ring_init(void *memory, const struct shmbus_ring_setup *setup) {
    struct shmbus_ring ring;
    shmbus_ring_view(&ring, memory, &setup->geometry);
    struct shmbus_ring_header *h = ring.header;
    h->layout_version = SHMBUS_RING_LAYOUT;
    h->slots = setup->geometry.slots;
    h->producers = setup->geometry.producers;
    h->gates = setup->geometry.gates;
    h->arena_bytes = setup->geometry.arena_bytes;
    h->total_bytes = shmbus_ring_bytes(&setup->geometry);
    h->first_sequence = setup->first_sequence;
    h->created_ns = shmbus_now_ns();
    h->topic_id = setup->topic_id;
    h->lane = setup->lane;
    h->generation = setup->generation;
    h->bell = setup->bell;
    memcpy(h->boot_id, setup->boot_id, sizeof h->boot_id);
    memcpy(h->fingerprint, setup->fingerprint, sizeof h->fingerprint);
    memcpy(h->topic, setup->topic, strnlen(setup->topic, sizeof h->topic - 1));
    memcpy(h->type_name, setup->type_name, strnlen(setup->type_name, sizeof h->type_name - 1));
    atomic_store_explicit(&h->max_messages, setup->limits.max_messages, memory_order_relaxed);
    atomic_store_explicit(&h->max_message_bytes, setup->limits.max_message_bytes, memory_order_relaxed);
    atomic_store_explicit(&h->max_bytes, setup->limits.max_bytes, memory_order_relaxed);
    atomic_store_explicit(&h->retention_ns, setup->limits.retention_ns, memory_order_relaxed);
    atomic_store_explicit(&h->claim_timeout_ns, setup->limits.claim_timeout_ns, memory_order_relaxed);
    for (uint64_t s = setup->first_sequence; s - setup->first_sequence < setup->geometry.slots; s++)
        atomic_store_explicit(&slot_of(&ring, s)->word, word_make(lap_of(&ring, s) - 1, ABORTED, 0, 0), memory_order_relaxed);
    uint64_t start = pack(setup->first_sequence, setup->first_position);
    atomic_store_explicit(&h->tail, start, memory_order_relaxed);
    atomic_store_explicit(&h->head, start, memory_order_relaxed);
    atomic_store_explicit(&h->hint, setup->first_sequence, memory_order_relaxed);
    KILLPOINT("create.unready");
    /* pairs with the acquire in shmbus_ring_check() of the mapping: who sees the magic sees all of the above */
    atomic_store_explicit(&h->magic, RING_MAGIC, memory_order_release);
    KILLPOINT("create.ready");
}

enum shmbus_result shmbus_ring_check(const void *memory, size_t size, const uint8_t boot_id[16], struct shmbus_geometry *g) {
    if (size < SHMBUS_HEADER_BYTES)
        return SHMBUS_BAD_SIZE;
    uint64_t magic = atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)memory, memory_order_acquire);
    if (magic != RING_MAGIC)
        return magic == 0 ? SHMBUS_EARLY : SHMBUS_FOREIGN;
    struct shmbus_ring_header h; /* a copy: it stays what was checked, and memory need not be aligned as a header is */
    memcpy(&h, memory, sizeof h);
    if (!shmbus_layout_known(&shmbus_ring_layout, h.layout_version))
        return SHMBUS_OTHER_LAYOUT;
    if (memcmp(h.boot_id, boot_id, sizeof h.boot_id) != 0)
        return SHMBUS_OTHER_BOOT;
    *g = (struct shmbus_geometry){h.slots, h.producers, h.gates, h.arena_bytes};
    if (shmbus_ring_bytes(g) != size)
        return SHMBUS_BAD_SIZE;
    KILLPOINT("attach.checked");
    return SHMBUS_OK;
}

uint64_t shmbus_head(const struct shmbus_ring *ring) {
    return load_sequence(ring, &ring->header->head);
}

uint64_t shmbus_tail(const struct shmbus_ring *ring) {
    /* seq_cst: a joining reader stores its gate, then loads tail; a retiring writer loads tail, then the gates. One of
     * the two sees the other (store-load both ways), so no stale scan reaches past where the reader starts. */
    return load_sequence(ring, &ring->header->tail);
}

uint64_t shmbus_used_bytes(const struct shmbus_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
    return (uint64_t)position_distance(tail, head) * SHMBUS_UNIT;
}

uint64_t shmbus_tally(const struct shmbus_ring *ring, uint64_t from, struct shmbus_share *shares) {
    uint64_t tail = shmbus_tail(ring), slots = (uint64_t)ring->slot_mask + 1;
    if (from < tail && tail - from > slots)
        from = tail - slots; /* retired slots, too, keep their words until they are claimed again */
    for (uint64_t at = from; at < tail; at++) {
        struct shmbus_slot *slot = slot_of(ring, at);
        uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
        uint32_t length = atomic_load_explicit(&slot->length, memory_order_relaxed), producer = word_producer(word);
        if (word_lap(word) != lap_of(ring, at) || word_state(word) != COMMITTED || producer > ring->producers)
            continue;
        struct shmbus_share *share = &shares[producer];
        share->messages++;
        share->bytes += length;
        if (length > share->largest)
            share->largest = length;
    }
    return tail;
}

/* ---- retire -------------------------------------------------------------------------------------------------------- */

static const struct shmbus_session_page *find_session(const struct shmbus_session_ref *sessions, uint32_t count,
                                                      uint32_t session, uint32_t cursor) {
    for (uint32_t i = 0; i < count; i++)
        if (sessions[i].session == session)
            return cursor < sessions[i].capacity ? sessions[i].page : NULL;
    return NULL;
}

static bool session_known(const struct shmbus_session_ref *sessions, uint32_t count, uint32_t session) {
    for (uint32_t i = 0; i < count; i++)
        if (sessions[i].session == session)
            return true;
    return false;
}

/* The first sequence that may not be retired. Bounded by the tail that was read before: a cursor that joins after the
 * scan starts at a later tail than that, so a scan that missed it cannot reach it. `unknown` tells that it is held by a
 * session that the caller has not been given. */
static uint64_t scan_gates(const struct shmbus_ring *ring, uint64_t tail, const struct shmbus_session_ref *sessions,
                           uint32_t session_count, struct shmbus_blocked *blocked, bool *unknown) {
    uint32_t count = min_u32(atomic_load_explicit(&ring->header->gates_in_use, memory_order_seq_cst), ring->gates);
    uint64_t gate = tail;
    for (uint32_t i = 0; i < count; i++) {
        struct shmbus_gate *entry = shmbus_gate_entry(ring, i);
        uint64_t owner = atomic_load_explicit(&entry->owner, memory_order_seq_cst);
        if (owner == 0)
            continue;
        uint32_t session = (uint32_t)(owner >> 32), cursor = (uint32_t)owner;
        uint64_t position = 0;
        const struct shmbus_session_page *page = find_session(sessions, session_count, session, cursor);
        if (page) /* pairs with shmbus_cursor_place(): its reader is done with every frame before this position */
            position = atomic_load_explicit(&page->cursors[cursor].position, memory_order_seq_cst);
        if (position == 0)
            position = atomic_load_explicit(&entry->floor, memory_order_relaxed);
        if (position < gate) {
            gate = position;
            blocked->session = session;
            blocked->cursor = cursor;
            *unknown = !page && !session_known(sessions, session_count, session);
        }
    }
    if (count)
        atomic_store_explicit(&ring->header->gate, gate, memory_order_relaxed);
    return gate;
}

static bool past_its_time(const struct shmbus_ring *ring, uint64_t sequence, uint64_t word, uint64_t now_ns);
static void count_run(const struct shmbus_ring *ring, uint64_t sequence, uint32_t run);

/* How many messages from `sequence` on are final, below `gate`, and wanted; their units are added up. */
static uint32_t final_run(const struct shmbus_ring *ring, uint64_t sequence, uint32_t count, uint64_t gate,
                          uint64_t expired_at, uint64_t *units, struct shmbus_blocked *blocked) {
    uint32_t run = 0;
    for (; run < count; run++) {
        uint64_t at = sequence + run;
        if (at >= gate) {
            blocked->by = SHMBUS_BY_GATE;
            break;
        }
        /* seq_cst: a writer that sets its waiting bit and then looks here sees the commit that did not see the bit */
        uint64_t word = atomic_load_explicit(&slot_of(ring, at)->word, memory_order_seq_cst);
        if (word_lap(word) != lap_of(ring, at))
            break;
        if (!word_final(word)) {
            blocked->by = word_state(word) == SKIPPED ? SHMBUS_BY_SKIPPED : SHMBUS_BY_CLAIM;
            blocked->producer = word_producer(word);
            blocked->word = word;
            break;
        }
        if (expired_at && !past_its_time(ring, at, word, expired_at))
            break;
        *units += word_units(word);
    }
    return run;
}

static uint32_t retire(const struct shmbus_ring *ring, uint32_t count, const struct shmbus_session_ref *sessions,
                       uint32_t session_count, uint64_t expired_at, struct shmbus_blocked *blocked, bool *unknown) {
    struct shmbus_ring_header *h = ring->header;
    for (;;) {
        *blocked = (struct shmbus_blocked){.by = SHMBUS_BY_NOBODY};
        *unknown = false;
        uint64_t hint = atomic_load_explicit(&h->hint, memory_order_relaxed);
        uint64_t head = atomic_load_explicit(&h->head, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&h->tail, memory_order_seq_cst);
        int64_t retained = sequence_distance(tail, head);
        if (retained <= 0)
            return 0;
        uint64_t sequence = widen(hint, head);
        uint64_t gate = scan_gates(ring, sequence + (uint64_t)retained, sessions, session_count, blocked, unknown);
        blocked->sequence = sequence;
        blocked->behind = (uint64_t)retained;
        uint64_t units = 0;
        uint32_t run = final_run(ring, sequence, min_u32(count, (uint32_t)retained), gate, expired_at, &units, blocked);
        if (run == 0 || units > position_distance(tail, head)) {
            if (atomic_load_explicit(&h->head, memory_order_acquire) != head ||
                atomic_load_explicit(&h->hint, memory_order_relaxed) != hint)
                continue; /* somebody else retired meanwhile: what was seen is old */
            return 0;
        }
        count_run(ring, sequence, run);
        KILLPOINT("retire.scanned");
        /* Only from the head that was scanned. seq_cst, as the release that lets the next claimer have the space. */
        uint64_t next = pack(sequence + run, packed_position(head) + (uint32_t)units);
        if (!atomic_compare_exchange_strong_explicit(&h->head, &head, next, memory_order_seq_cst, memory_order_relaxed))
            continue;
        KILLPOINT("retire.advanced");
        atomic_fetch_add_explicit(&h->bytes, units * SHMBUS_UNIT, memory_order_relaxed);
        /* From the hint read before head moved: a process that was stopped here for days fails instead of turning it back. */
        if (sequence + run - hint >= HINT_STEP)
            atomic_compare_exchange_strong_explicit(&h->hint, &hint, sequence + run, memory_order_relaxed, memory_order_relaxed);
        return run;
    }
}

uint32_t shmbus_retire(const struct shmbus_ring *ring, uint32_t count, const struct shmbus_session_ref *sessions,
                       uint32_t session_count, struct shmbus_blocked *blocked) {
    bool unknown;
    return retire(ring, count, sessions, session_count, 0, blocked, &unknown);
}

uint32_t shmbus_retire_expired(const struct shmbus_ring *ring, uint64_t now_ns, const struct shmbus_session_ref *sessions,
                               uint32_t session_count) {
    struct shmbus_blocked blocked;
    bool unknown;
    uint32_t total = 0, run;
    do /* once round the ring at most, however fast it is filled */
        total += run = retire(ring, RETIRE_BATCH, sessions, session_count, now_ns, &blocked, &unknown);
    while (run && total <= ring->slot_mask);
    return total;
}

/* ---- publish ------------------------------------------------------------------------------------------------------- */

void shmbus_writer_init(struct shmbus_writer *writer, const struct shmbus_ring *ring, uint32_t producer) {
    *writer = (struct shmbus_writer){.ring = *ring, .producer = producer, .numbers = shmbus_numbers_entry(ring, producer)};
    writer->head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
}

struct room {
    uint32_t messages, units;
};

static struct room room_of(const struct shmbus_ring *ring) {
    uint64_t bytes = atomic_load_explicit(&ring->header->max_bytes, memory_order_relaxed);
    uint64_t units = bytes / SHMBUS_UNIT;
    /* One slot stays free, so that the slot after the last message is always retired and a seal can be put there. */
    return (struct room){min_u32(atomic_load_explicit(&ring->header->max_messages, memory_order_relaxed), ring->slot_mask),
                         units < ring->arena_units ? (uint32_t)units : ring->arena_units};
}

/* A head from earlier is as good as today's: it only moves on (but see HEAD_TRUST). A tail older than it is not, and is
 * asked for again. */
static bool has_room(uint64_t head, uint64_t tail, uint32_t units, struct room room) {
    int64_t retained = sequence_distance(tail, head);
    return retained >= 0 && retained < room.messages && position_distance(tail, head) + units <= room.units;
}

static enum shmbus_result make_room(struct shmbus_writer *writer, uint32_t units) {
    const struct shmbus_ring *ring = &writer->ring;
    for (;;) {
        struct room room = room_of(ring);
        if (units > room.units || room.messages == 0)
            return SHMBUS_TOO_LARGE; /* the limits were lowered meanwhile */
        writer->head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
        if (has_room(writer->head, tail, units, room))
            return SHMBUS_OK;
        if (sequence_distance(tail, writer->head) < 0)
            return SHMBUS_CORRUPT; /* head never passes a tail that is loaded after it */
        uint32_t batch = min_u32(RETIRE_BATCH, (uint32_t)sequence_distance(tail, writer->head) / RETIRE_SHARE + 1);
        bool unknown;
        if (retire(ring, batch, writer->sessions, writer->session_count, 0, &writer->blocked, &unknown) == 0) {
            if (unknown && writer->blocked.by == SHMBUS_BY_GATE)
                return SHMBUS_UNKNOWN_SESSION;
            if (writer->blocked.by != SHMBUS_BY_NOBODY)
                return SHMBUS_FULL;
            if (atomic_load_explicit(&ring->header->head, memory_order_acquire) == writer->head &&
                atomic_load_explicit(&ring->header->tail, memory_order_acquire) == tail)
                return SHMBUS_CORRUPT; /* nothing holds it, nothing moves, and yet there is no room */
        }
    }
}

static void help(const struct shmbus_ring *ring, uint64_t tail, uint64_t word) {
    KILLPOINT("help.before");
    uint64_t next = pack(packed_sequence(tail) + 1, packed_position(tail) + word_units(word));
    /* release: who loads this tail sees the claim that moved it. Failure means that somebody else helped. */
    atomic_compare_exchange_strong_explicit(&ring->header->tail, &tail, next, memory_order_seq_cst, memory_order_relaxed);
    KILLPOINT("help.done");
}

struct claim {
    struct shmbus_slot *slot;
    uint64_t word, sequence;
    uint32_t position;
};

static bool sealed_at(const struct shmbus_ring *ring, uint64_t sequence) {
    uint64_t word = atomic_load_explicit(&slot_of(ring, sequence)->word, memory_order_acquire);
    return word_lap(word) == lap_of(ring, sequence) && word_seals(word);
}

static enum shmbus_result claim(struct shmbus_writer *writer, uint32_t units, struct claim *won) {
    const struct shmbus_ring *ring = &writer->ring;
    struct room room = room_of(ring);
    for (;;) {
        uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
        won->sequence = full_sequence(ring, tail);
        if (won->sequence - writer->seen > HEAD_TRUST)
            writer->head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
        if (!has_room(writer->head, tail, units, room)) {
            /* A sealed ring is never told to be full, and nothing is retired for a message that goes to its successor. */
            if (sealed_at(ring, won->sequence))
                return SHMBUS_SEALED;
            enum shmbus_result result = make_room(writer, units);
            if (result != SHMBUS_OK) {
                uint64_t at = full_sequence(ring, atomic_load_explicit(&ring->header->tail, memory_order_acquire));
                return sealed_at(ring, at) ? SHMBUS_SEALED : result;
            }
            room = room_of(ring);
            continue;
        }
        writer->seen = won->sequence;
        won->slot = slot_of(ring, won->sequence);
        uint32_t lap = lap_of(ring, won->sequence);
        uint64_t word = atomic_load_explicit(&won->slot->word, memory_order_acquire);
        if (word_lap(word) == lap) {
            if (word_seals(word))
                return SHMBUS_SEALED;
            help(ring, tail, word);
            continue;
        }
        if (word_lap(word) != lap - 1 || !word_final(word)) {
            if (atomic_load_explicit(&ring->header->tail, memory_order_acquire) == tail)
                return SHMBUS_CORRUPT; /* head passed a slot that is not final, or of no lap we know */
            continue;
        }
        KILLPOINT("claim.before");
        won->word = word_make(lap, CLAIMED, writer->producer, units);
        won->position = packed_position(tail);
        if (atomic_compare_exchange_strong_explicit(&won->slot->word, &word, won->word, memory_order_seq_cst,
                                                    memory_order_relaxed)) {
            KILLPOINT("claim.won");
            help(ring, tail, won->word);
            KILLPOINT("claim.helped");
            return SHMBUS_OK;
        }
    }
}

/* The header as the six words that its checksum is computed over: built and read in one width, because a processor
 * does not hand a wide load what still stands in its store buffer in narrow pieces. */
static void header_words(const struct shmbus_frame *frame, uint64_t words[6]) {
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the words of a frame are laid out for little endian");
    words[0] = frame->sequence;
    words[1] = frame->time_ns;
    words[2] = frame->expires_ns;
    words[3] = frame->producer_sequence;
    words[4] = frame->length; /* the checksum, above it, counts as zero */
    words[5] = frame->producer | (uint64_t)frame->priority << 16 | (uint64_t)frame->kind << 24 | (uint64_t)frame->flags << 32;
}

static void write_frame(struct shmbus_writer *writer, const struct shmbus_message *message, const struct claim *won,
                        uint32_t length) {
    const struct shmbus_ring *ring = &writer->ring;
    struct shmbus_frame frame = {
        .sequence = won->sequence,
        .time_ns = message->time_ns,
        .expires_ns = message->expires_ns,
        .producer_sequence = writer->producer_sequence + 1,
        .length = length,
        .producer = (uint16_t)writer->producer,
        .priority = message->priority,
        .kind = message->kind,
        .flags = message->flags,
    };
    uint64_t words[6];
    header_words(&frame, words);
    unsigned char *bytes = ring->arena + (size_t)(won->position & (ring->arena_units - 1)) * SHMBUS_UNIT;
    unsigned char *payload = bytes + sizeof frame;
    uint32_t crc = shmbus_crc32c(0, words, sizeof words);
    for (uint32_t i = 0; i < message->count; i++) {
        crc = shmbus_crc32c(crc, message->parts[i].data, message->parts[i].length);
        memcpy(payload, message->parts[i].data, message->parts[i].length);
        payload += message->parts[i].length;
        KILLPOINT("write.half");
    }
    words[4] |= (uint64_t)crc << 32;
    memcpy(bytes, words, sizeof words);
    atomic_store_explicit(&won->slot->position, won->position, memory_order_relaxed);
    atomic_store_explicit(&won->slot->length, length, memory_order_relaxed);
}

/* The claim was taken away. If its owner was only late, the space was kept for it and is given back here. */
static enum shmbus_result revoked(const struct shmbus_ring *ring, struct shmbus_slot *slot, uint64_t claimed) {
    uint64_t word = word_with(claimed, SKIPPED);
    KILLPOINT("commit.revoked");
    if (atomic_compare_exchange_strong_explicit(&slot->word, &word, word_with(claimed, ABORTED), memory_order_seq_cst,
                                                memory_order_relaxed))
        atomic_fetch_add_explicit(&ring->header->aborted, 1, memory_order_relaxed);
    return SHMBUS_REVOKED;
}

enum shmbus_result shmbus_publish(struct shmbus_writer *writer, const struct shmbus_message *message, uint64_t *sequence) {
    const struct shmbus_ring *ring = &writer->ring;
    uint64_t length = 0;
    for (uint32_t i = 0; i < message->count; i++)
        length += message->parts[i].length;
    uint64_t units = (sizeof(struct shmbus_frame) + length + SHMBUS_UNIT - 1) / SHMBUS_UNIT;
    if (length > atomic_load_explicit(&ring->header->max_message_bytes, memory_order_relaxed) || units > SHMBUS_MAX_UNITS ||
        units > room_of(ring).units)
        return SHMBUS_TOO_LARGE;
    struct claim won;
    uint64_t number = writer->producer_sequence + 1;
    if (number != writer->next)
        shmbus_leap(writer, number);
    /* Its own cache line, so a plain store: whoever asks after our death for the number of our last message knows from it
     * that there may be one more than `published` says. */
    atomic_store_explicit(&writer->numbers->claiming, number, memory_order_release);
    enum shmbus_result result = claim(writer, (uint32_t)units, &won);
    if (result != SHMBUS_OK)
        return result;
    /* pairs with the acquire fence in shmbus_take(): a byte of this frame is never seen without the head that freed it */
    FENCE(memory_order_release);
    KILLPOINT("write.before");
    write_frame(writer, message, &won, (uint32_t)length);
    KILLPOINT("write.done");
    /* release: pairs with the acquire in shmbus_peek(), a reader that sees COMMITTED sees the whole frame. seq_cst: orders
     * the commit before the load of the waiting bit in shmbus_bell_ring(), see there. */
    uint64_t word = won.word;
    if (!atomic_compare_exchange_strong_explicit(&won.slot->word, &word, word_with(won.word, COMMITTED),
                                                 memory_order_seq_cst, memory_order_relaxed))
        return revoked(ring, won.slot, won.word);
    KILLPOINT("commit.done");
    atomic_store_explicit(&writer->numbers->published, number, memory_order_release);
    writer->producer_sequence = number;
    writer->next = number + 1;
    *sequence = won.sequence;
    return SHMBUS_OK;
}

/* ---- read ---------------------------------------------------------------------------------------------------------- */

enum shmbus_result shmbus_peek(const struct shmbus_ring *ring, uint64_t cursor, struct shmbus_view *view) {
    struct shmbus_slot *slot = slot_of(ring, cursor);
    /* seq_cst: orders this look after the waiting bit was set, see shmbus_bell_arm(); acquire for the frame */
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_seq_cst);
    int32_t ahead = (int32_t)(word_lap(word) - lap_of(ring, cursor));
    if (ahead > 0)
        return SHMBUS_OVERRUN;
    if (ahead < 0) /* the lap before. Or so far behind that 32 bits have gone half round: head knows */
        return ahead < -1 && shmbus_head(ring) > cursor ? SHMBUS_OVERRUN : SHMBUS_EMPTY;
    view->gated = false;
    switch (word_state(word)) {
    case CLAIMED:
        return word_seals(word) ? SHMBUS_SEALED : SHMBUS_BUSY;
    case SKIPPED:
    case ABORTED:
        return SHMBUS_STEPPED;
    case COMMITTED:
        break;
    }
    uint32_t position = atomic_load_explicit(&slot->position, memory_order_relaxed);
    uint32_t length = atomic_load_explicit(&slot->length, memory_order_relaxed);
    uint32_t units = word_units(word);
    view->sequence = cursor;
    view->length = length;
    /* Masked and bounded by what was mapped, whatever the ring says: two arenas long, so a frame from any unit fits. */
    view->frame = ring->arena + (size_t)(position & (ring->arena_units - 1)) * SHMBUS_UNIT;
    if (units <= ring->arena_units && sizeof(struct shmbus_frame) + (uint64_t)length <= (uint64_t)units * SHMBUS_UNIT)
        return SHMBUS_OK;
    FENCE(memory_order_acquire);
    return shmbus_head(ring) > cursor ? SHMBUS_OVERRUN : SHMBUS_CORRUPT;
}

static void copy(void *to, const unsigned char *from, size_t length, bool gated) {
    if (gated)
        memcpy(to, from, length); /* nobody may overwrite this: ThreadSanitizer watches */
    else
        copy_unprotected(to, from, length);
}

enum shmbus_result shmbus_take(const struct shmbus_ring *ring, const struct shmbus_view *view, struct shmbus_frame *frame,
                               void *payload) {
    KILLPOINT("read.peeked");
    copy(frame, view->frame, sizeof *frame, view->gated);
    copy(payload, view->frame + sizeof *frame, view->length, view->gated);
    KILLPOINT("read.copied");
    /* pairs with the release fence in shmbus_publish() */
    FENCE(memory_order_acquire);
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
    if (sequence_distance(head, pack(view->sequence, 0)) > 0)
        return SHMBUS_OVERRUN;
    if (frame->sequence != view->sequence || frame->length != view->length)
        return shmbus_head(ring) > view->sequence ? SHMBUS_OVERRUN : SHMBUS_CORRUPT; /* 40 bits may have gone half round */
    uint64_t words[6];
    header_words(frame, words);
    uint32_t crc = shmbus_crc32c(shmbus_crc32c(0, words, sizeof words), payload, view->length);
    KILLPOINT("read.taken");
    return crc == frame->crc32c ? SHMBUS_OK : SHMBUS_CORRUPT;
}

bool shmbus_stands(const struct shmbus_ring *ring, uint64_t sequence) {
    /* pairs with the release fence in shmbus_publish(), as in shmbus_take() */
    FENCE(memory_order_acquire);
    return shmbus_head(ring) <= sequence;
}

enum shmbus_result shmbus_look(const struct shmbus_ring *ring, const struct shmbus_view *view, struct shmbus_frame *frame) {
    copy(frame, view->frame, sizeof *frame, view->gated);
    if (frame->sequence != view->sequence || frame->length != view->length)
        return shmbus_stands(ring, view->sequence) ? SHMBUS_CORRUPT : SHMBUS_OVERRUN;
    uint64_t words[6];
    header_words(frame, words);
    uint32_t crc = shmbus_crc32c(shmbus_crc32c(0, words, sizeof words), view->frame + sizeof *frame, view->length);
    if (!shmbus_stands(ring, view->sequence))
        return SHMBUS_OVERRUN;
    return crc == frame->crc32c ? SHMBUS_OK : SHMBUS_CORRUPT;
}

bool shmbus_expired(const struct shmbus_ring *ring, const struct shmbus_frame *frame, uint64_t now_ns) {
    uint64_t retention = atomic_load_explicit(&ring->header->retention_ns, memory_order_relaxed);
    return (frame->expires_ns && now_ns >= frame->expires_ns) ||
           (retention && now_ns > frame->time_ns && now_ns - frame->time_ns > retention);
}

static bool past_its_time(const struct shmbus_ring *ring, uint64_t sequence, uint64_t word, uint64_t now_ns) {
    if (word_state(word) == ABORTED)
        return true;
    struct shmbus_frame frame = header_at(ring, sequence);
    /* A frame overwritten meanwhile fails here, and the head's compare-and-swap fails anyway. */
    return frame.sequence == sequence && shmbus_expired(ring, &frame, now_ns);
}

/* ---- numbers of producers ------------------------------------------------------------------------------------------- */

/* The producer's own number of a message that has been committed. 0: the message has been retired. */
static uint64_t number_at(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer) {
    struct shmbus_frame frame = header_at(ring, sequence);
    bool genuine = frame.sequence == sequence && frame.producer == producer;
    return genuine && shmbus_stands(ring, sequence) ? frame.producer_sequence : 0;
}

/* A message that its producer has not counted is the last one that it claimed. Once more, if the count has moved meanwhile:
 * that of the ring before may have been raised here just now. */
static void count_last(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer, struct shmbus_numbers *numbers) {
    uint64_t published = atomic_load_explicit(&numbers->published, memory_order_acquire), claiming;
    do {
        claiming = atomic_load_explicit(&numbers->claiming, memory_order_relaxed);
        if (claiming <= published || number_at(ring, sequence, producer) != claiming)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&numbers->published, &published, claiming, memory_order_seq_cst,
                                                    memory_order_acquire));
}

/* What is retired has been counted. A producer that was killed after a commit has not counted that message, and once it is
 * overwritten nobody can; so whoever retires it does, before head moves past it. It is the last message of its producer,
 * hence from the end, one of each producer in a row. While the message stands its producer's id is nobody else's; an id that
 * was given away between that look and the swap has begun anew, at another number but for a coincidence. Explored in
 * tests/model/successor.pml. */
static void count_run(const struct shmbus_ring *ring, uint64_t sequence, uint32_t run) {
    uint32_t last = 0;
    for (uint64_t at = sequence + run; at-- > sequence;) {
        /* acquire: pairs with the claim, before which `claiming` was stored */
        uint64_t word = atomic_load_explicit(&slot_of(ring, at)->word, memory_order_acquire);
        uint32_t producer = word_producer(word);
        struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
        if (word_state(word) != COMMITTED || producer == last || !numbers)
            continue;
        last = producer;
        count_last(ring, at, producer, numbers);
    }
}

/* Nobody publishes under this id meanwhile. A message that was committed and not counted is still here, or has been counted
 * by whoever retired it. */
uint64_t shmbus_numbers_settle(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    if (!numbers)
        return 0;
    uint64_t published = atomic_load_explicit(&numbers->published, memory_order_acquire);
    uint64_t claiming = atomic_load_explicit(&numbers->claiming, memory_order_acquire);
    for (uint64_t at = shmbus_tail(ring), first = oldest(ring, at); claiming > published && at > first;) {
        uint64_t word = atomic_load_explicit(&slot_of(ring, --at)->word, memory_order_acquire);
        if (word_lap(word) != lap_of(ring, at) || word_state(word) != COMMITTED || word_producer(word) != producer)
            continue;
        shmbus_numbers_raise(ring, producer, number_at(ring, at, producer));
        break; /* its last one */
    }
    return atomic_load_explicit(&numbers->published, memory_order_acquire);
}

/* ---- where to begin ------------------------------------------------------------------------------------------------ */

/* Is there, or will there be, a message here that a reader gets? */
static bool is_message(const struct shmbus_ring *ring, uint64_t sequence, uint64_t now_ns, uint64_t *time_ns) {
    *time_ns = UINT64_MAX; /* of one that is still being written */
    /* acquire: pairs with the commit in shmbus_publish() */
    uint64_t word = atomic_load_explicit(&slot_of(ring, sequence)->word, memory_order_acquire);
    if (word_lap(word) != lap_of(ring, sequence) || word_state(word) == ABORTED || word_state(word) == SKIPPED)
        return false;
    if (word_state(word) == CLAIMED)
        return !word_seals(word);
    struct shmbus_frame frame = header_at(ring, sequence);
    *time_ns = frame.time_ns;
    return frame.sequence == sequence && !shmbus_expired(ring, &frame, now_ns);
}

uint64_t shmbus_find_time(const struct shmbus_ring *ring, uint64_t time_ns) {
    uint64_t tail = shmbus_tail(ring), now_ns = shmbus_now_ns(), at = oldest(ring, tail), found;
    while (at < tail && !(is_message(ring, at, now_ns, &found) && found >= time_ns))
        at++;
    return at;
}

uint64_t shmbus_find_last(const struct shmbus_ring *ring, uint64_t *count) {
    uint64_t tail = shmbus_tail(ring), now_ns = shmbus_now_ns(), first = oldest(ring, tail), at = tail, ignored;
    while (at > first && *count)
        *count -= is_message(ring, --at, now_ns, &ignored);
    return at;
}

/* ---- repair -------------------------------------------------------------------------------------------------------- */

/* Move tail past a slot that was claimed for it, whoever's it is. Once is enough for repair: who is dead by now has not
 * claimed behind the tail that is loaded here. */
static uint64_t settle_tail(const struct shmbus_ring *ring) {
    uint64_t sequence = shmbus_tail(ring);
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
    uint64_t word = atomic_load_explicit(&slot_of(ring, sequence)->word, memory_order_acquire);
    if (packed_sequence(tail) != (sequence & SEQUENCE_MASK))
        return sequence + 1; /* somebody else moved it */
    if (word_lap(word) != lap_of(ring, sequence) || word_seals(word))
        return sequence;
    help(ring, tail, word);
    return sequence + 1;
}

uint32_t shmbus_claims(const struct shmbus_ring *ring, struct shmbus_claim *claims, uint32_t capacity) {
    uint64_t tail = settle_tail(ring);
    uint32_t count = 0;
    for (uint64_t at = oldest(ring, tail); at < tail && count < capacity; at++) {
        uint64_t word = atomic_load_explicit(&slot_of(ring, at)->word, memory_order_acquire);
        if (word_lap(word) == lap_of(ring, at) && !word_final(word))
            claims[count++] = (struct shmbus_claim){at, word_producer(word), word_state(word) == SKIPPED};
    }
    return count;
}

static bool change_claim(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer, enum slot_state to) {
    struct shmbus_slot *slot = slot_of(ring, sequence);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    if (word_lap(word) != lap_of(ring, sequence) || word_final(word) || word_producer(word) != producer)
        return false;
    if (to == SKIPPED && word_state(word) == SKIPPED)
        return false;
    return atomic_compare_exchange_strong_explicit(&slot->word, &word, word_with(word, to), memory_order_seq_cst,
                                                   memory_order_relaxed);
}

uint32_t shmbus_repair(const struct shmbus_ring *ring, uint32_t producer) {
    uint64_t tail = settle_tail(ring);
    uint32_t aborted = 0;
    for (uint64_t at = oldest(ring, tail); at < tail; at++) {
        KILLPOINT("repair.claimed");
        if (change_claim(ring, at, producer, ABORTED)) {
            KILLPOINT("repair.aborted");
            atomic_fetch_add_explicit(&ring->header->aborted, 1, memory_order_relaxed);
            aborted++;
        }
    }
    return aborted;
}

bool shmbus_skip(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer) {
    KILLPOINT("skip.before");
    settle_tail(ring);
    bool skipped = change_claim(ring, sequence, producer, SKIPPED);
    KILLPOINT("skip.done");
    return skipped;
}

/* The seal is a claim of no length by nobody, put where the next message would go: tail never moves past it, so every
 * claim from then on finds it, and whoever won the slot before it is simply the last message. */
uint64_t shmbus_seal(const struct shmbus_ring *ring, uint32_t successor) {
    atomic_store_explicit(&ring->header->successor, successor, memory_order_release);
    KILLPOINT("seal.announced");
    for (uint32_t tries = 0; tries < SEAL_TRIES; tries++) {
        uint64_t sequence = settle_tail(ring);
        struct shmbus_slot *slot = slot_of(ring, sequence);
        uint32_t lap = lap_of(ring, sequence);
        uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
        if (word_lap(word) == lap && word_seals(word))
            return sequence;
        bool retired = word_lap(word) == lap - 1 && word_final(word);
        if (retired && atomic_compare_exchange_strong_explicit(&slot->word, &word, word_make(lap, CLAIMED, SHMBUS_SEALER, 0),
                                                               memory_order_seq_cst, memory_order_relaxed)) {
            KILLPOINT("seal.done");
            return sequence;
        }
        if (!retired && word_lap(word) != lap && shmbus_tail(ring) == sequence)
            return 0; /* the slot that is always kept free is not: scribbled over */
    }
    return 0; /* no honest publishers win that often in a row */
}
