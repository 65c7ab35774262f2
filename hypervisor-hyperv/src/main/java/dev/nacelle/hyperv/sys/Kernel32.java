// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import org.jspecify.annotations.Nullable;

/** Functions of kernel32.dll. A BOOL is 0 for a failure, which {@link #lastError} tells. */
final class Kernel32 {
  static final int HANDLE_FLAG_INHERIT = 1;

  // Of CreateNamedPipe
  static final int PIPE_ACCESS_DUPLEX = 3;
  static final int FILE_FLAG_FIRST_PIPE_INSTANCE = 0x8_0000;
  static final int FILE_FLAG_OVERLAPPED = 0x4000_0000;
  static final int PIPE_REJECT_REMOTE_CLIENTS = 8;

  static final long INVALID_HANDLE_VALUE = -1;

  static final int ERROR_BROKEN_PIPE = 109;
  static final int ERROR_PIPE_CONNECTED = 535;
  static final int ERROR_OPERATION_ABORTED = 995;
  static final int ERROR_IO_PENDING = 997;

  static final int INFINITE = -1;
  static final int WAIT_OBJECT_0 = 0;

  // struct OVERLAPPED
  static final int OVERLAPPED_EVENT = 24;
  static final int OVERLAPPED_SIZE = 32;

  static {
    Native.register(Kernel32.class, WindowsLibrary.load("kernel32"));
  }

  private Kernel32() {}

  /** GetLastError of the last call on this thread; meaningful only after one that failed. */
  static int lastError() {
    return Native.getLastError();
  }

  /** Null when it was freed. */
  static native @Nullable Pointer LocalFree(Pointer memory);

  static native int SetHandleInformation(Pointer handle, int mask, int flags);

  static native Pointer CreateNamedPipeW(
      Pointer name,
      int openMode,
      int pipeMode,
      int maxInstances,
      int outBufferSize,
      int inBufferSize,
      int defaultTimeOut,
      @Nullable Pointer securityAttributes);

  static native int ConnectNamedPipe(Pointer pipe, Pointer overlapped);

  static native int ReadFile(
      Pointer file,
      Pointer buffer,
      int bytesToRead,
      @Nullable Pointer bytesRead,
      Pointer overlapped);

  static native int GetOverlappedResult(
      Pointer file, Pointer overlapped, Pointer bytesTransferred, int wait);

  static native int CancelIoEx(Pointer file, @Nullable Pointer overlapped);

  /** Null when it failed. */
  static native @Nullable Pointer CreateEventW(
      @Nullable Pointer attributes, int manualReset, int initialState, @Nullable Pointer name);

  static native int SetEvent(Pointer event);

  static native int WaitForMultipleObjects(
      int count, Pointer handles, int waitAll, int milliseconds);

  static native int CloseHandle(Pointer handle);
}
