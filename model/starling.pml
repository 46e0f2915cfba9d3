/*
 * Termination of one job: Dijkstra-Scholten over named obligations, with engagements, leases and fences.
 *
 * One state machine per daemon and per obligation, over shared state; each transition is one `d_step`, so it is one
 * entry of the core: a frame, a timer, or the end of a body. The comment above a transition names its place in
 * `src/core`. README.md says what the model leaves out, the bounds, and what was measured.
 *
 * The network is a soup: what was sent stays deliverable for ever, in any order, any number of times, or never. A frame is
 * never stored as such. It is a fact about the obligation or the fence that it names (`ost == SENT` with a binding: the
 * HANDOFF is out; `set`: the SETTLE is out; `can`: the CANCEL is out; `w`: the FENCE is out). A delivery that
 * would change nothing is not enabled, hence: no transition enabled = nothing can ever happen any more.
 *
 * Time is three facts about a lease, not a clock: the host acts (`LIVE`), its executors die (`dy`), the root expires the
 * grant only when neither is left (A3, A4).
 */

/* ---- bounds and switches (all overridden by -D) ---- */
#ifndef ND
#define ND 3                    /* daemons; 0 is where the job was submitted */
#endif
#ifndef R
#define R 3                     /* attempts of one task that can matter at the same time */
#endif
#ifndef K
#define K 3                     /* engagements of one daemon */
#endif
#ifndef F
#define F 1                     /* faults */
#endif
#ifdef PAIR                     /* A -> B */
#define NT 2
#define KIDS(t) (t == 0 -> 2 : 0)
#endif
#ifdef CHAIN                    /* A -> B -> C */
#define NT 3
#define KIDS(t) (t == 0 -> 2 : (t == 1 -> 4 : 0))
#endif
#ifdef FORK                     /* A -> {B, C} */
#define NT 3
#define KIDS(t) (t == 0 -> 6 : 0)
#endif
#define NS (NT*R)
#define TASK(x) ((x)/R)
#define UNKNOWN 7               /* the root has forgotten the boots of a peer (FORGETS) */
#define ROOTP 15                /* owner of the root task */

#ifndef KINDS                   /* which faults: 1 crash, 2 lease loss, 4 expiry of a grant that nobody adopted, */
#define KINDS 7                 /* 8 user cancel, 16 returned, 32 leave, 64 restored disk, 128 lost settle, */
/* 256 a machine is gone for good */
#endif
#define KIND(m) (KINDS & (m))
/* hosts that a task may be given to; re: not the first attempt of this owner */
#if defined(RING)               /* A@1, B@2, C@0; later attempts anywhere */
#define MAYPLACE(t,d,re) (re || d == (t+1) % 3)
#elif defined(RINGHOME)         /* A@1, B@2, C@0; later attempts at 0 */
#define MAYPLACE(t,d,re) (d == (re -> 0 : (t+1) % 3))
#elif defined(AWAY)             /* never at the root's host */
#define MAYPLACE(t,d,re) (d != 0)
#elif defined(HOMEAWAY)         /* A@0, B@1, C@2; later attempts anywhere */
#define MAYPLACE(t,d,re) (re || d == t)
#else
#define MAYPLACE(t,d,re) true
#endif
#ifdef SAFEROOT                 /* daemons that faults hit */
#define MAYFAIL(d) (d != 0)
#else
#define MAYFAIL(d) true
#endif
#ifndef EX
#define EX 9                    /* the exclusive task: none */
#endif
#ifndef POISON
#define POISON 9                /* the task that takes its host down whenever it runs: none */
#endif

/* ---- obligations: one attempt of one task (obligation.ts), with its vertex at the host (vertex.ts) ---- */
#define NONE    0               /* ost: free slot. hst: not seen by the host */
#define PLACING 1
#define SENT    2
#define GONE    3               /* nobody is owed it any more; its frames may still be about */
#define QUEUED  1
#define RUNNING 2
#define WAITING 3               /* body ended, children owed */
#define CANX    4               /* cancelling, body not yet reaped */
#define CANW    5               /* cancelling, no body, children owed */
#define OVER    6               /* in `seen`, no vertex any more */
#define OK        1
#define CANCELLED 2
#define RETURNED  3

typedef Obl {
  unsigned ost : 2;             /* at the owner */
  unsigned par : 4;             /* vertex that owns it, or ROOTP; (to,te) of that one are owner and ownerEngagement */
  unsigned to : 2; unsigned te : 3;  /* binding; te 0: none yet (I8: set once) */
  unsigned hst : 3;             /* at the host */
  unsigned set : 2;             /* SETTLE that was sent */
  unsigned can : 1;             /* CANCEL was sent */
  unsigned got : 3;             /* ghost: children of this vertex that it has committed, by task */
  unsigned sp : 1;              /* the body has spawned its children */
  unsigned re : 1;              /* not the first attempt of this owner */
  unsigned loss : 2;            /* losses of this task at its owner (C11), counted only with MAXLOSS */
  unsigned perm : 1;            /* PERMIT of the root (C5) */
  unsigned kept : 1;            /* the host keeps the settle until SETTLED (C9), only with lost settles */
  unsigned missed : 1;          /* the SETTLE was lost on its way */
  unsigned kd : 1               /* ghost: the supervisor has killed the body, the daemon does not know (STAGES) */
};
typedef Dae {
  /* daemon */
  unsigned up : 1;
  unsigned over : 1;            /* lease over, not noticed yet (STAGES) */
  unsigned left : 1;            /* has sent LEAVE in this boot (C12) */
  unsigned eng : 3;             /* engagement that it holds, 0 none */
  unsigned inc : 3;             /* incarnation */
  unsigned bn : 3;              /* boot: what the nonce tells apart */
  unsigned lost : 3;            /* highest engagement of this boot that is over */
  unsigned dy : 3;              /* bodies that outlive their engagement, by task */
  /* root: in the journal */
  unsigned g : 3;               /* grant in force */
  unsigned last : 3;            /* engagements granted so far: all but g are fenced (C8) */
  unsigned gbn : 3;             /* boot it was granted to */
  unsigned kinc : 3;            /* newest incarnation known, and its nonce (C2) */
  unsigned kbn : 3;
  unsigned exd : 1;             /* the last grant ended by its time: a GRANT of it is too old to be adopted */
  unsigned la : 3               /* highest engagement that was ever adopted: RESERVEDs of it are about */
};
Obl o[NS];
Dae D[ND];
byte fk[9];                     /* fk[x*3+q]: x knows that engagements of q up to this are fenced (fences.ts) */
byte w[3*(K+1)];                /* w[q*(K+1)+k]: who has not yet confirmed fence (q,k), as a mask; 0: not open */
#define W(q,k) w[(q)*(K+1)+(k)]
byte nf;                        /* faults so far, and those that will not come */
bit cancelReq, announced, fin;
#ifdef OLDENG
short es[3];                    /* ENGAGE(boot, lost) ever sent, bit boot*4+lost */
#endif
#ifdef MUT_EVENT
byte fev[3*(K+1)];              /* FENCE still on its way, as a mask of targets */
#endif

