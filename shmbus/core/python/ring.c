/* Ring: a mapped ring segment, and what the coordinator does to it. */
#include "binding.h"

#include <sys/stat.h>
#include <unistd.h>

bool copy_bytes(PyObject *object, void *to, size_t length, const char *name) {
    if (!PyBytes_Check(object) || (size_t)PyBytes_GET_SIZE(object) != length) {
        PyErr_Format(PyExc_ValueError, "%s takes exactly %zu bytes", name, length);
        return false;
    }
    memcpy(to, PyBytes_AS_STRING(object), length);
    return true;
}

static PyObject *ring_layout(PyObject *Py_UNUSED(type), PyObject *args) {
    struct shmbus_geometry g;
    unsigned long long arena;
    if (!PyArg_ParseTuple(args, "IKII", &g.slots, &arena, &g.producers, &g.gates))
        return NULL;
    g.arena_bytes = arena;
    size_t bytes = shmbus_ring_bytes(&g);
    if (bytes == 0)
        return PyErr_Format(PyExc_ValueError,
                            "no ring can have %u slots (a power of two, 2..%u), %llu arena bytes (a power of two, 4096..%llu), "
                            "%u producers (1..%u), %u gates (1..4096)",
                            g.slots, SHMBUS_MAX_SLOTS, arena, SHMBUS_MAX_ARENA_BYTES, g.producers, SHMBUS_MAX_PRODUCERS,
                            g.gates);
    return PyLong_FromSize_t(bytes);
}

static RingObject *ring_wrap(PyTypeObject *type, struct segment segment, const struct shmbus_geometry *g, bool writable) {
    RingObject *self = (RingObject *)type->tp_alloc(type, 0);
    if (!self) {
        segment_unmap(&segment);
        return NULL;
    }
    self->segment = segment;
    self->writable = writable;
    shmbus_ring_view(&self->ring, segment.memory, g);
    struct shmbus_ring_header *h = self->ring.header;
    self->topic_id = h->topic_id;
    self->bell = h->bell;
    self->generation = h->generation;
    self->lane = h->lane;
    self->topic = PyUnicode_DecodeUTF8(h->topic, (Py_ssize_t)strnlen(h->topic, sizeof h->topic), "replace");
    self->type_name = PyUnicode_DecodeUTF8(h->type_name, (Py_ssize_t)strnlen(h->type_name, sizeof h->type_name), "replace");
    self->producers = PyMem_Calloc((size_t)g->producers + 1, sizeof *self->producers);
    if (!self->topic || !self->type_name || !self->producers) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        Py_DECREF(self);
        return NULL;
    }
    PyUnicode_InternInPlace(&self->topic);
    return self;
}

static PyObject *ring_create(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "slots", "arena_bytes", "producers", "gates", "max_messages", "max_bytes",
                            "max_message_bytes", "retention_ns", "claim_timeout_ns", "topic", "topic_id", "lane",
                            "generation", "bell", "first_sequence", "boot_id", "type_name", "fingerprint",
                            "first_position", NULL};
    int descriptor;
    unsigned long long arena, max_bytes, retention, claim_timeout, first;
    PyObject *boot, *fingerprint;
    struct shmbus_ring_setup setup = {0};
    struct shmbus_geometry *g = &setup.geometry;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iIKIIIKIKKsIIIIKSsS|I", names, &descriptor, &g->slots, &arena,
                                     &g->producers, &g->gates, &setup.limits.max_messages, &max_bytes,
                                     &setup.limits.max_message_bytes, &retention, &claim_timeout, &setup.topic,
                                     &setup.topic_id, &setup.lane, &setup.generation, &setup.bell, &first, &boot,
                                     &setup.type_name, &fingerprint, &setup.first_position))
        return NULL;
    g->arena_bytes = arena;
    setup.limits.max_bytes = max_bytes;
    setup.limits.retention_ns = retention;
    setup.limits.claim_timeout_ns = claim_timeout;
    setup.first_sequence = first;
    size_t bytes = shmbus_ring_bytes(g);
    if (bytes == 0 || first == 0 || strlen(setup.topic) > 200 || strlen(setup.type_name) > 127) {
        PyErr_SetString(PyExc_ValueError, "no such geometry, first sequence or name: see Ring.layout()");
        return NULL;
    }
    struct segment segment;
    if (!copy_bytes(boot, setup.boot_id, sizeof setup.boot_id, "boot_id") ||
        !copy_bytes(fingerprint, setup.fingerprint, sizeof setup.fingerprint, "fingerprint") ||
        !segment_map(&segment, descriptor, bytes, g->arena_bytes, true))
        return NULL;
    shmbus_ring_init(segment.memory, &setup);
    return (PyObject *)ring_wrap((PyTypeObject *)type, segment, g, true);
}

