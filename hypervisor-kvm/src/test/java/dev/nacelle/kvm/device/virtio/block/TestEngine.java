// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.IoUring;
import java.nio.file.Path;
import java.util.Optional;

/** The ways there are to read and write an image. */
enum TestEngine {
  SYNCHRONOUS {
    @Override
    DiskEngine of(FileDescriptor image) {
      return new SynchronousEngine(image);
    }
  },

  URING {
    @Override
    DiskEngine of(FileDescriptor image) {
      Optional<IoUring> ring = IoUring.open(UringEngine.CAPACITY);
      assumeTrue(ring.isPresent(), "this host lets nobody have io_uring");
      return new UringEngine(image, ring.get());
    }
  };

  abstract DiskEngine of(FileDescriptor image);

  DiskEngine open(Path image, boolean readOnly) {
    return of(FileDescriptor.openFile(image, !readOnly));
  }
}
