// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestSocket;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Times 32 MiB through the stdout and the stdin of a process in a sandbox, through a vsock
 * connection of the same sandbox, and, where the host has socat, through a Unix socket pair and a
 * pipe of the host, by turns. Every time begins with the call that starts the process, or connects,
 * and ends when the last byte was read and the process has ended. Needs a KVM that boots kernels.
 */
public final class StreamThroughput {
  private static final long BYTES = 32 << 20;
  private static final int CHUNK = 64 << 10;
  private static final int PORT = 5000;
  private static final int WARM_UPS = 2;
  private static final String[] SOURCE = {
    "dd", "if=/dev/zero", "bs=64k", "count=" + BYTES / CHUNK, "status=none"
  };
  private static final String[] SINK = {"dd", "of=/dev/null", "bs=64k", "status=none"};

  /**
   * Serves one connection after the other: sends as many bytes as its argument says where the first
   * byte that comes is "s", else reads to the end and sends one.
   */
  private static final String LISTENER =
      """
      import socket, sys
      bytes, port = int(sys.argv[1]), int(sys.argv[2])
      chunk = bytearray(65536)
      with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen()
        print('listening', flush=True)
        while True:
          connection, _ = listener.accept()
          with connection:
            if connection.recv(1) == b's':
              for i in range(bytes // len(chunk)):
                connection.sendall(chunk)
            else:
              while connection.recv_into(chunk):
                pass
              connection.sendall(b'.')
            connection.shutdown(socket.SHUT_WR)
            while connection.recv_into(chunk):
              pass
      """;

  private final Map<String, Samples> samples = new LinkedHashMap<>();
  private final byte[] chunk = new byte[CHUNK];

  private interface Transfer {
    void run() throws IOException, InterruptedException;
  }

  private StreamThroughput() {}

  /**
   * @param arguments the cache's directory, the kernel's and the image's reference (with Python),
   *     and how many of each count
   */
  public static void main(String... arguments) throws Exception {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(arguments[2])
            .kernel(arguments[1])
            .memory(DataSize.mebibytes(256))
            .startTimeout(Duration.ofMinutes(10))
            .build();
    StreamThroughput streams = new StreamThroughput();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(Path.of(arguments[0])).build();
        Sandbox sandbox = nacelle.start(spec)) {
      streams.measure(sandbox, Integer.parseInt(arguments[3]));
    }
    streams.print();
  }

  private void measure(Sandbox sandbox, int rounds) throws IOException, InterruptedException {
    try (GuestProcess listener = sandbox.start("python3", "-c", LISTENER, "" + BYTES, "" + PORT)) {
      String said =
          new BufferedReader(new InputStreamReader(listener.stdout(), StandardCharsets.UTF_8))
              .readLine();
      if (said == null) {
        throw new IllegalStateException(new String(listener.stderr().readAllBytes()));
      }
      boolean socat = has("socat");
      for (int round = -WARM_UPS; round < rounds; round++) {
        time(round, "stdout, GuestProcess.stdout()", () -> stdout(sandbox));
        time(round, "stdout, exec with an OutputConsumer", () -> consumer(sandbox));
        time(round, "stdin, GuestProcess.stdin()", () -> stdin(sandbox));
        time(round, "vsock, guest to host", () -> fromGuest(sandbox));
        time(round, "vsock, host to guest", () -> toGuest(sandbox));
        if (socat) {
          time(round, "socat on the host, process to Java", StreamThroughput.this::fromSocat);
          time(round, "socat on the host, Java to process", StreamThroughput.this::toSocat);
        }
      }
    }
  }

  private static boolean has(String command) throws IOException, InterruptedException {
    return new ProcessBuilder("sh", "-c", "command -v " + command).start().waitFor() == 0;
  }

  private void time(int round, String name, Transfer transfer)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    transfer.run();
    long nanos = System.nanoTime() - start;
    System.out.printf(
        "%s %s: %s ms%n",
        round < 0 ? "warm-up" : "round " + (round + 1), name, Table.millis(nanos));
    if (round >= 0) {
      samples.computeIfAbsent(name, n -> new Samples()).add(nanos);
    }
  }

  private void stdout(Sandbox sandbox) throws IOException {
    try (GuestProcess process = sandbox.start(SOURCE)) {
      drain(process.stdout());
      require(process.waitFor());
    }
  }

  private static void consumer(Sandbox sandbox) {
    long[] count = new long[1];
    require(sandbox.exec(ProcessSpec.of(SOURCE), (stream, bytes) -> count[0] += bytes.length));
    require(count[0]);
  }

  private void stdin(Sandbox sandbox) throws IOException {
    ProcessSpec spec = ProcessSpec.of(SINK);
    try (GuestProcess process = sandbox.start(spec)) {
      fill(process.stdin());
      require(process.waitFor());
    }
  }

  private void fromGuest(Sandbox sandbox) throws IOException {
    try (GuestSocket socket = sandbox.connect(PORT)) {
      socket.output().write('s');
      drain(socket.input());
    }
  }

  private void toGuest(Sandbox sandbox) throws IOException {
    try (GuestSocket socket = sandbox.connect(PORT)) {
      socket.output().write('r');
      fill(socket.output());
      if (socket.input().read() != '.') {
        throw new IllegalStateException("the guest has not read all");
      }
    }
  }

  private void fromSocat() throws IOException, InterruptedException {
    Process socat = socat("EXEC:" + String.join(" ", SOURCE), "STDOUT");
    drain(socat.getInputStream());
    require(socat.waitFor());
  }

  private void toSocat() throws IOException, InterruptedException {
    Process socat = socat("STDIN", "EXEC:" + String.join(" ", SINK));
    fill(socat.getOutputStream());
    require(socat.waitFor());
  }

  /** Socat starts the process with one end of a socket pair, and has Java's pipe. */
  private static Process socat(String from, String to) throws IOException {
    return new ProcessBuilder("socat", "-u", "-b" + CHUNK, from, to)
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start();
  }

  private void drain(InputStream input) throws IOException {
    long all = 0;
    for (int count = input.read(chunk); count >= 0; count = input.read(chunk)) {
      all += count;
    }
    require(all);
  }

  private void fill(OutputStream output) throws IOException {
    try (output) {
      for (long sent = 0; sent < BYTES; sent += CHUNK) {
        output.write(chunk);
      }
    }
  }

  private static void require(long bytes) {
    if (bytes != BYTES) {
      throw new IllegalStateException(bytes + " bytes came, not " + BYTES);
    }
  }

  private static void require(int exitCode) {
    if (exitCode != 0) {
      throw new IllegalStateException("exit code " + exitCode);
    }
  }

  private static void require(ExitStatus status) {
    if (!status.succeeded()) {
      throw new IllegalStateException("" + status);
    }
  }

  private void print() {
    Table table = Table.ofMillis(BYTES / (1 << 20) + " MiB");
    try (Results results = new Results("streams", "what,round,nanos")) {
      samples.forEach(
          (name, values) -> {
            results.add('"' + name + '"', values);
            table.nanos(name, values);
          });
    }
    System.out.print(table);
  }
}
