# `make help` lists what can be made.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export GOFLAGS ?= -buildvcs=false
LDFLAGS := -s -w -X github.com/sdn-tunnel/sdn-tunnel/internal/version.Version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Says at the end once more what failed, what was skipped, and why.
GOTESTSUM := gotest.tools/gotestsum@v1.13.0
CONTROLLER_GEN := sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0

BINARIES := sdn-tunnel sdn-tunnel-agent sdn-tunnel-controller
MODULES := $(notdir $(wildcard ansible-modules/sdn_*))

# Name of the lab that demo uses, and the SDN's mode in it.
LAB ?= demo
SDN_MODE ?= networkpolicy

# Name of the lab that pictures uses.
PICTURES ?= pictures

# Where bench writes its report.
BENCH ?= bench.json

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: $(addprefix bin/,$(BINARIES)) modules ## the three programs in bin/, the Ansible modules in playbooks/library/

.PHONY: FORCE
bin/%: FORCE
	@mkdir -p bin
	$(GOBUILD) -o $@ ./cmd/$*

.PHONY: modules
modules: $(addprefix playbooks/library/,$(MODULES)) ## the Ansible modules, built where the playbooks find them

playbooks/library/%: FORCE
	@mkdir -p playbooks/library
	$(GOBUILD) -o $@ ./ansible-modules/$*
	@cp ansible-modules/$*/$*.yml playbooks/library/

.PHONY: images
images: build ## OCI archives of agent (with kube-router), controller and test-app in dist/
	bin/sdn-tunnel lab images --kube-router --output dist

.PHONY: demo
demo: build ## two real clusters on this machine, the playbook run on them, and the matrix of all pairs (KEEP=1 leaves them up)
	@lab/demo "$(LAB)" "$(SDN_MODE)"

.PHONY: pictures
pictures: build ## docs/images out of a mesh with a Prometheus and a link that is cut; fails if a panel has no data or no alert fires (15 minutes)
	@lab/pictures "$(PICTURES)" docs/images

.PHONY: test
test: lint generated test-unit test-kernel test-lab ## everything: lint, generated code, packages, the kernel's part, whole clusters

.PHONY: test-unit
test-unit: modules ## packages, with real API servers and network namespaces where root
	bash .ci/tools
	SDN_TUNNEL_TOOLS="$$(bash .ci/tools --print)" go run $(GOTESTSUM) --format standard-quiet -- -p 2 -timeout 20m ./...

.PHONY: test-kernel
test-kernel: bin/sdn-tunnel ## what needs WireGuard and Open vSwitch in the kernel: in a virtual machine with Debian's, if this one's lacks them
	bin/sdn-tunnel lab kernel

.PHONY: test-lab
test-lab: build ## whole clusters: deploy, verify, drift, faults, teardown, in both modes of the SDN
	@for p in ./internal/lab ./internal/e2e; do \
	  SDN_TUNNEL_LAB_TESTS=1 go run $(GOTESTSUM) --format standard-verbose -- -count=1 -timeout 60m $$p | \
	    grep --line-buffered -vE '^=== (RUN|PAUSE|CONT|NAME)'; done

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	@for p in $$(grep -rl --include='*_test.go' 'func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho 'func Fuzz[A-Za-z0-9]*' $$p/*_test.go | cut -c6-); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$p; done; done

.PHONY: lint
lint: modules ## golangci-lint, ansible-lint, yamllint
	go run $(GOLANGCI) run ./...
	yamllint --strict .
	ansible-lint --offline -q

.PHONY: generate
generate: ## deepcopy functions and CRDs from the types in api/, docs/metrics.md from the metrics
	go run $(CONTROLLER_GEN) object paths=./api/...
	go run $(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=roles/tunnel/files/crds
	go run ./internal/metricdoc/gen > docs/metrics.md

.PHONY: generated
generated: ## fails when generated code is not what generate makes
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	go run $(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=$$tmp; \
	go run $(CONTROLLER_GEN) object paths=./api/... output:object:dir=$$tmp; \
	diff -u api/v1alpha1/zz_generated.deepcopy.go $$tmp/zz_generated.deepcopy.go && rm $$tmp/zz_generated.deepcopy.go && \
	diff -ru roles/tunnel/files/crds $$tmp && \
	go run ./internal/metricdoc/gen | diff -u docs/metrics.md - || { echo 'generated code is not current: make generate' >&2; exit 1; }

.PHONY: bench
bench: bin/sdn-tunnel ## throughput beside raw WireGuard, and what planning and applying cost: a table, and BENCH (bench.json); and kube-router beside nftables
	bin/sdn-tunnel lab bench --output "$(BENCH)"
	bin/sdn-tunnel lab kernel --long --run '^TestKernelCompare$$' ./internal/kuberouter

.PHONY: bench-deploy
bench-deploy: build ## first and second deploy by stage, with 1, 2 and 4 clusters of a lab: a table, and bench-deploy.json
	bin/sdn-tunnel lab bench --paths '' --run '' --deploy 1 --deploy 2 --deploy 4 --output bench-deploy.json

.PHONY: clean
clean: ## removes what was built; a lab that is up is left alone (sdn-tunnel lab down)
	rm -rf bin dist playbooks/library
