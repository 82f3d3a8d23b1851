/* Writer: the publishing half. No Python runs between claim and commit: an event is serialised first, then one call of
 * the core checks for room, claims, copies and commits. */
#include "binding.h"

#include <errno.h>
#include <structmember.h>
#include <time.h>

enum { SPIN_NS = 5000, RETIRE_AHEAD = 64, ENVELOPE_PARTS = 5, WRAPPER_BYTES = 8, TYPED = 1, BATCH_PER_CLOCK = 32 };
enum { METADATA_BYTES = 96, KEY_FIELD_BYTES = KEY_BYTES + 8 };

typedef struct {
    PyObject_HEAD
    RingObject *ring;
    BellsObject *bells;
    PyObject *sessions; /* list of Session: keeps what `refs` points at alive */
    struct shmbus_session_ref *refs;
    struct shmbus_writer writer;
    _Atomic uint32_t *data_bell, *space_bell, *bus_bell;
    BudgetObject *budget; /* NULL: none */
    PyObject *envelopes; /* {type: (constant prefix, wrapper, outer tag, inner tag)} */
    char id_prefix[24];  /* of message ids: names this producer for ever */
    uint32_t id_length;
    unsigned long fork;
    bool block, busy, durable;
    uint64_t timeout_ns;
} WriterObject;

/* ---- life ---------------------------------------------------------------------------------------------------------- */

static void writer_drop_ring(WriterObject *self) {
    RingObject *ring = self->ring;
    self->ring = NULL;
    if (ring)
        ring_let_go(ring);
}

static bool writer_take_ring(WriterObject *self, PyObject *object, unsigned int producer) {
    if (!PyObject_TypeCheck(object, &RingType)) {
        PyErr_SetString(PyExc_TypeError, "a Writer writes to a Ring");
        return false;
    }
    RingObject *ring = (RingObject *)object;
    if (!ring->writable || ring->closed || ring->bell >= self->bells->capacity) {
        PyErr_SetString(PyExc_ValueError, "a Writer needs an open ring, mapped writable, whose bell exists");
        return false;
    }
    uint64_t published = self->writer.producer_sequence;
    if (self->ring) /* its own numbers, before anybody else has taken them over */
        shmbus_numbers_follow(&ring->ring, &self->ring->ring, producer);
    ring_hold(ring);
    writer_drop_ring(self);
    self->ring = ring;
    shmbus_writer_init(&self->writer, &ring->ring, producer);
    self->writer.producer_sequence = published;
    self->writer.sessions = self->refs;
    self->writer.session_count = (uint32_t)PyList_GET_SIZE(self->sessions);
    self->data_bell = &self->bells->bells[ring->bell].data;
    self->space_bell = &self->bells->bells[ring->bell].space;
    return true;
}

static int writer_init(WriterObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "producer", "bells", "id_prefix", "block", "timeout", NULL};
    PyObject *ring, *bells;
    unsigned int producer;
    const char *prefix;
    int block = 1;
    double timeout = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OIO!s|pd", names, &ring, &producer, &BellsType, &bells, &prefix, &block,
                                     &timeout))
        return -1;
    if (strlen(prefix) >= sizeof self->id_prefix - 1 || self->bells) {
        PyErr_SetString(PyExc_ValueError, "a Writer is initialised once, with an id prefix of at most 22 bytes");
        return -1;
    }
    self->bells = (BellsObject *)Py_NewRef(bells);
    self->sessions = PyList_New(0);
    self->envelopes = PyDict_New();
    self->refs = PyMem_Calloc(1, sizeof *self->refs);
    if (!self->sessions || !self->envelopes || !self->refs)
        return -1;
    self->bus_bell = &self->bells->bells[0].data;
    self->id_length = (uint32_t)strlen(prefix);
    memcpy(self->id_prefix, prefix, self->id_length);
    self->fork = fork_generation;
    self->block = block;
    self->timeout_ns = timeout < 0 ? UINT64_MAX : (uint64_t)(timeout * 1e9);
    return writer_take_ring(self, ring, producer) ? 0 : -1;
}

