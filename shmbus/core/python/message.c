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
    return Py_NewRef(self->source->topic);
}

static PyObject *message_type_name(MessageObject *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->source->type_name);
}

static PyObject *message_lane(MessageObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(self->source->topic_lane);
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

int next_field(const unsigned char **at, const unsigned char *end, struct field *field) {
    uint64_t tag, size;
    if (*at >= end)
        return 0;
    if (!varint(at, end, &tag))
        return -1;
    *field = (struct field){.number = tag >> 3, .is_varint = (tag & 7) == 0};
    switch (tag & 7) {
    case 0: return varint(at, end, &field->value) ? 1 : -1;
    case 1: size = 8; break;
    case 5: size = 4; break;
    case 2:
        if (!varint(at, end, &size))
            return -1;
        break;
    default: return -1;
    }
    if (size > (uint64_t)(end - *at))
        return -1;
    if ((tag & 7) == 2) {
        field->from = *at;
        field->to = *at + size;
    }
    *at += size;
    return 1;
}

/* The only length-delimited field of the wanted kind in [at, end). 1 found, 0 absent, -1 repeated or malformed. */
static int sole_field(const unsigned char *at, const unsigned char *end, uint64_t lowest, uint64_t highest, uint64_t *number,
                      const unsigned char **from, const unsigned char **to) {
    int more, found = 0;
    struct field field;
    while ((more = next_field(&at, end, &field)) > 0) {
        if (!field.from || field.number < lowest || field.number > highest)
            continue;
        if (found)
            return -1;
        found = 1;
        *number = field.number;
        *from = field.from;
        *to = field.to;
    }
    return more < 0 ? -1 : found;
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

/* The key: the last one, as protobuf merges the metadata of an envelope that was written in pieces. None for a message that
 * has none, or one that no publisher of ours writes. */
PyObject *key_in(const unsigned char *data, Py_ssize_t length, uint8_t kind) {
    const unsigned char *from = data, *end = data + length, *key = NULL;
    uint64_t key_length = 0;
    struct field field, inner;
    if (kind != SHMBUS_KIND_EVENT)
        Py_RETURN_NONE;
    while (next_field(&from, end, &field) > 0) {
        const unsigned char *at = field.from;
        while (field.number == 1 && field.from && next_field(&at, field.to, &inner) > 0)
            if (inner.number == KEY_FIELD && inner.from) {
                key = inner.from;
                key_length = (uint64_t)(inner.to - inner.from);
            }
    }
    if (!key || !key_length || key_length > KEY_BYTES)
        Py_RETURN_NONE;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)key, (Py_ssize_t)key_length, "strict");
    if (text || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return text;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *message_locate(MessageObject *self, PyObject *Py_UNUSED(none)) {
    return locate_event(self->payload, Py_SIZE(self));
}

static PyObject *message_key(MessageObject *self, void *Py_UNUSED(closure)) {
    return key_in(self->payload, Py_SIZE(self), self->frame.kind);
}

static PyObject *message_frame(MessageObject *self, void *Py_UNUSED(closure)) {
    return PyBytes_FromStringAndSize((const char *)&self->frame, sizeof self->frame);
}

static uint32_t checksum(struct shmbus_frame frame, const void *payload) {
    frame.crc32c = 0;
    return shmbus_crc32c(shmbus_crc32c(0, &frame, sizeof frame), payload, frame.length);
}

/* A message that was kept: its frame's header and its payload, of which the checksum is checked again. */
PyObject *module_restore(PyObject *Py_UNUSED(module), PyObject *args) {
    SourceObject *source;
    Py_buffer header, payload;
    PyObject *producer;
    struct shmbus_frame frame;
    if (!PyArg_ParseTuple(args, "O!y*y*O", &SourceType, &source, &header, &payload, &producer))
        return NULL;
    MessageObject *self = NULL;
    bool sized = header.len == (Py_ssize_t)sizeof frame;
    if (sized)
        memcpy(&frame, header.buf, sizeof frame);
    if (!sized || (Py_ssize_t)frame.length != payload.len || checksum(frame, payload.buf) != frame.crc32c)
        PyErr_SetString(PyExc_ValueError, "the payload is not that of the frame");
    else if ((self = message_new(source, frame.length))) {
        self->frame = frame;
        self->producer = Py_NewRef(producer);
        memcpy(self->payload, payload.buf, frame.length);
    }
    PyBuffer_Release(&header);
    PyBuffer_Release(&payload);
    return (PyObject *)self;
}

static int message_getbuffer(MessageObject *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->payload, Py_SIZE(self), 1, flags);
}

static PyObject *message_repr(MessageObject *self) {
    return PyUnicode_FromFormat("<Message %U #%llu, %zd bytes>", self->source->topic,
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
    {"key", (getter)message_key, NULL, NULL, NULL},
    {"_frame", (getter)message_frame, NULL, NULL, NULL},
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

/* Of messages that were kept. */
static PyObject *source_make(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"topic", "type_name", "lane", "pattern", NULL};
    PyObject *topic, *type_name, *pattern;
    unsigned int lane;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "UUIU", names, &topic, &type_name, &lane, &pattern))
        return NULL;
    SourceObject *self = PyObject_New(SourceObject, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->topic = Py_NewRef(topic);
    self->type_name = Py_NewRef(type_name);
    self->pattern = Py_NewRef(pattern);
    self->topic_lane = lane;
    return (PyObject *)self;
}

static void source_dealloc(SourceObject *self) {
    Py_XDECREF(self->ring);
    Py_DECREF(self->topic);
    Py_DECREF(self->type_name);
    Py_DECREF(self->pattern);
    Py_XDECREF(self->group);
    Py_XDECREF(self->bells);
    PyObject_Free(self);
}

static PyObject *source_topic(SourceObject *self, void *which) {
    return Py_NewRef(which ? self->pattern : self->topic);
}

static PyGetSetDef source_getset[] = {
    {"topic", (getter)source_topic, NULL, NULL, NULL},
    {"pattern", (getter)source_topic, NULL, NULL, (void *)1},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject SourceType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Source",
    .tp_doc = "A ring as one subscription sees it; or a topic, of which messages were kept.",
    .tp_basicsize = sizeof(SourceObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = source_make,
    .tp_dealloc = (destructor)source_dealloc,
    .tp_getset = source_getset,
};
