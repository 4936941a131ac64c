/* join.c: see join.h.
 * SPDX-License-Identifier: 0BSD */
#include "join.h"
#include "mail.h"
#include "stop.h"
#include "team.h"
#include "world_make.h"

int join_processes(void)
{
    return mpi_launched();
}

bool join_leads(void)
{
    return mpi_launched_rank() == 0;
}

bool join_speaks(void)
{
    return mpi_launched_here() == 0;
}

static bool check_processes(const Program *program, Error *error)
{
    int ranks = program_ranks(program), processes = mpi_launched();
    return processes == ranks
        || error_set(error, ERROR_USAGE, "this plan has %d rank%s, and %d "
                     "process%s started: mpirun -np %d", ranks,
                     ranks > 1 ? "s" : "", processes,
                     processes > 1 ? "es were" : " was", ranks);
}

/* The least share of the cores that any rank has. */
static bool share_cores(World *world, int64_t *threads, Error *error)
{
    double most = world->cores < TEAM_MOST_THREADS ? world->cores
        : TEAM_MOST_THREADS;
    double least = -(most > 1 ? most : 1);
    if (!world_largest(world, &least, error))
        return false;
    if (*threads <= 0)
        *threads = (int64_t)(1e-9 - least);
    world_set_threads(world, (int)*threads);
    return true;
}

World *join(const Program *program, const Options *options, int64_t *threads,
            Error *error)
{
    Mpi *mpi = NULL;
    World *world = NULL;
    if (check_processes(program, error) && (mpi = mpi_open(error)))
        world = world_make(program, false, error);
    if (!world)
        return NULL;
    if (!mail_open(world, mpi, error) || !share_cores(world, threads, error))
        mail_fail(world, error->status, error->text);
    if (!world_leads(world))
        world_be_silent();
    if (options->command == COMMAND_train)
        stop_on_signals_of_many();
    return world;
}
