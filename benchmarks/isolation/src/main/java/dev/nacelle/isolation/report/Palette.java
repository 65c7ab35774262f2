// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results.Peer;
import java.util.List;

/**
 * How isolations look: the same in every picture, so that one is found again. Families share a
 * shape: what runs on the host's kernel, our machines, and those of others.
 */
final class Palette {
  private record Look(String light, String dark, Shape shape) {}

  private enum Shape {
    SQUARE,
    CIRCLE,
    DIAMOND
  }

  private static final List<String> KNOWN =
      List.of(
          "bare",
          "runc",
          "crun",
          "nacelle",
          "nacelle-density",
          "nacelle-debian",
          "qemu",
          "firecracker",
          "cloud-hypervisor");

  private static final List<Look> LOOKS =
      List.of(
          new Look("#57606a", "#9aa4af", Shape.SQUARE),
          new Look("#1d6fd1", "#5ba6ff", Shape.SQUARE),
          new Look("#63b3ed", "#9ad4ff", Shape.SQUARE),
          new Look("#0b8f6a", "#2fd3a2", Shape.CIRCLE),
          new Look("#46b98f", "#86e8c6", Shape.CIRCLE),
          new Look("#7a9b1e", "#b7d84e", Shape.CIRCLE),
          new Look("#d9730d", "#ffa04d", Shape.DIAMOND),
          new Look("#c8323f", "#ff7480", Shape.DIAMOND),
          new Look("#7c4dd1", "#b592ff", Shape.DIAMOND),
          // Of others that a user brings, by turns.
          new Look("#a4497f", "#ee8fc6", Shape.SQUARE),
          new Look("#8a6d1f", "#d9b95a", Shape.SQUARE),
          new Look("#1c7f8c", "#5cc8d6", Shape.SQUARE));

  /** How many colours there are: classes c0 and so on. */
  static final int COUNT = LOOKS.size();

  private Palette() {}

  /** Declares the colours and all that pictures are drawn with; for a style sheet. */
  static String style() {
    Markup css = new Markup();
    css.raw(":root{--page:#f6f8fa;--card:#fff;--ink:#1f2328;--soft:#59636e;--line:#d8dee4;");
    css.raw("--warn:#fff3d6;--warnline:#d4a72c;");
    for (int i = 0; i < LOOKS.size(); i++) {
      css.raw("--c%d:%s;", i, LOOKS.get(i).light);
    }
    css.raw("}\n@media(prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;");
    css.raw("--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--warn:#2d2410;--warnline:#9e6a03;");
    for (int i = 0; i < LOOKS.size(); i++) {
      css.raw("--c%d:%s;", i, LOOKS.get(i).dark);
    }
    css.raw("}}\n");
    css.raw("svg{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n");
    css.raw("svg text{fill:var(--ink)}svg .soft{fill:var(--soft)}svg .head{font-weight:600}\n");
    css.raw("svg .grid{stroke:var(--line);stroke-width:1}svg .bare{stroke:var(--soft);");
    css.raw("stroke-width:1.5}svg .ink{stroke:var(--ink);stroke-width:1.2;fill:none}\n");
    for (int i = 0; i < LOOKS.size(); i++) {
      css.raw(".c%d{fill:var(--c%d);stroke:var(--c%d)}", i, i, i);
    }
    return css.raw("\n").toString();
  }

  /** The class of its colour. */
  static String colour(List<Peer> all, Peer peer) {
    return "c" + look(all, peer);
  }

  /**
   * Draws its mark around a point.
   *
   * @param title what is told of it; empty for nothing
   */
  static void mark(Markup svg, List<Peer> all, Peer peer, double x, double y, String title) {
    int look = look(all, peer);
    String element =
        switch (LOOKS.get(look).shape) {
          case SQUARE -> "rect";
          case CIRCLE -> "circle";
          case DIAMOND -> "path";
        };
    svg.raw("<%s class=\"c%d\" fill-opacity=\".85\"", element, look);
    switch (LOOKS.get(look).shape) {
      case SQUARE ->
          svg.raw(" x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\" rx=\"1\"", x - 4, y - 4);
      case CIRCLE -> svg.raw(" cx=\"%.1f\" cy=\"%.1f\" r=\"4.6\"", x, y);
      case DIAMOND -> svg.raw(" d=\"M%.1f %.1fl5.4 5.4l-5.4 5.4l-5.4-5.4z\"", x, y - 5.4);
    }
    svg.raw(">");
    if (!title.isEmpty()) {
      svg.element("title", title);
    }
    svg.raw("</%s>\n", element);
  }

  private static int look(List<Peer> all, Peer peer) {
    int known = KNOWN.indexOf(peer.name());
    if (known >= 0) {
      return known;
    }
    long before =
        all.stream()
            .takeWhile(one -> one != peer)
            .filter(one -> !KNOWN.contains(one.name()))
            .count();
    return KNOWN.size() + (int) (before % (LOOKS.size() - KNOWN.size()));
  }
}
