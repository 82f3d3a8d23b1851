/* Reading as a member of a group: what is received is ours until it is settled, see ../group.c. */
#include "reader.h"

enum { LOOK_MIN_NS = 10000000, LOOK_MAX_NS = 1000000000 };

static struct shmbus_bell *bell_of(SourceObject *source) { return &source->bells->bells[source->ring->bell]; }

/* Messages may be settled when the reader has let go of their ring, and it is mapped no more. */
static const struct shmbus_group *lane_of(SourceObject *source) {
    source->lane.ring = source->ring->segment.memory ? &source->ring->ring : NULL;
    return &source->lane;
}

/* Members that read more rings than they can sleep on sleep on the bus's word, see reader_words(). */
static void wake_members(SourceObject *source) {
    shmbus_bell_ring(&bell_of(source)->data);
    shmbus_bell_ring(&source->bells->bells[0].data);
}

/* Who wakes whom here is explored in tests/model/wake.pml. */
void group_signal(SourceObject *source, uint64_t advanced, bool now) {
    if (advanced) {
        source->unsignalled += (uint32_t)advanced;
        if (shmbus_group_unblock(lane_of(source)))
            wake_members(source); /* one of them waits for the window, not for a message */
    }
    /* While the receiver rests, nobody would tell of the remainder: it may be the room that the next message waits for. */
    if (!source->unsignalled || (!now && !source->resting && source->unsignalled < source->signal_every))
        return;
    source->unsignalled = 0;
    source->signal_every = source->signal_later;
    cursor_moved(source->lane.cursor);
    atomic_thread_fence(memory_order_seq_cst); /* as in signal_space() */
    shmbus_bell_ring(&bell_of(source)->space);
}

static bool give_back(SourceObject *source, struct shmbus_taken taken) {
    bool done = shmbus_group_return(lane_of(source), taken) != SHMBUS_PASSED;
    if (done)
        wake_members(source);
    return done;
}

static uint64_t look_period(const ReaderObject *self) {
    uint64_t period = self->ack_deadline_ns ? self->ack_deadline_ns / 4 : LOOK_MAX_NS;
    return period < LOOK_MIN_NS ? LOOK_MIN_NS : period > LOOK_MAX_NS ? LOOK_MAX_NS : period;
}

void group_look_after(ReaderObject *self, uint64_t now_ns) {
    self->next_look_ns = now_ns + look_period(self);
    for (uint32_t i = 0; i < self->count; i++) {
        Entry *entry = &self->entries[i];
        if (!entry->source->group)
            continue;
        entry->rescan = true;
        shmbus_group_explain(&entry->source->lane);
        shmbus_group_look(&entry->source->lane);
        if (self->ack_deadline_ns && shmbus_group_expire(&entry->source->lane, now_ns, self->ack_deadline_ns))
            wake_members(entry->source);
    }
}

bool group_all_settled(Entry *entry) {
    uint64_t advanced = 0;
    bool settled = shmbus_group_settled(&entry->source->lane, entry->position, &advanced);
    group_signal(entry->source, advanced, true);
    return settled;
}

/* Does it stand in a successor? Its slot here may be of the same lap, which has 32 bits, if this ring is small and far behind. */
static bool is_beyond(const struct shmbus_ring *ring, uint64_t sequence) {
    /* relaxed: whoever is beyond has seen the seal, and told us of it by the group's words */
    return atomic_load_explicit(&ring->header->successor, memory_order_relaxed) && sequence > shmbus_tail(ring);
}

/* As shmbus_peek(), and SHMBUS_EMPTY for what stands in a successor. */
static enum shmbus_result peek_here(const Entry *entry, uint64_t sequence, struct shmbus_view *view) {
    const struct shmbus_ring *ring = &entry->ring->ring;
    return is_beyond(ring, sequence) ? SHMBUS_EMPTY : shmbus_peek(ring, sequence, view);
}

/* What comes next of what nobody was given. The others may be in the ring before this one: then nothing yet. Or in its
 * successor: then this one is read to its seal. */
