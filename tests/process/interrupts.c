/* A signal that becomes pending before the n-th instruction of some code. The interpreter runs its handler wherever it would
 * run one that came at that moment: at its own next look for signals, in a call of C or between two instructions.
 *
 *     arm(prefix, n, signal)   counts the instructions of this thread in files whose name begins so, from now on
 *     disarm()                 ends that; how many there were
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

static const char *prefix;
static unsigned long long count, at;
static int number;

static int step(PyObject *Py_UNUSED(self), PyFrameObject *frame, int what, PyObject *Py_UNUSED(argument)) {
    if (what == PyTrace_CALL) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        const char *name = PyUnicode_AsUTF8(code->co_filename);
        int ours = name && strncmp(name, prefix, strlen(prefix)) == 0;
        Py_DECREF(code);
        return name && (!ours || PyObject_SetAttrString((PyObject *)frame, "f_trace_opcodes", Py_True) == 0) ? 0 : -1;
    }
    if (what == PyTrace_OPCODE && ++count == at)
        PyErr_SetInterruptEx(number);
    return 0;
}

static PyObject *arm(PyObject *Py_UNUSED(module), PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "sKi", &prefix, &at, &number))
        return NULL;
    prefix = strdup(prefix);
    count = 0;
    PyEval_SetTrace(step, NULL);
    Py_RETURN_NONE;
}

static PyObject *disarm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    PyEval_SetTrace(NULL, NULL);
    return PyLong_FromUnsignedLongLong(count);
}

static PyMethodDef methods[] = {
    {"arm", arm, METH_VARARGS, NULL},
    {"disarm", disarm, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "interrupts", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_interrupts(void) { return PyModule_Create(&definition); }