/* What is checked; the numbers turn up in pan's message, and scripts/model-check.sh puts them into these words:
   11 at the announcement a body outlives its engagement   12 ... a vertex lives   13 ... a body runs
   14 ... a hand-off is on its way that will be accepted   15 nothing can happen any more, and nothing was announced
   16 a bound of the model was reached                     17 a child was settled twice
   18 a vertex settled without each child                  19 two bodies of an exclusive task
   20 accepted or started after the announcement           21 `cancelled` for an owner that is not cancelling */
#define claim(n,e) assert((e) || fin == n)

hidden byte i, j, p, q_, n, kid, lim;
hidden byte any_, open_;

/* ---- predicates ---- */
#ifdef MUT_R1                   /* no check of the lease at an entry */
#define LIVE(d) (D[d].up && D[d].eng)
#else
#define LIVE(d) (D[d].up && D[d].eng && !D[d].over)
#endif
#define ROOTUP  D[0].up
#define HERE(s)   (o[s].te && LIVE(o[s].to) && D[o[s].to].eng == o[s].te)    /* its host still is in that engagement */
#define VERTEX(s) (o[s].hst >= QUEUED && o[s].hst <= CANW)
#define EXEC(s)   (o[s].hst == RUNNING || o[s].hst == CANX)
#define OWED(s)   (o[s].ost == PLACING || o[s].ost == SENT)
/* the owner is there to act: its vertex is alive, or the root is up */
#define OWNERUP(s) (o[s].par == ROOTP -> ROOTUP : (HERE(o[s].par) && VERTEX(o[s].par)))
#define OWNERCANCELS(s) (o[s].par == ROOTP -> cancelReq : (o[o[s].par].hst == CANX || o[o[s].par].hst == CANW))
/* the host of s knows that its owner is fenced */
#define ORPHAN(s) (o[s].par != ROOTP && fk[o[s].to*3 + o[o[s].par].to] >= o[o[s].par].te)
#define FAULT(m,d) (KIND(m) && nf < F && MAYFAIL(d))

#ifdef MUT_NOTOENG
#define COMES(s) (o[s].te && LIVE(o[s].to))
#define MAYCOME(s) (o[s].te && o[s].hst == NONE)
#else
#define COMES(s) HERE(s)
#if defined(MUT_NOLOST) || defined(MUT_NOINC) || defined(MUT_INCREUSE)
#define MAYCOME(s) (o[s].te && o[s].hst == NONE)
#else
#define MAYCOME(s) (o[s].te && D[o[s].to].eng == o[s].te && o[s].hst == NONE && !ORPHAN(s))
#endif
#endif

/* what only some runs need is kept out of the state of the others */
#ifdef MUT_NOLOST
#define EXD D[d].exd = 1;
#define EXD0 D[d_].exd = 0
#else
#define EXD
#define EXD0 skip
#endif
#if defined(OLDENG) || defined(STALE) || (KINDS & 64) || defined(MUT_NOLOST) || defined(MUT_NOINC) || \
  defined(MUT_INCREUSE) || defined(MUT_EVENT) || defined(MUT_NOSEEN) || defined(MUT_NOTOENG) || defined(MUT_EARLYGRANT)
#define OLDNAMES
#endif

/* ---- steps shared by transitions ---- */