static enum shmbus_result look(Entry *entry, struct shmbus_view *view) {
    const struct shmbus_ring *ring = &entry->ring->ring;
    uint64_t position = shmbus_group_seek(&entry->source->lane, entry->position);
    if (position < ring->header->first_sequence)
        return SHMBUS_EMPTY;
    entry->position = is_beyond(ring, position) ? shmbus_tail(ring) : position;
    return shmbus_peek(ring, entry->position, view);
}

/* Is what the group has not settled in this ring? */
static bool is_here(const Entry *entry) {
    uint64_t floor = shmbus_group_floor(&entry->source->lane);
    return floor >= entry->ring->ring.header->first_sequence && floor <= shmbus_tail(&entry->ring->ring);
}

/* What was given back is looked for in the ring where it stands. */
static bool returned_waits(const Entry *entry) {
    uint64_t returned = atomic_load_explicit(&entry->source->lane.lane->returned, memory_order_seq_cst);
    return (entry->rescan || returned != entry->returned_seen) && is_here(entry);
}

bool group_step_over(Entry *entry) {
    struct shmbus_group *lane = &entry->source->lane;
    enum shmbus_result result = shmbus_group_pass(lane, entry->position);
    if (result == SHMBUS_OK) {
        add_to(&entry->cursor->stepped, 1);
        group_signal(entry->source, shmbus_group_advance(lane), false);
    }
    return result != SHMBUS_WINDOW;
}

bool group_has_something(Entry *entry) {
    struct shmbus_group *lane = &entry->source->lane;
    if (returned_waits(entry) || shmbus_group_owes(lane))
        return true;
    struct shmbus_view view;
    switch (look(entry, &view)) {
    case SHMBUS_EMPTY:
    case SHMBUS_BUSY: return false;
    case SHMBUS_OVERRUN: return true; /* whether the window has room or not */
    case SHMBUS_SEALED: return !entry->sealed && group_all_settled(entry);
    default: return shmbus_group_open(lane, entry->position);
    }
}

/* ---- what is ours: handed out, or settled at once ------------------------------------------------------------------- */

static void settle(Entry *entry, struct shmbus_taken taken, enum shmbus_ending ending) {
    uint64_t advanced = 0;
    shmbus_group_settle_as(&entry->source->lane, taken, ending, &advanced);
    group_signal(entry->source, advanced, false);
}

/* Told first: if Ctrl-C falls into the making of it, the message is given back, and found missing again. */
static PyObject *settle_lost(Entry *entry, struct shmbus_taken taken, const char *reason, enum shmbus_ending ending,
                             _Atomic uint64_t *counter) {
    const struct shmbus_group *lane = &entry->source->lane;
    uint32_t whose = lane->rows ? shmbus_group_whose(lane, taken.sequence) : shmbus_owner(&entry->ring->ring, taken.sequence);
    if (!whose && lane->rows) { /* the ledger finds out whose it was, and it is told then */
        settle(entry, taken, ending);
        return NULL;
    }
    PyObject *told = reader_gap(entry, taken.sequence, 1, reason, whose);
    if (!told) {
        give_back(entry->source, taken);
        return NULL;
    }
    add_to(counter, 1);
    settle(entry, taken, ending);
    return told;
}

/* Gaps of expired messages are told in runs: the one before, if this is not its next. */
static PyObject *settle_expired(Entry *entry, struct shmbus_taken taken) {
    PyObject *told = NULL;
    if (entry->expired_count && (entry->expired_from + entry->expired_count != taken.sequence ||
                                 entry->expired_producer != entry->passed.producer)) {
        told = reader_tell_expired(entry);
        if (!told) {
            give_back(entry->source, taken);
            return NULL;
        }
    }
    if (!entry->expired_count++)
        entry->expired_from = taken.sequence;
    entry->expired_producer = entry->passed.producer;
    add_to(&entry->cursor->expired, 1);
    settle(entry, taken, SHMBUS_ENDED_EXPIRED);
    return told;
}

