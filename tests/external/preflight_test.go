//go:build linux

package external

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ends runs a node that has to find out by itself what is wrong with the
// server: one line says what, one what to do, and the exit code fits.
func ends(t *testing.T, url string, code int, what ...string) {
	t.Helper()
	n := newWorld(t, "", "node1").node("node1", "--server", url)
	n.exits(40*time.Second, code)
	said := n.said()
	for _, part := range append(what, "\nhint: ") {
		if !strings.Contains(said, part) {
			t.Errorf("no %q in\n%s", part, said)
		}
	}
	if last := said[strings.LastIndex(said, "\nregent: ")+1:]; strings.Count(last, "\n") != 2 {
		t.Errorf("not one line and a hint:\n%s", last)
	}
}

// A bucket of the right name and other settings is somebody's: it is left as
// it is.
func TestForeignBucket(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	js, err := jetstream.New(connect(t, s.url("")))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "regent_default"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "theirs", "untouched"); err != nil {
		t.Fatal(err)
	}
	ends(t, s.url(""), 1, "bucket has other settings", "allow_direct is true, expected false", "max_msgs_per_subject is 1, expected 10")
	keys, err := kv.Keys(t.Context())
	if err != nil || !slices.Equal(keys, []string{"theirs"}) {
		t.Errorf("keys of the foreign bucket: %v, %v", keys, err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		if name != "KV_regent_default" {
			t.Errorf("left behind: %s", name)
		}
	}
}

// A stream that takes everything of regent's leaves no room for the history. The
// bucket that was made before that was found is taken away again.
func TestOverlappingStream(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	js, err := jetstream.New(connect(t, s.url("")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "audit", Subjects: []string{"regent.*.event.>"}}); err != nil {
		t.Fatal(err)
	}
	ends(t, s.url(""), 1, "event stream", "another stream of this account has these subjects")
	for name := range js.StreamNames(t.Context()).Name() {
		if name != "audit" {
			t.Errorf("left behind: %s", name)
		}
	}
}

// Settings of our own bucket that somebody has changed are named, with the
// command that puts them back.
func TestChangedBucket(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	nc := connect(t, s.url(""))
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", s.url(""))
	w.waitUp(nc, "node1")
	w.lives(n, "--server", s.url(""))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_regent_default")
	if err != nil {
		t.Fatal(err)
	}
	changed := stream.CachedInfo().Config
	changed.AllowDirect = true
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	ends(t, s.url(""), 1, "allow_direct is true, expected false", "nats stream edit")
	if out, _, code := w.run("doctor", "--server", s.url("")); code != 1 || !strings.Contains(out, "allow_direct is true") {
		t.Errorf("doctor ended with %d:\n%s", code, out)
	}
}

// One replica in a cluster works until its server goes: a warning.
func TestOneReplicaInACluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t, "")
	nc := connect(t, urls(servers))
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", urls(servers))
	w.waitUp(nc, "node1")
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_regent_default")
	if err != nil {
		t.Fatal(err)
	}
	changed := stream.CachedInfo().Config
	changed.Replicas = 1
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	n = w.node("node1", "--server", urls(servers))
	w.waitUp(nc, "node1")
	if said := n.said(); !strings.Contains(said, "one replica in a cluster") || !strings.Contains(said, "--replicas 3") {
		t.Errorf("no warning about one replica:\n%s", said)
	}
	if out := w.must("doctor", "--server", urls(servers)); !strings.Contains(out, "has replicas 1") {
		t.Errorf("doctor:\n%s", out)
	}
}

// doctorFinds is what doctor says of the users of TestMissingRights.
var doctorFinds = map[string]string{
	"api": "publish $JS.API.STREAM.CREATE.KV_regent_default, publish $JS.API.STREAM.CREATE.regent_default_events, " +
		"publish $JS.API.STREAM.INFO.KV_regent_default, publish $JS.API.STREAM.MSG.GET.KV_regent_default, publish $JS.API.STREAM.INFO.regent_default_events",
	"kv":   "publish $KV.regent_default.>",
	"deaf": "subscribe regent.default.> (of it: regent.default.hb.*)",
	"dumb": "publish regent.default.> (of it: regent.default.hb.node1=40lxw.doctor.doctor)",
}

// Rights that are missing are found when the node starts, not when it needs
// them, and are named.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream+`authorization { users: [
  {user: api, password: p, permissions: { publish: { deny: ["$JS.API.>"] } }},
  {user: kv, password: p, permissions: { publish: { deny: ["$KV.>"] } }},
  {user: deaf, password: p, permissions: { subscribe: { deny: ["regent.*.hb.>"] } }},
  {user: dumb, password: p, permissions: { publish: { deny: ["regent.*.hb.>"] } }},
] }
`)
	for user, subject := range map[string]string{
		"api": "$JS.API.STREAM.INFO.KV_regent_default", "kv": "$KV.regent_default.", "deaf": "regent.default.hb.*", "dumb": "regent.default.hb.node1=40lxw",
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			ends(t, s.url(user+":p"), 4, subject, "permissions")
			w := newWorld(t, "", "node1")
			out, _, code := w.run("doctor", "--server", s.url(user+":p"), "--sname", "node1@lxw")
			if lacks := doctorFinds[user]; code != 1 || !strings.Contains(out, "failed   permissions: a node lacks: "+lacks+"\n") || !strings.Contains(out, "hint: grant them") {
				t.Errorf("doctor ended with %d, and should find %q:\n%s", code, lacks, out)
			}
		})
	}
}

// A server that is too old is refused by its version. (What stands before the
// real server changes nothing but that.)
func TestOldServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, withJetStream)
	url := older(t, s)
	ends(t, url, 1, "NATS server is too old: it is 2.11.4", "2.12.0")
	if out, _, code := newWorld(t, "", "node1").run("doctor", "--server", url); code != 1 || !strings.Contains(out, "failed   NATS server: alone") {
		t.Errorf("doctor ended with %d:\n%s", code, out)
	}
}

var versionField = regexp.MustCompile(`"version":"[^"]*"`)

// older is a way to a server on which it calls itself an old one.
func older(t *testing.T, s *server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relay(client, strings.TrimPrefix(s.url(""), "nats://"))
		}
	}()
	return "nats://" + l.Addr().String()
}

func relay(client net.Conn, to string) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	go func() { _, _ = io.Copy(upstream, client) }()
	r := bufio.NewReader(upstream)
	for {
		line, err := r.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("INFO ")) {
			line = versionField.ReplaceAll(line, []byte(`"version":"2.11.4"`))
		}
		if _, werr := client.Write(line); err != nil || werr != nil {
			return
		}
	}
}

// A server that accepts connections and says nothing is no server: a command
// gives up after ten seconds, a node waits and says so.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	url := "nats://" + l.Addr().String()
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", url)
	begin := time.Now()
	_, errOut, code := w.run("status", "--server", url)
	if took := time.Since(begin); code != 5 || took > 25*time.Second || !strings.Contains(errOut, "hint: ") {
		t.Errorf("exit %d after %v:\n%s", code, took, errOut)
	}
	if n.ended() || !strings.Contains(n.said(), "waiting for a NATS server") {
		t.Errorf("ended: %v, and said:\n%s", n.ended(), n.said())
	}
}
