/* Bells and Session: the pages besides the rings. */
#include "binding.h"

#include <errno.h>
#include <sys/stat.h>

bool segment_map(struct segment *segment, int descriptor, size_t size, size_t mirrored, bool writable) {
    segment->memory = shmbus_map(descriptor, size, mirrored, writable);
    segment->size = size;
    segment->mirrored = mirrored;
    if (!segment->memory)
        PyErr_SetFromErrno(PyExc_OSError);
    return segment->memory != NULL;
}

void segment_unmap(struct segment *segment) {
    if (segment->memory)
        shmbus_unmap(segment->memory, segment->size, segment->mirrored);
    segment->memory = NULL;
}

void raise_attach(enum shmbus_result result, const struct shmbus_layout *layout, unsigned long long size, uint32_t number) {
    const char *reason, *text;
    switch (result) {
    case SHMBUS_EARLY: reason = "early", text = "is still being created"; break;
    case SHMBUS_FOREIGN: reason = "foreign", text = "is not a shmbus segment of this kind"; break;
    case SHMBUS_OTHER_LAYOUT: reason = "layout", text = "has another layout version than this library knows"; break;
    case SHMBUS_OTHER_BOOT: reason = "boot", text = "was left from before the last boot"; break;
    default: reason = "size", text = "has a size that disagrees with its header"; break;
    }
    PyObject *error = NULL, *message = PyUnicode_FromFormat("the %s segment (%llu bytes) %s", layout->kind, size, text);
    if (message)
        error = PyObject_CallOneArg(attach_error, message);
    PyObject *why = PyUnicode_FromString(reason), *found = PyLong_FromUnsignedLong(number),
             *known = Py_BuildValue("II", layout->newest, layout->oldest);
    if (error && why && found && known && PyObject_SetAttrString(error, "reason", why) == 0 &&
        PyObject_SetAttrString(error, "layout", found) == 0 && PyObject_SetAttrString(error, "known", known) == 0)
        PyErr_SetObject(attach_error, error);
    Py_XDECREF(known);
    Py_XDECREF(found);
    Py_XDECREF(why);
    Py_XDECREF(error);
    Py_XDECREF(message);
}

/* The number of the layout, which stands in the same place whatever the layout is. */
static uint32_t number_in(const struct segment *segment) {
    uint32_t number = 0;
    if (segment->size >= 8 + sizeof number)
        memcpy(&number, (const unsigned char *)segment->memory + 8, sizeof number);
    return number;
}

bool attach_page(struct segment *segment, int descriptor, bool writable, PyObject *boot, const struct shmbus_layout *layout,
                 enum shmbus_result (*check)(const void *, size_t, const uint8_t *)) {
    struct stat status;
    uint8_t boot_id[16];
    if (!copy_bytes(boot, boot_id, sizeof boot_id, "boot_id"))
        return false;
    if (fstat(descriptor, &status) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return false;
    }
    if (status.st_size == 0) {
        raise_attach(SHMBUS_EARLY, layout, 0, 0);
        return false;
    }
    if (!segment_map(segment, descriptor, (size_t)status.st_size, 0, writable))
        return false;
    enum shmbus_result result = check(segment->memory, segment->size, boot_id);
    if (result == SHMBUS_OK)
        return true;
    uint32_t number = number_in(segment);
    segment_unmap(segment);
    raise_attach(result, layout, (unsigned long long)status.st_size, number);
    return false;
}

/* ---- Bells --------------------------------------------------------------------------------------------------------- */

static PyObject *bells_wrap(PyTypeObject *type, struct segment segment) {
    BellsObject *self = (BellsObject *)type->tp_alloc(type, 0);
    if (!self) {
        segment_unmap(&segment);
        return NULL;
    }
    struct shmbus_bells_page *page = segment.memory;
    self->segment = segment;
    self->bells = page->bells;
    self->capacity = page->capacity;
    return (PyObject *)self;
}

static PyObject *bells_layout(PyObject *Py_UNUSED(type), PyObject *arg) {
    unsigned long capacity = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromSize_t(shmbus_bells_bytes((uint32_t)capacity));
}

static PyObject *bells_create(PyObject *type, PyObject *args) {
    int descriptor;
    unsigned int capacity;
    PyObject *boot;
    uint8_t boot_id[16];
    struct segment segment;
    if (!PyArg_ParseTuple(args, "iIS", &descriptor, &capacity, &boot) ||
        !copy_bytes(boot, boot_id, sizeof boot_id, "boot_id") ||
        !segment_map(&segment, descriptor, shmbus_bells_bytes(capacity), 0, true))
        return NULL;
    shmbus_bells_init(segment.memory, capacity, boot_id);
    return bells_wrap((PyTypeObject *)type, segment);
}

