/* lex.h: the text form of the IR as tokens, for parse.c. One token is read ahead
 * of the current one. Ends of lines are no tokens: a token knows whether it is
 * the first of its line. `#` begins a comment; `;` an origin, which is a token. */
#ifndef LEX_H
#define LEX_H
#include "ir.h"

typedef enum TokenKind {
    TOKEN_END,
    TOKEN_NAME,             /* plain or quoted; text is the name itself */
    TOKEN_NUMBER,           /* text as written, with its sign */
    TOKEN_SIGN,             /* one character of ()[]{},:=<@+$ or '>' for -> */
    TOKEN_ORIGIN,
    TOKEN_BAD,              /* an error, reported */
} TokenKind;

typedef struct Token {
    TokenKind kind;
    bool first;             /* of its line */
    bool quoted;
    char sign;
    const char *text;
    Loc loc;
    Origin origin;
} Token;

typedef struct Lexer {
    Diag *diag;
    Arena *arena;
    const char *text;
    size_t length, at;
    int source, line;
    size_t line_start;
    bool fresh;             /* no token of this line yet */
    int sources_made;       /* sources that origins named for the first time */
    Token token, next;      /* the current token, and the one after */
} Lexer;

/* Starts at the first token of a source of diag. */
void lexer_start(Lexer *lexer, Diag *diag, Arena *arena, int source);
/* Goes on to the next token. */
void lexer_step(Lexer *lexer);
/* Whole numbers and decimals as the text form writes them; false where the text
 * is something else or does not fit. */
bool number_parse(const char *text, double *number);
bool integer_parse(const char *text, int64_t *integer);
#endif
