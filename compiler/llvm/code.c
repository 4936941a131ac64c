/* code.c: functions of a Prog as LLVM IR. A variable is a place on the stack,
 * which LLVM's first pass turns into values; a statement is a few instructions;
 * value() is the heart. Nothing has a fast-math flag: a product and a sum stay
 * two roundings. Integers of a Prog do not overflow (nsw), as in C. */
#include "llvm.h"

static LLVMValueRef value(Llvm *l, const ProgExpr *e);
static void block(Llvm *l, const ProgBlock *b);

/* ---- small pieces -------------------------------------------------------- */
static LLVMTypeRef kind_type(Llvm *l, ProgKind kind)
{
    return llvm_type(l, (ProgType){.kind = kind});
}

static LLVMValueRef integer(Llvm *l, int64_t number)
{
    return LLVMConstInt(kind_type(l, PK_I64), (unsigned long long)number, true);
}

static LLVMBasicBlockRef new_block(Llvm *l)
{
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

static void enter(Llvm *l, LLVMBasicBlockRef b)
{
    LLVMPositionBuilderAtEnd(l->builder, b);
}

/* A jump from the current block, unless a return has ended it. */
static void jump(Llvm *l, LLVMBasicBlockRef to)
{
    if (!LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(l->builder)))
        LLVMBuildBr(l->builder, to);
}

/* The value as another kind where a Prog converts by itself: i32 to i64, and an
 * f32 to all lanes. */
static LLVMValueRef convert(Llvm *l, LLVMValueRef v, ProgKind from, ProgKind to)
{
    if (from == PK_I32 && to == PK_I64)
        return LLVMBuildSExt(l->builder, v, kind_type(l, PK_I64), "");
    if (from != PK_F32 || to != PK_F32X16)
        return v;
    LLVMTypeRef lanes = kind_type(l, PK_F32X16), i32 = kind_type(l, PK_I32);
    LLVMValueRef first = LLVMBuildInsertElement(
        l->builder, LLVMGetUndef(lanes), v, LLVMConstInt(i32, 0, false), "");
    LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(i32, 16));
    return LLVMBuildShuffleVector(l->builder, first, LLVMGetUndef(lanes), zeros,
                                  "");
}

static LLVMValueRef value_as(Llvm *l, const ProgExpr *e, ProgKind kind)
{
    LLVMValueRef v = value(l, e);
    debug_at(l, e->origin);
    return convert(l, v, e->type.kind, kind);
}

/* ---- places -------------------------------------------------------------- */
static LLVMTypeRef element_type(Llvm *l, ProgType pointer)
{
    return llvm_type(l,
                     (ProgType){.kind = pointer.of, .record = pointer.record});
}

static LLVMValueRef element(Llvm *l, const ProgExpr *pointer,
                            const ProgExpr *index)
{
    LLVMValueRef base = value(l, pointer), at = value_as(l, index, PK_I64);
    return LLVMBuildInBoundsGEP2(l->builder, element_type(l, pointer->type),
                                 base, &at, 1, "");
}

/* The address of a record: of a variable, an element, or what a pointer
 * holds. */
static LLVMValueRef record_place(Llvm *l, const ProgExpr *e)
{
    if (e->type.kind == PK_POINTER)
        return value(l, e);
    if (e->kind == PE_VAR)
        return l->slots[e->variable->number];
    return element(l, e->a, e->b);
}

static LLVMValueRef field_place(Llvm *l, const ProgExpr *record,
                                const char *name)
{
    const ProgRecord *r = record->type.record;
    unsigned index = (unsigned)(prog_find_field(r, name) - r->fields.at);
    LLVMValueRef place = record_place(l, record);
    return LLVMBuildStructGEP2(l->builder, llvm_record(l, r), place, index, "");
}

/* ---- expressions --------------------------------------------------------- */
/* Both operands in one kind. */
static ProgKind common(const ProgExpr *e)
{
    ProgKind a = e->a->type.kind, b = e->b->type.kind;
    if (a == b)
        return a;
    return a == PK_F32X16 || b == PK_F32X16 ? PK_F32X16 : PK_I64;
}

