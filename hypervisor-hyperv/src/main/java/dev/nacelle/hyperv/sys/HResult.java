// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import org.jspecify.annotations.Nullable;

/**
 * Results of calls to the service, by Windows' names (winerror.h), with what a user can do about
 * them. An HRESULT is a failure when it is negative.
 */
public enum HResult {
  HCS_E_TERMINATED_DURING_START(0x8037_0100, "the machine ended while it was being started"),
  HCS_E_HYPERV_NOT_INSTALLED(
      0x8037_0102, "the hypervisor is not there, or does not run", Remedies.FEATURE),
  HCS_E_INVALID_STATE(0x8037_0105, "the machine is not in the state for that"),
  HCS_E_UNEXPECTED_EXIT(0x8037_0106, "the machine ended unexpectedly"),
  HCS_E_TERMINATED(0x8037_0107, "the machine was ended by force"),
  HCS_E_CONNECT_FAILED(0x8037_0108, "the service cannot connect to the machine"),
  HCS_E_CONNECTION_TIMEOUT(0x8037_0109, "the machine did not answer the service in time"),
  HCS_E_CONNECTION_CLOSED(0x8037_010a, "the machine closed its connection to the service"),
  HCS_E_UNKNOWN_MESSAGE(0x8037_010b, "the machine did not understand the service"),
  HCS_E_UNSUPPORTED_PROTOCOL_VERSION(0x8037_010c, "machine and service are of different versions"),
  HCS_E_INVALID_JSON(
      0x8037_010d,
      "the service does not understand what was asked",
      "Use Windows 10 1903 (build 18362) or newer; on one of those this is a fault of Nacelle."),
  HCS_E_SYSTEM_NOT_FOUND(0x8037_010e, "there is no such machine"),
  HCS_E_SYSTEM_ALREADY_EXISTS(
      0x8037_010f,
      "there is a machine of that name already",
      "Give this one another name, or end that one (hcsdiag list shows it, hcsdiag kill ends it)."),
  HCS_E_SYSTEM_ALREADY_STOPPED(0x8037_0110, "the machine has ended already"),
  HCS_E_PROTOCOL_ERROR(0x8037_0111, "machine and service do not understand each other"),
  HCS_E_SERVICE_NOT_AVAILABLE(
      0x8037_0114, "the service for machines is not there", Remedies.FEATURE),
  HCS_E_OPERATION_NOT_STARTED(0x8037_0115, "nothing was started that could have a result"),
  HCS_E_OPERATION_ALREADY_STARTED(0x8037_0116, "it was started already"),
  HCS_E_OPERATION_PENDING(0x8037_0117, "it has no result yet"),
  HCS_E_OPERATION_TIMEOUT(
      0x8037_0118,
      "there was no result in time",
      "See whether the host has processor time, memory and a disk that answers; restarting the"
          + " service vmcompute ends all its machines."),
  HCS_E_OPERATION_SYSTEM_CALLBACK_ALREADY_SET(
      0x8037_0119, "somebody else receives the machine's events"),
  HCS_E_OPERATION_RESULT_ALLOCATION_FAILED(
      0x8037_011a, "there is no memory for the result", Remedies.MEMORY),
  HCS_E_ACCESS_DENIED(0x8037_011b, "this user may not make machines", Remedies.RIGHTS),
  HCS_E_GUEST_CRITICAL_ERROR(0x8037_011c, "the machine reported a critical error, and was ended"),
  HCS_E_SERVICE_DISCONNECT(
      0x8037_011e,
      "the service for machines ended",
      "See that the service vmcompute runs, and what the event log says of it."),
  E_ACCESSDENIED(
      0x8007_0005,
      "access is denied",
      "See that the system (SYSTEM) may read the files of the machine, and that this user may"
          + " change who may; "
          + Remedies.RIGHTS_INSIDE),
  ERROR_FILE_NOT_FOUND(0x8007_0002, "a file is not there", Remedies.FILES),
  ERROR_PATH_NOT_FOUND(0x8007_0003, "a directory is not there", Remedies.FILES),
  ERROR_INVALID_DATA(
      0x8007_000d,
      "something that was given is not valid",
      "See that the kernel and the disks are whole."),
  E_OUTOFMEMORY(0x8007_000e, "there is not enough memory", Remedies.MEMORY),
  ERROR_SHARING_VIOLATION(
      0x8007_0020,
      "somebody else has a file of the machine open",
      "Close what has it open, such as another machine, a backup or a virus scanner."),
  ERROR_NOT_SUPPORTED(
      0x8007_0032,
      "this Windows cannot do that",
      "Use Windows 10 1903 (build 18362) or newer, on x64."),
  ERROR_NOT_FOUND(0x8007_0490, "something is not there"),
  ERROR_LOGON_TYPE_NOT_GRANTED(
      0x8007_0569,
      "the machine's account may not log on",
      "A policy took that away: give \"NT VIRTUAL MACHINE\\Virtual Machines\" (S-1-5-83-0) the"
          + " right \"Log on as a service\" (secpol.msc, Local Policies, User Rights Assignment)."),
  ERROR_NO_SYSTEM_RESOURCES(0x8007_05aa, "the host has not enough for it", Remedies.MEMORY),
  ERROR_VIRTUAL_DISK_LIMITATION(
      0xc03a_001a,
      "a disk's file is sparse, compressed or encrypted",
      "Keep the cache and the scratch directory where NTFS neither compresses nor encrypts"
          + " (compact /u, cipher /d).");

