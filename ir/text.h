/* text.h: what the printer (text.c), the parser (parse.c) and the verifier
 * (verify.c) share: the words of the text form (text_words.c), and the table of
 * attributes with their places in Attrs. docs/ir.md describes the text. */
#ifndef TEXT_H
#define TEXT_H
#include "ir.h"

/* Words by enum value, NULL at the end. */
extern const char *const dtype_words[];         /* Dtype */
extern const char *const dim_kind_words[];      /* DimKind */
extern const char *const init_words[];          /* InitKind */
extern const char *const kernel_words[];        /* KernelKind */
extern const char *const area_words[];          /* Value.area */
extern const char *const class_words[];         /* OpClass */

typedef enum FieldKind {
    FIELD_NUMBER,               /* double */
    FIELD_INTEGER,              /* int64_t */
    FIELD_INDEX,                /* int */
    FIELD_DIM,                  /* int, an index into Module.dims, by name */
    FIELD_FLAG,                 /* bool: the name alone says true */
    FIELD_AXIS,                 /* Axis, by name */
    FIELD_PLACED,               /* Placement: whole, sum, split(DIM) … */
} FieldKind;

/* A named field of a struct: an attribute of Attrs, or a parameter of Init. */
typedef struct FieldInfo { const char *name; FieldKind kind; size_t offset; } FieldInfo;
extern const FieldInfo attr_fields[], init_fields[];    /* name NULL at the end */

/* Does the op's row name this attribute? */
bool op_has_attr(Op op, const char *name);

/* "f32[B,T,C]". */
void type_print(const Module *m, const Type *type, Buf *out);
/* With placements, where it has any: f32[B/data,T,F/tensor] sum(context). */
void value_type_print(const Module *m, const Value *v, Buf *out);

/* A name, in quotes where it has to be; and any text in quotes. */
void name_print(const char *name, Buf *out);
void quote_print(const char *text, Buf *out);
/* May it stand without quotes? Letters, digits and _, parted by single . or -,
 * not beginning with a digit; `{` `}` around one part (blocks.{L}.norm1). */
bool name_is_plain(const char *name);
/* The weight that a bare name means in a function: a block's own first, then the
 * model's; -1: none. */
int weight_by_name(const Module *m, const Func *f, const char *name);
/* "blocks.{L}.NAME", or NAME. */
const char *weight_path(const Module *m, int weight, Arena *arena);

/* verify.c: what must hold of a node before op_types may be asked: number and
 * rank of inputs, attributes in range. False with a text. */
bool node_well_formed(const Module *m, const Node *node, char *why, size_t room);
/* verify.c: is the number of elements of a row below 2^62? */
bool type_fits(const Module *m, const Type *type);
#endif
