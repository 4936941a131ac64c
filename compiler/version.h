/* version.h: the compiler's version, here and nowhere else. */
#ifndef VERSION_H
#define VERSION_H
#define TRAINWRIGHT_VERSION "0.1.0"
#endif
