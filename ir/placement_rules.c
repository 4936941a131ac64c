/* placement_rules.c: from how a node's operands lie on the ranks of one axis,
 * how its results do. Axes do not see each other, so a rule speaks of one.
 *
 * Most ops follow from letters, as sums by index do (einsum): the same letter
 * is the same axis of the arrays. Where operands are split over a letter, a
 * result that has it is split over it too; one that has not is a part of a sum,
 * if the op sums over that letter; everything else is an error. A part of a
 * sum passes through what is linear in it. A node's rule is found in
 * node_placement, at the end. */
#include "placement.h"
#include <stdio.h>

typedef struct Rule {
    const Module *m;
    const Node *node;
    Axis axis;
    const Placement *in;
    Placement *out;
    Buf *why;
} Rule;

static bool wrong(const Rule *r, const char *why)
{
    buf_printf(r->why, "%s", why);
    return false;
}

static bool operand_wrong(const Rule *r, int operand, const char *why)
{
    buf_printf(r->why, "operand %d %s", operand + 1, why);
    return false;
}

static const Type *type_in(const Rule *r, int i)
{
    return &r->node->in[i]->type;
}

static int last_in(const Rule *r, int i)
{
    return type_in(r, i)->rank - 1;
}

static bool is(Placement p, int how)
{
    return p.how == how;
}

static bool is_split(Placement p, int dim)
{
    return p.how == PLACED_SPLIT && p.dim == dim;
}

static const char *described(Placement p)
{
    switch (p.how) {
    case PLACED_WHOLE: return "is whole";
    case PLACED_SPLIT: return "is split";
    case PLACED_SUM: return "is a part of a sum";
    case PLACED_MAX: return "is a part of a maximum";
    case PLACED_ONE: return "is of one rank";
    case PLACED_ROUTED: return "is of a rank's own experts";
    default: return "is 0";
    }
}

/* All results are placed as p. */
static bool all(const Rule *r, Placement p)
{
    for (int i = 0; i < r->node->results; i++)
        r->out[i] = p;
    return true;
}

/* ---- ops by letters ---- */
/* A word an operand, a letter an axis. `*` stands for all axes before the
 * letters behind it, each a letter of its own (a, b, …); `.` is an axis that
 * no rule splits, "$" a scalar. `#` is where experts' rows start, which counts
 * a rank's own rows; `=N` what the N-th result goes on from, and lies as it.
 * Operands in `linear` (digits, from 0) may be parts of sums, one at a time.
 */
typedef struct Letters {
    Op op;
    const char *operands, *results;
    const char *summed;         /* letters; `*` for those of `*` */
    const char *linear;
} Letters;

static const Letters letters[] = {
    { OP_colsum, "*N =0", "N", "*", "0" },
    { OP_chain, "*. =0", "$", "*", "0" },
    { OP_matmul, "*K NK", "*N", "K", "0" },
    { OP_matmul_input, "*N NK =0", "*K", "N", "0" },
    { OP_matmul_weight, "*N *K =0", "NK", "*", "01" },
    { OP_sum, "*N", "*.", "N", "0" },
    { OP_mean, "*N", "*.", "", "0" },
    { OP_rowmax, "*N", "*.", "N", "" },
    { OP_rotate, "*.", "*.", "", "0" },
    { OP_unrotate, "*.", "*.", "", "0" },
    { OP_attention, "BTH B.H B.H B", "BTH BTH.", "", "" },
    { OP_attention_backward, "BTH B.H B.H B BTH. BTH", "BTH B.H B.H", "T",
      "" },
    { OP_relative_backward, "BTH B.H B.H B BTH. BTH", "BTH B.H B.H BTH .H",
      "BT", "" },
    { OP_attention_weights, "BTH B.H B", "BHT.", "", "" },
    { OP_cache, "B.N", "B.N", "", "0" },
    { OP_pool, "B.N B", "BN", "", "0" },
    { OP_pool_spread, "BN B", "B.N", "", "0" },
    { OP_pool_max_spread, "BN B B.N", "B.N", "", "0" },
    { OP_pool_chunks, "B.N B", "BN B.N", "", "" },
    { OP_pool_chunks_spread, "BN B B.N B.N", "B.N", "", "" },
    { OP_top_k, "*.", "*.", "", "" },
    { OP_gather_rows, "BTN BT. #", "BT.N", "", "0" },
    { OP_collect_rows, "BT.N BT.", "BTN", "", "0" },
    { OP_combine_rows, "BT.N BT. BT.", "BTN", "", "0" },
    { OP_spread_rows, "BTN BT. BT. #", "BT.N", "", "0" },
    { OP_gate_products, "BTN BT.N BT.", "BT.", "N", "01" },
    { OP_grouped_matmul, "BT.I XOI # XO", "BT.O", "I", "0" },
    { OP_grouped_input, "BT.O XOI # =0", "BT.I", "O", "0" },
    { OP_grouped_weight, "BT.O BT.I # =0", "XOI", "BT", "01" },
    { OP_grouped_bias, "BT.O # =0", "XO", "BT", "0" },
    { OP_preference, "B. B. B. =0", "$", "B", "" },
    { OP_preference_grad, "B. B. B. $", "B.", "", "" },
};

