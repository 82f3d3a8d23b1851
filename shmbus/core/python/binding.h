/* What the files of the binding share. The binding is thin: it owns mappings, turns results into objects, and waits. */
#ifndef SHMBUS_BINDING_H
#define SHMBUS_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layout.h"

/* Grows in every forked child; an object made before the fork refuses to work in the child. */
extern unsigned long fork_generation;

/* Set once by shmbus.message: what is made in Python. */
struct hooks {
    PyObject *make_gap;       /* (source, first sequence, count, reason) */
    PyObject *make_producer;  /* (name, pid, start time, pid namespace, session, uid) */
    PyObject *make_time;      /* (CLOCK_MONOTONIC ns) */
    PyObject *parse_envelope; /* (message) */
    PyObject *parse_event;    /* (message) */
    PyObject *context;        /* ContextVar of what is being handled, for asyncio */
    PyObject *trace;          /* ContextVar that is empty while no span can be current; NULL unless tracing is enabled */
};
extern struct hooks hooks;
extern PyObject *attach_error;

struct segment {
    void *memory;
    size_t size, mirrored;
};

typedef struct {
    uint32_t version;
    PyObject *object;
} CachedProducer;

typedef struct {
    PyObject_HEAD
    struct shmbus_ring ring;
    struct segment segment;
    bool writable;
    uint32_t users; /* readers and writers that hold pointers into the mapping; it is kept until they are gone */
    bool closed;
    PyObject *topic, *type_name;
    uint32_t bell, generation, lane;
    CachedProducer *producers;
} RingObject;

typedef struct {
    PyObject_HEAD
    struct segment segment;
    struct shmbus_bell *bells;
    uint32_t capacity;
} BellsObject;

typedef struct {
    PyObject_HEAD
    struct segment segment;
    struct shmbus_session_page *page;
    uint32_t session, capacity, bell;
    bool writable;
} SessionObject;

/* Where messages come from: shared by all messages of one ring in one subscription. */
typedef struct {
    PyObject_HEAD
    RingObject *ring;
    PyObject *pattern;
} SourceObject;

typedef struct {
    PyObject_VAR_HEAD
    SourceObject *source;
    PyObject *producer, *envelope, *event;
    struct shmbus_frame frame;
    unsigned char payload[];
} MessageObject;

extern PyTypeObject RingType, BellsType, SessionType, SourceType, MessageType, WriterType, ReaderType, WaiterType;

bool segment_map(struct segment *segment, int descriptor, size_t size, size_t mirrored, bool writable);
void segment_unmap(struct segment *segment);
bool raise_attach(enum shmbus_result result, const char *kind, unsigned long long found);
void ring_hold(RingObject *ring);
void ring_let_go(RingObject *ring);
PyObject *ring_producer(RingObject *ring, uint32_t producer); /* new reference; None if unknown */
bool copy_bytes(PyObject *object, void *to, size_t length, const char *name);

MessageObject *message_new(SourceObject *source, uint32_t length);
/* The message that a `for` loop of this thread is handling; borrowed, NULL if none. */
extern _Thread_local PyObject *handling;

void reader_words(PyObject *reader, _Atomic uint32_t **words, uint32_t *count, uint32_t capacity);
int reader_ready(PyObject *reader);
_Atomic uint32_t *writer_word(PyObject *writer);
int writer_ready(PyObject *writer);

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#define SLEEP_BOUND_NS 100000000u /* no sleep is longer: a wake that died on its way costs this much, not for ever */

#endif
