/*
 * A group that goes on in a ring's successor (../../shmbus/core/group.c), for exhaustive exploration with spin.  `run` builds
 * and checks it.  What happens to a message in one ring is in group.pml; here is what changes where the ring does.
 *
 *   member       returned_waits   is_here: the floor, within the ring that this member reads; else nothing is retaken
 *                retake           floor, then word by word: RETURNED -> TAKEN
 *                deliver          one that stands in another ring than the member's: given back
 *                look             next, floor, then word by word; past the tail of a ring that is sealed: that is read to its seal
 *                claim            word, floor, compare-and-swap from an older lap to TAKEN; then next (exact with -DONCE)
 *                pass             the same to SETTLED, of a claim that came to nothing (-DVOID), then advance
 *                judge            J1 verdict, J2 number, J3 the word, J4 next (-DONCE)
 *                settle, return   as in group.pml
 *                group_settled    at the seal: advance, then: has the floor reached it?
 *                bridge           advance; the floor from the seal to the successor's first; next.  Then it reads the successor
 *   coordinator  seal             the ring is sealed, and the successor there
 *                give_up          once nothing in the ring is kept for the group (hold), or at any time (-DLOSSY): skip up to the
 *                                 seal, then bridge.  Who joins after that reads the successor only (-DLATE: member 1 does,
 *                                 if there is nobody else it joins before)
 *   reaper       reap             what a dead member holds is given back, word by word; then advance
 *
 * A member may die before and after any step that stores.  The coordinator may, too, in the middle of giving up: the next one
 * begins anew.  Sequences begin at WINDOW, with every word an older lap's; from the seal to the successor's first they leap.
 * What is said of steps and of memory order in group.pml holds here.
 *
 * What must hold.  Every message of either ring is settled once, or counted once as dropped; the floor passes nothing else; no
 * member stays in the ring before; and whoever comes when that is gone finds the group in the successor.
 */
#ifndef OLD
#define OLD 2               /* messages of the ring */
#endif
#ifndef NEW
#define NEW 2               /* and of its successor */
#endif
#ifndef DEATHS
#define DEATHS 1            /* of members, and of the coordinator */
#endif
#ifndef RETURNS
#define RETURNS 1           /* nacks and deadlines */
#endif
#define MEMBERS 2
#define WINDOW 2
#define FIRST WINDOW
#define SEALED (FIRST + OLD)
#define BEGIN (SEALED + WINDOW + 1)
#define LAST (BEGIN + NEW)

#define SETTLED 0
#define TAKEN 1
#define RETURNED 2
#define MAKE(s, st, tr, m) ((s) << 7 | (st) << 5 | (tr) << 2 | (m))
#define SEQ(w) ((w) >> 7)
#define STATE(w) (((w) >> 5) & 3)
#define TRIES(w) (((w) >> 2) & 7)
#define WHO(w) ((w) & 3)
#define AT(s) word[(s) % WINDOW]

#define STANDS(s) ((s) >= FIRST && (s) < LAST && ((s) < SEALED || (s) >= BEGIN))        /* in either ring */
#define IN(r, s) (STANDS(s) && ((r) == ((s) >= BEGIN)))
#ifdef VOID
#define NOTHING(s) ((s) == SEALED - 1)  /* a claim that came to nothing */
#else
#define NOTHING(s) false
#endif

/* numbers of one producer: 1 2, and in the successor 2 3 */
#define NUMBER(s) ((s) < BEGIN -> (s) - FIRST + 1 : (s) - BEGIN + OLD)
#define DUPLICATE(s) ((s) == BEGIN)

/* ---- shared memory ---- */
short word[WINDOW];
byte floor = FIRST, next = FIRST;
byte verdict, judged;       /* verdict: sequence << 1 | duplicate */
bit sealed;

/* ---- the world, and what only the checker sees ---- */
bit dead[MEMBERS + 1], settled[LAST];
bit reads[MEMBERS];         /* which of the two */
bit given_up;
byte counted[LAST];         /* how often a message was counted as lost */
byte deaths = DEATHS, returns = RETURNS;

#define DIE :: atomic { deaths > 0 -> deaths--; dead[me] = 1; goto gone }
#define STEP(x) if :: atomic { true -> x } DIE fi

inline lose(s)
{
	counted[s]++;
	assert(counted[s] == 1 && !settled[s])                                  /* counted twice */
}

