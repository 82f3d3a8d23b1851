/*
 * The ring protocol, for exhaustive exploration with spin.  `run` builds and checks every configuration and every mutation.
 *
 * What is modelled, step by step, and the C function each step stands for
 *
 *   producer     ring_publish  load tail; room against a cached (stale) head; refresh the head; retire; or wait as "full"
 *                ring_claim    compare-and-swap slot S from {S-N, final} to CLAIMED{S, me, units}
 *                ring_help     compare-and-swap tail {P,S} -> {P+units, S+1}, by the winner or by whoever finds S taken
 *                ring_commit   after the frame: CLAIMED -> COMMITTED, and when that fails SKIPPED -> ABORTED
 *                ring_retire   head, then tail, then the lossless cursors one by one, then the slots, then one
 *                              compare-and-swap of head over the whole batch
 *   reader       ring_read     word, position, frame unit by unit, head re-check; cursor in private or, when lossless, shared
 *   anybody      ring_repair   CLAIMED or SKIPPED of a dead owner -> ABORTED, at any time
 *                ring_skip     CLAIMED of a live owner -> SKIPPED, at any time ("overdue" is no condition here)
 *   coordinator  ring_seal     compare-and-swap slot S from {S-N, final} to SEAL{S}
 *
 * Any participant may die before and after any of its steps, or stop for ever while it stays alive (`disasters` of them).
 * Sequences begin at N, so that slot i starts as the retired last word of sequence i.  Positions are not reduced modulo the
 * arena; a cell's number is.  A word is {sequence, state}: owner and units follow from them, as a sequence has one winner.
 * One atomic step may stand for load + compare-and-swap where the comparison is with the whole word that was loaded and the
 * rest of the decision is stable (death); that is so for claim and for repair.
 *
 * Memory order.  spin is sequentially consistent, so the two fences are modelled as what they give: knowledge about head.
 * A reader's load of head may return ANY value from the oldest it is not allowed to see up to the newest.  Reading a word
 * (release / acquire), or a unit or a position (release fence before / acquire fence after), teaches it what their writer
 * knew of head when it claimed: known[S].  Drop either fence and the reader learns nothing from the bytes it copied.
 * The joiner's store of "hold" and its load of tail are store-load ordered by a full fence; dropped, they change places.
 *
 * Why it holds.  (1) A unit of C is written again only by a claim that knew head > C; a reader that saw any byte of that
 * write must, by the two fences, see head > C at its re-check, and throws the copy away.  (2) head passes only final words,
 * and a word is final only when its owner has written its last byte: it committed, it woke and aborted, or it is dead.
 * (3) A slot's word names its sequence, so no late compare-and-swap can succeed.  (4) A retirer that missed a lossless
 * reader's registration read tail before it looked, hence before the reader read its own start from tail: it stops there.
 * Joining at the head needs more: every retirer that missed the registration holds an old head, so moving head once makes
 * all of them fail.  Where head cannot be moved (oldest slot not final, or held by another reader) there is no way to rule
 * them out; then the reader starts there all the same, but what was published before it joined may be overrun once, counted
 * like any overrun.  From the tail it read while joining, nothing is lost.  (5) One slot is never used (LIMIT < N), so the
 * slot that a seal has to swap is always a retired one.
 */

/* ---- size (the defaults are the small configuration) ---- */
#ifndef N
#define N 2                 /* slots */
#endif
#ifndef LIMIT
#define LIMIT N             /* messages retained; N - 1 where the ring can be sealed */
#endif
#ifndef ARENA
#define ARENA 3             /* units */
#endif
#ifndef MESSAGES
#define MESSAGES 3          /* published by both producers together */
#endif
#ifndef FIRST
#define FIRST 2             /* how many of them by producer 0 */
#endif
#ifndef UNITS0
#define UNITS0 2            /* units of a message of producer 0, of producer 1 */
#endif
#ifndef UNITS1
#define UNITS1 1
#endif
#ifndef DISASTERS
#define DISASTERS 1         /* kills and stops, of anyone, anywhere */
#endif
#ifndef BATCH
#define BATCH 2             /* slots retired by one compare-and-swap of head */
#endif
#ifndef LOSSY
#define LOSSY 1             /* lossy readers, from the first message */
#endif
#ifndef LOSSLESS
#define LOSSLESS 0          /* lossless readers, joining at any time; where: LATEST or EARLIEST */
#endif
#define READERS (LOSSY + LOSSLESS)
#define LAST (N + MESSAGES)             /* one past the last sequence that can be claimed */

