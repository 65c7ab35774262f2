// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.FileDescriptor;
import dev.nacelle.kvm.sys.Pollable;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A host whose disk does what the test says, and else what it should. */
final class ScriptedEngine implements DiskEngine {
  private static final int CAPACITY = 4;

  private final DiskEngine real;

  /** What the next steps end with instead of being done. */
  final Deque<Integer> results = new ArrayDeque<>();

  /** The steps that were started, as text. */
  final List<String> steps = new ArrayList<>();

  /** Whether each was alone. */
  final List<Boolean> alone = new ArrayList<>();

  /** Steps that were started while {@link #hangs}, and have not ended. */
  final Deque<Request> hanging = new ArrayDeque<>();

  /** Called before each step. */
  Consumer<Step> before = step -> {};

  boolean hangs;
  int cancelled;
  @Nullable Error error;
  boolean closed;

  ScriptedEngine(Path image) {
    real = TestEngine.SYNCHRONOUS.open(image, false);
  }

  @Override
  public FileDescriptor image() {
    return real.image();
  }

  @Override
  public int capacity() {
    return CAPACITY;
  }

  @Override
  public boolean start(Request request, boolean isAlone) {
    alone.add(isAlone);
    steps.add(request.step() + " " + request.position() + "+" + request.length());
    before.accept(request.step());
    if (error != null) {
      throw error;
    }
    if (hangs) {
      hanging.add(request);
      return false;
    }
    Integer result = results.poll();
    if (result == null) {
      return real.start(request, isAlone);
    }
    request.ended(result);
    return true;
  }

  @Override
  public void submit() {}

  @Override
  public @Nullable Request next() {
    if (hangs || hanging.isEmpty()) {
      return null;
    }
    Request request = hanging.remove();
    boolean ignored = real.start(request, false);
    return request;
  }

  @Override
  public @Nullable Pollable completions() {
    return null;
  }

  @Override
  public void cancel(Request request) {
    cancelled++;
  }

  @Override
  public void await(int millis) {}

  @Override
  public void close() {
    closed = true;
    real.close();
  }
}