static PyObject *settle_missing(Entry *entry, struct shmbus_taken taken, enum shmbus_result result) {
    switch (result) {
    case SHMBUS_EXPIRED: return settle_expired(entry, taken);
    case SHMBUS_OVERRUN: return settle_lost(entry, taken, "overrun", SHMBUS_ENDED_OVERRUN, &entry->cursor->lost);
    case SHMBUS_STEPPED:
        add_to(&entry->cursor->stepped, 1);
        settle(entry, taken, SHMBUS_ENDED_VOID);
        return NULL;
    default: return settle_lost(entry, taken, "corrupt", SHMBUS_ENDED_CORRUPT, &entry->cursor->corrupt);
    }
}

/* A message that has been tried too often goes to the dead letters. 1: it is there, 0: it cannot be, -1: an exception. */
static int bury(ReaderObject *self, PyObject *message) {
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_dead_letter", "O", message);
    int buried = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return buried;
}

/* Not to be handed out? 1: it was settled, 0: hand it out, -1: an exception, and it was given back. */
static int withheld(ReaderObject *self, Entry *entry, struct shmbus_taken taken, PyObject *message) {
    SourceObject *source = (SourceObject *)Py_NewRef(entry->source); /* Python may drop the entry */
    int buried = 0, wanted = self->filter ? reader_judge(self, message) : 1;
    if (wanted == 1 && self->max_deliveries && taken.tries > self->max_deliveries)
        buried = bury(self, message);
    uint64_t advanced = 0;
    if ((!wanted || buried > 0) && !self->closed && !correlated_pass(self, (MessageObject *)message))
        wanted = -1;
    if (wanted < 0 || buried < 0)
        give_back(source, taken);
    else if (!wanted || buried)
        shmbus_group_settle_as(lane_of(source), taken, wanted ? SHMBUS_ENDED_DEAD : SHMBUS_ENDED_FILTERED, &advanced);
    self->filtered += !wanted;
    if (buried > 0)
        atomic_fetch_add_explicit(&source->lane.lane->dead, 1, memory_order_relaxed);
    group_signal(source, advanced, false);
    Py_DECREF(source);
    return wanted < 0 || buried < 0 ? -1 : !wanted || buried;
}

static PyObject *hand_out(ReaderObject *self, Entry *entry, struct shmbus_taken taken, PyObject *message) {
    ((MessageHead *)message)->deliveries = taken.tries;
    int kept = self->filter || self->max_deliveries ? withheld(self, entry, taken, message) : 0;
    if (kept || self->closed) {
        if (!kept) /* closed by another thread, while Python ran: the coordinator has given back what we held by then */
            give_back(((MessageHead *)message)->source, taken);
        Py_DECREF(message);
        return NULL;
    }
    add_to(&entry->cursor->delivered, 1);
    reader_place(entry, entry->position);
    if (!entry->expired_count)
        return message;
    self->pending = message;
    return reader_tell_expired(entry);
}

/* `result` and `view` are what was peeked there. */
static PyObject *deliver(ReaderObject *self, Entry *entry, struct shmbus_taken taken, enum shmbus_result result,
                         const struct shmbus_view *view) {
    PyObject *message = result == SHMBUS_OK ? reader_read(self, entry, view, &result) : NULL;
    if (message)
        return hand_out(self, entry, taken, message);
    if (!PyErr_Occurred() && result != SHMBUS_EMPTY)
        return settle_missing(entry, taken, result);
    give_back(entry->source, taken); /* EMPTY: the others moved on to the successor, and it stands there */
    return NULL;
}

/* ---- runs: several at once, for receive_many() ---------------------------------------------------------------------- */

/* How many messages may be made ours before the first of them is read. More than one only where no Python is asked about
 * them: whoever asks may be interrupted, and what is ours by then would come again as if it had been tried. Each is one
 * object of the batch, after one gap that may have to be told before them. */