static const Letters *letters_of(Op op)
{
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].op == op)
            return &letters[i];
    return NULL;
}

enum { MOST_WORDS = 12, MOST_LETTERS = 96 };

/* The words of a node's operands: attention's flags say what follows. */
typedef struct Words {
    char text[MOST_LETTERS];
    const char *at[MOST_WORDS];
    int length[MOST_WORDS], count;
} Words;

static void split_words(Words *w, const char *text)
{
    snprintf(w->text, sizeof w->text, "%s", text);
    w->count = 0;
    for (const char *at = w->text; *at && w->count < MOST_WORDS;) {
        int length = (int)strcspn(at, " ");
        w->at[w->count] = at;
        w->length[w->count++] = length;
        at += length + (at[length] == ' ');
    }
}

static void operand_words(const Node *n, const Letters *l, Words *w)
{
    char text[MOST_LETTERS];
    const Attrs *a = &n->attrs;
    bool attends = op_info[n->op].class == CLASS_ATTENTION;
    bool relative = attends && a->relative;
    snprintf(text, sizeof text, "%s%s%s%s%s", l->operands,
             attends && a->alibi ? " H" : "",
             attends && a->edges ? " BT." : "",
             relative ? " BTH .H" : "",
             n->op == OP_relative_backward ? " =4" : "");
    split_words(w, text);
}

/* The letter of an operand's axis. */
static char letter_at(const Words *w, int word, int rank, int dim)
{
    const char *at = w->at[word];
    int lead = rank - (w->length[word] - 1);
    if (*at != '*')
        return dim < w->length[word] ? at[dim] : '.';
    return (char)(dim < lead ? 'a' + dim : at[1 + dim - lead]);
}

/* Which axis has a letter, or -1. */
static int dim_with(const Words *w, int word, int rank, char letter)
{
    for (int i = 0; letter && i < rank; i++)
        if (letter_at(w, word, rank, i) == letter)
            return i;
    return -1;
}

static bool has_word(const Words *w, int word, char sign)
{
    return *w->at[word] == sign;
}

/* The letter over which the operands are split, 0: none; *parts: one of them is
 * a part of a sum. */
static bool find_split(const Rule *r, const Letters *l, const Words *w,
                       char *letter, bool *parts)
{
    *letter = 0;
    *parts = false;
    for (int i = 0; i < r->node->inputs; i++) {
        Placement p = r->in[i];
        if (is(p, PLACED_WHOLE) || is(p, PLACED_ANY) || has_word(w, i, '=')
            || has_word(w, i, '#'))
            continue;
        if (is(p, PLACED_SUM) && strchr(l->linear, '0' + i) && !*parts) {
            *parts = true;
            continue;
        }
        if (!is(p, PLACED_SPLIT))
            return operand_wrong(r, i, described(p));
        char own = letter_at(w, i, type_in(r, i)->rank, p.dim);
        if (own == '.')
            return operand_wrong(r, i, "is split over an axis of which a rank "
                                       "needs all");
        if (*letter && *letter != own)
            return wrong(r, "the operands are split over different axes");
        *letter = own;
    }
    if (*letter && *parts)
        return wrong(r, "one operand is split and another a part of a sum");
    return true;
}