static PyObject *bells_attach(PyObject *type, PyObject *args) {
    int descriptor;
    PyObject *boot;
    struct segment segment;
    if (!PyArg_ParseTuple(args, "iS", &descriptor, &boot) ||
        !attach_page(&segment, descriptor, true, boot, &shmbus_bells_layout, shmbus_bells_check))
        return NULL;
    return bells_wrap((PyTypeObject *)type, segment);
}

static struct shmbus_bell *bell_at(BellsObject *self, PyObject *index) {
    unsigned long at = PyLong_AsUnsignedLong(index);
    if (PyErr_Occurred())
        return NULL;
    if (!self->segment.memory || at >= self->capacity) {
        PyErr_Format(PyExc_IndexError, "no bell %lu: there are %u", at, self->segment.memory ? self->capacity : 0);
        return NULL;
    }
    return &self->bells[at];
}

static PyObject *bells_ring(BellsObject *self, PyObject *index) {
    struct shmbus_bell *bell = bell_at(self, index);
    if (!bell)
        return NULL;
    shmbus_bell_signal(&bell->data);
    shmbus_bell_ring(&self->bells[0].data); /* who reads too many rings for a word each sleeps on the bus's */
    Py_RETURN_NONE;
}

static PyObject *bells_ring_space(BellsObject *self, PyObject *index) {
    struct shmbus_bell *bell = bell_at(self, index);
    if (!bell)
        return NULL;
    shmbus_bell_signal(&bell->space);
    Py_RETURN_NONE;
}

static PyObject *bells_close(BellsObject *self, PyObject *Py_UNUSED(none)) {
    segment_unmap(&self->segment);
    Py_RETURN_NONE;
}

static void bells_dealloc(BellsObject *self) {
    segment_unmap(&self->segment);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *bells_capacity(BellsObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(self->capacity);
}

static PyMethodDef bells_methods[] = {
    {"layout", bells_layout, METH_O | METH_STATIC, NULL},
    {"create", bells_create, METH_VARARGS | METH_CLASS, NULL},
    {"attach", bells_attach, METH_VARARGS | METH_CLASS, NULL},
    {"ring", (PyCFunction)bells_ring, METH_O, NULL},
    {"ring_space", (PyCFunction)bells_ring_space, METH_O, NULL},
    {"close", (PyCFunction)bells_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef bells_getset[] = {{"capacity", (getter)bells_capacity, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

PyTypeObject BellsType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Bells",
    .tp_doc = "The waiter words of a bus.",
    .tp_basicsize = sizeof(BellsObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)bells_dealloc,
    .tp_methods = bells_methods,
    .tp_getset = bells_getset,
};

/* ---- Session ------------------------------------------------------------------------------------------------------- */

void session_fill(SessionObject *self, struct segment segment, bool writable) {
    struct shmbus_session_page *page = segment.memory;
    self->segment = segment;
    self->page = page;
    self->session = page->session;
    self->bell = page->bell;
    /* The client can write its page: what it says is bounded by what is mapped. */
    size_t room = (segment.size - sizeof *page) / sizeof(struct shmbus_cursor);
    self->capacity = page->capacity < room ? page->capacity : (uint32_t)room;
    self->writable = writable;
    shmbus_ledger_view(&self->ledger, segment.memory, segment.size);
    self->ledger.back = writable ? shmbus_back : NULL;
}

static PyObject *session_wrap(PyTypeObject *type, struct segment segment, bool writable) {
    SessionObject *self = (SessionObject *)type->tp_alloc(type, 0);
    if (self)
        session_fill(self, segment, writable);
    else
        segment_unmap(&segment);
    return (PyObject *)self;
}

/* Of the ledger: a cursor has address space for as many as a topic has publishers, up to 18 MiB for all, and memory for one. More
 * of that the client gives itself when it needs it. */
enum { MOST_ROWS = 1 << 18 };
static uint32_t rows_for(uint32_t cursors, uint32_t publishers) {
    uint64_t rows = (uint64_t)cursors * publishers;
    return rows < MOST_ROWS ? (uint32_t)rows : MOST_ROWS;
}
static uint32_t backed_for(uint32_t cursors, uint32_t rows) { return cursors < rows ? cursors : rows; }

static PyObject *session_layout(PyObject *Py_UNUSED(type), PyObject *args) {
    unsigned int cursors, publishers;
    if (!PyArg_ParseTuple(args, "II", &cursors, &publishers))
        return NULL;
    uint32_t rows = rows_for(cursors, publishers), backed = backed_for(cursors, rows);
    unsigned long long first = shmbus_ledger_offset(cursors), row = sizeof(struct shmbus_row), before = sizeof(uint64_t);
    return Py_BuildValue("K((KK)(KK))", (unsigned long long)shmbus_session_bytes(cursors, rows), 0ull, first + backed * row,
                         first + rows * row, backed * before);
}

static PyObject *session_create(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd",  "session",    "cursors",       "publishers", "bell",
                            "pid", "start_time", "pid_namespace", "boot_id",    NULL};
    int descriptor;
    unsigned int publishers;
    unsigned long long start, namespace;
    PyObject *boot;
    struct shmbus_session_setup setup = {0};
    struct segment segment;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iIIIIiKKS", names, &descriptor, &setup.session, &setup.cursors, &publishers,
                                     &setup.bell, &setup.pid, &start, &namespace, &boot) ||
        !copy_bytes(boot, setup.boot_id, sizeof setup.boot_id, "boot_id"))
        return NULL;
    setup.rows = rows_for(setup.cursors, publishers);
    setup.backed = backed_for(setup.cursors, setup.rows);
    if (!segment_map(&segment, descriptor, shmbus_session_bytes(setup.cursors, setup.rows), 0, true))
        return NULL;
    setup.start_time = start;
    setup.pid_namespace = namespace;
    shmbus_session_init(segment.memory, &setup);
    return session_wrap((PyTypeObject *)type, segment, true);
}

static PyObject *session_attach(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "writable", "boot_id", NULL};
    int descriptor, writable;
    PyObject *boot;
    struct segment segment;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ipS", names, &descriptor, &writable, &boot) ||
        !attach_page(&segment, descriptor, writable, boot, &shmbus_session_layout, shmbus_session_check))
        return NULL;
    return session_wrap((PyTypeObject *)type, segment, writable);
}