static uint32_t run_limit(const ReaderObject *self, const Entry *entry) {
    if (!self->batch || self->filter || self->borrowing || self->by_producer || self->correlated)
        return 1;
    Py_ssize_t room = self->batch_limit - PyList_GET_SIZE(self->batch) - (entry->expired_count > 0);
    uint32_t most = entry->ring->lane == SHMBUS_LANE_URGENT ? FAIRNESS : FAIRNESS - self->taken;
    return room < 1 ? 1 : room < most ? (uint32_t)room : most;
}

/* `*last` goes into the batch, `next` takes its place. False with an exception. */
static bool put(ReaderObject *self, PyObject **last, PyObject *next) {
    int failed = *last ? PyList_Append(self->batch, *last) : 0;
    Py_XDECREF(*last);
    *last = next;
    return !failed;
}

/* What came before an exception is handed out all the same. */
static PyObject *put_before_exception(ReaderObject *self, PyObject *last) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!put(self, &last, NULL))
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return NULL;
}

/* What of a run is found goes into the batch, all but the last, which is returned. */
static PyObject *deliver_run(ReaderObject *self, Entry *entry, const struct shmbus_view *views, uint32_t count) {
    SourceObject *source = (SourceObject *)Py_NewRef(entry->source); /* a signal handler may drop the entry */
    PyObject *last = NULL;
    bool kept = true;
    uint32_t done = 0;
    while (kept && done < count && !self->closed && !self->moved) {
        const struct shmbus_view *view = &views[done++];
        entry->position = view->sequence;
        PyObject *found = deliver(self, entry, (struct shmbus_taken){view->sequence, 1}, SHMBUS_OK, view);
        if (found)
            kept = put(self, &last, found);
        if (found && kept && self->pending) {
            found = self->pending;
            self->pending = NULL;
            kept = put(self, &last, found);
        }
        kept = kept && !PyErr_Occurred();
    }
    while (done < count)
        give_back(source, (struct shmbus_taken){views[done++].sequence, 1});
    Py_DECREF(source);
    return kept ? last : put_before_exception(self, last);
}

static PyObject *claim_run(ReaderObject *self, Entry *entry, uint32_t limit, const struct shmbus_view *first, uint64_t now_ns,
                           enum shmbus_result *result) {
    struct shmbus_view views[FAIRNESS];
    uint32_t count = 1;
    views[0] = *first;
    while (count < limit && shmbus_peek(&entry->ring->ring, entry->position + count, &views[count]) == SHMBUS_OK)
        count++;
    *result = shmbus_group_claim_run(&entry->source->lane, entry->position, &count, now_ns);
    if (*result != SHMBUS_OK)
        return NULL;
    if (entry->ring->lane != SHMBUS_LANE_URGENT)
        self->taken += count - 1; /* the caller counts the last */
    return deliver_run(self, entry, views, count);
}

/* ---- what comes next ------------------------------------------------------------------------------------------------ */

static PyObject *tell(Entry *entry, uint64_t upto, uint64_t count, uint32_t producer) {
    PyObject *told = reader_gap(entry, upto > count ? upto - count : 1, count, "overrun", producer);
    if (told)
        add_to(&entry->cursor->lost, count);
    else
        shmbus_group_untell(&entry->source->lane, count);
    return told;
}

/* Lost, and nobody was told: the next of those that are told one by one, each of another producer. */
static PyObject *tell_untold(Entry *entry) {
    struct shmbus_group *lane = &entry->source->lane;
    uint32_t producer;
    uint64_t count;
    if (!shmbus_group_owes(lane) || !shmbus_group_tell(lane, &producer, &count))
        return NULL;
    return tell(entry, shmbus_group_floor(lane), count, producer);
}

enum { SKIPS = 8 };

static PyObject *skip_overrun(Entry *entry) {
    struct shmbus_group *lane = &entry->source->lane;
    uint64_t floor = shmbus_group_floor(lane), head = shmbus_head(&entry->ring->ring), lost = shmbus_group_skip(lane, head);
    for (int skips = 1; lost && skips < SKIPS && !shmbus_group_explain(lane); skips++)
        shmbus_group_skip(lane, head = shmbus_head(&entry->ring->ring)); /* publishers were faster than we looked */
    uint64_t moved = shmbus_group_floor(lane) - floor;
    if (moved) /* whatever was lost; or else nobody is woken for it */
        group_signal(entry->source, moved, true);
    if (lane->rows)
        return tell_untold(entry);
    return lost ? tell(entry, head, lost, 0) : NULL;
}

