/*
 * Who wakes whom around a group (../../shmbus/core/python/group_reader.c), for exhaustive exploration with spin.  `run` builds
 * and checks it.  What the bells do is argued in bell.pml, what the words of messages do in group.pml.
 *
 *   receiver     look       of each lane: what was given back (`returned`, then a look for it), else what is new; if that is
 *                           not within the window, or behind a seal (-DCUT): blocked = 1, then the floor once more
 *                take       one compare-and-swap; it may come too late
 *                rest       nothing is there: publishers hear of all that was settled (group_idle)
 *                arm        the word of each lane, or of the bus (-DWIDE); then look again; then sleep
 *   handler      settle     SETTLED; the floor; if it moved: `blocked`, and whoever clears that rings the members' bell; then the
 *                           publishers, every EVERY messages, or at once if the receiver rests
 *                nack       RETURNED; `returned`; then the members' bell
 *   publisher    commit, then the members' bell; or no room: arm the word for space; look again; sleep
 *   reaper       a dead member's messages as by nack; the floor; then both bells
 *
 * A handler is what settles: the thread that receives, then `busy` until it is through, or another one, or a task (not with
 * -DALONE), while the receiver goes on, or sleeps.  It may take for ever.  A message of number s stands in lane s % LANES; with
 * two lanes the lowest number goes first, and a lane whose window is full holds up the others (order="producer"; what may
 * overtake there is left out).  A deadline is a nack by somebody else.  Member 0 is killed between any two steps of either of
 * its two; nobody handles for ever then.  Not modelled: what is held back in the order of correlation groups is out, and
 * released by time, so nobody has to be woken for it.
 *
 * What must hold whenever nobody can take a step: no member sleeps beside a message that it could take, and no publisher
 * beside room.  Except for room of less than EVERY messages which a busy member has made: it is told of when that rests.
 * Where somebody was killed between clearing a bit and waking, the sleep bound ends the sleep (BOUND); nothing else needs it.
 *
 * Memory order.  Each of the pairs below stores one and loads the other, on both sides; all are seq_cst, or have a full fence
 * between.  -DDROP_... lets a load go before its store, or leaves a step out.
 *
 *   floor, then blocked                     blocked, then floor                    window, seal
 *   floor, then the word for space          arm, then floor                        room
 *   returned, then the members' word        arm, then returned                     given back
 *   a message, then the members' word       arm, then the message                  published
 *
 * A bell is its waiting bit here, and of each who has armed it whether it has been rung since (`intact`, what the epoch tells in
 * bell.pml); `returned` is of each member whether it has grown since that looked.  Before it arms, a receiver may look at all at
 * once, as what it sees then decides nothing but what it takes.  A flag that it sets then is set again after.
 */
#ifndef MESSAGES
#define MESSAGES 3          /* at most */
#endif
#ifndef LANES
#define LANES 1
#endif
#ifndef PUBLISHERS
#define PUBLISHERS 1
#endif
#ifndef WINDOW
#define WINDOW 2            /* messages of a lane that may be out at a time */
#endif
#ifndef ROOM
#define ROOM 2              /* messages of a ring */
#endif
#ifndef EVERY
#define EVERY 2
#endif
#ifndef NACKS
#define NACKS 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef CUT
#define CUT MESSAGES        /* messages from this one of a lane on stand in the ring's successor */
#endif
#ifndef BEFORE
#define BEFORE 0            /* messages that are there from the beginning */
#endif
#define MEMBERS 2
#define DEPTH ((MESSAGES + LANES - 1) / LANES)
#define NONE 255

#define FREE 0
#define TAKEN 1             /* by member 0; TAKEN + 1: by member 1 */
#define RETURNED 3
#define SETTLED 4

/* ---- shared memory ---- */
bit data[LANES], space[LANES], bus;     /* waiting bits */
byte published = BEFORE;                /* messages below this are there */
byte word[DEPTH * LANES];
byte floor[LANES];                      /* counts a lane's messages */
bit blocked[LANES];

