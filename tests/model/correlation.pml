/*
 * Order of correlation groups: the rings of two topics read as one stream (../../shmbus/core/python/correlated.c), for exhaustive
 * exploration with spin.  `run` builds and checks it.
 *
 *   publisher    the number is taken; the slot, of either topic: CLAIMED; COMMITTED.  One that is killed, or stops for ever, leaves a
 *                number that nobody uses, or a claim
 *   coordinator  the second topic is pushed to the reader before anybody publishes there; the successor of the first topic's ring
 *                is pushed, then that ring is sealed; the claims of the killed: ABORTED
 *   time         what is held becomes due, in the order in which it came, at any moment
 *   reader       next_open        what has its turn is handed out; what is missing before it, if it was due, is told first
 *                release_due      of what is due, that which came first: the marks are set, which are the tails of the rings; when all
 *                                 is read up to them, and no ring has come meanwhile, it goes
 *                step             look at what was pushed; then ring after ring, until there is a message, which is taken in: it
 *                                 passes, or is held
 *                release_at_rest  there is none, and that look had begun after the marks were set: what is due goes
 *                wait             for a message, for a push, and for what is held to become due
 *
 * There is one group.  It begins with number 0, or with the lowest that came in time.  The claim and the tail are one step, as in
 * merge.pml.  Left out: the bounds of what is held, beyond which it goes early and is counted; the windows of durable
 * subscriptions, which are in the way as claims are; who is woken, which is in wake.pml.
 *
 *   -DTWICE      two handlers of one message give the same numbers
 *   -DFLOOD      there is a third topic, which always has a message, of no group
 *   -DRAISES     a signal handler may raise, once, when the reader looks at what was pushed
 *
 * What must hold.  Messages are handed out by number, each once; what is missing before one is told, each number once; what comes
 * after it was told is handed out at once.  No number is told that could be read when the time had passed, and nothing is held for
 * longer than it takes to read what stood in the rings then.  When nobody can take a step, all that can be read is handed out.
 */
#ifndef FIRST
#define FIRST 2             /* tries of publisher 0 */
#endif
#ifndef SECOND
#define SECOND 1            /* of publisher 1 */
#endif
#ifndef DISASTERS
#define DISASTERS 1         /* kills and stops */
#endif
#define TRIES (FIRST + SECOND)
#define EACH(me) (me == 0 -> FIRST : SECOND)
#define RINGS 3             /* of the first topic, its successor, of the second topic */
#define AT(r, s) ((r) * TRIES + (s))
#define PATIENCE (2 * TRIES + 2)    /* messages that may be taken while something is due: all there are, and those of the flood */

#define EMPTY 0
#define COMMITTED 1
#define ABORTED 2
#define CLAIMED 3
#define KILLED 4            /* claimed, by somebody who is dead */
#define UNFINISHED(r, s) (state[AT(r, s)] >= CLAIMED)
#define NONE 255

/* ---- shared memory ---- */
byte state[RINGS * TRIES], number[RINGS * TRIES], tail[RINGS];
bit sealed;                 /* the first topic's ring */
bit pushed[RINGS], attention;

/* ---- the reader's: what is held, by when it came; time is what makes it due ---- */
byte count, held[TRIES], position[RINGS];
bit due[TRIES];

/* ---- what only the checker sees ---- */
byte numbers, killed, disasters = DISASTERS;
bit out[RINGS * TRIES];     /* handed out */
byte expected = NONE;       /* the lowest number that was neither handed out nor told; NONE: the group has not begun */
byte there[TRIES];          /* of what is due: which numbers could be read when it became that, as bits */

#define HURT :: atomic { disasters > 0 -> disasters--; goto gone }

proctype publisher(byte me)
{
	byte n, r, s, left = EACH(me);

	do
	:: atomic { left > 0 -> left--;
#ifdef TWICE
		n = EACH(me) - 1 - left
#else
		n = numbers; numbers++
#endif
		}
		if
		:: atomic { r = (sealed -> 1 : 0); s = tail[r]; tail[r] = s + 1; state[AT(r, s)] = CLAIMED; number[AT(r, s)] = n }
		:: atomic { pushed[2] -> r = 2; s = tail[r]; tail[r] = s + 1; state[AT(r, s)] = CLAIMED; number[AT(r, s)] = n }
		HURT
		fi;
		if
		:: atomic { true -> state[AT(r, s)] = COMMITTED; n = 0; s = 0; r = 0 }
		:: atomic { disasters > 0 -> disasters--; state[AT(r, s)] = KILLED; killed++; goto gone }
		HURT
		fi
	:: atomic { left == 0 -> break }
	od;
gone:	atomic { n = 0; s = 0; r = 0; left = 0 }
}

