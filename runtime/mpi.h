/* mpi.h: the few functions of MPI that messages between processes take, of the
 * libmpi that is there when a program starts: nothing is linked, and no mpi.h
 * is read. Open MPI and MPICH (and those built on it: Intel's, MVAPICH, Cray's)
 * differ in what a handle is: a pointer here, a number there. Both are kept in
 * a word of the size of a pointer.
 *
 * One thread calls (MPI_THREAD_FUNNELED). An error of MPI ends the job: its
 * own handler says so.
 * SPDX-License-Identifier: 0BSD */
#ifndef MPI_H
#define MPI_H
#include "error.h"
#include <stdint.h>

typedef struct Mpi Mpi;
typedef uintptr_t MpiHandle;

/* Runs of bytes, their beginnings `stride` apart. */
typedef struct MpiRuns {
    void *at;
    int64_t count, length, stride;
} MpiRuns;

/* What a launcher of MPI processes (mpirun, mpiexec, srun) says in the
 * environment: how many there are, which one this is of all, and among those of
 * this machine. 0: this process was started plainly. */
int mpi_launched(void);
int mpi_launched_rank(void);
int mpi_launched_here(void);

/* Loads the library of that launcher and begins. NULL with status 3 where it is
 * missing or is not the launcher's. */
Mpi *mpi_open(Error *error);
int mpi_rank(const Mpi *mpi);
int mpi_ranks(const Mpi *mpi);
const char *mpi_name(const Mpi *mpi);       /* "Open MPI v4.1.4" */

/* Begins to send or to receive, at most MPI_MOST bytes; request is then for
 * mpi_done, which says whether it has ended. */
enum { MPI_MOST = 1 << 30 };
void mpi_send(const Mpi *mpi, int rank, int tag, MpiRuns from,
              MpiHandle *request);
void mpi_receive(const Mpi *mpi, int rank, int tag, MpiRuns to,
                 MpiHandle *request);
bool mpi_done(const Mpi *mpi, MpiHandle *request);

/* Ends all processes of the job, with that status as far as the launcher keeps
 * it. */
_Noreturn void mpi_abort(const Mpi *mpi, int status);

/* Waits for all others to do the same, and ends MPI. */
void mpi_close(Mpi *mpi);
#endif
