/* How readers wait: spinning as long as that pays, then asleep on the words that publishers ring; and Waiter, which sleeps
 * for many of them. */
#include "reader.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

enum {
    SPIN_HOLDING_NS = 5000, /* of a spin, before the GIL is let go */
    PAUSES_MAX = 16,
    WORDS_FOR_RINGS = SHMBUS_MAX_WAIT - 2,
};

/* When an order has something to do although nothing comes; UINT64_MAX: never. */
static uint64_t due_ns(const ReaderObject *self) {
    return self->blocked ? self->look_at_ns : correlated_due(self);
}

bool entry_has_something(Entry *entry) {
    if (entry->source->group)
        return group_has_something(entry);
    struct shmbus_view view;
    enum shmbus_result result = shmbus_peek(&entry->ring->ring, entry->position, &view);
    return result != SHMBUS_EMPTY && result != SHMBUS_BUSY && !(result == SHMBUS_SEALED && entry->sealed);
}

bool reader_has_attention(const ReaderObject *self) {
    return atomic_load_explicit(self->attention, memory_order_seq_cst) >> 1 != self->attention_seen;
}

bool reader_has_something(ReaderObject *self) {
    if (reader_has_attention(self) || self->closed || self->pending || self->told || self->first)
        return true;
    uint64_t due = due_ns(self);
    if (due != UINT64_MAX && shmbus_now_ns() >= due)
        return true;
    for (uint32_t i = 0; i < self->count; i++)
        if (entry_has_something(&self->entries[i]))
            return !self->by_producer || merge_has_something(self);
    return false;
}

/* Watch the rings for a while. No system call, no GIL after the first microseconds. */
static bool spin_until(ReaderObject *self, uint64_t until_ns) {
    unsigned looks = 0;
    do {
        for (int i = 0; i < 16; i++) {
            if (reader_has_something(self))
                return true;
            /* The longer it takes the rarer the looks: a publisher that shares the core gets more of it. */
            unsigned pauses = 1 + looks++ / 32;
            for (pauses = pauses < PAUSES_MAX ? pauses : PAUSES_MAX; pauses; pauses--)
                cpu_relax();
        }
    } while (shmbus_now_ns() < until_ns);
    return false;
}

/* Those that this process may use: with one, spinning keeps the other side from it. Unless that has another, which an eager
 * reader finds out by trying: then those that there are. */
static long processors(bool all) {
    static long own, online;
    cpu_set_t set;
    if (!own) {
        own = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
        online = sysconf(_SC_NPROCESSORS_ONLN);
    }
    return all ? online : own;
}

static bool spin(ReaderObject *self) {
    if (processors(self->spin.eager) == 1)
        return reader_has_something(self);
    uint64_t now = shmbus_now_ns(), budget = self->spin.budget_ns;
    bool found = spin_until(self, now + (budget < SPIN_HOLDING_NS ? budget : SPIN_HOLDING_NS));
    if (!found && budget > SPIN_HOLDING_NS) {
        Py_BEGIN_ALLOW_THREADS
        found = spin_until(self, now + budget);
        Py_END_ALLOW_THREADS
    }
    /* One that was found too late was found by luck: somebody else had the processor meanwhile. */
    bool paid = found && (!shmbus_spin_is_long(&self->spin) || shmbus_now_ns() - now <= budget);
    shmbus_spin_ended(&self->spin, paid);
    return found;
}

void reader_words(PyObject *object, _Atomic uint32_t **words, uint32_t *count, uint32_t capacity) {
    ReaderObject *self = (ReaderObject *)object;
    bool each = *count + self->count + 1 <= capacity;
    words[(*count)++] = self->attention;
    if (!each)
        words[(*count)++] = &self->bells->bells[0].data; /* too many to wait on: the word that every publisher rings */
    for (uint32_t i = 0; each && i < self->count; i++)
        words[(*count)++] = self->entries[i].data_bell;
}

int reader_ready(PyObject *object) {
    uint64_t now = shmbus_now_ns();
    if (now >= ((ReaderObject *)object)->next_look_ns)
        group_look_after((ReaderObject *)object, now);
    return reader_has_something((ReaderObject *)object);
}

bool reader_look_at_stuck(ReaderObject *self, uint64_t now_ns) {
    for (uint32_t i = 0; i < self->count; i++) {
        Entry *entry = &self->entries[i];
        struct shmbus_view view;
        if (shmbus_peek(&entry->ring->ring, entry->position, &view) != SHMBUS_BUSY)
            continue;
        if (entry->busy_word_since_ns == 0)
            entry->busy_word_since_ns = now_ns;
        uint64_t word = atomic_load_explicit(&entry->ring->ring.slots[entry->position & entry->ring->ring.slot_mask].word,
                                             memory_order_relaxed);
        PyObject *answer = PyObject_CallMethod((PyObject *)self, "_stuck", "OKIK", entry->ring,
                                               (unsigned long long)entry->position, word_producer(word),
                                               (unsigned long long)(now_ns - entry->busy_word_since_ns));
        if (!answer)
            return false;
        bool step_over = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (self->closed || i >= self->count)
            return true;
        entry = &self->entries[i];
        if (step_over && shmbus_peek(&entry->ring->ring, entry->position, &view) == SHMBUS_BUSY) {
            if (!entry->source->group)
                add_to(&entry->cursor->stepped, 1);
            else if (!group_step_over(entry)) /* stays the next one, or nobody here would ever settle it */
                continue;
            reader_place(entry, entry->position + 1);
            entry->busy_word_since_ns = 0;
        }
    }
    return true;
}

