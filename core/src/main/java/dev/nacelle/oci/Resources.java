// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * "linux.resources" as files of a control group of version 2, converted as runc converts what is
 * named after version 1.
 */
final class Resources {
  private static final long DEFAULT_PERIOD_MICROS = 100_000;
  private static final String NOT_IN_V2 = "control groups of version 2 do not have it";

  private final Map<String, String> files = new LinkedHashMap<>();

  private Resources() {}

  static Map<String, String> read(Json json) {
    Resources resources = new Resources();
    resources.memory(json.get("memory"));
    resources.cpu(json.get("cpu"));
    resources.blockIo(json.get("blockIO"));
    Json pids = json.get("pids").get("limit");
    if (pids.isThere()) {
      resources.put("pids.max", limit(pids));
    }
    for (Json one : json.get("hugepageLimits").list()) {
      String size = one.require("pageSize").text();
      String limit = Long.toUnsignedString(one.require("limit").unsigned());
      resources.put("hugetlb." + size + ".max", limit);
      resources.put("hugetlb." + size + ".rsvd.max", limit);
    }
    json.get("rdma")
        .members()
        .forEach(
            (device, limits) -> {
              Json handles = limits.get("hcaHandles");
              Json objects = limits.get("hcaObjects");
              if (!handles.isThere() && !objects.isThere()) {
                throw limits.fault("it has neither hcaHandles nor hcaObjects");
              }
              resources.add(
                  "rdma.max",
                  device
                      + (handles.isThere() ? " hca_handle=" + handles.number(0, 0xffff_ffffL) : "")
                      + (objects.isThere()
                          ? " hca_object=" + objects.number(0, 0xffff_ffffL)
                          : ""));
            });
    json.get("network").unsupported(NOT_IN_V2);
    json.get("unified").members().forEach((file, value) -> resources.put(file, value.text()));
    return resources.files;
  }

  private void put(String file, String value) {
    files.put(file, value);
  }

  private void add(String file, String line) {
    files.merge(file, line, (before, more) -> before + "\n" + more);
  }

  private static String limit(Json json) {
    long limit = json.number(-1, Long.MAX_VALUE);
    return limit == -1 ? "max" : Long.toString(limit);
  }

  private void memory(Json json) {
    Json limit = json.get("limit");
    Json swap = json.get("swap");
    if (limit.isThere()) {
      put("memory.max", limit(limit));
    }
    if (json.get("reservation").isThere()) {
      put("memory.low", limit(json.get("reservation")));
    }
    if (swap.isThere()) {
      long both = swap.number(-1, Long.MAX_VALUE);
      if (both != -1 && (!limit.isThere() || limit.number() == -1 || limit.number() > both)) {
        throw swap.fault("memory and swap together are less than memory, or that has no limit");
      }
      put("memory.swap.max", both == -1 ? "max" : Long.toString(both - limit.number()));
    }
    for (String old : new String[] {"kernel", "kernelTCP"}) {
      Json value = json.get(old);
      if (value.isThere() && value.number() != -1) {
        throw value.fault(NOT_IN_V2);
      }
    }
    if (json.get("swappiness").isThere()) {
      throw json.get("swappiness").fault(NOT_IN_V2);
    }
    json.get("disableOOMKiller").unsupported(NOT_IN_V2);
    Json hierarchy = json.get("useHierarchy");
    if (hierarchy.isThere() && !hierarchy.bool()) {
      throw hierarchy.fault("control groups of version 2 always have it");
    }
  }

  private void cpu(Json json) {
    Json shares = json.get("shares");
    if (shares.isThere() && shares.unsigned() != 0) {
      long value = Math.max(2, Math.min(262_144, shares.number(0, Long.MAX_VALUE)));
      put("cpu.weight", Long.toString(1 + (value - 2) * 9999 / 262_142));
    }
    Json quota = json.get("quota");
    Json period = json.get("period");
    if (quota.isThere() || period.isThere()) {
      long micros = quota.isThere() ? quota.number(-1, Long.MAX_VALUE) : -1;
      long each = period.isThere() ? period.number(1, Long.MAX_VALUE) : DEFAULT_PERIOD_MICROS;
      put("cpu.max", (micros <= 0 ? "max" : Long.toString(micros)) + " " + each);
    }
    number(json, "burst", "cpu.max.burst");
    number(json, "idle", "cpu.idle");
    json.get("cpus").optionalText().ifPresent(cpus -> put("cpuset.cpus", cpus));
    json.get("mems").optionalText().ifPresent(mems -> put("cpuset.mems", mems));
    for (String old : new String[] {"realtimeRuntime", "realtimePeriod"}) {
      Json value = json.get(old);
      if (value.isThere() && value.number() != 0) {
        throw value.fault(NOT_IN_V2);
      }
    }
  }

  private void number(Json json, String field, String file) {
    Json value = json.get(field);
    if (value.isThere()) {
      put(file, Long.toString(value.number(0, Long.MAX_VALUE)));
    }
  }

  private void blockIo(Json json) {
    if (json.get("weight").isThere() && json.get("weight").number() != 0) {
      add("io.weight", "default " + weight(json.get("weight")));
    }
    leaf(json);
    for (Json one : json.get("weightDevice").list()) {
      leaf(one);
      add("io.weight", device(one) + " " + weight(one.require("weight")));
    }
    throttle(json, "throttleReadBpsDevice", "rbps");
    throttle(json, "throttleWriteBpsDevice", "wbps");
    throttle(json, "throttleReadIOPSDevice", "riops");
    throttle(json, "throttleWriteIOPSDevice", "wiops");
  }

  private static void leaf(Json json) {
    if (json.get("leafWeight").isThere() && json.get("leafWeight").number() != 0) {
      throw json.get("leafWeight").fault(NOT_IN_V2);
    }
  }

  /** 10 to 1000 become 1 to 10000. */
  private static long weight(Json json) {
    return 1 + (json.number(10, 1000) - 10) * 9999 / 990;
  }

  private void throttle(Json json, String field, String key) {
    for (Json one : json.get(field).list()) {
      String rate = Long.toUnsignedString(one.require("rate").unsigned());
      add("io.max", device(one) + " " + key + "=" + rate);
    }
  }

  private static String device(Json json) {
    return json.require("major").number(0, 4095) + ":" + json.require("minor").number(0, 1 << 20);
  }
}
