/* steps.c: the plain steps, each a list of calls: train, eval, forward, and
 * what generating, predicting and preferences take. Passes cut and
 * differentiate them. */
#include "builder.h"

static Stmt *stmt(Builder *b, StepKind kind)
{
    Stmt *s = arena_alloc(b->m->arena, sizeof *s);
    s->kind = kind;
    s->origin.model = b->here;
    return s;
}

static void append(Builder *b, Step *step, Stmt *s)
{
    list_push(b->m->arena, &step->body, s);
}

/* results = func(…): arguments go by their parameters' names, but for `x` and
 * `memory`, which are what the step calls so. */
static Stmt *call(Builder *b, const char *func, const char *x,
                  const char *const *results)
{
    Stmt *s = stmt(b, STEP_CALL);
    s->func = module_find_func(b->m, func);
    if (!s->func)
        ice("there is no function %s", func);
    s->indexed = s->func->stack >= 0;
    for (int i = 0; i < s->func->params.count; i++) {
        const char *name = s->func->params.at[i]->name;
        if (!strcmp(name, "x"))
            name = x;
        if (!strcmp(name, "memory"))
            name = has_encoder_norm(b) ? "memory" : "encoded";
        list_push(b->m->arena, &s->arguments, name);
    }
    for (int i = 0; results[i] && i < s->func->results.count; i++)
        list_push(b->m->arena, &s->results, results[i]);
    return s;
}

static Stmt *call1(Builder *b, const char *func, const char *x,
                   const char *result)
{
    return call(b, func, x, (const char *[]){ result, NULL });
}

static void repeat(Builder *b, Step *step, Stmt *body)
{
    b->here = b->s->loc[KEY_model_blocks];
    Stmt *loop = stmt(b, STEP_REPEAT);
    loop->stack = body->func->stack;
    list_push(b->m->arena, &loop->body, body);
    append(b, step, loop);
}

static void repeat_block(Builder *b, Step *step, const char *block,
                         const char *x)
{
    b->here = b->s->loc[KEY_model_blocks];
    if (module_find_func(b->m, block))      /* none: a bag of words */
        repeat(b, step, call(b, block, x, (const char *[]){ x, "aux", NULL }));
}

/* W r of every block, from its weights. */
static void prepare(Builder *b, Step *step)
{
    static const char *const names[] = { "prepare", "encoder_prepare",
                                         "decoder_prepare" };
    for (int i = 0; i < 3; i++)
        if (module_find_func(b->m, names[i]))
            repeat(b, step, call1(b, names[i], "", "attn.relative.rows"));
}

/* The encoder of an encoder-decoder. */
static void encode(Builder *b, Step *step, const char *suffix)
{
    Arena *a = b->m->arena;
    b->here = b->s->loc[KEY_model_vocab];
    append(b, step, call1(b, "encoder_embed", "", "encoded"));
    repeat_block(b, step, arena_printf(a, "encoder_block%s", suffix),
                 "encoded");
    if (module_find_func(b->m, "encoder_norm"))
        append(b, step, call1(b, "encoder_norm", "encoded", "memory"));
}

/* What is given -> x through all blocks. */
static void call_stack(Builder *b, Step *step, const char *suffix)
{
    const char *side = has_two_stacks(b->s) ? "decoder_" : "";
    Arena *a = b->m->arena;
    b->here = b->s->loc[KEY_model_vocab];
    append(b, step, call1(b, arena_printf(a, "%sembed", side), "", "x"));
    repeat_block(b, step, arena_printf(a, "%sblock%s", side, suffix), "x");
}

static void call_stacks(Builder *b, Step *step, const char *suffix)
{
    if (has_two_stacks(b->s))
        encode(b, step, suffix);
    call_stack(b, step, suffix);
}

static Step *step_new(Builder *b, const char *name, int64_t batch,
                      int64_t sequence)
{
    Step *step = arena_alloc(b->m->arena, sizeof *step);
    step->name = name;
    step->batch = step->micro = batch;
    step->sequence = sequence;
    list_push(b->m->arena, &b->m->steps, step);
    return step;
}

static void count(Builder *b, Step *step, const char *what)
{
    Stmt *s = stmt(b, STEP_COUNT);
    s->what = what;
    append(b, step, s);
}

/* What heads read: x, or where ranks share its rows all of them. */
static const char *call_final(Builder *b, Step *step)
{
    if (b->shares == 1)
        return "x";
    append(b, step, call1(b, "final_norm", "x", "normed"));
    return "normed";
}