static void writer_dealloc(WriterObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    writer_drop_ring(self);
    Py_XDECREF(self->bells);
    Py_XDECREF(self->sessions);
    Py_XDECREF(self->envelopes);
    Py_XDECREF(self->budget);
    PyMem_Free(self->refs);
    type->tp_free((PyObject *)self); /* a subclass's own dealloc, which called this one, gives back the type */
}

static PyObject *writer_detach(WriterObject *self, PyObject *Py_UNUSED(none)) {
    writer_drop_ring(self);
    if (self->busy) /* another thread waits for room */
        shmbus_bell_signal(self->space_bell);
    Py_RETURN_NONE;
}

static PyObject *writer_move(WriterObject *self, PyObject *args) {
    PyObject *ring;
    unsigned int producer;
    if (!PyArg_ParseTuple(args, "OI", &ring, &producer) || !writer_take_ring(self, ring, producer))
        return NULL;
    Py_RETURN_NONE;
}

/* Its numbers go on from those of the one before it. */
static PyObject *writer_continue(WriterObject *self, PyObject *arg) {
    unsigned long long number = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred())
        return NULL;
    self->durable = true;
    self->writer.producer_sequence = number;
    Py_RETURN_NONE;
}

static PyObject *writer_set_budget(WriterObject *self, PyObject *budget) {
    if (budget != Py_None && !PyObject_TypeCheck(budget, &BudgetType))
        return PyErr_Format(PyExc_TypeError, "set_budget() takes a Budget or None");
    Py_XSETREF(self->budget, budget == Py_None ? NULL : (BudgetObject *)Py_NewRef(budget));
    Py_RETURN_NONE;
}

static PyObject *writer_set_sessions(WriterObject *self, PyObject *sequence) {
    PyObject *list = PySequence_List(sequence);
    if (!list)
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(list);
    struct shmbus_session_ref *refs = PyMem_Calloc((size_t)count + 1, sizeof *refs);
    for (Py_ssize_t i = 0; refs && i < count; i++) {
        SessionObject *session = (SessionObject *)PyList_GET_ITEM(list, i);
        if (!PyObject_TypeCheck((PyObject *)session, &SessionType)) {
            PyErr_SetString(PyExc_TypeError, "set_sessions() takes Session objects");
            PyMem_Free(refs);
            Py_DECREF(list);
            return NULL;
        }
        refs[i] = (struct shmbus_session_ref){session->session, session->page ? session->capacity : 0, session->page};
    }
    if (!refs) {
        Py_DECREF(list);
        return PyErr_NoMemory();
    }
    PyMem_Free(self->refs);
    Py_SETREF(self->sessions, list);
    self->refs = refs;
    self->writer.sessions = refs;
    self->writer.session_count = (uint32_t)count;
    Py_RETURN_NONE;
}

/* ---- trouble ------------------------------------------------------------------------------------------------------- */

/* Let Python decide: return to try again, or raise. */
static bool ask_python(WriterObject *self, enum shmbus_result result, uint64_t length, uint64_t waited_ns, bool give_up) {
    struct shmbus_blocked *b = &self->writer.blocked;
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_trouble", "iKKOiKKIIIK", (int)result, (unsigned long long)length,
                                           (unsigned long long)waited_ns, give_up ? Py_True : Py_False, (int)b->by,
                                           (unsigned long long)b->sequence, (unsigned long long)b->behind, b->producer,
                                           b->session, b->cursor, (unsigned long long)b->word);
    Py_XDECREF(answer);
    return answer != NULL;
}

/* May there be room since the last look? Makes some where it can. seq_cst: orders this look after the waiting bit was set,
 * see shmbus_bell_arm(), against whoever moves the head and then rings. */
int writer_ready(PyObject *object) {
    WriterObject *self = (WriterObject *)object;
    struct shmbus_blocked blocked;
    return !self->ring || self->writer.head != atomic_load_explicit(&self->ring->ring.header->head, memory_order_seq_cst) ||
           shmbus_retire(&self->ring->ring, RETIRE_AHEAD, self->refs, self->writer.session_count, &blocked) > 0;
}

