/* Group: the page that the members of a named subscription share, as the coordinator and its members see it. */
#include "binding.h"

#include <sys/stat.h>

static PyObject *group_wrap(PyTypeObject *type, struct segment segment, bool writable, const struct shmbus_group_setup *setup) {
    GroupObject *self = (GroupObject *)type->tp_alloc(type, 0);
    if (!self) {
        segment_unmap(&segment);
        return NULL;
    }
    session_fill(&self->session, segment, writable);
    self->setup = *setup;
    self->page = shmbus_group_page(segment.memory, setup->lanes);
    return (PyObject *)self;
}

static PyObject *group_layout(PyObject *Py_UNUSED(type), PyObject *args) {
    struct shmbus_group_setup setup = {.uncounted = false};
    if (!PyArg_ParseTuple(args, "IIII", &setup.lanes, &setup.window, &setup.producers, &setup.rows))
        return NULL;
    size_t bytes = shmbus_group_bytes(&setup);
    if (bytes == 0)
        return PyErr_Format(PyExc_ValueError, "no group can have %u lanes (1..65536), a window of %u (a power of two, 2..%u), %u "
                            "producers (0..%u), %u rows (the same)", setup.lanes, setup.window, SHMBUS_MAX_WINDOW,
                            setup.producers, SHMBUS_MAX_PRODUCERS + 1, setup.rows);
    return PyLong_FromSize_t(bytes);
}

static PyObject *group_create(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "session", "lanes", "window", "producers", "rows", "bell", "boot_id", NULL};
    int descriptor;
    PyObject *boot;
    struct shmbus_session_setup session = {0};
    struct shmbus_group_setup setup = {.uncounted = false};
    struct segment segment;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iIIIIIIS", names, &descriptor, &session.session, &setup.lanes, &setup.window,
                                     &setup.producers, &setup.rows, &session.bell, &boot) ||
        !copy_bytes(boot, session.boot_id, sizeof session.boot_id, "boot_id"))
        return NULL;
    size_t bytes = shmbus_group_bytes(&setup);
    if (bytes == 0) {
        PyErr_SetString(PyExc_ValueError, "no such group: see Group.layout()");
        return NULL;
    }
    if (!segment_map(&segment, descriptor, bytes, 0, true))
        return NULL;
    shmbus_group_init(segment.memory, &session, &setup);
    return group_wrap((PyTypeObject *)type, segment, true, &setup);
}

static PyObject *group_attach(PyObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "writable", "boot_id", NULL};
    int descriptor, writable;
    PyObject *boot;
    struct segment segment;
    struct shmbus_group_setup setup;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ipS", names, &descriptor, &writable, &boot) ||
        !attach_page(&segment, descriptor, writable, boot, &shmbus_session_layout, shmbus_session_check))
        return NULL;
    enum shmbus_result result =
        shmbus_group_check(segment.memory, segment.size, (const uint8_t *)PyBytes_AS_STRING(boot), &setup);
    if (result != SHMBUS_OK) {
        uint32_t number = shmbus_group_number(segment.memory, segment.size);
        raise_attach(result, &shmbus_group_layout, (unsigned long long)segment.size, number);
        segment_unmap(&segment);
        return NULL;
    }
    return group_wrap((PyTypeObject *)type, segment, writable, &setup);
}

static bool usable(GroupObject *self) {
    if (self->session.segment.memory && self->session.writable)
        return true;
    PyErr_SetString(PyExc_ValueError, "the group is closed, or mapped read-only");
    return false;
}

/* As the coordinator sees it, who is nobody's member. */
static bool lane_at(GroupObject *self, unsigned lane, unsigned member, struct shmbus_group *view) {
    if (!self->session.segment.memory) {
        PyErr_SetString(PyExc_ValueError, "the group is closed");
        return false;
    }
    if (shmbus_group_view(view, self->session.segment.memory, &self->setup, lane, member)) {
        view->writer = SHMBUS_MEMBERS;
        return true;
    }
    PyErr_Format(PyExc_IndexError, "no lane %u or member %u: the group has %u and %u", lane, member, self->setup.lanes,
                 SHMBUS_MEMBERS);
    return false;
}

/* The ring that the lane reads, or None: then numbers and names of producers are found out later. */
static bool read_by(struct shmbus_group *view, PyObject *ring) {
    if (ring == Py_None)
        return true;
    if (!PyObject_TypeCheck(ring, &RingType) || ((RingObject *)ring)->closed) {
        PyErr_SetString(PyExc_TypeError, "an open Ring, or None");
        return false;
    }
    view->ring = &((RingObject *)ring)->ring;
    return true;
}

