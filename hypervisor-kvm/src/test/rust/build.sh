#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tests' programs for guests, each one static file without dependencies, where it is not built yet.
#
#   build.sh DIRECTORY
set -eu
mkdir -p "$1"
for source in "$(dirname "$(readlink -f "$0")")"/*.rs; do
  output=$1/$(basename "$source" .rs)
  [ "$output" -nt "$source" ] || rustc --edition 2024 --target x86_64-unknown-linux-gnu -C target-feature=+crt-static \
    -C opt-level=2 -C panic=abort -C strip=symbols -o "$output" "$source"
done
