package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
)

// options makes the options of a command line of erl.
func erlOptions(t *testing.T, args ...string) (*NodeOptions, *erlLine) {
	t.Helper()
	line, exit := parseErl(args)
	if exit != nil {
		t.Fatalf("parseErl(%q): %v", args, exit)
	}
	o, err := line.flags.options(io.Discard, io.Discard)
	if err != nil {
		t.Fatalf("options of %q: %v", args, err)
	}
	return o, line
}

func TestErlTakesTheFlagsOfTheStartScript(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	o, line := erlOptions(t, "-noshell", "-noinput", "-sname", "node1@lxw", "-config", "node1", "more", "-config", "apps.config",
		"-setcookie", "abc", "-hidden", "-eval", "application:start(a),application:start(b)", "-eval", "application:load(c).", "-pa", "ebin", "x/ebin")
	if o.Name != "node1@lxw" || o.Long || !o.Hidden || o.DataDir != "/state/regent/node1@lxw" {
		t.Errorf("options %+v", o)
	}
	if want := []string{"node1", "more", "apps.config"}; !reflect.DeepEqual(o.Config, want) {
		t.Errorf("config %q, want %q", o.Config, want)
	}
	if line.cookie != "abc" || len(line.warnings) != 1 {
		t.Errorf("cookie %q, warnings %q", line.cookie, line.warnings)
	}
	if len(line.eval) != 3 || line.eval[2].Func != EvalLoad {
		t.Errorf("eval %+v", line.eval)
	}
}

// TestErlTakesTheFlagsOfNode: every flag of node, with two dashes, mixed with
// those of erl.
func TestErlTakesTheFlagsOfNode(t *testing.T) {
	t.Setenv("REGENT_HOSTS", "lxw=10.0.0.1, b=10.0.0.2")
	o, _ := erlOptions(t, "-name", "n@h.d", "--data", "dir", "--cluster=blue", "-config", "a", "--config", "b", "--host", "lxw=127.0.0.1",
		"--new-cluster", "--start", "x:permanent", "--start", "y", "--listen", "127.0.0.1:1", "--insecure-cookie", "--log-format", "json")
	if o.Name != "n@h.d" || !o.Long || o.DataDir != "dir" || o.Cluster != "blue" || !o.NewCluster || o.Listen != "127.0.0.1:1" || !o.Cookie.Insecure || o.LogFormat != "json" {
		t.Errorf("options %+v", o)
	}
	if want := []string{"a", "b"}; !reflect.DeepEqual(o.Config, want) {
		t.Errorf("config %q, want %q", o.Config, want)
	}
	wantHosts := []config.Host{{Name: "lxw", Addr: "10.0.0.1"}, {Name: "b", Addr: "10.0.0.2"}, {Name: "lxw", Addr: "127.0.0.1"}}
	if !reflect.DeepEqual(o.Hosts, wantHosts) {
		t.Errorf("hosts %v, want %v", o.Hosts, wantHosts)
	}
	if want := []StartReq{{"x", policy.Permanent}, {"y", ""}}; !reflect.DeepEqual(o.Start, want) {
		t.Errorf("start %v, want %v", o.Start, want)
	}
}

func TestDetachedIsSaidToHaveNoEffect(t *testing.T) {
	if _, line := erlOptions(t, "-sname", "a@h", "-detached"); len(line.warnings) != 1 {
		t.Errorf("warnings %q, want one", line.warnings)
	}
}

func TestNamesAreCompletedByTheHost(t *testing.T) {
	host := func(name string) func() (string, error) { return func() (string, error) { return name, nil } }
	if n, err := shortName("node1", host("box.example.org")); err != nil || n != "node1@box" {
		t.Errorf("short name %q, %v; want node1@box", n, err)
	}
	if n, err := longName("node1", host("box.example.org")); err != nil || n != "node1@box.example.org" {
		t.Errorf("long name %q, %v; want node1@box.example.org", n, err)
	}
	if n, err := longName("node1@10.0.0.1", host("")); err != nil || n != "node1@10.0.0.1" {
		t.Errorf("long name %q, %v; want node1@10.0.0.1", n, err)
	}
	if n, err := longName("node1", host("box")); err == nil {
		t.Errorf("long name %q of a host without a domain", n)
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", -time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 5*time.Minute: "3h05m", 49*time.Hour + time.Minute: "2d01h",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("ago of %v = %q, want %q", d, got, want)
		}
	}
	if got := ago(now, time.Time{}); got != "" {
		t.Errorf("ago of no time = %q", got)
	}
}