/* a word goes to a later lap */
inline abandon(old)
{
	if
	:: STATE(old) != SETTLED && SEQ(old) >= FIRST ->
#ifdef LOSSY
		lose(SEQ(old))
#else
		assert(false)                                                   /* word used again too early */
#endif
	:: else
	fi
}

inline pass_floor(to)
{
	assert(to > floor);                                                     /* floor goes back */
	k = floor;
	do
	:: k < to ->
#ifndef LOSSY
		assert(!STANDS(k) || settled[k]);                               /* floor passed an unsettled message */
#endif
		k++
	:: else -> break
	od;
	k = 0; floor = to
}

#define SETTLED_AT(s) (SEQ(AT(s)) == (s) && STATE(AT(s)) == SETTLED)
#define SETTLED_FROM(s) (SETTLED_AT(s) -> (SETTLED_AT((s) + 1) -> 2 : 1) : 0)

inline try_floor(from, to) { if :: floor == from -> pass_floor(to) :: else fi }

inline advance()
{
	do
	:: true ->
		f = floor;
		if
		:: atomic { SETTLED_FROM(f) == 0 -> break }
		:: atomic { SETTLED_FROM(f) != 0 -> n = SETTLED_FROM(f) }
		fi;
		STEP(try_floor(f, f + n); n = 0)
	od;
	f = 0
}

/* shmbus_group_next(), into n */
inline find_next()
{
	n = next;
	atomic { f = floor; if :: n >= f -> f = 0 :: else fi };
	if
#ifdef DROP_CATCH_UP
	:: f -> n = f; f = 0
#else
	:: f -> STEP(if :: next == n -> next = f :: else fi; n = f; f = 0)
#endif
	:: else
	fi
}

/* shmbus_group_bridge() */
inline bridge()
{
	advance();
#ifdef DROP_FROM_THE_SEAL
	STEP(pass_floor(BEGIN));
#else
	STEP(try_floor(SEALED, BEGIN));
#endif
	find_next();
	atomic { n = 0; f = 0 }
}

/* After TAKEN -> RETURNED of s, w is the word now. */
inline look_at_floor()
{
#ifdef LOSSY
	atomic { f = floor; if :: s >= f -> f = 0 :: else fi };
	if
	:: f -> STEP(if :: AT(s) == w -> AT(s) = MAKE(s, SETTLED, 0, 0); lose(s) :: else fi; f = 0)
	:: else
	fi
#else
	skip
#endif
}

inline move_next()
{
#ifdef ONCE
	STEP(if :: next == s -> next = s + 1 :: else fi)
#else
	n = next == s;
	if
	:: n -> STEP(next = s + 1; n = 0)
	:: else
	fi
#endif
}

/* shmbus_group_skip() up to the seal, of what nobody holds */
inline drop()
{
	do
	:: at < SEALED && at < f + WINDOW ->
		STEP(if
			:: SEQ(AT(at)) < at -> abandon(AT(at)); AT(at) = MAKE(at, SETTLED, 0, 0); if :: NOTHING(at) -> settled[at] = 1 :: else -> lose(at) fi
			:: SEQ(AT(at)) == at && STATE(AT(at)) == RETURNED -> AT(at) = MAKE(at, SETTLED, 0, 0); lose(at)
			:: else
			fi;
			at++)
	:: else -> break
	od
}

/* What this member can do. */
#ifdef ONCE
#define OPEN(s) (next == (s) && (s) < floor + WINDOW)
#else
#define OPEN(s) ((s) >= floor && (s) < floor + WINDOW && SEQ(AT(s)) < (s))
#endif
#define OFFERED(s) (IN(reads[me], s) && (OPEN(s) || ((s) >= floor && AT(s) >> 5 == ((s) << 2 | RETURNED))))
#ifdef DROP_PAST_THE_SEAL
#define AT_SEAL (sealed && !reads[me] && floor == SEALED)
#else
#define AT_SEAL (sealed && !reads[me] && floor >= SEALED)
#endif
#ifdef DROP_CATCH_UP
#define BEHIND false
#else
#define BEHIND (reads[me] && next < floor)
#endif
#define WORK (OFFERED(floor) || OFFERED(floor + 1) || AT_SEAL || BEHIND)