/* Gives slots back whose frames can have no effect any more, children first. Keeps equal futures in one state. */
inline tidy() {
  i = NS;
  do
  :: i == 0 -> break
  :: else ->
    i--;
    if
#ifdef MUT_NOSEEN
    :: o[i].ost == GONE && !VERTEX(i) && !(o[i].te && D[o[i].to].eng == o[i].te) ->
#else
    :: o[i].ost == GONE && !VERTEX(i) && !MAYCOME(i) ->
#endif
      any_ = 0; j = i+1;
      do
      :: j >= NS -> break
      :: else -> if :: o[j].ost && o[j].par == i -> any_ = 1 :: else fi; j++
      od;
      if
      :: !any_ ->
        o[i].ost = 0; o[i].par = 0; o[i].to = 0; o[i].te = 0; o[i].hst = 0; o[i].set = 0; o[i].can = 0;
        o[i].got = 0; o[i].sp = 0; o[i].re = 0; o[i].loss = 0; o[i].perm = 0; o[i].kept = 0;
        o[i].missed = 0; o[i].kd = 0
      :: else
      fi
    :: else
    fi;
    if
    :: !VERTEX(i) -> o[i].sp = 0; o[i].got = 0; o[i].kd = 0
    :: else
    fi;
    if
    :: o[i].ost == GONE -> o[i].set = 0; o[i].kept = 0; o[i].missed = 0
    :: else
    fi;
    if
    :: !VERTEX(i) && !MAYCOME(i) -> o[i].can = 0
    :: else
    fi
  od;
  /* no holes between the attempts of one task */
  i = 0;
  do
  :: i >= NS-1 -> break
  :: i < NS-1 && o[i].ost == 0 && o[i+1].ost && TASK(i) == TASK(i+1) ->
    o[i].ost = o[i+1].ost; o[i].par = o[i+1].par; o[i].to = o[i+1].to; o[i].te = o[i+1].te; o[i].hst = o[i+1].hst;
    o[i].set = o[i+1].set; o[i].can = o[i+1].can; o[i].got = o[i+1].got; o[i].sp = o[i+1].sp; o[i].re = o[i+1].re;
    o[i].loss = o[i+1].loss; o[i].perm = o[i+1].perm; o[i].kept = o[i+1].kept; o[i].missed = o[i+1].missed;
    o[i].kd = o[i+1].kd;
    o[i+1].ost = 0; o[i+1].par = 0; o[i+1].to = 0; o[i+1].te = 0; o[i+1].hst = 0; o[i+1].set = 0; o[i+1].can = 0;
    o[i+1].got = 0; o[i+1].sp = 0; o[i+1].re = 0; o[i+1].loss = 0; o[i+1].perm = 0; o[i+1].kept = 0;
    o[i+1].missed = 0; o[i+1].kd = 0;
    j = 0;
    do
    :: j >= NS -> break
    :: else -> if :: o[j].ost && o[j].par == i+1 -> o[j].par = i :: else fi; j++
    od;
    i = TASK(i)*R
  :: else -> i++
  od;
#ifndef OLDNAMES
  /* Boots and engagements count by what is newer than what, not by their numbers: an engagement that nothing names any
     more is taken out of the numbering. */
  i = 0;
  do
  :: i >= ND -> break
  :: else ->
    if :: !(D[i].g && D[i].lost >= D[i].g) -> D[i].lost = 0 :: else fi;
    D[i].inc = (D[i].g && D[i].inc > D[i].kinc); D[i].bn = D[i].inc; D[i].kinc = 0; D[i].kbn = 0; D[i].gbn = 0;
    do
    :: D[i].last <= 1 || D[i].g == 1 || D[i].eng == 1 || W(i,1) -> break
    :: else ->
      any_ = 0; j = 0;
      do
      :: j >= NS -> break
      :: else -> if :: o[j].te == 1 && o[j].to == i -> any_ = 1; break :: else fi; j++
      od;
      if :: any_ -> break :: else fi;
      j = 0;
      do
      :: j >= NS -> break
      :: else -> if :: o[j].te && o[j].to == i -> o[j].te-- :: else fi; j++
      od;
      j = 0;
      do
      :: j >= 3 -> break
      :: else -> if :: fk[j*3+i] -> fk[j*3+i]-- :: else fi; j++
      od;
      j = 1;
      do
      :: j >= K -> W(i,K) = 0; break
      :: else -> W(i,j) = W(i,j+1); j++
      od;
      D[i].last--;
      if :: D[i].g -> D[i].g-- :: else fi;
      if :: D[i].eng -> D[i].eng-- :: else fi;
      if :: D[i].lost -> D[i].lost-- :: else fi
    od;
    i++
  od;
#endif
  i = 0
}

/* A bound of the model is reached: no run may end here unless CUTOK says that longer runs are cut. */
inline cut() {
#ifndef CUTOK
  claim(16, false);
#endif
  fin = 1
}

/* A new obligation of task t_ under owner p_ (EngagedTree.#own, LedgerState: next obligation). */
inline issue(t_, p_, re_, loss_) {
  n = (t_)*R; lim = (t_)*R + R;
  do
  :: n == lim -> cut(); break
  :: n < lim && o[n].ost == NONE -> o[n].ost = PLACING; o[n].par = p_; o[n].re = re_; o[n].loss = loss_; break
  :: else -> n++
  od
}

/* The owner of s commits that its child has settled; ghost: once per child. */
inline commit(s_) {
  if
  :: o[s_].par != ROOTP ->
    claim(17, !(o[o[s_].par].got & (1 << TASK(s_))));
    o[o[s_].par].got = o[o[s_].par].got | (1 << TASK(s_))
  :: else
  fi;
  o[s_].ost = GONE
}

/* What s was sent to is fenced, or it came back: a new attempt under a new name, or `lost` (EngagedTree.fence, C4, C11). */
inline again(s_, hit_) {
  if
#ifdef MUT_REISSUE
  :: false
#else
  :: OWNERCANCELS(s_) -> o[s_].ost = GONE
#endif
#ifdef MAXLOSS
  :: !OWNERCANCELS(s_) && hit_ && o[s_].loss >= MAXLOSS -> commit(s_)                       /* settled as `lost` */
  :: !OWNERCANCELS(s_) && !(hit_ && o[s_].loss >= MAXLOSS) ->
    o[s_].ost = GONE; issue(TASK(s_), o[s_].par, 1, o[s_].loss + hit_)
#else
  :: else -> o[s_].ost = GONE; issue(TASK(s_), o[s_].par, 1, 0)
#endif
  fi
}

/* any_ := vertex p_ is owed nothing (its obligations are empty) */
inline quiet(p_) {
  any_ = 1; j = 0;
  do
  :: j >= NS -> break
  :: else -> if :: OWED(j) && o[j].par == p_ -> any_ = 0; break :: else fi; j++
  od
}

/* EngagedTree.#settleIfQuiet: I2. The settle of an orphan has nobody to go to. */
inline settle_if_quiet(p_) {
  if
  :: o[p_].hst == WAITING || o[p_].hst == CANW ->
    quiet(p_);
    if
    :: any_ ->
      if
      :: o[p_].hst == WAITING -> claim(18, o[p_].got == KIDS(TASK(p_)))
      :: else
      fi;
      if
      :: !ORPHAN(p_) ->
        o[p_].set = (o[p_].hst == WAITING -> OK : CANCELLED);
#if KINDS & 128
#ifndef MUT_NOTKEPT
        o[p_].kept = 1
#endif
#endif
      :: else
      fi;
      o[p_].hst = OVER
    :: else
    fi
  :: else
  fi
}

/* EngagedTree.#cancelVertex */
inline cancel_vertex(p_) {
  if
  :: o[p_].hst == RUNNING -> o[p_].hst = CANX
  :: o[p_].hst == QUEUED || o[p_].hst == WAITING -> o[p_].hst = CANW
  :: else
  fi;
  j = 0;
  do
  :: j >= NS -> break
  :: else ->
    if
    :: o[j].par == p_ && o[j].ost == PLACING -> o[j].ost = GONE
    :: o[j].par == p_ && o[j].ost == SENT -> o[j].can = 1
    :: else
    fi;
    j++
  od;
  settle_if_quiet(p_)
}

