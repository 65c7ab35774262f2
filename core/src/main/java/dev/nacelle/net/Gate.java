// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.ClientHello.Answer;
import dev.nacelle.net.Decision.Check;
import dev.nacelle.network.DenialReason;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Looks at what a flow sends that is allowed by name, and says what of it may leave: a TLS
 * handshake whose SNI is one of the flow's names, or HTTP/1.1 of which every request's Host is. It
 * keeps nothing but what it reads names in; the bytes wait elsewhere.
 */
final class Gate {
  private static final byte TLS_HANDSHAKE = 22;

  private Decision decision;
  private @Nullable ClientHello hello;
  private @Nullable Answer answer;
  private @Nullable HttpHead http;
  private HttpHead.@Nullable Status status;
  private boolean open;
  private @Nullable DenialReason denied;
  private @Nullable Check judged;
  private @Nullable String name;
  private boolean hidden;

  Gate(Decision decision) {
    this.decision = decision;
  }

  /** What it reads names in, in bytes. */
  int memory() {
    ClientHello greeting = hello;
    HttpHead requests = http;
    return (greeting == null ? 0 : greeting.memory()) + (requests == null ? 0 : requests.memory());
  }

  /** Whether everything may leave that comes from now on. */
  boolean isOpen() {
    return open;
  }

  /** Why the flow is to end; null where it is not. */
  @Nullable DenialReason denied() {
    return denied;
  }

  /** The name that was found last; empty where there was none. */
  String said() {
    String last = name;
    return last == null ? "" : last;
  }

  /**
   * By what the flow is allowed from now on.
   *
   * @return why not, where that does not allow what it has named; else null
   */
  @Nullable DenialReason decided(Decision now) {
    decision = now;
    Check check = judged;
    if (now.isUnchecked()) {
      open = true;
    } else if (check != null) {
      denied = now.judge(check, name, hidden);
    }
    return denied;
  }

  /** Whether it goes on when the server has answered, and {@link #answered} is to be told. */
  boolean awaitsAnswer() {
    return answer != null || status != null;
  }

  /**
   * Reads on, up to where it can judge.
   *
   * @param in what was not looked at; what is left of it was not
   * @return whether all that was looked at, now and before, may leave; then it is to be asked again
   */
  boolean look(ByteBuffer in) {
    if (denied != null || awaitsAnswer() || !in.hasRemaining()) {
      return false;
    }
    if (hello == null && http == null) {
      boolean tls =
          decision.checks(Check.TLS)
              && (!decision.checks(Check.HTTP) || in.get(in.position()) == TLS_HANDSHAKE);
      hello = tls ? new ClientHello() : null;
      http = tls ? null : new HttpHead();
    }
    HttpHead requests = http;
    if (requests != null) {
      return lookAt(requests, in);
    }
    ClientHello greeting = hello;
    return greeting != null && lookAt(greeting, in);
  }

  private boolean lookAt(ClientHello greeting, ByteBuffer in) {
    ClientHello.State state = greeting.feed(in);
    if (state == ClientHello.State.MORE) {
      return false;
    }
    if (state == ClientHello.State.REFUSED) {
      denied = DenialReason.WRONG_PROTOCOL;
      return false;
    }
    if (!judge(Check.TLS, greeting.serverName(), greeting.mayHideName())) {
      return false;
    }
    open = greeting.isSecond();
    answer = open ? null : new Answer();
    hello = null;
    return true;
  }

  private boolean lookAt(HttpHead requests, ByteBuffer in) {
    return switch (requests.next(in)) {
      case HEAD -> {
        boolean allowed = judge(Check.HTTP, requests.host(), false);
        status = allowed && requests.isSwitching() ? new HttpHead.Status() : null;
        yield allowed;
      }
      case BODY -> true;
      case MORE, HOLD -> false;
      case REFUSED -> {
        denied = DenialReason.WRONG_PROTOCOL;
        yield false;
      }
    };
  }

  private boolean judge(Check check, @Nullable String found, boolean mayHide) {
    judged = check;
    name = found;
    hidden = mayHide;
    denied = decision.isUnchecked() ? null : decision.judge(check, found, mayHide);
    return denied == null;
  }

  /**
   * The server has sent something. It looks, and takes nothing.
   *
   * @return whether there is more to be looked at of what the guest has sent, or it is denied
   */
  boolean answered(ByteBuffer in) {
    Answer tls = answer;
    if (tls != null) {
      Answer.Next next = tls.feed(in);
      if (next == Answer.Next.MORE) {
        return false;
      }
      answer = null;
      open = next == Answer.Next.PASS;
      hello = open ? null : ClientHello.second();
      return true;
    }
    HttpHead.Status waited = status;
    HttpHead requests = http;
    if (waited == null || requests == null) {
      return false;
    }
    int code = waited.feed(in);
    if (code == 0) {
      return false;
    }
    status = null;
    if (code < 0 || requests.answered(code) == HttpHead.Step.REFUSED) {
      denied = DenialReason.WRONG_PROTOCOL;
    }
    return true;
  }
}
