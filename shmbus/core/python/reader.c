/* Reader: the receiving half of a subscription, over any number of rings. How it waits stands in waiting.c. */
#include "reader.h"

/* ---- rings of the subscription ------------------------------------------------------------------------------------- */

static int reader_init(ReaderObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"bells", "session_bell", NULL};
    PyObject *bells;
    unsigned int bell;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!I", names, &BellsType, &bells, &bell))
        return -1;
    if (self->bells || bell >= ((BellsObject *)bells)->capacity) {
        PyErr_SetString(PyExc_ValueError, "a Reader is initialised once, with a bell that exists");
        return -1;
    }
    self->bells = (BellsObject *)Py_NewRef(bells);
    self->attention = &self->bells->bells[bell].data;
    self->attention_seen = atomic_load_explicit(self->attention, memory_order_acquire) >> 1;
    shmbus_spin_init(&self->spin);
    self->fork = fork_generation;
    return 0;
}

static void entry_clear(Entry *entry) {
    ledger_end(entry);
    Py_CLEAR(entry->source);
    Py_CLEAR(entry->session);
    PyMem_Free(entry->own);
    entry->own = NULL;
    if (entry->ring)
        ring_let_go(entry->ring);
    entry->ring = NULL;
}

static void reader_drop_all(ReaderObject *self) {
    for (uint32_t i = 0; i < self->count; i++)
        entry_clear(&self->entries[i]);
    PyMem_Free(self->entries);
    self->entries = NULL;
    self->count = self->urgent = 0;
    Py_CLEAR(self->pending);
    Py_CLEAR(self->told);
    Py_CLEAR(self->first);
    correlated_drop(self);
}

static void reader_dealloc(ReaderObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    reader_drop_all(self);
    correlated_end(self);
    Py_XDECREF(self->filter);
    Py_XDECREF(self->outer);
    Py_XDECREF(self->bells);
    type->tp_free((PyObject *)self); /* a subclass's own dealloc, which called this one, gives back the type */
}

static bool reader_free(ReaderObject *self) {
    if (!self->busy || self->thread == PyThread_get_thread_ident())
        return true;
    PyErr_SetString(PyExc_RuntimeError, "the subscription is in use by another thread");
    return false;
}

/* How often a lossless reader looks for publishers that wait for room: an eighth of the ring, so that they find work. */
static uint32_t signal_interval(const struct shmbus_ring *ring) {
    uint32_t limit = atomic_load_explicit(&ring->header->max_messages, memory_order_relaxed);
    limit = limit < ring->slot_mask ? limit : ring->slot_mask;
    return limit / 8 ? limit / 8 : 1;
}

static SourceObject *source_new(ReaderObject *self, RingObject *ring, PyObject *pattern) {
    SourceObject *source = PyObject_New(SourceObject, &SourceType);
    if (!source)
        return NULL;
    source->ring = (RingObject *)Py_NewRef(ring);
    source->topic = Py_NewRef(ring->topic);
    source->type_name = Py_NewRef(ring->type_name);
    source->topic_lane = ring->lane;
    source->pattern = Py_NewRef(pattern);
    source->bells = (BellsObject *)Py_NewRef(self->bells);
    source->group = NULL;
    source->reader = self;
    source->unsignalled = 0;
    source->resting = false;
    source->signal_every = 1;
    source->signal_later = signal_interval(&ring->ring);
    return source;
}

/* From now on what comes from here is settled in that lane of the group. */
static bool source_join(SourceObject *source, PyObject *group, unsigned lane, unsigned member) {
    if (group == Py_None)
        return true;
    GroupObject *page = (GroupObject *)group;
    if (!PyObject_TypeCheck(group, &GroupType) || !page->session.segment.memory || !page->session.writable ||
        !shmbus_group_view(&source->lane, page->session.segment.memory, &page->setup, lane, member)) {
        PyErr_SetString(PyExc_ValueError, "no such lane or member in a group that is mapped writable");
        return false;
    }
    source->group = (GroupObject *)Py_NewRef(group);
    source->lane.ring = &source->ring->ring;
    return true;
}

