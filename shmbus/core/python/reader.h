/* What reader.c and waiting.c share. */
#ifndef SHMBUS_READER_H
#define SHMBUS_READER_H

#include "binding.h"

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
    bool gated, sealed;
} Entry;

typedef struct {
    PyObject_HEAD
    Entry *entries;
    uint32_t count, urgent, turn, taken; /* entries: `urgent` of that lane, then the others */
    BellsObject *bells;
    _Atomic uint32_t *attention;
    uint32_t attention_seen;
    uint64_t spin_ns;
    unsigned long fork;
    bool closed, ended, busy; /* busy: a thread is inside one of the receiving methods */
    bool moved;               /* rings came or went while it was */
    unsigned long thread;     /* which one */
    PyObject *filter;         /* says of a message whether it is wanted; NULL: all are */
    uint64_t filtered;
    PyObject *outer;          /* what the loop around this one's loop is handling */
    void *outer_handler;
    PyObject *weakrefs;
} ReaderObject;

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

#define READER_SPIN_NS 1000u /* to begin with, see waiting.c */

#endif
