/* The module: functions, constants, and what is made in Python. */
#include "binding.h"

#include <pthread.h>

#include "killpoint.h"

unsigned long fork_generation;
struct hooks hooks;
PyObject *attach_error;
_Thread_local PyObject *handling;

static void after_fork(void) { fork_generation++; }

static PyObject *crc(PyObject *args, uint32_t (*function)(uint32_t, const void *, size_t)) {
    Py_buffer data;
    unsigned int value = 0;
    if (!PyArg_ParseTuple(args, "y*|I", &data, &value))
        return NULL;
    uint32_t result = function(value, data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(result);
}

static PyObject *module_crc32c(PyObject *Py_UNUSED(module), PyObject *args) { return crc(args, shmbus_crc32c); }

static PyObject *module_crc32c_portable(PyObject *Py_UNUSED(module), PyObject *args) {
    return crc(args, shmbus_crc32c_portable);
}

static PyObject *module_crc32c_implementation(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return PyUnicode_FromString(shmbus_crc32c_name());
}

static PyObject *module_handling(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return Py_NewRef(handling ? handling : Py_None);
}

static PyObject *module_killpoint(PyObject *Py_UNUSED(module), PyObject *site) {
    const char *name = PyUnicode_AsUTF8(site);
    if (!name)
        return NULL;
    KILLPOINT(name);
    Py_RETURN_NONE;
}

#ifdef SHMBUS_KILLPOINTS
static PyObject *module_arm(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *site;
    unsigned int count = 1;
    if (!PyArg_ParseTuple(args, "z|I", &site, &count))
        return NULL;
    shmbus_killpoint_arm(site, count);
    Py_RETURN_NONE;
}
#endif

static PyObject *module_configure(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"make_gap", "make_producer", "make_time", "parse_envelope", "parse_event", "parsers", "context", NULL};
    struct hooks given = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOOOO!O", names, &given.make_gap, &given.make_producer,
                                     &given.make_time, &given.parse_envelope, &given.parse_event, &PyDict_Type, &given.parsers,
                                     &given.context))
        return NULL;
    if (!given.make_gap || !given.make_producer || !given.make_time || !given.parse_envelope || !given.parse_event ||
        !given.parsers || !given.context)
        return PyErr_Format(PyExc_TypeError, "configure() takes all of its arguments");
    Py_XSETREF(hooks.make_gap, Py_NewRef(given.make_gap));
    Py_XSETREF(hooks.make_producer, Py_NewRef(given.make_producer));
    Py_XSETREF(hooks.make_time, Py_NewRef(given.make_time));
    Py_XSETREF(hooks.parse_envelope, Py_NewRef(given.parse_envelope));
    Py_XSETREF(hooks.parse_event, Py_NewRef(given.parse_event));
    Py_XSETREF(hooks.parsers, Py_NewRef(given.parsers));
    Py_XSETREF(hooks.context, Py_NewRef(given.context));
    Py_RETURN_NONE;
}

static PyObject *module_watch_trace(PyObject *Py_UNUSED(module), PyObject *variable) {
    if (variable != Py_None && !PyContextVar_CheckExact(variable))
        return PyErr_Format(PyExc_TypeError, "watch_trace() takes a ContextVar or None");
    Py_XSETREF(hooks.trace, variable == Py_None ? NULL : Py_NewRef(variable));
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"crc32c", module_crc32c, METH_VARARGS, NULL},
    {"crc32c_portable", module_crc32c_portable, METH_VARARGS, NULL},
    {"crc32c_implementation", module_crc32c_implementation, METH_NOARGS, NULL},
    {"handling", module_handling, METH_NOARGS, NULL},
    {"killpoint", module_killpoint, METH_O, NULL},
    {"watch_trace", module_watch_trace, METH_O, NULL},
    {"restore", module_restore, METH_VARARGS, NULL},
    {"receive", module_receive, METH_VARARGS, NULL},
    {"send", module_send, METH_VARARGS, NULL},
#ifdef SHMBUS_KILLPOINTS
    {"arm_killpoint", module_arm, METH_VARARGS, NULL},