static PyObject *reader_add(ReaderObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "pattern", "position", "gated", "session", "cursor", "group", "lane", "member", NULL};
    RingObject *ring;
    PyObject *pattern, *session = Py_None, *group = Py_None;
    unsigned long long position;
    int gated;
    unsigned int cursor = 0, lane = 0, member = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!UKp|OIOII", names, &RingType, &ring, &pattern, &position, &gated, &session,
                                     &cursor, &group, &lane, &member) ||
        !reader_free(self))
        return NULL;
    if (ring->closed || ring->bell >= self->bells->capacity) {
        PyErr_SetString(PyExc_ValueError, "a Reader needs an open ring whose bell exists");
        return NULL;
    }
    Entry entry = {.position = position, .gated = gated, .signal_every = 1};
    if (session != Py_None) {
        if (!PyObject_TypeCheck(session, &SessionType) || !((SessionObject *)session)->writable ||
            cursor >= ((SessionObject *)session)->capacity) {
            PyErr_SetString(PyExc_ValueError, "no such cursor in a session that is mapped writable");
            return NULL;
        }
        entry.cursor = &((SessionObject *)session)->page->cursors[cursor];
        entry.place = cursor;
    } else {
        entry.cursor = entry.own = PyMem_Calloc(1, sizeof *entry.own);
        if (!entry.own)
            return PyErr_NoMemory();
    }
    SourceObject *source = source_new(self, ring, pattern);
    if (source && !source_join(source, group, lane, member)) {
        PyMem_Free(entry.own);
        Py_DECREF(source);
        return NULL;
    }
    Entry *grown = source ? PyMem_Realloc(self->entries, (self->count + 1) * sizeof *grown) : NULL;
    if (!grown) {
        PyMem_Free(entry.own);
        Py_XDECREF(source);
        return PyErr_NoMemory();
    }
    entry.source = source;
    entry.rescan = source->group != NULL;
    entry.session = session != Py_None ? (SessionObject *)Py_NewRef(session) : NULL;
    ring_hold(ring);
    entry.ring = ring;
    entry.data_bell = &self->bells->bells[ring->bell].data;
    entry.space_bell = &self->bells->bells[ring->bell].space;
    self->entries = grown;
    if (!ledger_begin(&entry)) {
        entry_clear(&entry);
        return NULL;
    }
    if (ring->lane == SHMBUS_LANE_URGENT) {
        memmove(grown + 1, grown, self->count * sizeof *grown);
        grown[0] = entry;
        self->urgent++;
    } else {
        grown[self->count] = entry;
    }
    self->count++;
    self->moved = self->fresh = true;
    atomic_store_explicit(&entry.cursor->position, position, memory_order_seq_cst);
    Py_RETURN_NONE;
}

static PyObject *reader_set_delivery(ReaderObject *self, PyObject *args) {
    unsigned long long deadline_ns;
    unsigned int max_deliveries;
    if (!PyArg_ParseTuple(args, "KI", &deadline_ns, &max_deliveries))
        return NULL;
    self->ack_deadline_ns = deadline_ns;
    self->max_deliveries = max_deliveries;
    Py_RETURN_NONE;
}

/* What is waited for comes soon after something that this process has sent. */
static PyObject *reader_be_eager(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    self->spin.eager = true;
    Py_RETURN_NONE;
}

static Entry *entry_of(ReaderObject *self, PyObject *ring) {
    for (uint32_t i = 0; i < self->count; i++)
        if ((PyObject *)self->entries[i].ring == ring)
            return &self->entries[i];
    PyErr_SetString(PyExc_KeyError, "the subscription does not read that ring");
    return NULL;
}

static PyObject *reader_remove(ReaderObject *self, PyObject *ring) {
    Entry *entry = entry_of(self, ring);
    if (!entry || !reader_free(self))
        return NULL;
    uint32_t at = (uint32_t)(entry - self->entries);
    Entry gone = *entry;
    memmove(entry, entry + 1, (self->count - at - 1) * sizeof *entry);
    self->count--;
    self->urgent -= at < self->urgent;
    self->moved = self->fresh = true;
    self->turn = 0;
    entry_clear(&gone);
    Py_RETURN_NONE;
}