static LLVMValueRef float_op(Llvm *l, ProgExprKind kind, LLVMValueRef a,
                             LLVMValueRef b)
{
    if (kind == PE_ADD)
        return LLVMBuildFAdd(l->builder, a, b, "");
    if (kind == PE_SUB)
        return LLVMBuildFSub(l->builder, a, b, "");
    if (kind == PE_MUL)
        return LLVMBuildFMul(l->builder, a, b, "");
    return LLVMBuildFDiv(l->builder, a, b, "");
}

static LLVMValueRef integer_op(Llvm *l, ProgExprKind kind, bool is_signed,
                               LLVMValueRef a, LLVMValueRef b)
{
    LLVMBuilderRef to = l->builder;
    if (kind == PE_ADD)
        return is_signed ? LLVMBuildNSWAdd(to, a, b, "")
                         : LLVMBuildAdd(to, a, b, "");
    if (kind == PE_SUB)
        return is_signed ? LLVMBuildNSWSub(to, a, b, "")
                         : LLVMBuildSub(to, a, b, "");
    if (kind == PE_MUL)
        return is_signed ? LLVMBuildNSWMul(to, a, b, "")
                         : LLVMBuildMul(to, a, b, "");
    if (kind == PE_DIV)
        return is_signed ? LLVMBuildSDiv(to, a, b, "")
                         : LLVMBuildUDiv(to, a, b, "");
    return is_signed ? LLVMBuildSRem(to, a, b, "")
                     : LLVMBuildURem(to, a, b, "");
}

static LLVMValueRef arithmetic(Llvm *l, const ProgExpr *e)
{
    ProgKind kind = common(e);
    LLVMValueRef a = value_as(l, e->a, kind), b = value_as(l, e->b, kind);
    debug_at(l, e->origin);
    return prog_is_float(kind)
               ? float_op(l, e->kind, a, b)
               : integer_op(l, e->kind, prog_is_signed(kind), a, b);
}

static LLVMValueRef compare(Llvm *l, const ProgExpr *e)
{
    static const struct {
        LLVMRealPredicate real;
        LLVMIntPredicate with_sign, without;
    } predicates[] = {
        [PE_LT] = {LLVMRealOLT, LLVMIntSLT, LLVMIntULT},
        [PE_LE] = {LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
        [PE_EQ] = {LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},
        [PE_NE] = {LLVMRealUNE, LLVMIntNE, LLVMIntNE},
    };
    ProgKind kind = common(e);
    LLVMValueRef a = value_as(l, e->a, kind), b = value_as(l, e->b, kind);
    debug_at(l, e->origin);
    if (prog_is_float(kind))
        return LLVMBuildFCmp(l->builder, predicates[e->kind].real, a, b, "");
    return LLVMBuildICmp(l->builder,
                         prog_is_signed(kind) ? predicates[e->kind].with_sign
                                              : predicates[e->kind].without,
                         a, b, "");
}

/* May it be computed although it is not wanted? Then no branch is needed. */
static bool is_harmless(const ProgExpr *e)
{
    if (!e)
        return true;
    if (e->kind == PE_LOAD || e->kind == PE_FIELD || e->kind == PE_CALL
        || e->kind == PE_DIV || e->kind == PE_REM)
        return false;
    return is_harmless(e->a) && is_harmless(e->b) && is_harmless(e->c);
}

/* An i32 as i1. */
static LLVMValueRef condition(Llvm *l, const ProgExpr *e);

/* Both ways of a condition meet: `yes` and `no` are computed only if wanted. */
static LLVMValueRef meet(Llvm *l, LLVMValueRef test, const ProgExpr *yes,
                         const ProgExpr *no, ProgKind kind)
{
    const ProgExpr *arms[2] = {yes, no};
    LLVMBasicBlockRef from[2] = {new_block(l), new_block(l)},
                      after = new_block(l);
    LLVMValueRef values[2];
    LLVMBuildCondBr(l->builder, test, from[0], from[1]);
    for (int i = 0; i < 2; i++) {
        enter(l, from[i]);
        values[i] = value_as(l, arms[i], kind);
        from[i] = LLVMGetInsertBlock(l->builder);
        jump(l, after);
    }
    enter(l, after);
    LLVMValueRef phi = LLVMBuildPhi(l->builder, LLVMTypeOf(values[0]), "");
    LLVMAddIncoming(phi, values, from, 2);
    return phi;
}

static LLVMValueRef choose(Llvm *l, const ProgExpr *e)
{
    LLVMValueRef test = condition(l, e->a);
    debug_at(l, e->origin);
    if (!is_harmless(e->b) || !is_harmless(e->c))
        return meet(l, test, e->b, e->c, e->type.kind);
    LLVMValueRef b = value_as(l, e->b, e->type.kind),
                 c = value_as(l, e->c, e->type.kind);
    debug_at(l, e->origin);
    return LLVMBuildSelect(l->builder, test, b, c, "");
}

/* a && b, a || b: 0 or 1. */
static LLVMValueRef logic(Llvm *l, const ProgExpr *e)
{
    const ProgExpr zero = {.kind = PE_INT, .type = prog_i32()};
    const ProgExpr one = {.kind = PE_INT, .type = prog_i32(), .integer = 1};
    const ProgExpr truth = {.kind = PE_NE, .type = prog_i32(), .a = e->b,
                            .b = (ProgExpr *)&zero, .origin = e->origin};
    LLVMValueRef a = condition(l, e->a);
    debug_at(l, e->origin);
    return e->kind == PE_AND ? meet(l, a, &truth, &zero, PK_I32)
                             : meet(l, a, &one, &truth, PK_I32);
}

static LLVMValueRef condition(Llvm *l, const ProgExpr *e)
{
    if (e->kind == PE_LT || e->kind == PE_LE || e->kind == PE_EQ
        || e->kind == PE_NE)
        return compare(l, e);
    LLVMValueRef v = value(l, e);
    debug_at(l, e->origin);
    return LLVMBuildICmp(l->builder, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)),
                         "");
}

