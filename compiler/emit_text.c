/* emit_text.c: the layout of C text: breaking lines, comments, numbers and
 * strings. Nothing here knows of a Prog. */
#define _GNU_SOURCE
#include "emit.h"
#include <math.h>
#include <stdlib.h>

/* ---- breaking lines ------------------------------------------------------ */
enum { DEEPEST = 64 };

/* Where a line may break: before at[cut], a blank that is dropped. */
typedef struct Break {
    size_t cut;
    int rank; /* lower is better: depth, then commas, then what binds less */
    int column;             /* where the next line begins */
} Break;

/* Open brackets so far, with the column after each. */
typedef struct Brackets {
    int column[DEEPEST];
    int depth;
} Brackets;

enum { BINDINGS = 8 };          /* of a comma 0, of operators 1 … 6 */

/* How tightly the operator there binds; 0: there is none. */
static int binding(const char *at)
{
    static const struct { const char *text; int binding; } operators[] = {
        { "? ", 1 },  { ": ", 1 },  { "|| ", 2 }, { "&& ", 3 }, { "== ", 4 },
        { "!= ", 4 }, { "< ", 4 },  { "<= ", 4 }, { "+ ", 5 },  { "- ", 5 },
        { "* ", 6 },  { "/ ", 6 },  { "% ", 6 },
    };
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (!strncmp(at, operators[i].text, strlen(operators[i].text)))
            return operators[i].binding;
    return 0;
}

/* Follows one character of text at `column`. */
static void bracket(Brackets *open, char c, int column)
{
    if (strchr("([{", c) && open->depth < DEEPEST)
        open->column[open->depth++] = column + 1;
    if (strchr(")]}", c) && open->depth > 0)
        open->depth--;
}

/* Index after the string literal that begins at text[i]. */
static size_t after_string(const char *text, size_t i)
{
    for (i++; text[i] && text[i] != '"'; i++)
        if (text[i] == '\\' && text[i + 1])
            i++;
    return text[i] ? i + 1 : i;
}

/* The best break of a line that begins at `column`; cut 0 if there is none. */
static Break best_break(const char *text, Brackets open, int column, int width)
{
    Break best = {0, BINDINGS * (DEEPEST + 1), 0};
    int home = column;
    for (size_t i = 0; text[i] && home + (int)i <= width;) {
        if (text[i] == '"') {
            i = after_string(text, i);
            continue;
        }
        bracket(&open, text[i], home + (int)i);
        bool comma = i > 0 && text[i - 1] == ',';
        int binds = comma ? 0 : binding(text + i + 1);
        if (i > 0 && text[i] == ' ' && (comma || binds)) {
            int rank = BINDINGS * open.depth + binds;
            int to = open.depth ? open.column[open.depth - 1] : -1;
            if (rank <= best.rank)
                best = (Break){i, rank, to};
        }
        i++;
    }
    return best;
}

/* Follows the brackets of text[0 … length). */
static void follow(Brackets *open, const char *text, size_t length, int column)
{
    for (size_t i = 0; i < length;) {
        size_t next = text[i] == '"' ? after_string(text, i) : i + 1;
        if (next == i + 1)
            bracket(open, text[i], column + (int)i);
        i = next;
    }
}

/* Where a string too long for its line is cut in two: after a blank of it. */
static size_t string_break(const char *text, int room)
{
    size_t best = 0;
    for (size_t i = 0; text[i] && (int)i < room - 2;) {
        size_t end = text[i] == '"' ? after_string(text, i) : i + 1;
        for (size_t j = i + 1; j + 1 < end && (int)j < room - 2; j++)
            if (text[j] == ' ' && j > 20)
                best = j + 1;
        i = end;
    }
    return best;
}

void text_wrapped(Buf *out, int indent, const char *text, int width)
{
    Brackets open = {.depth = 0};
    int column = indent;
    char *copy = strdup(text), *line = copy;
    if (!copy)
        ice("out of memory");
    buf_printf(out, "%*s", indent, "");
    while (column + (int)strlen(line) > width) {
        Break at = best_break(line, open, column, width);
        size_t in_string = at.cut ? 0 : string_break(line, width - column);
        if (!at.cut && !in_string)
            break;
        if (in_string) {
            buf_printf(out, "%.*s\"\n%*s", (int)in_string, line, column, "");
            line += in_string - 1;
            *line = '"';                /* the rest is a string of its own */
            continue;
        }
        follow(&open, line, at.cut, column);
        buf_add(out, line, at.cut);
        column = at.column < 0 || at.column > width / 2 ? indent + 4
                                                        : at.column;
        if (open.depth)
            open.column[open.depth - 1] = column;
        buf_printf(out, "\n%*s", column, "");
        line += at.cut + 1;
    }
    buf_printf(out, "%s", line);
    free(copy);
}