/* Participant.#selfFence, or death: everything of d's engagement is forgotten; its bodies live on for a while. */
inline wipe(d_) {
  i = 0;
  do
  :: i >= NS -> break
  :: o[i].te && o[i].to == d_ && o[i].te == D[d_].eng ->
    if
    :: EXEC(i) && !D[d_].over -> D[d_].dy = D[d_].dy | (1 << TASK(i))
    :: else
    fi;
    if
    :: VERTEX(i) ->
      j = 0;
      do
      :: j >= NS -> break
      :: else -> if :: o[j].par == i && OWED(j) -> o[j].ost = GONE :: else fi; j++
      od
    :: else
    fi;
    o[i].hst = NONE; o[i].kept = 0; i++
  :: else -> i++
  od;
  D[d_].eng = 0; D[d_].over = 0; fk[d_*3] = 0; fk[d_*3+1] = 0; fk[d_*3+2] = 0
}

/* open_ := some fence is open */
inline fences_open() {
  open_ = 0; j = 0;
  do
  :: j >= 3*(K+1) -> break
  :: else -> if :: w[j] -> open_ = 1; break :: else fi; j++
  od
}

/* What must hold at the announcement: nothing lives, and nothing that is on its way can come to life. */
inline check_announcement() {
  j = 0;
  do
  :: j >= ND -> break
  :: else -> claim(11, !D[j].dy); j++
  od;
  j = 0;
  do
  :: j >= NS -> break
  :: else ->
    claim(12, !(HERE(j) && VERTEX(j)));
    claim(13, !(o[j].te && EXEC(j) && !o[j].kd));
    claim(14, !(HERE(j) && o[j].hst == NONE && !ORPHAN(j)));
    j++
  od
}

/* Ledger.#close: at the end of every step of the root, and only there (C7). */
inline close() {
#ifdef MUT_NOBARRIER
  open_ = 0;
#else
  fences_open();
#endif
  any_ = 0; j = 0;
  do
  :: j >= R -> break
  :: else -> if :: o[j].par == ROOTP && OWED(j) -> any_ = 1 :: else fi; j++
  od;
  if
  :: !open_ && !any_ && !announced ->
    check_announcement();
    announced = 1;
#ifndef RUNON
    fin = 1
#endif
  :: else
  fi
}

/* Ledger.#openFence: one step, one record (C7). The engagement that is fenced is q_'s grant. */
inline root_again() {
  n = 0;
  do
  :: n >= R -> break
  :: o[n].par == ROOTP && o[n].ost == SENT && o[n].te != D[o[n].to].g -> p = n; again(p, 1); break
  :: else -> n++
  od
}
inline open_fence_torn(q1) {
  q_ = q1;
  j = 0;
  do
  :: j >= 3*(K+1) -> break
  :: else -> w[j] = w[j] & (255 - (1 << q_)); j++
  od;
  p = D[q_].g; D[q_].g = 0;
  j = 0;
  do
  :: j >= ND -> break
  :: else -> if :: D[j].g -> W(q_,p) = W(q_,p) | (1 << j) :: else fi; j++
  od
}
inline open_fence(q1) {
  q_ = q1;
  j = 0;
  do
  :: j >= 3*(K+1) -> break
  :: else -> w[j] = w[j] & (255 - (1 << q_)); j++
  od;
#ifdef MUT_H7
  close();
#endif
  p = D[q_].g; D[q_].g = 0;
  j = 0;
  do
  :: j >= ND -> break
  :: else -> if :: D[j].g -> W(q_,p) = W(q_,p) | (1 << j) :: else fi; j++
  od;
#ifdef MUT_EVENT
  fev[q_*(K+1)+p] = W(q_,p);
#endif
  root_again()
}

/* Ledger.engage: the new grant comes after the fence, so it is in no older `waiting`. */
inline grant(d_) {
  if
  :: D[d_].last >= K -> cut()
  :: else ->
    D[d_].last++; D[d_].g = D[d_].last; D[d_].gbn = D[d_].kbn; EXD0
  fi
}

/* MeshNode.adopt, Ledger.start: the root fences its own old engagement and judges again. */
inline restart(d_) {
  D[d_].up = 1;
  if
  :: d_ == 0 ->
#ifdef FORGETS
    i = 1;
    do
    :: i >= ND -> break
    :: else -> if :: !D[i].g -> D[i].kinc = 0; D[i].kbn = UNKNOWN :: else fi; i++
    od;
#endif
    D[0].kinc = D[0].inc; D[0].kbn = D[0].bn;
    root_again();
    if :: D[0].g && D[0].gbn != D[0].bn -> open_fence(0) :: else fi;
#ifndef MUT_RESTART
    close()
#endif
  :: else
  fi
}

/* A daemon dies: its boot is over, its bodies are not at once. Without bodies it is back at once: its being away
   is its not acting. Bodies are reaped before a boot speaks (C3). */
inline crash(d_, same_inc) {
  wipe(d_);
  D[d_].lost = 0; D[d_].left = 0; D[d_].bn++;
  if :: !same_inc -> D[d_].inc++ :: else fi;
  D[d_].up = 0;
#ifdef MUT_NOREAP
  restart(d_)
#else
  if :: !D[d_].dy -> restart(d_) :: else fi
#endif
}

/* START of a body (EngagedTree.started): an executor runs from here on. */
inline begin(s_) {
  claim(20, !announced);
  if
  :: TASK(s_) == EX ->
    j = 0;
    do
    :: j >= ND -> break
    :: else -> claim(19, !(D[j].dy & (1 << EX))); j++
    od;
    j = 0;
    do
    :: j >= NS -> break
    :: else -> claim(19, !(TASK(j) == EX && o[j].te && EXEC(j))); j++
    od
  :: else
  fi;
  o[s_].hst = RUNNING
}

/* EngagedTree.spawn: children are owed before anything of them is sent. */
inline spawn(s_) {
  o[s_].sp = 1;
  kid = 1;
  do
  :: kid >= NT -> break
  :: else ->
    if :: KIDS(TASK(s_)) & (1 << kid) -> issue(kid, s_, 0, 0) :: else fi;
    kid++
  od
}

/* ---- predicates over all obligations and fences, as expressions for guards ---- */
#define AT(s) ((s) < NS -> (s) : 0)
#define ANY(P) (P(0)||P(1)||P(2)||P(3)||P(4)||P(5)||P(6)||P(7)||P(8)||P(9)||P(10)||P(11)||P(12)||P(13)||P(14))
#define PLACES(s) ((s) < NS && o[AT(s)].ost == PLACING)
#define WANTED ANY(PLACES)                     /* somebody reserves, so daemons engage */
#define HASORPHAN(s,d,q,k) ((s) < NS && VERTEX(AT(s)) && o[AT(s)].to == d && o[AT(s)].te == D[d].eng && \
  o[AT(s)].par != ROOTP && o[o[AT(s)].par].to == q && o[o[AT(s)].par].te <= k)
