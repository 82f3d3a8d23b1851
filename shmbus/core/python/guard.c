/* What a signal handler that raises must not split: a lock from the block that it guards, and the end of a `with` block from
 * what closes it.
 *
 * The interpreter looks for signals when a function of Python begins, so an `__enter__` or an `__exit__` in Python may have
 * been called and have done nothing. One in C is called, and done: a handler runs before it, inside the block, or after it. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    PyObject *lock;  /* a threading.RLock */
    PyObject *later; /* list of callables: for whoever leaves the lock */
    Py_ssize_t depth;
} GuardObject;

enum insistence { AT_ONCE, INTERRUPTED, FAILED };

/* Once more if it raised: nothing but a handler raises in the middle of what is called here, and all of that goes on where it
 * was left. What it raised first is left set. */
static enum insistence insist(PyObject *what, const char *method) {
    PyObject *kind, *error, *trace;
    PyObject *answer = method ? PyObject_CallMethod(what, method, NULL) : PyObject_CallNoArgs(what);
    if (answer) {
        Py_DECREF(answer);
        return AT_ONCE;
    }
    PyErr_Fetch(&kind, &error, &trace);
    answer = method ? PyObject_CallMethod(what, method, NULL) : PyObject_CallNoArgs(what);
    enum insistence came = answer ? INTERRUPTED : FAILED;
    Py_XDECREF(answer);
    PyErr_Restore(kind, error, trace); /* of two the first counts */
    return came;
}

static PyObject *guard_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "", names))
        return NULL;
    GuardObject *self = (GuardObject *)type->tp_alloc(type, 0);
    PyObject *threading = self ? PyImport_ImportModule("threading") : NULL;
    if (threading) {
        self->lock = PyObject_CallMethod(threading, "RLock", NULL);
        self->later = PyList_New(0);
        Py_DECREF(threading);
    }
    if (self && (!self->lock || !self->later))
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int guard_traverse(GuardObject *self, visitproc visit, void *arg) {
    Py_VISIT(self->lock);
    Py_VISIT(self->later);
    return 0;
}

static int guard_clear(GuardObject *self) {
    Py_CLEAR(self->later);
    Py_CLEAR(self->lock);
    return 0;
}

static void guard_dealloc(GuardObject *self) {
    PyObject_GC_UnTrack(self);
    guard_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* Holding the lock once. Of what is raised the first is kept. */
static void do_what_is_due(GuardObject *self) {
    PyObject *kind = NULL, *error = NULL, *trace = NULL;
    while (self->later && PyList_GET_SIZE(self->later)) {
        PyObject *what = Py_NewRef(PyList_GET_ITEM(self->later, 0));
        if (PyList_SetSlice(self->later, 0, 1, NULL) == 0)
            insist(what, NULL);
        Py_DECREF(what);
        if (!PyErr_Occurred())
            continue;
        if (kind)
            PyErr_Clear();
        else
            PyErr_Fetch(&kind, &error, &trace);
    }
    PyErr_Restore(kind, error, trace);
}

static void release(GuardObject *self) {
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyObject *answer = PyObject_CallMethod(self->lock, "release", NULL);
    Py_XDECREF(answer);
    if (answer || kind)
        PyErr_Restore(kind, error, trace);
}

/* Unless somebody is inside, who does it then. */
static bool try_what_is_due(GuardObject *self) {
    while (PyList_GET_SIZE(self->later) && !PyErr_Occurred()) {
        PyObject *got = PyObject_CallMethod(self->lock, "acquire", "O", Py_False);
        if (!got || got == Py_False) {
            Py_XDECREF(got);
            break;
        }
        Py_DECREF(got);
        bool alone = self->depth == 0; /* else it is this thread that is inside */
        if (alone) {
            self->depth = 1;
            do_what_is_due(self);
            self->depth = 0;
        }
        release(self);
        if (!alone)
            break;
    }
    return !PyErr_Occurred();
}

static PyObject *guard_enter(GuardObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *answer = PyObject_CallMethod(self->lock, "acquire", NULL); /* raises what a handler raises, and is not taken */
    if (!answer)
        return NULL;
    Py_DECREF(answer);
    self->depth++;
    Py_RETURN_NONE;
}

static PyObject *guard_exit(GuardObject *self, PyObject *Py_UNUSED(raised)) {
    if (self->depth == 1)
        do_what_is_due(self);
    self->depth--;
    release(self);
    if (!PyErr_Occurred() && !try_what_is_due(self)) /* came from another thread since */
        return NULL;
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *guard_soon(GuardObject *self, PyObject *what) {
    if (PyList_Append(self->later, what) < 0 || !try_what_is_due(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef guard_methods[] = {
    {"__enter__", (PyCFunction)guard_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)guard_exit, METH_VARARGS, NULL},
    {"soon", (PyCFunction)guard_soon, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject GuardType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Guard",
    .tp_doc = "A re-entrant lock, and what is to be done when it is free.",
    .tp_basicsize = sizeof(GuardObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = guard_new,
    .tp_traverse = (traverseproc)guard_traverse,
    .tp_clear = (inquiry)guard_clear,
    .tp_dealloc = (destructor)guard_dealloc,
    .tp_methods = guard_methods,
};

static PyObject *closing_enter(PyObject *self, PyObject *Py_UNUSED(none)) { return Py_NewRef(self); }

static PyObject *closing_exit(PyObject *self, PyObject *Py_UNUSED(raised)) {
    return insist(self, "close") == AT_ONCE ? Py_NewRef(Py_None) : NULL;
}

/* Called by the interpreter in the main thread, as soon as it looks for signals again. */
static int raise_there(void *error) {
    PyErr_SetObject((PyObject *)Py_TYPE((PyObject *)error), error);
    Py_DECREF((PyObject *)error);
    return -1;
}

/* A finalizer raises nothing, and a Ctrl-C that came in its midst must not be swallowed by it. */
void closing_finalize(PyObject *self) {
    PyObject *kind, *error, *trace, *own_kind, *own, *own_trace;
    PyErr_Fetch(&kind, &error, &trace);
    enum insistence came = insist(self, "close");
    if (came != AT_ONCE) {
        PyErr_Fetch(&own_kind, &own, &own_trace);
        PyErr_NormalizeException(&own_kind, &own, &own_trace);
        if (came == INTERRUPTED && own && Py_AddPendingCall(raise_there, own) == 0) {
            Py_XDECREF(own_kind);
            Py_XDECREF(own_trace);
        } else {
            PyErr_Restore(own_kind, own, own_trace);
            PyErr_WriteUnraisable(self);
        }
    }
    PyErr_Restore(kind, error, trace);
}

/* Of what has nothing to be closed; others have a `close` of their own. */
static PyObject *closing_close(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) { Py_RETURN_NONE; }

static PyMethodDef closing_methods[] = {
    {"close", closing_close, METH_NOARGS, NULL},
    {"__enter__", closing_enter, METH_NOARGS, NULL},
    {"__exit__", closing_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject ClosingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Closing",
    .tp_doc = "What leaving its `with` block closes, whatever a signal handler raises at that moment.",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_methods = closing_methods,
};
