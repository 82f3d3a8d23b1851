/* Order of the producers: the rings of a subscription as one stream, merged where they are read.
 *
 * "m before n" says: publish(m) had returned when publish(n) was called. What has to come out in order are the messages
 * of one producer; but nothing here asks who published, for an order of all messages costs less.
 *
 * The time in a frame is read before its slot is claimed, and slots of a ring are claimed one after another. So if m is
 * before n, the time of m, and of all that stands before it in its ring, was read before m was committed, and is lower than
 * the time of n. (The clock must tell two publishes of one thread apart: 40 ns on the coarsest that there is.) While m has
 * not been handed out, the next message of its ring is m or stands before it. So if the ring whose next message has the
 * lowest time goes first, that is not n; and each ring keeps its own order, whatever the times in it are.
 *
 * That needs the next message of every ring, or that there is none before n. A round finds out:
 *
 *     limit   the tail of each ring
 *     look    what the coordinator has pushed: a topic is pushed before anybody can publish to it
 *     mark    the tail of each ring again, and its next message
 *
 * What stands before its ring's limit was claimed before the look, so all that is before it was committed by then: in a
 * ring that we have, and there before the mark. A ring read up to its mark is therefore out of question until the next
 * round; one that is not blocks while its next slot is a claim, for nobody knows what stands behind it. What is in a
 * successor was published after all that is in the sealed ring before it: the seal is a thing to go on with at once.
 *
 * Two things may go out of turn, if the subscription has nothing more of their own producer that is not younger (found by
 * a look at the slots up to the mark): what is urgent; and, while a claim blocks, whatever there is. Nothing is read
 * ahead and nothing held back: what waits, waits in its ring, and is overrun, expires or holds publishers there as ever.
 *
 * Of a group, the next message of a ring is the oldest that was given back, or else the first that nobody was given. What
 * is taken is what was seen there (group_next() in group_reader.c), or nothing, if another member was faster; so the members
 * together take in this order. A full window, and a seal before which something is not settled, block as a claim does: what
 * stands behind them may not be had yet, and behind a seal it cannot even be seen, so nothing overtakes.
 *
 * Times are what publishers wrote. One from the future counts as now, so that a liar delays its own ring by one round.
 */
#include "reader.h"

enum head_state { UNKNOWN, NOTHING, MESSAGE, CLAIM, OTHER }; /* OTHER: no message, to be gone on with at once */
enum { NONE = -1, LOOK_FIRST = -2 };                        /* what pick() answers, if not an entry */
enum { ROUNDS_IN_A_CALL = 2 }; /* so that a flood of what the filter does not want keeps nobody from a deadline */

static const struct shmbus_ring *ring_of(const Entry *entry) {
    return &entry->ring->ring;
}

/* ---- the next message of a ring ------------------------------------------------------------------------------------ */

static uint32_t session_of(const struct shmbus_ring *ring, uint32_t producer) {
    const struct shmbus_producer *entry = shmbus_producer_entry(ring, producer);
    return entry ? entry->session : 0;
}

/* The frame's header, unchecked: what is wrong with it is found when it is taken. */
static struct shmbus_frame header_of(const struct shmbus_view *view) {
    struct shmbus_frame frame;
    copy_unprotected(&frame, view->frame, sizeof frame);
    return frame;
}

static void take_note(ReaderObject *self, Entry *entry, const struct shmbus_view *view) {
    struct merge_head *head = &entry->head;
    struct shmbus_frame frame = header_of(view);
    if (frame.time_ns > self->clock_ns)
        self->clock_ns = shmbus_now_ns();
    head->time = frame.time_ns < self->clock_ns ? frame.time_ns : self->clock_ns;
    head->session = session_of(ring_of(entry), frame.producer);
    head->waits_at = 0;
}

static enum shmbus_result peek(Entry *entry, struct shmbus_view *view) {
    if (entry->source->group)
        return group_peek(entry, &entry->head.at, view);
    entry->head.at = entry->position;
    return shmbus_peek(ring_of(entry), entry->position, view);
}

/* Is what was looked up still what comes next? */
static bool stands(Entry *entry) {
    return entry->source->group ? group_stands(entry, entry->head.at) : entry->head.at == entry->position;
}

