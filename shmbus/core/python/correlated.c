/* Order of the correlation groups: what belongs to one root is handed out by sequence_number, whatever topic it is in.
 *
 *     a group    waits for a number, `next`: all before it were handed out, or told to be missing
 *     a message  of that number or a lower one passes; of a higher one it is held back, in its group by number, and with
 *                those of all groups by when it came
 *
 * A held message goes when its turn comes, or `wait_ns` after it came: then whatever its group misses up to it is told in a
 * gap, in front of what comes behind that gap. So the message that has been held for longest is the only deadline there is.
 * A lower number than `next` is one that was told to be missing, or a second one of the same number, which two handlers of
 * one message may well give: neither is lost, both pass at once. Equal numbers that are held keep the order they came in.
 *
 * A group that is not known begins with its root, number 0, or with the lowest that has come when its first has been held
 * for `wait_ns`. A message without correlation is the root of its children by its id or its place (see correlation.py), so
 * it passes, and its group begins. Such roots mostly have no children: they are remembered apart, and never crowd out
 * groups that have.
 *
 * Everything is bounded: beyond HELD messages or bytes the one that came first goes early, with its gaps; beyond GROUPS the
 * one that was quiet for longest is forgotten, and what it holds goes early too. Both are counted.
 *
 * No Python runs between taking a message and having it in its place, so Ctrl-C loses none. What a filter does not want
 * takes its place as a number only.
 */
#include "reader.h"

enum { GROUPS = 4096, HELD = 8192, TOPIC_BYTES = sizeof ((struct shmbus_ring_header *)0)->topic };
#define HELD_BYTES (64u << 20)

struct group;

struct held {
    struct held *before, *after;  /* in its group */
    struct held *older, *younger; /* of all */
    struct group *group;
    SourceObject *source;
    PyObject *message; /* NULL: the filter does not want it */
    uint64_t number, came_ns;
    size_t bytes;
};

struct group_list {
    struct group *oldest, *newest;
    uint32_t count;
};

struct group {
    PyObject *id; /* bytes */
    struct group_list *list;
    struct group *older, *newer, *next_open;
    struct held *first, *last;
    uint64_t next; /* the number that it waits for */
    uint64_t upto; /* held ones up to this go in spite of gaps, if it `releases` */
    bool begun, open, releases, ends;
};

struct correlated {
    PyObject *groups; /* {id: address} */
    struct group_list known, roots;
    struct group *open; /* those with something to hand out */
    struct held *oldest, *youngest;
    PyObject *incoming; /* taken from a ring, and not yet in its place */
    uint64_t wait_ns, marked_ns, count, messages, bytes, early;
};

/* ---- groups -------------------------------------------------------------------------------------------------------- */

static void unlist(struct group *group) {
    struct group_list *list = group->list;
    *(group->older ? &group->older->newer : &list->oldest) = group->newer;
    *(group->newer ? &group->newer->older : &list->newest) = group->older;
    list->count--;
}

static void enlist(struct group *group, struct group_list *list) {
    group->list = list;
    group->older = list->newest;
    group->newer = NULL;
    *(list->newest ? &list->newest->newer : &list->oldest) = group;
    list->newest = group;
    list->count++;
}

/* It has something to hand out. */
static void open_group(struct correlated *self, struct group *group) {
    if (group->open)
        return;
    group->open = true;
    group->next_open = self->open;
    self->open = group;
}

/* What is held up to that number goes. */
static void release(struct correlated *self, struct group *group, uint64_t upto) {
    group->releases = true;
    group->upto = upto;
    open_group(self, group);
}

static void forget_group(struct correlated *self, struct group *group) {
    unlist(group);
    if (PyDict_DelItem(self->groups, group->id) < 0)
        PyErr_Clear();
    Py_DECREF(group->id);
    PyMem_Free(group);
}

/* Make room for one more. What the quietest holds is handed out first. */
static void forget_oldest(struct correlated *self, struct group_list *list) {
    struct group *oldest = list->oldest;
    if (list->count < GROUPS)
        return;
    if (!oldest->first) {
        forget_group(self, oldest);
        return;
    }
    self->early += !oldest->ends;
    oldest->ends = true;
    release(self, oldest, UINT64_MAX);
}

static struct group *make_group(struct correlated *self, PyObject *id, struct group_list *list) {
    forget_oldest(self, list);
    struct group *group = PyMem_Calloc(1, sizeof *group);
    PyObject *address = group ? PyLong_FromVoidPtr(group) : PyErr_NoMemory();
    if (!address || PyDict_SetItem(self->groups, id, address) < 0) {
        Py_XDECREF(address);
        PyMem_Free(group);
        return NULL;
    }
    Py_DECREF(address);
    group->id = Py_NewRef(id);
    enlist(group, list);
    return group;
}

