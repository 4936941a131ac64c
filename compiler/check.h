/* check.h: what `check` claims of a spec's plan, and how it knows
 * (docs/architecture.md, section 8). */
#ifndef CHECK_H
#define CHECK_H
#include "commands.h"
#include "compile.h"
#include "facts.h"
#include "options.h"
#include "target.h"

typedef enum ClaimStatus {
    CLAIM_PROVED,           /* for every run, by looking at the program */
    CLAIM_TESTED,           /* on runs of a small spec of the same structure */
    CLAIM_ASSUMED,          /* nobody has looked */
    CLAIM_FAILED,
} ClaimStatus;

typedef struct Claim {
    const char *name;               /* "messages" */
    const char *text;               /* what is claimed */
    ClaimStatus status;
    const char *found;              /* how much was looked at; what is wrong */
    double error, limit;            /* of values; limit 0: bits are compared */
    bool measured;                  /* error and limit are said */
} Claim;

/* A message that all of a group say at once, and how many they are. */
typedef struct Meeting { const char *message; int64_t members; } Meeting;

typedef struct Check {
    Arena *arena;
    Diag *diag;
    const Place *place;
    Options options;
    Target target;
    Compiled compiled;
    Facts *facts;
    const char *source_hash;
    List(Claim) claims;
    List(Meeting) meetings;         /* of the full-size plan */
    /* the shrunk spec: settings after the spec's own, of the plan and of one
     * rank with the same groups; NULL where there is none */
    SpecSources plan_from, one_from;
    const char *shrunk;             /* "dim 16, heads 2 …" */
    const char *small_plan;         /* "16 ranks of 1024 (data 2 of 16 …)"; NULL
                                       where the plan itself is run */
    bool bits;                      /* the contract promises bits of one rank */
    const char *no_bits;            /* why not */
    uint64_t seed;                  /* of the data */
} Check;

/* Adds a claim; `found` is formatted. */
void claim(Check *c, const char *name, const char *text, ClaimStatus status,
           const char *format, ...) __attribute__((format(printf, 5, 6)));
/* One about numbers: tested, failed where the error is above the limit. */
void claim_error(Check *c, const char *name, const char *text, double error,
                 double limit, const char *found);

/* check_structure.c: the full-size program. */
void check_structure(Check *c);
/* check_groups.c: who they are, in the compiler and in the runtime. */
void check_groups(Check *c);
/* check_messages.c: what its ranks say to each other. */
void check_messages(Check *c);
/* check_shrink.c: false where no shrunk spec can be made, which is claimed. */
bool check_shrink(Check *c);
/* check_values.c: builds and runs the shrunk programs. Gives the exit status of
 * what the environment lacks, or DONE. */
int check_values(Check *c);
#endif
