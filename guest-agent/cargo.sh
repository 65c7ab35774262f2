#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs Cargo for Maven: says what to install where there is none, and keeps this machine's paths out of the binary, so
# that the same sources and compiler give the same file everywhere.
set -eu
cd "$(dirname "$0")"

command -v cargo >/dev/null || {
  echo "The guest agent is written in Rust, and there is no cargo on the PATH. Install Rust 1.85 or newer:" >&2
  echo "  Debian 12:  apt-get install cargo-web rustc-web" >&2
  echo "  elsewhere:  https://rustup.rs" >&2
  exit 1
}

command=$1
shift
cargo_home=${CARGO_HOME:-$HOME/.cargo}
profile=debug
case " $* " in *" --release "*) profile=release ;; esac

# The crates that the agent needs are compiled once on a machine, and not again in each clone: by all that decides them.
output=target/cargo
platform=x86_64-unknown-linux-gnu
crates=${XDG_CACHE_HOME:-$HOME/.cache}/nacelle/crates
key=$({ rustc -vV; echo "$cargo_home"; cat Cargo.toml Cargo.lock .cargo/config.toml cargo.sh; } | sha256sum | cut -c1-16)
kept=$crates/$profile-$key
fresh=false
[ -e "$output/$platform/$profile" ] || fresh=true
if $fresh && [ -d "$kept" ]; then
  mkdir -p "$output"
  cp -a "$kept/." "$output"
fi

# By its name alone: a path would go into the names in the binary.
PATH=$PWD:$PATH RUSTC_WORKSPACE_WRAPPER=remapped-rustc cargo "$command" "$@" \
  --config "target.$platform.rustflags=['--remap-path-prefix=$cargo_home=/cargo']"

keep() {
  mkdir -p "$crates" && work=$(mktemp -d "$crates/new.XXXXXX") && trap 'rm -rf "$work"' EXIT \
    && (cd "$output" && cp -a --parents "$profile" "$platform/$profile" "$work") \
    && find "$work" \( -name incremental -o -name 'nacelle-guest-agent-*' -o -name '*nacelle_agent-*' -o -name 'agent-*' \
      -o -name 'agent_on_socket-*' -o -name 'network_on_socket-*' -o -name 'contract_guest-*' -o -name 'isolation_probe*-*' \
      -o -type f -path "*/$profile/*" ! -path "*/$profile/*/*" \) -prune -exec rm -rf {} + \
    && rm -rf "$crates/$profile"-* && mv -T "$work" "$kept"
}
# Without this crate's own.
if $fresh && [ ! -e "$kept" ]; then
  (keep) || echo "$0: $crates could not be written: the next clone compiles all again" >&2
fi
