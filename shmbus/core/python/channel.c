/* What a client says and hears on its control socket, so that no signal handler comes between the kernel and a list.
 *
 * A handler runs, and may raise, wherever the interpreter looks for signals: after each call, for one. What recvmsg() gave is
 * gone from the socket by then, and a descriptor is only a number. Here it stands in the list, with its descriptors owned,
 * before anything of Python runs; and what the socket says comes back as a number, so that an exception is the handler's. */
#include "binding.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 16, HUNG_UP = -1 };

typedef struct {
    PyObject_HEAD
    PyObject *data;    /* bytes */
    PyObject *content; /* what it was parsed into; None before */
    bool cut;          /* more came than there was room for */
    int count, taken, descriptors[MOST_DESCRIPTORS];
} ParcelObject;

static PyObject *parcel_close(ParcelObject *self, PyObject *Py_UNUSED(none)) {
    while (self->taken < self->count)
        close(self->descriptors[self->taken++]);
    Py_RETURN_NONE;
}

static void parcel_dealloc(ParcelObject *self) {
    Py_DECREF(parcel_close(self, NULL));
    Py_XDECREF(self->data);
    Py_XDECREF(self->content);
    Py_TYPE(self)->tp_free(self);
}

static ParcelObject *parcel_new(Py_ssize_t room) {
    ParcelObject *self = PyObject_New(ParcelObject, &ParcelType);
    if (!self)
        return NULL;
    self->cut = false;
    self->count = self->taken = 0;
    self->content = Py_NewRef(Py_None);
    if (!(self->data = PyBytes_FromStringAndSize(NULL, room)))
        Py_CLEAR(self);
    return self;
}

static PyObject *parcel_make(PyTypeObject *Py_UNUSED(type), PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    return (PyObject *)parcel_new(0);
}

static PyObject *parcel_take(ParcelObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromLong(self->taken < self->count ? self->descriptors[self->taken++] : -1);
}

static PyObject *parcel_peek(ParcelObject *self, PyObject *place) {
    long at = PyLong_AsLong(place);
    if (at == -1 && PyErr_Occurred())
        return NULL;
    if (at < 0)
        at += self->count - self->taken;
    return PyLong_FromLong(at >= 0 && at < self->count - self->taken ? self->descriptors[self->taken + at] : -1);
}

static Py_ssize_t parcel_length(ParcelObject *self) { return self->count - self->taken; }

/* In milliseconds from now, rounded up, for poll(). */
static int until(uint64_t deadline_ns) {
    uint64_t now = shmbus_now_ns(), most = SLEEP_BOUND_NS; /* a signal that comes right before poll() does not end it */
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    return (int)(((left < most ? left : most) + 999999) / 1000000);
}

/* 0: it may be tried again; an error number, ETIMEDOUT after the deadline; -1 with the exception that a handler raised. */
static int channel_wait(int channel, short events, uint64_t deadline_ns) {
    int found, number, left = until(deadline_ns);
    if (!left)
        return ETIMEDOUT;
    struct pollfd one = {.fd = channel, .events = events};
    Py_BEGIN_ALLOW_THREADS
    found = poll(&one, 1, left);
    number = errno;
    Py_END_ALLOW_THREADS
    if (found < 0 && number != EINTR)
        return number;
    return PyErr_CheckSignals() < 0 ? -1 : 0;
}

static bool given_deadline(double seconds, uint64_t *deadline_ns) {
    if (!(seconds < 1e9)) {
        PyErr_Format(PyExc_ValueError, "a timeout is less than 1e9 seconds");
        return false;
    }
    *deadline_ns = seconds > 0 ? shmbus_now_ns() + (uint64_t)(seconds * 1e9) : 0;
    return true;
}

static void parcel_own(ParcelObject *self, struct msghdr *message) {
    for (struct cmsghdr *one = CMSG_FIRSTHDR(message); one; one = CMSG_NXTHDR(message, one)) {
        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(one) + i * sizeof(int), sizeof descriptor);
            if (self->count < MOST_DESCRIPTORS)
                self->descriptors[self->count++] = descriptor;
            else
                close(descriptor);
        }
    }
    self->cut = message->msg_flags & (MSG_TRUNC | MSG_CTRUNC);
}

