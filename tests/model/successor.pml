/*
 * The numbers of a durable publisher while its topic goes on in a successor (../../shmbus/coordinator/topics.py, and
 * shmbus_numbers_settle(), _raise() in ../../shmbus/core/ring.c and numbers.c), for exhaustive exploration with spin.  `run` builds and
 * checks it.
 *
 *   publisher    shmbus_publish   claiming; the slot: CLAIMED; the tail; COMMITTED, or, if that was taken away, ABORTED and the
 *                                 number is used again; published
 *                Publisher._move_on   at the seal, when the successor has been announced
 *   coordinator  continue_elsewhere   the successor is made and announced; the seal; what is settled of the old ring is raised in
 *                                 the successor; then that is where one begins
 *                bury, close      of one that is dead or has closed: its claims are aborted, both rings are settled
 *                open             the numbers of the old ring, if it was the same publisher's there, are raised in the successor;
 *                                 what is settled there is the last number
 *                prune            the same, before the old ring is given up
 *   settle       shmbus_numbers_settle   published; claiming; from the tail down to the last message; then published is raised
 *   anybody      a claim of somebody alive: SKIPPED, at any time
 *   retirer      retire           count_last: published is raised to the number of the message, if it is the one that was claimed
 *                                 last; again if it has moved meanwhile; then head
 *
 * A publisher may be killed between any two steps, so may a coordinator; the next one does what is left to be done
 * (_complete in ../../shmbus/coordinator/adoption.py).  A publisher may have closed, too, in the middle of the coordinator's
 * doings.  With -DSTRANGER the first publisher is an ordinary one, and its id may be a durable one's in the successor.
 *
 * What must hold.  Whoever opens it anew goes on behind the last message that was committed under that name, in whichever ring,
 * and not further: one number twice, and what is new is dropped as a duplicate.  And whoever begins to read in the successor
 * finds there at least the number of the last message from before the seal, or it would be told as lost.
 *
 * A publisher that has claimed before the seal commits after it, at any time, so what is settled at the seal may not be the
 * last; and it may publish in the successor before anything is raised there, so that what is counted there leaps.
 */
#ifndef MESSAGES
#define MESSAGES 3          /* tries, of all incarnations together */
#endif
#ifndef LIVES
#define LIVES 3             /* publishers, one after the other */
#endif
#ifndef CRASHES
#define CRASHES 1           /* of the coordinator */
#endif
#define SLOTS (MESSAGES + 1)
#define OLD 0
#define NEW 1
#define AT(r, s) ((r) * SLOTS + (s))

#define EMPTY 0
#define CLAIMED 1
#define COMMITTED 2
#define SKIPPED 3
#define ABORTED 4
#define SEAL 5

/* ---- shared memory ---- */
byte state[2 * SLOTS], number[2 * SLOTS];
byte tail[2], head[2], published[2], claiming[2];

/* ---- what the coordinator knows, and whoever comes after it finds out ---- */
bit made, told, live;       /* of the successor; live: one begins there */
bit reserved[2];            /* the id is the durable publisher's in that ring */
bit given_up;               /* the old ring */

/* ---- the world, and what only the checker sees ---- */
bit open, dead, closed;     /* the publisher that there is */
byte begin, where;          /* what it was told when it opened */
byte tries = MESSAGES, lives = LIVES, crashes = CRASHES;
byte last;                  /* number committed under the name */
byte before;                /* the same, when the ring was sealed */
#ifdef STRANGER
bit stranger = 1;           /* the publisher that there is, or was */
#else
#define stranger 0
#endif

#define DIE :: atomic { dead = 1; goto gone }