#define ORPHANS(d,q,k) (HASORPHAN(0,d,q,k)||HASORPHAN(1,d,q,k)||HASORPHAN(2,d,q,k)||HASORPHAN(3,d,q,k) \
  ||HASORPHAN(4,d,q,k)||HASORPHAN(5,d,q,k)||HASORPHAN(6,d,q,k)||HASORPHAN(7,d,q,k)||HASORPHAN(8,d,q,k) \
  ||HASORPHAN(9,d,q,k)||HASORPHAN(10,d,q,k)||HASORPHAN(11,d,q,k)||HASORPHAN(12,d,q,k)||HASORPHAN(13,d,q,k) \
  ||HASORPHAN(14,d,q,k))
#define WK(q,k) ((k) <= K -> W(q,((k) <= K -> (k) : 0)) : 0)
#define OPENOF(q) (WK(q,1) | WK(q,2) | WK(q,3) | WK(q,4) | WK(q,5))
#define ANYOPEN (OPENOF(0) | OPENOF(1) | OPENOF(2))

/* ---- daemons, and the root's dealings with each ---- */
#define d (_pid - 1)
#define IDLE (D[d].up && !D[d].left && !D[d].eng)                 /* may ask for an engagement, or adopt one */
#ifdef MUT_R2                                                     /* the loss is reported while its bodies live */
#define REAPED true
#else
#define REAPED (!D[d].dy)
#endif
#define NEWBOOT  (D[d].inc > D[d].kinc)
#ifdef MUT_INCREUSE
#define SAMEBOOT (D[d].inc == D[d].kinc)
#else
#define SAMEBOOT (D[d].inc == D[d].kinc && (D[d].bn == D[d].kbn || D[d].kbn == UNKNOWN))
#endif
#ifdef NOHELLO
#define REPORTS (D[d].g)
#else
#define REPORTS false
#endif
#ifdef MUT_EARLYGRANT                                             /* else the root knows of every engagement that was lost */
#define LOSTONE D[d].lost
#else
#define LOSTONE false
#endif
#define ADOPTABLE (IDLE && D[d].g && D[d].gbn == D[d].bn && D[d].g > D[d].lost)

inline adopt(k_) {
  D[d].eng = k_;
#ifdef STALE
  if :: D[d].la < k_ -> D[d].la = k_ :: else fi;
#endif
  /* the oldest GRANT(k_) that can be about: later fences still wait for d, so `fenced` is what does not */
#ifndef MUT_NOFENCEDLIST
  q_ = 0;
  do
  :: q_ >= ND -> break
  :: else ->
    i = 1;
    do
    :: i > D[q_].last || i == D[q_].g || (W(q_,i) & (1 << d)) -> break
    :: else -> fk[d*3+q_] = i; i++
    od;
    q_++
  od
#endif
}

/* EngagedTree.fence */
inline do_fence(q1, k1) {
  fk[d*3+q1] = k1;
  i = 0;
  do
  :: i >= NS -> break
  :: else ->
    if
    :: VERTEX(i) && o[i].to == d && o[i].te == D[d].eng && o[i].hst <= WAITING && ORPHAN(i) -> cancel_vertex(i)
    :: else
    fi;
    i++
  od;
  i = 0;
  do
  :: i >= NS -> break
  :: else ->
    if
    :: o[i].ost == SENT && o[i].to == q1 && o[i].te <= k1 && o[i].par != ROOTP ->
      p = o[i].par;
      if
      :: o[p].to == d && o[p].te == D[d].eng && VERTEX(p) -> again(i, 1)
      :: else
      fi
    :: else
    fi;
    i++
  od;
  i = 0;
  do
  :: i >= NS -> break
  :: else ->
    if
    :: VERTEX(i) && o[i].to == d && o[i].te == D[d].eng -> settle_if_quiet(i)
    :: else
    fi;
    i++
  od
}

#ifdef MUT_EVENT
#define FENCEDUE(q,k) (fev[(q)*(K+1)+(k)] & (1 << d))
#else
#define FENCEDUE(q,k) (W(q,k) & (1 << d))
#endif
#ifdef MUT_GRANTMERGE
#define KNOWN(q,k) (fk[d*3+q] >= k && fk[d*3+q] < k)              /* "already in fenced" is taken for "already done" */
#define DERIVED(q,k) true
#else
#define KNOWN(q,k) false
#define DERIVED(q,k) (!ORPHANS(d,q,k))
#endif

/* FENCE (q,k) at d, direct or as one of `pendingFences` in a GRANT or RENEWED: EngagedTree.fence, C8 */
#ifdef MUT_EVENT
#define FENCE(q,k) \
  :: d_step { !fin && q < ND && k <= K && FENCEDUE(q,(k <= K -> k : 0)) -> \
       fev[q*(K+1)+k] = fev[q*(K+1)+k] & (255 - (1 << d)); \
       if :: LIVE(d) && D[d].eng == D[d].g && fk[d*3+q] < k -> do_fence(q,k) :: else fi; tidy() }
#else
#define FENCE(q,k) \
  :: d_step { !fin && q < ND && LIVE(d) && D[d].eng == D[d].g && FENCEDUE(q,k) && fk[d*3+q] < k -> \
       do_fence(q,k); tidy() }
#endif
/* FENCED (q,k) from d at the root: Fences.answerable, Ledger.fenced. Derived from the vertices that are there. */
#define FENCED(q,k) \
  :: d_step { !fin && q < ND && ROOTUP && !announced && LIVE(d) && D[d].eng == D[d].g && (W(q,k) & (1 << d)) && \
       fk[d*3+q] >= k && DERIVED(q,k) -> \
       W(q,k) = W(q,k) & (255 - (1 << d)); close(); tidy() }
/* ... and the root dies between the record of the answer and that of the announcement */
#define FENCED_TORN(q,k) \
  :: d_step { !fin && q < ND && FAULT(1,0) && ROOTUP && !announced && LIVE(d) && D[d].eng == D[d].g && \
       W(q,k) == (1 << d) && fk[d*3+q] >= k && DERIVED(q,k) -> \
       nf++; W(q,k) = 0; crash(0, 0); tidy() }