/* Wait until a reader or a repairer makes room: spin a little, then sleep on the space bell. */
static bool wait_for_room(WriterObject *self, uint64_t length, uint64_t started, uint64_t timeout_ns) {
    uint64_t now = shmbus_now_ns();
    uint64_t waited = now - started;
    if (timeout_ns != UINT64_MAX && waited >= timeout_ns)
        return ask_python(self, SHMBUS_FULL, length, waited, true);
    if (waited < SPIN_NS) {
        for (int i = 0; i < 64; i++)
            cpu_relax();
        return true;
    }
    _Atomic uint32_t *words[1] = {self->space_bell};
    uint32_t expected[1] = {shmbus_bell_arm(self->space_bell)};
    uint64_t bound = now + SLEEP_BOUND_NS;
    if (timeout_ns != UINT64_MAX && bound - started > timeout_ns)
        bound = started + timeout_ns;
    /* Look again after arming: whoever makes room from here on sees the bit, and who made it before has moved the head. */
    if (writer_ready((PyObject *)self))
        return true;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    shmbus_bell_wait(words, expected, 1, bound);
    Py_END_ALLOW_THREADS
    self->busy = false;
    if (PyErr_CheckSignals() < 0)
        return false;
    if (!self->ring)
        return true; /* closed by another thread meanwhile: put() meets it */
    now = shmbus_now_ns();
    return now < bound || ask_python(self, SHMBUS_FULL, length, now - started, false);
}

static bool ready(WriterObject *self) {
    if (self->ring && self->fork == fork_generation && !self->busy)
        return true;
    int answered = ask_python(self, SHMBUS_OK, 0, 0, true); /* closed, forked or busy: it raises */
    if (answered)
        PyErr_SetString(PyExc_ValueError, "the publisher is closed");
    return false;
}

/* Unix milliseconds of a CLOCK_MONOTONIC time; how far the two are apart is looked up ten times a second. */
static uint64_t unix_ms(uint64_t now_ns) {
    static uint64_t apart_ns, looked_ns;
    if (now_ns - looked_ns > 100000000u) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        apart_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - now_ns;
        looked_ns = now_ns;
    }
    return (now_ns + apart_ns) / 1000000u;
}

static void ring_bells(WriterObject *self) {
    shmbus_bell_ring(self->data_bell);
    shmbus_bell_ring(self->bus_bell);
    /* A publisher that found the head under our claim waits for this commit; one that waits for room is right to look. */
    shmbus_bell_ring(self->space_bell);
}

static uint64_t length_of(const struct shmbus_message *message) {
    uint64_t length = 0;
    for (uint32_t i = 0; i < message->count; i++)
        length += message->parts[i].length;
    return length;
}

enum may { MAY, MAY_NOT, ASK_AGAIN };

/* Is there budget for it? If not, sleep until there is, as far as it may be waited for: what is waited for is the time, so
 * nobody rings. MAY_NOT: with an exception. */
static enum may afford(WriterObject *self, uint64_t length, uint64_t timeout_ns, uint64_t *started) {
    uint64_t now = shmbus_now_ns(), wait = shmbus_budget_wait(&self->budget->budget, now, length);
    if (wait == 0)
        return MAY;
    if (!*started) {
        *started = now;
        ring_bells(self); /* the reader of a batch need not wait with us */
    }
    uint64_t waited = now - *started;
    if (timeout_ns != UINT64_MAX && (waited >= timeout_ns || wait > timeout_ns - waited)) {
        PyObject *answer = PyObject_CallMethod((PyObject *)self, "_over_budget", "KK", (unsigned long long)wait,
                                               (unsigned long long)length);
        Py_XDECREF(answer);
        return answer ? ASK_AGAIN : MAY_NOT;
    }
    uint64_t until = now + (wait < SLEEP_BOUND_NS ? wait : SLEEP_BOUND_NS);
    struct timespec at = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    Py_END_ALLOW_THREADS
    self->busy = false;
    return PyErr_CheckSignals() < 0 ? MAY_NOT : ASK_AGAIN;
}

