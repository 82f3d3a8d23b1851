/*
 * The members of a group (core/group.c), for exhaustive exploration with spin.  `run` builds and checks it.
 *
 *   word         {sequence, state, member, tries}: the lap and the slot of a word name its sequence, so it is kept whole here
 *   claim        load word, load floor; compare-and-swap an older sequence's word -> TAKEN; next = s + 1, a hint
 *   settle       compare-and-swap TAKEN by me, these tries -> SETTLED; then advance
 *   advance      load floor; load its word; SETTLED: compare-and-swap floor -> floor + 1; again
 *   give back    TAKEN -> RETURNED: by its holder (a nack), or by whoever reaps a dead member
 *   retake       RETURNED -> TAKEN by me, tries + 1
 *   judge        with ONCE, for s = next: load judged; is next still s?; compare-and-swap judged -> {highest, duplicate?, s}, or
 *                go by what stands there for s; compare-and-swap the word -> SETTLED or TAKEN; compare-and-swap next -> s + 1
 *
 * Every load, store and compare-and-swap is a step of its own; members may be killed after each of them and are reaped later.
 * All of them are seq_cst in the code, so steps interleave and nothing else; the ring's own memory order is in ring.pml.
 *
 * Shown: nobody is given what another holds, nor what was settled; the floor passes settled messages only; nothing is left
 * unsettled when nobody can go on; with ONCE no duplicate is handed out and no other message is dropped as one.
 */

#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef MESSAGES
#define MESSAGES 4
#endif
#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef NACKS
#define NACKS 1
#endif

#define NUMBER(s) ((s) <= 2 -> 1 : (s) - 1)     /* 1 1 2 3: the second message is the first one again */
#define DUPLICATE(s) ((s) == 2)

#ifdef ONCE
#define twins true
#else
#define twins false
#endif

mtype = { SETTLED, TAKEN, RETURNED };

byte word_of[WINDOW];                   /* sequence */
mtype state[WINDOW] = SETTLED;
byte holder[WINDOW];                    /* member, from 1 */
byte tries[WINDOW];
byte floor = 1;
byte next = 1;
byte high, at;                          /* judged: highest number, the sequence it was judged for */
bool twin;                              /* and whether that was a duplicate */

byte having[MESSAGES + 1];              /* who is handling it */
bool finished[MESSAGES + 1];            /* handled and settled */
bool dead[MEMBERS + 1];
byte kills = KILLS;
byte nacks = NACKS;

#define SLOT(s) ((s) % WINDOW)
#define UNCLAIMED(s) (s <= MESSAGES && word_of[SLOT(s)] < s && s - floor < WINDOW)
#define GIVEN_BACK(i) (state[i] == RETURNED && word_of[i] >= floor)
#define WORK (floor > MESSAGES || UNCLAIMED(floor) || UNCLAIMED((floor + 1)) || GIVEN_BACK(0) || GIVEN_BACK(1))

#define DIE :: atomic { kills > 0 -> kills--; goto gone }
#define STEP(what) if :: what DIE fi

inline advance(f)
{
	do
	:: STEP(f = floor);
	   if
	   :: atomic { f <= MESSAGES && word_of[SLOT(f)] == f && state[SLOT(f)] == SETTLED -> skip }
	   :: atomic { !(f <= MESSAGES && word_of[SLOT(f)] == f && state[SLOT(f)] == SETTLED) -> break }
	   fi;
	   STEP(atomic {
		if
		:: floor == f ->
			assert(finished[f] || DUPLICATE(f)); /* floor passed what was not settled */
			floor = f + 1
		:: else
		fi })
	od
}

inline handle(s, t, f)
{
	atomic {
		assert(having[s] == 0 && !finished[s]); /* handed out twice */
		having[s] = me
	}
	if
	:: atomic { nacks > 0 -> nacks--; having[s] = 0 };
	   STEP(atomic { if :: word_of[SLOT(s)] == s && state[SLOT(s)] == TAKEN && holder[SLOT(s)] == me && tries[SLOT(s)] == t ->
			state[SLOT(s)] = RETURNED; holder[SLOT(s)] = 0 :: else fi })
	:: STEP(atomic { if :: word_of[SLOT(s)] == s && state[SLOT(s)] == TAKEN && holder[SLOT(s)] == me && tries[SLOT(s)] == t ->
			state[SLOT(s)] = SETTLED; holder[SLOT(s)] = 0; having[s] = 0; finished[s] = true :: else fi });
	   advance(f)
	fi
}