/* ---- of a process ---- */
byte unsignalled[MEMBERS * LANES];
bit resting[MEMBERS], busy[MEMBERS];
bit intact[MEMBERS], unseen[MEMBERS * LANES];
byte armed[PUBLISHERS];                 /* lane + 1 for room in which a publisher armed the word, until that is rung */

/* ---- the world, and what only the checker sees ---- */
bit asleep[MEMBERS];
byte sleeps[PUBLISHERS];                /* lane + 1 */
bit dead[MEMBERS];
byte deaths = DEATHS, nacks = NACKS;
bit rescued;                            /* some sleep was ended by its bound alone */

#define AT(l, i) word[(i) * LANES + (l)]
#define WITHIN(l, i) ((i) < floor[l] + WINDOW && ((i) < CUT || floor[l] >= CUT))
#ifdef DROP_PASSED_IS_OPEN
#define OPEN(l, i) (WITHIN(l, i) && (i) >= floor[l])
#else
#define OPEN(l, i) WITHIN(l, i)         /* also of what was given to another meanwhile, and settled: there is more to look at */
#endif
#define BEGIN(i) ((i) < CUT -> 0 : CUT)                                         /* of its ring */
#define HAS_ROOM(l, i) ((i) < (floor[l] < BEGIN(i) -> BEGIN(i) : floor[l]) + ROOM)
#define LANE_OF(s) ((s) % LANES)
#define INDEX(s) ((s) / LANES)
#define OF(m, l) (m) * LANES + (l)
#define HOLDS(m, s) (word[s] == TAKEN + (m))
#if MESSAGES > 2
#define HOLDS_ANY(m) (HOLDS(m, 0) || HOLDS(m, 1) || HOLDS(m, 2))
#else
#define HOLDS_ANY(m) (HOLDS(m, 0) || HOLDS(m, 1))
#endif

#ifdef WIDE
#define HEARS_BUS(m) ((m) == 1)         /* that one has too many lanes for a word each */
#else
#define HEARS_BUS(m) false
#endif

#ifdef BOUND
#define THEN }; atomic {                /* a member may be killed here */
#else
#define THEN ;
#endif

/* shmbus_bell_ring(): the swap, and the system call; w: whether it is called at all, and then whether it has swapped */
inline swap_data(l)
{
	w = w && data[l];
	if
	:: w -> data[l] = 0; intact[0] = 0; intact[1] = intact[1] && HEARS_BUS(1)
	:: else
	fi
}

inline wake_members(l)
{
	if
	:: w && asleep[0] -> asleep[0] = 0;
#ifndef DROP_WAKE_ALL
		asleep[1] = asleep[1] && HEARS_BUS(1)
#endif
	:: w && !asleep[0] -> asleep[1] = asleep[1] && HEARS_BUS(1)
	:: else
	fi;
	w = 0
}

inline ring_bus()
{
#ifdef WIDE
	atomic {
		if
		:: bus -> bus = 0; intact[1] = 0; asleep[1] = 0
		:: else
		fi
	}
#else
	skip
#endif
}

/* of whoever is no publisher */
inline ring_members(l)
{
	atomic { swap_data(l) THEN wake_members(l) }
#if defined(WIDE) && !defined(DROP_BUS_WORD)
	; ring_bus()
#endif
}

inline swap_space(l)
{
	w = w && space[l];
	k = 0;
	do
	:: w && k < PUBLISHERS -> space[l] = 0; armed[k] = (armed[k] == l + 1 -> 0 : armed[k]); k++
	:: else -> break
	od;
	k = 0
}

inline wake_publishers(l)
{
	do
	:: w && k < PUBLISHERS && sleeps[k] == l + 1 -> sleeps[k] = 0; k++;
#ifdef DROP_WAKE_ALL_PUBLISHERS
		break
#endif
	:: w && k < PUBLISHERS && sleeps[k] != l + 1 -> k++
	:: else -> break
	od;
	k = 0; w = 0
}