/* Every operand with that letter is split over it; starts count a rank's own
 * rows where it has rows of its own. */
static bool operands_agree(const Rule *r, const Words *w, char letter)
{
    bool own_rows = letter == 'B' || letter == 'T';
    for (int i = 0; i < r->node->inputs; i++) {
        if (has_word(w, i, '#')
            && !is(r->in[i], own_rows ? PLACED_SUM : PLACED_WHOLE))
            return operand_wrong(r, i, described(r->in[i]));
        if (has_word(w, i, '=') || has_word(w, i, '#'))
            continue;
        int dim = dim_with(w, i, type_in(r, i)->rank, letter);
        if (dim >= 0 && !is_split(r->in[i], dim) && !is(r->in[i], PLACED_ANY))
            return operand_wrong(r, i, "is whole, and another is split over "
                                       "the same axis");
    }
    return true;
}

static bool is_summed(const Letters *l, char letter)
{
    return strchr(l->summed, letter)
        || (letter >= 'a' && letter <= 'z' && strchr(l->summed, '*'));
}

/* What passes parts of sums through it, for some attributes does not. */
static bool is_no_sum(const Node *n)
{
    enum { POOLED_MAX = 2 };
    return n->op == OP_pool && n->attrs.pool == POOLED_MAX;
}

static bool by_letters(const Rule *r, const Letters *l)
{
    Words operands, results;
    char letter;
    bool parts;
    operand_words(r->node, l, &operands);
    split_words(&results, l->results);
    if (!find_split(r, l, &operands, &letter, &parts)
        || !operands_agree(r, &operands, letter))
        return false;
    if (parts && is_no_sum(r->node))
        return operand_wrong(r, 0, described(placed(PLACED_SUM)));
    for (int i = 0; i < r->node->results; i++) {
        int dim = dim_with(&results, i, r->node->out[i]->type.rank, letter);
        if (letter && dim < 0 && !is_summed(l, letter))
            return wrong(r, "the result wants all of an axis that is split");
        r->out[i] = dim >= 0 ? split_over(dim)
                  : !letter && !parts ? placed(PLACED_WHOLE)
                  : placed(r->node->op == OP_rowmax ? PLACED_MAX : PLACED_SUM);
    }
    for (int i = 0; i < r->node->inputs; i++) {
        if (!has_word(&operands, i, '='))
            continue;
        Placement sum = r->out[operands.at[i][1] - '0'];
        if (!is(r->in[i], PLACED_ANY) && !placement_equal(r->in[i], sum))
            return operand_wrong(r, i, "does not lie as what is added to it");
    }
    return true;
}

/* ---- POINT ---- */
static bool is_linear(Op op)
{
    return op == OP_neg || op == OP_scale || op == OP_copy || op == OP_expand
        || op == OP_dropout;
}

/* A value's axis in the result, to whose last axes its own are matched. */
static int spread_dim(const Rule *r, int operand, int dim)
{
    return dim + r->node->out[0]->type.rank - type_in(r, operand)->rank;
}

static bool one_operand(const Rule *r)
{
    Placement p = r->in[0];
    Op op = r->node->op;
    if (is(p, PLACED_MAX) && op != OP_copy && op != OP_expand)
        return operand_wrong(r, 0, described(p));   /* -max is no max of -x */
    if (is(p, PLACED_ANY) && !is_linear(op))
        return all(r, placed(PLACED_WHOLE));
    if (!is(p, PLACED_WHOLE) && !is(p, PLACED_SPLIT) && !is_linear(op))
        return operand_wrong(r, 0, described(p));
    if (op == OP_dropout && is_split(p, last_in(r, 0)))
        return wrong(r, "a mask is drawn of whole rows");
    if (is(p, PLACED_SPLIT))
        p.dim = (unsigned char)spread_dim(r, 0, p.dim);
    return all(r, p);
}

