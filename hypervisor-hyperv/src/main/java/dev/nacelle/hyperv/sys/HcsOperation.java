// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.lang.ref.Reference;
import java.time.Duration;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One call to the service, from its start to its result. Used by one thread at a time.
 *
 * <p>It cannot be taken back (HcsCancelOperation is not implemented), and what it works on must not
 * be closed before it has ended: computecore.dll then reads memory that is freed. So one that has
 * not ended in time is kept, and waited for later.
 */
final class HcsOperation implements AutoCloseable {
  private final Pointer handle;
  private final @Nullable Memory[] strings;
  private boolean closed;

  private HcsOperation(Pointer handle, @Nullable Memory[] strings) {
    this.handle = handle;
    this.strings = strings;
  }

  /**
   * For one call.
   *
   * @param strings what the call is given, which the service may read until it has ended
   */
  static HcsOperation create(@Nullable Memory... strings) {
    Pointer handle = ComputeCore.HcsCreateOperation(null, null);
    if (handle == null) {
      throw new HcsException("HcsCreateOperation", HResult.E_OUTOFMEMORY.code(), null);
    }
    return new HcsOperation(handle, strings);
  }

  /** Starts a call. */
  @FunctionalInterface
  interface Start {
    /** Calls a function with an operation, and returns what that returned. */
    int with(Pointer operation);
  }

  /**
   * Makes a call and waits for its result.
   *
   * @param call the function, with what it is about
   * @param string what it is given, if anything
   * @param unfinished is given the operation when the time was over, to be closed when it has ended
   * @return the document of the result; null where there is none
   * @throws HcsException when it failed, or the time was over: {@link
   *     HResult#HCS_E_OPERATION_TIMEOUT}
   */
  static @Nullable String run(
      String call,
      Duration limit,
      @Nullable Memory string,
      Consumer<HcsOperation> unfinished,
      Start start) {
    HcsOperation operation = create(string);
    boolean ended = true;
    try {
      operation.start(call, start);
      Result result = operation.await(limit);
      ended = result.hasEnded();
      return result.orThrow(call);
    } finally {
      if (ended) {
        operation.close();
      } else {
        unfinished.accept(operation);
      }
    }
  }

  /**
   * Starts the call.
   *
   * @throws HcsException when it could not be started
   */
  void start(String call, Start start) {
    int code = start.with(handle);
    if (HResult.isFailure(code)) {
      throw new HcsException(call, code, null);
    }
  }

  /** Waits for the result of the call that was started; an interrupt does not end that. */
  Result await(Duration limit) {
    Memory document = WideString.out();
    int milliseconds = (int) Math.max(0, Math.min(limit.toMillis(), Integer.MAX_VALUE));
    int code = ComputeCore.HcsWaitForOperationResult(handle, milliseconds, document);
    return new Result(code, WideString.take(document));
  }

  /**
   * A result.
   *
   * @param code an HRESULT
   * @param document what came with it
   */
  record Result(int code, @Nullable String document) {
    boolean hasEnded() {
      return HResult.of(code) != HResult.HCS_E_OPERATION_TIMEOUT
          && HResult.of(code) != HResult.HCS_E_OPERATION_PENDING;
    }

    @Nullable String orThrow(String call) {
      if (HResult.isFailure(code)) {
        throw new HcsException(call, code, document);
      }
      return document;
    }
  }

  /** Closes it if it ends in time, and returns whether it does. */
  boolean closeIfEnded(Duration limit) {
    boolean ended = await(limit).hasEnded();
    if (ended) {
      close();
    }
    return ended;
  }

  /** Idempotent. */
  @Override
  public void close() {
    try {
      if (!closed) {
        closed = true;
        ComputeCore.HcsCloseOperation(handle);
      }
    } finally {
      Reference.reachabilityFence(strings);
    }
  }
}