static struct shmbus_cursor *cursor_at(SessionObject *self, unsigned long index, bool for_writing) {
    if (!self->segment.memory || index >= self->capacity)
        PyErr_Format(PyExc_IndexError, "no cursor %lu: the session has %u", index, self->segment.memory ? self->capacity : 0);
    else if (for_writing && !self->writable)
        PyErr_SetString(PyExc_PermissionError, "the session is mapped read-only");
    else
        return &self->page->cursors[index];
    return NULL;
}

static PyObject *session_cursor(SessionObject *self, PyObject *index) {
    unsigned long at = PyLong_AsUnsignedLong(index);
    struct shmbus_cursor *c = PyErr_Occurred() ? NULL : cursor_at(self, at, false);
    if (!c)
        return NULL;
#define READ(field) (unsigned long long)atomic_load_explicit(&c->field, memory_order_relaxed)
    return Py_BuildValue("KKKKKKII", READ(position), READ(delivered), READ(lost), READ(expired), READ(corrupt), READ(stepped),
                         (unsigned int)READ(topic_id), (unsigned int)READ(subscription));
#undef READ
}

/* Whether a server still takes requests is looked up twice in every call: see shmbus/rpc/presence.py. */
static PyObject *session_cursor_subscription(SessionObject *self, PyObject *index) {
    unsigned long at = PyLong_AsUnsignedLong(index);
    struct shmbus_cursor *c = PyErr_Occurred() ? NULL : cursor_at(self, at, false);
    return c ? PyLong_FromUnsignedLong(atomic_load_explicit(&c->subscription, memory_order_relaxed)) : NULL;
}

static PyObject *session_cursor_active(SessionObject *self, PyObject *index) {
    unsigned long at = PyLong_AsUnsignedLong(index);
    struct shmbus_cursor *c = PyErr_Occurred() ? NULL : cursor_at(self, at, false);
    if (!c)
        return NULL;
    uint64_t at_ns = atomic_load_explicit(&c->active_ns, memory_order_relaxed);
    return Py_BuildValue("KN", (unsigned long long)at_ns, PyBool_FromLong(!(at_ns & SHMBUS_JOINED)));
}

