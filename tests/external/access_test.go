//go:build linux

package external

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

// least are the permissions of a role, as an operator gives them.
func least(role cred.Role, cluster string) jwt.Permissions {
	p := cred.Least(role, cluster, "", "")
	return jwt.Permissions{
		Pub: jwt.Permission{Allow: p.Publish, Deny: p.PublishDeny},
		Sub: jwt.Permission{Allow: p.Subscribe},
	}
}

// TestOperatorMode is the life of the example on three servers in operator
// mode, with nothing but the least permissions: nodes and their wardens, the
// command line, backup and restore. No server and no node complains of a right
// that is missing.
func TestOperatorMode(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	servers := startCluster(t, op.conf)
	w := newWorld(t, "", three...)
	node := w.write("node.creds", string(newCreds(t, op.account, least(cred.NodeRole, w.cluster))))
	client := w.write("client.creds", string(newCreds(t, op.account, least(cred.ClientRole, w.cluster))))
	talker := w.write("talker.creds", string(newCreds(t, op.account, least(cred.TalkRole, w.cluster))))
	keeper := w.write("keeper.creds", string(newCreds(t, op.account, least(cred.KeeperRole, w.cluster))))
	full := w.write("full.creds", string(op.creds))
	r := newRunWith(t, w, connect(t, urls(servers), nats.UserCredentials(full)),
		[]string{"--server", urls(servers), "--creds", node}, []string{"--server", urls(servers), "--creds", client})
	r.begin(3, []string{"s1", "s2", "s3"})
	r.killAndReturn(2)
	if out := r.command("events", "--app", app); !strings.Contains(out, "failover") {
		t.Errorf("no failover in the history:\n%s", out)
	}
	r.command("verify")
	r.talks("--server", urls(servers), "--creds", talker)
	r.command("takeover", app, "--to", "node3@lxw")
	file := w.path("backup.json")
	if _, errOut, code := w.run(append([]string{"backup", file}, r.client...)...); code != 4 || !strings.Contains(errOut, "hint: ") {
		t.Errorf("backup with the rights of a client ended with %d:\n%s", code, errOut)
	}
	if out := r.command("doctor"); !strings.Contains(out, "skipped  write: this user may not write") {
		t.Errorf("doctor with the rights of a client:\n%s", out)
	}
	if out := w.must("doctor", "--server", urls(servers), "--creds", node, "--sname", "node1@lxw"); !strings.Contains(out, "ok       permissions: all that a node needs: 8 to publish, 11 to subscribe\n") {
		t.Errorf("doctor with the rights of a node:\n%s", out)
	}
	w.must("backup", file, "--server", urls(servers), "--creds", keeper)
	if out := w.must("restore", file, "--server", urls(servers), "--creds", keeper); !strings.Contains(out, "app.myapp") || !strings.Contains(out, "kept: ") {
		t.Errorf("restore into the cluster it is of:\n%s", out)
	}
	if out := w.must("doctor", "--server", urls(servers), "--creds", keeper); strings.Contains(out, "failed") || !strings.Contains(out, "bucket regent_default has its settings and 3 replicas") {
		t.Errorf("doctor:\n%s", out)
	}
	r.end()
	for _, name := range three {
		if said := r.nodes[name].said(); strings.Contains(strings.ToLower(said), "permissions violation") {
			t.Errorf("%s lacks a right:\n%s", name, said)
		}
	}
	for _, s := range servers {
		log, err := os.ReadFile(s.log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(log)) {
			// The backup above, which is refused.
			if strings.Contains(line, "Violation") && !strings.Contains(line, `"$KV.regent_default.probe"`) {
				t.Errorf("%s: %s", s.name, line)
			}
		}
	}
}

// talks exchanges messages with node2, by each command that does.
func (r *run3) talks(login ...string) {
	r.t.Helper()
	for _, c := range []struct {
		in, want string
		args     []string
	}{
		{"", "pong node2@lxw ", []string{"ping", "node2@lxw"}},
		{"", `"name":"myapp"`, []string{"rpc", "node2@lxw", "apps"}},
		{"", "<node2@lxw/", []string{"spawn", "node2@lxw", "echo", "hello"}},
		{"", "", []string{"send", "node2@lxw/inbox", "hello"}},
		{"", `"hello"`, []string{"rpc", "node2@lxw", "inbox"}},
		{"node\nsend inbox again\nexit\n", `"node2@lxw"`, []string{"remsh", "node2@lxw"}},
	} {
		out, errOut, code := r.w.runWith(c.in, append(c.args, login...)...)
		if code != 0 || errOut != "" || !strings.Contains(out, c.want) {
			r.t.Errorf("%s ended with %d, without %q:\n%s%s", strings.Join(c.args, " "), code, c.want, out, errOut)
		}
	}
}

