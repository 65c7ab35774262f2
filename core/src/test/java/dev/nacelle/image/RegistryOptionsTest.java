// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.SpecContract;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class RegistryOptionsTest {
  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(RegistryOptions.class, RegistryOptions::builder)
        .with("mirrors", 1, new String[] {"a.example"}, new String[] {"b.example"})
        .with("mirrors", 1, List.of("c.example"), List.of("d.example"))
        .with("certificates", 1, List.of(Path.of("c.pem")), List.of(Path.of("d.pem")))
        .with("credentialFiles", 0, List.of(Path.of("c")), List.of(Path.of("d")))
        .with(
            "credentials",
            1,
            RegistryCredentials.password("bob", "a"),
            RegistryCredentials.password("bob", "b"))
        .with("sslContext", 1, SSLContext.getInstance("TLS"), SSLContext.getInstance("TLS"))
        .check();
    RegistryOptions options = RegistryOptions.builder().plainHttp("r.example").build();
    assertEquals(
        RegistryOptions.defaults(), options.toBuilder().removePlainHttp("r.example").build());
  }

  @Test
  void credentialsAreEqualWhenTheySayTheSameAndPrintNoSecret() {
    RegistryCredentials password = RegistryCredentials.password("bob", "s3cret");
    assertEquals(password, RegistryCredentials.password("bob", "s3cret"));
    assertEquals(password.hashCode(), RegistryCredentials.password("bob", "s3cret").hashCode());
    RegistryCredentials identity = RegistryCredentials.identityToken("s3cret");
    RegistryCredentials token = RegistryCredentials.registryToken("s3cret");
    for (RegistryCredentials other :
        List.of(
            RegistryCredentials.password("eve", "s3cret"),
            RegistryCredentials.password("bob", "other"),
            identity,
            token)) {
      assertNotEquals(password, other);
    }
    assertNotEquals(identity, token);
    RegistryOptions options =
        RegistryOptions.builder()
            .credentials("a.example", password)
            .credentials("b.example", identity)
            .credentials("c.example", token)
            .build();
    assertFalse(options.toString().contains("s3cret"), options::toString);
  }

  /** Each option that takes the name of a host. */
  private static Stream<BiFunction<RegistryOptions.Builder, String, RegistryOptions.Builder>>
      setters() {
    return Stream.of(
        RegistryOptions.Builder::plainHttp,
        (builder, host) -> builder.certificates(host, Path.of("ca.pem")),
        (builder, host) -> builder.sslContext(host, defaultContext()),
        (builder, host) -> builder.mirrors(host, "mirror.example"),
        (builder, host) ->
            builder.credentials(host, RegistryCredentials.password("bob", "a password")));
  }

  private static SSLContext defaultContext() {
    try {
      return SSLContext.getDefault();
    } catch (java.security.NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  @ParameterizedTest
  @MethodSource("setters")
  void whatIsNoRegistryIsRefusedWhereItIsGiven(
      BiFunction<RegistryOptions.Builder, String, RegistryOptions.Builder> setter) {
    for (String text : List.of("https://r.example", "r.example/", "", "r example", "a:99999")) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class, () -> setter.apply(RegistryOptions.builder(), text));
      assertTrue(e.getMessage().startsWith("'" + text + "' is no registry: "), e.getMessage());
    }
    for (String text : List.of("r.example", "localhost:5000", "token", "[::1]:5000", "10.0.0.1")) {
      setter.apply(RegistryOptions.builder(), text).build();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "https://r.example,it has no scheme,6",
    "r.example:0,a port is from 1 to 65535,11",
    "r.example:5000/Team,'/' cannot be there,15",
    "r.example?x,'?' cannot be there,10",
    "/team,the host is missing or none,1"
  })
  void itIsSaidWhatIsWrongAndWhere(String text, String fault, int position) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                RegistryOptions.builder()
                    .credentials(text, RegistryCredentials.password("bob", "a password")));
    assertTrue(e.getMessage().contains(fault + ", at character " + position), e.getMessage());
  }

  @Test
  void credentialsMayBeForAPath() {
    RegistryCredentials login = RegistryCredentials.password("bob", "a password");
    RegistryOptions options =
        RegistryOptions.builder().credentials("r.example:5000/team/a-b", login).build();
    assertEquals(login, options.credentials().get("r.example:5000/team/a-b"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "sha1:12", "sha256:12", "sha256", ":"})
  void aDigestThatIsNoneIsNamed(String text) {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Digest.parse(text));
    assertTrue(e.getMessage().startsWith("'" + text + "' is no digest: "), e.getMessage());
  }

  /** By calls of a program: whether null is ambiguous only a compiler knows. */
  @Test
  void whatIsOptionalIsTakenBack() {
    RegistryOptions full = RegistryOptions.builder().credentialFiles(Path.of("a")).build();
    assertNotEquals(RegistryOptions.defaults(), full);
    assertEquals(RegistryOptions.defaults(), full.toBuilder().removeCredentialFiles().build());
  }
}