/* Publish, or wait until it can be; the bells are the caller's. */
static bool put(WriterObject *self, const struct shmbus_message *message, uint64_t timeout_ns, uint64_t *sequence) {
    uint64_t started = 0;
    bool rung = false;
    for (;;) {
        if (!self->ring) /* closed by another thread, or a signal handler, while Python ran */
            return ask_python(self, SHMBUS_OK, 0, 0, true) && false;
        if (self->budget) {
            enum may may = afford(self, length_of(message), timeout_ns, &started);
            if (may == MAY_NOT)
                return false;
            if (may == ASK_AGAIN)
                continue;
        }
        enum shmbus_result result = shmbus_publish(&self->writer, message, sequence);
        if (result == SHMBUS_OK) {
            if (self->budget)
                budget_spend(self->budget, shmbus_now_ns(), length_of(message));
            return true;
        }
        uint64_t length = length_of(message);
        started = started ? started : shmbus_now_ns();
        if (result != SHMBUS_FULL) { /* where somebody has to tell us something, Python waits for it a while at a time */
            uint64_t waited = shmbus_now_ns() - started;
            if (!ask_python(self, result, length, waited, timeout_ns != UINT64_MAX && waited >= timeout_ns))
                return false;
            continue;
        }
        if (!rung)
            ring_bells(self); /* a batch may have filled the ring while its reader sleeps */
        rung = true;
        if (!wait_for_room(self, length, started, timeout_ns))
            return false;
    }
}

/* ---- envelopes ----------------------------------------------------------------------------------------------------- */

