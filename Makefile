# make             ./trainwright and build/trainwright-llvm.so
# make SAN=1       the same with ASan and UBSan, in build/san
# make V=1         the same, showing commands
# make deps        what is needed, on Debian        make check    all tests
# make install DESTDIR=… PREFIX=…
#
# Three kinds of objects: the compiler's own (build/obj), the LLVM module's
# (build/llvm) and those that go into programs (build/program), which are
# embedded in the compiler together with the sources that `emit` writes.

CC = gcc
LLVM_CONFIG = llvm-config-19
CLANG = clang-19
LD_LLD = ld.lld-19
PREFIX = /usr/local
CFLAGS = -O2 -g

B = build
ifdef SAN
B = build/san
CFLAGS = -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -DARENA_EACH
endif
BIN = $(if $(SAN),$(B)/trainwright,trainwright)

# A recipe shows the file that it makes.
Q = @$(if $(V),set -x;,echo "  $@";)

WARN = -Wall -Wextra -Wpedantic -Werror -Wmissing-prototypes
STD = -std=gnu11
OWN = $(STD) $(WARN) $(CFLAGS) -ffp-contract=off -MMD -MP \
      -DLD_LLD_PATH='"$(shell command -v $(LD_LLD))"'

# ---- the compiler ------------------------------------------------------------
PLUGIN_SOURCES = compiler/llvm/emit_llvm.c compiler/llvm/code.c compiler/llvm/debug.c
SOURCES = $(filter-out compiler/llvm/%, \
            $(wildcard ir/*.c passes/*.c compiler/*.c compiler/*/*.c))
LIBRARY = $(wildcard runtime/*.c) runtime/kernels/sizes.c
OBJECTS = $(SOURCES:%.c=$(B)/obj/%.o)

all: $(BIN) $(B)/trainwright-llvm.so

$(BIN): $(OBJECTS) $(B)/embed.o $(B)/runtime.a
	$(Q)$(CC) $(CFLAGS) -o $@ $^ -lyaml -ldl -lm -lpthread

# Of the runtime the compiler uses what its interpreter and file formats need.
$(B)/runtime.a: $(LIBRARY:%.c=$(B)/obj/%.o)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(OWN) -fPIC -c -o $@ $<

# ---- the LLVM module ----------------------------------------------------------
PLUGIN_OBJECTS = $(PLUGIN_SOURCES:%.c=$(B)/llvm/%.o) $(B)/embed_lanes.o \
    $(patsubst %.c,$(B)/obj/%.o,ir/base.c compiler/embed.c $(wildcard ir/prog*.c))

$(B)/trainwright-llvm.so: $(PLUGIN_OBJECTS)
	$(Q)$(CC) $(CFLAGS) -shared -o $@ $^ $$($(LLVM_CONFIG) --ldflags --libs)

$(B)/llvm/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(OWN) -fPIC -isystem $$($(LLVM_CONFIG) --includedir) -c -o $@ $<

# Vectors of 16 floats are registers at this level, so the bitcode names no
# instruction set; it is inlined and optimised for the target of each program.
$(B)/lanes.bc: compiler/llvm/lanes_bitcode.c
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(STD) -O3 -march=x86-64-v4 -ffp-contract=off -fno-math-errno \
	    -Xclang -disable-llvm-passes -MMD -MP -emit-llvm -c -o $@ $<

# ---- what goes into programs -----------------------------------------------------
LEVELS = x86-64-v3 x86-64-v4
KERNELS = $(filter-out runtime/kernels/lanes.c,$(wildcard runtime/kernels/*.c))
RUNTIME = $(wildcard runtime/*.c)
PROGRAM = $(STD) -Wall -Wextra -Wpedantic -Werror -fPIC -ffp-contract=off -MMD -MP
KERNEL = $(PROGRAM) -O3 -fno-math-errno -mprefer-vector-width=512

# With what the compiler's own library has of 128-bit arithmetic and the like.
$(B)/program/runtime.o: $(RUNTIME:%.c=$(B)/program/%.o)
	$(Q)$(LD_LLD) -r -o $@ $^ "$$($(CC) -print-libgcc-file-name)"

$(B)/program/runtime/%.o: runtime/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(PROGRAM) -O2 -c -o $@ $<

$(B)/program/start.o: compiler/start.S
	@mkdir -p $(@D)
	$(Q)$(CC) -c -o $@ $<

define LEVEL
$(B)/program/kernels-$(1).o: $(KERNELS:%.c=$(B)/program/$(1)/%.o)
	$$(Q)$(LD_LLD) -r -o $$@ $$^

$(B)/program/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(Q)$(CC) $(KERNEL) -march=$(1) -c -o $$@ $$<
endef
$(foreach level,$(LEVELS),$(eval $(call LEVEL,$(level))))

PARTS = start.o runtime.o $(LEVELS:%=kernels-%.o)
SHIPPED = $(RUNTIME) $(KERNELS) $(wildcard runtime/*.h runtime/*.def runtime/kernels/*.h)

$(B)/embed.S: compiler/embed.sh $(PARTS:%=$(B)/program/%) $(SHIPPED)
	$(Q)compiler/embed.sh $(foreach part,$(PARTS),object/$(part)=$(B)/program/$(part)) \
	    $(foreach file,$(SHIPPED),$(file)=$(file)) >$@

$(B)/embed_lanes.S: compiler/embed.sh $(B)/lanes.bc
	$(Q)compiler/embed.sh lanes.bc=$(B)/lanes.bc >$@

$(B)/%.o: $(B)/%.S
	$(Q)$(CC) -c -o $@ $<

# ---- the rest ----------------------------------------------------------------------
deps:
	./deps.sh

check: all
	tests/run.sh

lint:
	tests/lint.sh

bench bless replay mutants: all
	tests/$@.sh

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/trainwright \
	    $(DESTDIR)$(PREFIX)/share/trainwright/models $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install $(BIN) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(B)/trainwright-llvm.so $(DESTDIR)$(PREFIX)/lib/trainwright
	install -m 644 models/*.yaml $(DESTDIR)$(PREFIX)/share/trainwright/models
	install -m 644 trainwright.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 completions/trainwright $(DESTDIR)$(PREFIX)/share/bash-completion/completions

clean:
	rm -rf build trainwright

# Every example, one after the other: each checks what its README claims.
examples: all
	@for run in examples/*/run.sh; do echo "== $$run"; $$run || exit 1; done

.PHONY: all deps check examples lint bench bless replay mutants install clean
.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