/* As what messages of that ring come. */
static PyObject *reader_source(ReaderObject *self, PyObject *ring) {
    Entry *entry = entry_of(self, ring);
    return entry ? Py_NewRef(entry->source) : NULL;
}

/* Messages that are handed out before anything is read. */
static PyObject *reader_hand_out_first(ReaderObject *self, PyObject *messages) {
    PyObject *all = self->first ? PySequence_InPlaceConcat(self->first, messages) : PySequence_List(messages);
    if (!all)
        return NULL;
    Py_XSETREF(self->first, all);
    Py_RETURN_NONE;
}

/* The next gap of an overrun that has been counted; NULL, with or without an exception. */
static PyObject *next_told(ReaderObject *self) {
    PyObject *told = NULL;
    if (self->told && PyList_GET_SIZE(self->told)) {
        told = Py_NewRef(PyList_GET_ITEM(self->told, 0));
        if (PyList_SetSlice(self->told, 0, 1, NULL) < 0)
            Py_CLEAR(told);
    }
    if (self->told && !PyList_GET_SIZE(self->told))
        Py_CLEAR(self->told);
    return told;
}

/* The next of them that is wanted. NULL with an exception, or there is none any more. */
static PyObject *next_first(ReaderObject *self) {
    while (self->first && PyList_GET_SIZE(self->first)) {
        PyObject *message = Py_NewRef(PyList_GET_ITEM(self->first, 0));
        int wanted = PyList_SetSlice(self->first, 0, 1, NULL) < 0 ? -1 : self->filter ? reader_judge(self, message) : 1;
        if (wanted == 1)
            return message;
        self->filtered += !wanted;
        Py_DECREF(message);
        if (wanted < 0)
            return NULL;
    }
    Py_CLEAR(self->first);
    return NULL;
}

