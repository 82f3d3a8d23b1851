/*
 * Numbers that a producer leaves out, as it counts them itself (../../shmbus/core/leaps.c), for exhaustive exploration with
 * spin.  `run` builds and checks it.
 *
 *   producer     takes some number above its last; if that does not follow from the last one, or a leap stands there that came
 *                to nothing: L1 skipped, L2 first, of the pair that does not hold; then L3, it becomes a message or comes to
 *                nothing; L4 published.  It may be killed between any two of them; its next life goes on.
 *   anybody      who looks after the dead one, or retires its last message, does L4 in its place if L3 was done
 *   reader       R1 published, R2 and R3 both firsts, R4 what the one that holds says; R5 both firsts again; if one is above what
 *                R1 said, R6 published again.  If something has changed it begins anew.
 *
 * What must hold.  What a reader has taken together is true: so many numbers were left out up to that one.
 *
 * All loads are acquire and all stores release, and stand in the order in which they are needed; -DDROP_... changes that order,
 * or leaves a step out.
 */
#ifndef LEAPS
#define LEAPS 3             /* tries of the producer, all lives together */
#endif
#define MOST (3 * LEAPS)    /* the largest number: it leaves out two at the most */

byte published, first[2], skipped[2];
byte truth[MOST + 1];       /* how many were left out up to that message */
byte at;                    /* the number of a message that was committed and not counted; 0: there is none */

/* which of the two holds for a number: 2: none */
#define MAY(f, n) (f != 0 && f <= n)
#define HOLDS(f0, f1, n) ((MAY(f0, n) && MAY(f1, n)) -> (f1 > f0 -> 1 : 0) : (MAY(f1, n) -> 1 : (MAY(f0, n) -> 0 : 2)))

proctype producer()
{
	byte n, tries, one, other, before;

	do
	:: atomic { tries < LEAPS -> tries++; n = published + 1;
		do
		:: n < published + 3 -> n++
		:: break
		od;
		one = HOLDS(first[0], first[1], published);
		before = (one == 2 -> 0 : skipped[one]);
		if
		:: first[0] > published -> other = 0
		:: first[0] <= published && first[1] > published -> other = 1
		:: else -> other = (one == 0 -> 1 : 0)
		fi }
		if
#ifdef DROP_WRITE_OVER
		:: n == published + 1 -> skip
#else
		:: n == published + 1 && first[other] <= published -> skip
#endif
		:: else ->
#ifdef DROP_NOTE_FIRST
			atomic { truth[n] = before + n - published - 1; at = n };
			if :: skip :: goto killed fi;
#endif
			skipped[other] = before + n - published - 1;                                    /* L1 */
			if :: skip :: goto killed fi;
			first[other] = n                                                                /* L2 */
		fi;
		if
		:: atomic { truth[n] = before + n - published - 1; at = n }                             /* L3 */
			if :: skip :: goto killed fi;
			atomic { published = n; at = 0 }                                                /* L4 */
		:: skip                                                                                 /* it came to nothing */
		:: goto killed
		fi;
		atomic { n = 0; one = 0; other = 0; before = 0 }
		goto next;
killed:		atomic { if :: at != 0 -> published = at; at = 0 :: else fi; n = 0; one = 0; other = 0; before = 0 };
next:		skip
	:: tries == LEAPS -> break
	od
}

proctype reader()
{
	byte p, f0, f1, one, says;
again:
	p = published;                                                                                  /* R1 */
	f0 = first[0];                                                                                  /* R2 */
	f1 = first[1];                                                                                  /* R3 */
	atomic { one = HOLDS(f0, f1, p); says = (one == 2 -> 0 : skipped[one]) };                       /* R4 */
#ifndef DROP_LOOK_AGAIN
	if :: first[0] != f0 -> goto again :: else fi;                                                  /* R5 */
	if :: first[1] != f1 -> goto again :: else fi;
#endif
#ifndef DROP_PUBLISHED_AGAIN
	if :: (f0 > p || f1 > p) && published != p -> goto again :: else fi;                            /* R6 */
#endif
	assert(says == truth[p])                                                                        /* another number was left out */
}

init
{
	atomic { run producer(); run reader() }
}
