/* parse.h: what the parts of the parser share (parse.c: tokens, types, dims,
 * weights; parse_func.c; parse_step.c). A rule returns false after it has
 * reported an error. */
#ifndef PARSE_H
#define PARSE_H
#include "lex.h"
#include "text.h"

/* Bounds on what a text may say, so that no text takes long or much memory. */
enum {
    LIMIT_VALUES = 8192, LIMIT_FUNCS = 1024, LIMIT_WEIGHTS = 2048, LIMIT_DIMS = 512,
    LIMIT_STEPS = 64, LIMIT_STATEMENTS = 8192, LIMIT_DEPTH = 8, LIMIT_ERRORS = 20,
    LIMIT_COUNT = 1 << 20, LIMIT_BYTES = 16 << 20,
};
#define LIMIT_DIM ((int64_t)1 << 40)

typedef struct Pending {            /* a name that is looked up at the function's end */
    Value *value;                   /* gets the alias; NULL: a result */
    const char *name;
    Loc loc;
} Pending;

typedef struct Parser {
    Lexer lexer;
    Diag *diag;
    Arena *arena;
    Module *m;
    Func *f;                        /* the function being read */
    List(Pending) pending;
    int stacks;                     /* declared so far */
    int statements;                 /* of the step being read */
    int errors_before;              /* that the Diag held when the text was begun */
} Parser;

/* The current token. */
Token *parse_token(Parser *p);
bool parse_is_sign(Parser *p, char sign);
bool parse_is_word(Parser *p, const char *word);
/* Steps over it if it is that. */
bool parse_accept(Parser *p, char sign);
bool parse_accept_word(Parser *p, const char *word);
/* The same, or an error. */
bool parse_expect(Parser *p, char sign);
bool parse_expect_word(Parser *p, const char *word);
/* Reports that `wanted` is not what stands here; false. */
bool parse_wrong(Parser *p, const char *wanted);
bool parse_name(Parser *p, const char *what, const char **text, Loc *loc);
bool parse_integer(Parser *p, const char *what, int64_t least, int64_t most, int64_t *number);
/* The index of the word here among words; -1 and an error, perhaps with a hint. */
int parse_word(Parser *p, const char *what, const char *const *words);
/* An origin, if one stands on this line. */
void parse_origin(Parser *p, Origin *origin);
bool parse_end_of_line(Parser *p);
/* Neither at a closing brace nor at the end, and not too many errors yet. */
bool parse_inside(Parser *p);
/* After an error met in what began at `start`: goes on at the next line. */
void parse_recover(Parser *p, Loc start);
/* Reports and returns true when count has reached the limit. */
bool parse_too_many(Parser *p, Loc loc, int count, int limit, const char *what);
/* Reports an unknown name, with the nearest of the candidates. */
void parse_unknown(Parser *p, Loc loc, const char *what, const char *name,
                   const char *const *candidates, int count);
/* dtype[dim, …] */
bool parse_type(Parser *p, Type *type);
/* dtype[dim/axis …, …] sum(axis, …) …, of a value; to AXES placements. */
bool parse_placed_type(Parser *p, Type *type, Placement *placed);
/* name=value, flag … up to `close`, into the struct at `into`; of an op (or OP_COUNT)
 * only what its row lists. */
bool parse_fields(Parser *p, const FieldInfo *table, Op op, char *into, char close);
/* The name within a block where `path` begins with blocks.{L}., else NULL. */
const char *parse_block_name(const Module *m, const char *path, int *stack);
/* After `[l` or `repeat l`: `< DIM` or `of DIM`, the stack with so many blocks;
 * else the first. */
bool parse_stack(Parser *p, int *stack);

/* What follows `func`, `step`. */
bool parse_func(Parser *p);
bool parse_step(Parser *p);
#endif
