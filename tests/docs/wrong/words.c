/* words.c: a promise. */
/* TODO: later */
