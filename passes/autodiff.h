/* autodiff.h: shared by autodiff.c (functions and steps) and gradients.c (the
 * gradient of every op). */
#ifndef AUTODIFF_H
#define AUTODIFF_H
#include "pass.h"

/* What has reached a value from those that use it. Products of matrices are
 * kept apart: they become one chain, in forward order, when the sum is asked
 * for. */
typedef struct Product { Value *dy, *w; int order; Origin origin; } Product;
typedef struct Cotangent {
    List(Value *) terms;
    List(Product) products;
    Value *sum;                     /* once asked for */
} Cotangent;

typedef struct Autodiff {
    Module *m;
    Func *from;                     /* the forward function */
    Func *to;                       /* gradients go there; from when joined */
    Cotangent *cotangents;          /* by number of the forward value */
    bool *wanted;                   /* forward values that need a gradient */
    Value **copies;                 /* forward value -> its value in `to` */
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
void ad_add_product(Autodiff *ad, Value *v, Value *dy, Value *w);
bool ad_wants(const Autodiff *ad, const Value *v);
/* Ends weight v's accumulator with a node made by op(a, b, begin). */
void ad_weight(Autodiff *ad, Value *v, Op op, Value *a, Value *b);
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