proctype coordinator()
{
	byte k;

	if
	:: atomic { pushed[2] = 1; attention = 1 };
		atomic { pushed[1] = 1; attention = 1 };
		sealed = 1
	:: atomic { pushed[1] = 1; attention = 1 };
		sealed = 1;
		atomic { pushed[2] = 1; attention = 1 }
	fi;
end:	do
	:: atomic { killed > 0 ->
		do
		:: state[k] != KILLED -> k++
		:: else -> break
		od;
		state[k] = ABORTED; killed--; k = 0 }
	od
}

/* Which numbers can be read in that ring, and are waited for. */
inline look_around(r)
{
	k = 0;
	do
	:: k < tail[r] && !UNFINISHED(r, k) ->
		if
		:: state[AT(r, k)] == COMMITTED && (expected == NONE || number[AT(r, k)] >= expected) ->
			there[i] = there[i] | (1 << number[AT(r, k)])
		:: else
		fi;
		k++
	:: else -> break
	od
}

proctype time()
{
	byte i, k;

end:	do
	:: atomic { count > 0 && !due[count - 1] ->
		do
		:: due[i] -> i++
		:: else -> break
		od;
		due[i] = 1;
		look_around(0);
		if
		:: sealed && k == tail[0] -> look_around(1)
		:: else
		fi;
		look_around(2);
		k = 0; i = 0 }
	od
}

#define READABLE(r) (position[r] < tail[r] && !UNFINISHED(r, position[r]))
#define AT_SEAL(r) ((r) == 0 && position[r] == tail[r] && sealed)

/* ---- the group is changed by nobody but the reader, so each of these is one step ---- */

inline hand_out(slot)
{
	assert(!out[slot]);                                                     /* handed out twice */
	out[slot] = 1;
	if
	:: expected == NONE -> expected = number[slot]
	:: else
	fi;
	assert(number[slot] <= expected);                                       /* out of order */
	if
	:: number[slot] == expected -> expected++
	:: else
	fi
}

/* Those numbers are missing, as what was due is handed out. */
inline miss(from, upto)
{
	n = from;
	do
	:: n < upto -> assert(!(read & (1 << n))); n++                          /* told though it was there */
	:: else -> break
	od;
	n = 0
}

inline tell(from, upto)
{
	assert(from == expected);                                               /* told twice */
	miss(from, upto);
	expected = upto
}

