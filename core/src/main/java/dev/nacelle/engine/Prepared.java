// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.PreparedSandbox;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;

/** The values, as they were when they were looked at. */
record Prepared(
    ImageRef image,
    Digest imageDigest,
    DataSize imageSize,
    KernelRef kernel,
    String kernelRelease,
    DataSize kernelSize,
    DataSize initramfsSize)
    implements PreparedSandbox {}