#define CLAIMED 0
#define COMMITTED 1
#define SKIPPED 2
#define ABORTED 3
#define SEAL 4
#define FINAL(s) ((s) == COMMITTED || (s) == ABORTED)
#ifdef DROP_SKIPPED_KEEPS_SPACE
#define RETIRABLE(s) (FINAL(s) || (s) == SKIPPED)
#else
#define RETIRABLE(s) FINAL(s)
#endif

#define RUNS 0
#define DEAD 1
#define STOPPED 2                       /* alive, and never scheduled again */

#define NONE 0
#define HOLD 255

/* ---- shared memory ---- */
byte tail_s = N, tail_p, head_s = N, head_p;
byte word_s[N], word_st[N], at[N];      /* at[]: the position field, as the sequence whose position it is */
byte cell[ARENA];                       /* the sequence whose unit was written there last */
byte cursor[READERS + 1];               /* of lossless readers; NONE, HOLD or a sequence */

/* ---- facts that follow from the winner of a sequence ---- */
byte start[LAST + 1], units[LAST + 1], owner[LAST + 1], known[LAST + 1];

/* ---- the world, and what only the checker sees ---- */
byte status[2 + READERS];               /* producers 0 and 1, then the readers */
byte disasters = DISASTERS;
byte given[ARENA];                      /* the sequence a cell was last claimed for */
byte claimed = N;                       /* one past the last sequence that was claimed */
bool committed[LAST + 1];
byte sealed;                            /* the sequence that was sealed */
byte left[2];                           /* messages still to publish */
byte waits[2];                           /* waits for room */
byte floor_of[READERS + 1];             /* a lossless reader's start when that lies behind: below it an overrun is allowed */
byte at_seq[READERS + 1];               /* a reader's private cursor */

#define ALIVE(p) (status[p] != DEAD)
#define W(s) ((s) % N)

#define DIE \
	:: atomic { disasters > 0 -> disasters--; status[me] = DEAD; goto gone } \
	:: atomic { disasters > 0 -> disasters--; status[me] = STOPPED; goto gone }

/* head moves, for whoever does it */
inline check_gates()
{
	k = LOSSY;
	do
	:: k < READERS ->
		if
		:: ALIVE(2 + k) && cursor[k] != NONE && cursor[k] != HOLD ->
			assert(head_s <= cursor[k] || head_s <= floor_of[k])    /* lossless reader overrun */
		:: else
		fi;
		k++
	:: else -> break
	od;
	k = 0
}

/* the gate as it is now (not as somebody scanned it), to know whether a publisher may wait */
#if LOSSLESS == 0
#define GATED(s) false
#elif LOSSLESS == 1
#define GATED1(r, s) (ALIVE(2 + r) && cursor[r] != NONE && (cursor[r] == HOLD || cursor[r] <= (s)))
#define GATED(s) GATED1(LOSSY, s)
#else
#define GATED1(r, s) (ALIVE(2 + r) && cursor[r] != NONE && (cursor[r] == HOLD || cursor[r] <= (s)))
#define GATED(s) (GATED1(LOSSY, s) || GATED1(LOSSY + 1, s))
#endif
#define OLDEST_MAY_GO (head_s < tail_s && word_s[W(head_s)] == head_s && RETIRABLE(word_st[W(head_s)]) && !GATED(head_s))

/* ring_retire, the scan of one lossless cursor into g */
inline scan(r)
{
	if
	:: !ALIVE(2 + r) || cursor[r] == NONE
	:: else -> if
		:: cursor[r] == HOLD -> g = 0
		:: cursor[r] < g -> g = cursor[r]
		:: else
		fi
	fi
}