static PyObject *counters(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < self->count; i++) {
        Entry *e = &self->entries[i];
#define READ(field) (unsigned long long)atomic_load_explicit(&e->cursor->field, memory_order_relaxed)
        PyObject *item = Py_BuildValue("OKKKKKK", e->ring, (unsigned long long)e->position, READ(delivered), READ(lost),
                                       READ(expired), READ(corrupt), READ(stepped));
#undef READ
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *reader_set_filter(ReaderObject *self, PyObject *filter) {
    Py_XSETREF(self->filter, Py_NewRef(filter));
    Py_RETURN_NONE;
}

static PyObject *reader_set_order(ReaderObject *self, PyObject *args) {
    const char *order;
    unsigned long long wait_ns;
    if (!PyArg_ParseTuple(args, "sK", &order, &wait_ns))
        return NULL;
    self->by_producer = strcmp(order, "producer") == 0;
    if (!self->by_producer && !correlated_begin(self, wait_ns))
        return NULL;
    Py_RETURN_NONE;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

/* Wake publishers that sleep for room. The fence orders the position before the look at the waiting bit, against
 * shmbus_bell_arm() before the look at the position in the publisher. */
void reader_signal_space(Entry *entry) {
    if (!entry->unsignalled)
        return;
    entry->unsignalled = 0;
    entry->signal_every = signal_interval(&entry->ring->ring);
    if (!entry->gated)
        return;
    cursor_moved(entry->cursor);
    atomic_thread_fence(memory_order_seq_cst);
    shmbus_bell_ring(entry->space_bell);
}

void reader_place(Entry *entry, uint64_t position) {
    entry->position = position;
    shmbus_cursor_place(entry->cursor, position);
    if (++entry->unsignalled >= entry->signal_every)
        reader_signal_space(entry);
}

/* Told before the position moves: if Ctrl-C falls into the making of it, it is told again. */
PyObject *reader_gap(Entry *entry, uint64_t first, uint64_t count, const char *reason, uint32_t producer) {
    if (!hooks.make_gap) {
        PyErr_SetString(PyExc_RuntimeError, "shmbus.message has not been imported");
        return NULL;
    }
    PyObject *whose = producer ? ring_producer(entry->ring, producer) : Py_NewRef(Py_None);
    return whose ? PyObject_CallFunction(hooks.make_gap, "OKKsN", entry->source, (unsigned long long)first,
                                         (unsigned long long)count, reason, whose)
                 : NULL;
}

PyObject *reader_tell_expired(Entry *entry) {
    PyObject *told = reader_gap(entry, entry->expired_from, entry->expired_count, "expired", entry->expired_producer);
    if (told)
        entry->expired_count = 0;
    return told;
}

static PyObject *tell_corrupt(Entry *entry) {
    uint32_t producer = shmbus_owner(&entry->ring->ring, entry->position);
    PyObject *told = reader_gap(entry, entry->position, 1, "corrupt", producer);
    if (told) {
        add_to(&entry->cursor->corrupt, 1);
        ledger_account_unread(entry, producer, SHMBUS_LOST_CORRUPT);
        reader_place(entry, entry->position + 1);
    }
    return told;
}

/* A gap, or NULL: with an exception, or because no message was lost. */
static PyObject *tell_overrun(ReaderObject *self, Entry *entry) {
    uint64_t head = shmbus_head(&entry->ring->ring);
    if (head <= entry->position) /* a slot of a later lap, and yet nothing was retired: not what a publisher of ours does */
        return tell_corrupt(entry);
    PyObject *gaps = ledger_overrun(entry, &head);
    if (!gaps)
        return NULL;
    reader_place(entry, head);
    Py_XSETREF(self->told, gaps);
    return next_told(self);
}

/* Take one message. A new reference, or NULL: with an exception, or nothing came of it and the loop goes on. */
PyObject *reader_take(Entry *entry, const struct shmbus_view *view, enum shmbus_result *result) {
    MessageObject *message = message_new(entry->source, view->length);
    if (!message)
        return NULL;
    *result = shmbus_take(&entry->ring->ring, view, &message->frame, message->payload);
    if (*result == SHMBUS_OK &&
        (message->frame.expires_ns || atomic_load_explicit(&entry->ring->ring.header->retention_ns, memory_order_relaxed)) &&
        shmbus_expired(&entry->ring->ring, &message->frame, shmbus_now_ns()))
        *result = SHMBUS_EXPIRED;
    if (*result != SHMBUS_OK) {
        entry->passed = message->frame;
        Py_DECREF(message);
        return NULL;
    }
    message->producer = ring_producer(entry->ring, message->frame.producer);
    if (!message->producer) {
        Py_DECREF(message);
        return NULL;
    }
    return (PyObject *)message;
}

int reader_judge(const ReaderObject *self, PyObject *message) {
    PyObject *answer = PyObject_CallOneArg(self->filter, message);
    int wanted = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return wanted;
}

PyObject *reader_sealed(ReaderObject *self, Entry *entry) {
    entry->sealed = true; /* Python puts the successor in this one's place, at the same sequence */
    RingObject *ring = entry->ring;
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_sealed", "OK", ring, (unsigned long long)entry->position);
    if (!answer) { /* a signal handler may have raised, at any point of it: once more, whether it is still read or not */
        for (uint32_t i = 0; i < self->count; i++)
            if (self->entries[i].ring == ring)
                self->entries[i].sealed = false;
        self->attention_seen--;
    }
    Py_XDECREF(answer);
    return NULL; /* the entries have changed: the caller starts over */
}

/* Passes over what the filter does not want, and slots without a message; but for a merge, which must look at the other
 * rings before it goes on in this one. And not for ever: as far as the ring went when that began, so that a flood of it
 * does not keep the caller from its deadline. */
PyObject *reader_entry_next(ReaderObject *self, Entry *entry) {
    if (entry->source->group)
        return group_next(self, entry);
    uint64_t stop = 0;
    for (;;) {
        struct shmbus_view view;
        enum shmbus_result result = shmbus_peek(&entry->ring->ring, entry->position, &view);
        if (result == SHMBUS_OK) {
            PyObject *message = reader_read(self, entry, &view, &result);
            if (message && self->closed) { /* by another thread, while Python ran: the cursor may be another's by now */
                Py_DECREF(message);
                return NULL;
            }
            if (message) {
                if (entry->expired_count) {
                    Py_DECREF(message); /* told first; the message is read again right after */
                    return reader_tell_expired(entry);
                }
                const struct shmbus_frame *frame = &((MessageHead *)message)->frame;
                if (entry->unread) {
                    PyObject *missing = ledger_missing(entry, frame);
                    if (missing || PyErr_Occurred()) {
                        Py_DECREF(message); /* told first, as above */
                        return missing;
                    }
                }
                int wanted = self->filter ? reader_judge(self, message) : 1;
                uint32_t producer = frame->producer;
                uint64_t number = frame->producer_sequence;
                if (wanted != 1 || self->closed) { /* by another thread, while the filter ran: as above */
                    bool passed = wanted == 0 && !self->closed && correlated_pass(self, (MessageObject *)message);
                    Py_DECREF(message);
                    if (!passed)
                        return NULL;
                    self->filtered++;
                    ledger_account(entry, producer, number, SHMBUS_LEFT_FILTERED);
                    stop = stop ? stop : shmbus_tail(&entry->ring->ring);
                    reader_place(entry, entry->position + 1);
                    if (self->by_producer)
                        return NULL;
                    if (entry->position < stop)
                        continue;
                    reader_signal_space(entry);
                    return NULL;
                }
                add_to(&entry->cursor->delivered, 1);
                ledger_delivered(entry, producer, number);
                if (self->borrowing)
                    self->borrowed = message; /* the position moves when it is given back */
                else
                    reader_place(entry, entry->position + 1);
                return message;
            }
            if (PyErr_Occurred())
                return NULL;
        }
        switch (result) {
        case SHMBUS_STEPPED:
            if (entry->expired_count)
                return reader_tell_expired(entry); /* a gap is a run: no message was here */
            add_to(&entry->cursor->stepped, 1);
            entry->voids++;
            reader_place(entry, entry->position + 1);
            if (self->by_producer)
                return NULL;
            continue;
        case SHMBUS_EXPIRED:
            if (entry->expired_count && entry->expired_producer != entry->passed.producer)
                return reader_tell_expired(entry);
            PyObject *missing = ledger_missing(entry, &entry->passed);
            if (missing || PyErr_Occurred())
                return missing;
            if (!entry->expired_count++)
                entry->expired_from = entry->position;
            entry->expired_producer = entry->passed.producer;
            ledger_account(entry, entry->passed.producer, entry->passed.producer_sequence, SHMBUS_LOST_EXPIRED);
            add_to(&entry->cursor->expired, 1);
            reader_place(entry, entry->position + 1);
            continue;
        default:
            break;
        }
        if (entry->expired_count)
            return reader_tell_expired(entry);
        if (result == SHMBUS_OVERRUN) {
            PyObject *told = tell_overrun(self, entry);
            if (told || PyErr_Occurred() || self->by_producer)
                return told;
            continue;
        }
        if (result == SHMBUS_CORRUPT)
            return tell_corrupt(entry);
        if (result == SHMBUS_SEALED && !entry->sealed)
            return reader_sealed(self, entry);
        if (result != SHMBUS_BUSY)
            entry->busy_word_since_ns = 0;
        reader_signal_space(entry);
        return NULL;
    }
}

bool reader_attend(ReaderObject *self, PyObject **notice) {
    *notice = NULL;
    uint32_t epoch = atomic_load_explicit(self->attention, memory_order_acquire) >> 1;
    if (epoch == self->attention_seen)
        return true;
    self->attention_seen = epoch; /* before it is looked into, so that what comes meanwhile is seen next time */
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_attend", NULL);
    if (answer == Py_None)
        Py_DECREF(answer);
    else
        *notice = answer;
    if (!answer)
        self->attention_seen = epoch - 1; /* a signal handler may have raised before all of it was looked into */
    return answer != NULL;
}

/* One thread at a time from here to leave(). False with the exception that Python raised. */
static bool enter(ReaderObject *self) {
    if (self->borrowed && !self->closed && self->fork == fork_generation) {
        PyErr_Format(PyExc_BufferError, "%R is borrowed: give it back (leave its `with` block) before the next is received",
                     self->borrowed);
        return false;
    }
    if (!self->closed && !self->busy && self->fork == fork_generation) {
        self->busy = true;
        self->thread = PyThread_get_thread_ident();
        return true;
    }
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_unusable", "O", self->busy ? Py_True : Py_False);
    if (answer)
        PyErr_SetString(PyExc_ValueError, "the subscription is closed");
    Py_XDECREF(answer);
    return false;
}

static PyObject *leave(ReaderObject *self, PyObject *result) {
    self->busy = false;
    if (self->closed) /* by another thread, or a signal handler, meanwhile */
        reader_drop_all(self);
    return result;
}

bool reader_prepare(ReaderObject *self, PyObject **found) {
    if (!reader_attend(self, found) || *found)
        return *found != NULL;
    if (self->pending) {
        *found = self->pending;
        self->pending = NULL;
        return true;
    }
    if (self->told) {
        *found = next_told(self);
        if (*found || PyErr_Occurred())
            return *found != NULL;
    }
    if (self->first)
        *found = next_first(self);
    return *found || !PyErr_Occurred();
}

PyObject *reader_step_unordered(ReaderObject *self) {
    PyObject *found;
    if (!reader_prepare(self, &found) || found || self->closed)
        return found;
    for (uint32_t i = 0; i < self->urgent;) { /* before every message: nothing normal is read while there is one here */
        self->moved = false;
        found = reader_entry_next(self, &self->entries[i]);
        if (found || PyErr_Occurred() || self->closed)
            return found;
        i = self->moved ? 0 : i + 1;
    }
    for (uint32_t empty = 0; empty < self->count - self->urgent;) {
        if (self->turn < self->urgent || self->turn >= self->count)
            self->turn = self->urgent;
        if (self->taken < FAIRNESS) {
            self->moved = false;
            found = reader_entry_next(self, &self->entries[self->turn]);
            if (found) {
                self->taken++;
                return found;
            }
            if (PyErr_Occurred())
                return NULL;
            if (self->closed)
                return NULL;
            empty = self->moved ? 0 : empty + 1;
        }
        self->turn++;
        self->taken = 0;
    }
    return NULL;
}

/* Something, or NULL: with an exception, or because there is nothing now. */
static PyObject *reader_step(ReaderObject *self) {
    if (self->by_producer)
        return merge_step(self);
    return self->correlated ? correlated_step(self) : reader_step_unordered(self);
}

/* ---- methods ------------------------------------------------------------------------------------------------------- */

static bool deadline(PyObject *timeout, uint64_t *at_ns) {
    *at_ns = UINT64_MAX;
    if (timeout == Py_None)
        return true;
    double number = PyFloat_AsDouble(timeout);
    if (PyErr_Occurred())
        return false;
    if (!(number >= 0)) {
        PyErr_Format(PyExc_ValueError, "%R is no number of seconds to wait", timeout);
        return false;
    }
    if (number < 1e9)
        *at_ns = shmbus_now_ns() + (uint64_t)(number * 1e9);
    return true;
}

/* NULL without an exception: the deadline has passed, or the subscription has ended. */
static PyObject *next_until(ReaderObject *self, uint64_t deadline_ns) {
    while (!self->closed) {
        PyObject *found = reader_step(self);
        if (found || PyErr_Occurred())
            return found;
        if (self->ended || (deadline_ns != UINT64_MAX && shmbus_now_ns() >= deadline_ns))
            return NULL;
        if (!reader_wait(self, deadline_ns))
            return NULL;
    }
    return NULL;
}

/* Python raises what is right: a timeout, or the end. */
static PyObject *out_of_luck(ReaderObject *self, PyObject *timeout) {
    double waited = timeout == Py_None ? 0 : PyFloat_AsDouble(timeout);
    return PyObject_CallMethod((PyObject *)self, "_nothing", "Od", self->ended || self->closed ? Py_True : Py_False, waited);
}

/* What a call by METH_FASTCALL gave as its only argument, by place or by name; the parser for any number of them is a
 * detour for every message. NULL with an exception. */
static PyObject *sole_argument(PyObject *const *given, Py_ssize_t count, PyObject *names, const char *method, const char *name) {
    Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
    if (count + named == 0)
        return Py_None;
    if (count + named == 1 && (!named || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), name) == 0))
        return given[0];
    return PyErr_Format(PyExc_TypeError, "%s() takes one argument at the most: %s", method, name);
}