static PyObject *session_bind_cursor(SessionObject *self, PyObject *args) {
    unsigned long index;
    unsigned int topic_id, subscription;
    if (!PyArg_ParseTuple(args, "kII", &index, &topic_id, &subscription))
        return NULL;
    struct shmbus_cursor *c = cursor_at(self, index, true);
    if (!c)
        return NULL;
    _Atomic uint64_t *counters[] = {&c->delivered, &c->lost, &c->expired, &c->corrupt, &c->stepped};
    atomic_store_explicit(&c->position, 0, memory_order_relaxed);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        atomic_store_explicit(counters[i], 0, memory_order_relaxed);
    uint64_t joined_ns = subscription ? shmbus_now_ns() | SHMBUS_JOINED : 0;
    atomic_store_explicit(&c->active_ns, joined_ns, memory_order_relaxed);
    shmbus_rows_close(&self->ledger, (uint32_t)index);
    atomic_store_explicit(&c->topic_id, topic_id, memory_order_relaxed);
    atomic_store_explicit(&c->subscription, subscription, memory_order_release);
    Py_RETURN_NONE;
}

PyObject *count_object(uint64_t count) {
    return count == SHMBUS_UNCOUNTED ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(count);
}

PyObject *entry_object(const struct shmbus_entry *e) {
    return Py_BuildValue("IIKKKKKKKKKN", e->producer, e->version, (unsigned long long)e->base, (unsigned long long)e->last,
                         (unsigned long long)e->delivered, (unsigned long long)e->overrun, (unsigned long long)e->expired,
                         (unsigned long long)e->corrupt, (unsigned long long)e->filtered, (unsigned long long)e->dead,
                         (unsigned long long)e->repeated, count_object(e->before));
}