/* NULL with an exception. */
static struct group *group_of(struct correlated *self, PyObject *id, struct group_list *list) {
    PyObject *address = PyDict_GetItemWithError(self->groups, id);
    if (!address)
        return PyErr_Occurred() ? NULL : make_group(self, id, list);
    struct group *group = PyLong_AsVoidPtr(address);
    if (list == &self->known && group->list != list)
        forget_oldest(self, list); /* a root that turns out to have children */
    else
        list = group->list;
    unlist(group);
    enlist(group, list);
    return group;
}

/* ---- what is held -------------------------------------------------------------------------------------------------- */

static bool hold(struct correlated *self, struct group *group, uint64_t number, MessageObject *message, bool wanted) {
    struct held *held = PyMem_Calloc(1, sizeof *held), *before = group->last;
    if (!held) {
        PyErr_NoMemory();
        return false;
    }
    while (before && before->number > number)
        before = before->before;
    *held = (struct held){.before = before, .after = before ? before->after : group->first, .older = self->youngest,
                          .group = group, .number = number, .came_ns = shmbus_now_ns()};
    held->source = (SourceObject *)Py_NewRef(message->source);
    held->message = wanted ? Py_NewRef(message) : NULL;
    held->bytes = wanted ? (size_t)Py_SIZE(message) : 0;
    *(before ? &before->after : &group->first) = held;
    *(held->after ? &held->after->before : &group->last) = held;
    *(self->youngest ? &self->youngest->younger : &self->oldest) = held;
    self->youngest = held;
    self->count++;
    self->messages += wanted;
    self->bytes += held->bytes;
    return true;
}

/* Its message, or NULL. */
static PyObject *let_go(struct correlated *self, struct held *held) {
    struct group *group = held->group;
    PyObject *message = held->message;
    *(held->before ? &held->before->after : &group->first) = held->after;
    *(held->after ? &held->after->before : &group->last) = held->before;
    *(held->older ? &held->older->younger : &self->oldest) = held->younger;
    *(held->younger ? &held->younger->older : &self->youngest) = held->older;
    self->count--;
    self->messages -= message != NULL;
    self->bytes -= held->bytes;
    Py_DECREF(held->source);
    PyMem_Free(held);
    return message;
}

/* ---- handing out --------------------------------------------------------------------------------------------------- */

static void gone(struct group *group, uint64_t number) {
    if (number >= group->next && number < UINT64_MAX)
        group->next = number + 1;
}

/* Of a durable subscription: the time in which it is to be settled begins when it is handed out. */
static void begin_deadline(const MessageObject *message) {
    const SourceObject *source = message->source;
    if (source->group)
        shmbus_group_extend(&source->lane, (struct shmbus_taken){message->frame.sequence, message->deliveries}, shmbus_now_ns());
}

/* What is missing in front of a message; told before `next` moves: if Ctrl-C falls into it, it is told again. */
static PyObject *tell_missing(struct group *group, const struct held *held) {
    PyObject *id = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(group->id), PyBytes_GET_SIZE(group->id), "replace");
    if (!id)
        return NULL;
    PyObject *told = PyObject_CallFunction(hooks.make_gap, "OKKsON", held->source, (unsigned long long)group->next,
                                           (unsigned long long)(held->number - group->next), "order", Py_None, id);
    if (told)
        group->next = held->number;
    return told;
}

static bool its_turn(const struct group *group, const struct held *held) {
    return (group->begun && held->number <= group->next) || (group->releases && held->number <= group->upto);
}

/* The next thing of an open group, or NULL: with an exception, or because it waits again. */
static PyObject *next_of(struct correlated *self, struct group *group) {
    struct held *held;
    while ((held = group->first) && its_turn(group, held)) {
        if (!group->begun) {
            group->begun = true;
            group->next = held->number;
        }
        if (held->number > group->next)
            return tell_missing(group, held);
        gone(group, held->number);
        PyObject *message = let_go(self, held);
        if (message) {
            begin_deadline((MessageObject *)message);
            return message;
        }
    }
    return NULL;
}

static PyObject *next_open(struct correlated *self) {
    while (self->open) {
        struct group *group = self->open;
        PyObject *found = next_of(self, group);
        if (found || PyErr_Occurred())
            return found;
        self->open = group->next_open;
        group->open = false;
        if (group->ends && !group->first)
            forget_group(self, group);
    }
    return NULL;
}

