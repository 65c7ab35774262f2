// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Callback;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * The Host Compute System API (computecore.h), of Windows 10 1809 and later.
 *
 * <p>What is called "operation" tells when a call has ended: functions that take one only start
 * something.
 */
final class ComputeCore {
  /** HcsEventOptionNone: no event for each operation, for operations are waited for. */
  static final int HCS_EVENT_OPTION_NONE = 0;

  /** The only access that HcsOpenComputeSystem gives. */
  static final int GENERIC_ALL = 0x1000_0000;

  // struct HCS_EVENT (computedefs.h)
  static final int HCS_EVENT_TYPE = 0;
  static final int HCS_EVENT_DATA = 8;
  static final int HCS_EVENT_SIZE = 24;

  static {
    Native.register(ComputeCore.class, WindowsLibrary.load("computecore"));
  }

  private ComputeCore() {}

  /** HCS_EVENT_CALLBACK. */
  interface EventCallback extends Callback {
    /** Runs on a thread of the service's library. */
    void invoke(Pointer event, Pointer context);
  }

  /** Null where memory ran out. */
  static native @Nullable Pointer HcsCreateOperation(
      @Nullable Pointer context, @Nullable Pointer callback);

  static native void HcsCloseOperation(Pointer operation);

  static native int HcsWaitForOperationResult(
      Pointer operation, int timeoutMilliseconds, Pointer resultDocument);

  static native int HcsCreateComputeSystem(
      Pointer id,
      Pointer configuration,
      Pointer operation,
      @Nullable Pointer securityDescriptor,
      Pointer computeSystem);

  static native int HcsOpenComputeSystem(Pointer id, int requestedAccess, Pointer computeSystem);

  static native void HcsCloseComputeSystem(Pointer computeSystem);

  static native int HcsStartComputeSystem(
      Pointer computeSystem, Pointer operation, @Nullable Pointer options);

  static native int HcsTerminateComputeSystem(
      Pointer computeSystem, Pointer operation, @Nullable Pointer options);

  static native int HcsPauseComputeSystem(
      Pointer computeSystem, Pointer operation, @Nullable Pointer options);

  static native int HcsResumeComputeSystem(
      Pointer computeSystem, Pointer operation, @Nullable Pointer options);

  static native int HcsSaveComputeSystem(
      Pointer computeSystem, Pointer operation, @Nullable Pointer options);

  static native int HcsGetComputeSystemProperties(
      Pointer computeSystem, Pointer operation, @Nullable Pointer propertyQuery);

  static native int HcsModifyComputeSystem(
      Pointer computeSystem, Pointer operation, Pointer configuration, @Nullable Pointer identity);

  static native int HcsSetComputeSystemCallback(
      Pointer computeSystem, int options, Pointer context, EventCallback callback);

  static native int HcsEnumerateComputeSystems(@Nullable Pointer query, Pointer operation);

  static native int HcsGrantVmAccess(Pointer vmId, Pointer filePath);

  static native int HcsRevokeVmAccess(Pointer vmId, Pointer filePath);

  static native int HcsGetServiceProperties(@Nullable Pointer propertyQuery, Pointer result);
}
