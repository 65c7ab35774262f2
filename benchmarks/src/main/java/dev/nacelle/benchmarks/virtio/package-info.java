// SPDX-License-Identifier: Apache-2.0
/**
 * What a virtio device's work costs on the host, without a virtual machine: the benchmark plays the
 * guest's driver in guest memory.
 */
@NullMarked
package dev.nacelle.benchmarks.virtio;

import org.jspecify.annotations.NullMarked;