/* The lowest number that is held; of equal ones that which came first. */
inline lowest()
{
	low = NONE; i = 0;
	do
	:: i < count ->
		if
		:: low == NONE -> low = i
		:: low != NONE && number[held[i]] < number[held[low]] -> low = i
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

inline let_go(which)
{
	i = which;
	do
	:: i + 1 < count -> held[i] = held[i + 1]; due[i] = due[i + 1]; there[i] = there[i + 1]; marked[i] = marked[i + 1]; i++
	:: else -> break
	od;
	count--; held[count] = 0; due[count] = 0; there[count] = 0; marked[count] = 0; i = 0
}

#define ITS_TURN ((begun && number[held[low]] <= next) || (upto != NONE && number[held[low]] <= upto))

inline next_open()
{
	do
	:: lowest();
		if
		:: low == NONE -> break
		:: low != NONE && !ITS_TURN -> break
		:: else
		fi;
		if
		:: !begun -> begun = 1; next = number[held[low]]; miss(0, next)
		:: else
		fi;
		if
		:: number[held[low]] > next ->
#ifndef DROP_TELL
			tell(next, number[held[low]]);
#endif
			next = number[held[low]]
		:: else
		fi;
#ifndef DROP_NEXT_MOVES
		if :: number[held[low]] == next -> next++ :: else fi;
#endif
		hand_out(held[low]);
		let_go(low)
	od;
	low = NONE; upto = NONE
}

inline release_oldest()
{
	read = there[0];
#ifdef DROP_LOWER_FIRST
	begun = 1; hand_out(held[0]); next = number[held[0]] + 1; let_go(0);
#else
	upto = number[held[0]];
#endif
	next_open();
	beyond = 0; read = 0
}

inline take_in(slot)
{
	if
	:: number[slot] == 0 -> begun = 1
	:: else
	fi;
	if
#ifdef DROP_LATE_PASSES
	:: !begun || number[slot] != next ->
#else
	:: !begun || number[slot] > next ->
#endif
		held[count] = slot; count++
	:: else ->
		hand_out(slot);
		if :: number[slot] == next -> next++ :: else fi;
#ifndef DROP_OPEN
		next_open()
#endif
	fi
}

#define IS_DUE (count > 0 && due[0])
#define IS_MARKED (count > 0 && marked[0])

/* Is there nothing more to be had before the mark of that ring? */
inline read_to_mark(r)
{
	if
	:: !reads[r] || (position[r] >= mark[r]
#ifndef DROP_SEAL
		&& !AT_SEAL(r)
#endif
		)
#ifndef DROP_CLAIM_PASSES
	:: reads[r] && position[r] < mark[r] && !READABLE(r)
#endif
	:: else -> goto step
	fi
}

/* Whatever is due now was due when the marks were set. */
inline set_marks()
{
	do
	:: i < count -> marked[i] = due[i]; i++
	:: else -> break
	od;
	i = 0; fresh = 0;
	mark[0] = (reads[0] -> tail[0] : 0); mark[1] = (reads[1] -> tail[1] : 0); mark[2] = (reads[2] -> tail[2] : 0)
}

/* A message was taken while something was due, and the marks say how far to read. */
inline taken()
{
#ifdef FLOOD
	if
	:: IS_MARKED && !fresh -> beyond++; assert(beyond <= PATIENCE)                  /* held for too long */
	:: else -> beyond = 0
	fi
#else
	skip
#endif
}

proctype reader()
{
	byte mark[RINGS], next, upto = NONE, turn, idle;
	byte low = NONE, read, i, n, beyond;
	bit begun, fresh, reads[RINGS], marked[TRIES], raised;

	reads[0] = 1;

pick:	/* release_due */
	atomic {
		if
		:: !IS_DUE -> fresh = 0; mark[0] = 0; mark[1] = 0; mark[2] = 0; goto step
#ifdef DROP_MARKS
		:: IS_DUE -> release_oldest(); goto pick
#endif
#ifdef DROP_FRESH
		:: IS_DUE && !marked[0] -> set_marks(); goto step
#else
		:: IS_DUE && (!marked[0] || fresh) -> set_marks(); goto step
#endif
		:: else
		fi
	};
#ifndef DROP_ATTENTION
	if :: atomic { attention -> goto step } :: atomic { !attention } fi;
#endif
	atomic { read_to_mark(0) };
	atomic { read_to_mark(1) };
	atomic { read_to_mark(2) };
	atomic { release_oldest(); goto pick };

step:	atomic {
		if :: turn = 0 :: reads[1] -> turn = 1 :: reads[2] -> turn = 2 fi;
		if
		:: attention ->
#ifdef RAISES
			if
			:: !raised -> raised = 1; goto pick
			:: true
			fi;
#endif
			attention = 0;
			if :: pushed[2] && !reads[2] -> reads[2] = 1; fresh = 1 :: else fi
		:: else
		fi
	};
look:	atomic {
		if
		:: reads[turn] && READABLE(turn) && state[AT(turn, position[turn])] == COMMITTED ->
			taken();
			position[turn] = position[turn] + 1;
			take_in(AT(turn, position[turn] - 1));
			turn = 0; idle = 0; goto pick
		:: reads[turn] && READABLE(turn) && state[AT(turn, position[turn])] == ABORTED ->
			position[turn] = position[turn] + 1
		:: reads[turn] && AT_SEAL(turn) ->
			reads[0] = 0; reads[1] = 1; fresh = 1; idle = 0
		:: else -> turn = (turn + 1) % RINGS; idle++
		fi
	};
	if
	:: atomic { idle < RINGS -> goto look }
	:: atomic { idle == RINGS -> idle = 0; turn = 0 }
	fi;
#ifdef FLOOD
	atomic { taken(); goto pick };
#endif
	/* release_at_rest */
	atomic {
		if
#ifdef DROP_LOOK_AFTER
		:: IS_DUE ->
#else
		:: IS_MARKED ->
#endif
			release_oldest(); goto pick
		:: else
		fi;
		lowest();
		assert(low == NONE || !ITS_TURN);                               /* held though its turn has come */
		low = NONE
	};
end:	atomic {
		(attention || (reads[0] && (READABLE(0) || AT_SEAL(0))) || (reads[1] && READABLE(1)) || (reads[2] && READABLE(2))
#ifndef DROP_DUE_WAKES
		|| IS_DUE
#endif
		) -> goto pick
	}
}

/* all that can be read of a ring is handed out */
#define THROUGH(r) (position[r] == tail[r] || UNFINISHED(r, position[r]))

init
{
	atomic {
		pushed[0] = 1;
		run publisher(0); run publisher(1); run coordinator(); run time(); run reader()
	};
	/* nobody can take a step */
	atomic { timeout ->
		assert(count == 0 && THROUGH(0) && (position[0] < tail[0] || THROUGH(1)) && THROUGH(2)) /* sleeps beside a message */
	}
}