inline ring_space(l)
{
	atomic { swap_space(l) THEN wake_publishers(l) }
}

#define GROW_RETURNED(l) unseen[OF(0, l)] = 1; unseen[OF(1, l)] = 1

/* a: by how far it moved */
inline advance(l)
{
	a = 0;
	do
	:: floor[l] * LANES + l < MESSAGES && AT(l, floor[l]) == SETTLED -> floor[l] = floor[l] + 1; a++
	:: else -> break
	od
}

/* the first of a lane that nobody was given; of those that were published */
inline find_new(l)
{
	i = 0;
	do
	:: i * LANES + l < published && AT(l, i) != FREE -> i++
	:: else -> break
	od;
	s = (i * LANES + l < published -> i * LANES + l : NONE)
}

inline find_returned(l)
{
	i = floor[l];
	do
	:: i * LANES + l < MESSAGES && AT(l, i) != RETURNED -> i++
	:: else -> break
	od;
	s = (i * LANES + l < MESSAGES -> i * LANES + l : NONE)
}

proctype receiver(byte me) provided (!dead[me])
{
	byte l, i, s, w, k, best = NONE;
	bit looks[LANES], held_up;

	do
	:: atomic { true ->                                             /* take_returned(): the number first */
#ifndef DROP_COUNT_BEFORE_LOOK
		do
		:: l < LANES -> looks[l] = looks[l] || unseen[OF(me, l)]; unseen[OF(me, l)] = 0; l++
		:: else -> break
		od;
#endif
		l = 0 }
		atomic {                                                /* then what there is; and take the lowest */
			do
			:: l < LANES ->
				s = NONE;
#ifdef DROP_COUNT_BEFORE_LOOK
				looks[l] = looks[l] || unseen[OF(me, l)];
#endif
				if :: looks[l] -> find_returned(l) :: else fi;
				looks[l] = s != NONE;
				if
				:: s == NONE ->
					find_new(l);
					held_up = held_up || (s != NONE && !WITHIN(l, i))
				:: else
				fi;
				best = (s < best -> s : best);
				l++
			:: else -> break
			od;
			l = 0; i = 0; s = 0;
			if
			:: best != NONE && !held_up -> word[best] = TAKEN + me; resting[me] = 0; best = NONE;
				if
#ifndef ALONE
				:: true -> goto on                              /* somebody else handles it */
#endif
				:: true -> busy[me] = 1; goto handles
				fi
			:: else -> best = NONE; held_up = 0
			fi
		};
#ifdef DROP_COUNT_BEFORE_LOOK
		atomic { unseen[OF(me, 0)] = 0; unseen[OF(me, LANES - 1)] = 0 };
#endif
idle:		atomic {                                                /* group_idle() */
			resting[me] = 1;
#ifndef DROP_IDLE_SIGNALS
			w = unsignalled[OF(me, l)] > 0; unsignalled[OF(me, l)] = 0
#endif
		};
		ring_space(l);
#if LANES > 1
		atomic { l++; if :: l < LANES -> goto idle :: else -> l = 0 fi };
#endif

		atomic {                                                /* shmbus_bell_arm() */
			do
			:: HEARS_BUS(me) -> bus = 1; break
			:: !HEARS_BUS(me) && l < LANES -> data[l] = 1; l++
			:: !HEARS_BUS(me) && l == LANES -> break
			od;
			l = 0; intact[me] = 1
		};
#ifndef DROP_LOOK_AGAIN
looked:		atomic {                                                /* reader_has_something() */
			if
			:: l == LANES && best != NONE && !held_up -> goto awake
			:: l == LANES && !(best != NONE && !held_up) -> l = 0; best = NONE; held_up = 0; goto sleep
			:: l < LANES && (unseen[OF(me, l)] || looks[l]) -> goto awake
			:: else
			fi;
			find_new(l);
			if
			:: s == NONE -> i = 0; s = 0; l++; goto looked
			:: else -> s = 0
			fi
		};
		atomic {
			if
			:: OPEN(l, i) -> best = i * LANES + l; i = 0; l++; goto looked
			:: else
			fi
		};
#ifndef DROP_BLOCKED
		blocked[l] = 1;                                         /* shmbus_group_open(), shmbus_group_settled() */
#endif
		atomic {
#ifdef DROP_FLOOR_AGAIN
			held_up = 1;
#else
			if :: OPEN(l, i) -> best = i * LANES + l :: else -> held_up = 1 fi;
#endif
			i = 0; l++;
			goto looked
		};
#endif
sleep:		atomic { asleep[me] = intact[me] };                     /* futex_wait() compares and queues in one */
awake:		atomic { !asleep[me] -> intact[me] = 0; l = 0; best = NONE; held_up = 0; goto on };
handles:	atomic { !HOLDS_ANY(me) -> busy[me] = 0 };
on:		skip
	od
}