static PyObject *group_place(GroupObject *self, PyObject *args) {
    unsigned lane;
    unsigned long long sequence;
    PyObject *ring;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IKO", &lane, &sequence, &ring) || !usable(self) || !lane_at(self, lane, 0, &view) ||
        !read_by(&view, ring))
        return NULL;
    shmbus_group_place(&view, sequence);
    shmbus_group_begin(&view);
    Py_RETURN_NONE;
}

static PyObject *group_reap(GroupObject *self, PyObject *args) {
    unsigned lane, member;
    int own;
    PyObject *ring;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IIpO", &lane, &member, &own, &ring) || !usable(self) || !lane_at(self, lane, member, &view) ||
        !read_by(&view, ring))
        return NULL;
    view.writer = own ? member : SHMBUS_MEMBERS;
    return PyLong_FromUnsignedLong(shmbus_group_reap(&view, member));
}

static PyObject *group_finish(GroupObject *self, PyObject *Py_UNUSED(none)) {
    struct shmbus_group view;
    if (!usable(self))
        return NULL;
    for (uint32_t lane = 0; lane < self->setup.lanes; lane++)
        if (lane_at(self, lane, 0, &view))
            shmbus_group_complete(&view);
    Py_RETURN_NONE;
}

static PyObject *group_expire(GroupObject *self, PyObject *args) {
    unsigned lane;
    unsigned long long now, limit;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IKK", &lane, &now, &limit) || !usable(self) || !lane_at(self, lane, 0, &view))
        return NULL;
    return PyLong_FromUnsignedLong(shmbus_group_expire(&view, now, limit));
}

/* The ring is going to be given up, read or not. */
static PyObject *group_give_up(GroupObject *self, PyObject *args) {
    unsigned lane;
    unsigned long long sealed, first;
    PyObject *ring;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IKKO", &lane, &sealed, &first, &ring) || !usable(self) || !lane_at(self, lane, 0, &view) ||
        !read_by(&view, ring))
        return NULL;
    uint64_t lost = shmbus_group_skip(&view, sealed);
    if (!view.rows)
        atomic_fetch_add_explicit(&view.lane->untold, lost, memory_order_seq_cst);
    shmbus_group_bridge(&view, sealed, first);
    return PyLong_FromUnsignedLongLong(lost);
}

/* A member has read the ring to its seal. */
static PyObject *group_bridge(GroupObject *self, PyObject *args) {
    unsigned lane, member;
    unsigned long long sealed, first;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IKKI", &lane, &sealed, &first, &member) || !usable(self) || !lane_at(self, lane, member, &view))
        return NULL;
    view.writer = member;
    return PyBool_FromLong(shmbus_group_bridge(&view, sealed, first));
}

static PyObject *group_forget_producer(GroupObject *self, PyObject *args) {
    unsigned lane, producer;
    PyObject *ring;
    struct shmbus_group view;
    if (!PyArg_ParseTuple(args, "IIO", &lane, &producer, &ring) || !usable(self) || !lane_at(self, lane, 0, &view) ||
        !read_by(&view, ring))
        return NULL;
    shmbus_group_forget(&view, producer);
    Py_RETURN_NONE;
}

static PyObject *group_set_member(GroupObject *self, PyObject *args) {
    unsigned member, session, uid;
    const char *name;
    int pid;
    unsigned long long start, namespace;
    struct shmbus_identity who;
    if (!PyArg_ParseTuple(args, "IsiKKII", &member, &name, &pid, &start, &namespace, &session, &uid) || !usable(self) ||
        !identity_given(&who, name, pid, start, namespace, session, uid))
        return NULL;
    if (member >= SHMBUS_MEMBERS)
        return PyErr_Format(PyExc_IndexError, "no member %u: a group has %u", member, SHMBUS_MEMBERS);
    shmbus_identity_store(&self->page->members[member], &who);
    Py_RETURN_NONE;
}

static PyObject *group_clear_member(GroupObject *self, PyObject *arg) {
    unsigned long member = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !usable(self))
        return NULL;
    if (member < SHMBUS_MEMBERS)
        shmbus_identity_store(&self->page->members[member], NULL);
    Py_RETURN_NONE;
}

static PyObject *group_get_member(GroupObject *self, PyObject *arg) {
    unsigned long member = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred())
        return NULL;
    return identity_object(self->session.segment.memory && member < SHMBUS_MEMBERS ? &self->page->members[member] : NULL);
}