/* a renewed GRANT's fenced[] is merged without the procedure (H8) */
#define GRANTMERGE(q,k) \
  :: d_step { !fin && q < ND && LIVE(d) && D[d].eng == D[d].g && (W(q,k) & (1 << d)) && fk[d*3+q] < k -> \
       fk[d*3+q] = k; tidy() }
#if K == 1
#define EACH(M) M(0,1) M(1,1) M(2,1)
#elif K == 2
#define EACH(M) M(0,1) M(1,1) M(2,1) M(0,2) M(1,2) M(2,2)
#elif K == 3
#define EACH(M) M(0,1) M(1,1) M(2,1) M(0,2) M(1,2) M(2,2) M(0,3) M(1,3) M(2,3)
#elif K == 4
#define EACH(M) M(0,1) M(1,1) M(2,1) M(0,2) M(1,2) M(2,2) M(0,3) M(1,3) M(2,3) M(0,4) M(1,4) M(2,4)
#else
#define EACH(M) M(0,1) M(1,1) M(2,1) M(0,2) M(1,2) M(2,2) M(0,3) M(1,3) M(2,3) M(0,4) M(1,4) M(2,4) M(0,5) M(1,5) M(2,5)
#endif

proctype Daemon() {
end:
  do
  /* ENGAGE: Participant.engage, RootSide.staleness, Ledger.engage. R2: not before the bodies of the last one are gone.
     Whoever lost one always asks; whoever has nothing to report only for a reservation. */
  :: d_step { !fin && ROOTUP && !announced && IDLE && REAPED &&
       ((NEWBOOT && (WANTED || REPORTS)) || (SAMEBOOT && ((D[d].g && D[d].lost >= D[d].g) || (!D[d].g && (WANTED || LOSTONE))))) ->
#ifdef OLDENG
       es[d] = es[d] | (1 << (D[d].bn*4 + D[d].lost));
#endif
       if :: NEWBOOT || D[d].kbn == UNKNOWN -> D[d].kinc = D[d].inc; D[d].kbn = D[d].bn :: else fi;
       if :: D[d].g -> open_fence(d) :: else fi;
       grant(d); close(); tidy() }
#ifndef NOHELLO
  /* HELLO of a newer boot: MeshNode.#hello, Ledger.newBoot */
  :: d_step { !fin && ROOTUP && !announced && D[d].up && REAPED && NEWBOOT && D[d].g ->
       D[d].kinc = D[d].inc; D[d].kbn = D[d].bn; open_fence(d); close(); tidy() }
#endif
#ifdef OLDENG
#define OLD(b,l) \
  :: d_step { !fin && ROOTUP && !announced && (es[d] & (1 << (b*4+l))) && OLDACTS(b,l) -> \
       OLDMUT(b) if :: D[d].g -> open_fence(d) :: else fi; grant(d); OLDGRANT(b) close(); tidy() }
#ifdef MUT_R4
#define OLDACTS(b,l) ((b < D[d].kbn && D[d].g && D[d].gbn != b) || (b == D[d].kbn && (!D[d].g || l >= D[d].g)))
#define OLDGRANT(b) D[d].gbn = b;
#else
#define OLDACTS(b,l) ((b == D[d].kbn || D[d].kbn == UNKNOWN) && (!D[d].g || l >= D[d].g))
#define OLDGRANT(b)
#endif
#define OLDMUT(b) if :: D[d].kbn == UNKNOWN -> D[d].kinc = 0; D[d].kbn = b :: else fi;
  /* a delayed ENGAGE of this or an earlier boot: RootSide.staleness (R4) */
  OLD(0,0) OLD(0,1) OLD(0,2) OLD(0,3) OLD(1,0) OLD(1,1) OLD(1,2) OLD(1,3) OLD(2,0) OLD(2,1) OLD(2,2) OLD(2,3)
#endif
#if KINDS & 64
  /* STALE: an older disk was put back; the daemon takes the next incarnation (RootSide.staleness, C2) */
  :: d_step { !fin && ROOTUP && IDLE && REAPED && !NEWBOOT && !SAMEBOOT && (WANTED || D[d].g) ->
       D[d].inc = D[d].kinc + 1; D[d].bn++; tidy() }
#endif
  /* GRANT: Participant.granted (C8). Of another boot, or not above `lost`, or past its time: dropped. */
  :: d_step { !fin && ADOPTABLE && REAPED -> adopt(D[d].g); tidy() }
#ifdef MUT_NOLOST
  :: d_step { !fin && IDLE && REAPED && D[d].lost && !D[d].exd -> adopt(D[d].lost); tidy() }
#endif
#ifdef MUT_NOINC
  :: d_step { !fin && IDLE && REAPED && D[d].g > 1 && D[d].last == D[d].g -> adopt(D[d].g - 1); tidy() }
#endif
#ifdef MUT_INCREUSE
  :: d_step { !fin && IDLE && REAPED && D[d].g && D[d].gbn != D[d].bn && D[d].inc == D[d].kinc -> adopt(D[d].g); tidy() }
#endif
  /* The root's clock says that the lease is over: Ledger.tick. By A3, A4 the host is out and its bodies are dead;
     for a grant that nobody adopted it is a fault of its own. */
  :: d_step { !fin && ROOTUP && !announced && D[d].g && !D[d].dy && (D[d].over || D[d].eng != D[d].g) &&
       (!ADOPTABLE || FAULT(4,d)) ->
       if :: ADOPTABLE -> nf++ :: else fi;
       EXD open_fence(d); close(); tidy() }
  /* The lease ends (partition, pause, stall): Participant.live, #selfFence; R1 */
#ifdef STAGES
  :: d_step { !fin && FAULT(2,d) && LIVE(d) && !D[d].over ->
       nf++; D[d].over = 1;
       i = 0;
       do
       :: i >= NS -> break
       :: else -> if :: EXEC(i) && o[i].to == d && o[i].te == D[d].eng -> o[i].kd = 1 :: else fi; i++
       od;
       tidy() }
  :: d_step { !fin && D[d].up && D[d].over -> D[d].lost = D[d].eng; wipe(d); tidy() }
#else
  :: d_step { !fin && FAULT(2,d) && LIVE(d) -> nf++; D[d].lost = D[d].eng; wipe(d); tidy() }
#endif
  /* RENEWED(lost): Participant.renewed */
  :: d_step { !fin && ROOTUP && LIVE(d) && D[d].eng != D[d].g -> D[d].lost = D[d].eng; wipe(d); tidy() }
  /* The daemon dies */
  :: d_step { !fin && FAULT(1,d) && D[d].up && (d == 0 || D[d].eng || D[d].g) -> nf++; crash(d, 0); tidy() }
#if KINDS & 256
  /* ... for good, with its machine */
  :: d_step { !fin && d != 0 && FAULT(256,d) && D[d].up && (D[d].eng || D[d].g) ->
       nf++; wipe(d); D[d].dy = 0; D[d].up = 0; tidy() }
#endif
#if KINDS & 64
  /* ... and an older copy of its disk is put back: the same incarnation, or a lower one, again (C2) */
  :: d_step { !fin && d != 0 && FAULT(64,d) && D[d].up && (D[d].eng || D[d].g) -> nf++; crash(d, 1); tidy() }
  :: d_step { !fin && d != 0 && FAULT(64,d) && D[d].up && D[d].inc && (D[d].eng || D[d].g) ->
       nf++; crash(d, 1); D[d].inc = 0; tidy() }
#endif
  /* All bodies of the last engagement are gone: Participant.#reaped; of earlier boots: the daemon's start (C3) */
  :: d_step { !fin && D[d].dy -> D[d].dy = 0; if :: !D[d].up -> restart(d) :: else fi; tidy() }
#if KINDS & 32
  /* Participant.leave, Ledger.leave (C12) */
  :: d_step { !fin && d != 0 && FAULT(32,d) && LIVE(d) -> nf++; D[d].lost = D[d].eng; wipe(d); D[d].left = 1; tidy() }
#ifdef MUT_LEAVE
  :: d_step { !fin && ROOTUP && !announced && D[d].left && D[d].g && D[d].gbn == D[d].bn -> open_fence(d); close(); tidy() }
#else
  :: d_step { !fin && ROOTUP && !announced && D[d].left && !D[d].dy && D[d].g && D[d].gbn == D[d].bn ->
       open_fence(d); close(); tidy() }
#endif
#endif
  EACH(FENCE)
  EACH(FENCED)
#ifdef TORN
  EACH(FENCED_TORN)
  /* the root dies between the records of one step: the fence is open, the re-issue of its own task is not written */
  :: d_step { !fin && d != 0 && FAULT(1,0) && ROOTUP && !announced && D[d].g && !D[d].dy && D[d].eng != D[d].g && !ADOPTABLE ->
       nf++; EXD open_fence_torn(d); crash(0, 0); tidy() }
#endif
#ifdef MUT_GRANTMERGE
  EACH(GRANTMERGE)
#endif
#ifdef MUT_TEDGE
  /* an owner that cannot reach d has the root fence it, live as it is (H1) */
  :: d_step { !fin && nf < F && ROOTUP && LIVE(d) && D[d].g == D[d].eng -> nf++; open_fence(d); close(); tidy() }
#endif
#ifdef MUT_EARLYGRANT
  /* GRANT leaves before its record; the root dies (C7) */
  :: d_step { !fin && d != 0 && FAULT(1,0) && ROOTUP && IDLE && REAPED && SAMEBOOT && !D[d].g && WANTED && D[d].last < K ->
       nf++; adopt(D[d].last + 1); crash(0, 0); tidy() }
#endif
#ifdef RUNON
  /* DONE: Participant.done */
  :: d_step { announced && ROOTUP && D[d].up && (D[d].eng || !D[d].left) -> wipe(d); D[d].left = 1; claim(11, !D[d].dy); tidy() }
#endif
  od
}
#undef d