static PyObject *ring_attach(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "writable", "boot_id", NULL};
    int descriptor, writable;
    PyObject *boot;
    uint8_t boot_id[16];
    struct stat status;
    _Alignas(128) unsigned char header[SHMBUS_HEADER_BYTES] = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ipS", names, &descriptor, &writable, &boot) ||
        !copy_bytes(boot, boot_id, sizeof boot_id, "boot_id"))
        return NULL;
    if (fstat(descriptor, &status) < 0 || pread(descriptor, header, sizeof header, 0) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    struct shmbus_geometry g;
    enum shmbus_result result = shmbus_ring_check(header, (size_t)status.st_size, boot_id, &g);
    if (result != SHMBUS_OK) {
        uint32_t number;
        memcpy(&number, header + 8, sizeof number);
        raise_attach(result, &shmbus_ring_layout, (unsigned long long)status.st_size, number);
        return NULL;
    }
    struct segment segment;
    if (!segment_map(&segment, descriptor, (size_t)status.st_size, g.arena_bytes, writable))
        return NULL;
    return (PyObject *)ring_wrap((PyTypeObject *)type, segment, &g, writable);
}

void ring_hold(RingObject *ring) {
    Py_INCREF(ring);
    ring->users++;
}

static void ring_release_mapping(RingObject *self) {
    if (self->closed && self->users == 0)
        segment_unmap(&self->segment);
}

void ring_let_go(RingObject *ring) {
    ring->users--;
    ring_release_mapping(ring);
    Py_DECREF(ring);
}

static PyObject *ring_close(RingObject *self, PyObject *Py_UNUSED(none)) {
    self->closed = true;
    ring_release_mapping(self);
    Py_RETURN_NONE;
}

