// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * Brings events from the service's threads to whom they concern.
 *
 * <p>The service is given one function for all machines, which is never collected, and for each a
 * number, which means nothing to anybody once its machine is closed.
 */
final class SystemEvents {
  private static final Map<Long, Consumer<HcsEvent>> RECEIVERS = new ConcurrentHashMap<>();
  private static final AtomicLong NUMBERS = new AtomicLong();

  /** How many events the current thread is in the middle of. */
  private static final ThreadLocal<Integer> DELIVERING = ThreadLocal.withInitial(() -> 0);

  private static final ComputeCore.EventCallback CALLBACK = SystemEvents::deliver;

  static {
    // The service's threads are the JVM's for the time of an event only, of which there are few.
    // One that ended while it is the JVM's would leave it in DllMain, where it holds the loader's
    // lock and must wait for nobody: it would for a safepoint, and hang the process with it.
    Native.setCallbackThreadInitializer(
        CALLBACK, new CallbackThreadInitializer(true, true, "nacelle-hcs-event"));
  }

  private final long number = NUMBERS.incrementAndGet();

  /** For one compute system. */
  SystemEvents(Consumer<HcsEvent> receiver) {
    RECEIVERS.put(number, receiver);
  }

  /** Asks for the events of a compute system; returns the HRESULT. */
  int register(Pointer computeSystem) {
    return ComputeCore.HcsSetComputeSystemCallback(
        computeSystem, ComputeCore.HCS_EVENT_OPTION_NONE, new Pointer(number), CALLBACK);
  }

  /** Once the compute system's handle is closed, after which no event comes. */
  void forget() {
    RECEIVERS.remove(number);
  }

  /** How many compute systems there are whose events are awaited. */
  static int receivers() {
    return RECEIVERS.size();
  }

  /**
   * Whether the calling thread is the service's, in the middle of an event. It must not close the
   * handle of a compute system, which waits for all its events to have been delivered.
   */
  static boolean isDelivering() {
    return DELIVERING.get() > 0;
  }

  private static void deliver(Pointer event, Pointer context) {
    // Nothing may be thrown: it would end in the service's code.
    DELIVERING.set(DELIVERING.get() + 1);
    try {
      HcsEvent.Type type = HcsEvent.Type.of(event.getInt(ComputeCore.HCS_EVENT_TYPE));
      Consumer<HcsEvent> receiver = RECEIVERS.get(Pointer.nativeValue(context));
      if (type == null || receiver == null) {
        return;
      }
      // Copied: it belongs to the service, which frees it when this returns.
      Pointer data = event.getPointer(ComputeCore.HCS_EVENT_DATA);
      receiver.accept(new HcsEvent(type, data == null ? null : WideString.read(data)));
    } catch (Throwable e) {
      System.getLogger(SystemEvents.class.getName())
          .log(System.Logger.Level.WARNING, "an event of a machine was not dealt with", e);
    } finally {
      DELIVERING.set(DELIVERING.get() - 1);
    }
  }
}
