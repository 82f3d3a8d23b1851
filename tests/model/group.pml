/*
 * Groups (../../shmbus/core/group.c), for exhaustive exploration with spin.  `run` builds and checks it.
 *
 * What is modelled, step by step, and the C function each step stands for
 *
 *   member       retake    floor, then word by word: RETURNED -> TAKEN, one try more
 *                seek      next, floor, then word by word
 *                claim     word, floor, compare-and-swap from an older lap to TAKEN; then next (exact with -DONCE only)
 *                run       the next word, too, before next, and both are settled before advance (-DRUN)
 *                judge     J1 verdict, J2 number, J3 the word, J4 next (-DONCE)
 *                settle    TAKEN -> SETTLED, then advance
 *                return    TAKEN -> RETURNED, then a look at the floor, then perhaps SETTLED and counted
 *                skip      word by word, the floor, word by word again (-DLOSSY: the ring's head moves as it likes)
 *   advance      floor, then word by word, compare-and-swap of the floor
 *   keeper       expire    the same as return, for any holder at any time
 *                put_away  before a claim or a skip: what an earlier lap left TAKEN or RETURNED -> SETTLED and counted
 *   reaper       reap      the same as return, for all that a dead member holds, and the look at the floor for all that
 *                          was given back, word by word; then advance
 *
 * A member may die before and after any step that stores (what it has loaded dies with it).  Sequences begin at WINDOW, with
 * every word an older lap's.  A word is {sequence, state, tries, member}.  One step may stand for several loads where what was
 * seen first cannot have changed when the last is seen: words up to the first that nobody was given, and words settled from
 * the floor on while the floor stays.  One step may stand for load + compare-and-swap where the decision depends on that word
 * only.  Which of the words given back a member finds is left open.  Everything in group.c that decides is seq_cst, and so is
 * spin; -DDROP_... changes the order of steps, or leaves one out.
 */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef RETURNS
#define RETURNS 1           /* nacks and deadlines */
#endif
#define MEMBERS 2
#define WINDOW 2
#define FIRST WINDOW
#define LAST (FIRST + MESSAGES)

#define SETTLED 0
#define TAKEN 1
#define RETURNED 2
#define MAKE(s, st, tr, m) ((s) << 7 | (st) << 5 | (tr) << 2 | (m))
#define SEQ(w) ((w) >> 7)
#define STATE(w) (((w) >> 5) & 3)
#define TRIES(w) (((w) >> 2) & 7)
#define WHO(w) ((w) & 3)
#define AT(s) word[(s) % WINDOW]

/* numbers of one producer: 1 1 2 3 */
#define NUMBER(s) ((s) == FIRST -> 1 : (s) - FIRST)
#define DUPLICATE(s) ((s) - FIRST == 1)

/* ---- shared memory ---- */
short word[WINDOW];
byte floor = FIRST, next = FIRST, head = FIRST;
byte verdict, judged;       /* verdict: sequence << 1 | duplicate */

/* ---- the world, and what only the checker sees ---- */
bool dead[MEMBERS], settled[LAST];
byte counted[LAST];         /* how often a message was counted as lost */
byte deaths = DEATHS, returns = RETURNS;

#define DIE :: atomic { deaths > 0 -> deaths--; dead[me] = 1; goto gone }
#define STEP(x) if :: atomic { true -> x } DIE fi

inline lose(s)
{
	counted[s]++;
	assert(counted[s] == 1 && !settled[s])                                  /* counted twice */
}

/* A word is needed for a later lap that somebody still holds, or gave back when the floor had passed it. */
inline put_away(old)
{
#ifdef LOSSY
	lose(SEQ(old));
#else
	assert(false);                                                          /* word used again too early */
#endif
	old = MAKE(SEQ(old), SETTLED, 0, 0)
}
#define IS_LEFT(s) (STATE(AT(s)) != SETTLED)

inline pass_floor(to)
{
	k = floor;
	do
	:: k < to ->
#ifndef LOSSY
		assert(settled[k])                                              /* floor passed an unsettled message */
#endif
		k++
	:: else -> break
	od;
	k = 0; floor = to
}

#define SETTLED_AT(s) ((s) < LAST && SEQ(AT(s)) == (s) && STATE(AT(s)) == SETTLED)
#define SETTLED_FROM(s) (SETTLED_AT(s) -> (SETTLED_AT((s) + 1) -> 2 : 1) : 0)