static bool take_returned(Entry *entry, uint64_t now_ns, struct shmbus_taken *taken) {
    struct shmbus_group *lane = &entry->source->lane;
    /* before the look: what comes meanwhile is looked for next time */
    entry->returned_seen = atomic_load_explicit(&lane->lane->returned, memory_order_seq_cst);
    entry->rescan = shmbus_group_retake(lane, now_ns, taken);
    return entry->rescan;
}

/* Without duplicates it matters what the message is, so it is read before it is anybody's. */
static PyObject *judge_next(ReaderObject *self, Entry *entry, const struct shmbus_view *view, uint64_t now_ns,
                            enum shmbus_result *result) {
    struct shmbus_group *lane = &entry->source->lane;
    enum shmbus_result found = SHMBUS_OK;
    PyObject *message = reader_read(self, entry, view, &found);
    if (!message && PyErr_Occurred())
        return NULL;
    if (!message) {
        *result = shmbus_group_claim(lane, entry->position, now_ns);
        return *result == SHMBUS_OK ? settle_missing(entry, (struct shmbus_taken){entry->position, 1}, found) : NULL;
    }
    const struct shmbus_frame *frame = &((MessageHead *)message)->frame;
    *result = shmbus_group_judge(lane, entry->position, frame->producer, frame->producer_sequence, now_ns);
    if (*result == SHMBUS_OK)
        return hand_out(self, entry, (struct shmbus_taken){entry->position, 1}, message);
    Py_DECREF(message);
    if (*result == SHMBUS_STEPPED)
        group_signal(entry->source, shmbus_group_advance(lane), false);
    return NULL;
}

static PyObject *claim_next(ReaderObject *self, Entry *entry, enum shmbus_result peeked, const struct shmbus_view *view,
                            uint64_t now_ns, enum shmbus_result *result) {
    struct shmbus_group *lane = &entry->source->lane;
    if (lane->producers)
        return judge_next(self, entry, view, now_ns, result);
    uint32_t limit = run_limit(self, entry);
    if (limit > 1)
        return claim_run(self, entry, limit, view, now_ns, result);
    *result = shmbus_group_claim(lane, entry->position, now_ns);
    return *result == SHMBUS_OK ? deliver(self, entry, (struct shmbus_taken){entry->position, 1}, peeked, view) : NULL;
}

PyObject *group_idle(Entry *entry) {
    entry->source->resting = true;
    group_signal(entry->source, 0, true);
    return entry->expired_count ? reader_tell_expired(entry) : NULL;
}

/* The next of the messages that nobody was given. `more`: nothing came of this one, and there may be another. */
static PyObject *next_new(ReaderObject *self, Entry *entry, uint64_t now_ns, bool *more) {
    struct shmbus_group *lane = &entry->source->lane;
    struct shmbus_view view;
    *more = false;
    enum shmbus_result result = look(entry, &view);
    if (self->by_producer && entry->position != entry->head.at)
        return NULL; /* it has gone to another: the merge looks again */
    switch (result) {
    case SHMBUS_BUSY: return group_idle(entry);
    case SHMBUS_EMPTY:
        entry->busy_word_since_ns = 0;
        return group_idle(entry);
    case SHMBUS_SEALED:
        if (entry->expired_count || entry->sealed || !group_all_settled(entry))
            return group_idle(entry);
        return reader_sealed(self, entry);
    case SHMBUS_OVERRUN:
        *more = true;
        return skip_overrun(entry);
    case SHMBUS_STEPPED:
        *more = group_step_over(entry);
        return *more ? NULL : group_idle(entry);
    default: break;
    }
    if (!shmbus_group_open(lane, entry->position))
        return group_idle(entry);
    PyObject *found = claim_next(self, entry, result, &view, now_ns, &result);
    *more = !found && !PyErr_Occurred() && !self->closed && result != SHMBUS_WINDOW;
    return found;
}

