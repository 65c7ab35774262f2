// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal.jfr;

import dev.nacelle.ExitStatus;
import dev.nacelle.SandboxExit;
import dev.nacelle.Signal;
import dev.nacelle.network.NetworkEvent;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * What Java Flight Recorder gets of the library's work; nothing where the Java runtime is without
 * the module jdk.jfr, as one that jlink made may be. No event holds arguments, variables, paths or
 * contents: they may be secrets.
 */
public final class Recordings {
  private static final boolean HAS_RECORDER = hasRecorder();

  private Recordings() {}

  private static boolean hasRecorder() {
    try {
      Class.forName("jdk.jfr.Event", false, Recordings.class.getClassLoader());
      return true;
    } catch (ClassNotFoundException e) {
      return false;
    }
  }

  /** Ends what was begun; once. */
  @FunctionalInterface
  public interface Ending {
    /**
     * It is over.
     *
     * @param size of what came of it, in bytes; negative when it failed
     */
    void end(long size);
  }

  /** A stage of a sandbox's start begins; what is returned ends it. */
  public static Runnable stage(String id, String sandbox, String stage) {
    return HAS_RECORDER ? stageEvent(id, sandbox, stage) : () -> {};
  }

  private static Runnable stageEvent(String id, String sandbox, String stage) {
    StageEvent event = new StageEvent();
    event.of(id, sandbox);
    event.stage = stage;
    event.begin();
    return event::commit;
  }

  /** A sandbox has ended. */
  public static void exit(String id, String sandbox, SandboxExit exit) {
    if (HAS_RECORDER) {
      exitEvent(id, sandbox, exit);
    }
  }

  private static void exitEvent(String id, String sandbox, SandboxExit exit) {
    ExitEvent event = new ExitEvent();
    event.of(id, sandbox);
    event.reason = exit.reason().name();
    event.detail = exit.detail();
    event.commit();
  }

  /**
   * A process is asked for.
   *
   * @param executable its command without its arguments
   * @return ends it, with how it ended, or null when that was not learnt
   */
  public static Consumer<@Nullable ExitStatus> process(
      String id, String sandbox, String executable) {
    return HAS_RECORDER ? processEvent(id, sandbox, executable) : status -> {};
  }

  private static Consumer<@Nullable ExitStatus> processEvent(
      String id, String sandbox, String executable) {
    ProcessEvent event = new ProcessEvent();
    event.of(id, sandbox);
    event.executable = executable;
    event.begin();
    return status -> {
      if (status != null) {
        event.ended = true;
        event.exitCode = status.exitCode();
        event.signal = status.signal().map(Signal::number).orElse(0);
        event.timedOut = status.timedOut();
        event.oomKilled = status.oomKilled();
      }
      event.commit();
    };
  }

  /**
   * An operation on files of a sandbox begins; what is returned ends it.
   *
   * @param operation what it is, without its path
   */
  public static Runnable file(String id, String sandbox, String operation) {
    return HAS_RECORDER ? fileEvent(id, sandbox, operation) : () -> {};
  }

  private static Runnable fileEvent(String id, String sandbox, String operation) {
    FileEvent event = new FileEvent();
    event.of(id, sandbox);
    event.operation = operation;
    event.begin();
    return event::commit;
  }

  /** Something happened in a sandbox's network; recorded where it is a flow's end. */
  public static void network(String sandbox, NetworkEvent event) {
    if (HAS_RECORDER) {
      flowEvent(sandbox, event);
    }
  }

  private static void flowEvent(String sandbox, NetworkEvent event) {
    FlowEvent recorded = new FlowEvent();
    NetworkEvent.Flow flow;
    // A switch over the types of a sealed interface comes with Java 21.
    if (event instanceof NetworkEvent.FlowEnded ended) {
      flow = ended.flow();
      recorded.outcome = ended.end().name();
      recorded.sent = ended.sent();
      recorded.received = ended.received();
      recorded.lasted = ended.duration().toNanos();
    } else if (event instanceof NetworkEvent.FlowDenied denied) {
      flow = denied.flow();
      recorded.outcome = denied.reason().name();
    } else if (event instanceof NetworkEvent.FlowFailed failed) {
      flow = failed.flow();
      recorded.outcome = NetworkEvent.End.FAILED.name();
    } else {
      return;
    }
    recorded.of(event.sandboxId(), sandbox);
    recorded.transport = flow.transport().name();
    recorded.direction = flow.direction().name();
    recorded.remote = flow.remote().getHostAddress();
    recorded.port = flow.port();
    recorded.guestPort = flow.guestPort();
    recorded.commit();
  }

  /** A layer of an image is fetched. */
  public static Ending layer(String image, String digest) {
    return HAS_RECORDER ? layerEvent(image, digest) : size -> {};
  }

  private static Ending layerEvent(String image, String digest) {
    LayerEvent event = new LayerEvent();
    event.image = image;
    event.digest = digest;
    event.begin();
    return event.ending(event::commit);
  }

  /**
   * A filesystem is made of an image.
   *
   * @param sharedLayers how many of its layers another image had already
   */
  public static Ending image(String chainId, int layers, int sharedLayers) {
    return HAS_RECORDER ? imageEvent(chainId, layers, sharedLayers) : size -> {};
  }

  private static Ending imageEvent(String chainId, int layers, int sharedLayers) {
    ImageEvent event = new ImageEvent();
    event.chainId = chainId;
    event.layers = layers;
    event.sharedLayers = sharedLayers;
    event.begin();
    return event.ending(event::commit);
  }

  /** A data disk is made of a directory. */
  public static Ending disk() {
    return HAS_RECORDER ? diskEvent() : size -> {};
  }

  private static Ending diskEvent() {
    DiskEvent event = new DiskEvent();
    event.begin();
    return event.ending(event::commit);
  }
}
