// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.file.Path;

/** A file in memory without a name (memfd_create(2)), which goes with the last that has it. */
public final class MemoryFile implements AutoCloseable {
  private static final long SYS_FTRUNCATE = 77;
  private static final long SYS_MEMFD_CREATE = 319;
  private static final int MFD_CLOEXEC = 1;

  private final FileDescriptor descriptor;

  /**
   * @param size in bytes
   */
  public MemoryFile(long size) {
    NativeStruct name = new NativeStruct(8);
    long fd = Libc.syscall(SYS_MEMFD_CREATE, name.address(), MFD_CLOEXEC, 0, 0);
    if (fd < 0) {
      throw new ErrnoException("memfd_create", Libc.errno());
    }
    descriptor = new FileDescriptor((int) fd, "memory");
    if (Libc.syscall(SYS_FTRUNCATE, fd, size, 0, 0) < 0) {
      int errno = Libc.errno();
      descriptor.close();
      throw new ErrnoException("ftruncate", errno);
    }
  }

  public FileDescriptor descriptor() {
    return descriptor;
  }

  /** Where another process of this user can open it, as long as this one has it. */
  public Path path() {
    return Path.of("/proc/" + ProcessHandle.current().pid() + "/fd/" + descriptor.fd());
  }

  @Override
  public void close() {
    descriptor.close();
  }
}
