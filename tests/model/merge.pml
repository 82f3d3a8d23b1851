/*
 * Order of the producers: two rings read as one stream (../../shmbus/core/python/merge.c), for exhaustive exploration with spin.
 * `run` builds and checks it.
 *
 *   client       shmbus_publish   the time is read; the slot: CLAIMED; the tail; COMMITTED; the bell.  Then its next, in another ring
 *   reader       begin_round      the limit of each ring: its tail; what was pushed; the mark of each ring: its tail once more
 *                look_up          the next message of a ring, up to its mark; NOTHING and MESSAGE hold until the next round, or
 *                                 until it was taken
 *                may_overtake     while a claim blocks: nothing of its own client that is not younger stands in the other ring
 *                choose           that, or the one with the lowest time, if it stands before its ring's limit and no claim blocks
 *                reader_wait      arm; look again, with a round of its own; sleep
 *   coordinator  the second ring is pushed to the reader before anybody publishes there
 *   anybody      a claim whose client was killed: ABORTED, and the bell
 *
 * Client 0 publishes in ring 0, then in ring 1, client 1 the other way round, THIRD once more in ring 0.  One of them may be killed
 * inside a claim, or stop there for ever.  The claim and the tail are one step: that a tail may come late is
 * in ring.pml, and to the reader it is a claim that comes later.  Left out: what is urgent, which overtakes by the same rule; successors and groups, whose seals and windows block as
 * a claim does; who is woken for those is in wake.pml.  A bell is its waiting bit.
 *
 * What must hold.  What a client has published before is handed out before; and when nobody can take a step, all is handed out,
 * but for what stands behind a claim that is stopped, in its ring or by its client.
 */
#ifndef THIRD
#define THIRD 1             /* messages of client 0 after its first two */
#endif
#ifndef DISASTERS
#define DISASTERS 1         /* kills and stops, inside a claim */
#endif
#define SLOTS 4
#define AT(r, s) ((r) * SLOTS + (s))

#define EMPTY 0
#define CLAIMED 1
#define COMMITTED 2
#define ABORTED 3

#define UNKNOWN 0
#define NOTHING 1
#define MESSAGE 2
#define CLAIM 3
#define OTHER 4
#define NONE 255

/* ---- shared memory ---- */
byte state[2 * SLOTS], time[2 * SLOTS], client_at[2 * SLOTS], nth[2 * SLOTS];
byte tail[2], clock;
bit attention, armed;       /* attention: the second ring has been pushed; armed: the waiting bits, of all words */

/* ---- the world, and what only the checker sees ---- */
bit dead[2], stopped[2], intact, asleep;
byte disasters = DISASTERS;
byte position[2];
byte got[2];                /* of each client: how many of its messages are through */

inline ring_bell() { if :: armed -> armed = 0; intact = 0; asleep = 0 :: else fi }

#define TO(me, n) ((me + n) % 2)
#define TRIES(me) (me == 0 -> 2 + THIRD : 2)
#define HURT :: atomic { disasters > 0 -> disasters--; dead[me] = 1; goto gone } :: atomic { disasters > 0 -> disasters--; stopped[me] = 1; goto gone }

proctype client(byte me)
{
	byte n, s, t;
	bit r;

	do
	:: atomic { n < TRIES(me) && (TO(me, n) == 0 || attention) -> r = TO(me, n);
#ifndef DROP_TIME_BEFORE_CLAIM
		clock++; t = clock
#endif
		}
		atomic { s = tail[r]; state[AT(r, s)] = CLAIMED; client_at[AT(r, s)] = me; nth[AT(r, s)] = n; tail[r] = s + 1 };
#ifdef DROP_TIME_BEFORE_CLAIM
		atomic { clock++; t = clock };
#endif
		if :: atomic { true -> time[AT(r, s)] = t; state[AT(r, s)] = COMMITTED } HURT fi;
		atomic { ring_bell(); n++; s = 0; t = 0; r = 0 }
	:: atomic { n == TRIES(me) -> break }
	od;
gone:	atomic { n = 0; t = 0; s = 0; r = 0 }
}

proctype coordinator()
{
	byte k;

	atomic { attention = 1; ring_bell() };
end:	atomic { dead[0] || dead[1] -> k = 0;
		do
		:: k < 2 * SLOTS ->
			if
			:: state[k] == CLAIMED && dead[client_at[k]] -> state[k] = ABORTED
			:: else
			fi;
			k++
		:: else -> break
		od;
		ring_bell(); k = 0 }
}

/* The next message of ring r, as it is known now. */
inline look_up(r)
{
	if
	:: has[r] != UNKNOWN && has[r] != CLAIM
	:: else ->
		if
		:: position[r] >= mark[r] || state[AT(r, position[r])] == EMPTY -> has[r] = NOTHING
#ifdef DROP_CLAIM_BLOCKS
		:: position[r] < mark[r] && state[AT(r, position[r])] == CLAIMED -> has[r] = NOTHING
#else
		:: position[r] < mark[r] && state[AT(r, position[r])] == CLAIMED -> has[r] = CLAIM
#endif
		:: position[r] < mark[r] && state[AT(r, position[r])] == ABORTED -> has[r] = OTHER
		:: position[r] < mark[r] && state[AT(r, position[r])] == COMMITTED -> has[r] = MESSAGE
		fi
	fi
}

