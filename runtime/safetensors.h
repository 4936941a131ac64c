/* safetensors.h: named tensors in files (the format of Hugging Face): an 8-byte
 * length, a JSON header of that length, then the tensors' bytes.
 *
 * Reading takes one file, or shards with their index. Everything in the headers
 * is checked against the files before any of it is used: types, shapes,
 * offsets, overlaps, gaps. Tensors are then read by pread into the caller's
 * memory, in pieces and converted as asked for. Names are compared exactly.
 *
 * Writing is in order: what there will be is said first, then the bytes follow.
 * It allocates nothing. Hosts are little-endian, as the format is.
 * SPDX-License-Identifier: 0BSD */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H
#include "hash.h"
#include "json.h"

enum { TENSOR_RANK = 8 };       /* dims at most */

typedef enum TensorType {
    TENSOR_BOOL, TENSOR_U8, TENSOR_I8, TENSOR_U16, TENSOR_I16, TENSOR_U32,
    TENSOR_I32, TENSOR_U64, TENSOR_I64, TENSOR_F16, TENSOR_BF16, TENSOR_F32,
    TENSOR_F64, TENSOR_TYPES
} TensorType;

/* As in the header, "F32"; bytes of an element. */
const char *tensor_type_name(TensorType type);
int tensor_type_bytes(TensorType type);

/* Prints "F32[2,3]" and returns `text`; 200 bytes are enough for any. */
const char *tensor_describe(char *text, size_t room, TensorType type, int rank,
                            const int64_t *dims);

/* ---- reading ------------------------------------------------------------ */

typedef struct TensorEntry {
    const char *name;
    TensorType type;
    int rank;
    int64_t dims[TENSOR_RANK];
    int64_t count;              /* elements */
    int32_t file;               /* index into Tensors.files */
    uint64_t offset, bytes;     /* where in that file */
    bool wanted;                /* asked for by tensors_want */
} TensorEntry;

typedef struct TensorFile {
    char *path;
    int descriptor;
    uint64_t size;
    Json header;
} TensorFile;

/* A file or a set of shards, open. Entries are sorted by name. */
typedef struct Tensors {
    char *path;                 /* as given, for messages */
    TensorFile *files;
    int32_t file_count;
    TensorEntry *entries;
    int32_t count;
} Tensors;

/* Opens PATH: a .safetensors file; an index (a name ending in .index.json); a
 * directory with model.safetensors or model.safetensors.index.json; a missing
 * PATH beside which PATH.index.json stands. Errors name file and tensor and
 * leave nothing to close. */
bool tensors_open(Tensors *tensors, const char *path, Error *error);
void tensors_close(Tensors *tensors);

/* Index of the entry with this name, or -1. */
int tensors_find(const Tensors *tensors, const char *name);

/* The same, marked as wanted; -1 with *error set if there is none or its shape
 * is not dims[0 … rank). Its type may be any. */
int tensors_want(Tensors *tensors, const char *name, int rank,
                 const int64_t *dims, Error *error);

/* A string of __metadata__ (of the first shard), or NULL. */
const char *tensors_metadata(const Tensors *tensors, const char *key);

/* Elements [first, first + count) of an entry as f32, f64 or i32. Floats are
 * read from F32, F64, F16 and BF16 (rounded to nearest where narrower), i32
 * from the integer types and BOOL; a value that i32 cannot hold is an error. */
bool tensors_read_f32(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, float *out, Error *error);
bool tensors_read_f64(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, double *out, Error *error);
bool tensors_read_i32(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, int32_t *out, Error *error);

/* The same elements as they are. */
bool tensors_read_raw(const Tensors *tensors, int entry, int64_t first,
                      int64_t count, void *out, Error *error);

/* A list of names for a message: "a, b, c and 4 more". Begin with { 0 }. */
typedef struct NameList { int count, shown; char text[512]; } NameList;
void names_add(NameList *list, const char *name);
const char *names_text(NameList *list);

/* The entries that nobody wanted. */
void tensors_unwanted(const Tensors *tensors, NameList *list);

/* ---- writing ------------------------------------------------------------ */

/* Hugging Face's limit for one file; larger sets are cut into shards. */
#define TENSORS_SHARD_BYTES 5000000000u

typedef struct TensorShape {
    const char *name;
    TensorType type;
    int rank;
    int64_t dims[TENSOR_RANK];
} TensorShape;

typedef struct TensorMetadata { const char *key, *value; } TensorMetadata;

/* What to write. The arrays must live until tensors_commit. */
typedef struct TensorOutput {
    const char *path;           /* DIR/NAME.safetensors */
    const TensorShape *tensors; /* in the order in which data will come; wider
                                   types first, so that all are aligned */
    int32_t count;
    const TensorMetadata *metadata;
    int32_t metadata_count;
    uint64_t shard_bytes;       /* 0: one file, however large */
    char (*digests)[SHA256_TEXT];   /* NULL, or room for each file's SHA-256 */
} TensorOutput;

typedef struct TensorWriter {
    const TensorOutput *output;
    int32_t shards, shard;      /* how many; which is being written, from 0 */
    int32_t next;               /* first tensor of the shards after it */
    uint64_t left;              /* bytes of this shard still to come */
    FileWriter file;
    Sha256 hash;                /* of the shard being written */
} TensorWriter;

/* How many files an output takes, not counting the index that shards have. */
int32_t tensors_shards(const TensorOutput *output);

/* The path of one of them: PATH itself, or DIR/NAME-00001-of-00003.safetensors;
 * shard -1 is the index, DIR/NAME.safetensors.index.json. False if too long. */
bool tensors_shard_path(const TensorOutput *output, int32_t shard,
                        char path[FILES_PATH]);

/* Begins. After a failure, here or below, no file of the output is left. */
bool tensors_create(TensorWriter *writer, const TensorOutput *output,
                    Error *error);
/* The next bytes of the data, in any pieces. */
bool tensors_append(TensorWriter *writer, const void *bytes, uint64_t length,
                    Error *error);
/* Ends: all data must have come. Files that existed are replaced only by whole
 * ones, the index last. */
bool tensors_commit(TensorWriter *writer, Error *error);
void tensors_abandon(TensorWriter *writer);
#endif
