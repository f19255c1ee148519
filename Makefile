# SPDX-License-Identifier: BSD-3-Clause
# A thin front door: meson and ninja do the work, below build/. `make help` lists what there is.

ifeq ($(origin CC),default)
CC := gcc
endif
SANITIZE ?=
BUILDDIR ?= build/$(notdir $(CC))$(if $(SANITIZE),-sanitized)
MESON_ARGS ?=
TEST_ARGS ?=
DEPS ?= yes

# A user's own python3 may shadow the one that has Debian's modules.
export PATH := /usr/bin:$(PATH)

deps = $(if $(filter yes,$(DEPS)),tools/deps.sh $(1) $(if $(findstring clang,$(CC)),ci),:)

.DEFAULT_GOAL := all
.PHONY: all build check demo clean distclean help

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
	@CC=$(CC) meson setup $(BUILDDIR) $(if $(SANITIZE),-Db_sanitize=$(SANITIZE)) $(MESON_ARGS) \
		>build/setup.log || { cat build/setup.log >&2; rm -f $@; exit 1; }

check:
	@$(call deps,build test)
	@$(MAKE) --no-print-directory build
	@tools/guest-images uml qemu || [ $$? = 77 ]
	@tools/check $(BUILDDIR) $(TEST_ARGS)

demo:
	@$(call deps,build demo)
	@$(MAKE) --no-print-directory build TARGET=src/bin/ringside
	@tools/guest-images uml || [ $$? = 77 ]
	@tools/demo $(BUILDDIR)/src/bin/ringside

clean:
	@rm -rf $(BUILDDIR) build/ringside build/*.log

distclean:
	@rm -rf build

help:
	@echo 'make            build; the program is build/ringside'
	@echo 'make demo       boot a Linux guest on our devices and look into them'
	@echo 'make check      run the default tests; ends with a line of counts'
	@echo 'make clean      remove the build folder; distclean also what was downloaded'
	@echo
	@echo 'Each installs what it misses from Debian (root or sudo; DEPS=no leaves that to you).'
	@echo 'CC=clang SANITIZE=address,undefined pick compiler and sanitizers, BUILDDIR= the'
	@echo 'folder, TEST_ARGS="--suite unit" the tests, MESON_ARGS= what meson setup is told.'
