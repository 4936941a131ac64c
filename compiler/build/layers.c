/* layers.c: the pieces that functions are made of: nodes, weights, norms,
 * linear layers, dropout. */
#include "builder.h"

Value *make(Builder *b, Op op, const char *name, int inputs, Value *const *in,
            const Attrs *attrs)
{
    return func_node(b->m, b->f, op, name, inputs, in, attrs, NULL,
                     (Origin){ .model = b->here })
        ->out[0];
}

Value *make1(Builder *b, Op op, const char *name, Value *x)
{
    return make(b, op, name, 1, (Value *[]){ x }, NULL);
}

Value *make2(Builder *b, Op op, const char *name, Value *x, Value *y)
{
    return make(b, op, name, 2, (Value *[]){ x, y }, NULL);
}

Value *make_by(Builder *b, Op op, const char *name, Value *x, double by)
{
    return make(b, op, name, 1, (Value *[]){ x }, &(Attrs){ .by = by });
}

Value *make_reshard(Builder *b, ReshardKind kind, const char *name, Value *x,
                    int dim)
{
    const Attrs attrs = reshard_attrs(kind, x->type.rank, dim);
    return make(b, OP_reshard, name, 1, &x, &attrs);
}

Value *gather_shares(Builder *b, const char *name, Value *x, bool partial)
{
    Attrs attrs = reshard_attrs(RESHARD_GATHER_SHARES, x->type.rank, 0);
    attrs.partial = partial;
    return make(b, OP_reshard, name, 1, &x, &attrs);
}

Value *make_reshape(Builder *b, const char *name, Value *x, int rank,
                    const int *dims)
{
    Type type = type_of(x->type.dtype, rank, dims);
    if (type_equal(&type, &x->type))
        return x;
    return func_node(b->m, b->f, OP_reshape, name, 1, (Value *[]){ x }, NULL,
                     &type, (Origin){ .model = b->here })
        ->out[0];
}

Value *given(Builder *b, const char *name)
{
    Type type;
    if (!given_type(b->m, name, &type))
        ice("a step is given no %s", name);
    return func_param(b->m, b->f, name, type);
}

const char *sided(const Builder *b, const char *name)
{
    return *b->side ? arena_printf(b->m->arena, "%s.%s", b->side, name) : name;
}

Init embedding_init(const Builder *b)
{
    bool xavier = b->s->train_init == TRAIN_INIT_XAVIER;
    return (Init){ .kind = INIT_NORMAL,
                   .std = xavier ? 0.02 : b->s->train_init_std };
}

/* Of all tensor ranks. */
static int64_t whole_size(const Builder *b, int dim)
{
    const ModelDims *d = &b->d;
    if (dim == d->own_vocab && d->V)
        return b->s->model_vocab;
    bool sliced = b->tensor > 1 && (dim == d->A || dim == d->E || dim == d->F);
    return b->m->dims.at[dim].size * (sliced ? b->tensor : 1);
}

Init matrix_init(const Builder *b, int out, int in, bool residual)
{
    if (b->s->train_init == TRAIN_INIT_XAVIER) {
        double fans = (double)(whole_size(b, out) + whole_size(b, in));
        return (Init){ .kind = INIT_NORMAL, .std = __builtin_sqrt(2 / fans) };
    }
    return (Init){ .kind = INIT_NORMAL, .std = b->s->train_init_std,
                   .residual = residual && b->s->train_init_residual_scale };
}

/* Matches `*` (any characters, dots too) and plain characters. */
static bool glob_matches(const char *glob, const char *name)
{
    for (; *glob; glob++, name++) {
        if (*glob == '*') {
            for (const char *rest = name;; rest++) {
                if (glob_matches(glob + 1, rest))
                    return true;
                if (!*rest)
                    return false;
            }
        }
        if (*glob != *name)
            return false;
    }
    return !*name;
}

static bool is_frozen(const Spec *s, const char *name)
{
    for (int i = 0; i < s->train_freeze.count; i++)
        if (glob_matches(s->train_freeze.at[i], name))
            return true;
    return false;
}