static enum head_state state_at_seal(Entry *entry) {
    if (entry->sealed)
        return NOTHING;
    return entry->source->group && !group_all_settled(entry) ? CLAIM : OTHER;
}

static enum head_state state_of(ReaderObject *self, Entry *entry) {
    struct shmbus_view view;
    enum shmbus_result result = peek(entry, &view);
    if (result == SHMBUS_SEALED)
        return state_at_seal(entry);
    if (result == SHMBUS_EMPTY || (entry->head.at >= entry->head.mark && result != SHMBUS_OVERRUN))
        return NOTHING;
    if (result == SHMBUS_BUSY || result == SHMBUS_WINDOW)
        return CLAIM;
    if (result != SHMBUS_OK || entry->head.at < shmbus_head(ring_of(entry)))
        return OTHER; /* what has been dropped may stand in its slot still */
    take_note(self, entry, &view);
    return MESSAGE;
}

static void look_up(ReaderObject *self, Entry *entry) {
    struct merge_head *head = &entry->head;
    if (head->state != UNKNOWN && head->state != CLAIM && stands(entry))
        return;
    head->state = (uint8_t)state_of(self, entry);
    if (head->state != CLAIM)
        entry->busy_word_since_ns = 0;
}

/* ---- out of turn --------------------------------------------------------------------------------------------------- */

/* Is this slot a message of that session which is not younger than `time`? */
static bool stands_before(const Entry *entry, uint64_t at, uint32_t session, uint64_t time) {
    const struct shmbus_ring *ring = ring_of(entry);
    uint64_t word = atomic_load_explicit(&ring->slots[at & ring->slot_mask].word, memory_order_acquire);
    struct shmbus_view view;
    return session_of(ring, word_producer(word)) == session && shmbus_peek(ring, at, &view) == SHMBUS_OK &&
           header_of(&view).time_ns <= time;
}

/* The last message before the mark that the session published at `time` or earlier; 0: none is left. */
static uint64_t last_of(const Entry *entry, uint32_t session, uint64_t time) {
    uint64_t oldest = shmbus_head(ring_of(entry)), at = entry->head.mark;
    oldest = oldest > entry->head.at ? oldest : entry->head.at;
    while (at > oldest)
        if (stands_before(entry, --at, session, time))
            return at;
    return 0;
}

static bool has_seal(const Entry *entry) {
    struct shmbus_view view;
    return shmbus_peek(ring_of(entry), entry->head.mark, &view) == SHMBUS_SEALED;
}

/* A group goes on behind a seal when all before it is settled: what stands there nobody can see yet. */
static bool waits_at_seal(const Entry *entry) {
    struct shmbus_view view;
    return entry->source->group && !entry->sealed && shmbus_peek(ring_of(entry), entry->position, &view) == SHMBUS_SEALED;
}

static bool waits_still(const ReaderObject *self, const struct merge_head *head) {
    return head->waits_at && self->entries[head->waits_for].position <= head->waits_at;
}

/* May the next message of this entry go before all others? What waits is not looked at again before that has gone. */
static bool may_overtake(ReaderObject *self, Entry *entry) {
    struct merge_head *head = &entry->head;
    if (head->state != MESSAGE || head->at >= head->limit || !head->session || waits_still(self, head))
        return false;
    for (uint32_t i = 0; i < self->count; i++) {
        Entry *other = &self->entries[i];
        if (other == entry)
            continue;
        if (waits_at_seal(other))
            return false;
        if (other->head.at >= other->head.mark)
            continue;
        if (has_seal(other)) /* more of that topic stands where we cannot look yet */
            return false;
        head->waits_for = i;
        head->waits_at = last_of(other, head->session, head->time);
        if (head->waits_at)
            return false;
    }
    return true;
}

/* ---- whose turn it is ---------------------------------------------------------------------------------------------- */

