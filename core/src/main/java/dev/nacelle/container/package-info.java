// SPDX-License-Identifier: Apache-2.0
/**
 * What a container has, in the terms of the OCI runtime specification: mounts, devices, paths that
 * are hidden.
 *
 * <pre>{@code
 * SandboxSpec.builder()
 *     .image("debian")
 *     .container(
 *         ContainerSpec.builder()
 *             .readOnlyRoot(true)
 *             .mount(Mount.tmpfs("/tmp", 64 << 20))
 *             .device(Device.character("/dev/fuse", 10, 229))
 *             .build());
 * }</pre>
 *
 * <p>What is said wrongly is an {@link java.lang.IllegalArgumentException}; what the sandbox's
 * kernel does not have fails its start, by name.
 */
@NullMarked
package dev.nacelle.container;

import org.jspecify.annotations.NullMarked;