/* Nothing of that client stands in the other ring that is not younger. */
inline overtake(r)
{
	if
	:: at == NONE && has[r] == MESSAGE && position[r] < limit[r] ->
		at = r;
#ifndef DROP_LAST_OF
		k = position[1 - r];
		do
		:: k < mark[1 - r] ->
			if
			:: state[AT(1 - r, k)] == COMMITTED && client_at[AT(1 - r, k)] == client_at[AT(r, position[r])] &&
			   time[AT(1 - r, k)] <= time[AT(r, position[r])] -> at = NONE
			:: else
			fi;
			k++
		:: else -> break
		od;
		k = 0
#endif
	:: else
	fi
}

#define TIME(r) time[AT(r, position[r])]

/* which ring goes on; the rest of choose(), when both have been looked up */
inline decide()
{
	at = NONE;
	if
	:: has[0] == OTHER -> at = 0
	:: has[0] != OTHER && has[1] == OTHER -> at = 1
	:: has[0] != OTHER && has[1] != OTHER && (has[0] == CLAIM || has[1] == CLAIM) ->
#ifndef DROP_OVERTAKE
		overtake(0);
		overtake(1)
#else
		skip
#endif
	:: else ->
		if
		:: has[0] == MESSAGE && (has[1] != MESSAGE || TIME(0) < TIME(1)) -> at = 0
		:: has[1] == MESSAGE && (has[0] != MESSAGE || TIME(1) < TIME(0)) -> at = 1
		:: else
		fi;
#ifndef DROP_LIMIT
		if
		:: at != NONE && position[at] >= limit[at] -> at = NONE
		:: else
		fi
#endif
	fi
}

proctype reader()
{
	byte has[2], limit[2], mark[2], at = NONE, k;
	bit knows, fresh, arms;         /* arms: this is the look after arming */

pick:	atomic { if :: fresh -> fresh = 0; has[0] = UNKNOWN; has[1] = UNKNOWN; limit[0] = 0; limit[1] = 0; mark[0] = 0; mark[1] = 0; goto round :: else fi };
	/* choose() in the round that there is */
	atomic { look_up(0) };
	atomic { look_up(1) };
	atomic { decide(); if :: at != NONE -> goto take :: else fi };

round:	/* begin_round() */
#ifdef DROP_MARK_AFTER
	atomic { mark[0] = tail[0] };
	atomic { mark[1] = (knows -> tail[1] : 0) };
#endif
	atomic { limit[0] = tail[0] };
	atomic { limit[1] = (knows -> tail[1] : 0) };
#ifndef DROP_ATTENTION
	atomic { if :: attention != knows -> knows = 1; fresh = 1; at = NONE; goto pick :: else fi };
#endif
#ifndef DROP_MARK_AFTER
	atomic { mark[0] = tail[0] };
	atomic { mark[1] = (knows -> tail[1] : 0) };
#endif
	atomic {
		if :: has[0] == NOTHING -> has[0] = UNKNOWN :: else fi;
		if :: has[1] == NOTHING -> has[1] = UNKNOWN :: else fi
	};
	atomic { look_up(0) };
	atomic { look_up(1) };
	atomic { decide(); if :: at != NONE -> goto take :: else fi };

	/* reader_wait() */
	if
	:: atomic { !arms -> armed = 1; intact = 1; arms = 1;
#ifdef DROP_ATTENTION
		if :: attention != knows -> knows = 1; fresh = 1 :: else fi;
#endif
#ifdef DROP_LOOK_AGAIN
		goto sleep
#else
		goto pick
#endif
		}
	:: atomic { arms -> skip }
	fi;
sleep:	atomic { asleep = intact };
end:	atomic { !asleep -> arms = 0; goto pick };

take:	atomic {
		k = AT(at, position[at]);
		if
		:: state[k] == COMMITTED ->
			assert(nth[k] == got[client_at[k]]);                    /* out of order */
			got[client_at[k]] = nth[k] + 1
		:: else -> assert(state[k] == ABORTED)                          /* passed unfinished */
		fi;
		position[at] = position[at] + 1; has[at] = UNKNOWN; at = NONE; k = 0; arms = 0;
		goto pick
	}
}

/* Has it to wait for what is stopped? */
#define HELD_UP(r) (position[r] < tail[r] && state[AT(r, position[r])] == CLAIMED)
#define BEHIND(r) (position[r] < tail[r] && !HELD_UP(r) && nth[AT(r, position[r])] != got[client_at[AT(r, position[r])]])
#define THROUGH(r) (position[r] == tail[r] || ((stopped[0] || stopped[1]) && (HELD_UP(r) || BEHIND(r))))

init
{
	atomic { run client(0); run client(1); run coordinator(); run reader() };
	/* nobody can take a step */
	atomic { timeout ->
		assert(THROUGH(0) && THROUGH(1))                                        /* sleeps beside a message */
	}
}
