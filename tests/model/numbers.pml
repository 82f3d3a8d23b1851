/*
 * How many messages of a producer stand before a sequence (shmbus_numbers_before() in ../../shmbus/core/numbers.c), for exhaustive
 * exploration with spin.  `run` builds and checks it.
 *
 *   publisher    N1 claiming = number; N2 the slot: CLAIMED; N3 the tail; N4 COMMITTED, or, if that was taken away, ABORTED and
 *                the number is used again; N5 published = number.  It may be killed between any two of them.
 *   asker        A1 published, A2 claiming, A3 the tail; then slot by slot, from where it asks to the tail: a message of that
 *                producer answers by its own number; a claim by `published`, A4, if its word is still the same then, A5; if
 *                there is neither, A1 does
 *   anybody      a claim of somebody alive: SKIPPED, at any time; of somebody dead: ABORTED
 *
 * What must hold.  Whoever asks has read to there, so nothing before it can become a message any more.  The answer is how many
 * messages of the producer stand there; one that was committed and not counted at A1 may be missing, if none comes after it.
 *
 * There are two publishers, and it is publisher 0 that is asked about; slots are not used again (a head that passes where it
 * is asked from voids the answer).  All loads and stores are release and acquire, or stronger, and each side's stand in the
 * order in which the other needs them; -DDROP_... changes that order, or leaves a step out.
 */
#ifndef MESSAGES
#define MESSAGES 2          /* tries of publisher 0; the other one has one */
#endif
#define SLOTS (MESSAGES + 2)

#define EMPTY 0
#define CLAIMED 1
#define COMMITTED 2
#define SKIPPED 3
#define ABORTED 4

byte tail, state[SLOTS], owner[SLOTS], number[SLOTS];
byte published, claiming;               /* of publisher 0 */
bool dead[2];

#define DIE :: atomic { dead[me] = 1; goto gone }

proctype publisher(byte me; byte tries)
{
	byte n = 1, at;

	do
	:: atomic { tries > 0 -> tries-- }
		if :: atomic { true -> if :: me == 0 -> claiming = n :: else fi } DIE fi;                       /* N1 */
claim:
		if
		:: atomic { state[tail] == EMPTY -> at = tail; state[at] = CLAIMED; owner[at] = me; number[at] = n }    /* N2 */
		:: atomic { state[tail] != EMPTY -> tail++; goto claim }                                        /* helps */
		DIE
		fi;
		if :: atomic { true -> if :: tail == at -> tail++ :: else fi } DIE fi;                          /* N3 */
#ifdef DROP_COMMIT_BEFORE_COUNT
		if :: atomic { true -> if :: me == 0 -> published = n :: else fi } DIE fi;
#endif
		if
		:: atomic { state[at] == CLAIMED -> state[at] = COMMITTED }                                     /* N4 */
		:: atomic { state[at] == SKIPPED -> state[at] = ABORTED; at = 0; goto again }
		DIE
		fi;
#ifndef DROP_COMMIT_BEFORE_COUNT
		if :: atomic { true -> if :: me == 0 -> published = n :: else fi } DIE fi;                      /* N5 */
#endif
		atomic { n++; at = 0 };
again:		skip
	:: atomic { tries == 0 -> break }
	od;
gone:	atomic { n = 0; at = 0 }
}

proctype anybody()
{
	byte k;

end:	do
	:: atomic { k < SLOTS && state[k] == CLAIMED && !dead[owner[k]] -> state[k] = SKIPPED }
	:: atomic { k < SLOTS && (state[k] == CLAIMED || state[k] == SKIPPED) && dead[owner[k]] -> state[k] = ABORTED }
	:: atomic { k < SLOTS - 1 -> k++ }
	:: atomic { k > 0 -> k = 0 }
	od
}

/* whoever reads goes on behind what can become a message no more */
#define READ_PAST(s) (state[s] == COMMITTED || state[s] == ABORTED || state[s] == SKIPPED)

proctype asker()
{
	byte from, at, end, answer, counted, c, was, k, truth;

	do
	:: atomic { from < tail && READ_PAST(from) -> from++ }
	:: break
	od;
#ifdef DROP_TAIL_AFTER_COUNT
	end = tail;
#endif
	atomic { answer = published; counted = published };                                                     /* A1 */
	atomic { c = claiming; if :: c == 0 && answer == 0 -> goto told :: else -> c = 0 fi };                  /* A2 */
#ifndef DROP_TAIL_AFTER_COUNT
	end = tail;                                                                                             /* A3 */
#endif
	at = from;
	do
	:: atomic { at < end && (owner[at] != 0 || state[at] == ABORTED) -> at++ }
	:: atomic { at < end && owner[at] == 0 && state[at] == COMMITTED -> answer = number[at] - 1; goto told }
	:: atomic { at < end && owner[at] == 0 && (state[at] == CLAIMED || state[at] == SKIPPED) -> was = state[at] }
		c = published;                                                                                  /* A4 */
#ifdef DROP_WORD_AGAIN
		atomic { answer = c; goto told };
#else
		atomic { if :: state[at] == was -> answer = c; goto told :: else -> was = 0; c = 0 fi };        /* A5 */
#endif
	:: atomic { at == end -> break }
	od;
told:
	atomic {
		do
		:: k < from -> truth = truth + (owner[k] == 0 && state[k] == COMMITTED); k++
		:: else -> break
		od;
		assert(answer <= truth);                                                /* more than there are */
		assert(answer >= truth || (answer == truth - 1 && counted == answer));  /* a message is missing */
	}
}

init
{
	atomic { run publisher(0, MESSAGES); run publisher(1, 1); run anybody(); run asker() }
}