// Everything that people write after erl: what has no counterpart is accepted,
// with a warning where somebody may count on it, or refused with a hint.
func TestErlFlagsWithoutCounterpart(t *testing.T) {
	for _, tt := range []struct {
		args     []string
		warnings int
	}{
		{[]string{"-noshell", "-noinput", "-noinit", "-nostick"}, 0},
		{[]string{"-pa", "ebin", "deps/ebin", "-pz", "x", "-mode", "embedded", "-smp", "auto", "-smp"}, 0},
		{[]string{"+K", "true", "+P", "1000000", "+A16", "+sbwt", "none"}, 0},
		{[]string{"-heart"}, 1},
		{[]string{"-detached", "-heart"}, 2},
		{[]string{"-boot", "start_sasl"}, 1},
		{[]string{"-proto_dist", "inet_tls"}, 1},
	} {
		_, line := erlOptions(t, append([]string{"-sname", "a@h"}, tt.args...)...)
		if len(line.warnings) != tt.warnings {
			t.Errorf("%q: warnings %q, want %d", tt.args, line.warnings, tt.warnings)
		}
	}
	for _, tt := range []struct {
		args       []string
		want, hint string
	}{
		{[]string{"-s", "mymod"}, "-s is not understood", "-eval"},
		{[]string{"-run", "mymod", "start"}, "-run is not understood", "--start APP"},
		{[]string{"-remsh", "b@h"}, "-remsh is not understood", "regent status"},
		{[]string{"-env", "A", "b"}, "-env is not understood", "before regent"},
		{[]string{"-args_file", "vm.args"}, "-args_file is not understood", "command line"},
		{[]string{"-myapp", "port", "80"}, "-myapp is not understood", "section of a configuration file"},
		{[]string{"-snmae", "b@h"}, "-snmae is not understood", "-sname"},
		{[]string{"-heart", "x"}, `unexpected argument "x" after -heart`, ""},
		{[]string{"-noshell", "x"}, `unexpected argument "x" after -noshell`, ""},
		{[]string{"-sname", "b@h"}, "-sname is given twice", ""},
		{[]string{"-setcookie", "b@h", "abc"}, "-setcookie NODE COOKIE is not understood", "one cookie"},
		{[]string{"-config"}, "-config needs a file", ""},
		{[]string{"-kernel"}, "-kernel needs pairs", "sync_nodes_timeout"},
		{[]string{"-kernel", "net_ticktime"}, "-kernel needs pairs", "sync_nodes_timeout"},
		{[]string{"-kernel", "Net", "1"}, `-kernel Net: "Net" is no atom`, ""},
		{[]string{"-kernel", "net_ticktime", "[1"}, `-kernel net_ticktime: column 1 of "[1": '[' is never closed`, ""},
		{[]string{"-kernel", "net_ticktime", "1}]},{regent,[{lease,1"}, "-kernel net_ticktime: column 2 of ", ""},
		{[]string{"-kernel", "net_ticktime", "1. 2"}, `-kernel net_ticktime: expected one term, found "1. 2"`, ""},
	} {
		_, exit := parseErl(append([]string{"-sname", "a@h"}, tt.args...))
		if exit == nil || exit.Code != exitUsage || !strings.Contains(exit.Error(), tt.want) || !strings.Contains(exit.Hint, tt.hint) {
			t.Errorf("%q: %v (hint %q), want %q with hint %q", tt.args, exit, exit.Hint, tt.want, tt.hint)
		}
	}
}

// -kernel KEY TERM stands over the files, and errors point into the term
//
func TestErlParameters(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node1.config")
	if err := os.WriteFile(file, []byte("[{kernel, [{net_ticktime, 60}, {sync_nodes_timeout, 1}]}]."), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(args ...string) (*config.Config, error) {
		o, line := erlOptions(t, append([]string{"-sname", "a@h", "-config", file}, args...)...)
		return loadConfig(o.Config, line.params)
	}
	c, err := load("-kernel", "net_ticktime", "30", "sync_nodes_optional", "['b@h']", "-regent", "lease", "5000")
	if err != nil {
		t.Fatal(err)
	}
	if c.NetTicktime != 30*time.Second || len(c.Sync.Optional) != 1 || c.Sync.Timeout != policy.Timeout(time.Millisecond) || c.Lease != 5*time.Second {
		t.Errorf("%v %v %v %v", c.NetTicktime, c.Sync.Optional, c.Sync.Timeout, c.Lease)
	}
	for _, tt := range []struct{ key, term, want string }{
		{"sync_nodes_timeout", "0", "-kernel sync_nodes_timeout:1:1: "},
		{"sync_nodes_optional", "[b@h, c]", "-kernel sync_nodes_optional:1:7: "},
		{"distributed", "[{myapp, -5, ['a@h']}]", "-kernel distributed:1:10: "},
	} {
		if _, err := load("-kernel", tt.key, tt.term); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("-kernel %s %s: %v, want %q", tt.key, tt.term, err, tt.want)
		}
	}
	c, err = load("-kernel", "inet_dist_listen_min", "9000")
	if err != nil || len(c.Warnings) != 1 || c.Warnings[0].Position.String() != "-kernel inet_dist_listen_min" {
		t.Errorf("a parameter without effect: %v, %v", c.Warnings, err)
	}
}