static LLVMValueRef cast(Llvm *l, const ProgExpr *e)
{
    ProgKind from = e->a->type.kind, to = e->type.kind;
    LLVMTypeRef type = kind_type(l, to);
    LLVMValueRef a = value(l, e->a);
    debug_at(l, e->origin);
    if (to == PK_POINTER)
        return a;
    if (prog_is_float(from) && prog_is_float(to))
        return LLVMBuildFPCast(l->builder, a, type, "");
    if (prog_is_float(to))
        return prog_is_signed(from) ? LLVMBuildSIToFP(l->builder, a, type, "")
                                    : LLVMBuildUIToFP(l->builder, a, type, "");
    if (prog_is_float(from))
        return prog_is_signed(to) ? LLVMBuildFPToSI(l->builder, a, type, "")
                                  : LLVMBuildFPToUI(l->builder, a, type, "");
    return LLVMBuildIntCast2(l->builder, a, type, prog_is_signed(from), "");
}

static LLVMValueRef call(Llvm *l, const ProgExpr *e)
{
    const ProgFunc *func = e->callee;
    size_t bytes = (size_t)(e->args.count + 1) * sizeof(LLVMValueRef);
    LLVMValueRef *args = arena_alloc(l->arena, bytes);
    for (int i = 0; i < e->args.count; i++)
        args[i] = value_as(l, e->args.at[i], func->params.at[i]->type.kind);
    debug_at(l, e->origin);
    return LLVMBuildCall2(l->builder, llvm_function_type(l, func),
                          llvm_function(l, func), args, (unsigned)e->args.count,
                          "");
}

static LLVMValueRef negation(Llvm *l, const ProgExpr *e)
{
    LLVMValueRef a = value(l, e->a);
    debug_at(l, e->origin);
    return prog_is_float(e->type.kind) ? LLVMBuildFNeg(l->builder, a, "")
                                       : LLVMBuildNSWNeg(l->builder, a, "");
}

static LLVMValueRef load(Llvm *l, const ProgExpr *e, LLVMValueRef place)
{
    debug_at(l, e->origin);
    return LLVMBuildLoad2(l->builder, llvm_type(l, e->type), place, "");
}