proctype member(byte me)
{
	byte f, n, s, k, seen, at;
	short w;
	bit repeated, found;

#ifdef LATE
	atomic { me == 0 || given_up || dead[0] -> reads[me] = me && given_up };
#endif
again:
	atomic { f = 0; n = 0; s = 0; w = 0; seen = 0; repeated = 0; found = 0 };
	if
	:: atomic { floor == LAST && reads[me] -> goto gone }
	:: atomic { !(floor == LAST && reads[me]) && WORK -> f = floor }
	DIE
	fi;

	/* returned_waits(), shmbus_group_retake() */
	if :: (f >= BEGIN) == reads[me] :: else -> goto looks fi;
	f = floor;
	if
	:: atomic { AT(f) >> 5 == (f << 2 | RETURNED) -> s = f; goto retaken }
	:: atomic { f + 1 < LAST && SEQ(AT(f)) >= f && AT(f + 1) >> 5 == ((f + 1) << 2 | RETURNED) -> s = f + 1;
retaken:
		w = MAKE(s, TAKEN, TRIES(AT(s)) + 1, me); AT(s) = w; f = 0;
		assert(!settled[s] && !counted[s]);                             /* given out after it was settled */
		if
#ifndef DROP_GIVE_BACK
		:: !IN(reads[me], s) -> assert(!reads[me]); goto gives_back
#endif
		:: else -> goto holds
		fi }
	:: atomic { true -> f = 0 }
	fi;
looks:
	/* look() */
	find_next();
	atomic {
		f = floor;
#ifdef ONCE
		s = n;
#else
		s = (n < f + WINDOW && SEQ(AT(n)) == n -> (n + 1 < f + WINDOW && SEQ(AT(n + 1)) == n + 1 -> n + 2 : n + 1) : n);
#endif
		f = 0; n = 0;
		if
		:: !reads[me] && sealed && s == SEALED -> goto at_seal
#ifndef DROP_PAST_THE_SEAL
		:: !reads[me] && sealed && s > SEALED -> s = 0; goto at_seal
#endif
		:: else -> if :: !IN(reads[me], s) -> goto again :: else fi
		fi };
	goto ours;

at_seal:
	/* shmbus_group_settled() */
	advance();
#ifndef DROP_ALL_SETTLED
	atomic { if :: floor < SEALED -> goto again :: else fi };
#endif
	bridge();
	atomic { reads[me] = 1; goto again };

ours:
#ifdef ONCE
	/* shmbus_group_judge() */
	if
	:: atomic { s >= floor + WINDOW || s < floor -> goto again }
	:: atomic { s < floor + WINDOW && s >= floor -> skip }
	fi;
judge:
	n = verdict;
	atomic { if :: next != s -> goto again :: else fi };
	atomic { seen = judged;
		repeated = NUMBER(s) <= seen; seen = 0;
		if
		:: n >> 1 == s -> repeated = n & 1; n = 0; goto decided
		:: else
		fi };
	STEP(if :: verdict == n -> verdict = s << 1 | repeated; n = 0 :: else -> goto judge fi);
decided:
	if
	:: repeated
	:: else ->
raise:
		seen = judged;
		atomic { if :: next != s -> goto again :: NUMBER(s) <= seen -> goto raised :: else fi };
		STEP(if :: judged == seen -> judged = NUMBER(s) :: else -> goto raise fi)
	fi;
raised:
	atomic { n = 0; seen = 0 };
#endif
	/* first_word() */
	f = floor;
	if
	:: atomic { s < f || SEQ(AT(s)) >= s -> f = 0; goto passed }
	:: atomic { s >= f && SEQ(AT(s)) < s && s - f >= WINDOW -> goto again }
	:: atomic { s >= f && SEQ(AT(s)) < s && s - f < WINDOW ->
		f = 0;
		abandon(AT(s));
		assert(!settled[s] && !counted[s]);                             /* given out after it was settled */
#ifdef ONCE
		assert(repeated == DUPLICATE(s));                               /* duplicate given out, or new message dropped */
#endif
		if
		:: NOTHING(s) || repeated -> w = MAKE(s, SETTLED, 0, 0); settled[s] = 1; found = 1
		:: else -> w = MAKE(s, TAKEN, 1, me)
		fi;
		AT(s) = w }
	DIE
	fi;
	move_next();
	if
	:: found -> goto settles
	:: else -> goto holds
	fi;
passed:
	move_next();
	goto again;

holds:
	if
	:: atomic { returns > 0 -> returns--;                                           /* shmbus_group_return() */
gives_back:
		if
		:: AT(s) == w -> w = MAKE(s, RETURNED, TRIES(w), 0); AT(s) = w
		:: else -> goto again
		fi }
		look_at_floor();
		goto again
	:: true
	fi;
	/* shmbus_group_settle(); what another ring has there is no message of ours */
	if
	:: atomic { true ->
		if
		:: AT(s) == w ->
			assert(IN(reads[me], s));                               /* settled without having been read */
			AT(s) = MAKE(s, SETTLED, TRIES(w), 0);
			assert(!settled[s] && !counted[s]); settled[s] = 1      /* settled twice */
		:: else
		fi }
	DIE
	fi;
settles:
	advance();
	goto again;
gone:
	f = 0; n = 0; s = 0; w = 0; k = 0; seen = 0; repeated = 0; found = 0; at = 0
}

