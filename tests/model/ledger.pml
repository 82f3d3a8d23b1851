/*
 * The ledger of a group (../../shmbus/core/group_ledger.c), for exhaustive exploration with spin.  `run` builds and checks it.
 *
 * What is modelled, step by step, and the C function each step stands for
 *
 *   member     settle     the word; then book
 *   book       begin      the ticket; a log under way is copied, in two steps, and carried out if the ticket still stands;
 *                         a floor that a ticket decided without a log is moved there
 *              look       floor, words, run, row
 *              commit_floor   the run goes on: the ticket, then the floor
 *              commit     else: the log, in two steps, the ticket, then entry by entry, the floor last, and the ticket again
 *   bridge     the same by a log, from the end to a floor that is far away (-DBRIDGE)
 *   reaper     settles what a dead member had not, and books
 *
 * A member may die before and after any step that stores.  Whether a run begins is left open.  Words are not used again: what
 * that needs is group.pml's.  As a floor goes 3 at most without a log, a ticket has two of its bits.  After every step the rows are
 * read as shmbus_group_entry() reads them, with the floor that the ticket says: each producer must have exactly what stands
 * before that floor.  Everything that decides is seq_cst, and so is spin; -DDROP_... leaves a step or a look out.
 */
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef PATTERN
#define PATTERN 4           /* whose the messages are, bit by bit: 0 0 1 */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define MEMBERS 2
#define NOBODY 2
#define LAST MESSAGES
#define AFAR (LAST + 6)     /* where the successor begins */

#define OWNER(s) ((PATTERN >> (s)) & 1)
#define BITS(x) (((x) & 1) + ((x) >> 1 & 1) + ((x) >> 2 & 1) + ((x) >> 3 & 1) + ((x) >> 4 & 1) + ((x) >> 5 & 1))
#define BEFORE(s) ((s) < LAST -> (s) : LAST)
#define OF_ONE(s) BITS(PATTERN & ((1 << BEFORE(s)) - 1))
#define NUMBER_BEFORE(p, s) ((p) == 1 -> OF_ONE(s) : BEFORE(s) - OF_ONE(s))

#define DONE 0
#define LOG 1
#define SHORT 2

/* ---- shared memory ---- */
bool settled[LAST + 1];
byte floor, row[2], from, who = NOBODY;   /* from, who: the run */
byte number, kind = DONE, says;           /* the ticket: whose log, or the floor's lowest bits */
typedef log { byte owner, value, other = NOBODY, more, from, who = NOBODY, floor };
log logs[MEMBERS + 1];

/* ---- the world ---- */
bool dead[MEMBERS];
byte deaths = DEATHS;

#define TICKET_IS (number == t && kind == k && says == y)
#define FLOOR_BY(f) (f + ((says - f) & 3))
#define FURTHER(a, b, c, d) ((a) > (c) || ((a) == (c) && (b) > (d)))

/* shmbus_group_entry(), of both producers at once */
inline agrees()
{
	d_step {
		v0 = row[0]; v1 = row[1]; vf = floor; vr = from; vw = who;
		if
		:: kind == SHORT -> vf = FLOOR_BY(vf)
		:: kind == LOG ->
			if :: logs[says].owner == 0 && logs[says].value > v0 -> v0 = logs[says].value :: else fi;
			if :: logs[says].owner == 1 && logs[says].value > v1 -> v1 = logs[says].value :: else fi;
			if :: logs[says].other == 0 && logs[says].more > v0 -> v0 = logs[says].more :: else fi;
			if :: logs[says].other == 1 && logs[says].more > v1 -> v1 = logs[says].more :: else fi;
			if :: logs[says].floor > vf -> vf = logs[says].floor :: else fi;
			if :: FURTHER(logs[says].from, logs[says].who, vr, vw) -> vr = logs[says].from; vw = logs[says].who :: else fi
		:: else
		fi;
		if :: vw == 0 -> v0 = v0 + vf - vr :: vw == 1 -> v1 = v1 + vf - vr :: else fi;
		assert(v0 == NUMBER_BEFORE(0, vf) && v1 == NUMBER_BEFORE(1, vf));       /* rows and floor differ */
		v0 = 0; v1 = 0; vf = 0; vr = 0; vw = 0
	}
}

#define DIE :: atomic { me < MEMBERS && deaths > 0 -> deaths--; dead[me] = 1; goto gone }
#define STEP(x) if :: atomic { true -> x; agrees() } DIE fi

#define MINE logs[me]

inline forget_copy()
{
	c.owner = 0; c.value = 0; c.other = 0; c.more = 0; c.from = 0; c.who = 0; c.floor = 0
}

/* what a log says, from the copy of it in c */
inline carry_out()
{
	STEP(if :: c.value > row[c.owner] -> row[c.owner] = c.value :: else fi);
	STEP(if :: c.other != NOBODY && c.more > row[c.other] -> row[c.other] = c.more :: else fi);
	STEP(if :: FURTHER(c.from, c.who, from, who) -> from = c.from; who = c.who :: else fi);
	STEP(if :: c.floor > floor -> floor = c.floor :: else fi);
	STEP(if :: TICKET_IS -> kind = DONE; says = 0 :: else fi; forget_copy())
}

inline forget_ticket()
{
	t = 0; k = 0; y = 0
}

inline load_ticket()
{
	t = number; k = kind; y = says
}

