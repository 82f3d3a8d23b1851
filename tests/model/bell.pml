/*
 * Sleeping and waking (bell_arm, bell_ring), for exhaustive exploration with spin.  `run` builds and checks it.
 *
 *   bell word    epoch << 1 | waiting
 *   waiter       bell_arm   v = load; compare-and-swap v -> v | 1; full fence; look at the ring again; futex_wait(word == v | 1)
 *   publisher    commit; full fence; bell_ring  w = load; if w & 1: compare-and-swap w -> w + 1 (clears the bit, next epoch),
 *                and whoever wins that wakes all
 *
 * Why it holds.  Both sides store, then load what the other stores.  With a full fence between on both sides at least one
 * of them sees the other: the waiter sees the message, or the publisher sees the bit.  A publisher whose compare-and-swap
 * fails need not try again: another publisher cleared the same bit and wakes everybody who set it or found it set, and
 * whoever arms after that looks at the ring again, where the message already is.  The epoch keeps a waiter from sleeping on
 * a bit that was cleared after it had armed.
 *
 * Memory order.  A commit goes through the publisher's store buffer (`buffered`), which empties at any moment or at the
 * fence; a waiter without its fence may look at the ring before its compare-and-swap is seen (a release store and a later
 * load can change places).  A publisher may die after any step; whatever it has stored is still seen.
 *
 * Between the compare-and-swap and the wake, and between the commit and the load of the bell, a killed publisher leaves a
 * waiter asleep beside a message.  Nothing repairs that; the sleep bound ends it (BOUND), and nothing else needs the bound.
 */

#ifndef WAITERS
#define WAITERS 1
#endif
#ifndef PUBLISHERS
#define PUBLISHERS 2
#endif
#ifndef EACH
#define EACH 2                          /* messages of a publisher */
#endif
#ifndef KILLS
#define KILLS 0
#endif
#define ALL (PUBLISHERS * EACH)

byte bell;
byte ring;                              /* messages that everybody sees */
bool buffered[PUBLISHERS];              /* a commit that only its publisher sees yet */
bool asleep[WAITERS];                   /* in the kernel's queue */
byte got[WAITERS];                      /* messages that a waiter has seen */
byte kills = KILLS;
byte running = PUBLISHERS;
bool rescued;                           /* some sleep was ended by its bound alone */

#ifdef BOUND
#define RESCUABLE1(w) (asleep[w] && ring > got[w])
#if WAITERS > 1
#define RESCUABLE (RESCUABLE1(0) || RESCUABLE1(1))
#else
#define RESCUABLE RESCUABLE1(0)
#endif
#else
#define RESCUABLE false
#endif

#define DIE :: atomic { kills > 0 -> kills--; running--; goto gone }

proctype publisher(byte me)
{
	byte n, w, k;

	do
	:: atomic { n < EACH -> n++; buffered[me] = 1 }                         /* ring_commit */
#ifndef DROP_PUBLISHER_FENCE
		if :: atomic { !buffered[me] -> skip } DIE fi;                  /* full fence: the buffer is empty */
#endif
		if :: atomic { true -> w = bell } DIE fi;                       /* bell_ring */
		if
		:: atomic { (w & 1) == 0 -> w = 0; goto rung }
		:: atomic { (w & 1) == 1 && bell != w -> w = 0; goto rung }     /* another publisher wakes */
		:: atomic { (w & 1) == 1 && bell == w ->
#ifdef DROP_EPOCH
			bell = w - 1;
#else
			bell = w + 1;
#endif
			w = 0 }
		DIE
		fi;
		if
		:: atomic { true -> k = 0;                                      /* futex_wake, all */
			do
			:: k < WAITERS -> asleep[k] = 0; k++
			:: else -> break
			od;
			k = 0 }
		DIE
		fi;
rung:
#ifdef DROP_PUBLISHER_FENCE
		if :: atomic { !buffered[me] -> skip } DIE fi;                  /* one commit at a time in the buffer */
#else
		skip;
#endif
	:: atomic { n == EACH -> running--; break }
	DIE
	od;
gone:
	n = 0; w = 0; k = 0
}

proctype waiter(byte me)
{
	byte v, seen;

	do
	:: atomic { ring > got[me] -> got[me] = ring }                          /* ring_read until there is nothing */
	:: atomic { ring == got[me] ->
		if
		:: got[me] == ALL -> break
		:: else -> v = bell                                             /* bell_arm */
		fi }
#ifdef DROP_WAITER_FENCE
		seen = ring;
#endif
		if
		:: atomic { bell == v -> bell = v | 1; v = v | 1 }
		:: atomic { bell != v -> v = 0; seen = 0; goto again }
		fi;
#ifndef DROP_WAITER_FENCE
#ifdef DROP_LOOK_AGAIN
		seen = got[me];
#else
		seen = ring;
#endif
#endif
		if
		:: atomic { seen != got[me] -> v = 0; seen = 0; goto again }
		:: atomic { seen == got[me] -> seen = 0 }
		fi;
#ifdef DROP_FUTEX_COMPARE
		atomic { asleep[me] = 1; v = 0 };
#else
		atomic { if :: bell == v -> asleep[me] = 1 :: else fi; v = 0 }; /* futex_wait compares and queues in one */
#endif
		if
		:: atomic { !asleep[me] -> skip }
#ifdef BOUND
		:: atomic { timeout && ring > got[me] -> asleep[me] = 0; rescued = 1 }
#endif
		fi;
again:		skip
	od
}

/* the store buffers */
proctype memory()
{
	byte k;
end:	do
	:: atomic { buffered[0] -> buffered[0] = 0; ring++ }
#if PUBLISHERS > 1
	:: atomic { buffered[1] -> buffered[1] = 0; ring++ }
#endif
	od
}

init
{
	byte k;
	atomic {
		do
		:: k < PUBLISHERS -> run publisher(k); k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < WAITERS -> run waiter(k); k++
		:: else -> break
		od;
		k = 0;
		run memory()
	};
	/* nobody can take a step, and no sleep bound is left to run out */
	atomic { timeout && !RESCUABLE ->
		do
		:: k < WAITERS -> assert(got[k] == ring); k++                   /* lost wake */
		:: else -> break
		od;
		assert(running == 0 && (KILLS || !rescued))                 /* bound needed without a kill */
	}
}