static unsigned char *put_varint(unsigned char *at, uint64_t value) {
    while (value >= 0x80) {
        *at++ = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    *at++ = (unsigned char)value;
    return at;
}

static size_t varint_size(uint64_t value) {
    size_t size = 1;
    while (value >>= 7)
        size++;
    return size;
}

/* The part of MessageMetadata that differs from message to message. Concatenated protobuf merges, so it follows the
 * constant part: message_id = 1, priority = 4, timestamp = 5 (Unix ms), ttl_ms = 6, as field 1 of the envelope. */
static size_t put_metadata(WriterObject *self, unsigned char *to, uint64_t now_ns, uint8_t priority, uint64_t ttl_ms) {
    unsigned char body[METADATA_BYTES], *at = body;
    uint64_t number = self->writer.producer_sequence + 1;
    char digits[16];
    unsigned count = 0;
    do
        digits[count++] = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    *at++ = 0x0a;
    *at++ = (unsigned char)(self->id_length + count);
    memcpy(at, self->id_prefix, self->id_length);
    at += self->id_length;
    while (count)
        *at++ = (unsigned char)digits[--count];
    if (priority) {
        *at++ = 0x20;
        at = put_varint(at, priority);
    }
    *at++ = 0x28;
    at = put_varint(at, unix_ms(now_ns));
    if (ttl_ms) {
        *at++ = 0x30;
        at = put_varint(at, ttl_ms);
    }
    size_t length = (size_t)(at - body);
    to[0] = 0x0a;
    to[1] = (unsigned char)length; /* at most 64 bytes: a one-byte varint */
    memcpy(to + 2, body, length);
    return length + 2;
}

/* The key as a metadata of its own, which merges with the other: field 100 of field 1. */
static size_t put_key(unsigned char *to, const char *key, size_t length) {
    unsigned char *at = to;
    *at++ = 0x0a;
    at = put_varint(at, varint_size(KEY_FIELD << 3 | 2) + varint_size(length) + length);
    at = put_varint(at, KEY_FIELD << 3 | 2);
    at = put_varint(at, length);
    memcpy(at, key, length);
    return (size_t)(at - to) + length;
}

struct envelope {
    const char *prefix, *wrapper; /* constant metadata; fields of the payload message that stand before the event */
    Py_ssize_t prefix_length, wrapper_length;
    unsigned int outer, inner;    /* tags; inner 0: the event is the payload; outer 0: the event is an envelope itself, */
};                                /* or, with inner TYPED, no envelope at all */

static bool envelope_for(WriterObject *self, PyObject *type, struct envelope *envelope) {
    PyObject *known = PyDict_GetItemWithError(self->envelopes, type);
    if (!known) {
        if (PyErr_Occurred())
            return false;
        PyObject *made = PyObject_CallMethod((PyObject *)self, "_envelope", "O", type);
        if (!made)
            return false;
        int failed = PyDict_SetItem(self->envelopes, type, made);
        known = made;
        Py_DECREF(made); /* the dictionary keeps it */
        if (failed < 0)
            return false;
    }
    if (!PyArg_ParseTuple(known, "y#y#II", &envelope->prefix, &envelope->prefix_length, &envelope->wrapper,
                          &envelope->wrapper_length, &envelope->outer, &envelope->inner))
        return false;
    if (envelope->wrapper_length > WRAPPER_BYTES)
        PyErr_Format(PyExc_ValueError, "an event's wrapper has %zd bytes, at most %d fit", envelope->wrapper_length, WRAPPER_BYTES);
    return envelope->wrapper_length <= WRAPPER_BYTES;
}

static PyObject *name_urgent, *name_serialize, *name_correlate;

/* A message is being handled, or a span is current. A look at two context variables, without a call of Python. */
static int something_to_say(void) {
    if (handling)
        return 1;
    PyObject *value = NULL;
    if (hooks.context && PyContextVar_Get(hooks.context, Py_None, &value) < 0)
        return -1;
    bool handled = value && value != Py_None;
    Py_CLEAR(value);
    if (handled || !hooks.trace)
        return handled;
    if (PyContextVar_Get(hooks.trace, NULL, &value) < 0)
        return -1;
    int traced = value ? PyObject_IsTrue(value) : 0;
    Py_XDECREF(value);
    return traced;
}

/* Serialised CorrelationMetadata as field 2 of the envelope, or None. Asked only when there is something to say.
 * `whole`: an envelope that is published as it is and may have a correlation of its own, or NULL. */
static PyObject *correlation_for(WriterObject *self, PyObject *correlation, PyObject *whole) {
    if (correlation == Py_False && !whole)
        Py_RETURN_NONE;
    if (!correlation && !whole) {
        int something = something_to_say();
        if (something < 0)
            return NULL;
        if (!something)
            Py_RETURN_NONE;
    }
    return PyObject_CallMethodObjArgs((PyObject *)self, name_correlate, correlation ? correlation : Py_None,
                                      whole ? whole : Py_None, NULL);
}

struct options {
    PyObject *correlation; /* borrowed, NULL: not given */
    uint8_t priority;
    uint64_t ttl_ns, timeout_ns;
    uint64_t number; /* of the message among its producer's; 0: the next one */
    const char *key; /* NULL: it has none */
    size_t key_length;
};

/* What stays readable on the exception that ended a publish: how far a batch came, which child's number was taken. */
static void note(const char *name, PyObject *value) {
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    if (!value || PyObject_SetAttrString(error, name, value) < 0)
        PyErr_Clear();
    Py_XDECREF(value);
    PyErr_Restore(type, error, trace);
}

/* False with an exception. */
static bool keyless(const struct options *options) {
    if (options->key)
        PyErr_SetString(PyExc_TypeError, "a key stands in the envelope, and this has none: publish a message of the schema");
    return !options->key;
}

static bool put_bytes(WriterObject *self, const void *data, size_t length, enum shmbus_kind kind, const struct options *options,
                      uint64_t now_ns, uint64_t *sequence) {
    struct shmbus_part part = {data, length};
    struct shmbus_message message = {
        .parts = &part, .count = 1, .time_ns = now_ns, .priority = options->priority, .kind = (uint8_t)kind,
        .expires_ns = options->ttl_ns ? now_ns + options->ttl_ns : 0,
    };
    return put(self, &message, options->timeout_ns, sequence);
}

static bool put_event(WriterObject *self, PyObject *event, const struct options *options, uint64_t now_ns, uint64_t *sequence) {
    struct envelope envelope;
    PyObject *bytes = NULL, *correlation = NULL;
    bool done = false;
    if (!envelope_for(self, (PyObject *)Py_TYPE(event), &envelope))
        return false;
    bool typed = envelope.outer == 0 && envelope.inner == TYPED, whole = envelope.outer == 0 && !typed;
    if (typed && options->correlation && options->correlation != Py_False) {
        PyErr_SetString(PyExc_TypeError, "a topic of a type of its own has no envelope to carry a correlation");
        return false;
    }
    if (!(bytes = PyObject_CallMethodNoArgs(event, name_serialize)))
        goto out;
    correlation = typed ? Py_NewRef(Py_None) : correlation_for(self, options->correlation, whole ? event : NULL);
    if (!correlation)
        goto out;
    if (!PyBytes_Check(bytes) || (correlation != Py_None && !PyBytes_Check(correlation))) {
        PyErr_SetString(PyExc_TypeError, "an event serialises to bytes");
        goto out;
    }
    size_t length = (size_t)PyBytes_GET_SIZE(bytes);
    if (typed) {
        if (!keyless(options))
            goto out;
        done = put_bytes(self, PyBytes_AS_STRING(bytes), length, SHMBUS_KIND_TYPED, options, now_ns, sequence);
        goto out;
    }
    unsigned char dynamic[METADATA_BYTES + 2 + KEY_FIELD_BYTES], *at = dynamic, header[32], *h = header;
    at += put_metadata(self, at, now_ns, options->priority, options->ttl_ns / 1000000u);
    if (options->key)
        at += put_key(at, options->key, options->key_length);
    if (envelope.outer) {
        size_t inner = envelope.inner ? varint_size(envelope.inner) + varint_size(length) : 0;
        h = put_varint(h, envelope.outer);
        h = put_varint(h, (uint64_t)envelope.wrapper_length + inner + length);
        memcpy(h, envelope.wrapper, (size_t)envelope.wrapper_length);
        h += envelope.wrapper_length;
        if (envelope.inner) {
            h = put_varint(h, envelope.inner);
            h = put_varint(h, length);
        }
    }
    struct shmbus_part parts[ENVELOPE_PARTS] = {
        {envelope.prefix, (size_t)envelope.prefix_length}, {dynamic, (size_t)(at - dynamic)}, {"", 0},
        {header, (size_t)(h - header)},                    {PyBytes_AS_STRING(bytes), length},
    };
    if (correlation != Py_None)
        parts[2] = (struct shmbus_part){PyBytes_AS_STRING(correlation), (size_t)PyBytes_GET_SIZE(correlation)};
    struct shmbus_message message = {
        .parts = parts, .count = ENVELOPE_PARTS, .time_ns = now_ns, .priority = options->priority, .kind = SHMBUS_KIND_EVENT,
        .expires_ns = options->ttl_ns ? now_ns + options->ttl_ns : 0,
    };
    done = put(self, &message, options->timeout_ns, sequence);
    if (!done && correlation != Py_None)
        note("_correlation", Py_NewRef(correlation));
out:
    Py_XDECREF(bytes);
    Py_XDECREF(correlation);
    return done;
}

static bool put_any(WriterObject *self, PyObject *event, const struct options *options, uint64_t now_ns, uint64_t *sequence) {
    if (PyBytes_CheckExact(event) && !options->correlation && !options->key)
        return put_bytes(self, PyBytes_AS_STRING(event), (size_t)PyBytes_GET_SIZE(event), SHMBUS_KIND_RAW, options, now_ns, sequence);
    if (!PyObject_CheckBuffer(event))
        return put_event(self, event, options, now_ns, sequence);
    if (options->correlation) {
        PyErr_SetString(PyExc_TypeError, "bytes have no envelope to carry a correlation: publish a protobuf message");
        return false;
    }
    Py_buffer view;
    if (!keyless(options) || PyObject_GetBuffer(event, &view, PyBUF_SIMPLE) < 0)
        return false;
    bool done = put_bytes(self, view.buf, (size_t)view.len, SHMBUS_KIND_RAW, options, now_ns, sequence);
    PyBuffer_Release(&view);
    return done;
}

/* ---- methods ------------------------------------------------------------------------------------------------------- */

static bool seconds(PyObject *value, uint64_t *ns, uint64_t none) {
    if (value == Py_None) {
        *ns = none;
        return true;
    }
    double number = PyFloat_AsDouble(value);
    if (PyErr_Occurred())
        return false;
    if (!(number >= 0 && number < 1e9)) {
        PyErr_Format(PyExc_ValueError, "%R is no number of seconds from 0 to 10^9", value);
        return false;
    }
    *ns = (uint64_t)(number * 1e9);
    return true;
}

/* Only where numbers outlive the process: elsewhere they say how many messages there were. */
static bool whole_number(WriterObject *self, PyObject *value, uint64_t *number) {
    *number = PyLong_AsUnsignedLongLong(value);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return false;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        *number = 0;
    }
    if (*number < 1 || *number > SHMBUS_MAX_NUMBER)
        PyErr_Format(PyExc_ValueError, "the number of a message is from 1 to 2^48 - 1, not %R", value);
    else if (!self->durable)
        PyErr_SetString(PyExc_ValueError, "only a durable publisher numbers its messages: open it with durable=True");
    else
        return true;
    return false;
}