inline begin()
{
	do
	:: atomic { true -> load_ticket() }
		if
		:: k == LOG ->
			atomic { c.owner = logs[y].owner; c.value = logs[y].value; c.other = logs[y].other; c.more = logs[y].more }
			atomic { c.from = logs[y].from; c.who = logs[y].who; c.floor = logs[y].floor }
#ifndef DROP_LOOK_AT_COPIED
			if
			:: atomic { TICKET_IS -> skip }
				carry_out()
			:: atomic { !TICKET_IS -> forget_copy() }
			fi
#else
			carry_out()
#endif
		:: k == SHORT ->
			f = floor;
			if
			:: atomic { f == f + ((y - f) & 3) -> f = 0; break }
			:: atomic { else -> skip } ->
#ifndef DROP_LOOK_AT_TICKET
				if
				:: atomic { TICKET_IS -> skip }
					STEP(if :: floor == f -> floor = f + ((y - f) & 3) :: else fi; f = 0)
				:: atomic { !TICKET_IS -> f = 0 }
				fi
#else
				STEP(if :: floor == f -> floor = f + ((y - f) & 3) :: else fi)
#endif
			fi
		:: else -> break
		fi
	od
}

#define ALIKE(s) ((s) < LAST && settled[s] && OWNER(s) == p)
#define SETTLED_ALIKE (!ALIKE(f) -> 0 : (!ALIKE(f + 1) -> 1 : (!ALIKE(f + 2) -> 2 : 3)))

inline write_log(to, next)
{
	atomic { MINE.owner = p; MINE.value = l + n;
#ifndef DROP_ROW_OF_RUN
		MINE.other = (w != NOBODY && w != p && f != r -> w : NOBODY);
		MINE.more = (MINE.other != NOBODY -> m + f - r : 0)
#else
		MINE.other = NOBODY; MINE.more = 0
#endif
	}
	atomic {
#ifndef DROP_RUN_ENDS
		if
		:: w != NOBODY || next != NOBODY -> MINE.from = to; MINE.who = next
		:: else -> MINE.from = 0; MINE.who = 0
		fi;
#else
		if
		:: w == NOBODY && next != NOBODY -> MINE.from = to; MINE.who = next
		:: else -> MINE.from = 0; MINE.who = 0
		fi;
#endif
		MINE.floor = to }
}

inline commit()
{
	if
	:: atomic { TICKET_IS -> number++; kind = LOG; says = me; load_ticket();
		c.owner = MINE.owner; c.value = MINE.value; c.other = MINE.other; c.more = MINE.more;
		c.from = MINE.from; c.who = MINE.who; c.floor = MINE.floor; agrees() }
		carry_out()
	:: atomic { !TICKET_IS -> skip }
	DIE
	fi
}

/* shmbus_group_book() */
inline book()
{
	do
	:: true ->
		begin();
		f = floor;
		atomic { p = OWNER(f); n = SETTLED_ALIKE; if :: n == 0 -> p = 0; f = 0; forget_ticket(); break :: else fi }
		atomic { r = from; w = who }
		atomic { l = row[p]; m = (w == NOBODY -> 0 : row[w]) }
		atomic { if :: w == p -> l = l + f - r :: else fi }
		if
		:: NUMBER_BEFORE(p, f + n) == l + n && w == p ->
			if
			:: atomic { TICKET_IS -> number++; kind = SHORT; says = (f + n) & 3; agrees() }
				STEP(if :: floor == f -> floor = f + n :: else fi)
			:: atomic { !TICKET_IS -> skip }
			DIE
			fi
		:: NUMBER_BEFORE(p, f + n) == l + n && w != p ->
			if
			:: write_log(f + n, p)
			:: write_log(f + n, NOBODY)
			fi;
			commit()
		:: else /* what was loaded is old, or else the rows are wrong */
		fi;
		atomic { forget_ticket(); f = 0; p = 0; n = 0; r = 0; w = 0; l = 0; m = 0 }
#ifdef DROP_LOOK_AGAIN
		break
#endif
	od
}

/* shmbus_group_bridge() */
inline bridge()
{
#ifndef DROP_BRIDGE_LOGS
	do
	:: true ->
		begin();
		f = floor;
		if
		:: f != LAST -> break
		:: else
		fi;
		atomic { r = from; w = who; n = 0; p = (w == 1 -> 0 : 1) } /* no row of its own: the same number again */
		atomic { l = row[p]; m = (w == NOBODY -> 0 : row[w]) }
		write_log(AFAR, NOBODY);
		commit()
	od
#else
	begin();
	STEP(if :: floor == LAST -> floor = AFAR :: else fi)
#endif
}

proctype member(byte me)
{
	byte s, t, k, y, f, p, n, r, w, l, m, v0, v1, vf, vr, vw;
	log c;

	s = me;
	do
	:: s < LAST ->
		STEP(settled[s] = 1);
		book();
		s = s + MEMBERS
	:: else -> break
	od;
#ifdef BRIDGE
	book();
	bridge();
#endif
gone:	atomic { s = 0; forget_ticket(); f = 0; p = 0; n = 0; r = 0; w = 0; l = 0; m = 0; forget_copy() }
}

proctype reaper()
{
	byte me = MEMBERS, s, t, k, y, f, p, n, r, w, l, m, v0, v1, vf, vr, vw;
	log c;

end:	atomic { dead[0] || dead[1] -> s = (dead[0] -> 0 : 1) }
	do
	:: s < LAST -> settled[s] = 1; s = s + MEMBERS
	:: else -> break
	od;
	book();
#ifdef BRIDGE
	bridge();
#endif
gone:	skip
}

init
{
	atomic { run member(0); run member(1); run reaper() };
	/* nobody can take a step */
	atomic { timeout ->
#ifdef BRIDGE
		assert(floor == AFAR)                                           /* stuck */
#else
		assert(floor == LAST)                                           /* stuck */
#endif
	}
}