/* ---- obligations ---- */
#define s (_pid - 1 - ND)

/* Two hosts that nothing has happened to are alike: the first hand-off never goes to the higher one. */
#ifdef NOSYM
#define SYM(x) true
#else
#define SYM(x) (x < 2 || nf || o[s].par != ROOTP || o[s].re)
#endif
#ifdef MUT_H5                    /* only a re-issue waits, and only for fences open now (H5) */
#define PERMITTED (TASK(s) != EX || o[s].perm || !o[s].re)
#else
#define PERMITTED (TASK(s) != EX || o[s].perm)
#endif
#define BINDABLE(x) (x < ND && o[s].ost == PLACING && OWNERUP(s) && !OWNERCANCELS(s) && PERMITTED && \
  MAYPLACE(TASK(s),x,o[s].re) && SYM(x))
#define NOTFENCED(x,k) (o[s].par == ROOTP -> D[x].g == k : fk[o[o[s].par].to*3+x] < k)
/* RESERVED from x, then HANDOFF: OwnerSide.reserved, EngagedTree.bind, Ledger.bind; the root's record comes first (C7) */
#define PLACE(x) \
  :: d_step { !fin && BINDABLE(x) && LIVE(x) && NOTFENCED(x,D[x].eng) -> \
       o[s].ost = SENT; o[s].to = x; o[s].te = D[x].eng; o[s].perm = 0; tidy() }
/* ... a RESERVED of an engagement that x has lost since */
#define PLACE_STALE(x) \
  :: d_step { !fin && BINDABLE(x) && D[x].la && !(LIVE(x) && D[x].eng == D[x].la) && NOTFENCED(x,D[x].la) -> \
       o[s].ost = SENT; o[s].to = x; o[s].te = D[x].la; o[s].perm = 0; tidy() }
/* the HANDOFF of the root task leaves before its record, and the root dies (H11) */
#define PLACE_EARLY(x) \
  :: d_step { !fin && FAULT(1,0) && o[s].par == ROOTP && BINDABLE(x) && LIVE(x) && NOTFENCED(x,D[x].eng) -> \
       nf++; o[s].ost = GONE; o[s].to = x; o[s].te = D[x].eng; issue(TASK(s), ROOTP, 0, 0); crash(0, 0); tidy() }

#ifdef MUT_NOSEEN
#define UNSEEN (o[s].hst == NONE || o[s].hst == OVER)
#else
#define UNSEEN (o[s].hst == NONE)
#endif