/* 0: in the list; an error number; HUNG_UP; -2 with an exception, and what came is in the parcel, or still in the socket. */
static int receive(int channel, ParcelObject *parcel, PyObject *into) {
    union {
        char bytes[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
        struct cmsghdr aligned;
    } beside;
    struct iovec part = {PyBytes_AS_STRING(parcel->data), (size_t)PyBytes_GET_SIZE(parcel->data)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &beside, .msg_controllen = sizeof beside};
    ssize_t length = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); /* does not wait, so it keeps the GIL */
    if (length < 0)
        return errno;
    parcel_own(parcel, &message);
    if (!length && !parcel->count)
        return HUNG_UP;
    if (_PyBytes_Resize(&parcel->data, length) < 0 || PyList_Append(into, (PyObject *)parcel) < 0)
        return -2;
    return 0;
}

PyObject *module_receive(PyObject *Py_UNUSED(module), PyObject *args) {
    int channel, result;
    Py_ssize_t most;
    double timeout;
    uint64_t deadline_ns;
    PyObject *into;
    if (!PyArg_ParseTuple(args, "iO!nd", &channel, &PyList_Type, &into, &most, &timeout) || !given_deadline(timeout, &deadline_ns))
        return NULL;
    ParcelObject *parcel = parcel_new(most);
    if (!parcel)
        return NULL;
    while ((result = receive(channel, parcel, into)) == EAGAIN || result == EINTR) {
        int waited = channel_wait(channel, POLLIN, deadline_ns);
        if (waited) {
            result = waited < 0 ? -2 : waited;
            break;
        }
    }
    Py_DECREF(parcel);
    return result == -2 ? NULL : PyLong_FromLong(result);
}

PyObject *module_send(PyObject *Py_UNUSED(module), PyObject *args) {
    int channel, beside, result;
    double timeout;
    uint64_t deadline_ns = 0;
    Py_buffer data;
    PyObject *sent, *number;
    if (!PyArg_ParseTuple(args, "iy*idO!O", &channel, &data, &beside, &timeout, &PyList_Type, &sent, &number))
        return NULL;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control = {{0}};
    struct iovec part = {data.buf, (size_t)data.len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (beside >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.aligned.cmsg_level = SOL_SOCKET;
        control.aligned.cmsg_type = SCM_RIGHTS;
        control.aligned.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.aligned), &beside, sizeof beside);
    }
    bool fine = given_deadline(timeout, &deadline_ns);
    for (result = 0; fine && !result;) {
        if (sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
            fine = PyList_Append(sent, number) == 0;
            break;
        }
        result = errno;
        if (result == EAGAIN || result == EINTR) {
            int waited = channel_wait(channel, POLLOUT, deadline_ns);
            fine = waited >= 0;
            result = waited;
        }
    }
    PyBuffer_Release(&data);
    return fine ? PyLong_FromLong(result) : NULL;
}

static PyObject *parcel_data(ParcelObject *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->data); }

static PyObject *parcel_cut(ParcelObject *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->cut); }

static PyObject *parcel_content(ParcelObject *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->content); }

static int parcel_set_content(ParcelObject *self, PyObject *value, void *Py_UNUSED(closure)) {
    Py_XSETREF(self->content, Py_NewRef(value ? value : Py_None));
    return 0;
}

static PyGetSetDef parcel_getset[] = {
    {"data", (getter)parcel_data, NULL, NULL, NULL},
    {"cut", (getter)parcel_cut, NULL, NULL, NULL},
    {"content", (getter)parcel_content, (setter)parcel_set_content, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef parcel_methods[] = {
    {"take", (PyCFunction)parcel_take, METH_NOARGS, NULL},
    {"peek", (PyCFunction)parcel_peek, METH_O, NULL},
    {"close", (PyCFunction)parcel_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PySequenceMethods parcel_sequence = {.sq_length = (lenfunc)parcel_length};

PyTypeObject ParcelType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Parcel",
    .tp_doc = "One packet as it came, with the descriptors beside it, which are closed with it.",
    .tp_basicsize = sizeof(ParcelObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = parcel_make,
    .tp_dealloc = (destructor)parcel_dealloc,
    .tp_getset = parcel_getset,
    .tp_methods = parcel_methods,
    .tp_as_sequence = &parcel_sequence,
};