static PyObject *group_state(GroupObject *self, PyObject *arg) {
    unsigned long lane = PyLong_AsUnsignedLong(arg);
    struct shmbus_group view;
    if (PyErr_Occurred() || !lane_at(self, (unsigned)lane, 0, &view))
        return NULL;
    uint64_t floor = shmbus_group_floor(&view), next = atomic_load_explicit(&view.lane->next, memory_order_relaxed);
#define READ(field) (unsigned long long)atomic_load_explicit(&view.lane->field, memory_order_relaxed)
    return Py_BuildValue("KKKKKK", (unsigned long long)floor, (unsigned long long)(next > floor ? next : floor), READ(redelivered),
                         READ(duplicates), READ(dead), (unsigned long long)shmbus_group_untold(&view));
#undef READ
}

static PyObject *group_ledger(GroupObject *self, PyObject *arg) {
    unsigned long lane = PyLong_AsUnsignedLong(arg);
    struct shmbus_group view;
    if (PyErr_Occurred() || !lane_at(self, (unsigned)lane, 0, &view))
        return NULL;
    PyObject *list = PyList_New(0);
    for (uint32_t producer = 1; list && producer < view.rows; producer++) {
        struct shmbus_entry entry;
        PyObject *item = shmbus_group_entry(&view, producer, &entry) ? entry_object(&entry) : NULL;
        if (PyErr_Occurred() || (item && PyList_Append(list, item) < 0))
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *group_get_record(GroupObject *self, void *Py_UNUSED(closure)) {
    if (!self->session.segment.memory) {
        PyErr_SetString(PyExc_ValueError, "the group is closed");
        return NULL;
    }
    uint32_t size = atomic_load_explicit(&self->page->record_bytes, memory_order_acquire);
    return PyBytes_FromStringAndSize((const char *)self->page->record, size <= sizeof self->page->record ? size : 0);
}

static int group_set_record(GroupObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    if (!usable(self))
        return -1;
    if (!value || !PyBytes_Check(value) || (size_t)PyBytes_GET_SIZE(value) > sizeof self->page->record) {
        PyErr_Format(PyExc_ValueError, "a group's record is bytes, at most %zu", sizeof self->page->record);
        return -1;
    }
    /* 0 while it changes: a coordinator that is killed meanwhile leaves a group without a record, not a wrong one. */
    atomic_store_explicit(&self->page->record_bytes, 0, memory_order_seq_cst);
    memcpy(self->page->record, PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value));
    atomic_store_explicit(&self->page->record_bytes, (uint32_t)PyBytes_GET_SIZE(value), memory_order_release);
    return 0;
}

static PyObject *group_number(GroupObject *self, void *which) {
    const uint32_t numbers[] = {self->setup.window, self->setup.producers, self->setup.rows};
    return PyLong_FromUnsignedLong(numbers[(uintptr_t)which]);
}

static PyMethodDef group_methods[] = {
    {"layout", group_layout, METH_VARARGS | METH_STATIC, NULL},
    {"create", (PyCFunction)(void (*)(void))group_create, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"attach", (PyCFunction)(void (*)(void))group_attach, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"place", (PyCFunction)group_place, METH_VARARGS, NULL},
    {"reap", (PyCFunction)group_reap, METH_VARARGS, NULL},
    {"finish", (PyCFunction)group_finish, METH_NOARGS, NULL},
    {"expire", (PyCFunction)group_expire, METH_VARARGS, NULL},
    {"bridge", (PyCFunction)group_bridge, METH_VARARGS, NULL},
    {"give_up", (PyCFunction)group_give_up, METH_VARARGS, NULL},
    {"forget_producer", (PyCFunction)group_forget_producer, METH_VARARGS, NULL},
    {"set_member", (PyCFunction)group_set_member, METH_VARARGS, NULL},
    {"clear_member", (PyCFunction)group_clear_member, METH_O, NULL},
    {"member", (PyCFunction)group_get_member, METH_O, NULL},
    {"state", (PyCFunction)group_state, METH_O, NULL},
    {"ledger", (PyCFunction)group_ledger, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef group_getset[] = {
    {"record", (getter)group_get_record, (setter)group_set_record, NULL, NULL},
    {"window", (getter)group_number, NULL, NULL, (void *)0},
    {"producers", (getter)group_number, NULL, NULL, (void *)1},
    {"rows", (getter)group_number, NULL, NULL, (void *)2},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject GroupType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Group",
    .tp_doc = "The page of a named subscription's members.",
    .tp_base = &SessionType,
    .tp_basicsize = sizeof(GroupObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_methods = group_methods,
    .tp_getset = group_getset,
};