proctype producer(byte me; byte u)
{
	byte S, P;              /* tail as loaded */
	byte h = N, hp;         /* head as last seen: stays from message to message, as old as it likes */
	byte g, n, np, i, k;

publish:
	/* ring_publish: load tail */
	if
	:: atomic { left[me] > 0 -> S = tail_s; P = tail_p; waits[me] = 0
#ifdef DROP_SEAL_SWAP
		; if :: sealed -> left[me] = 0; goto gone :: else fi
#endif
	   }
	:: atomic { left[me] == 0 -> goto gone }
	DIE
	fi;

room:
	/* a head past S says that tail is old; this comparison comes first, as positions mean nothing then */
	if
	:: atomic { h > S -> goto publish }
	:: atomic { h <= S && S - h < LIMIT && P + u - hp <= ARENA -> goto claim }
	:: atomic { h <= S && !(S - h < LIMIT && P + u - hp <= ARENA) && (h != head_s) -> h = head_s; hp = head_p; goto room }
	:: atomic { h <= S && !(S - h < LIMIT && P + u - hp <= ARENA) && (h == head_s) -> skip }
	fi;

	/* ring_retire: head is loaded (above), then tail */
#ifdef DROP_TAIL_BEFORE_SCAN
	g = HOLD - 1;
#else
	if :: atomic { true -> g = tail_s } DIE fi;
#endif
	/* full fence; then the cursors */
#if LOSSLESS > 0
	if :: atomic { true -> scan(LOSSY) } DIE fi;
#endif
#if LOSSLESS > 1
	if :: atomic { true -> scan(LOSSY + 1) } DIE fi;
#endif
#ifdef DROP_TAIL_BEFORE_SCAN
	if :: atomic { true -> if :: tail_s < g -> g = tail_s :: else fi } DIE fi;
#endif
#ifdef DROP_HEAD_BEFORE_SCAN
	if :: atomic { true -> h = head_s; hp = head_p } DIE fi;
#endif
	n = h; np = hp;
	do
	:: atomic { n < g && n - h < BATCH && word_s[W(n)] == n && RETIRABLE(word_st[W(n)]) ->
		np = np + units[n]; n++ }
	:: atomic { !(n < g && n - h < BATCH && word_s[W(n)] == n && RETIRABLE(word_st[W(n)])) -> break }
	DIE
	od;
	if
	:: atomic { n > h ->
		if
		:: head_s == h -> head_s = n; head_p = np; check_gates()
		:: else
		fi;
		h = head_s; hp = head_p; g = 0; n = 0; np = 0; goto publish }
#ifdef DROP_HEAD_BEFORE_SCAN
	:: atomic { n <= h && (h > S || S - h < LIMIT && P + u - hp <= ARENA) -> g = 0; n = 0; np = 0; goto room }
	:: atomic { n <= h && !(h > S || S - h < LIMIT && P + u - hp <= ARENA) -> g = 0; n = 0; np = 0; waits[me] = 1 }
#else
	:: atomic { n <= h -> g = 0; n = 0; np = 0; waits[me] = 1 }
#endif
	DIE
	fi;
	/* full: wait until another try can end differently */
	if
	:: atomic { (head_s != h || tail_s != S || word_s[W(S)] == S || OLDEST_MAY_GO) ->
		h = head_s; hp = head_p; goto publish }
	DIE
	fi;

claim:
	if
	:: atomic { word_s[W(S)] + N == S ->            /* ring_claim */
		assert(RETIRABLE(word_st[W(S)]));                       /* slot in use claimed */
		assert(!(sealed && S >= sealed));                       /* claimed behind the seal */
		word_s[W(S)] = S; word_st[W(S)] = CLAIMED;
		owner[S] = me; units[S] = u; start[S] = P; claimed = S + 1;
		/* the least that a claimant must have known of head, which is what it tells; the rest it may have been lucky */
		known[S] = N;
		do
		:: known[S] < S && (S - known[S] >= LIMIT || P + u - start[known[S]] > ARENA) -> known[S] = known[S] + 1
		:: else -> break
		od;
		assert(h >= known[S]);                                  /* claimed without room */
		i = 0;
		do
		:: i < u -> given[(P + i) % ARENA] = S; i++
		:: else -> break
		od;
		i = 0 }
	:: atomic { word_s[W(S)] == S && word_st[W(S)] == SEAL -> left[me] = 0; goto gone }     /* on in the successor */
	:: atomic { word_s[W(S)] == S && word_st[W(S)] != SEAL -> goto help }
	:: atomic { word_s[W(S)] > S -> goto publish }
	DIE
	fi;

	/* ring_help by the winner */
	if
	:: atomic { true -> if
		:: tail_s == S -> assert(tail_p == P);                  /* tail moved wrongly */
			tail_s = S + 1; tail_p = P + u
		:: else fi }
	DIE
	fi;
	/* release fence; then the position and the frame, unit by unit */
	if
	:: atomic { true -> assert(word_s[W(S)] == S);          /* slot of a live owner reused */
		at[W(S)] = S }
	DIE
	fi;
	do
#ifdef DROP_COMMIT_RELEASE
	:: atomic { i < u - 1 ->
#else
	:: atomic { i < u ->
#endif
		assert(given[(P + i) % ARENA] == S);                    /* space of a live owner reused */
		cell[(P + i) % ARENA] = S; i++ }
#ifdef DROP_COMMIT_RELEASE
	:: atomic { i == u - 1 -> break }
#else
	:: atomic { i == u -> break }
#endif
	DIE
	od;
	/* ring_commit */
	if
	:: atomic { word_s[W(S)] == S && word_st[W(S)] == CLAIMED -> word_st[W(S)] = COMMITTED; committed[S] = 1;
#ifdef DROP_COMMIT_RELEASE
		goto late }
#else
		left[me]--; i = 0; goto publish }
#endif
	:: atomic { !(word_s[W(S)] == S && word_st[W(S)] == CLAIMED) -> skip }
	DIE
	fi;
#ifdef DROP_OWNER_ABORTS
	atomic { left[me]--; i = 0; goto publish };
#endif
	if
	:: atomic { word_s[W(S)] == S && word_st[W(S)] == SKIPPED -> word_st[W(S)] = ABORTED; left[me]--; i = 0; goto publish }
	:: atomic { !(word_s[W(S)] == S && word_st[W(S)] == SKIPPED) ->
#ifndef DROP_SKIPPED
		assert(word_s[W(S)] == S && word_st[W(S)] == SKIPPED);  /* word of a live owner changed */
#endif
		left[me]--; i = 0; goto publish }
	DIE
	fi;

#ifdef DROP_COMMIT_RELEASE
late:
	if :: atomic { true -> cell[(P + i) % ARENA] = S; left[me]--; i = 0; goto publish } DIE fi;
#endif

help:
#ifdef DROP_HELP
	if :: atomic { tail_s != S -> goto publish } DIE fi;
#else
	if
	:: atomic { true -> if :: tail_s == S -> tail_s = S + 1; tail_p = P + units[S] :: else fi; goto publish }
	DIE
	fi;
#endif

gone:
	atomic { S = 0; P = 0; h = 0; hp = 0; g = 0; n = 0; np = 0; i = 0; k = 0 };
#if DISASTERS > 1
	if :: atomic { status[me] == STOPPED && disasters > 0 -> disasters--; status[me] = DEAD } fi
#endif
}