/* ---- comments ------------------------------------------------------------ */
/* UTF-8 marks that turn the direction of text could hide code: shown as '?'. */
static bool turns_text(const char *at)
{
    const unsigned char *u = (const unsigned char *)at;
    return u[0] == 0xe2 && ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae)
                            || (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9));
}

static void remark(Buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool ends = i + 1 < length && ((c == '*' && text[i + 1] == '/')
                                       || (c == '/' && text[i + 1] == '*'));
        if (c == 0xe2 && i + 2 < length && turns_text(text + i)) {
            buf_printf(out, "?");
            i += 2;
        } else {
            buf_printf(out, "%c%s", c < 32 || c == 127 ? ' ' : c,
                       ends ? " " : "");
        }
    }
}

void text_remark(Buf *out, const char *text)
{
    remark(out, text, strlen(text));
}

/* Length of the next line of a comment: up to a newline, or the words that
 * fit, without a space behind the last. */
static size_t comment_line(const char *text, size_t room)
{
    size_t length = strcspn(text, "\n");
    if (length <= room)
        return length;
    size_t cut = room;
    while (cut > 0 && text[cut] != ' ')
        cut--;
    while (cut > 0 && text[cut - 1] == ' ')
        cut--;
    return cut ? cut : length;
}

void text_comment(Buf *out, int indent, const char *text)
{
    size_t room = (size_t)(EMIT_WIDTH - indent - 6);
    bool first = true;
    buf_printf(out, "%*s/*", indent, "");
    do {
        size_t length = comment_line(text, room);
        if (!first)
            buf_printf(out, "\n%*s *", indent, "");
        if (length)
            buf_printf(out, " ");
        remark(out, text, length);
        text += length;
        text += *text == '\n' ? 1 : strspn(text, " ");
        first = false;
    } while (*text);
    buf_printf(out, " */\n");
}

/* ---- numbers ------------------------------------------------------------- */
/* "1e-05" as "1e-5", "768" as "768.0". */
static void tidy(Buf *out, const char *digits)
{
    const char *e = strchr(digits, 'e');
    if (!e) {
        buf_printf(out, "%s%s", digits, strchr(digits, '.') ? "" : ".0");
        return;
    }
    buf_add(out, digits, (size_t)(e - digits));
    buf_printf(out, "e%ld", strtol(e + 1, NULL, 10));
}

static bool not_finite(Buf *out, double value)
{
    if (isnan(value))
        buf_printf(out, "NAN");
    else if (isinf(value))
        buf_printf(out, "%sINFINITY", value < 0 ? "-" : "");
    return !isfinite(value);
}

/* Is `digits` the value, and not "5e+01" for what is better written as 50? */
static bool is_exact(const char *digits, double value, bool single)
{
    bool same = single ? strtof(digits, NULL) == (float)value
                       : strtod(digits, NULL) == value;
    bool short_power = strchr(digits, 'e') && fabs(value) >= 1
                       && fabs(value) < 1e7;
    return same && !short_power;
}

static void shortest(Buf *out, double value, bool single)
{
    char digits[40];
    int most = single ? 9 : 17, precision = 0;
    if (not_finite(out, value))
        return;
    do
        snprintf(digits, sizeof digits, "%.*g", ++precision, value);
    while (precision < most && !is_exact(digits, value, single));
    tidy(out, digits);
    buf_printf(out, single ? "f" : "");
}

void text_f32(Buf *out, float value) { shortest(out, (double)value, true); }
void text_f64(Buf *out, double value) { shortest(out, value, false); }

/* ---- strings ------------------------------------------------------------- */
/* Escapes all that is not printable ASCII, and the second '?' of a trigraph. */
static void escaped(Buf *out, unsigned char c, unsigned char before)
{
    if (c == '"' || c == '\\' || (c == '?' && before == '?'))
        buf_printf(out, "\\%c", c);
    else if (c == '\n')
        buf_printf(out, "\\n");
    else if (c == '\t')
        buf_printf(out, "\\t");
    else if (c < 32 || c > 126)
        buf_printf(out, "\\%03o", c);
    else
        buf_printf(out, "%c", c);
}

void text_string(Buf *out, int indent, const char *text)
{
    const char *newline = strchr(text, '\n');
    bool lines = indent >= 0 && newline && newline[1];
    if (lines && out->length && out->text[out->length - 1] == ' ')
        out->length--;
    if (lines)
        buf_printf(out, "\n%*s", indent, "");
    buf_printf(out, "\"");
    for (const char *at = text; *at; at++) {
        escaped(out, (unsigned char)*at, at > text ? (unsigned char)at[-1] : 0);
        if (lines && *at == '\n' && at[1])
            buf_printf(out, "\"\n%*s\"", indent, "");
    }
    buf_printf(out, "\"");
}