  /** Where remedies are the same: an enum's own constants are not there yet for its members. */
  private static final class Remedies {
    static final String FEATURE =
        "Turn on the Windows feature \"Virtual Machine Platform\" (as an administrator: dism"
            + " /online /enable-feature /featurename:VirtualMachinePlatform) and restart; see that"
            + " virtualization is on in the firmware, and that the hypervisor is started (bcdedit"
            + " /set hypervisorlaunchtype auto).";
    static final String RIGHTS_INSIDE =
        "run as an administrator (elevated), or as a member of the group \"Hyper-V"
            + " Administrators\", where that is enough.";
    static final String RIGHTS = "R" + RIGHTS_INSIDE.substring(1);
    static final String FILES =
        "See whether somebody removes files of the cache or of the scratch directory, and that the"
            + " system (SYSTEM) sees the drive that they are on.";
    static final String MEMORY = "Give the machine less memory, or free some of the host's.";
  }

  /**
   * vmcompute.dll's codes, which still come through, differ from computecore's in this bit of the
   * severity.
   */
  private static final int OLD_FORM = 0x4000_0000;

  private static final int FACILITY_HCS = 0x8037_0000;

  private final int code;
  private final String meaning;
  private final @Nullable String remedy;

  HResult(int code, String meaning) {
    this(code, meaning, null);
  }

  HResult(int code, String meaning, @Nullable String remedy) {
    this.code = code;
    this.meaning = meaning;
    this.remedy = remedy;
  }

  /** The number. */
  public int code() {
    return code;
  }

  /** What it means, without a capital or a full stop. */
  public String meaning() {
    return meaning;
  }

  /** What a user can do about this one, in full sentences; null where there is nothing special. */
  public @Nullable String remedy() {
    return remedy;
  }

  static boolean isFailure(int code) {
    return code < 0;
  }

  /** That of a number, in either of its forms; null for one that has no place here. */
  static @Nullable HResult of(int code) {
    int current = (code & ~OLD_FORM & 0xffff_0000) == FACILITY_HCS ? code & ~OLD_FORM : code;
    for (HResult result : values()) {
      if (result.code == current) {
        return result;
      }
    }
    return null;
  }

  /** For messages: what it means, its name if it has one here, and its number. */
  static String describe(int code) {
    HResult result = of(code);
    return result == null
        ? String.format("HRESULT 0x%08X", code)
        : String.format("%s (%s, 0x%08X)", result.meaning, result, code);
  }
}
