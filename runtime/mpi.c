/* mpi.c: see mpi.h. The constants are those of the two binary interfaces: Open
 * MPI's handles are the addresses of variables of the library; MPICH's are
 * numbers that its ABI initiative has fixed.
 * SPDX-License-Identifier: 0BSD */
#define _GNU_SOURCE
#include "mpi.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FUNNELED = 1, MOST_NAME = 8192 };    /* MPI_MAX_LIBRARY_VERSION_STRING */
enum { MPICH_WORLD = 0x44000000, MPICH_BYTE = 0x4c00010d };

typedef struct Functions {
    int (*Init_thread)(int *, char ***, int, int *);
    int (*Get_library_version)(char *, int *);
    int (*Comm_rank)(MpiHandle, int *);
    int (*Comm_size)(MpiHandle, int *);
    int (*Isend)(const void *, int, MpiHandle, int, int, MpiHandle,
                 MpiHandle *);
    int (*Irecv)(void *, int, MpiHandle, int, int, MpiHandle, MpiHandle *);
    int (*Test)(MpiHandle *, int *, void *);
    int (*Type_create_hvector)(int, int, intptr_t, MpiHandle, MpiHandle *);
    int (*Type_commit)(MpiHandle *);
    int (*Type_free)(MpiHandle *);
    int (*Abort)(MpiHandle, int);
    int (*Finalize)(void);
} Functions;

/* The functions by name, in the order of their pointers. */
static const char *const function_names[] = {
    "MPI_Init_thread", "MPI_Get_library_version", "MPI_Comm_rank",
    "MPI_Comm_size", "MPI_Isend", "MPI_Irecv", "MPI_Test",
    "MPI_Type_create_hvector", "MPI_Type_commit", "MPI_Type_free", "MPI_Abort",
    "MPI_Finalize",
};
enum { FUNCTIONS = sizeof function_names / sizeof function_names[0] };

struct Mpi {
    union {
        Functions call;
        void *at[FUNCTIONS];
    };
    MpiHandle world, byte;
    void *no_status;
    int rank, ranks;
    char name[MOST_NAME];
};
_Static_assert(sizeof(Functions) == FUNCTIONS * sizeof(void *),
               "a name for each function");

/* ---- who started this process ------------------------------------------- */

/* A whole number in the environment; -1: there is none. */
static int number_in(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? atoi(text) : -1;
}

/* A launcher by the variables that it sets: how many there are, which of all
 * this is, and which of this machine's. */
static const struct Launcher {
    const char *size, *rank, *here;
    bool open_mpi;
} launchers[] = {
    { "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
      "OMPI_COMM_WORLD_LOCAL_RANK", true },
    { "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", false },
    { "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", false },
};
enum { LAUNCHERS = sizeof launchers / sizeof launchers[0] };

/* Slurm sets its own and PMI's in any of its steps, an interactive shell too:
 * of one task they say nothing. */
static const struct Launcher *launcher(void)
{
    bool in_slurm = number_in("SLURM_PROCID") >= 0;
    for (int i = 0; i < LAUNCHERS; i++) {
        int least = in_slurm && !launchers[i].open_mpi ? 2 : 1;
        if (number_in(launchers[i].size) >= least)
            return &launchers[i];
    }
    return NULL;
}

int mpi_launched(void)
{
    const struct Launcher *by = launcher();
    return by ? number_in(by->size) : 0;
}

/* 0 where nothing says it. */
static int place_in(const char *variable)
{
    int place = variable ? number_in(variable) : 0;
    return place > 0 ? place : 0;
}

int mpi_launched_rank(void)
{
    const struct Launcher *by = launcher();
    return place_in(by ? by->rank : NULL);
}

int mpi_launched_here(void)
{
    const struct Launcher *by = launcher();
    return place_in(by ? by->here : NULL);
}

/* Whether the processes talk through Open MPI: Slurm starts either kind, and
 * Open MPI's by PMIx. */
static bool is_open_mpi(void)
{
    return launcher()->open_mpi
        || (number_in("PMI_SIZE") < 0 && number_in("PMIX_RANK") >= 0);
}

/* ---- the library -------------------------------------------------------- */

static void *load_library(bool open_mpi)
{
    static const char *const names[2][3] = {
        { "libmpich.so.12", "libmpi.so.12", "libmpi.so" },
        { "libmpi.so.40", "libmpi.so.20", "libmpi.so" },
    };
    for (int i = 0; i < 3; i++) {
        /* Open MPI's modules look for its names among all. */
        void *library = dlopen(names[open_mpi][i], RTLD_NOW | RTLD_GLOBAL);
        if (library)
            return library;
    }
    return NULL;
}

