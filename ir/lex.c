/* lex.c: tokens of the IR's text form (lex.h). Read lexer_step at the end; above
 * it stand a function a kind of token. The text may hold any bytes. */
#include "lex.h"
#include <errno.h>
#include <stdlib.h>

/* Origins may name this many sources that the compilation has not read. */
enum { MOST_SOURCES = 256, MOST_LINE = 1 << 30 };

static int peek(const Lexer *x, size_t ahead)
{
    return x->at + ahead < x->length ? (unsigned char)x->text[x->at + ahead] : -1;
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(int c)
{
    return is_letter(c) || is_digit(c);
}

static Loc loc_here(const Lexer *x)
{
    return (Loc){ x->source, x->line, (int)(x->at - x->line_start) + 1, 0 };
}

static void bad(Lexer *x, Token *t, const char *why)
{
    diag_error(x->diag, t->loc, "%s", why);
    t->kind = TOKEN_BAD;
}

/* ---- blanks ---- */
static void skip_blanks(Lexer *x)
{
    for (;; x->at++) {
        int c = peek(x, 0);
        if (c == '#') {
            while (peek(x, 1) != '\n' && peek(x, 1) != -1)
                x->at++;
        } else if (c == '\n') {
            x->line++;
            x->line_start = x->at + 1;
            x->fresh = true;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

/* ---- names and numbers ---- */
/* Length of the part {L}. that begins `ahead` bytes on, without its dot; or 0. */
static size_t braced_part(const Lexer *x, size_t ahead)
{
    size_t n = ahead + 1;
    if (peek(x, ahead) != '{')
        return 0;
    while (is_word(peek(x, n)))
        n++;
    return n > ahead + 1 && peek(x, n) == '}' && peek(x, n + 1) == '.' ? n + 1 - ahead : 0;
}

static void read_name(Lexer *x, Token *t)
{
    size_t n = 0;
    for (;;) {
        while (is_word(peek(x, n)))
            n++;
        int sign = peek(x, n);
        if (sign != '.' && sign != '-')
            break;
        size_t part = sign == '.' ? braced_part(x, n + 1) : 0;
        if (!part && !is_word(peek(x, n + 1)))
            break;
        n += 1 + part;
    }
    t->kind = TOKEN_NAME;
    t->text = arena_strndup(x->arena, x->text + x->at, n);
    t->loc.width = n < 1000 ? (int)n : 1000;
    x->at += n;
}

static int hex_digit(int c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "…" with \xNN for what has no place on a line. The name, or NULL. */
static const char *read_quoted(Lexer *x)
{
    size_t start = ++x->at, count = 0;
    while (peek(x, 0) != '"' && peek(x, 0) != '\n' && peek(x, 0) != -1)
        x->at++;
    if (peek(x, 0) != '"')
        return NULL;
    size_t end = x->at++;
    char *name = arena_alloc(x->arena, end - start + 1);
    for (size_t i = start; i < end; i++) {
        char c = x->text[i];
        if (c == '\\') {
            bool room = i + 4 <= end && x->text[i + 1] == 'x';
            int high = room ? hex_digit((unsigned char)x->text[i + 2]) : -1;
            int low = room ? hex_digit((unsigned char)x->text[i + 3]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            c = (char)(high * 16 + low);
            i += 3;
        }
        if (!c)
            return NULL;
        name[count++] = c;
    }
    return name;
}

static void read_text(Lexer *x, Token *t)
{
    size_t start = x->at;
    t->kind = TOKEN_NAME;
    t->quoted = true;
    t->text = read_quoted(x);
    t->loc.width = x->at - start < 1000 ? (int)(x->at - start) : 1000;
    if (!t->text || !*t->text)
        bad(x, t, "a quoted name ends on its line, is not empty and escapes as \\x0a");
}

static void read_number(Lexer *x, Token *t)
{
    size_t n = peek(x, 0) == '-';
    while (is_word(peek(x, n)) || peek(x, n) == '.'
           || ((peek(x, n) == '+' || peek(x, n) == '-') && peek(x, n - 1) == 'e'))
        n++;
    t->kind = TOKEN_NUMBER;
    t->text = arena_strndup(x->arena, x->text + x->at, n);
    t->loc.width = n < 1000 ? (int)n : 1000;
    x->at += n;
}

bool number_parse(const char *text, double *number)
{
    if (!strcmp(text, "-inf")) {
        *number = -__builtin_inf();
        return true;
    }
    const char *at = text + (*text == '-');
    if (!is_digit(*at) || strspn(at, "0123456789.e+-") != strlen(at))
        return false;
    char *end;
    *number = strtod(text, &end);
    return !*end;
}

bool integer_parse(const char *text, int64_t *integer)
{
    const char *at = text + (*text == '-');
    if (!is_digit(*at) || strspn(at, "0123456789") != strlen(at))
        return false;
    errno = 0;
    *integer = strtoll(text, NULL, 10);
    return errno == 0;
}

/* ---- origins ---- */
static void skip_spaces(Lexer *x)
{
    while (peek(x, 0) == ' ' || peek(x, 0) == '\t' || peek(x, 0) == '\r')
        x->at++;
}

static int source_by_name(Lexer *x, const char *name)
{
    for (int i = 0; i < x->diag->sources.count; i++)
        if (!strcmp(x->diag->sources.at[i].name, name))
            return i;
    if (x->sources_made == MOST_SOURCES)
        return -1;
    x->sources_made++;
    return diag_source(x->diag, name, "", 0);
}

/* Digits after an opening character, as in `:12`; 0 where there are none. */
static int read_count(Lexer *x, int open)
{
    int64_t count = 0;
    if (peek(x, 0) != open || !is_digit(peek(x, 1)))
        return 0;
    for (x->at++; is_digit(peek(x, 0)); x->at++)
        count = count < MOST_LINE ? count * 10 + peek(x, 0) - '0' : count;
    return count < MOST_LINE ? (int)count : MOST_LINE;
}

/* SOURCE:LINE[:COL[+WIDTH]], or - for nowhere. */
static bool read_loc(Lexer *x, Loc *loc)
{
    const char *name = NULL;
    skip_spaces(x);
    if (peek(x, 0) == '"') {
        name = read_quoted(x);
    } else {
        size_t n = 0;
        while (is_word(peek(x, n)) || peek(x, n) == '.' || peek(x, n) == '/' || peek(x, n) == '-')
            n++;
        name = arena_strndup(x->arena, x->text + x->at, n);
        x->at += n;
    }
    if (!name)
        return false;
    if (!strcmp(name, "-") && peek(x, 0) != ':')
        return true;
    loc->source = source_by_name(x, name);
    loc->line = read_count(x, ':');
    loc->col = read_count(x, ':');
    loc->width = loc->col ? read_count(x, '+') : 0;
    return loc->source >= 0 && loc->line > 0;
}

/* ; MODEL [<- CAUSE] [by PASS] */
static void read_origin(Lexer *x, Token *t)
{
    t->kind = TOKEN_ORIGIN;
    x->at++;
    bool fine = read_loc(x, &t->origin.model);
    skip_spaces(x);
    if (fine && peek(x, 0) == '<' && peek(x, 1) == '-') {
        x->at += 2;
        fine = read_loc(x, &t->origin.cause);
        skip_spaces(x);
    }
    if (fine && peek(x, 0) == 'b' && peek(x, 1) == 'y' && peek(x, 2) == ' ') {
        Token pass = { .loc = loc_here(x) };
        x->at += 2;
        skip_spaces(x);
        if (peek(x, 0) == '"')
            read_text(x, &pass);
        else if (is_letter(peek(x, 0)))
            read_name(x, &pass);
        t->origin.pass = pass.text;
        fine = pass.text != NULL;
        skip_spaces(x);
    }
    if (!fine || (peek(x, 0) != '\n' && peek(x, 0) != -1)) {
        bad(x, t, "an origin is FILE:LINE:COL [<- FILE:LINE:COL] [by PASS]");
        diag_hint(x->diag, "a comment begins with #");
        while (peek(x, 0) != '\n' && peek(x, 0) != -1)
            x->at++;
    }
}

/* ---- tokens ---- */
static Token read_token(Lexer *x)
{
    skip_blanks(x);
    Token t = { .first = x->fresh, .loc = loc_here(x) };
    x->fresh = false;
    int c = peek(x, 0);
    if (c == -1) {
        t.kind = TOKEN_END;
        t.first = true;
    } else if (is_letter(c)) {
        read_name(x, &t);
    } else if (c == '"') {
        read_text(x, &t);
    } else if (is_digit(c) || (c == '-' && is_word(peek(x, 1)))) {
        read_number(x, &t);
    } else if (c == ';') {
        read_origin(x, &t);
    } else if (c == '-' && peek(x, 1) == '>') {
        t.kind = TOKEN_SIGN;
        t.sign = '>';
        t.loc.width = 2;
        x->at += 2;
    } else if (c && strchr("()[]{},:=<@+/$", c)) {
        t.kind = TOKEN_SIGN;
        t.sign = (char)c;
        x->at++;
    } else {
        bad(x, &t, "this character has no place here");
        x->at++;
    }
    return t;
}

void lexer_start(Lexer *lexer, Diag *diag, Arena *arena, int source)
{
    *lexer = (Lexer){
        .diag = diag, .arena = arena, .source = source, .line = 1, .fresh = true,
        .text = diag->sources.at[source].text, .length = diag->sources.at[source].length,
    };
    lexer->token = read_token(lexer);
    lexer->next = read_token(lexer);
}

void lexer_step(Lexer *lexer)
{
    lexer->token = lexer->next;
    lexer->next = read_token(lexer);
}