/* Has a value one element along the result's axis, for all of it? */
static bool repeats(const Rule *r, int operand, int dim)
{
    const Type *type = type_in(r, operand);
    int own = dim - (r->node->out[0]->type.rank - type->rank);
    return own < 0 || type->dims[own] == 0;
}

/* Of which one at least is split. */
static bool two_split(const Rule *r)
{
    int first = is(r->in[0], PLACED_SPLIT) ? 0 : 1, other = 1 - first;
    int dim = spread_dim(r, first, r->in[first].dim);
    Placement q = r->in[other];
    bool both = is(q, PLACED_SPLIT) && spread_dim(r, other, q.dim) == dim;
    if (!both && !(is(q, PLACED_WHOLE) && repeats(r, other, dim)))
        return wrong(r, is(q, PLACED_SPLIT)
                            ? "the operands are split over different axes"
                            : "one operand is split, and the other is not");
    return all(r, split_over(dim));
}

static bool two_operands(const Rule *r)
{
    Placement a = r->in[0], b = r->in[1];
    Op op = r->node->op;
    bool sums = op == OP_add || op == OP_sub;
    if (is(a, PLACED_ANY) || is(b, PLACED_ANY))         /* 0, as the other */
        return all(r, is(a, PLACED_ANY) ? b : a);
    if (is(a, PLACED_SPLIT) || is(b, PLACED_SPLIT))
        return two_split(r);
    if (is(a, PLACED_WHOLE) && is(b, PLACED_WHOLE))
        return all(r, a);
    if (is(a, PLACED_SUM) && is(b, PLACED_SUM))
        return sums ? all(r, a) : wrong(r, "both operands are parts of sums");
    if (op == OP_mul && is(a, PLACED_WHOLE) && is(b, PLACED_SUM))
        return all(r, b);
    if ((op == OP_mul || op == OP_div) && is(a, PLACED_SUM)
        && is(b, PLACED_WHOLE))
        return all(r, a);
    return operand_wrong(r, is(a, PLACED_WHOLE) ? 1 : 0,
                         described(is(a, PLACED_WHOLE) ? b : a));
}

static bool rule_point(const Rule *r)
{
    switch (r->node->op) {
    case OP_const:
        return all(r, placed(PLACED_WHOLE));
    case OP_own_ids:
        if (r->axis != AXIS_TENSOR)
            return one_operand(r);
        return is(r->in[0], PLACED_WHOLE)
            ? all(r, placed(PLACED_ONE))
            : operand_wrong(r, 0, described(r->in[0]));
    case OP_onehot:
        if (!is(r->in[0], PLACED_ONE))
            return one_operand(r);
        return all(r, split_over(last_in(r, 0)));
    default:
        return r->node->inputs == 2 ? two_operands(r) : one_operand(r);
    }
}

/* ---- between ranks ---- */
/* Ops other than reshard that mark, or make, another placement along their
 * axis. */
typedef struct Change {
    Op op;
    Axis axis;
    Placement from, to;
} Change;

static const Change changes[] = {
    { OP_spread, AXIS_TENSOR, { PLACED_WHOLE, 0 }, { PLACED_WHOLE, 0 } },
    { OP_pool_chunks, AXIS_CONTEXT, { PLACED_SPLIT, 1 }, { PLACED_WHOLE, 0 } },
    /* the first rank has the rows of all sequences, the others none */
    { OP_share_pooled, AXIS_CONTEXT, { PLACED_WHOLE, 0 }, { PLACED_SPLIT, 0 } },
    { OP_own_lengths, AXIS_CONTEXT, { PLACED_WHOLE, 0 }, { PLACED_SUM, 0 } },
    { OP_own_starts, AXIS_EXPERTS, { PLACED_WHOLE, 0 }, { PLACED_ROUTED, 0 } },
};

static bool find_change(const Node *n, Change *change)
{
    if (n->op == OP_reshard) {
        *change = (Change){ n->op, n->attrs.axis, n->attrs.from, n->attrs.to };
        return true;
    }
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (changes[i].op == n->op) {
            *change = changes[i];
            return true;
        }
    return false;
}