static bool find_functions(Mpi *mpi, void *library, Error *error)
{
    for (int i = 0; i < FUNCTIONS; i++) {
        mpi->at[i] = dlsym(library, function_names[i]);
        if (!mpi->at[i])
            return error_set(error, ERROR_ENVIRONMENT, "the MPI library lacks "
                             "%s", function_names[i]);
    }
    void *world = dlsym(library, "ompi_mpi_comm_world");
    void *byte = dlsym(library, "ompi_mpi_byte");
    if (world && byte) {
        mpi->world = (MpiHandle)world;
        mpi->byte = (MpiHandle)byte;
        mpi->no_status = NULL;
    } else {
        mpi->world = MPICH_WORLD;
        mpi->byte = MPICH_BYTE;
        mpi->no_status = (void *)1;
    }
    return true;
}

/* Keeps of what the library says of itself "Open MPI v4.1.4"; MPICH's is a
 * table, whose first line is "MPICH Version: 4.0.2". */
static void read_name(Mpi *mpi)
{
    static const char label[] = " Version:";
    int length = 0;
    mpi->call.Get_library_version(mpi->name, &length);
    mpi->name[MOST_NAME - 1] = '\0';
    mpi->name[strcspn(mpi->name, ",\n")] = '\0';
    char *at = strstr(mpi->name, label);
    if (!at)
        return;
    const char *version = at + strlen(label);
    version += strspn(version, "\t ");
    memmove(at + 1, version, strlen(version) + 1);
    *at = ' ';
}

static bool begin(Mpi *mpi, Error *error)
{
    int given, wanted = mpi_launched();
    mpi->call.Init_thread(NULL, NULL, FUNNELED, &given);
    if (given < FUNNELED)
        return error_set(error, ERROR_ENVIRONMENT, "%s cannot be used by a "
                         "program with threads", mpi->name);
    mpi->call.Comm_rank(mpi->world, &mpi->rank);
    mpi->call.Comm_size(mpi->world, &mpi->ranks);
    if (mpi->ranks != wanted)
        return error_set(error, ERROR_ENVIRONMENT, "the launcher has started "
                         "%d processes, and %s knows of %d: it is not the "
                         "launcher's library", wanted, mpi->name, mpi->ranks);
    return true;
}

Mpi *mpi_open(Error *error)
{
    bool open_mpi = is_open_mpi();
    void *library = load_library(open_mpi);
    Mpi *mpi = library ? calloc(1, sizeof *mpi) : NULL;
    if (!library)
        error_set(error, ERROR_ENVIRONMENT, "this process was started by %s, "
                  "and its library %s is not here: apt-get install %s",
                  open_mpi ? "Open MPI" : "MPICH or Slurm",
                  open_mpi ? "libmpi.so.40" : "libmpich.so.12",
                  open_mpi ? "libopenmpi3" : "libmpich12");
    else if (!mpi)
        error_set(error, ERROR_ENVIRONMENT, "out of memory");
    if (!mpi || !find_functions(mpi, library, error)) {
        free(mpi);
        return NULL;
    }
    read_name(mpi);
    if (begin(mpi, error))
        return mpi;
    mpi_close(mpi);
    return NULL;
}

int mpi_rank(const Mpi *mpi)
{
    return mpi->rank;
}

int mpi_ranks(const Mpi *mpi)
{
    return mpi->ranks;
}

const char *mpi_name(const Mpi *mpi)
{
    return mpi->name;
}

/* ---- messages ----------------------------------------------------------- */

/* A type for runs that lie apart, and how many of it make them up; of what lies
 * together the type is the byte. */
static MpiHandle type_of(const Mpi *mpi, MpiRuns runs, int *count)
{
    MpiHandle type = 0;
    if (runs.count == 1 || runs.stride == runs.length) {
        *count = (int)(runs.count * runs.length);
        return mpi->byte;
    }
    *count = 1;
    mpi->call.Type_create_hvector((int)runs.count, (int)runs.length,
                                  (intptr_t)runs.stride, mpi->byte, &type);
    mpi->call.Type_commit(&type);
    return type;
}

/* A message that is on its way keeps its type. */
static void forget_type(const Mpi *mpi, MpiHandle type)
{
    if (type != mpi->byte)
        mpi->call.Type_free(&type);
}

void mpi_send(const Mpi *mpi, int rank, int tag, MpiRuns from,
              MpiHandle *request)
{
    int count;
    MpiHandle type = type_of(mpi, from, &count);
    *request = 0;
    mpi->call.Isend(from.at, count, type, rank, tag, mpi->world, request);
    forget_type(mpi, type);
}

void mpi_receive(const Mpi *mpi, int rank, int tag, MpiRuns to,
                 MpiHandle *request)
{
    int count;
    MpiHandle type = type_of(mpi, to, &count);
    *request = 0;
    mpi->call.Irecv(to.at, count, type, rank, tag, mpi->world, request);
    forget_type(mpi, type);
}

bool mpi_done(const Mpi *mpi, MpiHandle *request)
{
    int done = 0;
    mpi->call.Test(request, &done, mpi->no_status);
    return done != 0;
}

/* ---- the end ------------------------------------------------------------ */

_Noreturn void mpi_abort(const Mpi *mpi, int status)
{
    mpi->call.Abort(mpi->world, status);
    _exit(status);
}

void mpi_close(Mpi *mpi)
{
    mpi->call.Finalize();
    free(mpi);
}