static bool parse_key(PyObject *value, struct options *options) {
    Py_ssize_t length;
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "a key is a str, not %R", value);
        return false;
    }
    options->key = PyUnicode_AsUTF8AndSize(value, &length);
    options->key_length = (size_t)length;
    if (options->key && (length < 1 || length > KEY_BYTES)) {
        PyErr_Format(PyExc_ValueError, "a key has 1 to %d bytes of UTF-8, not %zd: %.32R", KEY_BYTES, length, value);
        return false;
    }
    return options->key != NULL;
}

static bool parse_options(WriterObject *self, PyObject *const *values, PyObject *names, struct options *options) {
    *options = (struct options){.timeout_ns = self->block ? self->timeout_ns : 0};
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i), *value = values[i];
        if (PyUnicode_CompareWithASCIIString(name, "correlation") == 0) {
            options->correlation = value == Py_None ? NULL : value;
        } else if (PyUnicode_CompareWithASCIIString(name, "priority") == 0) {
            long priority = PyLong_AsLong(value);
            if (PyErr_Occurred())
                return false;
            if (priority < 0 || priority > 255) {
                PyErr_Format(PyExc_ValueError, "priority %ld is not within 0 (lowest) and 255 (highest)", priority);
                return false;
            }
            options->priority = (uint8_t)priority;
        } else if (PyUnicode_CompareWithASCIIString(name, "ttl") == 0) {
            if (!seconds(value, &options->ttl_ns, 0))
                return false;
        } else if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
            if (!seconds(value, &options->timeout_ns, UINT64_MAX))
                return false;
        } else if (PyUnicode_CompareWithASCIIString(name, "number") == 0 && value != Py_None) {
            if (!whole_number(self, value, &options->number))
                return false;
        } else if (PyUnicode_CompareWithASCIIString(name, "key") == 0) {
            if (value != Py_None && !parse_key(value, options))
                return false;
        } else {
            PyErr_Format(PyExc_TypeError,
                         "unexpected keyword argument %R (there are correlation, key, number, priority, ttl, timeout)", name);
            return false;
        }
    }
    return true;
}

