/* idx.h: images and labels in the IDX format of MNIST (docs/contract.md,
 * section 6): two zero bytes, 8 for unsigned bytes, the number of dims, the
 * dims as big-endian uint32, then the bytes, perhaps gzipped as a whole.
 *
 * Files of three dims [N, height, width] or four [N, channels, height, width]
 * are images, those of one dim [N] labels; each kind is one sequence in the
 * order of the files, and image i has label i. A single NAME-images-idx3… takes
 * its labels from NAME-labels-idx1… beside it. A pixel becomes byte / 255.
 * Plain files are read where they are; gzipped ones are held in memory.
 * SPDX-License-Identifier: 0BSD */
#ifndef IDX_H
#define IDX_H
#include "data.h"

typedef struct IdxFile {
    bool labels;
    int64_t first, count;       /* among the images, or among the labels */
    uint64_t header;
    unsigned char *contents;    /* of a gzipped file, behind the header */
} IdxFile;

/* What images must be. */
typedef struct IdxShape { int64_t channels, size, classes; } IdxShape;

typedef struct Idx {
    Data *data;
    IdxShape shape;
    IdxFile *files;             /* of data->files */
    int64_t count;              /* images */
    bool labelled;
    unsigned char *pixels;      /* of one image */
} Idx;

/* Opens what data_open found; every label is checked. `unlabelled`: there may
 * be none. Sets the files' counts, and the data's to the number of images. */
bool idx_open(Idx *idx, Data *data, const IdxShape *shape, bool unlabelled,
              Error *error);
void idx_close(Idx *idx);

/* Reads an image into [channels, size, size] and its label, -1 where there are
 * none; either may be NULL. */
bool idx_read(Idx *idx, int64_t index, float *image, int32_t *label,
              Error *error);
#endif
