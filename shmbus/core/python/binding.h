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
    PyObject *make_gap;       /* (source, first sequence, count, reason, producer[, correlation group]) */
    PyObject *make_producer;  /* (name, pid, start time, pid namespace, session, uid) */
    PyObject *make_time;      /* (CLOCK_MONOTONIC ns) */
    PyObject *parse_envelope; /* (message) */
    PyObject *parse_event;    /* (message) */
    PyObject *parsers;        /* {(payload field, event field): (bytes)} for what an envelope carries */
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
    uint32_t topic_id, bell, generation, lane; /* as they were when it was attached, whoever writes to the header */
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
    struct shmbus_ledger ledger;
} SessionObject;

/* A group's segment: a session's, and more. */
typedef struct {
    SessionObject session;
    struct shmbus_group_setup setup;
    struct shmbus_group_page *page;
} GroupObject;

struct window {
    uint64_t since_ns, messages, bytes;
};

typedef struct {
    PyObject_HEAD
    struct shmbus_budget budget;
    struct window before, now; /* what was published lately */
} BudgetObject;

/* Where messages come from: shared by all messages of one ring in one subscription. Of a group's, it is also where they are
 * settled, as long as one of them lives. */
typedef struct {
    PyObject_HEAD
    RingObject *ring; /* NULL: they were kept, and the ring may be gone */
    PyObject *topic, *type_name, *pattern;
    uint32_t topic_lane;
    GroupObject *group; /* NULL: nothing is settled here */
    struct shmbus_group lane;
    BellsObject *bells;
    const void *reader;                 /* whose it is; never followed */
    uint32_t unsignalled, signal_every, signal_later; /* as of an Entry, by how far the floor moves; what it is then */
    bool resting;                                     /* nothing was there at the last look: whoever receives may sleep */
} SourceObject;

/* What a message and a borrowed one have in common; `producer`, `envelope` and `event` are made on first use. */
#define MESSAGE_HEAD                                                                                                  \
    PyObject_VAR_HEAD SourceObject *source;                                                                           \
    PyObject *producer, *envelope, *event;                                                                            \
    uint32_t deliveries; /* this one included */                                                                      \
    struct shmbus_frame frame;

typedef struct {
    MESSAGE_HEAD
} MessageHead;

typedef struct {
    MESSAGE_HEAD
    unsigned char payload[];
} MessageObject;

/* MessageMetadata.key of the schema. */
enum { KEY_FIELD = 100, KEY_BYTES = 128 };

/* A message whose payload is read where it stands in the ring. */
typedef struct {
    MESSAGE_HEAD
    PyObject *reader;          /* whose cursor protects it, until it is given back; NULL afterwards */
    RingObject *ring;          /* held, so that it stays mapped */
    const unsigned char *data;
    PyObject *view;            /* the memoryview that was given out */
    Py_ssize_t exports;        /* buffers in use */
    bool leaving;              /* given back as soon as there are none */
} BorrowedObject;

extern PyTypeObject RingType, BellsType, SessionType, SourceType, MessageType, WriterType, ReaderType, WaiterType, GroupType, BudgetType, MessageHeadType, BorrowedType,
    GuardType, ClosingType, ParcelType;

/* Map all of a descriptor and check it. False with an exception. */
bool attach_page(struct segment *segment, int descriptor, bool writable, PyObject *boot, const struct shmbus_layout *layout,
                 enum shmbus_result (*check)(const void *, size_t, const uint8_t *));
/* Fill in what a session's object says of a page that has been checked. */
void session_fill(SessionObject *self, struct segment segment, bool writable);
/* (id, which of that id, base, last, delivered, overrun, expired, corrupt, filtered, dead, repeated) */
PyObject *count_object(uint64_t count); /* SHMBUS_UNCOUNTED: None */
PyObject *entry_object(const struct shmbus_entry *entry);
PyObject *identity_object(struct shmbus_producer *entry); /* (name, pid, start time, namespace, session, uid) or None */
bool identity_given(struct shmbus_identity *who, const char *name, int pid, unsigned long long start,
                    unsigned long long namespace, unsigned session, unsigned uid); /* false with an exception */
bool segment_map(struct segment *segment, int descriptor, size_t size, size_t mirrored, bool writable);
void segment_unmap(struct segment *segment);
/* AttachError of a segment of that kind, size in bytes and number of layout. */
void raise_attach(enum shmbus_result result, const struct shmbus_layout *layout, unsigned long long size, uint32_t number);
void ring_hold(RingObject *ring);
void ring_let_go(RingObject *ring);
PyObject *ring_producer(RingObject *ring, uint32_t producer); /* new reference; None if unknown */
bool copy_bytes(PyObject *object, void *to, size_t length, const char *name);

/* Where the event stands in an envelope of `length` bytes: a tuple, or None. */
PyObject *locate_event(const unsigned char *data, Py_ssize_t length);
/* The key of a message of that kind: a string, or None. */
PyObject *key_in(const unsigned char *data, Py_ssize_t length, uint8_t kind);
MessageObject *message_new(SourceObject *source, uint32_t length);
PyObject *module_restore(PyObject *module, PyObject *args);
PyObject *module_receive(PyObject *module, PyObject *args);
PyObject *module_send(PyObject *module, PyObject *args);

/* One field of an encoded protobuf message. */
struct field {
    uint64_t number, value;         /* the value of a varint */
    const unsigned char *from, *to; /* of a length-delimited one; else NULL */
    bool is_varint;
};
/* The field at `at`, which moves behind it. 1: a field, 0: the end, -1: malformed. */
int next_field(const unsigned char **at, const unsigned char *end, struct field *field);

/* The message that a `for` loop of this thread is handling; borrowed, NULL if none. */
extern _Thread_local PyObject *handling;

/* Closes what nobody keeps any more. */
void closing_finalize(PyObject *self);

void budget_spend(BudgetObject *budget, uint64_t now_ns, uint64_t bytes);
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
