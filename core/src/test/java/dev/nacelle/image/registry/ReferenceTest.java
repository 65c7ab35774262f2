// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.net.URI;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReferenceTest {
  private static final URI BASE = URI.create("https://r.example:5000/b/c/d;p?q");

  /** Section 5.4 of RFC 3986, for hierarchical addresses, without fragments. */
  @ParameterizedTest
  @CsvSource({
    "g, /b/c/g",
    "./g, /b/c/g",
    "g/, /b/c/g/",
    "/g, /g",
    "?y, /b/c/d;p?y",
    "g?y, /b/c/g?y",
    "#s, /b/c/d;p?q",
    "g?y#s, /b/c/g?y",
    ";x, /b/c/;x",
    "'', /b/c/d;p?q",
    "., /b/c/",
    "./, /b/c/",
    ".., /b/",
    "../g, /b/g",
    "../.., /",
    "../../g, /g",
    "../../../g, /g",
    "/./g, /g",
    "/../g, /g",
    "g., /b/c/g.",
    "..g, /b/c/..g",
    "./../g, /b/g",
    "g/./h, /b/c/g/h",
    "g/../h, /b/c/h",
    "g;x=1/../y, /b/c/y",
    "g?y/../x, /b/c/g?y/../x"
  })
  void referencesAreResolvedAsTheStandardHasIt(String reference, String expected) {
    assertEquals(
        "https://r.example:5000" + expected, Reference.resolve(BASE, reference).toString());
  }

  @ParameterizedTest
  @CsvSource({
    "HTTPS://other.example/x, https://other.example/x",
    "//other.example:1/x, https://other.example:1/x",
    "https://other.example, https://other.example/",
    "https://other.example?a=b, https://other.example/?a=b",
    "http://[::1]:5000/x, http://[::1]:5000/x",
    "'https://o.example/a b|c?d={e}|f^g', https://o.example/a%20b%7Cc?d=%7Be%7D%7Cf%5Eg",
    "'https://o.example/100%?x=%zz%4', https://o.example/100%25?x=%25zz%254",
    "'https://o.example/%41%7c?x=%2F', https://o.example/%41%7c?x=%2F",
    "'https://o.example/[x]\\y?z=[1]\"<>`', https://o.example/%5Bx%5D%5Cy?z=%5B1%5D%22%3C%3E%60",
    // A header's bytes, and text.
    "https://o.example/\u00c3\u00bc, https://o.example/%C3%BC",
    "https://o.example/\u20ac, https://o.example/%E2%82%AC"
  })
  void whatNoAddressMayHoldIsEncoded(String reference, String expected) {
    URI uri = Reference.resolve(BASE, reference);

    assertEquals(expected, uri.toString());
  }

  @ParameterizedTest
  @CsvSource({
    "https://my_registry.example/x, my_registry.example",
    "https://user:secret@a..b:x/, a..b:x",
    "https://a b/x, a?b",
    "https:///x, ''"
  })
  void aHostThatIsNoneIsNamed(String reference, String host) {
    IllegalArgumentException fault =
        assertThrows(IllegalArgumentException.class, () -> Reference.resolve(BASE, reference));

    assertEquals("the host '" + host + "', which is no name", fault.getMessage());
  }

  @Test
  void anAddressWithoutHostIsNone() {
    assertThrows(IllegalArgumentException.class, () -> Reference.resolve(BASE, "https:x"));
    assertThrows(IllegalArgumentException.class, () -> Reference.resolve(BASE, "data:,x"));
  }
}