static void ring_dealloc(RingObject *self) {
    segment_unmap(&self->segment);
    if (self->producers)
        for (uint32_t i = 0; i <= self->ring.producers; i++)
            Py_XDECREF(self->producers[i].object);
    PyMem_Free(self->producers);
    Py_XDECREF(self->topic);
    Py_XDECREF(self->type_name);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static bool usable(RingObject *self, bool for_writing) {
    if (!self->segment.memory)
        PyErr_SetString(PyExc_ValueError, "the ring is closed");
    else if (for_writing && !self->writable)
        PyErr_SetString(PyExc_PermissionError, "the ring is mapped read-only");
    else
        return true;
    return false;
}

PyObject *ring_producer(RingObject *ring, uint32_t producer) {
    struct shmbus_producer *entry = shmbus_producer_entry(&ring->ring, producer);
    if (!entry)
        Py_RETURN_NONE;
    CachedProducer *cached = &ring->producers[producer];
    uint32_t version = atomic_load_explicit(&entry->version, memory_order_acquire);
    if (cached->object && cached->version == version)
        return Py_NewRef(cached->object);
    struct shmbus_identity who;
    if (!hooks.make_producer || !shmbus_producer_get(&ring->ring, producer, &who))
        Py_RETURN_NONE;
    PyObject *name = PyUnicode_DecodeUTF8(who.name, (Py_ssize_t)strlen(who.name), "replace");
    if (!name)
        return NULL;
    PyObject *object = PyObject_CallFunction(hooks.make_producer, "NiKKII", name, who.pid, (unsigned long long)who.start_time,
                                             (unsigned long long)who.pid_namespace, who.session, who.uid);
    if (!object)
        return NULL;
    Py_XSETREF(cached->object, Py_NewRef(object));
    cached->version = version;
    return object;
}

static PyObject *ring_set_limits(RingObject *self, PyObject *args) {
    unsigned int messages, message_bytes;
    unsigned long long bytes, retention, claim_timeout;
    if (!PyArg_ParseTuple(args, "IKIKK", &messages, &bytes, &message_bytes, &retention, &claim_timeout) || !usable(self, true))
        return NULL;
    struct shmbus_ring_header *h = self->ring.header;
    atomic_store_explicit(&h->max_messages, messages, memory_order_relaxed);
    atomic_store_explicit(&h->max_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&h->max_message_bytes, message_bytes, memory_order_relaxed);
    atomic_store_explicit(&h->retention_ns, retention, memory_order_relaxed);
    atomic_store_explicit(&h->claim_timeout_ns, claim_timeout, memory_order_relaxed);
    Py_RETURN_NONE;
}

bool identity_given(struct shmbus_identity *who, const char *name, int pid, unsigned long long start,
                    unsigned long long namespace, unsigned session, unsigned uid) {
    *who = (struct shmbus_identity){.pid = pid, .session = session, .uid = uid, .start_time = start, .pid_namespace = namespace};
    size_t length = strlen(name);
    if (length >= sizeof who->name) /* never in the middle of a character */
        for (length = sizeof who->name - 1; length && ((unsigned char)name[length] & 0xc0) == 0x80;)
            length--;
    memcpy(who->name, name, length);
    if (pid == 0)
        PyErr_SetString(PyExc_IndexError, "a process of pid 0 is nobody");
    return pid != 0;
}

PyObject *identity_object(struct shmbus_producer *entry) {
    struct shmbus_identity who;
    if (!entry || !shmbus_identity_load(entry, &who))
        Py_RETURN_NONE;
    /* as make_producer's: whoever's it is can write anything there */
    PyObject *name = PyUnicode_DecodeUTF8(who.name, (Py_ssize_t)strlen(who.name), "replace");
    return name ? Py_BuildValue("NiKKII", name, who.pid, (unsigned long long)who.start_time, (unsigned long long)who.pid_namespace,
                                who.session, who.uid)
                : NULL;
}

static PyObject *ring_set_producer(RingObject *self, PyObject *args) {
    unsigned int producer, session, uid;
    const char *name;
    int pid;
    unsigned long long start, namespace;
    if (!PyArg_ParseTuple(args, "IsiKKII", &producer, &name, &pid, &start, &namespace, &session, &uid) || !usable(self, true))
        return NULL;
    struct shmbus_identity who;
    if (!identity_given(&who, name, pid, start, namespace, session, uid))
        return NULL;
    if (!shmbus_producer_set(&self->ring, producer, &who))
        return PyErr_Format(PyExc_IndexError, "no producer %u: the ring has ids 0..%u", producer, self->ring.producers);
    Py_RETURN_NONE;
}

static PyObject *ring_begin_numbers(RingObject *self, PyObject *args) {
    unsigned int producer;
    int durable;
    if (!PyArg_ParseTuple(args, "Ip", &producer, &durable) || !usable(self, true))
        return NULL;
    shmbus_numbers_begin(&self->ring, producer, durable);
    Py_RETURN_NONE;
}

static PyObject *ring_carry_numbers(RingObject *self, PyObject *before) {
    if (!PyObject_TypeCheck(before, &RingType)) {
        PyErr_SetString(PyExc_TypeError, "carry_numbers() takes the Ring before this one");
        return NULL;
    }
    if (!usable(self, true) || !usable((RingObject *)before, false))
        return NULL;
    shmbus_numbers_carry(&self->ring, &((RingObject *)before)->ring);
    Py_RETURN_NONE;
}

static PyObject *ring_settle_numbers(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, true))
        return NULL;
    return PyLong_FromUnsignedLongLong(shmbus_numbers_settle(&self->ring, (uint32_t)producer));
}

