/* What reader.c and waiting.c share. */
#ifndef SHMBUS_READER_H
#define SHMBUS_READER_H

#include "binding.h"

enum { FAIRNESS = 64 }; /* messages taken from one ring before the others get a turn */

/* What the ledger says of one producer: valid while its entry in the ring is that version. */
struct row_ref {
    struct shmbus_row *row;
    uint64_t before;  /* messages of it before the row's first; SHMBUS_UNCOUNTED: not known */
    uint32_t version;
    uint32_t overrun; /* nothing is missing of it that went by up to there, see Entry */
    bool open;        /* that number is to be found out with its next message */
};

/* What merge.c knows of the next message of a ring, while it holds for `at`. (correlated.c sets marks of its own.) */
struct merge_head {
    uint64_t at;          /* its sequence; a group's may stand before `position`, if it was given back */
    uint64_t limit, mark; /* of this round: what stands before `limit` may be handed out, before `mark` must be known */
    uint64_t time;        /* as the frame says, and not later than now */
    uint64_t waits_at;    /* it comes after this message of entry `waits_for` */
    uint32_t waits_for, session;
    uint8_t state;
};

/* One ring in this subscription. */
typedef struct {
    RingObject *ring;
    SourceObject *source;
    SessionObject *session;       /* NULL: the counters are private */
    struct shmbus_cursor *cursor; /* in the session's page, or `own` */
    struct shmbus_cursor *own;
    _Atomic uint32_t *data_bell, *space_bell;
    uint64_t position;
    uint64_t expired_from, expired_count; /* a run of one producer's expired messages that has not been told yet */
    uint32_t expired_producer;
    struct shmbus_frame passed;           /* of the message that was found expired */
    struct row_ref *rows;                 /* by producer id; the rows are the session's, or ours if there is none */
    uint32_t row_count, place;            /* place: which cursor of the session's it is */
    uint64_t unread;                      /* sequences that went by unread and are no producer's loss yet */
    uint32_t overruns;                    /* how often some did */
    uint64_t voids;                       /* aborted claims of this ring that are none of our losses */
    uint64_t began;                       /* from there on it accounts for what was published */
    bool crowded;                         /* somebody found no room for a row: whoever gets one from now on begins there */
    bool unknown;                         /* some of them may have been somebody's who is not known any more */
    uint64_t busy_word_since_ns;
    /* Messages read since publishers that wait for room were last looked for; after how many next. The first is told at
     * once, so that nobody is said to have read nothing who has. */
    uint32_t unsignalled, signal_every;
    uint64_t returned_seen;               /* of a group: how often messages had been given back at the last look for them */
    bool gated, sealed, rescan;           /* rescan: look for such messages whatever that number says */
    struct merge_head head;
} Entry;

struct correlated;

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
    PyObject *told;           /* list: gaps of an overrun, one for each producer, that are told before anything is read; or NULL */
    PyObject *first;          /* list: what is handed out before anything is read; NULL: nothing */
    bool by_producer, fresh, blocked; /* order: merge.c; rings came or went since it last looked (correlated.c, too); a claim
                                         is in the way */
    uint64_t rounds, clock_ns, look_at_ns;
    struct correlated *correlated;  /* order: correlated.c; NULL: another one */
    PyObject *outer;          /* what the loop around this one's loop is handling */
    void *outer_handler;
    PyObject *weakrefs;
} ReaderObject;

/* What this ring has to say next, or NULL without an exception. Told gaps move the position afterwards. */
PyObject *reader_gap(Entry *entry, uint64_t first, uint64_t count, const char *reason, uint32_t producer); /* 0: unknown */
PyObject *reader_tell_expired(Entry *entry);
PyObject *reader_take(Entry *entry, const struct shmbus_view *view, enum shmbus_result *result);
/* The same without a copy, see borrowed.c. */
PyObject *borrowed_new(ReaderObject *reader, Entry *entry, const struct shmbus_view *view, enum shmbus_result *result);
/* Either, as the caller of this receive wants it. */
static inline PyObject *reader_read(ReaderObject *self, Entry *entry, const struct shmbus_view *view,
                                    enum shmbus_result *result) {
    return self->borrowing ? borrowed_new(self, entry, view, result) : reader_take(entry, view, result);
}
/* The reader of that cursor makes progress. */
static inline void cursor_moved(struct shmbus_cursor *cursor) {
    atomic_store_explicit(&cursor->active_ns, shmbus_now_ns() & ~(uint64_t)SHMBUS_JOINED, memory_order_relaxed);
}
/* A message that was borrowed is done with. */
void reader_given_back(ReaderObject *self, SourceObject *source, uint64_t sequence);
/* 1: wanted, 0: not, -1: an exception. */
int reader_judge(const ReaderObject *self, PyObject *message);
/* The ring is read to its seal: Python puts the successor in its place. */
PyObject *reader_sealed(ReaderObject *self, Entry *entry);

