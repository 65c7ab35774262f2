// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;

/**
 * The state of a container: "State" of the OCI runtime specification (runtime.md). Immutable: it is
 * how the container was.
 */
public final class OciState {
  /** Where a container is in its life. */
  public enum Status {
    /** Its machine starts, its process is made, or hooks run that belong to that. */
    CREATING,
    /** Its process is there, and waits to be started. */
    CREATED,
    /** Its process runs. */
    RUNNING,
    /** Its process has ended, or its machine. */
    STOPPED
  }

  private final String id;
  private final Status status;
  private final OptionalLong pid;
  private final OciBundle bundle;

  OciState(String id, Status status, OptionalLong pid, OciBundle bundle) {
    this.id = id;
    this.status = status;
    this.pid = pid;
    this.bundle = bundle;
  }

  /** The version of the specification that its bundle is written for. */
  public String ociVersion() {
    return bundle.ociVersion();
  }

  /** Its id. */
  public String id() {
    return id;
  }

  /** Where it is in its life. */
  public Status status() {
    return status;
  }

  /** The PID of its process, as the container sees it, while there is one. */
  public OptionalLong pid() {
    return pid;
  }

  /** The absolute path of its bundle. */
  public Path bundle() {
    return bundle.directory();
  }

  /** What the bundle's author says of it. */
  public Map<String, String> annotations() {
    return bundle.annotations();
  }

  /** As the specification's schema/state-schema.json has it. */
  public String toJson() {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("ociVersion", ociVersion()).put("id", id);
    json.put("status", status.name().toLowerCase(Locale.ROOT));
    pid().ifPresent(number -> json.put("pid", number));
    json.put("bundle", bundle().toString());
    ObjectNode marks = json.putObject("annotations");
    annotations().forEach(marks::put);
    return json.toString();
  }

  @Override
  public String toString() {
    return toJson();
  }
}
