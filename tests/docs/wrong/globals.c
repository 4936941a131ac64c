/* globals.c: state that no context holds. */
static int count = 0;