#endif
    {"configure", (PyCFunction)(void (*)(void))module_configure, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shmbus._core",
    .m_doc = "Rings, bells and sessions in shared memory.",
    .m_size = -1,
    .m_methods = module_methods,
};

bool writer_names(void);

static bool add_layouts(PyObject *module) {
    const struct shmbus_layout *all[] = {&shmbus_ring_layout, &shmbus_session_layout, &shmbus_bells_layout, &shmbus_group_layout};
    PyObject *layouts = PyDict_New();
    for (size_t i = 0; layouts && i < sizeof all / sizeof *all; i++) {
        PyObject *one = Py_BuildValue("II", all[i]->newest, all[i]->oldest);
        if (!one || PyDict_SetItemString(layouts, all[i]->kind, one) < 0)
            Py_CLEAR(layouts);
        Py_XDECREF(one);
    }
    bool added = layouts && PyModule_AddObjectRef(module, "LAYOUTS", layouts) == 0;
    Py_XDECREF(layouts);
    return added;
}

static bool fill(PyObject *module) {
    PyTypeObject *types[] = {&ClosingType, &RingType, &BellsType, &SessionType, &SourceType, &MessageHeadType, &MessageType, &WriterType, &ReaderType, &WaiterType,
                             &GroupType, &BorrowedType, &BudgetType, &GuardType, &ParcelType};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return false;
    struct { const char *name; long value; } numbers[] = {
        {"MAX_PRODUCERS", SHMBUS_MAX_PRODUCERS}, {"SEALER", SHMBUS_SEALER},
        {"FRAME_HEADER_BYTES", sizeof(struct shmbus_frame)}, {"UNIT", SHMBUS_UNIT}, {"KIND_RAW", SHMBUS_KIND_RAW},
        {"KIND_EVENT", SHMBUS_KIND_EVENT}, {"KIND_TYPED", SHMBUS_KIND_TYPED}, {"OK", SHMBUS_OK}, {"FULL", SHMBUS_FULL},
        {"SEALED", SHMBUS_SEALED}, {"CORRUPT", SHMBUS_CORRUPT}, {"TOO_LARGE", SHMBUS_TOO_LARGE}, {"REVOKED", SHMBUS_REVOKED},
        {"UNKNOWN_SESSION", SHMBUS_UNKNOWN_SESSION}, {"BY_GATE", SHMBUS_BY_GATE}, {"BY_CLAIM", SHMBUS_BY_CLAIM},
        {"BY_SKIPPED", SHMBUS_BY_SKIPPED}, {"MEMBERS", SHMBUS_MEMBERS}, {"MAX_WINDOW", SHMBUS_MAX_WINDOW},
        {"MAX_TRIES", SHMBUS_MAX_TRIES}, {"GROUP_RECORD_BYTES", SHMBUS_GROUP_RECORD - 4}, {"MAX_NUMBER", SHMBUS_MAX_NUMBER},
        {"KEY_BYTES", KEY_BYTES},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (PyModule_AddIntConstant(module, numbers[i].name, numbers[i].value) < 0)
            return false;
#ifdef SHMBUS_KILLPOINTS
    PyObject *sites = PyList_New(0);
    for (const char *const *site = shmbus_killpoint_sites; sites && *site; site++) {
        PyObject *name = PyUnicode_FromString(*site);
        if (!name || PyList_Append(sites, name) < 0)
            return false;
        Py_DECREF(name);
    }
    if (PyModule_AddObjectRef(module, "KILLPOINTS", sites) < 0)
        return false;
#endif
    PyObject *defaults = Py_BuildValue("{s:s,s:i,s:(ii)}", "reason", "corrupt", "layout", 0, "known", 0, 0);
    attach_error = PyErr_NewExceptionWithDoc("shmbus._core.AttachError", "What was mapped is not the expected segment.", NULL,
                                             defaults);
    Py_XDECREF(defaults);
    return attach_error && add_layouts(module) && PyModule_AddObjectRef(module, "AttachError", attach_error) == 0 && writer_names();
}

PyMODINIT_FUNC PyInit__core(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module || !fill(module) || pthread_atfork(NULL, NULL, after_fork) != 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