static PyObject *reader_receive(ReaderObject *self, PyObject *const *given, Py_ssize_t count, PyObject *names) {
    PyObject *timeout = sole_argument(given, count, names, "receive", "timeout");
    uint64_t at;
    if (!timeout || !deadline(timeout, &at) || !enter(self))
        return NULL;
    PyObject *found = leave(self, next_until(self, at));
    return found || PyErr_Occurred() ? found : out_of_luck(self, timeout);
}

void reader_given_back(ReaderObject *self, SourceObject *source, uint64_t sequence) {
    for (uint32_t i = 0; i < self->count; i++)
        if (self->entries[i].source == source && self->entries[i].position == sequence) {
            reader_place(&self->entries[i], sequence + 1);
            reader_signal_space(&self->entries[i]);
        }
}

static PyObject *reader_borrow(ReaderObject *self, PyObject *timeout) {
    uint64_t at;
    if (!deadline(timeout, &at) || !enter(self))
        return NULL;
    self->borrowing = true;
    PyObject *found = next_until(self, at);
    self->borrowing = false;
    leave(self, NULL);
    return found || PyErr_Occurred() ? found : out_of_luck(self, timeout);
}

static PyObject *reader_try_receive(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    if (!enter(self))
        return NULL;
    PyObject *found = leave(self, reader_step(self));
    if (found || PyErr_Occurred())
        return found;
    Py_RETURN_NONE;
}