/* What the ledger says of that cursor, producer by producer. */
static PyObject *session_ledger(SessionObject *self, PyObject *index) {
    unsigned long at = PyLong_AsUnsignedLong(index);
    if (PyErr_Occurred() || !cursor_at(self, at, false))
        return NULL;
    PyObject *list = PyList_New(0);
    struct shmbus_row *row = NULL;
    for (uint32_t seen = 0; list && seen < self->ledger.capacity; seen++) {
        row = shmbus_row_next(&self->ledger, (uint32_t)at, row);
        if (!row)
            break;
        struct shmbus_entry e = shmbus_row_read(row, shmbus_row_before(&self->ledger, row));
        PyObject *item = entry_object(&e);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *session_set_position(SessionObject *self, PyObject *args) {
    unsigned long index;
    unsigned long long position;
    if (!PyArg_ParseTuple(args, "kK", &index, &position))
        return NULL;
    struct shmbus_cursor *c = cursor_at(self, index, true);
    if (!c)
        return NULL;
    atomic_store_explicit(&c->position, position, memory_order_seq_cst);
    Py_RETURN_NONE;
}

static PyObject *session_beat(SessionObject *self, PyObject *const *args, Py_ssize_t count) {
    const char *reason = "";
    Py_ssize_t length = 0;
    if (count < 1 || count > 2)
        return PyErr_Format(PyExc_TypeError, "beat takes a health and a reason, not %zd arguments", count);
    long health = PyLong_AsLong(args[0]);
    if (count == 2 && !(reason = PyUnicode_AsUTF8AndSize(args[1], &length)))
        return NULL;
    if ((health == -1 && PyErr_Occurred()) || !cursor_at(self, 0, true))
        return NULL;
    if (health < SHMBUS_HEALTH_UNKNOWN || health > SHMBUS_UNHEALTHY)
        return PyErr_Format(PyExc_ValueError,
                            "%ld is nothing that a collector says of its own health: say UNKNOWN (0), HEALTHY (1), DEGRADED (2) "
                            "or UNHEALTHY (3). That one is UNRESPONSIVE is seen by others.",
                            health);
    if (length && health < SHMBUS_DEGRADED)
        return PyErr_Format(PyExc_ValueError, "a reason is given for DEGRADED or UNHEALTHY, and this is %s: leave out %R",
                            health == SHMBUS_HEALTHY ? "HEALTHY" : "UNKNOWN", args[1]);
    /* Whoever sees that it is ill sees why, and nobody sees it ill without a reason because it is well again. */
    bool news = length && shmbus_session_explain(self->page, reason, (size_t)length);
    news |= shmbus_session_beat(self->page, (enum shmbus_health)health);
    if (!length)
        news |= shmbus_session_explain(self->page, reason, 0);
    return PyBool_FromLong(news);
}

static PyObject *session_leave(SessionObject *self, PyObject *Py_UNUSED(none)) {
    if (!cursor_at(self, 0, true))
        return NULL;
    atomic_store_explicit(&self->page->heartbeat, SHMBUS_LEFT, memory_order_release);
    Py_RETURN_NONE;
}

static PyObject *session_left(SessionObject *self, void *Py_UNUSED(closure)) {
    if (!cursor_at(self, 0, false))
        return NULL;
    return PyBool_FromLong(atomic_load_explicit(&self->page->heartbeat, memory_order_acquire) == SHMBUS_LEFT);
}

static PyObject *session_close(SessionObject *self, PyObject *Py_UNUSED(none)) {
    segment_unmap(&self->segment);
    self->page = NULL;
    Py_RETURN_NONE;
}

static void session_dealloc(SessionObject *self) {
    segment_unmap(&self->segment);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *session_number(SessionObject *self, void *which) {
    return PyLong_FromUnsignedLong(which == (void *)0 ? self->session : which == (void *)1 ? self->capacity : self->bell);
}

static PyObject *session_identity(SessionObject *self, void *Py_UNUSED(closure)) {
    if (!cursor_at(self, 0, false))
        return NULL;
    return Py_BuildValue("iKK", self->page->pid, (unsigned long long)self->page->start_time,
                         (unsigned long long)self->page->pid_namespace);
}

static PyObject *session_heartbeat(SessionObject *self, void *Py_UNUSED(closure)) {
    if (!cursor_at(self, 0, false))
        return NULL;
    return PyLong_FromUnsignedLongLong(atomic_load_explicit(&self->page->heartbeat, memory_order_relaxed));
}

static PyObject *session_pulse(SessionObject *self, void *Py_UNUSED(closure)) {
    uint32_t health;
    if (!cursor_at(self, 0, false))
        return NULL;
    unsigned long long beats = shmbus_session_beats(self->page, &health);
    return Py_BuildValue("KI", beats, health);
}

static PyObject *session_reason(SessionObject *self, void *Py_UNUSED(closure)) {
    char reason[SHMBUS_REASON_BYTES];
    if (!cursor_at(self, 0, false))
        return NULL;
    return PyBytes_FromStringAndSize(reason, (Py_ssize_t)shmbus_session_reason(self->page, reason));
}

/* The processes that read together, if this is a group's page. */
static PyObject *session_members(SessionObject *self, void *Py_UNUSED(closure)) {
    struct shmbus_group_setup setup;
    if (!cursor_at(self, 0, false))
        return NULL;
    PyObject *list = PyList_New(0);
    if (shmbus_group_check(self->segment.memory, self->segment.size, self->page->boot_id, &setup) != SHMBUS_OK)
        return list;
    struct shmbus_group_page *page = shmbus_group_page(self->segment.memory, setup.lanes);
    for (uint32_t i = 0; list && i < SHMBUS_MEMBERS; i++) {
        struct shmbus_identity who;
        if (!shmbus_identity_load(&page->members[i], &who))
            continue;
        PyObject *item = Py_BuildValue("iKK", who.pid, (unsigned long long)who.start_time, (unsigned long long)who.pid_namespace);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyMethodDef session_methods[] = {
    {"layout", session_layout, METH_VARARGS | METH_STATIC, NULL},
    {"create", (PyCFunction)(void (*)(void))session_create, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"attach", (PyCFunction)(void (*)(void))session_attach, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"cursor", (PyCFunction)session_cursor, METH_O, NULL},
    {"cursor_subscription", (PyCFunction)session_cursor_subscription, METH_O, NULL},
    {"cursor_active", (PyCFunction)session_cursor_active, METH_O, NULL},
    {"ledger", (PyCFunction)session_ledger, METH_O, NULL},
    {"bind_cursor", (PyCFunction)session_bind_cursor, METH_VARARGS, NULL},
    {"set_position", (PyCFunction)session_set_position, METH_VARARGS, NULL},
    {"beat", (PyCFunction)(void (*)(void))session_beat, METH_FASTCALL, NULL},
    {"leave", (PyCFunction)session_leave, METH_NOARGS, NULL},
    {"close", (PyCFunction)session_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef session_getset[] = {
    {"session", (getter)session_number, NULL, NULL, (void *)0},
    {"capacity", (getter)session_number, NULL, NULL, (void *)1},
    {"bell", (getter)session_number, NULL, NULL, (void *)2},
    {"identity", (getter)session_identity, NULL, NULL, NULL},
    {"heartbeat", (getter)session_heartbeat, NULL, NULL, NULL},
    {"pulse", (getter)session_pulse, NULL, NULL, NULL},
    {"reason", (getter)session_reason, NULL, NULL, NULL},
    {"left", (getter)session_left, NULL, NULL, NULL},
    {"members", (getter)session_members, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject SessionType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Session",
    .tp_doc = "The page of one client.",
    .tp_basicsize = sizeof(SessionObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_BASETYPE,
    .tp_dealloc = (destructor)session_dealloc,
    .tp_methods = session_methods,
    .tp_getset = session_getset,
};