/* Along another axis than its own it changes nothing. */
static bool rule_change(const Rule *r, const Change *change)
{
    static const Letters rows = { OP_reshard, "BT.N # #", "BT.N", "", "0" };
    if (r->axis != change->axis)
        return r->node->inputs == 3 ? by_letters(r, &rows)
                                    : all(r, r->in[0]);
    if (!placement_equal(r->in[0], change->from) && !is(r->in[0], PLACED_ANY))
        return operand_wrong(r, 0, described(r->in[0]));
    return all(r, change->to);
}

/* What sums, multiplies or moves rows of experts all of whose operands are of a
 * rank's own experts. */
static bool rule_own_experts(const Rule *r)
{
    Op op = r->node->op;
    bool point = op_info[op].class == CLASS_POINT;
    bool rows = op == OP_grouped_matmul || op == OP_grouped_input;
    if (!point && !rows && op != OP_grouped_weight && op != OP_grouped_bias)
        return operand_wrong(r, 0, "has not been returned by its experts");
    for (int i = 0; i < r->node->inputs; i++)
        if (is(r->in[i], PLACED_WHOLE) && type_in(r, i)->rank)
            return operand_wrong(r, i, described(r->in[i]));
    return all(r, point || rows ? placed(PLACED_ROUTED) : split_over(0));
}

/* Along the experts' axis all lies as data and context say, but for experts'
 * weights and for the rows that have been sent to them. */
static bool rule_experts(const Rule *r)
{
    bool routed = false, grouped = false;
    Change change;
    if (find_change(r->node, &change) && change.axis == AXIS_EXPERTS)
        return rule_change(r, &change);
    for (int i = 0; i < r->node->inputs; i++) {
        routed |= is(r->in[i], PLACED_ROUTED);
        grouped |= is_split(r->in[i], 0);
    }
    if (routed)
        return rule_own_experts(r);
    return grouped ? operand_wrong(r, 0, "has not been sent to its experts")
                   : all(r, placed(PLACED_WHOLE));
}

/* ---- INDEX, VIEW ---- */
/* Rows of a table by ids; of a rank's own rows a part, 0 for other ids. */
static bool rule_gather(const Rule *r)
{
    Placement table = r->in[0], ids = r->in[1];
    if (is_split(table, 0) && is(ids, PLACED_ONE))
        return all(r, placed(PLACED_SUM));
    if (is_split(table, 1) && is(ids, PLACED_WHOLE))
        return all(r, split_over(r->node->out[0]->type.rank - 1));
    if (!is(table, PLACED_WHOLE))
        return operand_wrong(r, 0, described(table));
    return is(ids, PLACED_WHOLE) || is(ids, PLACED_SPLIT)
        ? all(r, ids) : operand_wrong(r, 1, described(ids));
}

static bool rule_scatter(const Rule *r)
{
    Placement ids = r->in[1], sum = placed(PLACED_WHOLE);
    Placement dy = is(r->in[0], PLACED_ANY) ? sum : r->in[0];
    bool rows = is(dy, PLACED_SPLIT) && dy.dim < last_in(r, 0);
    if (rows && !placement_equal(dy, ids))
        return operand_wrong(r, 1, described(ids));
    if (is(ids, PLACED_ONE) && is(dy, PLACED_WHOLE))
        sum = split_over(0);
    else if (rows || (is(dy, PLACED_SUM) && is(ids, PLACED_WHOLE)))
        sum = placed(PLACED_SUM);
    else if (!is(dy, PLACED_WHOLE) || !is(ids, PLACED_WHOLE))
        return operand_wrong(r, 0, described(dy));
    return placement_equal(r->in[2], sum) || is(r->in[2], PLACED_ANY)
        ? all(r, sum)
        : operand_wrong(r, 2, "does not lie as what is added to it");
}