proctype coordinator()
{
	byte me = MEMBERS, f, n, k, at;

	sealed = 1;
gone:	atomic { f = 0; n = 0; k = 0; at = 0 };                                         /* the next one begins anew */
#if !defined(LOSSY) && !defined(DROP_HOLD)
	floor >= SEALED;                                                                /* Groups.hold() */
#endif
	/* Groups.give_up(): shmbus_group_skip() */
#ifndef DROP_SKIP
	do
	:: atomic { floor >= SEALED -> break }
	:: atomic { floor < SEALED -> f = floor; at = f }
		drop();
		STEP(if
			:: floor == f ->
				at = f + WINDOW;
				do
				:: at < SEALED -> lose(at); at++
				:: else -> break
				od;
				pass_floor(SEALED); at = f
			:: else -> at = SEALED
			fi);
		drop()
	od;
	atomic { f = 0; at = 0 };
#endif
#ifndef DROP_GIVE_UP_BRIDGES
	bridge();
#endif
	given_up = 1
}

proctype reaper(byte one)
{
	byte i, s, f, n, k;
	short w;

end:	atomic { dead[one] -> skip }
	do
	:: i < WINDOW ->
		atomic {
			if
			:: STATE(word[i]) == TAKEN && WHO(word[i]) == one ->
				w = MAKE(SEQ(word[i]), RETURNED, TRIES(word[i]), 0); word[i] = w; s = SEQ(w)
			:: else -> s = 0
			fi }
#ifdef LOSSY
		atomic { f = floor }
		atomic { if :: s && s < f && AT(s) == w -> AT(s) = MAKE(s, SETTLED, 0, 0); lose(s) :: else fi; s = 0; f = 0; w = 0 }
#endif
		i++
	:: else -> break
	od;
	do
	:: true ->
		f = floor;
		if
		:: atomic { SETTLED_FROM(f) == 0 -> break }
		:: atomic { SETTLED_FROM(f) != 0 -> n = SETTLED_FROM(f) }
		fi;
		atomic { try_floor(f, f + n); n = 0 }
	od;
	i = 0; f = 0
}

#define ALL_DEAD (dead[0] && dead[1])
#define STAYS (floor >= SEALED && !((dead[0] || reads[0]) && (dead[1] || reads[1])))

init
{
	byte k;
	atomic {
		do
		:: k < WINDOW -> word[k] = MAKE(k, SETTLED, 0, 0); k++
		:: else -> break
		od;
		run member(0); run member(1); run reaper(0); run reaper(1); run coordinator();
		k = FIRST
	};
	/* nobody can take a step */
	atomic { timeout ->
		if
		:: given_up && floor < BEGIN -> assert(false)                           /* left in a ring that is gone */
		:: !(given_up && floor < BEGIN) && STAYS -> assert(false)               /* a member stays behind */
		:: !(given_up && floor < BEGIN) && !STAYS -> assert(floor == LAST || ALL_DEAD)  /* stuck */
		fi;
		do
		:: k < floor && !ALL_DEAD ->
#ifdef LOSSY
			assert(!STANDS(k) || settled[k] || counted[k] || (DEATHS > 0 && AT(k) >> 5 == (k << 2 | RETURNED)));    /* loss not counted */
#else
			assert(!STANDS(k) || settled[k]);                               /* floor passed an unsettled message */
#endif
			k++
		:: else -> break
		od
	}
}