proctype publisher()
{
	byte n, s, k;
	bit r;

wait:	atomic { open -> n = begin; r = where; s = 0 };
	do
	:: atomic { tries > 0 -> tries-- }
again:
		if :: atomic { true -> claiming[r] = n + 1 } DIE fi;
claim:
		if
		:: atomic { state[AT(r, tail[r])] == EMPTY -> s = tail[r]; state[AT(r, s)] = CLAIMED; number[AT(r, s)] = n + 1 }
		:: atomic { state[AT(r, tail[r])] == SEAL && told -> r = NEW; goto again }
		DIE
		fi;
		if :: atomic { true -> if :: tail[r] == s -> tail[r] = s + 1 :: else fi } DIE fi;
		if
		:: atomic { state[AT(r, s)] == CLAIMED -> state[AT(r, s)] = COMMITTED; n++; s = 0;
			if
			:: !stranger ->
				assert(n > last);                               /* number given twice */
				last = n
			:: else
			fi }
		:: atomic { state[AT(r, s)] == SKIPPED -> state[AT(r, s)] = ABORTED; s = 0; goto on }   /* PublishRevoked */
		DIE
		fi;
		if :: atomic { true -> published[r] = n } DIE fi;
on:		skip
	:: atomic { true -> closed = 1; break }
	DIE
	od;
gone:	atomic { open = 0; n = 0; s = 0; r = 0; if :: lives > 0 -> goto wait :: else fi }
}

proctype anybody()
{
end:	do
	:: atomic { open && tail[OLD] > 0 && state[AT(OLD, tail[OLD] - 1)] == CLAIMED -> state[AT(OLD, tail[OLD] - 1)] = SKIPPED }
	od
}

/* Drops the oldest of either ring, when it likes. */
proctype retirer()
{
	byte s, p, n;
	bit r;

end:	do
	:: atomic { head[OLD] < tail[OLD] -> r = OLD; s = head[OLD] } goto drop
	:: atomic { head[NEW] < tail[NEW] -> r = NEW; s = head[NEW] }
drop:
		if
		:: atomic { head[r] > s -> skip }
		:: atomic { head[r] == s && state[AT(r, s)] == COMMITTED -> p = published[r] }
#ifndef DROP_COUNT_RUN
#ifdef DROP_AS_CLAIMED
			atomic { n = (claiming[r] > p && number[AT(r, s)] == p + 1 -> p + 1 : 0) };
#else
			atomic { n = (claiming[r] > p && number[AT(r, s)] == claiming[r] -> claiming[r] : 0) };
#endif
			atomic {
				if
				:: n && published[r] == p -> published[r] = n
#ifndef DROP_COUNT_AGAIN
				:: n && published[r] != p -> n = 0; p = 0; goto drop    /* raised meanwhile, not as far maybe */
#endif
				:: else
				fi;
				n = 0 };
#endif
			atomic { if :: head[r] == s -> head[r] = s + 1 :: else fi }
		:: atomic { head[r] == s && state[AT(r, s)] == ABORTED -> head[r] = s + 1 }
		:: atomic { head[r] == s && (state[AT(r, s)] == CLAIMED || state[AT(r, s)] == SKIPPED) -> skip }
		fi;
		atomic { r = 0; s = 0; p = 0 }
	od
}

inline raise(ring, value)
{
	if
	:: published[ring] < value -> published[ring] = value
	:: else
	fi
}

/* found: what is published in that ring */
inline settle(which)
{
	p = published[which];
	c = claiming[which];
#ifndef DROP_LOOK_FOR_LAST
	atomic { k = tail[which]; h = head[which] };
	do
	:: atomic { c > p && k > h -> k-- }
		atomic {
			if
			:: state[AT(which, k)] == COMMITTED ->
				p = (head[which] <= k -> number[AT(which, k)] : 0);
				raise(which, p);
				break
			:: else
			fi }
	:: atomic { !(c > p && k > h) -> break }
	od;
#endif
	atomic { found = published[which]; p = 0; c = 0; k = 0; h = 0 }
}

/* A coordinator is killed here, and the next one begins with what it finds. */
#define KILLED :: atomic { crashes > 0 -> crashes--; goto adopt }

