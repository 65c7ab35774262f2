// SPDX-License-Identifier: Apache-2.0
/**
 * Files of a sandbox: what is told of them, how they are written, and how far a transfer is. The
 * operations are {@link dev.nacelle.GuestFiles}.
 *
 * <pre>{@code
 * GuestFiles files = sandbox.files().withTimeout(Duration.ofMinutes(1));
 * files.write("/srv/input.json", bytes, WriteOptions.builder().owner(1000, 1000).build());
 * for (FileInfo file : files.list("/srv")) {
 *   System.out.println(file.name() + " " + file.size());
 * }
 * }</pre>
 */
@NullMarked
package dev.nacelle.files;

import org.jspecify.annotations.NullMarked;
