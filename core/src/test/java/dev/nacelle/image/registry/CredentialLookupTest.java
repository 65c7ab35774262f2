// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.RegistryCredentials;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.testing.Script;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.OperatingSystem;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CredentialLookupTest {
  private static final Deadline FAR = new Deadline(Duration.ofMinutes(5));

  @TempDir Path temp;
  private final Map<String, String> environment = new HashMap<>();

  @BeforeEach
  void haveNoFiles() {
    environment.put("XDG_RUNTIME_DIR", temp.resolve("run").toString());
    environment.put("XDG_CONFIG_HOME", temp.resolve("xdg").toString());
    environment.put("DOCKER_CONFIG", temp.resolve("docker").toString());
  }

  private String find(RegistryOptions options, String registry, String repository)
      throws IOException {
    List<Endpoint> endpoints = Endpoint.of(options, registry, repository);
    Optional<RegistryCredentials> found =
        new CredentialLookup(options, environment::get, FAR).find(endpoints.get(0));
    return found.map(c -> c.username() + ":" + c.secret() + ":" + c.kind()).orElse("none");
  }

  private String find(String registry, String repository) throws IOException {
    return find(RegistryOptions.defaults(), registry, repository);
  }

  private void write(String file, String json) throws IOException {
    Path path = temp.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, json);
  }

  private static String auths(String key, String user) {
    String auth =
        Base64.getEncoder().encodeToString((user + ":pw").getBytes(StandardCharsets.UTF_8));
    return "{\"auths\":{\"" + key + "\":{\"auth\":\"" + auth + "\"}}}";
  }

  @Test
  void filesAreLookedThroughInPodmansOrder() throws IOException {
    assertEquals("none", find("r.example", "a/b"));
    write("docker/config.json", auths("r.example", "docker"));
    assertEquals("docker:pw:PASSWORD", find("r.example", "a/b"));
    write("xdg/containers/auth.json", auths("r.example", "config"));
    assertEquals("config:pw:PASSWORD", find("r.example", "a/b"));
    write("run/containers/auth.json", auths("r.example", "runtime"));
    assertEquals("runtime:pw:PASSWORD", find("r.example", "a/b"));
    write("explicit.json", auths("r.example", "explicit"));
    environment.put("REGISTRY_AUTH_FILE", temp.resolve("explicit.json").toString());
    assertEquals("explicit:pw:PASSWORD", find("r.example", "a/b"));
    assertEquals("none", find("other.example", "a/b"));
  }

  @Test
  void whatTheApplicationSaysComesFirst() throws IOException {
    write("docker/config.json", auths("r.example", "docker"));
    RegistryOptions options =
        RegistryOptions.builder()
            .credentials("r.example", RegistryCredentials.password("own", "pw"))
            .build();

    assertEquals("own:pw:PASSWORD", find(options, "r.example", "a"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"\\n", "\\r\\n"})
  void base64MayHaveLines(String lineEnd) throws IOException {
    String user = "u".repeat(100);
    String auth =
        Base64.getMimeEncoder(76, lineEnd.translateEscapes().getBytes(StandardCharsets.UTF_8))
            .encodeToString((user + ":pw").getBytes(StandardCharsets.UTF_8));
    write(
        "docker/config.json",
        "{\"auths\":{\"r.example\":{\"auth\":\"%s\"}}}"
            .formatted(auth.replace("\r", "\\r").replace("\n", "\\n") + lineEnd));

    assertEquals(user + ":pw:PASSWORD", find("r.example", "a"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "r.example/a/b",
        "r.example/a",
        "r.example",
        "https://r.example",
        "https://r.example/v1/",
        "http://r.example/v2/"
      })
  void pathsAndOldAddressesFit(String key) throws IOException {
    write("docker/config.json", auths(key, "user"));

    assertEquals("user:pw:PASSWORD", find("r.example", "a/b"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"https://r.example/v1/", "r.example/v1/"})
  void oldAddressesComeBehindTheNameItself(String address) throws IOException {
    String exact = auths("r.example", "exact");
    String both =
        auths(address, "old").replace("}}}", "},")
            + exact.substring(exact.indexOf("\"r.example\""));
    write("docker/config.json", both);

    assertEquals("exact:pw:PASSWORD", find("r.example", "a"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"r.example/a/v1", "https://r.example/a/v2/", "r.example/v2"})
  void aRepositoryMayHaveTheNameOfAVersion(String key) throws IOException {
    write("docker/config.json", auths(key, "user"));

    assertEquals("none", find("r.example", "a"));
  }

  @Test
  void anEmptyFileIsNone() throws IOException {
    write("xdg/containers/auth.json", "");
    write("docker/config.json", auths("r.example", "docker"));

    assertEquals("docker:pw:PASSWORD", find("r.example", "a"));
  }

  @Test
  void emptyVariablesAreNone() throws IOException {
    environment.put("REGISTRY_AUTH_FILE", "");
    for (String name : List.copyOf(environment.keySet())) {
      environment.put(name, "");
    }
    Path home = Path.of(System.getProperty("user.home"));
    List<Path> expected = new ArrayList<>();
    if (!OperatingSystem.isWindows()) {
      String uid = Tool.run(temp, "id", "-u").strip();
      expected.add(Path.of("/run/containers", uid, "auth.json"));
    }
    expected.add(home.resolve(".config/containers/auth.json"));
    expected.add(home.resolve(".docker/config.json"));

    assertEquals(
        expected, new CredentialLookup(RegistryOptions.defaults(), environment::get, FAR).files());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"r.example/a/b/c", "r.example/b", "example", "r.example:443", "r.examples"})
  void othersDoNot(String key) throws IOException {
    write("docker/config.json", auths(key, "user"));

    assertEquals("none", find("r.example", "a/b"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"docker.io", "https://index.docker.io/v1/", "index.docker.io"})
  void dockersOwnRegistryHasSeveralNames(String key) throws IOException {
    write("docker/config.json", auths(key, "user"));

    assertEquals("user:pw:PASSWORD", find("docker.io", "library/python"));
  }

  /** The one that was made last. */
  private Path helper;

  private void helper(String name, String script) throws IOException {
    helper = Script.write(temp, "docker-credential-" + name, script);
  }

  @Test
  void helpersAreNamesOfProgramsAndNothingElse() {
    String message =
        String.valueOf(
            assertThrows(ImageException.class, () -> CredentialHelper.get("../x", "h", temp, FAR))
                .getMessage());

    assertTrue(message.contains("its name is not made of"), message);
  }

  @Test
  void aHelperThatIsNotThereIsSaid() throws IOException {
    write("docker/config.json", "{\"credHelpers\":{\"r.example\":\"nacelle-absent\"}}");

    String message =
        String.valueOf(
            assertThrows(ImageException.class, () -> find("r.example", "a")).getMessage());
    assertTrue(message.contains("docker-credential-nacelle-absent"), message);
    assertTrue(message.contains(temp.resolve("docker/config.json").toString()), message);
    assertTrue(message.contains("cannot be run"), message);
  }

  @Test
  void helpersAreAskedByTheirProtocol() throws IOException {
    helper(
        "test",
        """
        read host
        [ "$1" = get ] || exit 9
        case "$host" in
          good.example) echo '{"ServerURL":"x","Username":"user","Secret":"pw"}';;
          token.example) echo '{"Username":"<token>","Secret":"identity"}';;
          absent.example) echo 'credentials not found in native keychain'; exit 1;;
          empty.example) echo '{}';;
          *) echo "secret of $host"; exit 3;;
        esac
        """);

    assertEquals("user:pw:PASSWORD", helped("good.example"));
    assertEquals(":identity:IDENTITY_TOKEN", helped("token.example"));
    assertEquals("none", helped("absent.example"));
    assertFailure("empty.example", "no JSON object with a Secret");
    String message = assertFailure("other.example", "it ended with 3");
    assertTrue(!message.contains("secret of"), message);
  }

  @Test
  void aHelperThatHangsIsGivenUp() throws IOException {
    helper("test", "exec sleep 1000");
    Deadline near = new Deadline(Duration.ofMillis(200));

    String message =
        String.valueOf(
            assertThrows(ImageException.class, () -> helped("r.example", near)).getMessage());
    assertTrue(message.contains("did not end within the timeout of the pull"), message);
  }

  @Test
  void helpersComeBeforeTheStoreAndThatBeforeEntries() throws IOException {
    String script =
        "read host; echo \"{\\\"Username\\\":\\\"%s of $host\\\",\\\"Secret\\\":\\\"pw\\\"}\"";
    helper("one", script.formatted("one"));
    helper(
        "all",
        "read host; [ \"$host\" != none.example ] || { echo credentials not found; exit 1; }\n"
            + "echo \"$host\" | { "
            + script.formatted("all")
            + "; }");
    String entries = auths("none.example", "entry").replace("}}}", "}}");
    write(
        "docker/config.json",
        entries + ",\"credsStore\":\"all\",\"credHelpers\":{\"r.example\":\"one\"}}");

    assertEquals("one of r.example", otherProcess("r.example"));
    assertEquals("all of other.example", otherProcess("other.example"));
    assertEquals("all of https://index.docker.io/v1/", otherProcess("docker.io"));
    assertEquals("entry", otherProcess("none.example"));
  }

  private String otherProcess(String registry) {
    return OtherProcess.runWithPrograms(
            temp, LookupProcess.class, temp.resolve("docker/config.json"), registry)
        .strip();
  }

  static final class LookupProcess {
    private LookupProcess() {}

    public static void main(String[] args) throws IOException {
      RegistryOptions options = RegistryOptions.builder().credentialFiles(Path.of(args[0])).build();
      System.out.println(
          new CredentialLookup(options, name -> null, FAR)
              .find(Endpoint.of(options, args[1], "a/b").get(0))
              .orElseThrow()
              .username());
    }
  }

  private String assertFailure(String host, String part) {
    String message =
        String.valueOf(assertThrows(ImageException.class, () -> helped(host)).getMessage());
    assertTrue(message.contains(part), message);
    return message;
  }

  /** Runs the program where it lies, because the PATH of this process is what it is. */
  private String helped(String host) throws IOException {
    return helped(host, FAR);
  }

  private String helped(String host, Deadline deadline) throws IOException {
    return CredentialHelper.ask(helper.toString(), host, temp, deadline)
        .map(c -> c.username() + ":" + c.secret() + ":" + c.kind())
        .orElse("none");
  }
}