/* a reader is told that it was overrun: any head that it may see, at least `v` */
inline overrun()
{
	assert(v > C);                                          /* loss not countable */
	assert(r < LOSSY || C < floor_of[r]);                   /* lossless reader overrun */
	do
	:: v < head_s -> v++
	:: break
	od;
	C = v; at_seq[r] = C; v = 0;
	if :: r >= LOSSY -> cursor[r] = C :: else fi
}

inline advance() { C++; at_seq[r] = C; v = 0; bad = 0; i = 0; p = 0; if :: r >= LOSSY -> cursor[r] = C :: else fi }

proctype reader(byte r)
{
	byte me = 2 + r;
	byte C = N;             /* cursor */
	byte v;                 /* the oldest head this reader may still see, as far as it matters */
	byte p, i, k, g;
	bool bad;               /* a copied unit was not of C */

	if
	:: r < LOSSY -> goto read
	:: else
	fi;

#if LOSSLESS > 0
	/* register, full fence, then tail */
#ifdef DROP_JOIN_FENCE
	if :: atomic { true -> floor_of[r] = tail_s } DIE fi;
	if :: atomic { true -> cursor[r] = HOLD } DIE fi;
#else
	if :: atomic { true -> cursor[r] = HOLD } DIE fi;
	if :: atomic { true -> floor_of[r] = tail_s } DIE fi;
#endif
#ifdef EARLIEST
#ifndef DROP_NUDGE
	/* the coordinator moves head once, by ring_retire without this reader's own entry */
	if :: atomic { true -> C = head_s; g = tail_s } DIE fi;
#if LOSSLESS > 1
	if :: atomic { true -> scan((r == LOSSY -> LOSSY + 1 : LOSSY)) } DIE fi;
#endif
	if
	:: atomic { head_s != C -> floor_of[r] = 0 }            /* it moved by itself */
	:: atomic { head_s == C && C < g && word_s[W(C)] == C && RETIRABLE(word_st[W(C)]) ->
		head_s = C + 1; head_p = head_p + units[C]; floor_of[r] = 0;
		k = LOSSY; check_gates() }
	:: atomic { head_s == C && !(C < g && word_s[W(C)] == C && RETIRABLE(word_st[W(C)])) ->
#ifdef DROP_FLOOR
		floor_of[r] = 0
#else
		skip                    /* not possible: below floor_of what was there before may be overrun */
#endif
	   }
	DIE
	fi;
#else
	floor_of[r] = 0;
#endif
	if :: atomic { true -> C = head_s } DIE fi;
	if :: atomic { true -> cursor[r] = C; at_seq[r] = C;
		assert(head_s <= C || head_s <= floor_of[r])            /* lossless reader overrun */
	} DIE fi;
#else
	if :: atomic { true -> C = floor_of[r]; floor_of[r] = 0; cursor[r] = C; at_seq[r] = C;
		assert(head_s <= C)                                     /* lossless reader overrun */
	} DIE fi;
#endif
	g = 0;
#endif

read:
	at_seq[r] = C;
again:
	/* ring_read: the word, and with it what its writer knew of head */
	if
	:: atomic { word_s[W(C)] > C -> v = known[word_s[W(C)]];
		if :: word_st[W(C)] == SEAL -> v = word_s[W(C)] - LIMIT :: else fi;
		overrun(); goto again }
	:: atomic { word_s[W(C)] == C && word_st[W(C)] == COMMITTED -> v = known[C] }
	:: atomic { word_s[W(C)] == C && (word_st[W(C)] == SKIPPED || word_st[W(C)] == ABORTED) ->
		assert(!committed[C]);                          /* published message stepped over */
		advance(); goto again }
	:: atomic { word_s[W(C)] == C && word_st[W(C)] == SEAL -> assert(C == sealed);  /* end at the wrong place */
		goto gone }
	:: atomic { word_s[W(C)] == C && word_st[W(C)] == CLAIMED && !ALIVE(owner[C]) -> goto orphan }
#ifdef DROP_WORD_AGAIN
	:: atomic { word_s[W(C)] == C && word_st[W(C)] == CLAIMED -> k = owner[C]; goto wait }
#endif
	DIE
	fi;

	if
	:: atomic { true -> p = at[W(C)];
#ifdef DROP_CURSOR_RELEASE
		if :: r >= LOSSY -> cursor[r] = C + 1 :: else fi;
#endif
#if !defined(DROP_ACQUIRE_FENCE) && !defined(DROP_RELEASE_FENCE)
		if :: known[p] > v -> v = known[p] :: else fi
#endif
	   }
	DIE
	fi;
	do
	:: atomic { i < units[C] -> k = cell[(start[p] + i) % ARENA];
		if :: k != C -> bad = 1 :: else fi;
#if !defined(DROP_ACQUIRE_FENCE) && !defined(DROP_RELEASE_FENCE)
		if :: known[k] > v -> v = known[k] :: else fi;
#endif
		k = 0; i++ }
	:: atomic { i == units[C] -> i = 0; p = 0; break }
	DIE
	od;
	/* acquire fence; head again, where an old value may be seen unless what was read rules it out */
	if
#ifdef DROP_RECHECK
	:: atomic { true -> assert(!bad);                       /* torn message delivered */
		advance(); goto again }
#else
	:: atomic { v <= C -> assert(!bad);                     /* torn message delivered */
		assert(committed[C]);                                   /* unpublished message delivered */
		advance(); goto again }
	:: atomic { head_s > C -> bad = 0; if :: v <= C -> v = C + 1 :: else fi; overrun(); goto again }
#endif
	DIE
	fi;

#ifdef DROP_WORD_AGAIN
wait:	/* owner found dead some time after the word was loaded */
	if
	:: atomic { !ALIVE(k) -> k = 0; assert(!committed[C]);  /* published message stepped over */
		advance(); goto again }
	:: atomic { ALIVE(k) && !(word_s[W(C)] == C && word_st[W(C)] == CLAIMED) -> k = 0; goto again }
	DIE
	fi;
#endif
orphan:
	/* the owner is proved dead; only then is the word loaded again, and only if it is still CLAIMED stepped over */
	if
	:: atomic { word_s[W(C)] == C && word_st[W(C)] == CLAIMED -> assert(!committed[C]);     /* published message stepped over */
		advance(); goto again }
	:: atomic { !(word_s[W(C)] == C && word_st[W(C)] == CLAIMED) -> goto again }
	DIE
	fi;

gone:
	atomic { v = 0; p = 0; i = 0; k = 0; g = 0; bad = 0 };
#if DISASTERS > 1
	if :: atomic { status[me] == STOPPED && disasters > 0 -> disasters--; status[me] = DEAD } fi
#endif
}