static PyObject *reader_receive_many(ReaderObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", "timeout", NULL};
    Py_ssize_t limit = 1024;
    PyObject *timeout = Py_None;
    uint64_t at;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|nO", names, &limit, &timeout) || !deadline(timeout, &at))
        return NULL;
    if (limit < 1)
        return PyErr_Format(PyExc_ValueError, "receive_many() takes a limit of at least 1, not %zd", limit);
    if (!enter(self))
        return NULL;
    PyObject *list = self->batch = PyList_New(0);
    self->batch_limit = limit;
    PyObject *found = list ? next_until(self, at) : NULL;
    while (list && found) {
        int failed = PyList_Append(list, found);
        Py_CLEAR(found);
        if (failed)
            Py_CLEAR(list);
        else if (PyList_GET_SIZE(list) < limit && !self->closed)
            found = reader_step(self);
    }
    self->batch = NULL;
    if (list && !PyList_GET_SIZE(list)) {
        Py_DECREF(list);
        leave(self, NULL);
        return PyErr_Occurred() ? NULL : out_of_luck(self, timeout);
    }
    Py_XDECREF(found);
    if (list && PyErr_Occurred()) {
        /* What has been taken is handed out; the next call meets the fault again, and Ctrl-C comes right after. */
        if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
            PyErr_SetInterrupt();
        PyErr_Clear();
    }
    return leave(self, list);
}

