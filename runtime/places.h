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

/* A run of elements: so many bytes into the memory of their owner. `own`: that
 * is this rank, which reads or draws them at `at` (otherwise NULL). */
typedef struct Place {
    int owner;
    int64_t offset;
    float *at;
    int64_t count;
    bool own;
} Place;

/* Where a weight's elements lie from `element` on, as far as they lie together.
 */
Place place_of(const Rank *rank, const Weight *weight, PlaceKind kind,
               int64_t element);

/* For the leader, which writes files: the elements from `element` on, *count of
 * them. As with world_fetch, over messages all ranks call it alike, with the
 * same weight of weights_list_all, and get NULL where they do not lead. */
const float *place_fetch(const Rank *rank, const Weight *weight,
                         PlaceKind kind, int64_t element, int64_t *count);
#endif