#define ORPHANED(w) (word_s[w] >= N && !ALIVE(owner[word_s[w]]) && (word_st[w] == CLAIMED || word_st[w] == SKIPPED))
#define OVERDUE(w) (word_s[w] >= N && ALIVE(owner[word_s[w]]) && word_st[w] == CLAIMED)

proctype anybody()
{
	byte w;
end:	do
	:: atomic { ORPHANED(0) -> word_st[0] = ABORTED }
	:: atomic { ORPHANED(1) -> word_st[1] = ABORTED }
#if N > 2
	:: atomic { ORPHANED(2) -> word_st[2] = ABORTED }
	:: atomic { ORPHANED(3) -> word_st[3] = ABORTED }
#endif
#ifdef DROP_SKIPPED
#define OUT ABORTED
#else
#define OUT SKIPPED
#endif
	:: atomic { OVERDUE(0) -> word_st[0] = OUT }
	:: atomic { OVERDUE(1) -> word_st[1] = OUT }
#if N > 2
	:: atomic { OVERDUE(2) -> word_st[2] = OUT }
	:: atomic { OVERDUE(3) -> word_st[3] = OUT }
#endif
	od
}

#ifdef SEALING
proctype coordinator()
{
	byte S, P;
again:
	atomic { S = tail_s; P = tail_p };
#ifdef DROP_SEAL_SWAP
	sealed = S;
#else
	if
	:: atomic { word_s[W(S)] + N == S ->
		assert(FINAL(word_st[W(S)]) && head_s > S - N);         /* slot in use sealed */
		word_s[W(S)] = S; word_st[W(S)] = SEAL; sealed = S }
	:: atomic { word_s[W(S)] == S -> if :: tail_s == S -> tail_s = S + 1; tail_p = P + units[S] :: else fi; goto again }
	:: atomic { word_s[W(S)] > S -> goto again }
	fi
#endif
}
#endif