inline advance()
{
	do
	:: true ->
#ifndef DROP_FLOOR_AFTER_SETTLING
		f = floor;
#endif
		if
		:: atomic { SETTLED_FROM(f) == 0 -> break }
		:: atomic { SETTLED_FROM(f) != 0 -> n = SETTLED_FROM(f) }
		fi;
		STEP(if :: floor == f -> pass_floor(f + n) :: else fi; n = 0);
#ifdef DROP_FLOOR_AFTER_SETTLING
		f = floor
#endif
	od;
	f = 0
}

/* After TAKEN -> RETURNED of s, w is the word now. */
inline look_at_floor()
{
#if defined(LOSSY) && !defined(DROP_LOOK_AT_FLOOR)
	atomic { f = floor; if :: s >= f -> f = 0 :: else fi };
	if
	:: f -> STEP(if :: AT(s) == w -> AT(s) = MAKE(s, SETTLED, 0, 0); lose(s) :: else fi)
	:: else
	fi
#else
	skip
#endif
}

inline seen_before_next()
{
	assert(next <= floor || next > LAST || SEQ(AT(next - 1)) >= next - 1)   /* next passed what nobody was given */
}

inline move_next()
{
#ifdef ONCE
#ifdef DROP_EXACT_NEXT
	STEP(next = s + 1)
#else
	STEP(if :: next == s -> next = s + 1 :: else fi)
#endif
#else
	atomic { n = (next >= s && next <= s + more -> 1 : 0) };
	if
#ifdef DROP_AS_FAR_AS_CLAIMED
	:: n -> STEP(next = s + 2; n = 0; seen_before_next())
#else
	:: n -> STEP(next = s + 1 + more; n = 0; seen_before_next())
#endif
	:: else
	fi
#endif
}

/* [f, h) was dropped by the ring */
inline drop()
{
	do
	:: at < h && at < f + WINDOW ->
		if
		:: atomic { true ->
			if
			:: SEQ(AT(at)) < at && IS_LEFT(at) -> put_away(AT(at))
			:: (SEQ(AT(at)) < at && !IS_LEFT(at)) || (SEQ(AT(at)) == at && STATE(AT(at)) == RETURNED) ->
				AT(at) = MAKE(at, SETTLED, 0, 0); lose(at); at++
			:: else -> at++
			fi }
		DIE
		fi
	:: else -> break
	od
}

#ifdef RUN
#define DONE done
#else
#define DONE again
#endif

/* Is there anything that a member could do? */
#ifdef ONCE
#define OPEN(s) (next == (s) && (s) < floor + WINDOW)
#else
#define OPEN(s) ((s) >= floor && (s) < floor + WINDOW && SEQ(AT(s)) < (s))
#endif
#define OFFERED(s) ((s) < LAST && (OPEN(s) || ((s) >= floor && AT(s) >> 5 == ((s) << 2 | RETURNED))))
#if MESSAGES > 3
#define WORK (OFFERED(FIRST) || OFFERED(FIRST + 1) || OFFERED(FIRST + 2) || OFFERED(FIRST + 3) || floor + WINDOW < head || next < floor)
#else
#define WORK (OFFERED(FIRST) || OFFERED(FIRST + 1) || OFFERED(FIRST + 2) || floor + WINDOW < head || next < floor)
#endif