static _Thread_local void *handler; /* the reader whose loop `handling` belongs to */

static void handling_begins(ReaderObject *self, PyObject *message) {
    Py_XSETREF(self->outer, handling);
    self->outer_handler = handler;
    handling = Py_NewRef(message);
    handler = self;
}

/* The loop asks for more, or is over: it is through with the last one, and a loop around it goes on with its own. */
static void handling_ends(ReaderObject *self) {
    if (handler != self)
        return;
    PyObject *done = handling;
    handling = self->outer;
    handler = self->outer_handler;
    self->outer = NULL;
    Py_XDECREF(done);
}

static PyObject *reader_next(ReaderObject *self) {
    handling_ends(self);
    if (self->closed && !self->busy && self->fork == fork_generation)
        return NULL;
    if (!enter(self))
        return NULL;
    PyObject *found = leave(self, next_until(self, UINT64_MAX));
    if (found && Py_IS_TYPE(found, &MessageType))
        handling_begins(self, found);
    return found;
}

static PyObject *reader_close(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    if (self->lent && self->fork == fork_generation)
        return PyErr_Format(PyExc_BufferError, "%u views of borrowed messages are in use: give them back before the subscription "
                            "is closed", self->lent);
    self->closed = true;
    handling_ends(self);
    if (!self->busy) /* or else whoever is inside drops them when it leaves */
        reader_drop_all(self);
    if (self->attention)
        shmbus_bell_ring(self->attention); /* it may wait, or a Waiter for it */
    Py_RETURN_NONE;
}

