#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tests' program for guests, one static file without dependencies, where it is not built yet.
#
#   build.sh OUTPUT
set -eu
source=$(dirname "$(readlink -f "$0")")/peer.rs
if [ ! "$1" -nt "$source" ]; then
  mkdir -p "$(dirname "$1")"
  rustc --edition 2024 --target x86_64-unknown-linux-gnu -C target-feature=+crt-static -C opt-level=2 -C panic=abort \
    -C strip=symbols -o "$1" "$source"
fi
