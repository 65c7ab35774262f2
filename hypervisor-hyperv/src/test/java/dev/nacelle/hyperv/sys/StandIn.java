// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Windows' libraries, for this process: what src/test/c is compiled to. */
public final class StandIn {
  private static final List<String> LIBRARIES = List.of("computecore", "kernel32", "ws2_32");
  private static final String WINDOWS_COMPILER = "x86_64-w64-mingw32-gcc";
  private static final int ALWAYS = Integer.MAX_VALUE;

  private static final Path SOURCES = Path.of("src/test/c").toAbsolutePath();
  private static final List<String> OPTIONS =
      List.of(
          "-std=gnu11", "-shared", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror");

  static {
    try {
      if (Platform.isWindows()) {
        compileForWindows();
      } else {
        compile(Files.createTempDirectory("stand-in"));
      }
      Native.register(StandIn.class, NativeLibrary.getInstance("computecore"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private StandIn() {}

  private static void compile(Path directory) throws IOException {
    directory.toFile().deleteOnExit();
    Path library = directory.resolve("libcomputecore.so");
    run("gcc", library, sources(SOURCES), "-fPIC", "-pthread");
    library.toFile().deleteOnExit();
    for (String name : LIBRARIES) {
      Path file = directory.resolve("lib" + name + ".so");
      if (!Files.exists(file)) {
        // One library by several names, which is loaded once.
        Files.createSymbolicLink(file, library.getFileName());
        file.toFile().deleteOnExit();
      }
      NativeLibrary.addSearchPath(name, directory.toString());
    }
  }

  /**
   * Where .ci/windows-tests has Wine take libraries though it has some of the same names. Those
   * hand on to one that does the work, since Windows would load it once for each of its names.
   */
  private static void compileForWindows() throws IOException {
    Path directory = Files.createDirectories(Path.of("C:\\stand-in"));
    for (String name : LIBRARIES) {
      Path library = directory.resolve(name + ".dll");
      NativeLibrary.addSearchPath(name, directory.toString());
      if (Files.exists(library)) {
        continue; // compiled, and in use, by the process that started this one
      }
      if (name.equals("computecore")) {
        List<String> sources = new ArrayList<>(sources(SOURCES.resolve("windows")));
        for (String shared : List.of("computecore.c", "machines.c")) {
          sources.add(SOURCES.resolve(shared).toString());
        }
        run(WINDOWS_COMPILER, library, sources, "-pthread", "-static", "-lws2_32");
      } else {
        String exports = SOURCES.resolve("windows").resolve(name + ".def").toString();
        run(WINDOWS_COMPILER, library, List.of(exports), "-nostdlib", "-Wl,--entry=0");
      }
    }
  }

  private static List<String> sources(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(Path::toString).filter(name -> name.endsWith(".c")).toList();
    }
  }

  private static void run(String compiler, Path library, List<String> sources, String... options) {
    List<String> command = new ArrayList<>(List.of(compiler));
    command.addAll(OPTIONS);
    command.addAll(sources);
    command.addAll(List.of(options));
    command.addAll(List.of("-o", library.toString()));
    Tool.run(SOURCES, command);
  }

  /** Starts from nothing; loads the stand-in at first. */
  public static void reset() {
    standin_reset();
  }

  /**
   * Machines really boot from now on, in a program that listens there; null for what the
   * environment says, NACELLE_HCS_MACHINES. Not while there are machines.
   */
  public static void bootMachinesAt(@Nullable String address) {
    machines_at(address == null ? null : ascii(address));
  }

  /** Everything was called rightly, and closed or freed. */
  public static void requireNothingLeft() {
    standin_quiesce();
    Pointer violation = standin_violation();
    assertNull(violation == null ? null : violation.getString(0));
    assertAll(
        () -> assertEquals(0, standin_open_strings(), "strings"),
        () -> assertEquals(0, standin_open_operations(), "operations"),
        () -> assertEquals(0, standin_open_handles(), "handles"),
        () -> assertEquals(0, standin_open_sockets(), "sockets"),
        () -> assertEquals(0, standin_open_events(), "events"),
        () -> assertEquals(0, standin_open_objects(), "pipes and their events"),
        () -> assertEquals(0, SystemEvents.receivers(), "receivers of events"));
  }

  /** The function fails at once. */
  public static void failCall(String function, HResult result) {
    standin_fault(ascii(function), result.code(), 0, null, 0, ALWAYS);
  }

  /** What the function starts fails. */
  public static void failResult(String function, HResult result, @Nullable String document) {
    standin_fault(ascii(function), 0, result.code(), WideString.ofNullable(document), 0, ALWAYS);
  }

  /** What the function starts does not end before {@link #standin_release}. */
  public static void hold(String function) {
    standin_fault(ascii(function), 0, 0, null, 1, ALWAYS);
  }

  /** Returns when the function has been called; fails after a minute. */
  public static void awaitCall(String function) {
    awaitCalls(function, 1);
  }

  /** Returns when the function has been called so often; fails after a minute. */
  public static void awaitCalls(String function, int count) {
    long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
    while (calls(function) < count) {
      if (System.nanoTime() - end >= 0) {
        throw new AssertionError(
            "waited for " + count + " calls of " + function + ": there were " + calls(function));
      }
      try {
        Thread.sleep(1);
      } catch (InterruptedException e) {
        throw new AssertionError("waited for " + count + " calls of " + function, e);
      }
    }
  }

  /** What the function starts, or the function, has a document for its result. */
  public static void answer(String function, String document) {
    standin_fault(ascii(function), 0, 0, WideString.of(document), 0, ALWAYS);
  }

  /** Something happens to a machine. */
  public static void event(String id, HcsEvent.Type type, @Nullable String document) {
    standin_event(WideString.of(id), type.code(), WideString.ofNullable(document));
  }

  /** A client of a pipe connects, unless it has, and writes. */
  public static void writeToPipe(String name, byte[] bytes) {
    assertEquals(1, standin_pipe_write(WideString.of(name), bytes, bytes.length), name);
  }

  /** And goes. */
  public static void endPipe(String name) {
    standin_pipe_end(WideString.of(name));
  }

  /** The string that the function was last given; null where that was none. */
  public static @Nullable String received(String function) {
    Pointer text = standin_received(ascii(function));
    return text == null ? null : WideString.read(text);
  }

  public static int calls(String function) {
    return standin_calls(ascii(function));
  }

  private static byte[] ascii(String text) {
    return (text + "\0").getBytes(US_ASCII);
  }

  private static native void machines_at(byte @Nullable [] address);

  private static native void standin_reset();

  public static native void standin_quiesce();

  public static native void standin_release();

  static native @Nullable Pointer standin_violation();

  static native int standin_open_strings();

  static native int standin_strings_ever();

  static native int standin_open_operations();

  static native int standin_open_handles();

  public static native int standin_open_sockets();

  static native int standin_open_events();

  static native int standin_open_objects();

  private static native int standin_pipe_write(Pointer name, byte[] bytes, int length);

  private static native void standin_pipe_end(Pointer name);

  private static native void standin_fault(
      byte[] name, int call, int result, @Nullable Pointer document, int held, int times);

  private static native void standin_event(Pointer id, int type, @Nullable Pointer document);

  private static native @Nullable Pointer standin_received(byte[] function);

  private static native int standin_calls(byte[] function);
}
