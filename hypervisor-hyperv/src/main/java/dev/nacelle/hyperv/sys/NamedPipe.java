// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.io.IOException;
import org.jspecify.annotations.Nullable;

/**
 * The server of a named pipe with one client, such as a machine's serial port, which connects to
 * it. One thread reads, then closes it; any thread has that end. Child processes do not inherit it.
 */
public final class NamedPipe implements AutoCloseable {
  /** Of bytes on their way, and the most that is read at a time. */
  public static final int BUFFER = 16 * 1024;

  /** Where the names of pipes are. */
  public static final String PREFIX = "\\\\.\\pipe\\";

  private final Pointer pipe;

  /** Set by Windows when what was started has ended, then by {@link #end}. */
  private final Pointer done;

  private final Pointer ending;

  // What Windows reads and writes until what was started has ended
  private final Memory overlapped = new Memory(Kernel32.OVERLAPPED_SIZE);
  private final Memory buffer = new Memory(BUFFER);

  private final Memory events = new Memory(2L * Native.POINTER_SIZE);
  private final Memory count = new Memory(Integer.BYTES);
  private boolean connected;
  private boolean closed; // guarded by this

  private NamedPipe(Pointer pipe, Pointer done, Pointer ending) {
    this.pipe = pipe;
    this.done = done;
    this.ending = ending;
    events.setPointer(0, done);
    events.setPointer(Native.POINTER_SIZE, ending);
  }

  /**
   * Makes one, which somebody can connect to from now on: who may write to it is this user, the
   * administrators and the system, as Windows has it by default.
   *
   * @param name beginning with {@link #PREFIX}
   * @throws IOException when there is one of that name, or Windows has no more
   */
  public static NamedPipe create(String name) throws IOException {
    Pointer pipe =
        Kernel32.CreateNamedPipeW(
            WideString.of(name),
            Kernel32.PIPE_ACCESS_DUPLEX
                | Kernel32.FILE_FLAG_FIRST_PIPE_INSTANCE
                | Kernel32.FILE_FLAG_OVERLAPPED,
            Kernel32.PIPE_REJECT_REMOTE_CLIENTS,
            1,
            0,
            BUFFER,
            0,
            null);
    if (Pointer.nativeValue(pipe) == Kernel32.INVALID_HANDLE_VALUE) {
      throw failure("CreateNamedPipe " + name, Kernel32.lastError());
    }
    @Nullable Pointer done = null;
    try {
      done = event();
      return new NamedPipe(pipe, done, event());
    } catch (IOException | RuntimeException e) {
      closeHandle(pipe);
      if (done != null) {
        closeHandle(done);
      }
      throw e;
    }
  }

  private static Pointer event() throws IOException {
    Pointer event = Kernel32.CreateEventW(null, 1, 0, null);
    if (event == null) {
      throw failure("CreateEvent", Kernel32.lastError());
    }
    return event;
  }

  private static IOException failure(String call, int error) {
    return new IOException(call + ": error " + error);
  }

  private static void closeHandle(Pointer handle) {
    int ignored = Kernel32.CloseHandle(handle);
  }

  /**
   * Waits for the client, then for bytes.
   *
   * @return the bytes, at least one; null when the client has gone, or after {@link #end} where
   *     none are there
   */
  public byte @Nullable [] read() throws IOException {
    if (!connected) {
      if (run("ConnectNamedPipe", Kernel32.ConnectNamedPipe(pipe, start())) < 0) {
        return null;
      }
      connected = true;
    }
    int n = run("ReadFile", Kernel32.ReadFile(pipe, buffer, BUFFER, null, start()));
    return n < 0 ? null : buffer.getByteArray(0, n);
  }

  private Memory start() {
    overlapped.clear();
    overlapped.setPointer(Kernel32.OVERLAPPED_EVENT, done);
    return overlapped;
  }

  /** Waits for the end of what a call started; returns its number of bytes, -1 for the end. */
  private int run(String call, int started) throws IOException {
    if (started == 0) {
      int error = Kernel32.lastError();
      if (error == Kernel32.ERROR_PIPE_CONNECTED) {
        return 0;
      }
      if (error != Kernel32.ERROR_IO_PENDING) {
        return ended(call, error);
      }
      // Of two that are set, the first is told: what is there is read before the end.
      int which = Kernel32.WaitForMultipleObjects(2, events, 0, Kernel32.INFINITE);
      if (which != Kernel32.WAIT_OBJECT_0) {
        // Until that has ended, Windows may write to the memory; it waits for it below.
        int ignored = Kernel32.CancelIoEx(pipe, overlapped);
      }
    }
    if (Kernel32.GetOverlappedResult(pipe, overlapped, count, 1) == 0) {
      return ended(call, Kernel32.lastError());
    }
    return count.getInt(0);
  }

  private static int ended(String call, int error) throws IOException {
    if (error == Kernel32.ERROR_BROKEN_PIPE || error == Kernel32.ERROR_OPERATION_ABORTED) {
      return -1;
    }
    throw failure(call, error);
  }

  /** Nothing is waited for any more. Idempotent. */
  public void end() {
    synchronized (this) {
      if (!closed) {
        int ignored = Kernel32.SetEvent(ending);
      }
    }
  }

  /** Idempotent. On the thread that reads, or when there is none. */
  @Override
  public void close() {
    synchronized (this) {
      if (!closed) {
        closed = true;
        closeHandle(pipe);
        closeHandle(done);
        closeHandle(ending);
      }
    }
  }
}