// TestCookieKey: the cookie is a key, of which a server knows the public half.
// Another cookie is refused, under the same name and under another one that the
// server does not know; a name that it knows lives beside the first, unseen.
func TestCookieKey(t *testing.T) {
	t.Parallel()
	ours, theirs, beside := newWorld(t, "", "node1"), newWorld(t, "", "node2"), newWorld(t, "", "node1")
	for _, w := range []*world{theirs, beside} {
		w.write("cookie", "another-cookie-abcdefg-9876543210\n")
	}
	beside.cluster = "beside"
	// Two clusters in one account: the second user goes beside the first.
	first, second := ours.must("cookie", "creds", "--stanza", "--system"), beside.must("cookie", "creds", "--stanza")
	second = second[strings.Index(second, "{ nkey:"):strings.LastIndex(second, "  ]")]
	conf := strings.Replace(first, "users: [\n", "users: [\n"+second, 1)
	s := startServer(t, withJetStream+conf)

	n := ours.node("node1", "--server", s.url(""))
	stranger := theirs.node("node2", "--server", s.url(""))
	neighbour := beside.node("node1", "--server", s.url(""))
	for _, w := range []*world{ours, beside} {
		within(t, 30*time.Second, "the node of cluster "+w.cluster+" is up", func() bool {
			out, _, code := w.run("status", "--server", s.url(""), "--json")
			return code == 0 && strings.Contains(out, `"state":"up"`) && !strings.Contains(out, "node2@lxw")
		})
	}
	if strings.Contains(n.said(), "no credentials are sent") {
		t.Errorf("a warning about missing credentials:\n%s", n.said())
	}
	stranger.exits(refusal, 4)
	if said := stranger.said(); !strings.Contains(said, "\nhint: ") || !strings.Contains(said, "--stanza") {
		t.Errorf("no hint for the cookie that the server does not know:\n%s", said)
	}
	if _, errOut, code := theirs.run("status", "--server", s.url("")); code != 4 {
		t.Errorf("a client with another cookie ended with %d:\n%s", code, errOut)
	}
	ours.must("start", app, "--on", "node1@lxw", "--server", s.url(""))
	c := newCLI(ours, s.url(""))
	c.everything()
	c.watches()
	c.system()
	if code := n.terminate(); code != 0 {
		t.Errorf("node1 ended with %d after SIGTERM", code)
	}
	beside.lives(neighbour, "--server", s.url(""))
}

// TestContext: a node finds an external NATS by a context of the nats CLI, with
// user and password, TLS on both sides, and an inbox prefix of its own.
func TestContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "", "node1")
	files := newTLSFiles(t, w.dir)
	s := startServer(t, withJetStream+fmt.Sprintf(`authorization { users: [ {user: alice, password: "s3cr3t-word"} ] }
tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }
`, files.cert, files.key, files.ca))
	w.context("prod", fmt.Sprintf(`{"description":"", "url":%q, "user":"alice", "password":"s3cr3t-word", "ca":%q, "cert":%q, "key":%q, "inbox_prefix":"_INBOX_prod"}`,
		s.url(""), files.ca, files.cert, files.key))
	w.context("wrong", fmt.Sprintf(`{"description":"", "url":%q, "user":"alice", "password":"wr0ng", "ca":%q, "cert":%q, "key":%q}`,
		s.url(""), files.ca, files.cert, files.key))
	n := w.node("node1", "--context", "prod")
	tls := []string{"--tlsca", files.ca, "--tlscert", files.cert, "--tlskey", files.key}
	nc := connect(t, s.url("alice:s3cr3t-word"), nats.RootCAs(files.ca), nats.ClientCert(files.cert, files.key))
	w.waitUp(nc, "node1")
	if subs := subscriptions(t, s); !strings.Contains(subs, `"_INBOX_prod.`) {
		t.Errorf("the inbox prefix of the context is not used: %s", subs)
	}
	w.must("status", "--context", "prod")
	w.must(append([]string{"status", "--server", s.url("alice:s3cr3t-word")}, tls...)...)
	if _, errOut, code := w.run("status", "--context", "wrong"); code != 4 {
		t.Errorf("a context with a wrong password ended with %d:\n%s", code, errOut)
	}
	if _, errOut, code := w.run("status", "--context", "none"); code != 2 || !strings.Contains(errOut, "no such context") {
		t.Errorf("a context that is not there ended with %d:\n%s", code, errOut)
	}
	checkSecret(t, "s3cr3t-word", w.path("state"))
	checkSecret(t, "s3cr3t-word", w.path("run"))
	w.lives(n, "--context", "prod")

	refused := newWorld(t, "", "node1")
	refused.node("node1", "--server", s.url("alice:s3cr3t-word")).exits(refusal, 4) // it does not know the CA
	again := newWorld(t, "", "node1")
	again.node("node1", append([]string{"--server", s.url("alice:wr0ng")}, tls...)...).exits(refusal, 4)
}