/* From an older sequence's word; `won` tells. */
inline first_word(s, to, won)
{
	STEP(f = floor);
	STEP(old = word_of[SLOT(s)]);
	won = false;
	if
	:: s < f || old >= s
#ifndef DROP_WINDOW
	:: s >= f && old < s && s - f >= WINDOW
	:: s >= f && old < s && s - f < WINDOW ->
#else
	:: s >= f && old < s ->
#endif
	   STEP(atomic {
		if
		:: word_of[SLOT(s)] == old ->
			assert(old == 0 || state[SLOT(s)] == SETTLED); /* somebody's word taken away */
			word_of[SLOT(s)] = s; state[SLOT(s)] = to; won = true;
			holder[SLOT(s)] = (to == TAKEN -> me : 0); tries[SLOT(s)] = 1;
			assert(to == TAKEN || DUPLICATE(s)); /* message dropped as a duplicate */
			assert(to != TAKEN || !twins || !DUPLICATE(s)); /* duplicate handed out */
		:: else
		fi })
	fi
}

inline take_new(s)
{
	STEP(s = next);
	STEP(f = floor);
	if :: s < f -> s = f :: else fi;
	do
	:: s <= MESSAGES && word_of[SLOT(s)] == s && s - f < WINDOW -> s++
	:: else -> break
	od;
	if
	:: s > MESSAGES
	:: else ->
		first_word(s, TAKEN, won);
		if
		:: won ->
			STEP(f = next);
			if :: f == s -> STEP(next = s + 1) :: else fi;
			handle(s, 1, f)
		:: else
		fi
	fi
}

inline judge(s)
{
	STEP(atomic { if :: next < floor -> next = floor :: else fi; s = next });
	if
	:: s > MESSAGES
	:: else ->
again:		STEP(atomic { seen_high = high; seen_at = at; seen_twin = twin });
#ifndef DROP_LOOK_AT_NEXT
		if
		:: next != s -> goto passed
		:: next == s
		fi;
#endif
		if
		:: seen_at == s -> is_twin = seen_twin
		:: else ->
			is_twin = NUMBER(s) <= seen_high;
			STEP(atomic {
				if
				:: high == seen_high && at == seen_at && twin == seen_twin ->
					high = (is_twin -> high : NUMBER(s)); at = s; twin = is_twin
				:: else -> goto again
				fi })
		fi;
		first_word(s, (is_twin -> SETTLED : TAKEN), won);
#ifndef DROP_NEXT_SWAP
		STEP(atomic { if :: next == s && word_of[SLOT(s)] >= s -> next = s + 1 :: else fi });
#else
		if :: word_of[SLOT(s)] >= s -> STEP(next = s + 1) :: else fi;
#endif
		if
		:: won && !is_twin -> handle(s, 1, f)
		:: won && is_twin -> advance(f)
		:: else
		fi;
passed:		skip
	fi
}

inline take_back(i)
{
	STEP(atomic { s = word_of[i]; t = tries[i]; f = floor });
	if
	:: state[i] == RETURNED && s >= f ->
		STEP(atomic {
			if
			:: word_of[i] == s && state[i] == RETURNED && tries[i] == t ->
				state[i] = TAKEN; holder[i] = me; t = t + 1; tries[i] = t; won = true
			:: else -> won = false
			fi });
		if :: won -> handle(s, t, f) :: else fi
	:: else
	fi
}

proctype member(byte me)
{
	byte s, t, f, old, seen_high, seen_at;
	bool won, is_twin, seen_twin;
	do
	:: floor > MESSAGES -> goto over
	:: floor <= MESSAGES && WORK ->
		if
		:: GIVEN_BACK(0) -> take_back(0)
		:: GIVEN_BACK(1) -> take_back(1)
		:: UNCLAIMED(floor) || UNCLAIMED((floor + 1)) ->
#ifdef ONCE
			judge(s)
#else
			take_new(s)
#endif
		fi
	od;
gone:
	atomic {
		dead[me] = true;
		for (s : 1 .. MESSAGES) { if :: having[s] == me -> having[s] = 0 :: else fi }
	}
over:	skip
}

#define HELD_BY_THE_DEAD(i) (state[i] == TAKEN && dead[holder[i]])
#define FLOOR_LEFT_BEHIND (floor <= MESSAGES && word_of[SLOT(floor)] == floor && state[SLOT(floor)] == SETTLED)

/* The coordinator, or another member where there is none: gives back what a dead one held, and moves the floor on. */
proctype reaper()
{
	do
	:: floor > MESSAGES -> break
	:: atomic { HELD_BY_THE_DEAD(0) -> state[0] = RETURNED; holder[0] = 0 }
	:: atomic { HELD_BY_THE_DEAD(1) -> state[1] = RETURNED; holder[1] = 0 }
#ifndef DROP_REAPERS_ADVANCE
	:: atomic { kills < KILLS && FLOOR_LEFT_BEHIND -> floor++ }
#endif
	:: timeout ->
		assert(false) /* nobody can go on, and something is not settled */
	od
}

init
{
	atomic {
		byte m;
		for (m : 1 .. MEMBERS) { run member(m) }
		run reaper()
	}
}
