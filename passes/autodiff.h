/* autodiff.h: shared by autodiff.c (functions and steps) and gradients.c (the
 * gradient of every op). */
#ifndef AUTODIFF_H
#define AUTODIFF_H
#include "pass.h"

/* What has reached a value from those that use it. Products of matrices are
 * kept apart: they become one chain, in forward order, when the sum is asked
 * for. */
typedef struct Product {
    Value *dy, *w;
    Value *starts;                  /* of experts' rows; NULL: one matrix */
    int order;
    Origin origin;
} Product;
typedef struct Cotangent {
    List(Value *) terms;
    List(Product) products;
    Value *begin;                   /* what the sum goes on from; NULL: 0 */
    Value *sum;                     /* once asked for */
} Cotangent;

typedef struct Autodiff {
    Module *m;
    Func *from;                     /* the forward function */
    Func *to;                       /* gradients go there; from when joined */
    Cotangent *cotangents;          /* by number of the forward value */
    bool *wanted;                   /* forward values that need a gradient */
    Value **copies;                 /* forward value -> its value in `to` */
    Value *seed;                    /* joined: where backward begins */
    Origin origin;                  /* of the node that is differentiated */
    int order;                      /* its place in the forward function */
} Autodiff;

/* A forward value inside the backward function: computed again where that is
 * pointwise, else read from the record. */
Value *ad_value(Autodiff *ad, Value *forward);
/* The sum of what reached v, in v's own shape; NULL when nothing did. */
Value *ad_cotangent(Autodiff *ad, Value *v);
/* Adds `term` to what reached v, reduced over the axes in which v was
 * spread. */
void ad_add(Autodiff *ad, Value *v, Value *term);
/* Adds dy w; with starts, of experts' rows. */
void ad_add_product(Autodiff *ad, Value *v, Value *dy, Value *w, Value *starts);
bool ad_wants(const Autodiff *ad, const Value *v);
/* Ends weight v's accumulator with a node made by op(a, b, begin). */
void ad_weight(Autodiff *ad, Value *v, Op op, Value *a, Value *b);
/* The same by op(in[0], in[1] …, begin). */
void ad_weight_from(Autodiff *ad, Value *v, Op op, int inputs,
                    Value *const *in);
/* The gradient of weight v in the backward function, for ops that end several.
 */
Gradient *ad_gradient(Autodiff *ad, const Value *v);
/* Nodes in the backward function; the result is named `d.NAME` after the
 * value. */
Value *ad_node(Autodiff *ad, Op op, const char *name, int inputs,
               Value *const *in, const Attrs *attrs, const Type *type);
Value *ad_1(Autodiff *ad, Op op, const Value *after, Value *a);
Value *ad_2(Autodiff *ad, Op op, const Value *after, Value *a, Value *b);
Value *ad_by(Autodiff *ad, Op op, const Value *after, Value *a, double by);
const char *ad_name(Autodiff *ad, const Value *after);

/* gradients.c: given that dy reached the node's result. */
void node_gradient(Autodiff *ad, Node *node);
#endif
