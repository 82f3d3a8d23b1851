/* A token bucket without tokens: what is remembered is when all that was spent will have been made good. A second's worth may
 * be spent at once, so whoever has `full_ns` more than a second ahead of now has to wait. */
#include "shmbus.h"

/* How long it takes to make so much good, and what the division left over, in parts of a nanosecond. */
static uint64_t cost(const struct shmbus_rate *rate, uint64_t amount, uint64_t *rest) {
    uint64_t scaled = amount * SHMBUS_BURST_NS + *rest;
    *rest = scaled % rate->per_second;
    return scaled / rate->per_second;
}

static uint64_t rate_wait(const struct shmbus_rate *rate, uint64_t now_ns, uint64_t amount) {
    if (rate->per_second == 0)
        return 0;
    uint64_t rest = rate->rest, wanted = cost(rate, amount, &rest);
    if (wanted > SHMBUS_BURST_NS)
        wanted = SHMBUS_BURST_NS; /* more than a second's worth: it may go when nothing is owed, and is owed itself then */
    uint64_t until = rate->full_ns > now_ns ? rate->full_ns : now_ns;
    return until + wanted > now_ns + SHMBUS_BURST_NS ? until + wanted - now_ns - SHMBUS_BURST_NS : 0;
}

static void rate_spend(struct shmbus_rate *rate, uint64_t now_ns, uint64_t amount) {
    if (rate->per_second == 0)
        return;
    if (rate->full_ns < now_ns) {
        rate->full_ns = now_ns;
        rate->rest = 0;
    }
    rate->full_ns += cost(rate, amount, &rate->rest);
}

uint64_t shmbus_budget_wait(const struct shmbus_budget *budget, uint64_t now_ns, uint64_t bytes) {
    uint64_t messages_ns = rate_wait(&budget->messages, now_ns, 1);
    uint64_t bytes_ns = rate_wait(&budget->bytes, now_ns, bytes);
    return messages_ns > bytes_ns ? messages_ns : bytes_ns;
}

void shmbus_budget_spend(struct shmbus_budget *budget, uint64_t now_ns, uint64_t bytes) {
    rate_spend(&budget->messages, now_ns, 1);
    rate_spend(&budget->bytes, now_ns, bytes);
}
