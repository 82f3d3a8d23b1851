/* Message: one received message; the payload is a private, checked copy that stands in the object itself. */
#include "binding.h"

/* Small messages are kept for the next ones: a batch that is read and dropped would otherwise have the allocator give whole
 * arenas back to the kernel and fault them in again, which costs more than the messages. */
enum { SMALL_PAYLOAD = 400, KEPT = 1024 };
static MessageObject *kept[KEPT];
static unsigned kept_count;

MessageObject *message_new(SourceObject *source, uint32_t length) {
    MessageObject *self;
    if (length > SMALL_PAYLOAD)
        self = PyObject_NewVar(MessageObject, &MessageType, (Py_ssize_t)length);
    else if (kept_count)
        self = (MessageObject *)PyObject_InitVar((PyVarObject *)kept[--kept_count], &MessageType, (Py_ssize_t)length);
    else if ((self = PyObject_NewVar(MessageObject, &MessageType, SMALL_PAYLOAD)))
        Py_SET_SIZE(self, (Py_ssize_t)length);
    if (self) {
        self->source = (SourceObject *)Py_NewRef(source);
        self->producer = self->envelope = self->event = NULL;
        self->deliveries = 1;
    }
    return self;
}

static void message_dealloc(MessageObject *self) {
    Py_DECREF(self->source);
    Py_XDECREF(self->producer);
    Py_XDECREF(self->envelope);
    Py_XDECREF(self->event);
    if (Py_SIZE(self) <= SMALL_PAYLOAD && kept_count < KEPT)
        kept[kept_count++] = self;
    else
        PyObject_Free(self);
}

static PyObject *message_number(MessageObject *self, void *which) {
    switch ((intptr_t)which) {
    case 0: return PyLong_FromUnsignedLongLong(self->frame.sequence);
    case 1: return PyLong_FromUnsignedLongLong(self->frame.time_ns);
    case 2: return PyLong_FromUnsignedLongLong(self->frame.expires_ns);
    case 3: return PyLong_FromUnsignedLongLong(self->frame.producer_sequence);
    case 4: return PyLong_FromUnsignedLong(self->frame.priority);
    case 5: return PyLong_FromUnsignedLong(self->frame.kind);
    case 7: return PyLong_FromUnsignedLong(self->deliveries);
    default: return PyLong_FromUnsignedLong(self->frame.flags);
    }
}

static PyObject *message_topic(MessageObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->source->ring->topic);
}

static PyObject *message_type_name(MessageObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->source->ring->type_name);
}

static PyObject *message_lane(MessageObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(self->source->ring->lane);
}

static PyObject *message_pattern(MessageObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->source->pattern);
}

static PyObject *message_payload(MessageObject *self, void *Py_UNUSED(closure)) {
    return PyBytes_FromStringAndSize((const char *)self->payload, Py_SIZE(self));
}

static PyObject *message_producer(MessageObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->producer ? self->producer : Py_None);
}

/* Made on first use by the hook, then kept. */
static PyObject *made_once(PyObject *self, PyObject **kept, PyObject *hook) {
    if (!*kept) {
        if (!hook) {
            PyErr_SetString(PyExc_RuntimeError, "shmbus.message has not been imported");
            return NULL;
        }
        PyObject *made = PyObject_CallOneArg(hook, self);
        if (!made)
            return NULL;
        Py_XSETREF(*kept, made);
    }
    return Py_NewRef(*kept);
}

static PyObject *message_envelope(MessageObject *self, void *Py_UNUSED(closure)) {
    return made_once((PyObject *)self, &self->envelope, hooks.parse_envelope);
}

static PyObject *message_event(MessageObject *self, void *Py_UNUSED(closure)) {
    return made_once((PyObject *)self, &self->event, hooks.parse_event);
}

static PyObject *message_time(MessageObject *self, void *Py_UNUSED(closure)) {
    if (!hooks.make_time) {
        PyErr_SetString(PyExc_RuntimeError, "shmbus.message has not been imported");
        return NULL;
    }
    return PyObject_CallFunction(hooks.make_time, "K", (unsigned long long)self->frame.time_ns);
}