bool reader_wait(ReaderObject *self, uint64_t deadline_ns) {
    if (spin(self))
        return true;
    _Atomic uint32_t *words[SHMBUS_MAX_WAIT];
    uint32_t expected[SHMBUS_MAX_WAIT], count = 0;
    reader_words((PyObject *)self, words, &count, WORDS_FOR_RINGS);
    for (uint32_t i = 0; i < count; i++)
        expected[i] = shmbus_bell_arm(words[i]);
    if (reader_has_something(self)) /* see bell.c: after arming, so that no message falls between */
        return true;
    uint64_t begun = shmbus_now_ns(), bound = begun + SLEEP_BOUND_NS, due = due_ns(self);
    uint64_t until = deadline_ns < bound ? deadline_ns : bound;
    until = due < until ? due : until;
    Py_BEGIN_ALLOW_THREADS
    shmbus_bell_wait(words, expected, count, until);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0)
        return false;
    uint64_t now = shmbus_now_ns();
    shmbus_spin_slept(&self->spin, now - begun);
    if (now >= bound)
        group_look_after(self, now);
    return now < until || reader_look_at_stuck(self, now); /* whoever waits for less than the bound at a time looks, too */
}

/* ---- Waiter -------------------------------------------------------------------------------------------------------- */

/* Sleeps for all subscriptions of an event loop, in a thread of its own, until one of them has something. */
typedef struct {
    PyObject_HEAD
    _Atomic uint32_t kick;
} WaiterObject;

static PyObject *waiter_kick(WaiterObject *self, PyObject *Py_UNUSED(none)) {
    shmbus_bell_signal(&self->kick);
    Py_RETURN_NONE;
}

static bool sleeper_ready(PyObject *item) {
    return PyObject_TypeCheck(item, &ReaderType) ? reader_ready(item) : writer_ready(item);
}

static PyObject *waiter_wait(WaiterObject *self, PyObject *args) {
    PyObject *sleepers;
    double timeout;
    if (!PyArg_ParseTuple(args, "O!d", &PyList_Type, &sleepers, &timeout))
        return NULL;
    _Atomic uint32_t *words[SHMBUS_MAX_WAIT];
    uint32_t expected[SHMBUS_MAX_WAIT], count = 0;
    Py_ssize_t number = PyList_GET_SIZE(sleepers), covered = 0;
    words[count++] = &self->kick;
    for (; covered < number && count + 2 < SHMBUS_MAX_WAIT; covered++) {
        PyObject *item = PyList_GET_ITEM(sleepers, covered);
        if (PyObject_TypeCheck(item, &ReaderType))
            reader_words(item, words, &count, WORDS_FOR_RINGS);
        else if (PyObject_TypeCheck(item, &WriterType))
            words[count++] = writer_word(item);
        else
            return PyErr_Format(PyExc_TypeError, "wait() takes readers and writers, not %R", item);
    }
    for (uint32_t i = 0; i < count; i++)
        expected[i] = shmbus_bell_arm(words[i]);
    /* More sleepers than words: the rest is looked at every millisecond. */
    uint64_t until = shmbus_now_ns() + (uint64_t)((covered < number && timeout > 0.001 ? 0.001 : timeout) * 1e9);
    bool found = false;
    for (Py_ssize_t i = 0; i < number && !found; i++) {
        PyObject *item = PyList_GET_ITEM(sleepers, i);
        uint64_t due = PyObject_TypeCheck(item, &ReaderType) ? due_ns((ReaderObject *)item) : UINT64_MAX;
        until = due < until ? due : until;
        found = sleeper_ready(item);
    }
    if (!found) {
        Py_BEGIN_ALLOW_THREADS
        shmbus_bell_wait(words, expected, count, until);
        Py_END_ALLOW_THREADS
    }
    PyObject *ready = PyList_New(0);
    for (Py_ssize_t i = 0; ready && i < PyList_GET_SIZE(sleepers); i++) {
        PyObject *item = PyList_GET_ITEM(sleepers, i);
        if (sleeper_ready(item) && PyList_Append(ready, item) < 0)
            Py_CLEAR(ready);
    }
    return ready;
}

static void waiter_dealloc(WaiterObject *self) {
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef waiter_methods[] = {
    {"kick", (PyCFunction)waiter_kick, METH_NOARGS, NULL},
    {"wait", (PyCFunction)waiter_wait, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject WaiterType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "shmbus._core.Waiter",
    .tp_doc = "Sleeps for many readers at once.",
    .tp_basicsize = sizeof(WaiterObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)waiter_dealloc,
    .tp_methods = waiter_methods,
};