static bool rule_pick(const Rule *r)
{
    Placement x = r->in[0], ids = r->in[1];
    if (is_split(x, last_in(r, 0)))
        return is(ids, PLACED_ONE) ? all(r, placed(PLACED_SUM))
                                   : operand_wrong(r, 1, described(ids));
    if (placement_equal(x, ids)
        && (is(x, PLACED_WHOLE) || is(x, PLACED_SPLIT)))
        return all(r, x);
    return operand_wrong(r, 1, described(ids));
}

/* Where each rank routes rows of its own, the counts add up. What an expert
 * takes of a sequence at most is counted over all of the sequence. */
static bool rule_dispatch(const Rule *r)
{
    Placement keep = r->in[0], lengths = r->in[1];
    if (is_split(keep, 1) && r->node->attrs.numerator)
        return operand_wrong(r, 0, "is split, and an expert takes so many of "
                                   "a sequence's rows");
    bool whole = is(keep, PLACED_WHOLE) && is(lengths, PLACED_WHOLE);
    bool sequences = is_split(keep, 0) && is_split(lengths, 0);
    bool tokens = is_split(keep, 1) && is(lengths, PLACED_SUM);
    if (!whole && !sequences && !tokens)
        return operand_wrong(r, 1, described(lengths));
    r->out[0] = whole ? keep : placed(PLACED_SUM);
    r->out[1] = r->out[2] = keep;
    return true;
}

/* The axis of b at which as many elements lie before it as before axis `dim` of
 * a, and which is not 1; -1: none. */
static int same_place(const Module *m, const Type *a, const Type *b, int dim)
{
    Type before = *a;
    before.rank = dim;
    for (int i = 0; i < b->rank; i++) {
        Type own = *b;
        own.rank = i;
        if (b->dims[i] != 0
            && type_row_elements(m, &own) == type_row_elements(m, &before)
            && type_rows_of(m, &own) == type_rows_of(m, &before))
            return i;
    }
    return -1;
}

static bool rule_reshape(const Rule *r)
{
    Placement p = r->in[0];
    if (!is(p, PLACED_SPLIT))
        return all(r, p);
    int dim = same_place(r->m, type_in(r, 0), &r->node->out[0]->type, p.dim);
    return dim >= 0 ? all(r, split_over(dim))
                    : wrong(r, "the split axis goes into no axis");
}

/* What a rank has of its sequences' positions. */
static Placement own_tokens(Axis axis)
{
    return axis == AXIS_DATA ? split_over(0)
         : axis == AXIS_CONTEXT ? split_over(1)
                                : placed(PLACED_WHOLE);
}

static bool rule_other(const Rule *r)
{
    switch (r->node->op) {
    case OP_gather: return rule_gather(r);
    case OP_scatter_add: return rule_scatter(r);
    case OP_pick: return rule_pick(r);
    case OP_dispatch: return rule_dispatch(r);
    case OP_reshape: return rule_reshape(r);
    case OP_positions: case OP_patches:
        return all(r, own_tokens(r->axis));
    case OP_recall:
        return all(r, r->axis == AXIS_DATA ? split_over(0)
                                           : placed(PLACED_WHOLE));
    case OP_pool_chunks_spread:
        if (r->axis == AXIS_CONTEXT)
            return is(r->in[0], PLACED_WHOLE)
                ? all(r, split_over(1))
                : operand_wrong(r, 0, described(r->in[0]));
        return by_letters(r, letters_of(r->node->op));
    default: break;
    }
    const Letters *l = letters_of(r->node->op);
    if (!l)
        ice("%s has no rule of placement", op_info[r->node->op].name);
    return by_letters(r, l);
}

bool node_placement(const Module *m, const Node *node, Axis axis,
                    const Placement *in, Placement *out, Buf *why)
{
    const Rule rule = { m, node, axis, in, out, why };
    Change change;
    if (axis == AXIS_EXPERTS)
        return rule_experts(&rule);
    if (find_change(node, &change)
        && (change.axis == axis || !letters_of(node->op)))
        return rule_change(&rule, &change);
    return op_info[node->op].class == CLASS_POINT ? rule_point(&rule)
                                                  : rule_other(&rule);
}