proctype handler(byte me) provided (!dead[me])
{
	byte s, l, a, w, k;
#if defined(DROP_SIGNAL_FENCE) || defined(DROP_FLOOR_BEFORE_BLOCKED)
	bit early;
#endif

end:	atomic {
		if
		:: HOLDS(me, 0) -> s = 0
		:: HOLDS(me, 1) -> s = 1
#if MESSAGES > 2
		:: HOLDS(me, 2) -> s = 2
#endif
		fi;
		l = LANE_OF(s);
		if
#if DEATHS == 0
		:: true -> s = 0; l = 0; goto stands                            /* for ever */
#endif
		:: nacks > 0 -> nacks--; word[s] = RETURNED; s = 0; goto returns
		:: true -> word[s] = SETTLED; s = 0
		fi
	};
	/* group_ack() */
#ifdef DROP_FLOOR_BEFORE_BLOCKED
	early = blocked[l];
#endif
#ifdef DROP_SIGNAL_FENCE
	early = space[l];
#endif
	atomic { advance(l); if :: a -> skip :: else -> l = 0; goto end fi };
	/* group_signal() */
	atomic {
#ifdef DROP_FLOOR_BEFORE_BLOCKED
		w = early; early = 0;
#else
		w = blocked[l];
#endif
		if :: w -> blocked[l] = 0 :: else -> goto tells fi
	};
	ring_members(l);
tells:	atomic {
		unsignalled[OF(me, l)] = unsignalled[OF(me, l)] + a;
		a = 0;
#ifdef DROP_REST_SIGNALS
		w = unsignalled[OF(me, l)] >= EVERY;
#else
		w = unsignalled[OF(me, l)] >= EVERY || resting[me];
#endif
		unsignalled[OF(me, l)] = (w -> 0 : unsignalled[OF(me, l)])
#ifdef DROP_SIGNAL_FENCE
		; w = w && early; early = 0
#endif
	};
	ring_space(l);
	atomic { l = 0; goto end };

returns:	/* give_back() */
#ifdef DROP_COUNT_BEFORE_RING
	w = 1;
	ring_members(l);
	atomic { GROW_RETURNED(l) };
#else
	atomic { GROW_RETURNED(l); w = 1 };
#ifdef DROP_RETURN_RINGS
	w = 0;
#else
	ring_members(l);
#endif
#endif
	atomic { l = 0; goto end };
stands:	skip
}