proctype member(byte me)
{
	byte f, at, n, h, s, k, seen;
	short w;
	bool repeated, missing, more;

again:
	atomic { f = 0; at = 0; n = 0; h = 0; s = 0; w = 0; seen = 0; repeated = 0; missing = 0; more = 0 };
	if
	:: atomic { floor == LAST -> goto gone }
	:: atomic { floor != LAST && WORK -> f = floor }
	DIE
	fi;

	/* shmbus_group_retake */
	if
	:: atomic { AT(f) >> 5 == (f << 2 | RETURNED) -> s = f; goto retaken }
	:: atomic { f + 1 < LAST && SEQ(AT(f)) >= f && AT(f + 1) >> 5 == ((f + 1) << 2 | RETURNED) -> s = f + 1;
retaken:
		w = MAKE(s, TAKEN, TRIES(AT(s)) + 1, me); AT(s) = w; f = 0;
		assert(!settled[s] && !counted[s]);                             /* given out after it was settled */
		goto holds }
	:: atomic { true -> f = 0; n = next }
	fi;

	/* shmbus_group_next, shmbus_group_seek */
	atomic { f = floor; if :: n >= f -> at = 1 :: else fi };
	if
	:: at
	:: else -> STEP(if :: next == n -> next = f :: else fi; n = f)
	fi;
#ifdef ONCE
	atomic { s = n;
#else
	atomic { s = (n < LAST && n < f + WINDOW && SEQ(AT(n)) == n ->
		(n + 1 < LAST && n + 1 < f + WINDOW && SEQ(AT(n + 1)) == n + 1 -> n + 2 : n + 1) : n);
#endif
		f = 0; n = 0; at = 0;
		if
		:: s >= LAST -> goto again
		:: else
		fi
	};

#ifdef LOSSY
	atomic { h = head; if :: s >= h -> h = 0 :: else fi };
	if
	:: h ->
		/* shmbus_group_skip */
		do
		:: atomic { floor >= h -> break }
		:: atomic { floor < h -> f = floor; at = f }
			drop();
			if
			:: atomic { true ->
				if
				:: floor == f ->
					at = f + WINDOW;
					do
					:: at < h -> lose(at); at++
					:: else -> break
					od;
					pass_floor(h); at = f
				:: else -> at = h
				fi }
			DIE
			fi;
#ifndef DROP_LOOK_AGAIN
			drop()
#else
			skip
#endif
		od;
		atomic { f = 0; h = 0; at = 0 };
		advance();
		goto again
	:: else
	fi;
#endif

#ifdef ONCE
	/* shmbus_group_judge */
	if
	:: atomic { s >= floor + WINDOW || s < floor -> goto again }
	:: atomic { s < floor + WINDOW && s >= floor -> skip }
	fi;
judge:
	n = verdict;
#ifndef DROP_LOOK_AT_NEXT
	atomic { if :: next != s -> goto again :: else fi };
#endif
	atomic { seen = judged;
		repeated = NUMBER(s) <= seen; seen = 0;
		if
#ifndef DROP_HELP
		:: n >> 1 == s -> repeated = n & 1; n = 0; goto decided
#endif
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

	/* first_word */
try_word:
	f = floor;
	if
	:: atomic { s < f || SEQ(AT(s)) >= s -> f = 0; goto passed }
#ifndef DROP_WINDOW
	:: atomic { s >= f && SEQ(AT(s)) < s && s - f >= WINDOW -> goto again }
	:: atomic { s >= f && SEQ(AT(s)) < s && s - f < WINDOW && IS_LEFT(s) -> put_away(AT(s)); goto try_word }
	:: atomic { s >= f && SEQ(AT(s)) < s && s - f < WINDOW && !IS_LEFT(s) ->
#else
	:: atomic { s >= f && SEQ(AT(s)) < s && IS_LEFT(s) -> put_away(AT(s)); goto try_word }
	:: atomic { s >= f && SEQ(AT(s)) < s && !IS_LEFT(s) ->
#endif
		f = 0;
		assert(!settled[s] && !counted[s]);                             /* given out after it was settled */
#ifdef ONCE
		if
		:: repeated ->
			assert(DUPLICATE(s));                                   /* new message dropped */
			w = MAKE(s, SETTLED, 0, 0); settled[s] = 1
		:: else ->
			assert(!DUPLICATE(s));                                  /* duplicate given out */
			w = MAKE(s, TAKEN, 1, me)
		fi;
#else
		w = MAKE(s, TAKEN, 1, me);
#endif
		AT(s) = w }
	DIE
	fi;
#ifdef RUN
	/* shmbus_group_claim_run */
try_more:
	f = floor;
	if
	:: atomic { s + 1 < LAST && s + 1 >= f && s + 1 - f < WINDOW && SEQ(AT(s + 1)) <= s && IS_LEFT(s + 1) ->
		put_away(AT(s + 1)); goto try_more }
	:: atomic { s + 1 >= LAST || s + 1 < f || s + 1 - f >= WINDOW || SEQ(AT(s + 1)) > s -> f = 0 }
	:: atomic { s + 1 < LAST && s + 1 >= f && s + 1 - f < WINDOW && SEQ(AT(s + 1)) <= s && !IS_LEFT(s + 1) ->
		f = 0;
		assert(!settled[s + 1] && !counted[s + 1]);                     /* given out after it was settled */
		AT(s + 1) = MAKE(s + 1, TAKEN, 1, me); more = 1 }
	DIE
	fi;
#endif
	move_next();
#ifdef ONCE
	if
	:: repeated -> goto settles
	:: else
	fi;
#endif
	goto holds;
passed:
	move_next();
	goto again;

holds:
#ifdef LOSSY
	missing = s < head;
#endif
	if
	:: atomic { returns > 0 -> returns--;                                           /* shmbus_group_return */
		if
		:: AT(s) == w -> w = MAKE(s, RETURNED, TRIES(w), 0); AT(s) = w
		:: else -> goto DONE
		fi }
		look_at_floor();
		goto DONE
	:: true
	fi;
	/* shmbus_group_settle, _run */
#ifdef DROP_FLOOR_AFTER_SETTLING
	f = floor;
#endif
	if
	:: atomic { true ->
		if
#ifdef DROP_HOLDER
		:: SEQ(AT(s)) == s && STATE(AT(s)) != SETTLED ->
			assert(AT(s) == w);                                             /* settled by one who has lost it */
#else
		:: AT(s) == w ->
#endif
			AT(s) = MAKE(s, SETTLED, TRIES(w), 0);
			if
			:: missing -> lose(s)
			:: else -> assert(!settled[s] && !counted[s]); settled[s] = 1   /* settled twice */
			fi
		:: else
		fi }
	DIE
	fi;
#ifdef RUN
	atomic { if :: more -> goto done :: else fi };
#endif
settles:
	advance();
	goto again;
#ifdef RUN
done:
	if
	:: atomic { more -> more = 0; s++; w = MAKE(s, TAKEN, 1, me); f = 0; goto holds }
	:: atomic { !more -> goto again }
	fi;
#endif
gone:
	f = 0; at = 0; n = 0; h = 0; s = 0; w = 0; k = 0; seen = 0; repeated = 0; missing = 0; more = 0
}

/* Deadlines: whoever holds what, it is given back. Never dies: the next one does the same. */
proctype keeper()
{
	byte me = MEMBERS, s, f, k;
	short w;

end:	do
	:: atomic { returns > 0 && STATE(word[0]) == TAKEN -> returns--; s = 0 } goto expire
	:: atomic { returns > 0 && STATE(word[1]) == TAKEN -> returns--; s = 1 }
expire:
		atomic { if
		:: STATE(word[s]) == TAKEN -> w = MAKE(SEQ(word[s]), RETURNED, TRIES(word[s]), 0); word[s] = w; s = SEQ(w)
		:: else -> s = 0; goto next_one
		fi }
#if defined(LOSSY) && !defined(DROP_LOOK_AT_FLOOR)
		atomic { f = floor }
		atomic { if :: s < f && AT(s) == w -> AT(s) = MAKE(s, SETTLED, 0, 0); lose(s) :: else fi; s = 0; f = 0; w = 0 }
#endif
next_one:	skip
	od
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
#ifndef DROP_REAPER_COMPLETES
			:: STATE(word[i]) == RETURNED -> w = word[i]; s = SEQ(w)
#endif
			:: else -> s = 0
			fi }
#if defined(LOSSY) && !defined(DROP_LOOK_AT_FLOOR)
		atomic { f = floor }
		atomic { if :: s && s < f && AT(s) == w -> AT(s) = MAKE(s, SETTLED, 0, 0); lose(s) :: else fi; s = 0; f = 0; w = 0 }
#endif
		i++
	:: else -> break
	od;
#ifndef DROP_REAPER_ADVANCES
	do
	:: true ->
		f = floor;
		if
		:: atomic { SETTLED_FROM(f) == 0 -> break }
		:: atomic { SETTLED_FROM(f) != 0 -> n = SETTLED_FROM(f) }
		fi;
		atomic { if :: floor == f -> pass_floor(f + n) :: else fi; n = 0 }
	od;
#endif
	i = 0; f = 0
}

#ifdef LOSSY
/* The ring drops as much as it likes, when it likes. */
proctype ring()
{
	byte h = FIRST;
	do
	:: h < LAST -> h++
	:: true -> break
	od;
	head = h
}
#endif

init
{
	byte k;
	atomic {
		do
		:: k < WINDOW -> word[k] = MAKE(k, SETTLED, 0, 0); k++
		:: else -> break
		od;
		run member(0); run member(1); run reaper(0); run reaper(1); run keeper();
#ifdef LOSSY
		run ring();
#endif
		k = FIRST
	};
	/* nobody can take a step */
	atomic { timeout ->
		assert(floor == LAST || (dead[0] && dead[1]));                          /* stuck */
		do
		:: k < LAST && !(dead[0] && dead[1]) ->
#ifdef LOSSY
			assert(settled[k] || counted[k]);                               /* loss not counted */
#else
			assert(settled[k]);                                             /* floor passed an unsettled message */
#endif
			k++
		:: else -> break
		od
	}
}