static PyObject *reader_end(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    self->ended = true;
    Py_RETURN_NONE;
}

static PyObject *reader_anything(ReaderObject *self, PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(reader_has_something(self));
}

static PyObject *reader_flag(ReaderObject *self, void *which) {
    return PyBool_FromLong(which == (void *)0 ? self->closed : which == (void *)1 ? self->ended : self->fork != fork_generation);
}

static PyMethodDef reader_methods[] = {
    {"_add", (PyCFunction)(void (*)(void))reader_add, METH_VARARGS | METH_KEYWORDS, NULL},
    {"_remove", (PyCFunction)reader_remove, METH_O, NULL},
    {"_set_filter", (PyCFunction)reader_set_filter, METH_O, NULL},
    {"_set_delivery", (PyCFunction)reader_set_delivery, METH_VARARGS, NULL},
    {"_be_eager", (PyCFunction)reader_be_eager, METH_NOARGS, NULL},
    {"_source", (PyCFunction)reader_source, METH_O, NULL},
    {"_hand_out_first", (PyCFunction)reader_hand_out_first, METH_O, NULL},
    {"_set_order", (PyCFunction)reader_set_order, METH_VARARGS, NULL},
    {"_counters", (PyCFunction)counters, METH_NOARGS, NULL},
    {"_close", (PyCFunction)reader_close, METH_NOARGS, NULL},
    {"_end", (PyCFunction)reader_end, METH_NOARGS, NULL},
    {"_anything", (PyCFunction)reader_anything, METH_NOARGS, NULL},
    {"_borrow", (PyCFunction)reader_borrow, METH_O, NULL},
    {"ack", group_ack, METH_O, NULL},
    {"ack_many", group_ack_many, METH_O, NULL},
    {"nack", group_nack, METH_O, NULL},
    {"extend", group_extend, METH_O, NULL},
    {"receive", (PyCFunction)(void (*)(void))reader_receive, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"try_receive", (PyCFunction)reader_try_receive, METH_NOARGS, NULL},
    {"receive_many", (PyCFunction)(void (*)(void))reader_receive_many, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyObject *reader_filtered(ReaderObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->filtered);
}

static PyObject *reader_held_back(ReaderObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(correlated_held(self));
}

static PyObject *reader_released_early(ReaderObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(correlated_early(self));
}

static PyGetSetDef reader_getset[] = {
    {"held_back", (getter)reader_held_back, NULL, NULL, NULL},
    {"released_early", (getter)reader_released_early, NULL, NULL, NULL},
    {"filtered", (getter)reader_filtered, NULL, NULL, NULL},
    {"closed", (getter)reader_flag, NULL, NULL, (void *)0},
    {"ended", (getter)reader_flag, NULL, NULL, (void *)1},
    {"_forked", (getter)reader_flag, NULL, NULL, (void *)2},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject ReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Reader",
    .tp_base = &ClosingType,
    .tp_finalize = closing_finalize,
    .tp_doc = "The receiving half of a subscription; shmbus.Subscription builds on it.",
    .tp_basicsize = sizeof(ReaderObject),
    .tp_weaklistoffset = offsetof(ReaderObject, weakrefs),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)reader_init,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)reader_next,
    .tp_getset = reader_getset,
    .tp_methods = reader_methods,
};