proctype publisher(byte me)
{
	byte l, w, k;

	do
	:: atomic { published < MESSAGES && HAS_ROOM(LANE_OF(published), INDEX(published)) ->
		l = LANE_OF(published); published++; w = 1 }
		atomic { swap_data(l); wake_members(l) };
#ifdef WIDE
		ring_bus();
#endif
		atomic { l = 0 }
	:: atomic { published < MESSAGES && !HAS_ROOM(LANE_OF(published), INDEX(published)) ->
		l = LANE_OF(published) }
		atomic { space[l] = 1; armed[me] = l + 1 };
#ifndef DROP_LOOK_FOR_ROOM_AGAIN
		atomic {
			if
			:: published == MESSAGES || LANE_OF(published) != l || HAS_ROOM(l, INDEX(published)) -> goto on
			:: else
			fi
		};
#endif
		atomic { sleeps[me] = armed[me] };
		atomic { !sleeps[me] -> skip };
on:		atomic { armed[me] = 0; l = 0 }
	:: atomic { published == MESSAGES -> break }
	od
}

#if DEATHS > 0
proctype reaper(byte one)
{
	byte s, l, a, w, k;

end:	atomic { deaths > 0 -> deaths--; dead[one] = 1; asleep[one] = 0 };
	do
	:: atomic { s < MESSAGES && HOLDS(one, s) -> word[s] = RETURNED } atomic { GROW_RETURNED(LANE_OF(s)) }
	:: atomic { s < MESSAGES && !HOLDS(one, s) -> s++ }
	:: atomic { s == MESSAGES -> s = 0; break }
	od;
lanes:	atomic { advance(l); a = 0; w = 1 };
#ifdef DROP_REAPER_RINGS
	w = 0;
#else
	atomic { swap_data(l); wake_members(l) };
	ring_bus();
#endif
#ifndef DROP_REAPER_RINGS_SPACE
	atomic { w = 1; swap_space(l); wake_publishers(l) };
#endif
#if LANES > 1
	atomic { l++; if :: l < LANES -> goto lanes :: else -> l = 0 fi };
#endif
}
#endif

/* Is there something that a member could take? */
inline look_at_all()
{
	found = 0; held_up = 0; l = 0;
	do
	:: l < LANES ->
		find_returned(l);
		if
		:: s != NONE -> found = 1
		:: else -> find_new(l);
			if
			:: s != NONE && WITHIN(l, i) -> found = 1
			:: s != NONE && !WITHIN(l, i) -> held_up = 1
			:: else
			fi
		fi;
		l++
	:: else -> break
	od;
	found = found && !held_up;
	held_up = 0; l = 0; i = 0; s = 0
}

#define ROOM_FOR(p) (sleeps[p] && (published == MESSAGES || LANE_OF(published) != sleeps[p] - 1 || \
	HAS_ROOM(sleeps[p] - 1, INDEX(published))))
#define TOLD_LATER(m, p) (!dead[m] && busy[m] && unsignalled[OF(m, sleeps[p] - 1)])

init
{
	byte k, l, i, s;
	bit found, held_up;
	atomic {
		do
		:: k < PUBLISHERS -> run publisher(k); k++
		:: else -> break
		od;
		run receiver(0); run receiver(1); run handler(0); run handler(1);
#if DEATHS > 0
		run reaper(0);
#endif
		k = 0
	};
	/* nobody can take a step */
	do
	:: atomic { timeout ->
		look_at_all();
#ifdef BOUND
		/* a sleep bound runs out */
		if
		:: found && asleep[0] -> asleep[0] = 0; rescued = 1; found = 0
		:: found && asleep[1] -> asleep[1] = 0; rescued = 1; found = 0
		:: ROOM_FOR(0) -> sleeps[0] = 0; rescued = 1
		:: else -> break
		fi
#else
		break
#endif
		}
	od;
	atomic {
		do
		:: k < MEMBERS -> assert(!(asleep[k] && found)); k++            /* a member sleeps beside a message */
		:: else -> break
		od;
		k = 0;
		do
		:: k < PUBLISHERS ->
			assert(!ROOM_FOR(k) || TOLD_LATER(0, k) || TOLD_LATER(1, k));   /* a publisher sleeps beside room */
			k++
		:: else -> break
		od;
		k = 0;
		assert(DEATHS || !rescued)                                      /* bound needed without a kill */
	}
}
