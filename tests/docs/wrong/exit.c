/* exit.c: ends the process where it is no one's to end. */
static void stop(void)
{
    exit(1);
}