/* What is urgent goes through a writer of that lane, if Python has one; the answer of its method. False: it is for us. */
static bool goes_elsewhere(WriterObject *self, const struct options *options, const char *method, PyObject *const *args,
                           PyObject *names, PyObject **answer) {
    *answer = NULL;
    if (options->priority < SHMBUS_URGENT)
        return false;
    PyObject *urgent = PyObject_CallMethodNoArgs((PyObject *)self, name_urgent);
    if (urgent && urgent != Py_None) {
        PyObject *bound = PyObject_GetAttrString(urgent, method);
        if (bound)
            *answer = PyObject_Vectorcall(bound, args, 1, names);
        Py_XDECREF(bound);
    }
    bool elsewhere = urgent != Py_None;
    Py_XDECREF(urgent);
    return elsewhere;
}

static PyObject *writer_publish(WriterObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct options options;
    uint64_t sequence;
    if (count != 1)
        return PyErr_Format(PyExc_TypeError, "publish() takes one event, not %zd", count);
    PyObject *answer;
    if (!ready(self) || !parse_options(self, args + 1, names, &options))
        return NULL;
    if (goes_elsewhere(self, &options, "publish", args, names, &answer))
        return answer;
    if (!ready(self))
        return NULL;
    uint64_t before = self->writer.producer_sequence;
    if (options.number && options.number <= before)
        return PyLong_FromLong(0); /* published already */
    if (options.number)
        self->writer.producer_sequence = options.number - 1;
    if (!put_any(self, args[0], &options, shmbus_now_ns(), &sequence)) {
        if (options.number)
            self->writer.producer_sequence = before;
        return NULL;
    }
    if (self->ring)
        ring_bells(self);
    return PyLong_FromUnsignedLongLong(sequence);
}

