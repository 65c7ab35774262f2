// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

class PageTest {
  @TempDir Path directory;

  /** A file of results that holds what somebody would put into names to have a page do things. */
  private Path sample(String name, String from, String to) throws IOException {
    String text = Sample.text();
    assertTrue(text.contains(from), from);
    return Files.writeString(directory.resolve(name), text.replace(from, to));
  }

  private String page(Path... files) throws IOException {
    List<String> arguments =
        new ArrayList<>(List.of(directory.toString(), directory.resolve("page.html").toString()));
    for (Path file : files) {
      arguments.add(file.toString());
    }
    ByteArrayOutputStream said = new ByteArrayOutputStream();
    Report.run(new PrintStream(said, true, StandardCharsets.UTF_8), arguments);
    assertTrue(said.toString(StandardCharsets.UTF_8).contains("page.html"));
    return Files.readString(directory.resolve("page.html"));
  }

  private static List<String> pictures(String page) {
    List<String> pictures = new ArrayList<>();
    Matcher svg = Pattern.compile("<svg .*?</svg>", Pattern.DOTALL).matcher(page);
    while (svg.find()) {
      pictures.add(svg.group());
    }
    return pictures;
  }

  /** What XML does not take fails here. */
  private static Element parse(String svg) throws Exception {
    return DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)))
        .getDocumentElement();
  }

  @Test
  void whatResultsSayIsTextAndNothingElse() throws Exception {
    String page = page(sample("run.json", "sample", "sample"));
    assertTrue(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot; onload=x|[a](b)"));
    assertTrue(page.contains("&lt;/style&gt;&lt;img src=x"));
    assertTrue(page.contains("&lt;b&gt;a user&#39;s own\ufffd\ufffd"));
    for (String element : List.of("<script", "<img", "<b>a", "<i>", "<u>", "<here>", "\0")) {
      assertFalse(page.contains(element), element);
    }
    assertEquals(page.indexOf("</style>"), page.lastIndexOf("</style>"));
    assertEquals(5, pictures(page).size());
    for (String picture : pictures(page)) {
      NodeList all = parse(picture).getElementsByTagName("*");
      for (int i = 0; i < all.getLength(); i++) {
        assertTrue(
            List.of("g", "path", "rect", "circle", "text", "tspan", "title")
                .contains(all.item(i).getNodeName()),
            all.item(i).getNodeName());
      }
    }
  }

  @Test
  void nothingComesFromElsewhere() throws IOException {
    String page = page(sample("run.json", "sample", "sample"));
    String own = page.replace("http://www.w3.org/2000/svg", "");
    for (String word :
        List.of("http:", "https:", "@import", "url(", "<link", "<script", " src=\"")) {
      assertFalse(own.contains(word), word);
    }
  }

  @Test
  void mediansSpreadAndCostAreTold() throws IOException {
    String page = page(sample("run.json", "sample", "sample"));
    assertTrue(
        page.contains(
            "<td>1.1 ms</td><td>1 ms – 1.2 ms</td><td>900 us</td><td>1.3 ms</td>"
                + "<td class=\"soft\">–</td><td>5</td><td>2</td><td>×1</td>"),
        page);
    // 44 ms against 1.1 ms; and 800 a second against 22.5.
    assertTrue(page.contains("<td>44 ms<small>×40</small></td>"));
    assertTrue(page.contains("<td>22.5/s<small>×35.6</small></td>"));
    assertTrue(page.contains("not &lt;here&gt;"));
    assertTrue(page.contains("not taken"));
    assertTrue(page.contains("what an exit costs"));
    assertTrue(page.contains("the call &lt;u&gt;"));
    assertTrue(page.contains("Taken in the lab."));
    assertFalse(page.contains("Short form."));
  }

  @Test
  void labAndHardwareAreApart() throws IOException {
    Path lab = sample("one.json", "sample", "sample");
    Path hardware =
        sample(
            "two.json",
            "\"lab\",\n  \"clock\": \"instructions\"",
            "\"hardware\", \"clock\": \"time\"");
    String page = page(lab, hardware);
    String first = page.substring(page.indexOf("id=\"run0\""), page.indexOf("id=\"run1\""));
    String second = page.substring(page.indexOf("id=\"run1\""));
    assertTrue(first.contains("Taken in the lab."));
    assertFalse(second.contains("Taken in the lab."));
    assertFalse(second.contains("what an exit costs"), "what the lab cannot show is the lab's");
    assertTrue(second.contains("further left is better. Taken on hardware."));
    assertTrue(first.contains("one.json") && !first.contains("two.json"));
  }

  @Test
  void withoutBareProcessThereAreNoRatios() throws IOException {
    String page = page(sample("run.json", "\"bare\"", "\"crun\""));
    String run = page.substring(0, page.indexOf("How to read it"));
    assertFalse(run.contains("×"), run);
    assertTrue(page.contains("there are no ratios"));
  }

  @Test
  void shortFormSaysSo() throws IOException {
    assertTrue(
        page(sample("run.json", "\"short\": false", "\"short\": true")).contains("Short form."));
  }

  @Test
  void roundsAndNotesAreTold() throws IOException {
    String page = page(sample("run.json", "sample", "sample"));
    assertFalse(page.contains("<dt>Rounds</dt>"), "not known");
    page = page(sample("run.json", "\"short\": false", "\"short\": false, \"rounds\": 3"));
    assertTrue(page.contains("<dt>Rounds</dt><dd>3</dd>"), page);
    page = page(sample("run.json", "[20, 25], ", "[20, 25], \"note\": \"no <b>\", "));
    assertTrue(page.contains("container (runc): no &lt;b&gt;</td>"), page);
  }

  @Test
  void whatCannotBeReadIsNamed() throws IOException {
    IOException none = assertThrows(IOException.class, () -> page());
    assertTrue(none.getMessage().contains("benchmarks/run isolation"), none.getMessage());
    Path absent = directory.resolve("absent.json");
    assertTrue(
        assertThrows(IOException.class, () -> page(absent)).getMessage().contains("absent.json"));
    Path odd = sample("odd.json", "[800]", "[\"NaN\"]");
    IOException error = assertThrows(IOException.class, () -> page(odd));
    assertTrue(error.getMessage().contains("odd.json"), error.getMessage());
  }
}