static bool release_oldest(struct correlated *self) {
    release(self, self->oldest->group, self->oldest->number);
    return true;
}

/* Has that ring been read to its mark, and on into its successor if it ends there? Or is there nothing more to be had now, as
 * somebody has to finish a claim, or to settle, first: that may take longer. */
static bool read_to_mark(Entry *entry) {
    struct shmbus_view view;
    if (entry->position < entry->head.mark || shmbus_peek(&entry->ring->ring, entry->position, &view) == SHMBUS_SEALED)
        return !entry_has_something(entry);
    return true;
}

/* Has everything been read that was in the rings when the marks were set, and no ring been pushed before that? */
static bool read_to_marks(ReaderObject *reader) {
    if (reader_has_attention(reader))
        return false;
    for (uint32_t i = 0; i < reader->count; i++)
        if (!read_to_mark(&reader->entries[i]))
            return false;
    return true;
}

static void set_marks(ReaderObject *reader, uint64_t now) {
    for (uint32_t i = 0; i < reader->count; i++)
        reader->entries[i].head.mark = shmbus_tail(&reader->entries[i].ring->ring);
    reader->correlated->marked_ns = now;
    reader->fresh = false;
}

/* Is it time for what came first? It goes, and what its group holds before it. Not before everything has been read that
 * was there when its time had passed: what is missing may stand in a ring, and the caller come late. Rings that came since
 * have no marks, and what is in them may have been there before. See tests/model/correlation.pml. */
static bool release_due(ReaderObject *reader) {
    struct correlated *self = reader->correlated;
    if (!self->oldest)
        return false;
    if (self->count > HELD || self->bytes > HELD_BYTES) {
        self->early++;
        return release_oldest(self);
    }
    uint64_t due = self->oldest->came_ns + self->wait_ns, now = shmbus_now_ns();
    if (now < due)
        return false;
    if (self->marked_ns < due || reader->fresh)
        set_marks(reader, now);
    else if (read_to_marks(reader))
        return release_oldest(self);
    return false;
}

/* The same when there is nothing left to read. The look that found nothing must have begun when the time had passed: that is
 * what the marks tell, and not the clock, which may have gone on during that look. */
static bool release_at_rest(ReaderObject *reader) {
    struct correlated *self = reader->correlated;
    if (!self->oldest || (!reader->ended && self->marked_ns < self->oldest->came_ns + self->wait_ns))
        return false;
    return release_oldest(self);
}

/* ---- taking in ----------------------------------------------------------------------------------------------------- */

struct place {
    const unsigned char *root, *id, *message; /* what the envelope says, NULL: nothing */
    size_t root_length, id_length, message_length;
    uint64_t number;
};

/* As the protobuf parser does: the last of a repeated field counts. False: malformed. */
static bool read_correlation(const unsigned char *at, const unsigned char *end, struct place *place) {
    struct field field;
    int more;
    while ((more = next_field(&at, end, &field)) > 0) {
        if (field.number == 6 && field.is_varint)
            place->number = field.value;
        if (!field.from || (field.number != 1 && field.number != 3))
            continue;
        *(field.number == 1 ? &place->id : &place->root) = field.from;
        *(field.number == 1 ? &place->id_length : &place->root_length) = (size_t)(field.to - field.from);
    }
    return more == 0;
}

static bool read_metadata(const unsigned char *at, const unsigned char *end, struct place *place) {
    struct field field;
    int more;
    while ((more = next_field(&at, end, &field)) > 0)
        if (field.number == 1 && field.from) {
            place->message = field.from;
            place->message_length = (size_t)(field.to - field.from);
        }
    return more == 0;
}

static bool read_envelope(const MessageObject *message, struct place *place) {
    const unsigned char *at = message->payload, *end = at + Py_SIZE(message);
    struct field field;
    int more;
    while ((more = next_field(&at, end, &field)) > 0) {
        if (!field.from)
            continue;
        if (field.number == 1 && !read_metadata(field.from, field.to, place))
            return false;
        if (field.number == 2 && !read_correlation(field.from, field.to, place))
            return false;
    }
    return more == 0;
}

static PyObject *place_name(const MessageObject *message) {
    char name[TOPIC_BYTES + 32];
    int length = snprintf(name, sizeof name, "%s:%llu", PyUnicode_AsUTF8(message->source->topic),
                          (unsigned long long)message->frame.sequence);
    return PyBytes_FromStringAndSize(name, length);
}

