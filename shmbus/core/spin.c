/* How long to spin before sleeping, learned from what came of it. No clock of its own: it is told.
 *
 * A reader whose messages come by themselves spins as long as that has paid lately: twice as long after it did, half as
 * long after it did not, so that one whose messages come rarely hardly spins at all.
 *
 * Two sides that ask and answer each other would sleep for ever by that, turn by turn: what comes next comes only after
 * the other has been woken, so a short spin never finds it. So an eager reader whose sleep was a short one spins through the
 * next, and goes on with that while it pays. Where it does not, each try takes twice as many short sleeps as the one before.
 */
#include "shmbus.h"

enum { LEAST_NS = 1000, MOST_NS = 100000, MOST_DOUBT = 1023 };

void shmbus_spin_init(struct shmbus_spin *spin) { *spin = (struct shmbus_spin){.budget_ns = LEAST_NS}; }

static void spun_long(struct shmbus_spin *spin, bool found) {
    if (found) {
        spin->doubt /= 2;
    } else {
        spin->doubt = spin->doubt < MOST_DOUBT ? 2 * spin->doubt + 1 : MOST_DOUBT;
        spin->budget_ns = LEAST_NS;
    }
}

void shmbus_spin_ended(struct shmbus_spin *spin, bool found) {
    if (shmbus_spin_is_long(spin)) {
        spun_long(spin, found);
        return;
    }
    uint64_t budget = found ? 2 * spin->budget_ns : spin->budget_ns / 2;
    spin->budget_ns = budget > MOST_NS ? MOST_NS : budget < LEAST_NS ? LEAST_NS : budget;
}

void shmbus_spin_slept(struct shmbus_spin *spin, uint64_t ns) {
    if (!spin->eager || ns > SHMBUS_SPIN_LONG_NS || spin->short_sleeps++ < spin->doubt)
        return;
    spin->short_sleeps = 0;
    spin->budget_ns = SHMBUS_SPIN_LONG_NS;
}

bool shmbus_spin_is_long(const struct shmbus_spin *spin) { return spin->budget_ns == SHMBUS_SPIN_LONG_NS; }
