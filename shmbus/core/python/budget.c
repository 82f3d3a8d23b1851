/* Budget: what one client may publish to one topic. Its publishers share it; whoever uses it holds the interpreter. */
#include "binding.h"

enum { WINDOW_NS = 1000000000, LEAST_NS = 1000000 };

static int budget_init(BudgetObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"messages_per_second", "bytes_per_second", NULL};
    unsigned long long messages, bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KK", names, &messages, &bytes))
        return -1;
    self->budget.messages.per_second = messages;
    self->budget.bytes.per_second = bytes;
    return 0;
}

void budget_spend(BudgetObject *self, uint64_t now_ns, uint64_t bytes) {
    shmbus_budget_spend(&self->budget, now_ns, bytes);
    if (now_ns - self->now.since_ns >= WINDOW_NS) {
        self->before = now_ns - self->now.since_ns < 2 * (uint64_t)WINDOW_NS ? self->now : (struct window){now_ns, 0, 0};
        self->now = (struct window){now_ns, 0, 0};
    }
    self->now.messages++;
    self->now.bytes += bytes;
}

/* Over the last second or two; since it began if that was not so long ago. */
static PyObject *budget_present(BudgetObject *self, PyObject *Py_UNUSED(none)) {
    uint64_t elapsed = shmbus_now_ns() - self->before.since_ns;
    double seconds = (double)(elapsed > LEAST_NS ? elapsed : LEAST_NS) / 1e9;
    return Py_BuildValue("dd", (double)(self->before.messages + self->now.messages) / seconds,
                         (double)(self->before.bytes + self->now.bytes) / seconds);
}

static PyObject *budget_messages(BudgetObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->budget.messages.per_second);
}

static PyObject *budget_bytes(BudgetObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->budget.bytes.per_second);
}

static PyGetSetDef budget_getset[] = {
    {"messages_per_second", (getter)budget_messages, NULL, NULL, NULL},
    {"bytes_per_second", (getter)budget_bytes, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef budget_methods[] = {
    {"present", (PyCFunction)budget_present, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject BudgetType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Budget",
    .tp_doc = "What one client may publish to one topic, on average.",
    .tp_basicsize = sizeof(BudgetObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)budget_init,
    .tp_getset = budget_getset,
    .tp_methods = budget_methods,
};
