# The commands for people and CI. `make help` prints the text after `##`; the times are rough, for a machine with two cores.

CARGO ?= cargo
BIN = target/debug/k8s-cli

.PHONY: help demo test check corpus deny fuzz fuzz-api soak e2e golden record bench release install

help: ## list the targets (1 s)
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build, then show a tour in a sandbox: a volume, a task on two nodes (4 min the first time, then 2 s)
	$(CARGO) build --locked
	tests/demo.sh $(BIN)

test: ## run all tests that need no cluster (15 min the first time, then 11 min)
	$(CARGO) test --locked

check: ## run the checks that a change has to pass: format, lints (with shellcheck), tests, docs, corpus (17 min the first time, then 12 min)
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	shellcheck src/executor/objects/script/init.sh
	shellcheck -s bash src/executor/objects/script/shell.sh src/executor/objects/script/files.sh src/executor/objects/script/nodes.sh
	$(CARGO) test --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) check --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz
	$(MAKE) corpus

# The task files are not in this tree: K8S_CLI_CORPUS names their folder, and the default is ../shared/skypilot. `make test` makes
# the same comparison and does not print the table.
corpus: ## compare the verdicts on real task files with SkyPilot's, if the files are present (1 s once it is built)
	$(CARGO) test --locked --bin k8s-cli client::task_file::corpus -- --nocapture --test-threads 1

# It needs only the compiler; see tests/fuzz.
FUZZ_RUNS ?= 10000000
fuzz: ## feed the parsers with random input (some hours for 10 million inputs each; fewer with FUZZ_RUNS)
	tests/fuzz/run.sh $(FUZZ_RUNS)

# K8S_CLI_SOAK_SECONDS is the time, and K8S_CLI_SOAK_SEED repeats what was decided in another run.
soak: ## let 200 clients use a sandbox at random, with faults in between; then 200 runs of each fault of Kubernetes (45 min)
	$(CARGO) test --locked --test e2e soak:: -- --ignored --nocapture
	K8S_CLI_SOAK_RUNS=200 K8S_CLI_SOAK_SEED=$${K8S_CLI_SOAK_SEED:-$$(date +%s)} \
		$(CARGO) test --locked --test e2e cluster_faults:: -- --nocapture --test-threads 8

# It needs cargo-deny and cargo-machete (`cargo install --locked cargo-deny cargo-machete`), and no network.
deny: ## check the licences, the sources and the duplicates of the crates, and that each one is used (5 s)
	$(CARGO) deny --offline check bans licenses sources
	$(CARGO) machete

# Its tasks run on this machine: tests/fuzz_api/hooks.py makes them harmless. FUZZ_API_SEED repeats a run. It needs python3-venv, and PyPI the first time.
FUZZ_API_SECONDS ?= 180
fuzz-api: ## send random requests to the API of a sandbox, as /openapi.json describes them (3 min, or FUZZ_API_SECONDS)
	$(CARGO) build --locked
	tests/fuzz_api/run.sh $(BIN) $(FUZZ_API_SECONDS) $(FUZZ_API_SEED)

# Each test creates a namespace of its own and deletes it. The kubelet of a cluster reports five states a second, and compare_jobs runs
# dozens of pods at once, so it runs alone. If K8S_CLI_E2E_RESTART names a program that restarts components of the
# cluster, tests follow logs during restarts. If K8S_CLI_E2E_OLDER names a program of an older version, a server of it runs beside
# this one.
e2e: ## run the end-to-end tests on the cluster that KUBECONFIG names (25 min)
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to the cluster to test on" >&2; exit 2; }
	K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e -- --test-threads 2 --skip compare_jobs::
	K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e compare_jobs::
	test -z "$$K8S_CLI_E2E_OLDER" || K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e older:: -- --ignored
	test -z "$$K8S_CLI_E2E_RESTART" || \
		K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e cluster:: -- --ignored --test-threads 1

golden: ## rewrite the golden files under fixtures/, and the routes in the topic api; check the diff (as long as make test)
	UPDATE_GOLDEN=1 $(CARGO) test --locked

record: ## record fixtures/recorded again from the cluster that KUBECONFIG names; check the diff (1 min)
	tests/record.py fixtures/recorded

# Measures the release build, with an extra handler for comparison. With KUBECONFIG it also measures logs and many tasks on that
# cluster. It needs curl, python3 and wrk. Without kubectl, the comparisons with kubectl are skipped.
bench: ## print the numbers of `k8s-cli help performance` (15 min)
	$(CARGO) build --locked --release --features bench
	tests/bench/start.sh target/release/k8s-cli
	env -u KUBECONFIG tests/bench/files.py target/release/k8s-cli
	env -u KUBECONFIG tests/bench/logs.py target/release/k8s-cli
	env -u KUBECONFIG tests/bench/tasks.py target/release/k8s-cli
	test -z "$$KUBECONFIG" || tests/bench/logs.py target/release/k8s-cli
	test -z "$$KUBECONFIG" || tests/bench/tasks.py target/release/k8s-cli
	test -z "$$KUBECONFIG" || tests/bench/files.py target/release/k8s-cli

# A static binary if the target of musl is installed (`rustup target add`), else one that needs the glibc that is printed.
release: ## build the program to hand out, stripped, with its SHA-256, into target/dist (8 min)
	tests/release.sh

install: ## build the release and install it into ~/.cargo/bin (6 min)
	$(CARGO) install --locked --path .