/* Marks the copies that `train.freeze` names. */
static void freeze(Builder *b, Weight *w)
{
    if (w->stack < 0) {
        w->frozen = is_frozen(b->s, w->name);
        return;
    }
    if (!b->s->train_freeze.count)
        return;
    int64_t blocks = stack_blocks(b->m, w->stack);
    char *mask = arena_alloc(b->m->arena, (size_t)blocks + 1);
    int64_t frozen = 0;
    for (int64_t i = 0; i < blocks; i++) {
        char full[256];
        snprintf(full, sizeof full, "%sblocks.%lld.%s",
                 b->m->stacks.at[w->stack].prefix, (long long)i, w->name);
        bool yes = is_frozen(b->s, full);
        mask[i] = yes ? 'f' : '-';
        frozen += yes;
    }
    w->frozen = frozen == blocks && blocks > 0;
    w->frozen_blocks = frozen && !w->frozen ? mask : NULL;
}

static bool ends_in_bias(const char *name)
{
    size_t length = strlen(name);
    return length >= 4 && !strcmp(name + length - 4, "bias");
}

static Value *weight_of(Builder *b, int stack, const char *name,
                        const Type *type, Init init)
{
    int found = module_find_weight(b->m, name, stack);
    if (found < 0) {
        Weight w = {
            .name = arena_strdup(b->m->arena, name),
            .stack = stack,
            .constant = init.kind >= INIT_SINUSOIDAL,
            .type = *type,
            .init = init,
            .origin = { .model = b->here },
        };
        w.decay = !w.constant && type->rank >= 2 && !ends_in_bias(name);
        if (!w.constant)
            freeze(b, &w);
        list_push(b->m->arena, &b->m->weights, w);
        found = b->m->weights.count - 1;
    }
    return func_weight(b->m, b->f, found);
}

Value *weight(Builder *b, const char *name, int rank, const int *dims,
              Init init)
{
    Type type = type_of(DT_F32, rank, dims);
    return weight_of(b, b->stack, name, &type, init);
}

Value *whole_weight(Builder *b, const char *name, int rank, const int *dims,
                    Init init)
{
    Type type = type_of(DT_F32, rank, dims);
    return weight_of(b, -1, name, &type, init);
}

bool vocabulary_is_padded(const Builder *b)
{
    return b->s->model_vocab % b->tensor != 0;
}

Value *vocabulary_weight(Builder *b, const char *name, int rank, Init init)
{
    Value *w = whole_weight(b, name, rank,
                            (int[]){ b->d.own_vocab, b->d.C }, init);
    if (b->tensor == 1)
        return w;
    Weight *weight = &b->m->weights.at[w->weight];
    weight->slice = SLICE_ROWS;
    weight->whole_file = true;
    weight->file_type = type_of(DT_F32, rank, (int[]){ b->d.V, b->d.C });
    return w;
}

/* A parameter that acts on a rank's share of the rows. */
static void mark_shared(Builder *b, const Value *weight, const Value *x)
{
    if (type_rows_of(b->m, &x->type) == ROWS_SHARE)
        b->m->weights.at[weight->weight].partial = true;
}

/* Layer norm: (x - mean) · 1/√(mean (x - mean)² + eps) · weight + bias, the
 * biased variance; RMS norm: x · 1/√(mean x² + eps) · weight. */
Value *build_norm(Builder *b, const char *name, const char *result, Value *x)
{
    const Spec *s = b->s;
    Arena *a = b->m->arena;
    if (!has_norms(s))
        return x;
    b->here = s->loc[KEY_model_norm_type];
    bool centre = s->model_norm_type == MODEL_NORM_TYPE_LAYERNORM;
    int width = x->type.dims[x->type.rank - 1];
    Value *w = weight(b, arena_printf(a, "%s.weight", name), 1, &width,
                      (Init){ .kind = INIT_ONES });
    mark_shared(b, w, x);
    Value *from = x;
    if (centre) {
        Value *mean = make1(b, OP_mean, arena_printf(a, "%s.mean", result), x);
        from = make2(b, OP_sub, arena_printf(a, "%s.centred", result), x, mean);
    }
    Value *square =
        make1(b, OP_square, arena_printf(a, "%s.square", result), from);
    Value *spread =
        make1(b, OP_mean, arena_printf(a, "%s.variance", result), square);
    Value *safe = make_by(b, OP_shift, arena_printf(a, "%s.shifted", result),
                          spread, s->model_norm_eps);
    Value *root =
        make1(b, OP_sqrt, arena_printf(a, "%s.deviation", result), safe);
    Value *scale = make1(b, OP_recip, arena_printf(a, "%s.rstd", result), root);
    Value *normal =
        make2(b, OP_mul, arena_printf(a, "%s.normal", result), from, scale);
    if (!centre || !s->model_norm_bias)
        return make2(b, OP_mul, result, normal, w);
    Value *scaled =
        make2(b, OP_mul, arena_printf(a, "%s.scaled", result), normal, w);
    Value *bias = weight(b, arena_printf(a, "%s.bias", name), 1, &width,
                         (Init){ .kind = INIT_ZEROS });
    mark_shared(b, bias, x);
    return make2(b, OP_add, result, scaled, bias);
}