static bool varint(const unsigned char **at, const unsigned char *end, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The only length-delimited field of the wanted kind in [at, end). 1 found, 0 absent, -1 repeated or malformed. */
static int sole_field(const unsigned char *at, const unsigned char *end, uint64_t lowest, uint64_t highest, uint64_t *number,
                      const unsigned char **from, const unsigned char **to) {
    int found = 0;
    while (at < end) {
        uint64_t tag, size = 0;
        if (!varint(&at, end, &tag))
            return -1;
        switch (tag & 7) {
        case 0:
            if (!varint(&at, end, &size))
                return -1;
            continue;
        case 1: size = 8; break;
        case 5: size = 4; break;
        case 2:
            if (!varint(&at, end, &size))
                return -1;
            break;
        default: return -1;
        }
        if (size > (uint64_t)(end - at))
            return -1;
        if ((tag & 7) == 2 && tag >> 3 >= lowest && tag >> 3 <= highest) {
            if (found)
                return -1;
            found = 1;
            *number = tag >> 3;
            *from = at;
            *to = at + size;
        }
        at += size;
    }
    return found;
}

/* Where the event stands in an envelope that was written in one piece: (payload field, event field, bytes). None sends
 * the caller to the protobuf parser, which knows every other legal encoding. */
PyObject *locate_event(const unsigned char *data, Py_ssize_t length) {
    const unsigned char *from = data, *to = data + length;
    uint64_t outer = 0, inner = 0;
    if (sole_field(from, to, 3, 8, &outer, &from, &to) != 1)
        Py_RETURN_NONE;
    if (outer == 3 && sole_field(from, to, 3, 7, &inner, &from, &to) != 1)
        Py_RETURN_NONE;
    return Py_BuildValue("IIy#", (unsigned int)outer, (unsigned int)inner, (const char *)from, (Py_ssize_t)(to - from));
}

static PyObject *message_locate(MessageObject *self, PyObject *Py_UNUSED(none)) {
    return locate_event(self->payload, Py_SIZE(self));
}

static int message_getbuffer(MessageObject *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->payload, Py_SIZE(self), 1, flags);
}

static PyObject *message_repr(MessageObject *self) {
    return PyUnicode_FromFormat("<Message %U #%llu, %zd bytes>", self->source->ring->topic,
                                (unsigned long long)self->frame.sequence, Py_SIZE(self));
}

#define NUMBER(name, which) {name, (getter)message_number, NULL, NULL, (void *)(intptr_t)(which)}
static PyGetSetDef head_getset[] = {
    NUMBER("sequence", 0), NUMBER("time_ns", 1), NUMBER("expires_ns", 2), NUMBER("producer_sequence", 3),
    NUMBER("priority", 4), NUMBER("kind", 5), NUMBER("flags", 6), NUMBER("deliveries", 7),
    {"topic", (getter)message_topic, NULL, NULL, NULL},
    {"time", (getter)message_time, NULL, NULL, NULL},
    {"type_name", (getter)message_type_name, NULL, NULL, NULL},
    {"lane", (getter)message_lane, NULL, NULL, NULL},
    {"pattern", (getter)message_pattern, NULL, NULL, NULL},
    {"producer", (getter)message_producer, NULL, NULL, NULL},
    {"envelope", (getter)message_envelope, NULL, NULL, NULL},
    {"event", (getter)message_event, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef message_getset[] = {
    {"payload", (getter)message_payload, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef message_methods[] = {
    {"_locate", (PyCFunction)message_locate, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyBufferProcs message_buffer = {.bf_getbuffer = (getbufferproc)message_getbuffer};

/* What a message and a borrowed one tell of themselves without a look at the payload. */
PyTypeObject MessageHeadType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.MessageHead",
    .tp_doc = "What is known of a message besides its payload.",
    .tp_basicsize = sizeof(MessageHead),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_BASETYPE,
    .tp_getset = head_getset,
};

PyTypeObject MessageType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus.Message",
    .tp_base = &MessageHeadType,
    .tp_doc = "One received message. The payload is a private copy whose checksum has been verified; memoryview(message) "
              "looks at it without another copy. The envelope and the event are parsed on first use.",
    .tp_basicsize = offsetof(MessageObject, payload),
    .tp_itemsize = 1,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)message_dealloc,
    .tp_repr = (reprfunc)message_repr,
    .tp_getset = message_getset,
    .tp_methods = message_methods,
    .tp_as_buffer = &message_buffer,
};

static void source_dealloc(SourceObject *self) {
    Py_DECREF(self->ring);
    Py_DECREF(self->pattern);
    Py_XDECREF(self->group);
    Py_XDECREF(self->bells);
    PyObject_Free(self);
}

static PyObject *source_topic(SourceObject *self, void *which) {
    return Py_NewRef(which ? self->pattern : self->ring->topic);
}

static PyGetSetDef source_getset[] = {
    {"topic", (getter)source_topic, NULL, NULL, NULL},
    {"pattern", (getter)source_topic, NULL, NULL, (void *)1},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject SourceType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Source",
    .tp_doc = "A ring as one subscription sees it.",
    .tp_basicsize = sizeof(SourceObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)source_dealloc,
    .tp_getset = source_getset,
};