static PyObject *writer_publish_many(WriterObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct options options;
    if (count != 1)
        return PyErr_Format(PyExc_TypeError, "publish_many() takes one iterable of events, not %zd", count);
    PyObject *answer;
    if (!ready(self) || !parse_options(self, args + 1, names, &options))
        return NULL;
    if (goes_elsewhere(self, &options, "publish_many", args, names, &answer))
        return answer;
    PyObject *events = PySequence_Fast(args[0], "publish_many() takes an iterable of events");
    if (!events)
        return NULL;
    uint64_t sequence = 0, now = 0;
    Py_ssize_t published = 0;
    for (; published < PySequence_Fast_GET_SIZE(events); published++) {
        if (published % BATCH_PER_CLOCK == 0)
            now = shmbus_now_ns();
        uint64_t before = self->writer.producer_sequence;
        if (options.number) {
            uint64_t number = options.number + (uint64_t)published;
            if (number <= before)
                continue; /* published already */
            self->writer.producer_sequence = number - 1;
        }
        PyObject *event = Py_NewRef(PySequence_Fast_GET_ITEM(events, published));
        bool done = put_any(self, event, &options, now, &sequence);
        Py_DECREF(event);
        if (!done) {
            if (options.number)
                self->writer.producer_sequence = before; /* it is free for another */
            break;
        }
    }
    bool whole = published == PySequence_Fast_GET_SIZE(events);
    Py_DECREF(events);
    if (self->ring)
        ring_bells(self);
    if (whole)
        return PyLong_FromSsize_t(published);
    note("published", PyLong_FromSsize_t(published));
    return NULL;
}

static PyObject *writer_published(WriterObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->writer.producer_sequence);
}

static PyObject *writer_producer(WriterObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(self->writer.producer);
}

static PyObject *writer_ring(WriterObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->ring ? (PyObject *)self->ring : Py_None);
}

static PyObject *writer_forked(WriterObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->fork != fork_generation);
}

static PyGetSetDef writer_getset[] = {
    {"published", (getter)writer_published, NULL, NULL, NULL},
    {"_producer_id", (getter)writer_producer, NULL, NULL, NULL},
    {"_ring", (getter)writer_ring, NULL, NULL, NULL},
    {"_forked", (getter)writer_forked, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef writer_methods[] = {
    {"publish", (PyCFunction)(void (*)(void))writer_publish, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"publish_many", (PyCFunction)(void (*)(void))writer_publish_many, METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_move", (PyCFunction)writer_move, METH_VARARGS, NULL},
    {"_continue", (PyCFunction)writer_continue, METH_O, NULL},
    {"_detach", (PyCFunction)writer_detach, METH_NOARGS, NULL},
    {"_set_budget", (PyCFunction)writer_set_budget, METH_O, NULL},
    {"_set_sessions", (PyCFunction)writer_set_sessions, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject WriterType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Writer",
    .tp_base = &ClosingType,
    .tp_finalize = closing_finalize,
    .tp_doc = "The publishing half of a ring; shmbus.Publisher builds on it.",
    .tp_basicsize = sizeof(WriterObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)writer_init,
    .tp_dealloc = (destructor)writer_dealloc,
    .tp_getset = writer_getset,
    .tp_methods = writer_methods,
};

/* For a Waiter: the word that is rung when there is room. */
_Atomic uint32_t *writer_word(PyObject *object) {
    return ((WriterObject *)object)->space_bell;
}

bool writer_names(void) {
    name_serialize = PyUnicode_InternFromString("SerializeToString");
    name_correlate = PyUnicode_InternFromString("_correlate");
    name_urgent = PyUnicode_InternFromString("_urgent");
    return name_serialize && name_correlate && name_urgent;
}