static PyObject *ring_follow_numbers(RingObject *self, PyObject *args) {
    RingObject *before;
    unsigned int producer;
    if (!PyArg_ParseTuple(args, "O!I", &RingType, &before, &producer) || !usable(self, true) || !usable(before, true))
        return NULL;
    shmbus_numbers_settle(&before->ring, producer);
    shmbus_numbers_follow(&self->ring, &before->ring, producer);
    Py_RETURN_NONE;
}

static PyObject *ring_numbers(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    uint64_t published = 0, claiming = 0;
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    bool durable = shmbus_numbers_get(&self->ring, (uint32_t)producer, &published, &claiming);
    return Py_BuildValue("KKO", (unsigned long long)published, (unsigned long long)claiming, durable ? Py_True : Py_False);
}

/* (number of the last message, how many there were, which one of those who had the id, is it durable, where it left) of every id
 * that was ever given out, by id. */
static PyObject *ring_all_numbers(RingObject *self, PyObject *Py_UNUSED(none)) {
    if (!usable(self, false))
        return NULL;
    PyObject *all = PyDict_New();
    for (uint32_t producer = 1; all && producer <= self->ring.producers; producer++) {
        uint32_t tag = shmbus_producer_tag(&self->ring, producer);
        uint64_t published = 0, claiming = 0;
        if (!shmbus_numbers_used(&self->ring, producer))
            continue;
        bool durable = shmbus_numbers_get(&self->ring, producer, &published, &claiming);
        uint64_t count = shmbus_numbers_count(&self->ring, producer);
        PyObject *id = PyLong_FromUnsignedLong(producer);
        PyObject *its = Py_BuildValue("KNIOK", (unsigned long long)published, count_object(count), tag >> SHMBUS_PRODUCER_BITS,
                                      durable ? Py_True : Py_False,
                                      (unsigned long long)shmbus_producer_left(&self->ring, producer));
        if (!id || !its || PyDict_SetItem(all, id, its) < 0)
            Py_CLEAR(all);
        Py_XDECREF(id);
        Py_XDECREF(its);
    }
    return all;
}

static PyObject *ring_tally(RingObject *self, PyObject *arg) {
    unsigned long long from = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    struct shmbus_share *shares = PyMem_Calloc((size_t)self->ring.producers + 1, sizeof *shares);
    PyObject *found = shares ? PyDict_New() : PyErr_NoMemory();
    uint64_t tail = found ? shmbus_tally(&self->ring, from, shares) : 0;
    for (uint32_t producer = 0; found && producer <= self->ring.producers; producer++) {
        if (!shares[producer].messages)
            continue;
        PyObject *key = PyLong_FromUnsignedLong(producer);
        PyObject *share = Py_BuildValue("KKK", (unsigned long long)shares[producer].messages,
                                        (unsigned long long)shares[producer].bytes, (unsigned long long)shares[producer].largest);
        if (!key || !share || PyDict_SetItem(found, key, share) < 0)
            Py_CLEAR(found);
        Py_XDECREF(key);
        Py_XDECREF(share);
    }
    PyMem_Free(shares);
    return found ? Py_BuildValue("KN", (unsigned long long)tail, found) : NULL;
}

static PyObject *ring_clear_producer(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, true))
        return NULL;
    shmbus_producer_set(&self->ring, (uint32_t)producer, NULL);
    Py_RETURN_NONE;
}

static PyObject *ring_leave_producer(RingObject *self, PyObject *args) {
    unsigned int producer;
    unsigned long long sequence;
    if (!PyArg_ParseTuple(args, "IK", &producer, &sequence) || !usable(self, true))
        return NULL;
    shmbus_producer_leave(&self->ring, producer, sequence);
    Py_RETURN_NONE;
}

static PyObject *ring_producer_left(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    return PyLong_FromUnsignedLongLong(shmbus_producer_left(&self->ring, (uint32_t)producer));
}

static PyObject *ring_get_producer(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    return identity_object(shmbus_producer_entry(&self->ring, (uint32_t)producer));
}

