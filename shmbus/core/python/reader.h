/* What reader.c and waiting.c share. */
#ifndef SHMBUS_READER_H
#define SHMBUS_READER_H

#include "binding.h"

enum { FAIRNESS = 64 }; /* messages taken from one ring before the others get a turn */

/* One ring in this subscription. */
typedef struct {
    RingObject *ring;
    SourceObject *source;
    SessionObject *session;       /* NULL: the counters are private */
    struct shmbus_cursor *cursor; /* in the session's page, or `own` */
    struct shmbus_cursor *own;
    _Atomic uint32_t *data_bell, *space_bell;
    uint64_t position;
    uint64_t expired_from, expired_count; /* a run of expired messages that has not been told yet */
    uint64_t busy_word_since_ns;
    uint32_t unsignalled, signal_every;   /* messages read since publishers that wait for room were last looked for */
    uint64_t returned_seen;               /* of a group: how often messages had been given back at the last look for them */
    bool gated, sealed, rescan;           /* rescan: look for such messages whatever that number says */
} Entry;

typedef struct {
    PyObject_HEAD
    Entry *entries;
    uint32_t count, urgent, turn, taken; /* entries: `urgent` of that lane, then the others */
    BellsObject *bells;
    _Atomic uint32_t *attention;
    uint32_t attention_seen;
    struct shmbus_spin spin;
    unsigned long fork;
    bool closed, ended, busy; /* busy: a thread is inside one of the receiving methods */
    bool moved;               /* rings came or went while it was */
    unsigned long thread;     /* which one */
    PyObject *filter;         /* says of a message whether it is wanted; NULL: all are */
    uint64_t filtered;
    uint64_t ack_deadline_ns; /* of a group: given out again after that; 0: never */
    uint64_t next_look_ns;    /* when to look for what others hold for too long */
    uint32_t max_deliveries;  /* then it is a dead letter; 0: never */
    PyObject *borrowed;       /* its cursor waits for this one; not owned: it owns the reader */
    uint32_t lent;            /* buffers of borrowed messages that are in use */
    bool borrowing;           /* what is received now is not copied */
    PyObject *batch;          /* list: what receive_many() hands out is put there, all but the last that a step gives */
    Py_ssize_t batch_limit;
    PyObject *pending;        /* a message that comes after the gap that was just told */
    PyObject *first;          /* list: what is handed out before anything is read; NULL: nothing */
    PyObject *outer;          /* what the loop around this one's loop is handling */
    void *outer_handler;
    PyObject *weakrefs;
} ReaderObject;

/* What this ring has to say next, or NULL without an exception. Told gaps move the position afterwards. */
PyObject *reader_gap(Entry *entry, uint64_t first, uint64_t count, const char *reason);
PyObject *reader_tell_expired(Entry *entry);
PyObject *reader_take(Entry *entry, const struct shmbus_view *view, enum shmbus_result *result);
/* The same without a copy, see borrowed.c. */
PyObject *borrowed_new(ReaderObject *reader, Entry *entry, const struct shmbus_view *view, enum shmbus_result *result);
/* Either, as the caller of this receive wants it. */
static inline PyObject *reader_read(ReaderObject *self, Entry *entry, const struct shmbus_view *view,
                                    enum shmbus_result *result) {
    return self->borrowing ? borrowed_new(self, entry, view, result) : reader_take(entry, view, result);
}
/* A message that was borrowed is done with. */
void reader_given_back(ReaderObject *self, SourceObject *source, uint64_t sequence);
/* 1: wanted, 0: not, -1: an exception. */
int reader_judge(const ReaderObject *self, PyObject *message);
/* The ring is read to its seal: Python puts the successor in its place. */
PyObject *reader_sealed(ReaderObject *self, Entry *entry);

/* The same for an entry that a group's members read together, see group_reader.c. */
PyObject *group_next(ReaderObject *self, Entry *entry);
bool group_has_something(Entry *entry);
/* Publishers that wait for room are woken, after the floor has moved by `advanced`; `now`: whatever little it was. */
void group_signal(SourceObject *source, uint64_t advanced, bool now);
/* Look for what somebody holds for too long, and for what a killed member gave back without saying so. */
void group_look_after(ReaderObject *self, uint64_t now_ns);
PyObject *group_ack(PyObject *self, PyObject *message);
PyObject *group_ack_many(PyObject *self, PyObject *messages);
PyObject *group_nack(PyObject *self, PyObject *message);
PyObject *group_extend(PyObject *self, PyObject *message);

/* The subscription has read everything before `position` of this ring. */
void reader_place(Entry *entry, uint64_t position);
/* Has some ring something to say, or was the session's bell rung? */
bool reader_has_something(const ReaderObject *self);
/* Wait until there is something, or until the deadline. False with an exception. */
bool reader_wait(ReaderObject *self, uint64_t deadline_ns);

/* Only this process writes its counters, so a load and a store do. */
static inline void add_to(_Atomic uint64_t *counter, uint64_t number) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + number, memory_order_relaxed);
}

#endif