inline abort(which)
{
	k = 0;
	do
	:: k < tail[which] + 1 && k < SLOTS ->
		if
		:: state[AT(which, k)] == CLAIMED || state[AT(which, k)] == SKIPPED -> state[AT(which, k)] = ABORTED;
			if :: tail[which] == k -> tail[which] = k + 1 :: else fi
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

#define UNFINISHED(s) (state[AT(OLD, s)] == CLAIMED)
#if MESSAGES > 3
#define ANY_UNFINISHED (UNFINISHED(0) || UNFINISHED(1) || UNFINISHED(2) || UNFINISHED(3))
#elif MESSAGES > 2
#define ANY_UNFINISHED (UNFINISHED(0) || UNFINISHED(1) || UNFINISHED(2))
#else
#define ANY_UNFINISHED (UNFINISHED(0) || UNFINISHED(1))
#endif

proctype coordinator()
{
	byte p, c, k, h, found;

	do
	/* continue_elsewhere */
	:: atomic { !made -> made = 1; reserved[NEW] = reserved[OLD]; found = 0 }
		if :: atomic { true -> told = 1 } KILLED fi;
seal:
#ifdef DROP_SEAL_FIRST
		settle(OLD);
		atomic { if :: reserved[NEW] -> raise(NEW, found) :: else fi };
#endif
		if
		:: atomic { state[AT(OLD, tail[OLD])] == EMPTY -> state[AT(OLD, tail[OLD])] = SEAL; before = last }
		:: atomic { state[AT(OLD, tail[OLD])] == SEAL -> skip }
		:: atomic { state[AT(OLD, tail[OLD])] != EMPTY && state[AT(OLD, tail[OLD])] != SEAL -> tail[OLD]++; goto seal }
		KILLED
		fi;
#if !defined(DROP_SEAL_FIRST) && !defined(DROP_RAISE_AT_SEAL)
		settle(OLD);
		if :: atomic { true -> if :: reserved[NEW] -> raise(NEW, found) :: else fi } KILLED fi;
#endif
		atomic { live = 1; found = 0;
			assert(!reserved[NEW] || published[NEW] >= before) }            /* a reader that begins misses it */
	/* prune */
	:: atomic { live && !given_up && !ANY_UNFINISHED -> found = 0 }
#ifndef DROP_RAISE_AT_PRUNE
		settle(OLD);
		if :: atomic { true -> if :: reserved[OLD] -> raise(NEW, found) :: else fi } KILLED fi;
#endif
		atomic { given_up = 1; found = 0 }
	/* bury, or close; then open */
	:: atomic { (dead || closed) && lives > 0 -> if :: dead -> abort(OLD); abort(NEW) :: else fi }
		settle(OLD);
		settle(NEW);
		if :: atomic { true -> dead = 0; closed = 0; found = 0 } KILLED fi;
		if
#ifdef STRANGER
		:: atomic { stranger && live && head[NEW] == tail[NEW] ->        /* its id is free, and taken by a durable one */
			stranger = 0; reserved[NEW] = 1; published[NEW] = 0; claiming[NEW] = 0 }
		:: atomic { stranger -> closed = 1; goto next }
		:: atomic { !stranger -> skip }
#else
		:: true
#endif
		fi;
		if
#ifdef DROP_RESERVED
		:: atomic { !given_up -> skip }
#else
		:: atomic { reserved[OLD] && !given_up -> skip }
#endif
#ifdef DROP_RAISE_AT_OPEN
			if :: live -> skip :: else -> settle(OLD) fi
#else
			settle(OLD);
			if :: atomic { live -> raise(NEW, found) } :: !live fi
#endif
		:: else
		fi;
		if :: live -> settle(NEW) :: else fi;
		atomic { lives--; begin = found; where = live; found = 0; open = 1;
			assert(begin >= last);                                          /* number given twice */
			assert(begin <= last) }                                         /* number never used */
next:		skip
	:: atomic { lives == 0 -> break }
	od;
	goto done;
adopt:	atomic { p = 0; c = 0; k = 0; h = 0; found = 0;
		if
		:: made && !live -> told = 1; goto seal
		:: else -> goto next
		fi };
done:	skip
}

init
{
	atomic {
#ifdef STRANGER
		reserved[OLD] = 0;
#else
		reserved[OLD] = 1;
#endif
		closed = 0; lives--; open = 1;
		run publisher(); run anybody(); run retirer(); run coordinator()
	}
}