proctype Slot() {
end:
  do
  PLACE(0)
  PLACE(1)
#if ND > 2
  PLACE(2)
#endif
#ifdef STALE
  PLACE_STALE(0)
  PLACE_STALE(1)
#if ND > 2
  PLACE_STALE(2)
#endif
#endif
#ifdef MUT_EARLYHANDOFF
  PLACE_EARLY(0)
  PLACE_EARLY(1)
#if ND > 2
  PLACE_EARLY(2)
#endif
#endif
#if EX < 9
  /* EXCL, PERMIT: the root gives it only while no fence is open (C5) */
  :: d_step { !fin && TASK(s) == EX && o[s].ost == PLACING && !o[s].perm && OWNERUP(s) && ROOTUP && !ANYOPEN ->
       o[s].perm = 1; tidy() }
#endif
  /* HANDOFF: Participant.liveFor (R3), EngagedTree.handoff */
  :: d_step { !fin && o[s].ost && o[s].te && COMES(s) && UNSEEN && !ORPHAN(s) ->
       claim(20, !announced);
#ifdef MUT_NOTOENG
       o[s].te = D[o[s].to].eng;
#endif
#ifdef MERGE
       begin(s); spawn(s);
#else
       o[s].hst = QUEUED;
#endif
       tidy() }
#ifndef MERGE
  /* the host has a slot for it: EngagedTree.started */
  :: d_step { !fin && HERE(s) && o[s].hst == QUEUED -> begin(s); tidy() }
  :: d_step { !fin && HERE(s) && o[s].hst == RUNNING && !o[s].sp && !o[s].kd -> spawn(s); tidy() }
#endif
  /* the body ends: EngagedTree.bodyEnded */
  :: d_step { !fin && HERE(s) && o[s].hst == RUNNING && o[s].sp && !o[s].kd && TASK(s) != POISON ->
       o[s].hst = WAITING; settle_if_quiet(s); tidy() }
  /* a body that was to be killed is reaped */
  :: d_step { !fin && HERE(s) && o[s].hst == CANX && !o[s].kd -> o[s].hst = CANW; settle_if_quiet(s); tidy() }
#if POISON < 9
  /* it takes its host down, as often as it runs */
  :: d_step { !fin && HERE(s) && o[s].hst == RUNNING && TASK(s) == POISON -> kid = o[s].to; crash(kid, 0); tidy() }
#endif
  /* SETTLE at the owner: EngagedTree.settle, Ledger.settle; not of a stale attempt. SETTLED follows the commit. */
  :: d_step { !fin && o[s].set && !o[s].missed && o[s].ost == SENT && OWNERUP(s) ->
       p = o[s].par;
       if
       :: o[s].set == OK -> commit(s)
       :: o[s].set == CANCELLED -> claim(21, OWNERCANCELS(s)); o[s].ost = GONE
       :: o[s].set == RETURNED -> again(s, 0)
       fi;
       p = o[s].par;
       if :: p == ROOTP -> close() :: else -> settle_if_quiet(p) fi;
       tidy() }
#ifdef TORN
  /* the root dies between the record of the settle and that of the announcement (C7) */
  :: d_step { !fin && FAULT(1,0) && o[s].set && o[s].ost == SENT && o[s].par == ROOTP && ROOTUP ->
       nf++; o[s].ost = GONE; crash(0, 0); tidy() }
#endif
  /* CANCEL: Participant.liveFor (R3), EngagedTree.cancel; one that overtakes its hand-off leaves a tombstone */
  :: d_step { !fin && o[s].can && HERE(s) && o[s].hst <= WAITING && !(o[s].hst == NONE && ORPHAN(s)) ->
       if
       :: o[s].hst == NONE -> o[s].hst = CANW; settle_if_quiet(s)
       :: else -> cancel_vertex(s)
       fi;
       tidy() }
#if KINDS & 8
  /* the user cancels: Ledger.cancel */
  :: d_step { !fin && FAULT(8,0) && ROOTUP && !cancelReq && o[s].par == ROOTP && OWED(s) ->
       nf++; cancelReq = 1;
       if :: o[s].ost == PLACING -> o[s].ost = GONE :: else -> o[s].can = 1 fi;
       close(); tidy() }
#endif
#if KINDS & 16
  /* the host gives back what it has not begun: EngagedTree.giveBack */
  :: d_step { !fin && KIND(16) && nf < F && HERE(s) && o[s].hst == QUEUED ->
       nf++; o[s].hst = OVER; o[s].set = RETURNED; tidy() }
#endif
#if KINDS & 128
  /* the SETTLE is lost with its link, and sent again from what the host keeps: EngagedTree.resend (C9) */
  :: d_step { !fin && KIND(128) && nf < F && o[s].set && !o[s].missed && o[s].ost == SENT -> nf++; o[s].missed = 1; tidy() }
  :: d_step { !fin && o[s].missed && o[s].kept && HERE(s) -> o[s].missed = 0; tidy() }
#ifdef MUT_SETTLEDEARLY
  /* SETTLED leaves before the commit is durable, and the root dies (C9) */
  :: d_step { !fin && FAULT(1,0) && o[s].set && o[s].ost == SENT && o[s].par == ROOTP && ROOTUP ->
       nf++; o[s].missed = 1; o[s].kept = 0; crash(0, 0); tidy() }
#endif
#endif
#ifdef MUT_NACK
  /* "not accepted" from a host without that engagement: the owner re-issues without a fence */
  :: d_step { !fin && o[s].ost == SENT && OWNERUP(s) && D[o[s].to].up && !HERE(s) -> again(s, 0); tidy() }
#endif
  od
}
#undef s

init {
  d_step {
    i = 0;
    do
    :: i >= ND -> break
    :: else ->
      D[i].up = 1;
#ifdef PREENG
      D[i].g = 1; D[i].last = 1; D[i].eng = 1;
#ifdef STALE
      D[i].la = 1;
#endif
#ifdef OLDENG
      es[i] = 1;
#endif
#endif
      i++
    od;
    o[0].ost = PLACING; o[0].par = ROOTP; i = 0
  }
  atomic {
    /* Any number of faults up to F: a run may be stuck only with none to come, so "none to come" must be everywhere. */
    do
    :: nf < F -> nf++
    :: break
    od;
    i = 0;
    do
    :: i >= ND -> break
    :: else -> run Daemon(); i++
    od;
    i = 0;
    do
    :: i >= NS -> break
    :: else -> run Slot(); i++
    od;
    i = 0
  }
  /* Liveness: where nothing can happen any more, the end has been announced. */
end:
  do
  :: timeout && !announced && !fin -> claim(15, false)
  od
}
