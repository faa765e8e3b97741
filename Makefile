# SPDX-License-Identifier: Apache-2.0
GO ?= go
OUT := out
FUZZTIME ?= 10s
PACKAGES := ./...
# Where goroutines share memory, the tests run a second time under the race detector.
RACE := ./uintr/... ./iommu/... ./virtio/... ./irqchip/... ./kvm/... ./vcpu/... ./vmm/... ./bench/...

.DEFAULT_GOAL := help
.PHONY: help setup build images run test race lint fmt fuzz bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: # what a fresh machine with Go may lack: gcc, for the guests
	@command -v $(GO) >/dev/null || { echo "gvmm needs Go 1.26 or newer in PATH" >&2; exit 2; }
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

test: setup ## all tests, fast ones first, then again under the race detector
	$(GO) vet $(PACKAGES)
	$(GO) test -count=1 -timeout 300s $(PACKAGES)
	$(GO) test -race -short -count=1 -timeout 300s $(RACE)

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

clean: ## what was built
	rm -rf bin $(OUT)
