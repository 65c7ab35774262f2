// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.FileCall;
import dev.nacelle.agent.FileCall.Part;
import java.io.IOException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The content of one file, behind its entry. */
public final class FileInput extends GuestInput {
  private final Meter meter;

  public FileInput(
      FileCall call, Meter meter, Function<Exception, RuntimeException> failures, Runnable onEnd) {
    super(call, failures, onEnd);
    this.meter = meter;
  }

  @Override
  protected boolean take(@Nullable Part part) throws IOException {
    if (part == null) {
      meter.done();
      return false;
    }
    if (part instanceof Part.Data data) {
      meter.bytes(data.bytes().remaining());
      give(data.bytes());
    } else if (part instanceof Part.Hole hole) {
      meter.bytes(hole.bytes());
      giveZeros(hole.bytes());
    } else {
      throw new GuestIOException("the guest sent two files in place of one");
    }
    return true;
  }
}
