/* A group in shared anonymous memory: processes that are forked afterwards see the same one. */
#ifndef GROUP_RIG_H
#define GROUP_RIG_H

#include <string.h>
#include <sys/mman.h>

#include "rig.h"

struct group_rig {
    void *memory;
    size_t size;
    struct shmbus_group_setup setup;
};

static inline struct group_rig group_rig(uint32_t window, uint32_t producers) {
    struct group_rig rig = {.setup = {.lanes = 2, .window = window, .producers = producers}};
    struct shmbus_session_setup session = {.session = 7};
    memcpy(session.boot_id, rig_boot, sizeof session.boot_id);
    rig.size = shmbus_group_bytes(&rig.setup);
    rig.memory = mmap(NULL, rig.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(rig.memory != MAP_FAILED);
    shmbus_group_init(rig.memory, &session, &rig.setup);
    return rig;
}

static inline struct shmbus_group rig_member(const struct group_rig *rig, uint32_t lane, uint32_t member) {
    struct shmbus_group group;
    CHECK(shmbus_group_view(&group, rig->memory, &rig->setup, lane, member));
    return group;
}

static inline void group_rig_close(struct group_rig *rig) { munmap(rig->memory, rig->size); }

#endif