// context writes a context of the nats CLI.
func (w *world) context(name, text string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, ".config", "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// TestNKeyFile: a node with the seed of a key that is not the cookie's.
func TestNKeyFile(t *testing.T) {
	t.Parallel()
	seed, key := newUserKey(t)
	s := startServer(t, withJetStream+"authorization { users: [ { nkey: "+key+" } ] }\n")
	w := newWorld(t, "", "node1")
	file := w.write("node.nk", seed)
	n := w.node("node1", "--server", s.url(""), "--nkey", file)
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	w.waitUp(connect(t, s.url(""), option), "node1")
	w.lives(n, "--server", s.url(""), "--nkey", file)
}

// TestLeafAndDomain: nodes at both ends of a leaf connection whose two servers
// have JetStream, and a domain, of their own. The bucket is in the hub's.
func TestLeafAndDomain(t *testing.T) {
	t.Parallel()
	p := port.Free(t, 1)
	hub := newServer(t, "hub", strings.Replace(withJetStream, "{", "{ domain: hub,", 1)+fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }\n", p[0]))
	hub.boot()
	hub.waitHealthy()
	leaf := newServer(t, "leaf", strings.Replace(withJetStream, "{", "{ domain: edge,", 1)+fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://127.0.0.1:%d\" } ] }\n", p[0]))
	leaf.boot()
	leaf.waitHealthy()
	w := newWorld(t, "", "node1", "node2")
	atHub := w.node("node1", "--server", hub.url(""))
	atLeaf := w.node("node2", "--server", leaf.url(""), "--js-domain", "hub")
	nc := connect(t, hub.url(""))
	w.waitUp(nc, "node1")
	w.waitUp(nc, "node2")
	if js := jetStreamAt(t, leaf); strings.Contains(js, "KV_regent_default") {
		t.Errorf("a bucket at the leaf: %s", js)
	}
	w.must("start", app, "--all", "--server", leaf.url(""), "--js-domain", "hub")
	w.waitStart(5*time.Second, 1, []string{"node1"}, "normal")
	atHub.kill()
	w.waitStart(15*time.Second, 2, []string{"node2"}, "failover")
	if out := w.must("events", "--app", app, "--server", leaf.url(""), "--js-domain", "hub"); !strings.Contains(out, "failover") {
		t.Errorf("no failover in the history:\n%s", out)
	}
	if code := atLeaf.terminate(); code != 0 {
		t.Errorf("node2 ended with %d after SIGTERM", code)
	}
}

// TestLeafWithoutJetStream: a leaf that has none hands on to the domain of the
// hub.
func TestLeafWithoutJetStream(t *testing.T) {
	t.Parallel()
	p := port.Free(t, 1)
	hub := newServer(t, "hub", strings.Replace(withJetStream, "{", "{ domain: hub,", 1)+fmt.Sprintf("leafnodes { listen: \"127.0.0.1:%d\" }\n", p[0]))
	hub.boot()
	hub.waitHealthy()
	leaf := newServer(t, "leaf", fmt.Sprintf("leafnodes { remotes: [ { url: \"nats://127.0.0.1:%d\" } ] }\n", p[0]))
	leaf.boot()
	leaf.waitHealthy()
	w := newWorld(t, "", "node1")
	n := w.node("node1", "--server", leaf.url(""), "--js-domain", "hub")
	w.waitUp(connect(t, hub.url("")), "node1")
	w.lives(n, "--server", leaf.url(""), "--js-domain", "hub")
}