/* ---- one step, for a merge (see merge.c), which looks at all rings before each ----------------------------------- */

enum shmbus_result group_peek(Entry *entry, uint64_t *sequence, struct shmbus_view *view) {
    struct shmbus_group *lane = &entry->source->lane;
    *sequence = entry->position;
    if (shmbus_group_owes(lane))
        return SHMBUS_OVERRUN;
    if (returned_waits(entry)) {
        entry->returned_seen = atomic_load_explicit(&lane->lane->returned, memory_order_seq_cst); /* as in take_returned() */
        entry->rescan = shmbus_group_returned(lane, sequence);
        if (entry->rescan)
            return *sequence < shmbus_head(&entry->ring->ring) ? SHMBUS_OVERRUN
                                                                : peek_here(entry, *sequence, view);
    }
    enum shmbus_result result = look(entry, view);
    *sequence = entry->position;
    return result == SHMBUS_OK && !shmbus_group_open(lane, entry->position) ? SHMBUS_WINDOW : result;
}

bool group_stands(Entry *entry, uint64_t sequence) {
    struct shmbus_group *lane = &entry->source->lane;
    return !shmbus_group_owes(lane) && !returned_waits(entry) &&
           shmbus_group_seek(lane, entry->position) == sequence;
}

/* What the merge has seen there, or nothing: it has gone to another, or something has come before it. */
static PyObject *step_to(ReaderObject *self, Entry *entry, uint64_t now_ns) {
    struct shmbus_taken taken;
    struct shmbus_view view;
    uint64_t sequence = entry->head.at;
    bool more;
    if (shmbus_group_owes(&entry->source->lane))
        return tell_untold(entry); /* what stands at `sequence` was not looked at: nothing, if nothing is to be told after all */
    if (!entry->rescan || !is_here(entry)) /* another member may have gone on to the successor: nothing was given back here */
        return next_new(self, entry, now_ns, &more);
    PyObject *found = skip_overrun(entry);
    if (found || PyErr_Occurred() || !shmbus_group_retake_at(&entry->source->lane, sequence, now_ns, &taken))
        return found;
    return deliver(self, entry, taken, peek_here(entry, sequence, &view), &view);
}

/* ---- all that there is ------------------------------------------------------------------------------------------- */

/* The oldest that was given back. What the ring has dropped of that is told in one run first. */
static PyObject *next_returned(ReaderObject *self, Entry *entry, uint64_t now_ns, bool *any) {
    struct shmbus_taken taken;
    PyObject *told = skip_overrun(entry);
    *any = told || PyErr_Occurred() || take_returned(entry, now_ns, &taken);
    if (told || !*any || PyErr_Occurred())
        return told;
    struct shmbus_view view;
    return deliver(self, entry, taken, peek_here(entry, taken.sequence, &view), &view);
}

PyObject *group_next(ReaderObject *self, Entry *entry) {
    uint64_t now = shmbus_now_ns(), stop = 0;
    uint32_t looks = entry->source->lane.mask;
    entry->source->resting = false;
    if (now >= self->next_look_ns)
        group_look_after(self, now);
    if (self->by_producer)
        return step_to(self, entry, now);
    PyObject *found = tell_untold(entry);
    self->moved = false;
    for (bool more = true; more && !found && !PyErr_Occurred() && !self->closed && !self->moved;) {
        bool again = false;
        if (looks && returned_waits(entry))
            found = next_returned(self, entry, now, &again);
        if (again) {
            looks--;
            continue;
        }
        found = next_new(self, entry, now, &more);
        /* What is settled in passing does not keep the caller from its deadline: as far as the ring went at first. */
        stop = stop ? stop : shmbus_tail(&entry->ring->ring);
        more = more && entry->position < stop;
    }
    return found;
}

/* ---- settling -------------------------------------------------------------------------------------------------------- */