/* why a publisher may wait for ever: the oldest slot's owner, or a lossless reader, is stopped but alive */
#define HELD_BY_STOPPED_OWNER (word_s[W(head_s)] == head_s && word_st[W(head_s)] == SKIPPED && status[owner[head_s]] == STOPPED)
#define HELD_BY_STOPPED_READER(r) (r < READERS && status[2 + r] == STOPPED && cursor[r] != NONE && \
				(cursor[r] == HOLD || cursor[r] <= head_s))
#if LOSSLESS == 0
#define HELD HELD_BY_STOPPED_OWNER
#else
#define HELD (HELD_BY_STOPPED_OWNER || HELD_BY_STOPPED_READER(LOSSY) || HELD_BY_STOPPED_READER(LOSSY + 1))
#endif

init
{
	byte k;
	atomic {
		k = 0;
		do
		:: k < N -> word_s[k] = k; word_st[k] = ABORTED; at[k] = k; k++
		:: else -> break
		od;
		k = 0;
		left[0] = FIRST; left[1] = MESSAGES - FIRST;
		run producer(0, UNITS0);
		run producer(1, UNITS1);
		do
		:: k < READERS -> run reader(k); k++
		:: else -> break
		od;
		k = 0;
		run anybody();
#ifdef SEALING
		run coordinator();
#endif
	}
	/* nobody can take a step: whoever runs must have got where it can */
	atomic { timeout ->
		do
		:: k < 2 ->
			if
			:: status[k] != RUNS || left[k] == 0
			:: status[k] == RUNS && left[k] > 0 && waits[k] && HELD
			:: else -> assert(false)                        /* publisher hangs */
			fi;
			k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < READERS ->
			assert(status[2 + k] != RUNS || at_seq[k] == claimed);  /* reader hangs */
			k++
		:: else -> break
		od;
#ifdef SEALING
		assert(sealed && claimed == sealed);                    /* not sealed */
#endif
	}
}
