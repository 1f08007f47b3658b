# Front door. `make demo` and `make test` do all set-up on a fresh Debian; CMake and Ninja build.
#
#   make          release build in build/          make test    build and run every test
#   make demo     the main job, on sample/         make asan    the tests under ASan and UBSan
#   make bench    measured speed                   make install DESTDIR=... PREFIX=/usr/local
#   make deps     install the packages (apt)       make clean
#   make deb      a Debian package                 make arm64   cross build, tried under qemu, packed
#
# make bench BENCH="--save --readme" writes what it measured; bench/run.sh tells how the peers get in.

BUILD ?= build
PREFIX ?= /usr/local
CMAKE_FLAGS ?=

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja: CMakeLists.txt | deps
	cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS)

deps:
	@sh tools/deps.sh

test: all
	@sh tests/run.sh $(BUILD)

demo: all
	@sh tools/demo.sh $(BUILD)

asan:
	@$(MAKE) --no-print-directory BUILD=build-asan CMAKE_FLAGS="-DCRAYON_SANITIZE=ON" all
	@LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 sh tests/run.sh build-asan

bench: all
	@sh bench/run.sh $(BUILD) $(BENCH)

install: all
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)

deb: all
	@sh tools/deb.sh $(BUILD)

arm64: deps
	@sh tools/arm64_build.sh build-arm64

clean:
	rm -rf build build-* demo

.PHONY: all deps test demo asan bench install deb arm64 clean
