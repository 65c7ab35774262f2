// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import com.sun.jna.Memory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/** Calls to the Host Compute Service that concern no machine that is open. Thread-safe. */
public final class HostComputeService {
  /** Lists that did not come in time, until they have. */
  private static final Queue<HcsOperation> UNFINISHED = new ConcurrentLinkedQueue<>();

  private HostComputeService() {}

  /**
   * What the service is and can do, as JSON.
   *
   * @throws HcsException when it does not say, as where it is not there
   */
  public static String properties(String query) {
    Memory out = WideString.out();
    int code = ComputeCore.HcsGetServiceProperties(WideString.of(query), out);
    String document = WideString.take(out);
    if (HResult.isFailure(code)) {
      throw new HcsException("HcsGetServiceProperties", code, document);
    }
    return document == null ? "{}" : document;
  }

  /**
   * The machines of this host that this user may see, as a list in JSON of their properties.
   *
   * @param query a SystemQuery document
   * @throws HcsException when the service does not say
   */
  public static String enumerate(String query, Duration limit) {
    UNFINISHED.removeIf(operation -> operation.closeIfEnded(Duration.ZERO));
    Memory string = WideString.of(query);
    @Nullable String document =
        HcsOperation.run(
            "HcsEnumerateComputeSystems",
            limit,
            string,
            UNFINISHED::add,
            operation -> ComputeCore.HcsEnumerateComputeSystems(string, operation));
    return document == null ? "[]" : document;
  }

  /**
   * Lets the account of a machine, which need not be there yet, have a file. An entry is added to
   * the file's access control list, which is limited: {@link #revokeAccess} takes it out again.
   *
   * @throws HcsException when this user may not change who may have it
   */
  public static void grantAccess(String id, Path file) {
    int code = ComputeCore.HcsGrantVmAccess(WideString.of(id), WideString.of(file.toString()));
    if (HResult.isFailure(code)) {
      throw new HcsException("HcsGrantVmAccess " + id + " " + file, code, null);
    }
  }

  /** Takes it back; likewise. */
  public static void revokeAccess(String id, Path file) {
    int code = ComputeCore.HcsRevokeVmAccess(WideString.of(id), WideString.of(file.toString()));
    if (HResult.isFailure(code)) {
      throw new HcsException("HcsRevokeVmAccess " + id + " " + file, code, null);
    }
  }
}
