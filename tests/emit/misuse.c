/* misuse.c: what must end the compiler: Progs that are wrong, built or
 * verified. Each case runs in a process of its own, which has to abort with a
 * message that holds the words given. */
#include "../../ir/prog_make.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Fixture {
    Prog *p;
    ProgFunc *f;
    ProgVar *i, *x, *pointer, *lanes;
    ProgBlock *b;
} Fixture;

static ProgExpr *var(Fixture *t, ProgVar *v)
{
    return px_var(t->p, v);
}

static void mixed_sum(Fixture *t) { px_add(t->p, var(t, t->i), var(t, t->x)); }
static void lanes_less(Fixture *t)
{
    px_lt(t->p, var(t, t->lanes), var(t, t->x));
}
static void float_rest(Fixture *t) { px_rem(t->p, var(t, t->x), var(t, t->x)); }
static void load_scalar(Fixture *t)
{
    px_load(t->p, var(t, t->x), px_int(t->p, 0));
}
static void index_float(Fixture *t)
{
    px_load(t->p, var(t, t->pointer), var(t, t->x));
}
static void no_variable(Fixture *t) { px_var(t->p, NULL); }
static void no_field(Fixture *t)
{
    const ProgRecord *thread = prog_runtime_record(t->p, "Thread");
    px_field(
        t->p,
        var(t, prog_param(t->p, t->f, "me", prog_pointer_to(thread, true))),
        "id");
}
static void store_const(Fixture *t)
{
    ps_store(t->p, t->b, var(t, t->pointer), px_int(t->p, 0), var(t, t->x));
}
static void set_wrong(Fixture *t) { ps_set(t->p, t->b, t->i, var(t, t->x)); }
static void narrow(Fixture *t)
{
    ps_let(t->p, t->b, prog_local(t->p, t->f, "n", prog_i32()), var(t, t->i));
}
static void few_arguments(Fixture *t)
{
    px_callv(t->p, prog_library(t->p, "exp_f32"), NULL);
}
static void wrong_argument(Fixture *t)
{
    px_callv(t->p, prog_library(t->p, "exp_f32"), var(t, t->i), NULL);
}
static void no_library(Fixture *t) { prog_library(t->p, "matmull"); }
static void no_record(Fixture *t) { prog_runtime_record(t->p, "Controls"); }
static void float_condition(Fixture *t)
{
    ps_if(t->p, t->b, var(t, t->x), NULL);
}
static void not_a_call(Fixture *t) { ps_do(t->p, t->b, var(t, t->x)); }

static void verify(Fixture *t)
{
    prog_define(t->p, t->f);
    prog_verify(t->p);
}
static void out_of_scope(Fixture *t)
{
    ProgVar *late = prog_local(t->p, t->f, "late", prog_f32());
    ProgBlock *inner = ps_if(t->p, t->b, px_i32(t->p, 1), NULL);
    ps_let(t->p, inner, late, px_f32(t->p, 1));
    ps_set(t->p, t->b, late, px_f32(t->p, 2));
    verify(t);
}
static void declared_twice(Fixture *t)
{
    ProgVar *twice = prog_local(t->p, t->f, "twice", prog_f32());
    ps_let(t->p, t->b, twice, px_f32(t->p, 1));
    ps_let(t->p, t->b, twice, px_f32(t->p, 2));
    verify(t);
}
static void called_before(Fixture *t)
{
    ProgFunc *later = prog_func(t->p, "later", NULL, prog_void());
    ps_do(t->p, t->b, px_callv(t->p, later, NULL));
    verify(t);
}
static void no_return(Fixture *t)
{
    ProgFunc *f = prog_func(t->p, "value", NULL, prog_i64());
    prog_define(t->p, f);
    prog_verify(t->p);
}
static void short_data(Fixture *t)
{
    ProgData *data = prog_data(t->p, "d", prog_runtime_record(t->p, "Memory"),
                               true, false);
    prog_datum_text(t->p, data, "weights");
    prog_verify(t->p);
}
static void wrong_datum(Fixture *t)
{
    ProgData *data = prog_data(t->p, "d", prog_runtime_record(t->p, "Memory"),
                               true, false);
    prog_datum_int(t->p, data, 1);
}

static const struct Case {
    const char *name;
    void (*run)(Fixture *);
    const char *words;
} cases[] = {
    {"i64 + f32", mixed_sum, "+ of long, float"},
    {"f32x16 < f32", lanes_less, "< of f32x16, float"},
    {"f32 % f32", float_rest, "% of float"},
    {"load from a scalar", load_scalar, "a load of float"},
    {"index by a float", index_float, "a load of const float *, float"},
    {"no variable", no_variable, "px_var of nothing"},
    {"no such field", no_field, "no field id"},
    {"store through const", store_const, "a store through const float *"},
    {"set to another type", set_wrong, "i is float, not long"},
    {"i64 into i32", narrow, "n is long, not int"},
    {"too few arguments", few_arguments, "takes 1 arguments, not 0"},
    {"wrong argument", wrong_argument, "is long, not float"},
    {"no such function", no_library, "no function matmull"},
    {"no such struct", no_record, "no struct Controls"},
    {"condition of a float", float_condition, "a condition is float"},
    {"do without a call", not_a_call, "wants a call"},
    {"out of scope", out_of_scope, "late is not in scope"},
    {"declared twice", declared_twice, "declared twice"},
    {"called before defined", called_before, "defined later"},
    {"no return", no_return, "without returning"},
    {"data too short", short_data, "1 values"},
    {"datum of a wrong type", wrong_datum, "field name is const char *"},
};
enum { CASES = sizeof cases / sizeof *cases };

static void child(const struct Case *test, int output)
{
    Arena *arena = arena_new();
    Fixture t = {.p = prog_new(arena, diag_new(arena), "misuse")};
    dup2(output, 2);
    t.f = prog_func(t.p, "f", NULL, prog_void());
    t.i = prog_param(t.p, t.f, "i", prog_i64());
    t.x = prog_param(t.p, t.f, "x", prog_f32());
    t.pointer = prog_param(t.p, t.f, "pointer", prog_pointer(PK_F32, true));
    t.lanes = prog_local(t.p, t.f, "lanes", prog_f32x16());
    t.b = &t.f->body;
    test->run(&t);
    _exit(0);
}

/* Did the case abort with its words? */
static bool aborts(const struct Case *test)
{
    int ends[2], status;
    char said[2000];
    size_t length = 0;
    if (pipe(ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        child(test, ends[1]);
    close(ends[1]);
    for (ssize_t got; length < sizeof said - 1
         && (got = read(ends[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)got;
    said[length] = 0;
    close(ends[0]);
    waitpid(pid, &status, 0);
    bool good = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
                && strstr(said, test->words);
    if (!good)
        printf("FAILED %s: %s", test->name,
               length ? said : "nothing was said\n");
    return good;
}

int main(void)
{
    int failed = 0;
    for (int i = 0; i < CASES; i++)
        failed += !aborts(&cases[i]);
    printf("%d passed, %d failed\n", CASES - failed, failed);
    return failed != 0;
}
