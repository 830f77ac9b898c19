# What people and CI do with this tree. `make demo` shows the program, `make test` tests it.

CARGO ?= cargo
BIN = target/debug/k8s-cli

.PHONY: demo test check corpus fuzz e2e golden bench install

# The tour: a sandbox, a volume, a task on two nodes, and back to nothing.
demo:
	$(CARGO) build --locked
	tests/demo.sh $(BIN)

# Everything that needs no cluster.
test:
	$(CARGO) test --locked

# What a change has to pass.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(MAKE) corpus

# Real task files, and SkyPilot's verdict on each beside ours. They are not in this tree: K8S_CLI_CORPUS names their folder, else
# ../shared/skypilot is looked at. The other tests include them, without the table.
corpus:
	$(CARGO) test --locked --bin k8s-cli client::task_file::corpus -- --nocapture --test-threads 1

# Feeds the reader of task files with what nobody would write, for FUZZ_SECONDS. Needs nothing but the compiler; see tests/fuzz.
FUZZ_SECONDS ?= 600
fuzz:
	tests/fuzz/run.sh $(FUZZ_SECONDS)

# The end-to-end tests against the cluster that KUBECONFIG names; each makes and deletes a namespace of its own. Where
# K8S_CLI_E2E_RESTART names a program that restarts parts of that cluster, logs are followed while it does.
e2e:
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to the cluster to test on" >&2; exit 2; }
	K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e -- --test-threads 4
	test -z "$$K8S_CLI_E2E_RESTART" || \
		K8S_CLI_E2E=cluster $(CARGO) test --locked --test e2e cluster:: -- --ignored --test-threads 1

# Rewrites the golden files; look at the diff.
golden:
	UPDATE_GOLDEN=1 $(CARGO) test --locked

# Prints numbers of the release build, with one handler more that the others are compared with. With KUBECONFIG, also what
# logs and many tasks cost on that cluster. Needs curl, python3 and wrk; what compares with kubectl is left out where there is none.
bench:
	$(CARGO) build --locked --release --features bench
	tests/bench/start.sh target/release/k8s-cli
	env -u KUBECONFIG tests/bench/logs.py target/release/k8s-cli
	env -u KUBECONFIG tests/bench/tasks.py target/release/k8s-cli
	test -z "$$KUBECONFIG" || tests/bench/logs.py target/release/k8s-cli
	test -z "$$KUBECONFIG" || tests/bench/tasks.py target/release/k8s-cli

install:
	$(CARGO) install --locked --path .