static PyObject *ring_claims(RingObject *self, PyObject *Py_UNUSED(none)) {
    if (!usable(self, true))
        return NULL;
    struct shmbus_claim claims[256];
    uint32_t count = shmbus_claims(&self->ring, claims, 256);
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *item = Py_BuildValue("KIO", (unsigned long long)claims[i].sequence, claims[i].producer,
                                       claims[i].skipped ? Py_True : Py_False);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *ring_find_time(RingObject *self, PyObject *arg) {
    unsigned long long time_ns = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    return PyLong_FromUnsignedLongLong(shmbus_find_time(&self->ring, time_ns));
}

static PyObject *ring_find_last(RingObject *self, PyObject *arg) {
    uint64_t count = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred() || !usable(self, false))
        return NULL;
    uint64_t sequence = shmbus_find_last(&self->ring, &count);
    return Py_BuildValue("KK", (unsigned long long)sequence, (unsigned long long)count);
}

static PyObject *ring_set_gate(RingObject *self, PyObject *args) {
    unsigned int index, session, cursor;
    unsigned long long floor;
    if (!PyArg_ParseTuple(args, "IIIK", &index, &session, &cursor, &floor) || !usable(self, true))
        return NULL;
    if (session == 0 || !shmbus_gate_set(&self->ring, index, session, cursor, floor))
        return PyErr_Format(PyExc_IndexError, "no gate %u: the ring has %u", index, self->ring.gates);
    Py_RETURN_NONE;
}

static PyObject *ring_clear_gate(RingObject *self, PyObject *arg) {
    unsigned long index = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, true))
        return NULL;
    shmbus_gate_set(&self->ring, (uint32_t)index, 0, 0, 0);
    Py_RETURN_NONE;
}

static PyObject *ring_gates(RingObject *self, PyObject *Py_UNUSED(none)) {
    if (!usable(self, false))
        return NULL;
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < self->ring.gates; i++) {
        uint32_t session, cursor;
        uint64_t floor;
        if (!shmbus_gate_get(&self->ring, i, &session, &cursor, &floor))
            continue;
        PyObject *item = Py_BuildValue("IIIK", i, session, cursor, (unsigned long long)floor);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* The sessions of a Python sequence, as the core wants them. NULL with an exception, or to be freed. */
static struct shmbus_session_ref *session_refs(PyObject *sequence, uint32_t *count) {
    PyObject *fast = PySequence_Fast(sequence, "sessions: a sequence of Session");
    if (!fast)
        return NULL;
    Py_ssize_t size = PySequence_Fast_GET_SIZE(fast);
    struct shmbus_session_ref *refs = PyMem_Calloc((size_t)size + 1, sizeof *refs);
    for (Py_ssize_t i = 0; refs && i < size; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(fast, i);
        if (!PyObject_TypeCheck(item, &SessionType)) {
            PyErr_SetString(PyExc_TypeError, "sessions: a sequence of Session");
            PyMem_Free(refs);
            refs = NULL;
            break;
        }
        SessionObject *session = (SessionObject *)item;
        refs[i] = (struct shmbus_session_ref){session->session, session->page ? session->capacity : 0, session->page};
    }
    Py_DECREF(fast);
    *count = (uint32_t)size;
    if (!refs && !PyErr_Occurred())
        PyErr_NoMemory();
    return refs;
}

static PyObject *ring_retire(RingObject *self, PyObject *args) {
    unsigned int wanted;
    PyObject *sessions;
    uint32_t count;
    if (!PyArg_ParseTuple(args, "IO", &wanted, &sessions) || !usable(self, true))
        return NULL;
    struct shmbus_session_ref *refs = session_refs(sessions, &count);
    if (!refs)
        return NULL;
    struct shmbus_blocked blocked;
    uint32_t retired = shmbus_retire(&self->ring, wanted, refs, count, &blocked);
    PyMem_Free(refs);
    return PyLong_FromUnsignedLong(retired);
}

static PyObject *ring_retire_expired(RingObject *self, PyObject *args) {
    unsigned long long now;
    PyObject *sessions;
    uint32_t count;
    if (!PyArg_ParseTuple(args, "KO", &now, &sessions) || !usable(self, true))
        return NULL;
    struct shmbus_session_ref *refs = session_refs(sessions, &count);
    if (!refs)
        return NULL;
    uint32_t retired = shmbus_retire_expired(&self->ring, now, refs, count);
    PyMem_Free(refs);
    return PyLong_FromUnsignedLong(retired);
}

static PyObject *ring_repair(RingObject *self, PyObject *arg) {
    unsigned long producer = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, true))
        return NULL;
    return PyLong_FromUnsignedLong(shmbus_repair(&self->ring, (uint32_t)producer));
}