static LLVMValueRef value(Llvm *l, const ProgExpr *e)
{
    debug_at(l, e->origin);
    switch (e->kind) {
    case PE_INT:
        return LLVMConstInt(llvm_type(l, e->type),
                            (unsigned long long)e->integer, true);
    case PE_CONST: return integer(l, e->constant->value);
    case PE_F32: case PE_F64:
        return LLVMConstReal(llvm_type(l, e->type), e->number);
    case PE_NULL: return LLVMConstNull(llvm_type(l, e->type));
    case PE_VAR: return load(l, e, l->slots[e->variable->number]);
    case PE_NEG: return negation(l, e);
    case PE_ADD: case PE_SUB: case PE_MUL: case PE_DIV: case PE_REM:
        return arithmetic(l, e);
    case PE_LT: case PE_LE: case PE_EQ: case PE_NE:
        return LLVMBuildZExt(l->builder, compare(l, e), kind_type(l, PK_I32),
                             "");
    case PE_AND: case PE_OR: return logic(l, e);
    case PE_SELECT: return choose(l, e);
    case PE_LOAD: return load(l, e, element(l, e->a, e->b));
    case PE_OFFSET: return element(l, e->a, e->b);
    case PE_FIELD: return load(l, e, field_place(l, e->a, e->field));
    case PE_ADDRESS: return record_place(l, e->a);
    case PE_CAST: return cast(l, e);
    case PE_CALL: return call(l, e);
    case PE_DATA: return LLVMGetNamedGlobal(l->module, e->data->name);
    }
    ice("expression kind %d", (int)e->kind);
}

/* ---- statements ---------------------------------------------------------- */
static void assign(Llvm *l, LLVMValueRef place, const ProgExpr *e,
                   ProgKind kind)
{
    LLVMBuildStore(l->builder, value_as(l, e, kind), place);
}

static void let(Llvm *l, const ProgStmt *s)
{
    LLVMValueRef slot = l->slots[s->variable->number];
    ProgType type = s->variable->type;
    if (type.kind == PK_RECORD)
        LLVMBuildStore(l->builder, LLVMConstNull(llvm_record(l, type.record)),
                       slot);
    else
        assign(l, slot, s->a, type.kind);
}

/* for (variable = from; variable < to; variable += step) body. */
static void loop_up(Llvm *l, const ProgStmt *s)
{
    LLVMBasicBlockRef test = new_block(l), body = new_block(l),
                      after = new_block(l);
    LLVMValueRef slot = l->slots[s->variable->number];
    LLVMTypeRef i64 = kind_type(l, PK_I64);
    assign(l, slot, s->a, PK_I64);
    jump(l, test);
    enter(l, test);
    LLVMValueRef at = LLVMBuildLoad2(l->builder, i64, slot, "");
    LLVMValueRef to = value_as(l, s->b, PK_I64);
    LLVMBuildCondBr(l->builder,
                    LLVMBuildICmp(l->builder, LLVMIntSLT, at, to, ""), body,
                    after);
    enter(l, body);
    block(l, &s->body);
    debug_at(l, s->origin);
    LLVMValueRef step = value_as(l, s->c, PK_I64);
    LLVMValueRef now = LLVMBuildLoad2(l->builder, i64, slot, "");
    LLVMBuildStore(l->builder, LLVMBuildNSWAdd(l->builder, now, step, ""),
                   slot);
    jump(l, test);
    enter(l, after);
}

/* for (variable = to - 1; variable >= from; variable--) body. */
static void loop_down(Llvm *l, const ProgStmt *s)
{
    LLVMBasicBlockRef test = new_block(l), body = new_block(l),
                      after = new_block(l);
    LLVMValueRef slot = l->slots[s->variable->number], one = integer(l, 1);
    LLVMTypeRef i64 = kind_type(l, PK_I64);
    LLVMValueRef end = value_as(l, s->b, PK_I64);
    LLVMBuildStore(l->builder, LLVMBuildNSWSub(l->builder, end, one, ""), slot);
    jump(l, test);
    enter(l, test);
    LLVMValueRef at = LLVMBuildLoad2(l->builder, i64, slot, "");
    LLVMValueRef from = value_as(l, s->a, PK_I64);
    LLVMBuildCondBr(l->builder,
                    LLVMBuildICmp(l->builder, LLVMIntSGE, at, from, ""), body,
                    after);
    enter(l, body);
    block(l, &s->body);
    debug_at(l, s->origin);
    LLVMValueRef now = LLVMBuildLoad2(l->builder, i64, slot, "");
    LLVMBuildStore(l->builder, LLVMBuildNSWSub(l->builder, now, one, ""), slot);
    jump(l, test);
    enter(l, after);
}

