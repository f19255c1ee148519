# SPDX-License-Identifier: BSD-3-Clause
# A thin front door: meson and ninja do the work, below build/. `make help` lists what there is.

ifeq ($(origin CC),default)
CC := gcc
endif
SANITIZE ?=
threads := $(filter thread,$(SANITIZE))
BUILDDIR ?= build/$(notdir $(lastword $(CC)))$(if $(threads),-threads,$(if $(SANITIZE),-sanitized))
MESON_ARGS ?=
# ThreadSanitizer is slow: what has several threads, and no guests.
TEST_ARGS ?= $(if $(threads),--suite unit --suite multiloop,--no-suite slow)
DEPS ?= yes

# A user's own python3 may shadow the one that has Debian's modules.
export PATH := /usr/bin:$(PATH)

deps = $(if $(filter yes,$(DEPS)),tools/deps.sh $(1) $(if $(findstring clang,$(CC)),ci),:)

.DEFAULT_GOAL := all
# BENCH_ARGS: `--quick`, `--only ring,query`; see tests/bench/bench.py.
BENCH_ARGS ?=
.PHONY: all build bench check check-ports check-slow demo clean distclean help

all:
	@$(call deps,build)
	@$(MAKE) --no-print-directory build
	@echo '$(if $(SANITIZE),$(BUILDDIR)/src/bin,build)/ringside is ready; next: make demo'

# TARGET: what ninja makes; everything by default.
build: $(BUILDDIR)/build.ninja
	@ninja -C $(BUILDDIR) --quiet $(TARGET) >build/ninja.log || { cat build/ninja.log; exit 1; }
	@grep -A9 'warning:' build/ninja.log || :
	$(if $(SANITIZE),,@ln -sfn $(abspath $(BUILDDIR))/src/bin/ringside build/ringside)

$(BUILDDIR)/build.ninja:
	@mkdir -p build
	@echo 'Building in $(BUILDDIR)'
	@CC='$(CC)' meson setup $(BUILDDIR) $(if $(SANITIZE),-Db_sanitize=$(SANITIZE)) \
		$(MESON_ARGS) >build/setup.log || { cat build/setup.log >&2; rm -f $@; exit 1; }

check:
	@$(call deps,build test)
	@$(MAKE) --no-print-directory build
	@$(if $(threads),:,tools/guest-images uml qemu debian || [ $$? = 77 ])
	@tools/check $(if $(AGAIN),--again) $(BUILDDIR) $(TEST_ARGS)

check-slow:
	@$(MAKE) --no-print-directory check TEST_ARGS='--suite slow'

check-ports:
	@$(call deps,build ports)
	@tools/cross-check || [ $$? = 77 ]

demo:
	@$(call deps,build demo)
	@$(MAKE) --no-print-directory build TARGET=src/bin/ringside
	@tools/guest-images uml || [ $$? = 77 ]
	@tools/demo $(BUILDDIR)/src/bin/ringside

bench:
	@$(call deps,build bench)
	@$(MAKE) --no-print-directory build
	@RINGSIDE_BUILD=$(abspath $(BUILDDIR)) \
		RINGSIDE_BIN=$(abspath $(BUILDDIR))/src/bin/ringside \
		python3 -B tests/bench/bench.py --json build/bench.json $(BENCH_ARGS)
	@echo 'All figures: build/bench.json; what they mean: docs/performance.md'

clean:
	@rm -rf $(BUILDDIR) build/ringside build/*.log

distclean:
	@rm -rf build

help:
	@echo 'make            build; the program is build/ringside'
	@echo 'make demo       boot a Linux guest on our devices and look into them'
	@echo 'make check      run the default tests; ends with a line of counts'
	@echo 'make check-slow  run what takes minutes: guests within guests, kills in a row'
	@echo 'make check-ports  build for i386 and s390x (big-endian), run the unit tests there'
	@echo 'make bench      measure against QEMU, alone on the machine, some 5 minutes'
	@echo 'make clean      remove the build folder; distclean also what was downloaded'
	@echo
	@echo 'Each installs what it misses from Debian (root or sudo; DEPS=no leaves that to you).'
	@echo 'CC=clang SANITIZE=address,undefined pick compiler and sanitizers (SANITIZE=thread'
	@echo 'checks what has several threads), BUILDDIR= the folder, TEST_ARGS="--suite unit" the'
	@echo 'tests, MESON_ARGS= what meson setup is told.'