/* The entry to go on with in this round, or NONE. */
static int32_t choose(ReaderObject *self) {
    int32_t first = NONE;
    self->blocked = false;
    for (uint32_t i = 0; i < self->count; i++) {
        Entry *entry = &self->entries[i];
        look_up(self, entry);
        if (entry->head.state == OTHER)
            return (int32_t)i;
        self->blocked |= entry->head.state == CLAIM;
        if (entry->head.state == MESSAGE && (first == NONE || entry->head.time < self->entries[first].head.time))
            first = (int32_t)i;
    }
    if (first == NONE)
        return NONE;
    uint32_t ahead = self->blocked ? self->count : self->urgent; /* of these, one may go before its turn */
    for (uint32_t i = 0; i < ahead && (self->blocked || (uint32_t)first >= self->urgent); i++)
        if (may_overtake(self, &self->entries[i]))
            return (int32_t)i;
    return !self->blocked && self->entries[first].head.at < self->entries[first].head.limit ? first : NONE;
}

/* False: something was pushed that must be looked at first. */
static bool begin_round(ReaderObject *self) {
    self->rounds++;
    for (uint32_t i = 0; i < self->count; i++)
        self->entries[i].head.limit = shmbus_tail(ring_of(&self->entries[i]));
    if (atomic_load_explicit(self->attention, memory_order_seq_cst) >> 1 != self->attention_seen) {
        self->fresh = true;
        return false;
    }
    for (uint32_t i = 0; i < self->count; i++) {
        struct merge_head *head = &self->entries[i].head;
        head->mark = shmbus_tail(ring_of(&self->entries[i]));
        if (head->state == NOTHING)
            head->state = UNKNOWN;
    }
    self->fresh = false;
    return true;
}

/* Limits and marks of rings that have just come mean nothing, nor does any number of an entry. */
static void forget_round(ReaderObject *self) {
    for (uint32_t i = 0; i < self->count; i++) {
        struct merge_head *head = &self->entries[i].head;
        head->limit = head->mark = head->waits_at = 0;
        head->state = UNKNOWN;
    }
}

/* An urgent message that came in the middle of a round, or of its beginning, does not wait for the end of it. */
static bool urgent_came(const ReaderObject *self) {
    struct shmbus_view view;
    for (uint32_t i = 0; i < self->urgent; i++) {
        const Entry *entry = &self->entries[i];
        if (entry->position >= entry->head.limit && shmbus_peek(ring_of(entry), entry->position, &view) == SHMBUS_OK)
            return true;
    }
    return false;
}

static int32_t pick(ReaderObject *self) {
    if (self->fresh) {
        forget_round(self);
    } else if (!urgent_came(self)) {
        int32_t found = choose(self);
        if (found != NONE)
            return found;
    }
    return begin_round(self) ? choose(self) : LOOK_FIRST;
}

bool merge_has_something(ReaderObject *self) {
    return pick(self) != NONE;
}

/* Has a claim blocked for so long that somebody must find out what became of its owner? False with an exception. */
static bool look_after_claims(ReaderObject *self) {
    uint64_t now = self->blocked ? shmbus_now_ns() : 0;
    if (now < self->look_at_ns || !self->blocked)
        return true;
    self->look_at_ns = now + SLEEP_BOUND_NS;
    return reader_look_at_stuck(self, now);
}

/* Nothing comes now: what was put off is done. What is told, or NULL. */
static PyObject *rest(ReaderObject *self) {
    for (uint32_t i = 0; i < self->count; i++) {
        Entry *entry = &self->entries[i];
        PyObject *told = entry->source->group ? group_idle(entry) : NULL;
        if (told || PyErr_Occurred())
            return told;
        reader_signal_space(entry);
    }
    uint64_t now = self->count && self->entries[0].source->group ? shmbus_now_ns() : 0;
    if (now > self->next_look_ns)
        group_look_after(self, now);
    look_after_claims(self);
    return NULL;
}

PyObject *merge_step(ReaderObject *self) {
    PyObject *found;
    if (!reader_prepare(self, &found) || found)
        return found;
    for (uint64_t begun = self->rounds; !self->closed && self->rounds - begun <= ROUNDS_IN_A_CALL;) {
        int32_t at = pick(self);
        if (at == NONE)
            break;
        if (at != LOOK_FIRST) {
            found = reader_entry_next(self, &self->entries[at]);
            if (!found && !self->fresh)
                self->entries[at].head.state = UNKNOWN;
        } else if (!reader_attend(self, &found)) {
            return NULL;
        }
        if (found || PyErr_Occurred())
            return found;
        if (self->fresh) /* a round that was given up does not count */
            begun = self->rounds;
    }
    return self->closed ? NULL : rest(self);
}
