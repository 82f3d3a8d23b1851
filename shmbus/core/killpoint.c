#define _POSIX_C_SOURCE 200809L
#include "killpoint.h"

#ifdef SHMBUS_KILLPOINTS

#include <signal.h>
#include <string.h>
#include <unistd.h>

static char armed[64];
static unsigned remaining;

const char *const shmbus_killpoint_sites[] = {
    "claim.before",    "claim.won",        "claim.helped",     "help.before",     "help.done",
    "write.before",    "write.half",       "write.done",       "commit.done",     "commit.revoked",
    "retire.scanned",  "retire.advanced",  "read.peeked",      "read.copied",     "read.taken",
    "read.placed",     "wait.armed",       "wait.slept",       "wake.cleared",    "wake.woken",
    "attach.mapped",   "attach.checked",   "create.unready",   "create.ready",    "repair.claimed",
    "repair.aborted",  "skip.before",      "skip.done",        "seal.announced",  "seal.done",
    "group.claimed",   "group.judged",     "group.settled",    "group.advanced",  "group.returned",
    "group.retaken",   "group.dropped",    "group.bridged",    "group.booked",
    "group.abandoned", "group.passed",     "leap.counted",    "leap.noted",
    NULL,
};

void shmbus_killpoint_arm(const char *site, unsigned count) {
    remaining = site ? count : 0;
    strncpy(armed, site ? site : "", sizeof armed - 1);
}

void shmbus_killpoint(const char *site) {
    if (remaining && strcmp(site, armed) == 0 && --remaining == 0)
        kill(getpid(), SIGKILL);
}

#else

typedef int killpoints_are_compiled_out; /* ISO C wants a declaration in every file */

#endif
