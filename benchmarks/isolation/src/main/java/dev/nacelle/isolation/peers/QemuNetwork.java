// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What carries the network of one of QEMU's machines: the guest has {@link #GUEST}, and reaches the
 * host's loopback at {@link #HOST}, as QEMU's own network has it. Nothing else is configured.
 */
public sealed interface QemuNetwork {
  /** The guest's address, in a network of 24 bits. */
  String GUEST = "10.0.2.15";

  /** The host's, as the guest sees it. */
  String HOST = "10.0.2.2";

  /** Of the guest's interface, in bytes. */
  int mtu();

  /** QEMU's options for it. */
  List<String> options(Path directory, long memory);

  /** QEMU's command, with what has to be there before it. */
  default List<String> around(List<String> command, Path directory) {
    return command;
  }

  /** QEMU's own, in its process (libslirp). */
  record Slirp(int mtu) implements QemuNetwork {
    @Override
    public List<String> options(Path directory, long memory) {
      return List.of("-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-device,netdev=net");
    }
  }

  /**
   * passt, a process beside each machine, which ends when QEMU has.
   *
   * @param program passt
   * @param vhostUser whether it reads and writes the guest's memory itself; else QEMU copies each
   *     frame from and to a Unix socket
   */
  record Passt(Path program, boolean vhostUser, int mtu) implements QemuNetwork {
    /**
     * passt by the first words, then a machine by the others, in the same process. It ends with
     * that process, also where that has never connected, of which passt takes no notice.
     */
    private static final String FIRST =
        """
        setpriv --pdeathsig KILL "$0" --foreground --quiet --one-off --runas 0 --socket "$1" \\
          --mtu "$2" "$3" --ipv4-only --address %s --netmask 24 --gateway %s &
        while [ ! -S "$1" ]; do kill -0 $! 2>/dev/null && sleep 0.01 || exit; done
        shift 3 && exec "$@"
        """
            .formatted(GUEST, HOST);

    private static Path socket(Path directory) {
      return directory.resolve("passt");
    }

    @Override
    public List<String> options(Path directory, long memory) {
      String socket = Qemu.quoted(socket(directory).toString());
      String device = "virtio-net-device,netdev=net";
      return vhostUser
          ? List.of(
              "-object",
              "memory-backend-memfd,id=shared,share=on,size=" + memory + "B",
              "-machine",
              "memory-backend=shared",
              "-chardev",
              "socket,id=passt,path=" + socket,
              "-netdev",
              "vhost-user,id=net,chardev=passt",
              "-device",
              device)
          : List.of(
              "-netdev",
              "stream,id=net,server=off,addr.type=unix,addr.path=" + socket,
              "-device",
              device);
    }

    @Override
    public List<String> around(List<String> command, Path directory) {
      List<String> whole = new ArrayList<>(List.of("sh", "-c", FIRST, program.toString()));
      whole.add(socket(directory).toString());
      whole.add("" + mtu);
      whole.add(vhostUser ? "--vhost-user" : "--ipv4-only");
      whole.addAll(command);
      return whole;
    }
  }
}