static void branch(Llvm *l, const ProgStmt *s)
{
    LLVMBasicBlockRef yes = new_block(l), no = new_block(l),
                      after = new_block(l);
    LLVMValueRef test = condition(l, s->a);
    LLVMBuildCondBr(l->builder, test, yes, no);
    enter(l, yes);
    block(l, &s->body);
    jump(l, after);
    enter(l, no);
    block(l, &s->other);
    jump(l, after);
    enter(l, after);
}

/* What follows a return in its block is never reached, but needs a place. */
static void give(Llvm *l, const ProgStmt *s)
{
    if (s->a)
        LLVMBuildRet(l->builder, value_as(l, s->a, l->func->result.kind));
    else
        LLVMBuildRetVoid(l->builder);
    enter(l, new_block(l));
}

static void store(Llvm *l, const ProgStmt *s)
{
    LLVMValueRef v = value_as(l, s->c, s->a->type.of);
    LLVMValueRef place = element(l, s->a, s->b);
    debug_at(l, s->origin);
    LLVMBuildStore(l->builder, v, place);
}

static void field_set(Llvm *l, const ProgStmt *s)
{
    ProgKind kind = prog_find_field(s->a->type.record, s->field)->type.kind;
    LLVMValueRef v = value_as(l, s->b, kind);
    LLVMValueRef place = field_place(l, s->a, s->field);
    debug_at(l, s->origin);
    LLVMBuildStore(l->builder, v, place);
}

static void statement(Llvm *l, const ProgStmt *s)
{
    debug_at(l, s->origin);
    switch (s->kind) {
    case PS_LET: let(l, s); return;
    case PS_SET:
        assign(l, l->slots[s->variable->number], s->a, s->variable->type.kind);
        return;
    case PS_STORE: store(l, s); return;
    case PS_FIELD_SET: field_set(l, s); return;
    case PS_DO: value(l, s->a); return;
    case PS_FOR: loop_up(l, s); return;
    case PS_FOR_DOWN: loop_down(l, s); return;
    case PS_IF: branch(l, s); return;
    case PS_RETURN: give(l, s); return;
    case PS_COMMENT: return;
    }
}

static void block(Llvm *l, const ProgBlock *b)
{
    for (int i = 0; i < b->statements.count; i++)
        statement(l, b->statements.at[i]);
}

/* ---- functions ----------------------------------------------------------- */
/* Every declared variable gets its place in the entry block. */
static void make_slots(Llvm *l, const ProgBlock *b)
{
    for (int i = 0; i < b->statements.count; i++) {
        const ProgStmt *s = b->statements.at[i];
        bool declares = s->kind == PS_LET || s->kind == PS_FOR
                        || s->kind == PS_FOR_DOWN;
        if (declares && !l->slots[s->variable->number])
            l->slots[s->variable->number] = LLVMBuildAlloca(
                l->builder, llvm_type(l, s->variable->type), s->variable->name);
        make_slots(l, &s->body);
        make_slots(l, &s->other);
    }
}

void llvm_define(Llvm *l, const ProgFunc *func)
{
    size_t bytes = (size_t)(func->variables + 1) * sizeof *l->slots;
    l->slots = arena_alloc(l->arena, bytes);
    l->func = func;
    l->function = llvm_function(l, func);
    enter(l, new_block(l));
    debug_function(l, func, l->function);
    for (int i = 0; i < func->params.count; i++) {
        const ProgVar *param = func->params.at[i];
        LLVMValueRef slot = LLVMBuildAlloca(
            l->builder, llvm_type(l, param->type), param->name);
        l->slots[param->number] = slot;
        LLVMBuildStore(l->builder, LLVMGetParam(l->function, (unsigned)i),
                       slot);
    }
    make_slots(l, &func->body);
    block(l, &func->body);
    if (LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(l->builder)))
        return;
    if (func->result.kind == PK_VOID)
        LLVMBuildRetVoid(l->builder);
    else
        LLVMBuildUnreachable(l->builder);
}
