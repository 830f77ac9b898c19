#!/usr/bin/env bash
# Builds the program to hand out: stripped, with its SHA-256 and the commit in `--version`.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
  echo "commit the changes first: a release names its commit" >&2
  exit 1
fi
commit=$(git rev-parse --short=12 HEAD)
musl=x86_64-unknown-linux-musl
if [ -d "$(rustc --print target-libdir --target "$musl" 2>/dev/null)" ]; then
  target=$musl
else
  target=$(rustc -vV | sed -n 's/^host: //p')
fi
K8S_CLI_RELEASE=$commit cargo build --locked --release --target "$target"

mkdir -p target/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=k8s-cli-$version-$target
cp "target/$target/release/k8s-cli" "target/dist/$name"
cd target/dist
sha256sum "$name" | tee "$name.sha256"
"./$name" --version
if [ "$target" = "$musl" ]; then
  echo "static: needs no libc"
else
  # The symbols name the versions of glibc that they need.
  oldest=$(strings "$name" | grep -o 'GLIBC_2\.[0-9.]*' | sort -Vu | tail -n 1)
  echo "needs glibc ${oldest#GLIBC_} or newer"
fi