static PyObject *ring_skip(RingObject *self, PyObject *args) {
    unsigned long long sequence;
    unsigned int producer;
    if (!PyArg_ParseTuple(args, "KI", &sequence, &producer) || !usable(self, true))
        return NULL;
    return PyBool_FromLong(shmbus_skip(&self->ring, sequence, producer));
}

static PyObject *ring_seal(RingObject *self, PyObject *arg) {
    unsigned long successor = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self, true))
        return NULL;
    uint64_t sequence = shmbus_seal(&self->ring, (uint32_t)successor);
    if (sequence == 0) {
        PyErr_SetString(attach_error, "the ring is corrupt: the slot that is always kept free is taken");
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(sequence);
}

enum number { HEAD, TAIL, GATE, USED, PUBLISHED, ABORTS, SUCCESSOR, SEALED, TOPIC_ID, LANE, GENERATION, BELL, SLOTS, ARENA, BYTES,
              FIRST, PRODUCERS, GATES };

static PyObject *ring_number(RingObject *self, void *which) {
    if (!usable(self, false))
        return NULL;
    struct shmbus_ring_header *h = self->ring.header;
    uint64_t value = 0;
    switch ((enum number)(intptr_t)which) {
    case HEAD: value = shmbus_head(&self->ring); break;
    case TAIL: value = shmbus_tail(&self->ring); break;
    case GATE: value = atomic_load_explicit(&h->gate, memory_order_relaxed); break;
    case USED: value = shmbus_used_bytes(&self->ring); break;
    case PUBLISHED: value = atomic_load_explicit(&h->bytes, memory_order_relaxed) + shmbus_used_bytes(&self->ring); break;
    case ABORTS: value = atomic_load_explicit(&h->aborted, memory_order_relaxed); break;
    case SUCCESSOR: value = atomic_load_explicit(&h->successor, memory_order_acquire); break;
    case SEALED: {
        struct shmbus_view view;
        return PyBool_FromLong(shmbus_peek(&self->ring, shmbus_tail(&self->ring), &view) == SHMBUS_SEALED);
    }
    case TOPIC_ID: value = self->topic_id; break;
    case LANE: value = self->lane; break;
    case GENERATION: value = self->generation; break;
    case BELL: value = self->bell; break;
    case SLOTS: value = self->ring.slot_mask + 1u; break;
    case ARENA: value = (uint64_t)self->ring.arena_units * SHMBUS_UNIT; break;
    case BYTES: value = self->segment.size; break;
    case FIRST: value = h->first_sequence; break;
    case PRODUCERS: value = self->ring.producers; break;
    case GATES: value = self->ring.gates; break;
    }
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *ring_text(RingObject *self, void *which) {
    return Py_NewRef(which ? self->type_name : self->topic);
}

static PyObject *ring_fingerprint(RingObject *self, void *Py_UNUSED(closure)) {
    if (!usable(self, false))
        return NULL;
    return PyBytes_FromStringAndSize((const char *)self->ring.header->fingerprint, 32);
}

static PyObject *ring_limits(RingObject *self, void *Py_UNUSED(closure)) {
    if (!usable(self, false))
        return NULL;
    struct shmbus_ring_header *h = self->ring.header;
    return Py_BuildValue("IKIKK", atomic_load_explicit(&h->max_messages, memory_order_relaxed),
                         (unsigned long long)atomic_load_explicit(&h->max_bytes, memory_order_relaxed),
                         atomic_load_explicit(&h->max_message_bytes, memory_order_relaxed),
                         (unsigned long long)atomic_load_explicit(&h->retention_ns, memory_order_relaxed),
                         (unsigned long long)atomic_load_explicit(&h->claim_timeout_ns, memory_order_relaxed));
}

static PyObject *ring_closed(RingObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->closed);
}

