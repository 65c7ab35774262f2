// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.nio.file.Path;

/** A tree with everything that a file system of Linux can hold, made by the system's tools. */
public final class AwkwardTree {
  private AwkwardTree() {}

  /** Fills a directory; takes root. */
  public static void make(Path directory) {
    Tool.script(
        directory,
        """
        mkdir -p usr/bin usr/lib etc dev 'dir with space' deep empty
        printf 'hello' > etc/motd
        printf 'x' > usr/bin/tool; chown 1000:2000 usr/bin/tool; chmod 4755 usr/bin/tool
        printf 'y' > usr/bin/sgid; chmod 2711 usr/bin/sgid
        chmod 1777 'dir with space'; chmod 0 etc/motd
        ln -s usr/bin bin; ln -s /no/such/file absolute; ln -s missing dangling
        ln -s "$(printf 'long/%.0s' {1..60})target" 'dir with space/long link'
        ln usr/bin/tool usr/lib/tool; ln usr/bin/tool ztool; ln -P bin usr/lib/bin-link
        mknod dev/null c 1 3; mknod dev/sda b 8 0; mknod dev/big b 259 1048575; mkfifo dev/fifo
        chmod 666 dev/null; chown 0:6 dev/sda
        printf '%0255d' 0 | xargs -I{} touch {}
        touch "$(printf 'not-utf8-\\xff\\xfe')" "$(printf 'newline\\n\\ttab')" $'\\303\\274mlaut' '*?[' '\\back'
        path=deep; for i in $(seq 15); do path=$path/$(printf '%040d' $i); done; mkdir -p $path
        echo deep > $path/file
        ln -s x $path/$(printf 'l%.0s' {1..120})
        head -c 1000000 /dev/urandom > usr/lib/random
        seq 100000 > usr/lib/text
        truncate -s 30M usr/lib/sparse
        for at in 0 4096 1000000 12345678 31457200; do
          printf "data at $at" | dd of=usr/lib/sparse bs=1 seek=$at conv=notrunc status=none
        done
        truncate -s 1M usr/lib/hole
        chown 4294967294:3000000000 dangling -h
        chown 2097152:99999999 usr/lib/text
        find . -exec touch -h -d '2022-03-04T05:06:07Z' {} +
        touch -d '1969-12-31T23:59:58Z' usr/lib/text
        touch -d '2040-01-02T03:04:05Z' etc/motd; touch -h -d '2001-02-03T04:05:06Z' absolute
        """);
  }

  /** What only archives of POSIX's format can carry. */
  public static void addWhatPaxCanHold(Path directory) {
    Tool.script(
        directory,
        """
        touch -d '2021-02-03T04:05:06.789012345Z' usr/bin/sgid
        touch -d '1965-02-03T04:05:06.25Z' usr/lib/random
        setfattr -n user.comment -v "binary $(printf '\\xff\\x01')" usr/lib/text
        setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" usr/lib/text
        setfattr -n user.empty usr
        setfattr -n trusted.note -v t etc
        setfattr -n security.capability -v 0x0100000200200080000000000000000000000000 usr/bin/sgid
        setfattr -n system.posix_acl_access \
          -v 0x0200000001000600ffffffff02000700e903000004000400ffffffff10000700ffffffff20000400ffffffff \
          usr/lib/random
        setfattr -n system.posix_acl_default \
          -v 0x0200000001000700ffffffff04000500ffffffff20000500ffffffff empty
        """);
  }
}
