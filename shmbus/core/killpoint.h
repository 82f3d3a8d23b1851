/* Named places at which a test can have this process killed. Compiled in only with SHMBUS_KILLPOINTS. */
#ifndef SHMBUS_KILLPOINT_H
#define SHMBUS_KILLPOINT_H

#ifdef SHMBUS_KILLPOINTS
/* SIGKILL this process when it passes `site` for the count-th time. NULL disarms. */
void shmbus_killpoint_arm(const char *site, unsigned count);
void shmbus_killpoint(const char *site);
/* Every site compiled into the core, ended by NULL. */
extern const char *const shmbus_killpoint_sites[];
#define KILLPOINT(site) shmbus_killpoint(site)
#else
#define KILLPOINT(site) ((void)0)
#endif

#endif
