/* places.h: where the elements of parameters, moments and gradients lie, on
 * whichever rank. A rank alone, or one of replicas that share nothing out, has
 * all of them; a stage of a pipeline those of its blocks; and where replicas
 * split units (ZeRO) each has its shares, the moments' one behind the other.
 * SPDX-License-Identifier: 0BSD */
#ifndef PLACES_H
#define PLACES_H
#include "rank.h"
#include "weights.h"

typedef enum PlaceKind {
    PLACE_WEIGHT, PLACE_FIRST, PLACE_SECOND,
    PLACE_GRADIENT,             /* after the step grad */
} PlaceKind;

/* A run of elements. `own`: they lie in this rank's memory, and it is this rank
 * that reads or draws them. */
typedef struct Place {
    float *at;
    int64_t count;
    bool own;
} Place;

/* Where a weight's elements lie from `element` on, as far as they lie together;
 * on another rank only after it was waited for. */
Place place_of(const Rank *rank, const Weight *weight, PlaceKind kind,
               int64_t element);
#endif
