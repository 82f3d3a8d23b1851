/* Which numbers of a segment's layout this library works with. */
#include "layout.h"

const struct shmbus_layout shmbus_ring_layout = {"ring", RING_MAGIC, SHMBUS_RING_LAYOUT, SHMBUS_RING_OLDEST};
const struct shmbus_layout shmbus_session_layout = {"session", SESSION_MAGIC, SHMBUS_SESSION_LAYOUT, SHMBUS_SESSION_OLDEST};
const struct shmbus_layout shmbus_bells_layout = {"bells", BELLS_MAGIC, SHMBUS_BELLS_LAYOUT, SHMBUS_BELLS_OLDEST};
const struct shmbus_layout shmbus_group_layout = {"group", GROUP_MAGIC, SHMBUS_GROUP_LAYOUT, SHMBUS_GROUP_OLDEST};

bool shmbus_layout_known(const struct shmbus_layout *layout, uint32_t number) {
    return layout->oldest <= number && number <= layout->newest;
}