/* The id of its group, a new reference; number 0 and `implied` for one that says nothing of correlation. */
static PyObject *group_id(const MessageObject *message, uint64_t *number, bool *implied) {
    struct place place = {0};
    if (message->frame.kind != SHMBUS_KIND_EVENT || !read_envelope(message, &place))
        place = (struct place){0};
    *implied = !place.id_length;
    *number = *implied ? 0 : place.number;
    if (*implied)
        return place.message_length ? PyBytes_FromStringAndSize((const char *)place.message, (Py_ssize_t)place.message_length)
                                    : place_name(message);
    if (place.root_length)
        return PyBytes_FromStringAndSize((const char *)place.root, (Py_ssize_t)place.root_length);
    return PyBytes_FromStringAndSize((const char *)place.id, (Py_ssize_t)place.id_length);
}

/* 1: it passes, 0: it is held, -1: an exception, and nothing has changed. */
static int take_in(struct correlated *self, MessageObject *message, bool wanted) {
    uint64_t number;
    bool implied;
    PyObject *id = group_id(message, &number, &implied);
    struct group *group = id ? group_of(self, id, implied ? &self->roots : &self->known) : NULL;
    Py_XDECREF(id);
    if (!group)
        return -1;
    group->begun |= number == 0;
    if (!group->begun || number > group->next)
        return hold(self, group, number, message, wanted) ? 0 : -1;
    gone(group, number);
    if (group->first && group->first->number <= group->next)
        open_group(self, group);
    return 1;
}

bool correlated_pass(ReaderObject *reader, MessageObject *message) {
    return !reader->correlated || take_in(reader->correlated, message, false) >= 0;
}

/* ---- the order as the reader sees it ------------------------------------------------------------------------------- */

bool correlated_begin(ReaderObject *reader, uint64_t wait_ns) {
    struct correlated *self = reader->correlated = PyMem_Calloc(1, sizeof *self);
    if (!self) {
        PyErr_NoMemory();
        return false;
    }
    self->wait_ns = wait_ns;
    self->groups = PyDict_New();
    return self->groups != NULL;
}

/* What was taken last, unless it is held. What its group, or another, had to hand out before it has been. */
static PyObject *settle_incoming(struct correlated *self) {
    int passes = take_in(self, (MessageObject *)self->incoming, true);
    if (passes < 0)
        return NULL;
    PyObject *message = self->incoming;
    self->incoming = NULL;
    if (passes)
        return message;
    Py_DECREF(message); /* its group has it */
    return NULL;
}

PyObject *correlated_step(ReaderObject *reader) {
    struct correlated *self = reader->correlated;
    while (!reader->closed) {
        PyObject *found = next_open(self);
        if (!found && !PyErr_Occurred() && self->incoming)
            found = settle_incoming(self);
        if (found || PyErr_Occurred())
            return found;
        if (self->open || release_due(reader))
            continue;
        found = reader_step_unordered(reader);
        if (!found && (PyErr_Occurred() || (!self->open && !release_at_rest(reader))))
            return NULL;
        if (found && !Py_IS_TYPE(found, &MessageType))
            return found;
        self->incoming = found;
    }
    return NULL;
}

uint64_t correlated_due(const ReaderObject *reader) {
    const struct correlated *self = reader->correlated;
    if (!self || (!self->open && !self->incoming && !self->oldest))
        return UINT64_MAX;
    return self->open || self->incoming ? 0 : self->oldest->came_ns + self->wait_ns;
}

uint64_t correlated_held(const ReaderObject *reader) {
    return reader->correlated ? reader->correlated->messages + (reader->correlated->incoming != NULL) : 0;
}

uint64_t correlated_early(const ReaderObject *reader) {
    return reader->correlated ? reader->correlated->early : 0;
}

static void drop_groups(struct correlated *self, struct group_list *list) {
    while (list->oldest) {
        while (list->oldest->first)
            Py_XDECREF(let_go(self, list->oldest->first));
        forget_group(self, list->oldest);
    }
}

void correlated_drop(ReaderObject *reader) {
    struct correlated *self = reader->correlated;
    if (!self || !self->groups)
        return;
    self->open = NULL;
    Py_CLEAR(self->incoming);
    drop_groups(self, &self->known);
    drop_groups(self, &self->roots);
}

void correlated_end(ReaderObject *reader) {
    if (!reader->correlated)
        return;
    Py_XDECREF(reader->correlated->groups);
    PyMem_Free(reader->correlated);
    reader->correlated = NULL;
}
