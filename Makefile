# SPDX-License-Identifier: Apache-2.0
GO ?= go
OUT := out
FUZZTIME ?= 10s
DIFFTEST ?= 10000000
PACKAGES := ./...
# Where goroutines share memory, the tests run a second time under the race detector.
RACE := ./uintr/... ./iommu/... ./virtio/... ./irqchip/... ./kvm/... \
	./vcpu ./vcpu/hw ./vcpu/soft ./vcpu/trace ./vmm/...

.DEFAULT_GOAL := help
.PHONY: help setup build images run linux test difftest lint fmt fuzz bench qemu bench-qemu bench-boot clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: # what a fresh machine with Go may lack: gcc, for the guests
	@command -v $(GO) >/dev/null || { echo "gvmm needs Go 1.26.3 or newer in PATH" >&2; exit 2; }
	@command -v gcc >/dev/null || { \
		echo "installing gcc"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy gcc libc6-dev; \
		else sudo apt-get update -q && sudo apt-get install -qy gcc libc6-dev; fi; }

build: setup ## bin/gvmm
	@$(GO) build -o bin/gvmm ./cmd/gvmm

images: setup ## the bare guests' images, in out/
	@$(MAKE) -s -C guests/bare OUT=$(CURDIR)/$(OUT)

$(OUT)/disk.img:
	@mkdir -p $(OUT)
	@head -c 16777216 /dev/urandom > $@.part && mv $@.part $@

run: build images $(OUT)/disk.img ## the main job: disk completions as user interrupts, beside a control run
	bin/gvmm run --uintr --disk $(OUT)/disk.img,readonly $(OUT)/guest.img
	sha256sum $(OUT)/disk.img
	@echo "a Linux guest, built from Debian's packages and run: make linux"

linux: build ## a Linux guest with a shell and a network, built from Debian's packages (on Debian)
	@mkdir -p $(OUT)
	bin/gvmm image build debian --output $(OUT)/linux.img
	bin/gvmm run --net user $(OUT)/linux.img

test: setup ## all tests, fast ones first, then again under the race detector
	$(GO) vet $(PACKAGES)
	$(GO) test -count=1 -timeout 300s $(PACKAGES)
	$(GO) test -race -short -count=1 -timeout 300s $(RACE)

difftest: setup ## DIFFTEST [10^7] random instructions, half of them 32-bit code, on the software CPU and on the host's
	GVMM_DIFFTEST=$$(($(DIFFTEST) / 2)) $(GO) test -count=1 -timeout 60m -v -run 'InstructionsDoAsTheHost' ./vcpu/soft

lint: setup ## gofmt, vet, staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted" >&2; exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)

fmt: ## format the Go code
	gofmt -w .

fuzz: setup ## every fuzz target for FUZZTIME [10s]
	@for p in $$($(GO) list $(PACKAGES)); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$p || exit 1; \
		done; \
	done

bench: build images ## benchmarks, and what a completion costs in each way
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)
	bin/gvmm bench exits --image $(OUT)/guest.img
	bin/gvmm bench uipi --image $(OUT)/uipi.img

qemu: # the peer of the next two
	@command -v qemu-system-x86_64 >/dev/null || { \
		echo "installing qemu-system-x86"; \
		if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy --no-install-recommends qemu-system-x86; \
		else sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends qemu-system-x86; fi; }

bench-qemu: build images qemu ## the software CPU beside QEMU's translator; installs qemu-system-x86 by apt if it is missing
	bin/gvmm bench vs-qemu --image $(OUT)/loops.img

bench-boot: build qemu ## a Debian kernel's boot beside QEMU's, tuned and as it comes
	@mkdir -p $(OUT)
	bin/gvmm image build debian --output $(OUT)/linux.img
	bin/gvmm bench boot $(OUT)/linux.img
	bin/gvmm bench boot --append 'console=ttyS0 cryptomgr.notests' $(OUT)/linux.img

clean: ## what was built
	rm -rf bin $(OUT)
