/* Borrowed: a message whose payload is read where it stands in the ring.
 *
 * What protects it is the reader's own cursor: a lossless subscription's is not moved before the message is given back, a
 * durable one's not before it is settled. Every buffer that is taken of it is counted, and it is given back only when there
 * is none left; leaving the `with` block with some in use raises, and the protection lasts until the last one is gone. So a
 * view either shows the message's bytes or, once released, raises; it never shows other bytes.
 *
 * Nothing protects it in a lossy subscription, or after a demotion: then giving it back says whether it stood to the end.
 */
#include "reader.h"

PyObject *borrowed_new(ReaderObject *reader, Entry *entry, const struct shmbus_view *view, enum shmbus_result *result) {
    struct shmbus_frame frame;
    *result = shmbus_look(&entry->ring->ring, view, &frame);
    if (*result == SHMBUS_OK && shmbus_expired(&entry->ring->ring, &frame, shmbus_now_ns()))
        *result = SHMBUS_EXPIRED;
    if (*result != SHMBUS_OK) {
        entry->passed = frame;
        return NULL;
    }
    BorrowedObject *self = PyObject_NewVar(BorrowedObject, &BorrowedType, 0);
    if (!self)
        return NULL;
    self->source = (SourceObject *)Py_NewRef(entry->source);
    self->envelope = self->event = self->view = NULL;
    self->deliveries = 1;
    self->frame = frame;
    self->reader = Py_NewRef((PyObject *)reader);
    self->ring = entry->ring;
    ring_hold(self->ring);
    self->data = view->frame + sizeof frame;
    self->exports = 0;
    self->leaving = false;
    self->producer = ring_producer(entry->ring, frame.producer);
    if (self->producer)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* Nobody looks at it any more: the cursor moves on. Did it stand to the end? */
static bool give_back(BorrowedObject *self) {
    ReaderObject *reader = (ReaderObject *)self->reader;
    bool stood = shmbus_stands(&self->ring->ring, self->frame.sequence);
    self->reader = NULL;
    if (reader->borrowed == (PyObject *)self) {
        reader->borrowed = NULL;
        reader_given_back(reader, self->source, self->frame.sequence);
    }
    ring_let_go(self->ring);
    Py_DECREF(reader);
    return stood;
}

static bool release(BorrowedObject *self) {
    if (!self->reader)
        return true;
    if (self->view) {
        PyObject *released = PyObject_CallMethod(self->view, "release", NULL);
        if (released)
            Py_CLEAR(self->view);
        else
            PyErr_Clear(); /* parts of it are in use: told below */
        Py_XDECREF(released);
    }
    if (self->exports) {
        self->leaving = true;
        PyErr_Format(PyExc_BufferError, "%zd views of message %llu of '%U' are still in use: release them before it is given "
                     "back; until then it stays where it is", self->exports, (unsigned long long)self->frame.sequence,
                     self->source->ring->topic);
        return false;
    }
    if (give_back(self))
        return true;
    PyErr_Format(PyExc_BufferError, "message %llu of '%U' was overwritten while it was borrowed: nothing protected it. What was "
                 "read of it is void", (unsigned long long)self->frame.sequence, self->source->ring->topic);
    return false;
}

static void borrowed_dealloc(BorrowedObject *self) {
    if (self->reader)
        give_back(self); /* a buffer in use would have kept it alive */
    Py_DECREF(self->source);
    Py_XDECREF(self->producer);
    Py_XDECREF(self->envelope);
    Py_XDECREF(self->event);
    PyObject_Free(self);
}

static bool stands(BorrowedObject *self) {
    if (self->reader && !self->leaving)
        return true;
    PyErr_Format(PyExc_BufferError, "message %llu of '%U' has been given back", (unsigned long long)self->frame.sequence,
                 self->source->ring->topic);
    return false;
}

static int borrowed_getbuffer(BorrowedObject *self, Py_buffer *view, int flags) {
    if (!stands(self) || PyBuffer_FillInfo(view, (PyObject *)self, (void *)(uintptr_t)self->data, self->frame.length, 1, flags) < 0)
        return -1;
    self->exports++;
    ((ReaderObject *)self->reader)->lent++;
    return 0;
}

static void borrowed_releasebuffer(BorrowedObject *self, Py_buffer *Py_UNUSED(view)) {
    self->exports--;
    ((ReaderObject *)self->reader)->lent--; /* it is not given back before the last one */
    if (self->leaving && self->exports == 0 && self->reader)
        give_back(self);
}

static PyObject *borrowed_data(BorrowedObject *self, void *Py_UNUSED(closure)) {
    if (!stands(self))
        return NULL;
    if (!self->view)
        self->view = PyMemoryView_FromObject((PyObject *)self);
    return Py_XNewRef(self->view);
}

static PyObject *borrowed_payload(BorrowedObject *self, void *Py_UNUSED(closure)) {
    return stands(self) ? PyBytes_FromStringAndSize((const char *)self->data, self->frame.length) : NULL;
}

static PyObject *borrowed_key(BorrowedObject *self, void *Py_UNUSED(closure)) {
    return stands(self) ? key_in(self->data, self->frame.length, self->frame.kind) : NULL;
}

static PyObject *borrowed_locate(BorrowedObject *self, PyObject *Py_UNUSED(none)) {
    return stands(self) ? locate_event(self->data, self->frame.length) : NULL;
}

static PyObject *borrowed_enter(BorrowedObject *self, PyObject *Py_UNUSED(none)) {
    return stands(self) ? Py_NewRef((PyObject *)self) : NULL;
}

/* An exception of the block is not hidden behind one of leaving it. */
static PyObject *borrowed_exit(BorrowedObject *self, PyObject *args) {
    PyObject *kind = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : Py_None;
    if (!release(self)) {
        if (kind == Py_None)
            return NULL;
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

static PyObject *borrowed_release(BorrowedObject *self, PyObject *Py_UNUSED(none)) {
    if (!release(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *borrowed_repr(BorrowedObject *self) {
    return PyUnicode_FromFormat("<Borrowed %U #%llu, %u bytes%s>", self->source->ring->topic,
                                (unsigned long long)self->frame.sequence, self->frame.length, self->reader ? "" : ", given back");
}

static PyGetSetDef borrowed_getset[] = {
    {"data", (getter)borrowed_data, NULL, NULL, NULL},
    {"payload", (getter)borrowed_payload, NULL, NULL, NULL},
    {"key", (getter)borrowed_key, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef borrowed_methods[] = {
    {"_locate", (PyCFunction)borrowed_locate, METH_NOARGS, NULL},
    {"release", (PyCFunction)borrowed_release, METH_NOARGS, NULL},
    {"__enter__", (PyCFunction)borrowed_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)borrowed_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyBufferProcs borrowed_buffer = {
    .bf_getbuffer = (getbufferproc)borrowed_getbuffer,
    .bf_releasebuffer = (releasebufferproc)borrowed_releasebuffer,
};

PyTypeObject BorrowedType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus.Borrowed",
    .tp_base = &MessageHeadType,
    .tp_doc = "A message that stands in the ring until it is given back, by leaving its `with` block or `release()`. `data` looks "
              "at its payload without a copy; parse it inside the block.",
    .tp_basicsize = sizeof(BorrowedObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)borrowed_dealloc,
    .tp_repr = (reprfunc)borrowed_repr,
    .tp_getset = borrowed_getset,
    .tp_methods = borrowed_methods,
    .tp_as_buffer = &borrowed_buffer,
};