#define NUMBER(name, which) {name, (getter)ring_number, NULL, NULL, (void *)(intptr_t)(which)}
static PyGetSetDef ring_getset[] = {
    NUMBER("head", HEAD), NUMBER("tail", TAIL), NUMBER("gate", GATE), NUMBER("used_bytes", USED),
    NUMBER("published_bytes", PUBLISHED), NUMBER("aborted", ABORTS), NUMBER("successor", SUCCESSOR), NUMBER("sealed", SEALED),
    NUMBER("topic_id", TOPIC_ID), NUMBER("lane", LANE), NUMBER("generation", GENERATION), NUMBER("bell", BELL),
    NUMBER("slots", SLOTS), NUMBER("arena_bytes", ARENA), NUMBER("segment_bytes", BYTES), NUMBER("first_sequence", FIRST),
    NUMBER("producer_capacity", PRODUCERS), NUMBER("gate_capacity", GATES),
    {"topic", (getter)ring_text, NULL, NULL, NULL},
    {"type_name", (getter)ring_text, NULL, NULL, (void *)1},
    {"fingerprint", (getter)ring_fingerprint, NULL, NULL, NULL},
    {"limits", (getter)ring_limits, NULL, NULL, NULL},
    {"closed", (getter)ring_closed, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef ring_methods[] = {
    {"layout", ring_layout, METH_VARARGS | METH_STATIC, NULL},
    {"create", (PyCFunction)(void (*)(void))ring_create, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"attach", (PyCFunction)(void (*)(void))ring_attach, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"close", (PyCFunction)ring_close, METH_NOARGS, NULL},
    {"set_limits", (PyCFunction)ring_set_limits, METH_VARARGS, NULL},
    {"set_producer", (PyCFunction)ring_set_producer, METH_VARARGS, NULL},
    {"clear_producer", (PyCFunction)ring_clear_producer, METH_O, NULL},
    {"leave_producer", (PyCFunction)ring_leave_producer, METH_VARARGS, NULL},
    {"producer_left", (PyCFunction)ring_producer_left, METH_O, NULL},
    {"begin_numbers", (PyCFunction)ring_begin_numbers, METH_VARARGS, NULL},
    {"carry_numbers", (PyCFunction)ring_carry_numbers, METH_O, NULL},
    {"settle_numbers", (PyCFunction)ring_settle_numbers, METH_O, NULL},
    {"follow_numbers", (PyCFunction)ring_follow_numbers, METH_VARARGS, NULL},
    {"tally", (PyCFunction)ring_tally, METH_O, NULL},
    {"numbers", (PyCFunction)ring_numbers, METH_O, NULL},
    {"all_numbers", (PyCFunction)ring_all_numbers, METH_NOARGS, NULL},
    {"producer", (PyCFunction)ring_get_producer, METH_O, NULL},
    {"claims", (PyCFunction)ring_claims, METH_NOARGS, NULL},
    {"find_time", (PyCFunction)ring_find_time, METH_O, NULL},
    {"find_last", (PyCFunction)ring_find_last, METH_O, NULL},
    {"set_gate", (PyCFunction)ring_set_gate, METH_VARARGS, NULL},
    {"clear_gate", (PyCFunction)ring_clear_gate, METH_O, NULL},
    {"gates", (PyCFunction)ring_gates, METH_NOARGS, NULL},
    {"retire", (PyCFunction)ring_retire, METH_VARARGS, NULL},
    {"retire_expired", (PyCFunction)ring_retire_expired, METH_VARARGS, NULL},
    {"repair", (PyCFunction)ring_repair, METH_O, NULL},
    {"skip", (PyCFunction)ring_skip, METH_VARARGS, NULL},
    {"seal", (PyCFunction)ring_seal, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject RingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Ring",
    .tp_doc = "One ring segment, mapped.",
    .tp_basicsize = sizeof(RingObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)ring_dealloc,
    .tp_methods = ring_methods,
    .tp_getset = ring_getset,
};
