package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

var _ server.Logger = (*bridge)(nil)

func newTestBridge() (*bridge, *bytes.Buffer) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	return newBridge(log, []Peer{{"n2@b", "10.0.0.2:6222"}}), &out
}

func TestServerLogLevels(t *testing.T) {
	b, out := newTestBridge()
	b.Noticef("Listening on %d", 4222)
	b.Debugf("x")
	b.Tracef("x")
	b.Warnf("Waiting for routing to be established...")
	b.Errorf("Error trying to connect to route (attempt %d): refused", 1)
	if out.Len() > 0 {
		t.Errorf("ordinary lines show: %s", out)
	}
	b.Warnf("disk is %s", "slow")
	b.Errorf("disk is %s", "full")
	if got := out.String(); !strings.Contains(got, `level=WARN msg="disk is slow"`) || !strings.Contains(got, `level=ERROR msg="disk is full"`) {
		t.Error(got)
	}
}

func TestRefusedHandshakesAreLoggedOncePerEnd(t *testing.T) {
	b, out := newTestBridge()
	for i := range 5 {
		b.Errorf("10.0.0.2:6222 - rid:%d - TLS route handshake error: x509: certificate signed by unknown authority (CN=n2)", i)
		b.Errorf("10.0.0.3:%d - rid:%d - TLS route handshake error: remote error: tls: unknown certificate authority", 40000+i, i)
		b.Errorf("10.0.0.3:%d - cid:%d - TLS handshake error: tls: client didn't provide a certificate", 50000+i, i)
		b.Errorf("[fe80::1]:%d - cid:%d - TLS handshake error: remote error: tls: bad certificate", 50000+i, i)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 4 {
		t.Fatalf("%d lines:\n%s", len(got), out)
	}
	for i, want := range []string{"from=server peer=n2@b addr=10.0.0.2:6222", `from=server peer="" addr=10.0.0.3:40000`, `from=client peer="" addr=10.0.0.3:50000`, "addr=[fe80::1]:50000"} {
		if !strings.Contains(got[i], want) || !strings.Contains(got[i], "level=WARN") {
			t.Errorf("line %d: %s, want %s", i, got[i], want)
		}
	}

	out.Reset()
	b.Errorf("10.0.0.4:1 - rid:9 - TLS route handshake error: EOF")
	if got := out.String(); strings.Contains(got, "cookie") || !strings.Contains(got, "level=INFO") {
		t.Errorf("somebody who hangs up has another cookie: %s", got)
	}
}

// TestViolationsAreLoggedOncePerClient: an app that does all the time what it
// may not do leaves the log readable.
func TestViolationsAreLoggedOncePerClient(t *testing.T) {
	b, out := newTestBridge()
	for i := range 5 {
		b.Errorf(`127.0.0.1:51152 - cid:16 - "v1.55.0:go" - "AD4E/regent/jwt:UAER" - Publish Violation - Subject "$KV.x.%d"`, i)
		b.Errorf(`127.0.0.1:51153 - cid:17 - "v1.55.0:go" - "AD4E/regent/jwt:UAEQ" - Subscription Violation - Subject ">", SID %d`, i)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "what=publish") || !strings.Contains(got[0], "$KV.x.0") || !strings.Contains(got[1], "what=subscription") {
		t.Errorf("%d lines:\n%s", len(got), out)
	}
}

func TestRefusalsAreForgottenInTheEnd(t *testing.T) {
	b, _ := newTestBridge()
	for i := range 3 * refusedMax {
		b.due(fmt.Sprint(i))
	}
	if n := len(b.refused); n > refusedMax {
		t.Errorf("%d ends are remembered", n)
	}
}

func TestFatalIsAnErrorOfStart(t *testing.T) {
	b, _ := newTestBridge()
	b.Fatalf("first %d", 1)
	b.Fatalf("second")
	if err := b.failure(); err == nil || err.Error() != "first 1" {
		t.Errorf("got %v", err)
	}
}