/* Where a message is settled. NULL with an exception. */
static SourceObject *settled_at(PyObject *reader, PyObject *object, struct shmbus_taken *taken) {
    ReaderObject *self = (ReaderObject *)reader;
    if (!Py_IS_TYPE(object, &MessageType) && !Py_IS_TYPE(object, &BorrowedType)) {
        PyErr_Format(PyExc_TypeError, "a Message can be settled, not a %s", Py_TYPE(object)->tp_name);
        return NULL;
    }
    if (Py_IS_TYPE(object, &BorrowedType) && ((BorrowedObject *)object)->exports) {
        PyErr_Format(PyExc_BufferError, "%R is in use: it is protected until it is settled, so give it back first", object);
        return NULL;
    }
    MessageHead *message = (MessageHead *)object;
    if (!message->source->group || message->source->reader != reader) {
        PyErr_SetString(PyExc_ValueError, message->source->group
                                              ? "the message was received by another subscription: settle it there"
                                              : "nothing is settled here: subscribe with durable=\"a name\" for that");
        return NULL;
    }
    if (self->fork != fork_generation) {
        PyObject *answer = PyObject_CallMethod(reader, "_unusable", "O", Py_False);
        Py_XDECREF(answer);
        if (answer)
            PyErr_SetString(PyExc_ValueError, "the subscription belongs to another process");
        return NULL;
    }
    *taken = (struct shmbus_taken){message->frame.sequence, message->deliveries};
    return message->source;
}

PyObject *group_ack(PyObject *reader, PyObject *message) {
    struct shmbus_taken taken;
    SourceObject *source = settled_at(reader, message, &taken);
    if (!source)
        return NULL;
    uint64_t advanced = 0;
    bool done = shmbus_group_settle_read(lane_of(source), taken, &((MessageHead *)message)->frame, &advanced);
    group_signal(source, advanced, false);
    return PyBool_FromLong(done);
}

/* Messages of one source that stand in a row. */
struct row {
    SourceObject *source;
    struct shmbus_taken first;
    uint32_t count;
};

static bool goes_on(const struct row *row, const SourceObject *source, struct shmbus_taken taken) {
    return row->source == source && taken.sequence == row->first.sequence + row->count && taken.tries == row->first.tries;
}

/* Settle it, and look at the floor unless that `source` goes on. How many were still ours. */
static uint32_t settle_row(const struct row *row, const SourceObject *next) {
    if (!row->source)
        return 0;
    uint32_t done = shmbus_group_settle_run(lane_of(row->source), row->first, row->count);
    if (row->source != next)
        group_signal(row->source, shmbus_group_advance(lane_of(row->source)), false);
    return done;
}

/* The floor is looked at once for all that comes from one source in turn. */
PyObject *group_ack_many(PyObject *reader, PyObject *messages) {
    PyObject *list = PySequence_Fast(messages, "ack_many() takes an iterable of messages");
    if (!list)
        return NULL;
    long done = 0;
    struct row row = {0};
    Py_ssize_t size = PySequence_Fast_GET_SIZE(list);
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *message = PySequence_Fast_GET_ITEM(list, i);
        if (!Py_IS_TYPE(message, &MessageType))
            continue; /* a gap, in what receive_many() gave */
        struct shmbus_taken taken;
        SourceObject *source = settled_at(reader, message, &taken);
        if (!source)
            break;
        if (!goes_on(&row, source, taken)) {
            done += settle_row(&row, source);
            row = (struct row){source, taken, 0};
        }
        row.count++;
    }
    done += settle_row(&row, NULL);
    Py_DECREF(list);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(done);
}

PyObject *group_nack(PyObject *reader, PyObject *message) {
    struct shmbus_taken taken;
    SourceObject *source = settled_at(reader, message, &taken);
    if (!source)
        return NULL;
    return PyBool_FromLong(give_back(source, taken));
}

PyObject *group_extend(PyObject *reader, PyObject *message) {
    struct shmbus_taken taken;
    SourceObject *source = settled_at(reader, message, &taken);
    return source ? PyBool_FromLong(shmbus_group_extend(lane_of(source), taken, shmbus_now_ns())) : NULL;
}
