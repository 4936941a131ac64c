/* walk.h: a step of a Prog walked as one rank runs it, with everything that is
 * known before it runs: integers, places in memory, tables, records of places.
 * What it computes is left out. What comes of it is the list of the rank's
 * events: every message with its size and place, every update, every call that
 * writes or reads a record. */
#ifndef WALK_H
#define WALK_H
#include "facts.h"

/* A replica is one of the data axis, with context in it innermost. */
typedef struct Seat { int64_t stage, replica, slice; } Seat;

/* Bytes from a pointer of Control: "values", "weights"; base NULL: unknown. */
typedef struct WalkPlace { const char *base; int64_t bytes; } WalkPlace;

typedef enum EventKind {
    EVENT_TALK,         /* a function of runtime/collectives.h */
    EVENT_UPDATE,       /* n parameters at `at` */
    EVENT_RECORD,       /* a call that leaves a record at `at`, or reads it */
} EventKind;

typedef struct Event {
    EventKind kind;
    const ProgFunc *func;
    int64_t message, n;             /* TALK: its index, and numbers */
    int64_t peer;                   /* send, receive, broadcast: a stage; -1 */
    WalkPlace at;                   /* what travels; theirs in an exchange */
    WalkPlace rows;                 /* RECORD: its argument x */
    WalkPlace gradient, moment;     /* UPDATE: g, first; base NULL: it has
                                       none */
    int64_t first, block;           /* of the call: sequence, block; else -1 */
    bool keeps, reads, last;        /* RECORD: writes it; reads; nobody else
                                       does then */
} Event;

typedef struct Walked {
    Seat seat;
    int64_t first;                  /* sequence of its replica */
    List(Event) events;
    unsigned depends;               /* the set of what of its seat the events
                                       depend on, but for their `first` */
    const char *wrong;              /* what could not be known; NULL: nothing */
} Walked;

/* Where a rank sits: rank = (stage · replicas + replica) · tensor + slice. */
Seat walk_seat(const Facts *facts, int64_t rank);
/* What a walk takes a field of Control for that says where a rank sits: "share"
 * …; or "batch": which replica's part of the batch it has. */
int64_t walk_seat_field(const Facts *facts, Seat seat, const char *field);
/* Does a rank that sits there have the same events, but for what it adds to
 * their `first`? It does where all that they depend on is the same. */
bool walk_is_of(const Facts *facts, const Walked *walked, Seat seat);
/* The train step of a rank. */
Walked *walk_train(const Facts *facts, Seat seat, Arena *arena);
#endif
