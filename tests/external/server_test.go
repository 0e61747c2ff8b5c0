//go:build linux

package external

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seed7529eb29/regent/embedded/embeddedtest/port"
)

// server is a nats-server with a configuration file.
type server struct {
	t       *testing.T
	name    string
	port    int // of clients
	monitor int
	route   int
	conf    string // its file
	log     string
	*process
}

// Parts of configurations.
const (
	withJetStream    = "jetstream { max_file: 256MB, max_mem: 16MB }\n"
	withoutJetStream = ""
)

// newServer writes a configuration with the given additions; it starts nothing.
func newServer(t *testing.T, name, additions string) *server {
	t.Helper()
	dir, p := t.TempDir(), port.Free(t, 3)
	s := &server{
		t: t, name: name, port: p[0], monitor: p[1], route: p[2],
		conf: filepath.Join(dir, name+".conf"), log: filepath.Join(dir, name+".log"),
	}
	additions = strings.Replace(additions, "jetstream {", fmt.Sprintf("jetstream { store_dir: %q,", filepath.Join(dir, "data")), 1)
	s.write(fmt.Sprintf("server_name: %s\nlisten: 127.0.0.1:%d\nhttp: 127.0.0.1:%d\n%s", name, s.port, s.monitor, additions))
	return s
}

func (s *server) write(conf string) {
	s.t.Helper()
	if err := os.WriteFile(s.conf, []byte(conf), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func startServer(t *testing.T, additions string) *server {
	t.Helper()
	s := newServer(t, "alone", additions)
	s.boot()
	s.waitHealthy()
	return s
}

func (s *server) boot() {
	s.t.Helper()
	s.process = start(s.t, exec.Command(serverPath, "-c", s.conf, "-l", s.log))
	first := s.process
	s.t.Cleanup(func() {
		first.kill()
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", s.name, tail(s.log))
		}
	})
}

// waitHealthy waits until the server says that it and all its streams are up
// to date.
func (s *server) waitHealthy() {
	s.t.Helper()
	within(s.t, 60*time.Second, s.name+" is healthy", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", s.monitor))
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

// url is where clients connect; login stands before the @.
func (s *server) url(login string) string {
	if login != "" {
		login += "@"
	}
	return fmt.Sprintf("nats://%s127.0.0.1:%d", login, s.port)
}

// startCluster starts three servers with routes, each with its own port and
// stock settings, and the given additions to its configuration.
func startCluster(t *testing.T, additions string) []*server {
	t.Helper()
	var servers []*server
	var routes []string
	for i := range 3 {
		s := newServer(t, fmt.Sprintf("s%d", i+1), withJetStream+additions)
		servers = append(servers, s)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", s.route))
	}
	for _, s := range servers {
		conf, err := os.ReadFile(s.conf)
		if err != nil {
			t.Fatal(err)
		}
		s.write(fmt.Sprintf("%scluster { name: stock, listen: 127.0.0.1:%d, routes: [%s] }\n", conf, s.route, strings.Join(routes, ", ")))
		s.boot()
	}
	waitAll(servers)
	return servers
}

func waitAll(servers []*server) {
	for _, s := range servers {
		s.waitHealthy()
	}
}

func urls(servers []*server) string {
	var all []string
	for _, s := range servers {
		all = append(all, s.url(""))
	}
	return strings.Join(all, ",")
}

// operator is what an operator-mode server trusts, made as its owner would.
type operator struct {
	conf     string        // of the server
	account  nkeys.KeyPair // with JetStream
	creds    []byte        // of a user of it
	poor     []byte        // of a user of an account without
	sysCreds []byte        // of a user of the system account
}

func newOperator(t *testing.T) operator {
	t.Helper()
	op := pair(t, nkeys.CreateOperator)
	var preload strings.Builder
	account := func(name string, jetStream bool) nkeys.KeyPair {
		kp := pair(t, nkeys.CreateAccount)
		claims := jwt.NewAccountClaims(public(t, kp))
		claims.Name = name
		if jetStream {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
		}
		fmt.Fprintf(&preload, "  %s: %s\n", claims.Subject, encode(t, claims, op))
		return kp
	}
	sys, app, poor := account("SYS", false), account("APP", true), account("POOR", false)
	claims := jwt.NewOperatorClaims(public(t, op))
	claims.Name, claims.SystemAccount = "test", public(t, sys)
	return operator{
		conf: fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s}\n",
			encode(t, claims, op), public(t, sys), preload.String()),
		account: app, creds: newCreds(t, app, jwt.Permissions{}), poor: newCreds(t, poor, jwt.Permissions{}), sysCreds: newCreds(t, sys, jwt.Permissions{}),
	}
}

// newCreds are those of a new user with these permissions, made as nsc does.
func newCreds(t *testing.T, account nkeys.KeyPair, may jwt.Permissions) []byte {
	t.Helper()
	user := pair(t, nkeys.CreateUser)
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public(t, user))
	claims.Permissions = may
	creds, err := jwt.FormatUserConfig(encode(t, claims, account), seed)
	if err != nil {
		t.Fatal(err)
	}
	return creds
}

func pair(t *testing.T, make func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func public(t *testing.T, kp nkeys.KeyPair) string {
	t.Helper()
	key, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(t *testing.T, claims jwt.Claims, signer nkeys.KeyPair) string {
	t.Helper()
	token, err := claims.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connect is a client beside the nodes.
func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// stop ends a server as its supervisor does.
func (s *server) stop() {
	s.t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	<-s.done
}

func (s *server) restart() {
	s.t.Helper()
	s.stop()
	s.boot()
}

// within waits for something that must become true.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// tail is the end of a log.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