Value *build_spread(Builder *b, const char *name, Value *x)
{
    Loc here = b->here;
    if (b->tensor == 1)
        return x;
    if (type_rows_of(b->m, &x->type) != ROWS_SHARE)
        return make1(b, OP_spread, name, x);
    b->here = b->s->loc[KEY_parallel_sequence_parallel];
    x = gather_shares(b, name, x, true);
    b->here = here;
    return x;
}

Value *build_whole(Builder *b, const char *name, Value *x)
{
    if (type_rows_of(b->m, &x->type) != ROWS_SHARE)
        return x;
    Loc here = b->here;
    b->here = b->s->loc[KEY_parallel_sequence_parallel];
    x = gather_shares(b, name, x, false);
    b->here = here;
    return x;
}

Value *build_sum(Builder *b, const char *name, Value *part)
{
    Loc here = b->here;
    if (b->tensor == 1)
        return part;
    b->here = b->s->loc[b->shares > 1 ? KEY_parallel_sequence_parallel
                                      : KEY_parallel_tensor];
    Value *sum = make_reshard(
        b, b->shares > 1 ? RESHARD_SUM_SHARES : RESHARD_ALL_REDUCE, name, part,
        0);
    b->here = here;
    return sum;
}

static void slice(Builder *b, const Value *weight, Slice how)
{
    if (b->tensor > 1)
        b->m->weights.at[weight->weight].slice = how;
}

/* x Wᵀ, of which each tensor rank has made a part, summed: all of it, or the
 * rank's share of its rows. */
static Value *sum_product(Builder *b, const char *result, Value *x, Value *w)
{
    if (b->tensor == 1)
        return make2(b, OP_matmul, result, x, w);
    Value *part = make2(b, OP_matmul,
                        arena_printf(b->m->arena, "%s.part", result), x, w);
    return build_sum(b, result, part);
}

Value *build_linear(Builder *b, const Linear *linear, Value *x)
{
    Arena *a = b->m->arena;
    Loc here = b->here;
    Value *w =
        weight(b, arena_printf(a, "%s.weight", linear->name), 2,
               (int[]){ linear->out, linear->in },
               matrix_init(b, linear->out, linear->in, linear->residual));
    bool sums = linear->slice == SLICE_COLUMNS;
    slice(b, w, linear->slice);
    if (!linear->bias)
        return sums ? sum_product(b, linear->result, x, w)
                    : make2(b, OP_matmul, linear->result, x, w);
    Value *bias = weight(b, arena_printf(a, "%s.bias", linear->name), 1,
                         &linear->out, (Init){ .kind = INIT_ZEROS });
    const char *name = arena_printf(a, "%s.product", linear->result);
    if (!sums)
        slice(b, bias, linear->slice);
    Value *product = sums ? sum_product(b, name, x, w)
                          : make2(b, OP_matmul, name, x, w);
    mark_shared(b, bias, product);
    b->here = here;
    return make2(b, OP_add, linear->result, product, bias);
}

Value *build_pooled(Builder *b, const char *name, Value *x, Value *lengths,
                    int kind)
{
    const Attrs attrs = { .pool = kind, .dim = b->d.chunks };
    return make(b, b->context > 1 ? OP_pool_chunks : OP_pool, name, 2,
                (Value *[]){ x, lengths }, &attrs);
}

Value *build_dropout(Builder *b, const char *name, Value *x, double rate,
                     int site)
{
    if (rate == 0)
        return x;
    return make(b, OP_dropout, name, 1, (Value *[]){ x },
                &(Attrs){ .rate = rate, .site = site });
}