/* The losses of a step; suffix "" or ".nll". */
static void call_losses(Builder *b, Step *step, const char *suffix)
{
    Arena *a = b->m->arena;
    const char *head = arena_printf(a, "head%s", suffix);
    const char *const loss[] = { "loss", "correct", NULL };
    const char *const label_loss[] = { "label_loss", "label_correct", NULL };
    b->here = b->s->loc[KEY_train_objective];
    const char *x = call_final(b, step);
    if (is_classifier(b->s)) {
        append(b, step, call1(b, "pool", x, "pooled"));
        append(b, step, call(b, head, "pooled", label_loss));
        return;
    }
    if (is_preference(b->s)) {
        append(b, step, call1(b, "head.rows", x, "nll"));
        append(b, step,
               call(b, arena_printf(a, "pairs%s", suffix), "", label_loss));
        return;
    }
    append(b, step, call(b, head, x, loss));
    if (has_next_sentence(b->s)) {
        append(b, step, call1(b, "pool", x, "pooled"));
        append(b, step,
               call(b, arena_printf(a, "next_sentence%s", suffix), "pooled",
                    label_loss));
    }
}

static void build_train(Builder *b, int64_t sequences)
{
    const Spec *s = b->s;
    Step *train =
        step_new(b, "train", s->train_batch * sequences, s->train_sequence);
    train->training = true;
    b->here = s->loc[KEY_train_objective];
    prepare(b, train);
    b->here = s->loc[KEY_train_objective];
    if (is_preference(s))
        count(b, train, "pairs");
    if (!is_classifier(s) && !is_preference(s))
        count(b, train, "targets");
    if (is_classifier(s) || has_next_sentence(s))
        count(b, train, "labels");
    call_stacks(b, train, "");
    call_losses(b, train, "");
}

static void call_logits(Builder *b, Step *step)
{
    b->here = b->s->loc[KEY_model_head];
    if (is_classifier(b->s))
        append(b, step, call1(b, "pool", "x", "pooled"));
    append(b, step,
           call1(b, "head.logits", is_classifier(b->s) ? "pooled" : "x",
                 "logits"));
}

/* Tokens of a prompt that `generate` takes at a time. */
enum { PROMPT_CHUNK = 64 };

static void build_generate(Builder *b)
{
    const Spec *s = b->s;
    int64_t chunk =
        s->model_context < PROMPT_CHUNK ? s->model_context : PROMPT_CHUNK;
    if (has_two_stacks(s)) {
        const char *keys[] = { "keys", "values", NULL };
        Step *step = step_new(b, "encode", 1, s->model_context);
        encode(b, step, "");
        if (module_find_func(b->m, "decoder_block.keys"))
            repeat(b, step, call(b, "decoder_block.keys", "", keys));
    }
    Step *generate = step_new(b, "generate", 1, chunk);
    call_stack(b, generate, ".cached");
    call_logits(b, generate);
}

static void build_forward(Builder *b)
{
    const Spec *s = b->s;
    Step *forward = step_new(b, "forward", 1, s->model_context);
    const char *const logits[] = { "logits", "norm", NULL };
    call_stacks(b, forward, ".inspect");
    b->here = s->loc[KEY_model_head];
    if (is_classifier(s))
        append(b, forward,
               call(b, "pool.inspect", "x",
                    (const char *[]){ "pooled", "norm", NULL }));
    append(b, forward,
           call(b, "head.inspect", is_classifier(s) ? "pooled" : "x", logits));
}

/* What pairs are held against. */
static void build_score(Builder *b, int64_t sequences)
{
    const Spec *s = b->s;
    Step *score = step_new(b, "score", s->train_micro_batch * sequences,
                           s->train_sequence);
    call_stacks(b, score, "");
    b->here = s->loc[KEY_train_objective];
    append(b, score, call1(b, "head.rows", call_final(b, score), "nll"));
    append(b, score, call1(b, "pairs.sums", "", "sums"));
}

void build_steps(Builder *b)
{
    const Spec *s = b->s;
    int64_t sequences = is_preference(s) ? 2 : 1;       /* of an example */
    build_train(b, sequences);
    Step *eval = step_new(b, "eval", s->train_micro_batch * sequences,
                          s->train_sequence);
    call_stacks(b, eval, "");
    call_losses(b, eval, ".nll");
    if (is_preference(s))
        build_score(b, sequences);
    if (is_relative(s) && b->m->stacks.count
        && stack_first(b->m, b->m->stacks.count))
        prepare(b, step_new(b, "prepare", 1, b->context));
    if (b->tensor * b->context * b->experts > 1)
        return;
    if (is_generator(s))
        build_generate(b);
    build_forward(b);
    if (is_classifier(s) || s->model_kind == MODEL_KIND_ENCODER) {
        Step *predict =
            step_new(b, "predict", s->train_micro_batch, s->model_context);
        call_stacks(b, predict, "");
        call_logits(b, predict);
    }
}