/* Losses by producer, see ledger.c. The rows of a new entry; false with an exception. */
bool ledger_begin(Entry *entry);
void ledger_end(Entry *entry);
/* What is missing before this message, which has not been accounted for: a gap, or NULL, with or without an exception. */
PyObject *ledger_missing(Entry *entry, const struct shmbus_frame *frame);
void ledger_account(Entry *entry, uint32_t producer, uint64_t number, enum shmbus_outcome outcome);
/* It was delivered; nearly always right after its producer's last one, which costs one store. Its producer has just been looked
 * up, so the version of that is known. */
static inline void ledger_delivered(Entry *entry, uint32_t producer, uint64_t number) {
    if (producer < entry->row_count) {
        struct shmbus_row *row = entry->rows[producer].row;
        if (row && !entry->rows[producer].open && entry->rows[producer].version == entry->ring->producers[producer].version &&
            atomic_load_explicit(&row->last, memory_order_relaxed) + 1 == number) {
            atomic_store_explicit(&row->last, number, memory_order_relaxed);
            return;
        }
    }
    ledger_account(entry, producer, number, SHMBUS_DELIVERED);
}
/* The same for one whose number could not be read. */
void ledger_account_unread(Entry *entry, uint32_t producer, enum shmbus_outcome outcome);
/* The ring has gone past the position, up to `*head`: a list of gaps, which are counted; NULL with an exception. */
PyObject *ledger_overrun(Entry *entry, uint64_t *head);

/* The same for an entry that a group's members read together, see group_reader.c. */
PyObject *group_next(ReaderObject *self, Entry *entry);
bool group_has_something(Entry *entry);
/* Of what comes next, as shmbus_peek(), the sequence; also SHMBUS_WINDOW: it may not be had before others are settled. */
enum shmbus_result group_peek(Entry *entry, uint64_t *sequence, struct shmbus_view *view);
/* Is everything settled that this ring has, so that its successor may be read? */
bool group_all_settled(Entry *entry);
/* Would that still be the same? */
bool group_stands(Entry *entry, uint64_t sequence);
/* No message stands at its position: settle that in passing. False: the window has no room for it yet. */
bool group_step_over(Entry *entry);
/* What was put off is done, as nothing comes now. What is told, or NULL. */
PyObject *group_idle(Entry *entry);
/* Publishers that wait for room are woken, after the floor has moved by `advanced`; `now`: whatever little it was. */
void group_signal(SourceObject *source, uint64_t advanced, bool now);
/* Look for what somebody holds for too long, and for what a killed member gave back without saying so. */
void group_look_after(ReaderObject *self, uint64_t now_ns);
PyObject *group_ack(PyObject *self, PyObject *message);
PyObject *group_ack_many(PyObject *self, PyObject *messages);
PyObject *group_nack(PyObject *self, PyObject *message);
PyObject *group_extend(PyObject *self, PyObject *message);

/* The next thing this ring has to say, or NULL without an exception: nothing, or nothing comes of one of its slots. */
PyObject *reader_entry_next(ReaderObject *self, Entry *entry);
/* Python looks at what the coordinator pushed; what it answers, if not None, is handed out. False with an exception. */
bool reader_attend(ReaderObject *self, PyObject **notice);
/* The same, and all else that is handed out before anything is read. */
bool reader_prepare(ReaderObject *self, PyObject **found);
/* Wake publishers that sleep for room. */
void reader_signal_space(Entry *entry);
/* What comes next in no order but that of each lane, or NULL: with an exception, or because there is nothing now. */
PyObject *reader_step_unordered(ReaderObject *self);

/* A claim that stays unfinished: Python finds out whether its owner is dead. False with an exception. */
bool reader_look_at_stuck(ReaderObject *self, uint64_t now_ns);

/* The same in the order of each producer, see merge.c. */
PyObject *merge_step(ReaderObject *self);
bool merge_has_something(ReaderObject *self);

/* The same in the order of each correlation group, see correlated.c. */
bool correlated_begin(ReaderObject *self, uint64_t wait_ns);
PyObject *correlated_step(ReaderObject *self);
/* The filter does not want the message, but its number is not missing. False with an exception. */
bool correlated_pass(ReaderObject *self, MessageObject *message);
/* When something is to be handed out although nothing comes; UINT64_MAX: never. */
uint64_t correlated_due(const ReaderObject *self);
uint64_t correlated_held(const ReaderObject *self);
uint64_t correlated_early(const ReaderObject *self);
void correlated_drop(ReaderObject *self);
void correlated_end(ReaderObject *self);

/* The subscription has read everything before `position` of this ring. */
void reader_place(Entry *entry, uint64_t position);
/* Has that ring something to say? Not if a claim is in the way, or what others have to settle first. */
bool entry_has_something(Entry *entry);
/* Was the session's bell rung, for something that was pushed? */
bool reader_has_attention(const ReaderObject *self);
/* Has some ring something to say, or was the session's bell rung? */
bool reader_has_something(ReaderObject *self);
/* Wait until there is something, or until the deadline. False with an exception. */
bool reader_wait(ReaderObject *self, uint64_t deadline_ns);

/* Only this process writes its counters, so a load and a store do. */
static inline void add_to(_Atomic uint64_t *counter, uint64_t number) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + number, memory_order_relaxed);
}

#endif
