// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Writer;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Debian's docker-registry on loopback, filled by skopeo. */
public final class RegistryServer implements AutoCloseable {
  public static final String USER = "alice";
  public static final String PASSWORD = "correct-horse-battery";

  /** Of the password above: bcrypt, as "htpasswd -nbB" makes it. */
  private static final String HTPASSWD =
      "alice:$2b$04$VU0Hxm96AnaxiHM35UyOMO/lTIesCbEaK9xayGg5VQzd5kLrmxUtu\n";

  private static final Pattern LISTENS = Pattern.compile("listening on [0-9.]+:([0-9]+)");

  private final Path directory;
  private final Process process;
  private final Thread drain;
  private final int port;
  private final boolean secure;

  private RegistryServer(Path directory, Process process, Thread drain, int port, boolean secure) {
    this.directory = directory;
    this.process = process;
    this.drain = drain;
    this.port = port;
    this.secure = secure;
  }

  /** For everybody, over HTTP. */
  public static RegistryServer open(Path directory) throws IOException {
    return open(directory, 0);
  }

  /**
   * Likewise.
   *
   * @param port 0 for any
   */
  public static RegistryServer open(Path directory, int port) throws IOException {
    return start(directory, port, "", false);
  }

  /** With a password, over TLS; {@link #certificate} is that of the authority behind its own. */
  public static RegistryServer secure(Path directory) throws IOException {
    new PrivateCa(directory);
    Files.writeString(directory.resolve("htpasswd"), HTPASSWD);
    return start(
        directory,
        0,
        """
          tls:
            certificate: cert.pem
            key: key.pem
        auth:
          htpasswd:
            realm: test
            path: htpasswd
        """,
        true);
  }

  private static RegistryServer start(Path directory, int port, String more, boolean secure)
      throws IOException {
    Files.createDirectories(directory);
    Files.writeString(
        directory.resolve("config.yml"),
        """
        version: 0.1
        log:
          level: info
        storage:
          filesystem:
            rootdirectory: data
        http:
          addr: 127.0.0.1:%d
        %s"""
            .formatted(port, more));
    ProcessBuilder builder = new ProcessBuilder("docker-registry", "serve", "config.yml");
    builder.directory(directory.toFile());
    builder.environment().put("OTEL_TRACES_EXPORTER", "none");
    Process process = builder.redirectErrorStream(true).start();
    process.getOutputStream().close();
    BufferedReader log =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    List<String> said = new ArrayList<>();
    Matcher listens = LISTENS.matcher("");
    for (String line; !listens.reset(line = String.valueOf(log.readLine())).find(); ) {
      said.add(line);
      if (line.equals("null")) {
        throw new AssertionError("docker-registry does not start: " + said);
      }
    }
    Thread drain =
        new Thread(
            () -> {
              try {
                log.transferTo(Writer.nullWriter());
              } catch (IOException e) {
                // it has ended
              }
            });
    drain.start();
    return new RegistryServer(
        directory, process, drain, Integer.parseInt(listens.group(1)), secure);
  }

  public int port() {
    return port;
  }

  /** As in references. */
  public String host() {
    return "localhost:" + port;
  }

  public Path certificate() {
    return directory.resolve("ca.pem");
  }

  /**
   * Copies an image into it.
   *
   * @param from as skopeo names it
   * @param name with a tag
   * @param options of skopeo copy
   */
  public void push(String from, String name, String... options) {
    List<String> command =
        new ArrayList<>(
            List.of("skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"));
    if (secure) {
      command.add("--dest-creds=" + USER + ":" + PASSWORD);
    }
    command.addAll(List.of(options));
    command.add(from);
    command.add("docker://" + host() + "/" + name);
    Tool.run(directory, command);
  }

  /** Puts a manifest there whose parts are there: skopeo does not copy every kind. */
  public void put(String repository, String tag, String mediaType, byte[] manifest)
      throws IOException {
    URL url = URI.create("http://" + host() + "/v2/" + repository + "/manifests/" + tag).toURL();
    HttpURLConnection connection = (HttpURLConnection) url.openConnection();
    connection.setRequestMethod("PUT");
    connection.setRequestProperty("Content-Type", mediaType);
    connection.setDoOutput(true);
    connection.getOutputStream().write(manifest);
    if (connection.getResponseCode() != 201) {
      throw new AssertionError("the registry answers " + connection.getResponseCode());
    }
  }

  @Override
  public void close() throws IOException {
    process.destroyForcibly();
    try {
      process.waitFor();
      drain.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
